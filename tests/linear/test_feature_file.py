"""Feature files: every kind of X, y and split is read as it was meant, with a word, or refused with the remedy."""

import random
import re
import time
import zipfile

import numpy as np
import pandas as pd
import pytest

from tfbench import UserError
from tfbench.linear import feature_arrays, feature_file

N, CLASSES = 240, 4
Y = np.arange(N) % CLASSES
DRAW = np.random.default_rng(0)
X = (DRAW.normal(size=(CLASSES, 8))[Y] * 1.2 + DRAW.normal(size=(N, 8))).astype("float32")
SPLIT = np.array(["train", "validation", "test"])[np.arange(N) // CLASSES % 3]
LETTERS = np.array(list("abcd"))[Y]
ONE_HOT = np.eye(CLASSES, dtype=int)[Y]
SEVERAL = np.where(DRAW.random((N, 3)) < 0.4, 1, 0)


def read(tmp_path, name="mine.npz", **changed):
    arrays = {name: value for name, value in ({"X": X, "y": Y, "split": SPLIT} | changed).items()
              if value is not None}
    np.savez(tmp_path / name, **arrays)
    return feature_file.read(tmp_path / name)


@pytest.mark.parametrize(("y", "reading", "note"), [
    (Y, "", ""), (Y.astype("u1"), "", ""), (Y.astype(">i4"), "", ""),
    (Y[:, None], "column", "[n, 1] is read as [n]"), (Y.astype(float), "", "whole numbers in floating point"),
    (ONE_HOT, "one-hot", "exactly one 1"), (ONE_HOT.astype(float), "one-hot", "top-1"),
    (ONE_HOT > 0, "one-hot", "2 * y - 1"),
    (Y + 1, "mapped", "4 classes 1, 2, 3, 4, numbered 0 to 3"), (Y * 10, "mapped", "0, 10, 20, 30"),
    (Y * 300_000_000, "mapped", "900000000"), (Y.astype("u8") + 2 ** 63, "mapped", "9223372036854775808"),
    (LETTERS, "mapped", "a, b, c, d"), (LETTERS.astype("S"), "mapped", "a, b, c, d"),
    (LETTERS[:, None], "mapped", "a, b")])
def test_kinds_of_single_labels(y, reading, note, tmp_path):
    file = read(tmp_path, y=y)
    assert file.labels.dtype == np.int64 and (file.labels == Y).all() and file.classes == CLASSES
    assert file.reading == reading and note in "\n".join(file.notes)
    assert (file.notes == ()) == (note == "")


@pytest.mark.parametrize("y", [Y % 2 == 1, (Y % 2)[:, None], (Y % 2 == 1)[:, None], Y % 2 * 2 - 1])
def test_two_classes_are_no_multi_label(y, tmp_path):
    file = read(tmp_path, y=y)
    assert (file.labels == Y % 2).all() and file.classes == 2 and file.reading


@pytest.mark.parametrize("y", [SEVERAL, SEVERAL > 0, SEVERAL.astype(float), 2 * SEVERAL - 1, 2 * ONE_HOT - 1,
                               np.where(SEVERAL, 1, -1) * (DRAW.random((N, 3)) < 0.9), (2 * SEVERAL - 1)[:, :1]])
def test_kinds_of_several_labels(y, tmp_path):
    file = read(tmp_path, y=y)
    assert file.labels.dtype == np.float32 and file.reading == "" and "multi-label" in "\n".join(file.notes)
    expected = y if (np.asarray(y, int) < 0).any() else 2 * np.asarray(y, int) - 1
    assert (file.labels == expected).all() and file.classes == y.shape[1]


@pytest.mark.parametrize(("changed", "words"), [
    ({"y": Y - 1}, "y of PATH holds -1: expected classes from 0; .*keep = y >= 0"),
    ({"y": Y / 2}, r"y of PATH is float64 \[240\]: expected int \[n\], .* found 0.5"),
    ({"y": np.where(Y == 2, np.nan, Y)}, "found nan"),
    ({"y": np.full(N, 1e300)}, "expected int"),
    ({"y": np.full((N, 2), 2)}, r"expected int \[n\]"),
    ({"y": DRAW.random((N, 3))}, r"y.argmax\(axis=1\)"),
    ({"y": np.zeros((N, 3, 1))}, r"float64 \[240, 3, 1\]: expected int"),
    ({"y": Y.astype(complex)}, "complex128"), ({"y": Y.astype("M8[D]")}, "datetime64"),
    ({"y": np.array(3)}, r"X and y of PATH have 240 and a single value .* of the shape \[240\]"),
    ({"y": Y[:80]}, "have 240 and 80 rows"), ({"y": Y[:0]}, "have 240 and 0 rows"),
    ({"y": np.zeros(N, int)}, "one class only"),
    ({"y": np.arange(N)}, "no training example of class .* 240 different values for 240 examples"),
    ({"y": np.where(SPLIT == "test", 7, Y)}, "no training example of class 7"),
    ({"y": LETTERS.astype(object)}, r"y of PATH holds Python objects.*y.astype\(int\), or y.astype\(str\)"),
    ({"y": np.where((SPLIT == "test")[:, None], 0, SEVERAL)}, "no test example shows any class"),
    ({"y": SEVERAL * [1, 0, 1]}, "no training example shows class 1"),
    ({"y": np.maximum(SEVERAL, [1, 0, 0])}, "no training example lacks class 0"),
    ({"split": SPLIT.astype(object)}, r"split of PATH holds Python objects.*split.astype\(str\)"),
    ({"split": np.array("train")}, "X and split of PATH have 240 and a single value"),
    ({"split": SPLIT[:5]}, "have 240 and 5 rows"),
    ({"split": np.array([b"entra\xeenement"] * N)}, "split of PATH holds 'entra"),
    ({"split": np.arange(N) % 3}, r'split of PATH is int64 .*np.array\(\["train", "validation", "test"\]\)'),
    ({"split": np.full(N, "train")}, "has no validation example.*leave split out"),
    ({"split": np.where(SPLIT == "test", "held out", SPLIT)}, "holds 'held out'"),
    ({"X": X.astype(object)}, r"X of PATH holds Python objects.*np.stack\(X\)"),
    ({"X": X.astype(int)}, r'expected float \[n, width\]: save X.astype\("float32"\)'),
    ({"X": X.T}, "save X.T"), ({"X": X[:, :, None, None]}, r"float32 \[240, 8, 1, 1\].*X.mean\(axis=\(1, 2\)\)"),
    ({"X": X[:, 0]}, r"X\[:, None\]"), ({"X": X[:, :0]}, r"\[240, 0\]"), ({"X": np.array(1.0)}, r"float64 \[\]"),
    ({"X": X.astype(str)}, "expected float"), ({"X": X.astype(complex)}, "X.real"),
    ({"X": np.where(np.arange(N)[:, None] == 4, np.inf, X)}, "not finite in 1 of 240 rows, the first is row 4"),
    ({"X": None}, r"lacks X: expected X \[n, width\] float.*found split, y"),
    ({"X": np.zeros(N, [("a", "f4")])}, "expected float"),
])
def test_kinds_that_are_refused_with_the_remedy(changed, words, tmp_path):
    with pytest.raises(UserError, match=words.replace("PATH", re.escape(str(tmp_path / "mine.npz")))):
        read(tmp_path, **changed)


@pytest.mark.parametrize("x", [X.astype("f2"), X.astype(float), X.astype(">f4"), np.asfortranarray(X)])
def test_kinds_of_features(x, tmp_path):
    np.testing.assert_allclose(read(tmp_path, X=x).features, X, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("split", "note"), [
    (SPLIT.astype("S"), ""), (SPLIT[:, None], ""),
    (np.where(SPLIT == "validation", "val", SPLIT), "'val' is validation"),
    (np.char.capitalize(SPLIT), "'Test' is test, 'Train' is train"), (np.char.add(SPLIT, " "), "is train")])
def test_kinds_of_splits(split, note, tmp_path):
    file = read(tmp_path, split=split)
    assert (file.rows["validation"] == np.flatnonzero(SPLIT == "validation")).all() and note in "\n".join(file.notes)


@pytest.mark.parametrize("y", [Y, SEVERAL])
def test_without_split_all_three_are_drawn(y, tmp_path):
    file = read(tmp_path, y=y, split=None)
    assert {name: len(rows) for name, rows in file.rows.items()} == {"train": 154, "validation": 38, "test": 48}
    assert sorted(np.concatenate(list(file.rows.values()))) == list(range(N)) and "20% is held out" in file.notes[0]
    if y is Y:
        assert np.bincount(Y[file.rows["test"]]).tolist() == [12] * 4
    assert (feature_file.read(tmp_path / "mine.npz").rows["test"] == file.rows["test"]).all()
    assert (feature_file.read(tmp_path / "mine.npz", 1).rows["test"] != file.rows["test"]).any()


def test_a_class_without_positives_in_test_is_told_before_the_fits(tmp_path):
    y = SEVERAL * np.where((SPLIT == "test")[:, None], [1, 0, 1], 1)
    assert any("no test example shows class 1" in note and "counts as 0 in the mean" in note
               for note in read(tmp_path, y=y).notes)


# ---- other files -----------------------------------------------------------------------------------


def table(**more):
    return pd.DataFrame(X.astype(float)).rename(columns=lambda i: f"f{i}").assign(y=LETTERS, split=SPLIT, **more)


def to_csv(frame, path, **options):
    frame.to_csv(path, index=options.pop("index", False), **options)


@pytest.mark.parametrize(("name", "write"), [
    ("t.parquet", lambda frame, path: frame.to_parquet(path)),
    ("t.PARQUET", lambda frame, path: frame.to_parquet(path)),
    ("t.CSV", to_csv), ("t.csv", to_csv), ("t.csv", lambda frame, path: to_csv(frame, path, index=True)),
    ("t.csv", lambda frame, path: to_csv(frame, path, sep=";", decimal=",")),
    ("t.tsv", lambda frame, path: to_csv(frame, path, sep="\t", encoding="utf-16")),
    ("t.csv", lambda frame, path: to_csv(frame.rename(columns={"y": "Label", "split": "Split"}), path)),
    ("t.parquet", lambda frame, path: pd.DataFrame({"X": list(X), "y": LETTERS, "split": SPLIT}).to_parquet(path)),
    ("t", lambda frame, path: [path.mkdir(), *(np.save(path / f"{name}.npy", value) for name, value in (
        ("X", X), ("y", LETTERS), ("split", SPLIT)))]),
    ("t", lambda frame, path: [path.mkdir(), np.save(path / "X.npy", X), np.save(path / "y.npy", LETTERS), np.save(
        path / "split.npy", SPLIT), *(file.rename(file.with_suffix(".NPY")) for file in list(path.iterdir()))])])
def test_other_files_of_the_same(name, write, tmp_path):
    write(table(), tmp_path / name)
    file = feature_file.read(tmp_path / name)
    np.testing.assert_allclose(file.features, X, rtol=1e-6)
    assert (file.labels == Y).all() and len(file.rows["test"]) == 80 and file.name == "t" and len(file.sha256) == 64
    assert len(file.notes) >= 2


def test_tables_may_have_a_column_per_label(tmp_path):
    frame = table().drop(columns="y").assign(**{f"y_{i}": SEVERAL[:, i] for i in range(3)})
    for name, write in (("t.csv", to_csv), ("t.parquet", lambda frame, path: frame.to_parquet(path))):
        write(frame, tmp_path / name)
        file = feature_file.read(tmp_path / name)
        assert (file.labels == 2 * SEVERAL - 1).all() and file.features.shape == X.shape
    pd.DataFrame({"X": list(X), "y": list(SEVERAL)}).to_parquet(tmp_path / "lists.parquet")
    assert (feature_file.read(tmp_path / "lists.parquet").labels == 2 * SEVERAL - 1).all()


@pytest.mark.parametrize(("frame", "words"), [
    (table(file="a.jpg"), "column 'file' of PATH holds 'a.jpg', no numbers"),
    (table().drop(columns="y"), "PATH lacks y"),
    (table().assign(y=np.where(Y == 1, None, LETTERS)), "'y' of PATH is empty in 60 of 240 rows, the first is row 1"),
    (table().assign(f3=np.where(Y == 1, np.nan, 1)), "not finite in 60 of 240 rows")])
def test_tables_that_are_no_features(frame, words, tmp_path):
    to_csv(frame, tmp_path / "t.csv")
    with pytest.raises(UserError, match=words.replace("PATH", re.escape(str(tmp_path / "t.csv")))):
        feature_file.read(tmp_path / "t.csv")


def test_tables_may_call_the_split_otherwise_and_hold_truth_values(tmp_path):
    to_csv(table(on=Y > 1).rename(columns={"split": "Subset"}), tmp_path / "t.csv")
    file = feature_file.read(tmp_path / "t.csv")
    assert file.features.shape == (N, 9) and len(file.rows["test"]) == 80


@pytest.mark.parametrize("names", [["cat", "cat ", "dog", "cow"], ["caf\u00e9", "cafe\u0301", "dog", "cow"]])
def test_names_of_classes_that_look_alike_are_refused(names, tmp_path):
    with pytest.raises(UserError, match="which look alike"):
        read(tmp_path, y=np.array(names)[Y])


def test_two_columns_of_labels_are_refused(tmp_path):
    to_csv(table(target=Y), tmp_path / "t.csv")
    with pytest.raises(UserError, match="the columns 'y' and 'target' that may both be the labels"):
        feature_file.read(tmp_path / "t.csv")


def test_a_folders_features_are_mapped_and_not_copied(tmp_path):
    for name, array in (("X", X), ("y", Y), ("split", SPLIT)):
        np.save(tmp_path / f"{name}.npy", array)
    file = feature_file.read(tmp_path)
    assert (file.features == X).all() and isinstance(file.features.base, np.memmap)
    with (tmp_path / "X.npy").open("ab") as more:
        more.write(b"0")
    with pytest.raises(UserError, match="more data than the header says"):
        feature_file.read(tmp_path)


def test_floats_of_more_than_64_bits_are_read_as_64(tmp_path):
    assert read(tmp_path, X=X.astype(np.longdouble)).features.dtype == np.float64


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_one_of_two_arrays_of_a_name_is_not_guessed(tmp_path):
    np.savez(tmp_path / "t.npz", X=X, y=Y)
    np.save(tmp_path / "y.npy", 1 - Y % 2)
    with zipfile.ZipFile(tmp_path / "t.npz", "a") as archive:
        archive.write(tmp_path / "y.npy", "y.npy")
    with pytest.raises(UserError, match="t.npz holds two arrays of one name"):
        feature_file.read(tmp_path / "t.npz")


@pytest.mark.parametrize(("content", "words"), [
    (b"hello", "lacks y"), (b"", "expected"), (b"\x93NUMPY\x01\x00", "one array"), (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"\x80\x04\x95abc", "a pickle"), (b"PK\x03\x04", "damaged"), (b"PAR1", "damaged")])
def test_other_kinds_of_files_are_called_what_they_are(content, words, tmp_path):
    (tmp_path / "t.data").write_bytes(content)
    with pytest.raises(UserError, match=words):
        feature_file.read(tmp_path / "t.data")


# ---- memory, damage --------------------------------------------------------------------------------


def header(shape, dtype="<f4") -> bytes:
    text = str({"descr": dtype, "fortran_order": False, "shape": shape}).encode()
    text += b" " * (117 - len(text)) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(("name", "shape"), [("X", (10 ** 9, 2048)), ("X", (10 ** 20, 3)), ("y", (10 ** 13,)),
                                             ("split", (10 ** 13,)), ("X", (-5, 3))])
def test_headers_are_checked_before_anything_is_loaded(name, shape, tmp_path):
    arrays = {"X": X, "y": Y, "split": SPLIT}
    del arrays[name]
    np.savez(tmp_path / "t.npz", **arrays)
    with zipfile.ZipFile(tmp_path / "t.npz", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.npy", header(shape, "<U10" if name == "split" else "<f4") + bytes(1000))
    with pytest.raises(UserError, match="this machine has .* GB|damaged"):
        feature_file.read(tmp_path / "t.npz")


def test_memory_counts_the_copies_of_the_fits(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_arrays, "memory_bytes", lambda: X.size * 4 * 2 - 1)
    with pytest.raises(UserError, match=r"X of .* is \[240, 8\]: its fits need about"):
        read(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["npz", "compressed", "folder", "parquet", "csv"])
def test_damaged_files_are_read_or_refused_in_a_line(kind, tmp_path):
    """Whatever bit is wrong: nothing but UserError, and what has a checksum is never read as something else."""
    draw, end = random.Random(0), time.process_time() + 6
    write = {"npz": lambda path: np.savez(path, X=X, y=Y, split=SPLIT),
             "compressed": lambda path: np.savez_compressed(path, X=X, y=Y, split=SPLIT),
             "folder": lambda path: np.save(path, X), "parquet": lambda path: table().to_parquet(path),
             "csv": lambda path: to_csv(table(), path)}[kind]
    folder = tmp_path / "t"
    folder.mkdir()
    for name, array in (("y", Y), ("split", SPLIT)):
        np.save(folder / f"{name}.npy", array)
    path = folder / {"folder": "X.npy", "parquet": "t.parquet", "csv": "t.csv"}.get(kind, "t.npz")
    write(path)
    whole, seen = path.read_bytes(), {"read": 0, "refused": 0}
    for _ in range(400):
        content = bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            # half of the damage where names, shapes and types are
            place = draw.randrange(len(content)) if draw.random() < 0.5 else draw.choice((1, -1)) * draw.randrange(400)
            content[place] = draw.choice((content[place] ^ (1 << draw.randrange(8)), draw.randrange(256)))
        if draw.random() < 0.2:
            del content[draw.randrange(len(content)):]
        path.write_bytes(content)
        try:
            file = feature_file.read(folder if kind == "folder" else path)
            seen["read"] += 1
            assert np.isfinite(file.features).all() and file.labels.min() >= 0
            if kind in ("npz", "compressed"):
                assert (file.features == X).all() and (file.labels == Y).all()
        except UserError as error:
            seen["refused"] += 1
            assert len(str(error).splitlines()) == 1 and str(folder) in str(error), str(error)
        if time.process_time() > end:
            break
    assert seen["refused"] > 20, seen


# ---- scales ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1e25, 1e200, 1e-40, 1e-300])
def test_standardized_features_are_of_order_one_whatever_they_were(factor):
    x = X.astype(float) * factor
    mean, deviation = feature_file.scales(x)
    expected = (X - X.mean(axis=0, dtype=float)) / X.std(axis=0, dtype=float)
    np.testing.assert_allclose(feature_file.standardized(x, mean, deviation), expected, rtol=1e-4, atol=1e-5)
    assert "badly scaled" in feature_file.scale_problem(mean, deviation)


@pytest.mark.parametrize(("factors", "columns"), [
    ([1] * 8, None), ([1e3] * 8, None), ([1, 1, 1, 1e5, 1, 1, 1, 1], None), ([1, 1, 1, 1e9, 1, 1, 1, 1], "columns 3 "),
    ([1, 1e8, 1, 1e9, 1, 1, 1, 1], "columns 1, 3 "), (np.logspace(-6, 6, 8), "columns 0, 1, 2, 6, 7 "),
    ([1e-6] * 8, "all columns")])
def test_columns_far_from_the_others_are_named(factors, columns):
    problem = feature_file.scale_problem(*feature_file.scales(X * np.array(factors)))
    assert bool(problem) == bool(columns) and (columns or "") in problem


def test_constant_columns_have_no_scale():
    x = np.concatenate([X, np.full((N, 1), 1e6 + 0.1, np.float32)], axis=1)
    mean, deviation = feature_file.scales(x)
    assert deviation[-1] == 0 and (feature_file.standardized(x, mean, deviation)[:, -1] == 0).all()
    assert not feature_file.scale_problem(mean, deviation)


@pytest.mark.parametrize("factor", [1e18, 1e25, 1e37])
def test_what_would_overflow_is_refused_at_once(factor):
    with pytest.raises(UserError, match="--standardize"):
        feature_file.check_scale("t.npz", *feature_file.scales(X.astype(float) * factor))
