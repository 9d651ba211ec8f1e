"""Near-duplicates: altered copies are found, others are not, and the look-up misses none."""

import io

import numpy as np
import pytest
from helpers.programs import parse
from helpers.studies import Page
from PIL import Image

from tfbench import UserError, duplicates
from tfbench.benchmarks import duplicates as benchmark
from tfbench.data import duplicates as search
from tfbench.report import pairs_page


def picture(seed: int, width: int = 240, height: int = 180) -> Image.Image:
    """Patches of random colours in several sizes, which no other seed has."""
    rng, image = np.random.RandomState(seed), Image.new("RGB", (width, height))
    pixels = np.zeros((height, width, 3))
    for side, weight in ((3, 60), (6, 50), (14, 40), (30, 25)):
        coarse = Image.fromarray(rng.randint(0, 256, (side, side, 3)).astype(np.uint8))
        pixels += weight / 175 * np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    image.paste(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)))
    return image


def thumbnails(images) -> np.ndarray:
    def encoded(image):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return buffer.getvalue()

    return np.stack([search.thumbnail(encoded(image)) for image in images])


@pytest.fixture(scope="module")
def pictures():
    return [picture(seed) for seed in range(60)]


@pytest.mark.parametrize("name, least", [
    (name, 0 if "too little" in name else 0.5 if "15 %" in name else 0.9) for name in benchmark.EDITS])
def test_altered_copies_are_found(name, least, pictures):
    rng = np.random.RandomState(0)
    copies = thumbnails([benchmark.EDITS[name](image, rng.uniform(size=4)) for image in pictures[:30]])
    matches = search.find(copies, search.Others(thumbnails(pictures)))
    assert all(match.image == match.other for match in matches)  # never another picture
    assert len(matches) >= least * 30
    if "too little" not in name:
        assert {match.mirrored for match in matches} == {"mirrored" in name}


def test_other_pictures_and_plain_ones_have_no_duplicate(pictures):
    others = thumbnails([picture(seed) for seed in range(1000, 1040)])
    assert not search.find(others, search.Others(thumbnails(pictures)))
    halves = [Image.fromarray((np.arange(64 * 64).reshape(64, 64) % 64 > edge).astype(np.uint8) * 200)
              for edge in (20, 31, 32)]
    smooth = picture(0).resize((3, 2)).resize((240, 180), Image.Resampling.BICUBIC)
    plain = thumbnails([Image.new("RGB", (50, 50), "white"), smooth, *halves])
    assert (search.detail(plain) < search.LEAST_DETAIL).all()
    done = []
    assert not search.find(plain, search.Others(plain), report=done.append) and sum(done) == len(plain)
    textured = thumbnails([picture(0)])
    assert not search.find(textured[:0], search.Others(textured))
    assert not search.find(textured, search.Others(textured[:0]))
    assert search.find(textured, search.Others(textured)) == [search.Match(0, 0, pytest.approx(1, abs=1e-4), False)]


def test_every_pair_of_hashes_within_the_bits_is_looked_up():
    rng = np.random.RandomState(0)
    codes = rng.randint(0, 2**63, 3000, np.uint64)
    queries = codes[:200].copy()
    for query in range(len(queries)):
        for bit in rng.choice(64, query % 12, replace=False):
            queries[query] ^= np.uint64(1) << np.uint64(bit)
    number, code, bits = search.HashTable(codes).within(queries)
    found = set(zip(number.tolist(), code.tolist(), strict=True))
    apart = np.array([[(int(a) ^ int(b)).bit_count() for b in codes] for a in queries])
    assert found == set(zip(*(axis.tolist() for axis in np.nonzero(apart <= search.MOST_BITS)), strict=True))
    assert (bits == apart[number, code]).all() and bits.max() == search.MOST_BITS


def save(image, path, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **more)


@pytest.fixture(scope="module")
def folders(tmp_path_factory, pictures):
    """(source, target, data_dir): two of the target's test images are copies of training images of the source."""
    root = tmp_path_factory.mktemp("folders")
    for number, image in enumerate(pictures[:24]):
        for folder, split in (("source", "train"), ("target", "test")):
            label = f"class{number % 2}"
            other = picture(100 + number) if folder == "target" else image
            save(other, root / folder / split / label / f"{number}.png")
    for seed, rest in enumerate(("source/val", "source/test", "target/train", "target/val")):
        for number in range(4):
            save(picture(500 + 10 * seed + number), root / rest / f"class{number % 2}" / f"{number}.png")
    save(pictures[4].transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((90, 80)),
         root / "target" / "test" / "class0" / "mirrored & small.jpg", quality=60)
    save(pictures[7].convert("L"), root / "target" / "test" / "class1" / "grey.jpg", quality=60)
    return f"folder:{root / 'source'}", f"folder:{root / 'target'}", root / "data"


def arguments(folders, results, *more):
    source, target, data_dir = folders
    return [f"--source={source}", f"--datasets={target}", f"--data_dir={data_dir}", f"--results_dir={results}", *more]


def test_the_program_lists_the_copies_and_shows_them(folders, tmp_path, run_program, monkeypatch):
    said = run_program(duplicates, *arguments(folders, tmp_path))
    assert "2 of 26 test images have a near-duplicate among the 24 training images of folder:source" in said
    path = tmp_path / "duplicates" / "pairs.csv"
    lines = [line.split(",") for line in path.read_text().splitlines()]
    assert lines[0] == list(pairs_page.COLUMNS)
    assert {tuple(line[i] for i in (0, 2, 4, 6)) for line in lines[1:]} == {
        ("folder:target", "test/class0/mirrored & small.jpg", "train/class0/4.png", "True"),
        ("folder:target", "test/class1/grey.jpg", "train/class1/7.png", "False")}
    assert pairs_page.read_csv(path) == {"folder:target": {line[2] for line in lines[1:]}}

    page = Page(tmp_path / "duplicates" / "index.html")
    assert len(page.addresses) == 4 and all(address.startswith("data:image/jpeg") for address in page.addresses)
    assert "mirrored & small.jpg ↔ train/class0/4.png" in page.text

    def no_thumbnail(encoded):
        raise AssertionError("thumbnails are kept")

    monkeypatch.setattr(search, "thumbnail", no_thumbnail)
    before = path.read_bytes()
    assert said.endswith(run_program(duplicates, *arguments(folders, tmp_path))) and path.read_bytes() == before
    assert "0 of 26" in run_program(duplicates, *arguments(folders, tmp_path, "--similarity=1"))
    assert "No pair was found" in Page(tmp_path / "duplicates" / "index.html").text


def test_what_cannot_be_searched_is_refused_in_one_line(folders, tmp_path):
    source, _, data_dir = folders
    with pytest.raises(UserError, match="dtd is not prepared in .*tfbench.prepare_data"):
        duplicates.main(parse(duplicates, [f"--source={source}", "--datasets=dtd", f"--data_dir={data_dir}"]))
    (tmp_path / "x.csv").write_text("dataset,image\n")
    with pytest.raises(UserError, match="has no column key: expected the pairs.csv"):
        pairs_page.read_csv(tmp_path / "x.csv")
    for wrong in (tmp_path / "no.csv", tmp_path):
        with pytest.raises(UserError, match="cannot read .*expected the pairs.csv"):
            pairs_page.read_csv(wrong)
    with pytest.raises(UserError, match="the image b cannot be decoded"):
        search.thumbnails(lambda position: b"no image", ["b"], _Serial())


class _Serial:
    map = staticmethod(map)


def test_the_benchmark_counts_what_is_found(folders, monkeypatch):
    from tfbench.cli.progress import Silent
    from tfbench.data.lookup import get_dataset
    from tfbench.inputs import prepare_data

    monkeypatch.setattr(benchmark, "COPIES", 10)
    monkeypatch.setattr(benchmark, "EDITS", {"grey": benchmark.EDITS["grey"]})
    source, _, data_dir = folders
    options = parse(duplicates, arguments(folders, "x"))
    result = benchmark.measure(prepare_data(options, get_dataset(source, data_dir), Silent()))
    assert result["recall"]["grey"] == {"all": 1.0, "not_plain": 1.0} and result["false_images"] == 0
    assert "100.0 %" in "\n".join(benchmark.report(result))
