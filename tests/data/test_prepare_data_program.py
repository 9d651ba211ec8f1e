"""prepare_data as a user runs it: the paper's twelve and ImageNet, from fabricated archives to batches."""

import dataclasses
import functools
import http.server
import threading

import numpy as np
import pytest
from helpers import archives
from helpers.programs import parse

from tfbench import UserError, prepare_data
from tfbench.data import examples, index, manifests, pipeline, prepare
from tfbench.data.builders import common
from tfbench.data.catalog import DATASETS, PAPER_DATASETS, SOURCE_DATASETS
from tfbench.files import downloads
from tfbench.sweep import plan


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Prepares a data set from a fabricated archive once; returns (data_dir, truth)."""
    done = {}

    def get(name):
        if name not in done:
            folder = tmp_path_factory.mktemp(name)
            truth = archives.FABRICATORS[name](manifests.manual_folder(folder))
            with archives.patched_checksums(manifests.manual_folder(folder)):
                prepare.prepare(DATASETS[name], folder)
            done[name] = folder, truth
        return done[name]

    return get


@pytest.mark.parametrize("name", [row.name for row in PAPER_DATASETS + SOURCE_DATASETS])
def test_every_set_goes_from_its_archive_to_batches(name, prepared):
    folder, truth = prepared(name)
    dataset = DATASETS[name]
    manifest = manifests.read(dataset, folder)
    total = sum(len(split) for split in truth.values())
    assert sum(manifest["splits"][split]["n"] for split in manifests.SPLITS) == total
    parts = {split: examples.load_split(dataset, split, folder) for split in manifests.SPLITS}
    keys = [key for part in parts.values() for key in part.keys]
    assert len(keys) == len(set(keys)) == total
    if not dataset.train_per_class:
        assert len(parts["test"].keys) == len(truth[dataset.test_split])

    both = examples.join(parts["train"], parts["validation"])
    assert sorted(parts["train"].keys + parts["validation"].keys) == both.keys
    geometry = {"image_size": 32, "batch_size": 4}
    for images, _ in pipeline.evaluation_batches(parts["test"], **geometry):
        images = pipeline.to_network(images, "inception").numpy()
        assert images.shape == (4, 32, 32, 3) and np.isfinite(images).all() and np.abs(images).max() <= 1
    batches = pipeline.training_batches(both, seed=0, first_step=0, steps=2, min_crop_area=0.08, mirror=True,
                                        **geometry)
    assert [images.shape for (images, _), _ in batches.as_numpy_iterator()] == [(4, 32, 32, 3)] * 2


@pytest.mark.parametrize("arguments", [["--dataset=dtd"], ["--dataset=digits"], ["--dataset=tfds:tf_flowers"],
                                       ["--dataset=dtd", "--action=import", "--from=x"]])
def test_a_data_folder_that_cannot_be_written_is_told_with_a_flag_that_exists(arguments, tmp_path, run_program):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*/file/x.*, or choose another with --data_dir=DIR$"):
        run_program(prepare_data, *arguments, f"--data_dir={tmp_path}/file/x")


@pytest.mark.parametrize("arguments", [["--dataset=birdsnap"], ["--dataset=dtd", "--action=verify"],
                                       ["--dataset=tfds:wider_face"], ["--dataset=tfds:cifar10"],
                                       ["--dataset=dtd", "--action=import", "--from=/missing"]])
def test_a_refused_command_leaves_nothing_behind(arguments, tmp_path, run_program):
    with pytest.raises(UserError):
        run_program(prepare_data, *arguments, f"--data_dir={tmp_path}/data")
    assert not list(tmp_path.iterdir())


def test_labels_are_the_archives(prepared):
    for name in ("dtd", "aircraft", "birdsnap", "pets"):
        folder, truth = prepared(name)
        test = examples.load_split(DATASETS[name], "test", folder)
        by_key = dict(zip(test.keys, test.labels.tolist(), strict=True))
        names = common.make_builder(DATASETS[name], folder).info.features["label"]
        for key, label in truth["test"].items():
            assert by_key[key] == (label if isinstance(label, int) else names.str2int(label)), (name, key)


def test_difficult_objects_are_neither_present_nor_absent(prepared):
    folder, truth = prepared("voc2007")
    test = examples.load_split(DATASETS["voc2007"], "test", folder)
    names = common.make_builder(DATASETS["voc2007"], folder).info.features["labels"].feature
    for key, labels in zip(test.keys, test.labels, strict=True):
        positive = {names.str2int(name) for name in truth["test"][key]["positive"]}
        difficult = {names.str2int(name) for name in truth["test"][key]["difficult"]}
        assert set(np.flatnonzero(labels == 1)) == positive and set(np.flatnonzero(labels == 0)) == difficult


def test_caltech_is_split_by_name_whatever_tfds_drew(prepared):
    """TFDS draws from an unsorted listing: our split must not depend on what it drew."""
    folder, _ = prepared("caltech101")
    dataset = dataclasses.replace(DATASETS["caltech101"], train_per_class=2)
    found = index.load(manifests.folder(dataset, folder))
    other = dataclasses.replace(found, splits=found.splits[np.random.RandomState(0).permutation(len(found.keys))])
    for split, rows in index.membership(dataset, found).items():
        np.testing.assert_array_equal(rows, index.membership(dataset, other)[split])
    test = index.membership(dataset, found)["test"]
    fitted = np.setdiff1d(np.arange(len(found.keys)), test)
    assert set(np.bincount(found.labels[fitted])) <= {0, 2}


def test_caltech_is_the_same_from_two_file_systems(tmp_path, monkeypatch):
    """Through TFDS's builder, over folders listed in two orders: TFDS's split differs, ours does not."""
    import tensorflow as tf

    walk, drawn, ours = tf.io.gfile.walk, [], []
    for number in range(2):
        def shuffled(top, number=number, **options):
            for place, folders, names in walk(top, **options):
                yield place, folders, np.random.RandomState([number, len(names)]).permutation(sorted(names)).tolist()

        manual = manifests.manual_folder(tmp_path / str(number))
        archives.caltech101(manual)
        monkeypatch.setattr(tf.io.gfile, "walk", shuffled)
        with archives.patched_checksums(manual):
            manifest = prepare.prepare(DATASETS["caltech101"], tmp_path / str(number))
        found = index.load(manifests.folder(DATASETS["caltech101"], tmp_path / str(number)))
        drawn.append(set(found.keys[found.splits == "train"].tolist()))
        ours.append({split: part["sha256"] for split, part in manifest["splits"].items()})
    assert drawn[0] != drawn[1] and ours[0] == ours[1]


def test_a_cut_archive_is_refused(tmp_path):
    manual = manifests.manual_folder(tmp_path)
    archives.dtd(manual)
    archive = manual / "dtd-r1.0.1.tar.gz"
    archive.write_bytes(archive.read_bytes()[:20000])
    with archives.patched_checksums(manual), pytest.raises(UserError, match="dtd could not be prepared"):
        prepare.prepare(DATASETS["dtd"], tmp_path)
    assert not list(tmp_path.glob("dtd/*"))


def test_a_result_on_the_available_birds_says_how_many_there_were():
    from tfbench.results import record as records

    result = {"regime": "finetune", "network": "resnet_50", "dataset": "birdsnap_available", "accuracy": 0.5,
              "metric": "top1", "n_test": 1855, "selected": {}, "spec": {"regime": "pretrain"},
              "test_split": {"n": 1855, "expected": 2443}}
    assert "on 1,855 of 2,443 test images" in records.summary(result)
    assert "on 1,855 test images" in records.summary(result | {"test_split": {"n": 1855, "expected": None}})


def test_plan_status_and_prepare_from_files_in_place(tmp_path, run_program):
    arguments = ["--dataset=dtd", f"--data_dir={tmp_path}"]
    assert "dtd-r1.0.1.tar.gz (625.2 MB" in run_program(prepare_data, *arguments, "--action=plan")
    assert "dtd: not prepared" in run_program(prepare_data, *arguments, "--action=status")
    everything = run_program(prepare_data, "--dataset=all", f"--data_dir={tmp_path}", "--action=plan")
    assert all(row.title in everything for row in PAPER_DATASETS) and "PUT IT THERE YOURSELF" in everything

    manual = manifests.manual_folder(tmp_path)
    archives.dtd(manual)
    with pytest.raises(UserError, match="dtd-r1.0.1.tar.gz"):  # a wrong archive under the right name
        run_program(prepare_data, *arguments)
    assert not manifests.folder(DATASETS["dtd"], tmp_path).exists()


def test_what_cannot_be_fetched_is_told_with_where_to_put_it(tmp_path, run_program):
    with pytest.raises(UserError, match="cars needs cars_train.tgz, .* in .*downloads/manual, which cannot be fetched"):
        run_program(prepare_data, "--dataset=cars", f"--data_dir={tmp_path}")


@pytest.fixture
def hosts(tmp_path, monkeypatch):
    """A server with a fabricated archive of DTD; the flowers' host is dead; cars are brought by hand."""
    served = tmp_path / "served"
    archives.dtd(served)
    monkeypatch.setattr(downloads, "PAUSE_SECONDS", 0.001)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=served)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        for name, port in (("dtd", server.server_port), ("flowers", 9)):
            files = tuple(dataclasses.replace(file, url=f"http://127.0.0.1:{port}/{file.name}", size=0, checksum="")
                          for file in DATASETS[name].source.files)
            source = dataclasses.replace(DATASETS[name].source, files=files)
            monkeypatch.setitem(DATASETS, name, dataclasses.replace(DATASETS[name], source=source))
        with archives.patched_checksums(served):
            yield
        server.shutdown()


def test_of_several_sets_the_rest_goes_on(tmp_path, hosts, capsys):
    arguments = ["--dataset=cars,flowers,dtd,digits", f"--data_dir={tmp_path / 'data'}"]
    assert prepare_data.main(parse(prepare_data, arguments)) == 1
    printed, errors = capsys.readouterr()
    assert "dtd: " in printed and "digits: 400 / 200 / 1,197 images" in printed
    assert "missing: cars: cars needs cars_train.tgz" in errors and "which cannot be fetched" in errors
    assert "missing: flowers: cannot fetch http://127.0.0.1:9/102flowers.tgz (" in errors
    assert "2 of 4 data sets there, 2 missing; the same command fetches only what is missing" in errors
    assert manifests.is_prepared(DATASETS["dtd"], tmp_path / "data")

    assert prepare_data.main(parse(prepare_data, [*arguments, "--action=status"])) is None
    printed = capsys.readouterr().out
    assert "cars: not prepared, to be brought by hand: cars_train.tgz, " in printed
    assert "flowers: not prepared, 3 files of unknown size to fetch" in printed
    assert "2 of 4 data sets prepared in" in printed and "to be brought by hand: 2.0 GB" in printed

    assert prepare_data.main(parse(prepare_data, arguments)) == 1  # asks for the flowers alone
    printed = capsys.readouterr().out
    assert printed.count("fetching http") == 3 and "dtd-r1.0.1.tar.gz" not in printed
    assert prepare_data.main(parse(prepare_data, [*arguments[:1], arguments[1], "--action=plan"])) is None
    assert "PUT IT THERE YOURSELF" in capsys.readouterr().out


def test_sets_come_by_list_pattern_and_group():
    def chosen(text):
        return parse(prepare_data, [f"--dataset={text}"]).dataset

    assert chosen("all") == chosen("paper") == tuple(row.name for row in PAPER_DATASETS)
    assert chosen("cifar*,dtd") == ("cifar10", "cifar100", "dtd") and len(chosen("embedded")) == 4


def test_missing_birds_are_refused_or_counted(tmp_path):
    manual = manifests.manual_folder(tmp_path)
    archives.birdsnap(manual)
    next((manual / "birdsnap" / "images").rglob("*.jpg")).unlink()
    with pytest.raises(UserError, match="birdsnap could not be prepared .* images are missing"):
        prepare.prepare(DATASETS["birdsnap"], tmp_path)
    prepare.prepare(DATASETS["birdsnap_available"], tmp_path)
    metadata = common.make_builder(DATASETS["birdsnap_available"], tmp_path).info.metadata
    assert metadata["train_missing"] + metadata["test_missing"] == 1 and metadata["train_altered"] == 0


def test_embedded_sets_are_prepared_too(tmp_path, run_program):
    output = run_program(prepare_data, "--dataset=digits", f"--data_dir={tmp_path}")
    assert "digits: 400 / 200 / 1,197 images" in output


def test_another_aircraft_archive_is_refused_by_the_builder(tmp_path):
    archives.FABRICATORS["aircraft"](manifests.manual_folder(tmp_path))
    with pytest.raises(UserError, match=r"fgvc-aircraft-2013b.tar.gz .* MD5 .*replace it by the original of https"):
        prepare.prepare(DATASETS["aircraft"], tmp_path)
    assert not manifests.folder(DATASETS["aircraft"], tmp_path).exists()


IMAGENET = DATASETS["imagenet2012"]


def test_imagenet_has_no_validation_split_and_never_its_unlabelled_images(tmp_path):
    manual = manifests.manual_folder(tmp_path)
    truth = archives.imagenet2012(manual)
    archives.imagenet2012_unlabelled(manual)
    manifest = prepare.prepare(IMAGENET, tmp_path)
    assert {split: part["n"] for split, part in manifest["splits"].items()} == {"train": 15, "validation": 0, "test": 4}
    assert list(tmp_path.glob("imagenet2012/5.1.0/imagenet2012-test.*"))  # TFDS made it; it is not read
    for memory in (1 << 30, 0):
        parts = {split: examples.load_split(IMAGENET, split, tmp_path, memory=memory) for split in manifests.SPLITS}
        for split, published in (("train", "train"), ("test", "validation")):
            labels = dict(zip(parts[split].keys, parts[split].labels.tolist(), strict=True))
            assert labels == truth[published] and list(parts[split].keys) == sorted(labels)
            assert all(pipeline.decode(image).shape[2] == 3 for image in parts[split].images)
        assert not list(parts["validation"].keys) and len(parts["validation"].images) == 0
        both = examples.join(parts["train"], parts["validation"])
        assert list(both.keys) == list(parts["train"].keys) and list(both.images) == list(parts["train"].images)
    assert not list(pipeline.evaluation_batches(parts["validation"], image_size=32, batch_size=4))
    found = index.load(manifests.folder(IMAGENET, tmp_path))
    assert set(found.splits.tolist()) == {"train", "validation"} and len(found.keys) == 19
    assert len(found.files) == len(set(found.files.tolist())) == 2


def test_imagenet_is_planned_prepared_and_verified(tmp_path, run_program, capsys):
    arguments = ["--dataset=imagenet2012", f"--data_dir={tmp_path}"]
    manual = manifests.manual_folder(tmp_path)
    told = run_program(prepare_data, *arguments, "--action=plan")
    assert "imagenet2012: ImageNet, 1,331,167 images, 1000 classes" in told and "licence: non-commercial" in told
    assert "ILSVRC2012_img_train.tar (147,897.5 MB" in told and told.count("PUT IT THERE YOURSELF") == 2
    assert "Register at https://image-net.org/download-images" in told and f"archives in {manual}" in told
    assert "ImageNet" not in run_program(prepare_data, "--dataset=all", f"--data_dir={tmp_path}", "--action=plan")
    with pytest.raises(UserError, match="needs ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar in .*downloads/manual, "
                                        "which cannot be fetched. Register at"):
        run_program(prepare_data, *arguments)

    archives.imagenet2012(manual)
    with pytest.raises(UserError, match="ILSVRC2012_img_train.tar should have 147,897,477,120 bytes"):
        run_program(prepare_data, *arguments)
    prepare.prepare(IMAGENET, tmp_path)
    for path in (*manual.iterdir(), manifests.folder(IMAGENET, tmp_path) / manifests.MANIFEST):
        path.unlink()
    output = run_program(prepare_data, *arguments)  # what TFDS prepared before needs no archives
    assert "imagenet2012: 15 / 0 / 4 images" in output and "(the paper: 1,281,167 / 0 / 50,000)" in output

    assert prepare_data.main(parse(prepare_data, [*arguments, "--action=verify"])) == 1
    lines = {line.split()[1]: line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")}
    assert {name: line.split()[0] for name, line in lines.items()} == {
        "archives": "UNKNOWN", "counts": "FAIL", "labels": "FAIL", "keys": "FAIL", "images": "PASS", "leakage": "PASS"}
    assert "train 15 of 1,281,167, validation 4 of 50,000" in lines["counts"]
    assert "19 JPEG" in lines["images"] and "not stored" not in lines["images"]  # TFDS rewrites what was no RGB JPEG


def test_archives_of_imagenet_that_tfds_takes_unchecked_do_not_pass(tmp_path):
    archives.imagenet2012(manifests.manual_folder(tmp_path))
    level = prepare.prepare(IMAGENET, tmp_path)["verification"]["archives"]
    assert level["result"] == "FAIL" and "ILSVRC2012_img_train.tar should have" in level["found"]


def test_imagenet_is_for_pretraining_only():
    from tfbench import finetune, logistic_regression, pretrain, train_from_scratch

    arguments = ["--model=resnet_50", "--dataset=imagenet2012"]
    assert plan.cost(parse(pretrain, arguments), 1e12).evaluated == 50000
    for program in (logistic_regression, finetune, train_from_scratch):
        regime = program.__name__.rpartition(".")[2]
        with pytest.raises(UserError, match=f"imagenet2012 has no validation split for {regime} to choose on"):
            plan.cost(parse(program, arguments), 1e12)
