"""A study's plan, its status and its archive, on flags and made-up rows: nothing is trained."""

import json
import time

import numpy as np
import pytest

from tfbench import UserError, analysis, study
from tfbench.cli import flags as cli
from tfbench.cli import plan, status
from tfbench.data.catalog import PAPER_DATASETS
from tfbench.models.catalog import NETWORKS, PAPER
from tfbench.results import archive, store

WHOLE = ["--models=paper", "--datasets=paper", "--source=imagenet"]


def options(*arguments, folder="/absent"):
    weights = [f"--{regime}=--weights_dir=/absent/weights" for regime in ("finetune", "logistic_regression")]
    return cli.parse(study.define_flags, [*arguments, f"--data_dir={folder}", *weights])


@pytest.mark.parametrize(("text", "names"), [
    ("paper", PAPER), ("resnet_*", ("resnet_50", "resnet_101", "resnet_152", "resnet_v2_50", "resnet_v2_101",
                                    "resnet_v2_152")),
    ("vgg_19,vgg_1?", ("vgg_19", "vgg_16")), ("mobilenet_v1", ("mobilenet_v1",))])
def test_networks_by_name_pattern_or_group(text, names):
    assert options(f"--models={text}", "--datasets=pets", "--source=imagenet").models == tuple(names)


def test_the_first_version_has_thirteen_networks():
    found = options("--models=paper_v1", "--datasets=paper", "--source=imagenet")
    assert len(set(found.models)) == 13 and set(found.models) <= set(NETWORKS)
    assert found.datasets == tuple(row.name for row in PAPER_DATASETS)


@pytest.mark.parametrize(("text", "words"), [
    ("alexnet_*", "no network matches 'alexnet_\\*'"), ("alexnet", "did you mean")])
def test_what_matches_nothing_is_refused(text, words):
    with pytest.raises(cli.flags.IllegalFlagValueError, match=words):
        options(f"--models={text}", "--datasets=pets", "--source=imagenet")


def test_the_whole_paper_is_planned_in_two_seconds():
    flags = options(*WHOLE)
    start = time.thread_time()  # of the processor: what else the machine does must not fail this
    runs = study.plan_runs(flags, 1e12)
    text = plan.describe(flags, runs)
    assert time.thread_time() - start < 2
    assert len(runs) == 16 * 12 * 3
    assert sum(run.cost.fits for run in runs if run.regime == "finetune") == 192 * 57
    lines = {line.split()[0]: line for line in text.splitlines()}
    assert "10,944" in lines["fine-tuning"] and f"{192 * 57 * 19531 * 256:,}" in lines["fine-tuning"]
    assert "8,832" in lines["logistic"]
    assert text.count("is not prepared") == 12 and text.count("tfbench.prepare_models --model=") == 16
    assert "food101 is not prepared (5.0 GB to fetch): python -m tfbench.prepare_data --dataset=food101" in text


def test_embedded_data_and_pretrained_sources_miss_nothing():
    flags = options("--models=mobilenet_v1", "--datasets=digits", "--source=glyphs", "--image_size=32")
    assert plan.missing(flags, study.plan_runs(flags, 1e12)) == []


def test_a_measured_throughput_gives_the_hours(tmp_path):
    file = tmp_path / "speed.json"
    file.write_text(json.dumps([{"network": "resnet_50", "image_size": 224, "images_per_second": {"tfbench": 1000.0}}]))
    rates = plan.measured_rates(file)
    flags = options("--models=resnet_50,resnet_152", "--datasets=pets", "--source=imagenet", "--regimes=finetune")
    half, whole = (run.cost for run in study.plan_runs(flags, rates))
    training = half.trained * (1 / 1000 + plan.IMAGE_SECONDS)
    assert half.seconds == pytest.approx(training, rel=0.01)  # what is evaluated is little beside it
    ratio = NETWORKS["resnet_152"].multiply_adds / NETWORKS["resnet_50"].multiply_adds
    assert (whole.seconds - whole.trained * plan.IMAGE_SECONDS) / (half.seconds - half.trained * plan.IMAGE_SECONDS
                                                                   ) == pytest.approx(ratio, rel=0.01)
    for content in ("[1]", "{", '[{"network": "alexnet"}]'):
        file.write_text(content)
        with pytest.raises(UserError, match="--what=training --output"):
            plan.measured_rates(file)


@pytest.mark.parametrize(("seconds", "text"), [(5, "1 minutes"), (700, "12 minutes"), (7200, "2.0 hours"),
                                               (864000, "240 hours (10 days)")])
def test_durations(seconds, text):
    assert plan.duration(seconds) == text


# ---- status --------------------------------------------------------------------------------------


COST = plan.Cost(fits=57, trained=100, evaluated=10, seconds=3600.0, kept=1)
TITLE = ("finetune", "resnet_50", "pets")


def row(**more):
    return {"regime": "finetune", "network": "resnet_50", "dataset": "pets", "metric": "top1", "accuracy": 0.9,
            "n_test": 100, "selected": {}, "test_split": {}, "seconds": 1800.0, "warnings": [],
            "spec": {"regime": "finetune", "steps": 19531},
            "trials": [{"validation_accuracy": 0.8, "diverged": False, "images_per_second": 50.0}] * 56} | more


def test_a_finished_run_tells_its_accuracy_and_what_to_mind():
    trials = [{"validation_accuracy": 0.0, "diverged": True}, {"validation_accuracy": 0.8, "certified": False}]
    state = status.state_of(TITLE, COST, row(trials=trials, warnings=["edge of its grid"]), None)
    assert (state.state, state.accuracy, state.fits_done) == ("finished", 0.9, 57)
    assert (state.diverged, state.uncertified) == (1, 1)
    text = "\n".join(status.lines([state], []))
    for words in ("90.0 %", "edge of its grid", "1 × a trial that diverged", "1 × a regression", "1 of 1 run finished"):
        assert words in text


def test_a_begun_run_tells_how_far_it_is(tmp_path):
    assert status.state_of(TITLE, COST, None, tmp_path / "absent").state == "not begun"
    assert status.state_of(TITLE, COST, None, tmp_path).state == "begun"
    for number, accuracy in ((1, 0.5), (10, 0.7)):
        store.trial_path(tmp_path, number).write_text(json.dumps({"validation_accuracy": accuracy, "seconds": 60}))
    (tmp_path / "trial2").mkdir()  # one that is being trained
    state = status.state_of(TITLE, COST, None, tmp_path)
    assert (state.fits_done, state.best, state.seconds, state.accuracy) == (2, 0.7, 120, None)
    assert "2 of 57 fits done, best 70.0 %" in state.text
    store.trial_path(tmp_path, 10).write_text("{")
    assert status.state_of(TITLE, COST, None, tmp_path).fits_done == 0


def test_what_is_left_follows_the_pace_of_what_is_finished():
    done = status.state_of(TITLE, COST, row(), None)  # in half the time that the plan expects
    left = status.state_of(TITLE, COST, None, None)
    found = status.totals([done, left, left])
    assert (found["finished"], found["begun"], found["not_begun"]) == (1, 0, 2)
    assert found["hours_spent"] == 0.5 and found["hours_left"] == pytest.approx(1.0)
    assert json.loads(json.dumps(status.as_json([done, left], ["x"])))["totals"]["runs"] == 2


def test_status_of_nothing_is_all_left(capsys):
    flags = options("--models=mobilenet_v1", "--datasets=digits", "--source=glyphs", "--image_size=32", "--status",
                    "--json", "--results_dir=/absent/results")
    study.show_status(flags, study.plan_runs(flags, 1e12))
    found = json.loads(capsys.readouterr().out)
    assert found["totals"]["not_begun"] == found["totals"]["runs"] == 4


# ---- archive -------------------------------------------------------------------------------------


def results(folder, networks=("resnet_50", "vgg_16", "inception_v1")):
    """A results folder with fine-tuned rows of the networks on one data set, and what else such folders hold."""
    labels = np.arange(100) % 5
    for i, network in enumerate(networks):
        right = np.arange(100) >= 10 * (3 - i)
        found = row(network=network, accuracy=float(right.mean()), schema=5, key=f"{i:016x}",
                    source={"dataset": "glyphs", "accuracy": 0.5 + i / 10, "n_test": 10},
                    test_split={"n": 100, "sha256": "a" * 64},
                    spec={"regime": "finetune", "network": network, "dataset": "pets", "steps": 19531})
        store.write_row(folder, found, {"labels": labels, "predictions": np.where(right, labels, 9)}, "# flags\n")
    for name in ("weights/a.json", "weights/a.weights.h5", "features/x/key.json", "work/y/trial1.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


def test_an_archive_is_analysed_like_the_folder_it_came_from(tmp_path):
    source, target = results(tmp_path / "results"), tmp_path / "out/archive"
    assert archive.export(source, target) == 3
    assert sorted({path.suffix for path in target.rglob("*.*")}) == [".flags", ".json", ".npz"]
    assert (target / "weights/a.json").exists() and not list(target.rglob("*.h5"))
    listed = json.loads((target / "archive.json").read_text())["sha256"]
    assert len(listed) == 3 * 3 + 1
    assert all(store.file_sha256(target / name) == sha for name, sha in listed.items())
    pages = [analysis.analyse(folder, output_dir=tmp_path / name).parent for folder, name in
             ((source, "a"), (target, "b"))]
    for name in ("accuracies.csv", "pairs.csv", "index.html"):
        assert (pages[0] / name).read_bytes() == (pages[1] / name).read_bytes()


def test_an_archive_is_extended_by_one_network(tmp_path):
    target = tmp_path / "archive"
    archive.export(results(tmp_path / "results", ("resnet_50", "vgg_16")), target)
    results(target, ("resnet_50", "vgg_16", "inception_v1"))
    assert len(store.read_rows(target)) == 3


def test_archives_that_cannot_be(tmp_path):
    source = results(tmp_path / "results")
    with pytest.raises(UserError, match="is there already"):
        archive.export(source, tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="found none"):
        archive.export(tmp_path / "empty", tmp_path / "x")
    next(source.glob("rows/*.npz")).unlink()
    with pytest.raises(UserError, match="has no .*npz beside it"):
        archive.export(source, tmp_path / "x")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="beside it|cannot write"):
        archive.export(source, tmp_path / "file/x")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
