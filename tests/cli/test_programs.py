"""The programs as a user meets them: help, refusals, one whole run, repetition, interruption."""

import dataclasses
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time
import weakref

import numpy as np
import pytest
from helpers import processes
from helpers.programs import execute, parse

from tfbench import UserError, finetune, logistic_regression, paper, pretrain, train_from_scratch
from tfbench.cli import app
from tfbench.cli.progress import Silent
from tfbench.data.catalog import DATASETS
from tfbench.data.folders import sizes_with_held_out
from tfbench.errors import OutOfTime, Preempted
from tfbench.files import atomic
from tfbench.inputs import resolve
from tfbench.results import store
from tfbench.sweep.run import execute_all

ROOT = pathlib.Path(__file__).parents[2]
PROGRAMS = ["pretrain", "logistic_regression", "finetune", "train_from_scratch", "study", "analysis"]
SOURCE = ["--dataset=glyphs", "--steps=12", "--learning_rate=0.05", "--warmup_epochs=0"]
SMALL = ["--image_size=32", "--batch_size=16", "--model=mini_mobilenet_v1"]


def call(*arguments, **options):
    """Runs `python -m tfbench.…`; returns (exit code, output, seconds of the processor)."""
    start = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, text=True, capture_output=True,
                          timeout=120, **options)
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime
    return done.returncode, done.stdout + done.stderr, seconds


def run(module, *arguments):
    """Runs a program in this process."""
    return execute(module, [*SMALL, *arguments])


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_is_quick_and_lists_the_programs_flags(name):
    attempts = [call(f"tfbench.{name}", "--help") for _ in range(2)]
    assert min(seconds for _, _, seconds in attempts) < 1.0
    assert "--results_dir" in attempts[0][1] and f"python -m tfbench.{name}" in attempts[0][1]


@pytest.mark.parametrize("arguments, expected", [
    (["finetune", "--modle=resnet_50"], "there is no flag --modle, did you mean --model=resnet_50?"),
    (["finetune", "--model=resnet50", "--dataset=digits"], "no network 'resnet50', did you mean 'resnet_50'?"),
    (["finetune", "--model=resnet_50", "--dataset=digit"], "no data set 'digit', did you mean 'digits'?"),
    (["finetune", "--model=resnet_50", "--dataset=flags"], "but a folder: its images are folder:flags; e.g."),
    (["finetune", "--model=resnet_50"], "--dataset is missing, e.g. --dataset=digits"),
    (["finetune", "--model=resnet_50", "--dataset=digits", "--steps=-5"], "found -5; e.g. --steps="),
    (["finetune", "--model=resnet_50", "--dataset=digits", "--learning_rate=0.1,x"], "comma-separated numbers"),
    (["finetune", "--model=resnet_50", "--dataset=digits", "--learning_rate=0"], "expected above 0"),
    (["finetune", "--model=resnet_50", "--dataset=digits", "--grid=8x8"], "expected RATESxDECAYS, at most 7x8"),
    (["finetune", "--model=resnet_50", "--dataset=digits", "--steps_curve=10,x"], "comma-separated whole numbers"),
    (["finetune", "--model=resnet_50", "--dataset=digits", "surplus"], "unexpected argument 'surplus'"),
    (["finetune", "--model=inception_v3", "--dataset=digits", "--image_size=32"], "at least 75 pixels"),
    (["train_from_scratch", "--model=resnet_50", "--dataset=digits", "--weights=x"], "there is no flag --weights"),
    (["study", "--models=resnet_50,vgg", "--datasets=digits", "--source=glyphs"], "no network 'vgg'"),
    (["study", "--models=resnet_50", "--datasets=digits", "--source=glyphs", "--finetune=--stps=5", "--yes"],
     "tfbench.finetune refuses"),
    (["study", "--flagfile=flags/miniature.flags"], "add --yes"),
])
def test_wrong_calls_are_refused_at_once(arguments, expected):
    program, *flags = arguments
    code, output, seconds = call(f"tfbench.{program}", *flags, stdin=subprocess.DEVNULL)
    *plan, line = output.splitlines()
    assert code == 2 and expected in line and line.startswith("error: ") and (not plan or "--yes" in line)
    assert seconds < 2.0


def test_canonical_call_says_in_one_line_what_is_missing_and_what_to_do():
    code, output, seconds = call("tfbench.finetune", "--model=inception_v4", "--dataset=birdsnap")
    assert code == 2 and output.startswith("error: ") and output.count("\n") == 1 and seconds < 2.0
    assert "birdsnap is not prepared" in output
    assert "python -m tfbench.prepare_data --dataset=birdsnap" in output


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def folders(results, data_dir):
    return [f"--results_dir={results}", f"--data_dir={data_dir}"]


@pytest.fixture(scope="module")
def weights(results, folders):
    row, new = run(pretrain, *folders, *SOURCE)
    assert new
    return store.weights_path(results, row["spec"])


def test_pretraining_certifies_its_weights(results, weights, folders):
    metadata = json.loads((weights.parent / weights.name.replace(".weights.h5", ".json")).read_text())
    row, new = run(pretrain, *folders, *SOURCE)
    assert not new
    assert metadata["accuracy"] == row["accuracy"] and metadata["dataset"] == "glyphs"
    assert metadata["sha256"] == atomic.file_sha256(weights)
    weights.rename(weights.with_suffix(".away"))  # a row without its weights is no finished pretraining
    try:
        again, new = run(pretrain, *folders, *SOURCE)
        assert new and again["key"] == row["key"]
    finally:
        weights.with_suffix(".away").replace(weights)


@pytest.mark.parametrize("dataset", ["digits", "digits_grid", "diacritics"])
def test_every_regime_writes_a_row(dataset, results, weights, folders):
    short = [f"--dataset={dataset}", "--steps=4", "--learning_rate=0.01,0.1", "--weight_decay=1e-4"]
    written = [
        run(logistic_regression, *folders, f"--dataset={dataset}", f"--weights={weights}", "--l2=1,100,10000",
            "--max_iterations=50")[0],
        run(finetune, *folders, *short, f"--weights={weights}")[0],
        run(train_from_scratch, *folders, *short)[0]]
    for row in written[1:]:
        for trial in row["trials"]:
            assert trial["validation_accuracy"] == max(trial["validation"].values())
            assert trial["validation"][trial["test_crop"]] == trial["validation_accuracy"] and not trial["diverged"]
            assert trial["replicas"] == 1 and trial["images_per_second"] > 0 and 0 <= trial["input_wait"] <= 1
        assert row["selected"]["test_crop"] in ("whole", "central")
        assert row["distribution"] == {"strategy": "one_device", "replicas": 1, "hosts": 1, "images_per_replica": 16}
        assert row["seconds"] >= sum(trial["seconds"] for trial in row["trials"]) + row["refit"]["seconds"]
    for row in written:
        kept = np.load(store.record_path(results, row["spec"]).with_suffix(".npz"))
        assert len(kept["keys"]) == row["n_test"] == {"digits": 1197}.get(dataset, 1000)
        assert 0 < row["accuracy"] <= 1 and 0 < row["validation_accuracy"] <= 1
        assert row["validation_accuracy"] == max(trial["validation_accuracy"] for trial in row["trials"])
        if dataset == "digits":
            assert row["accuracy"] == pytest.approx((kept["predictions"] == kept["labels"]).mean())
        elif dataset == "digits_grid":
            assert kept["scores"].shape == kept["labels"].shape == (1000, 10)
    assert [len(row["trials"]) for row in written] == [3, 2, 2]
    assert written[0]["source"]["accuracy"] == written[1]["source"]["accuracy"] and written[2]["source"] is None


def test_curves_are_runs_of_their_own(results, weights, folders):
    flags = [*SMALL, *folders, "--dataset=digits"]
    short = ["--learning_rate=0.05", "--weight_decay=0", f"--weights={weights}"]
    rows = execute_all(parse(finetune, [*flags, *short, "--steps_curve=2,3"]))
    assert [row["spec"]["steps"] for row in rows] == [2, 3]
    row, new = run(finetune, *flags, *short, "--steps=3")
    assert not new and row["key"] == rows[1]["key"]  # the same run as without a curve
    few = ["--examples_per_class=1,3", "--subset_seeds=0,5"]
    tuned = execute_all(parse(finetune, [*flags, *short, *few, "--steps=2"]))
    fixed = execute_all(parse(logistic_regression, [*flags, *few, "--l2=1,100", f"--weights={weights}"]))
    for found in (tuned, fixed):
        assert [(row["spec"]["examples_per_class"], row["spec"]["subset_seed"]) for row in found] == [
            (1, 0), (1, 5), (3, 0), (3, 5)]
        assert len({row["key"] for row in found}) == 4 and {row["n_test"] for row in found} == {1197}
    assert [row["refit"]["images"] for row in tuned] == [10, 10, 30, 30]
    flagfile = store.record_path(results, tuned[2]["spec"]).with_suffix(".flags")
    again, = execute_all(parse(finetune, [f"--flagfile={flagfile}"]))
    assert again == tuned[2]


def test_a_trial_that_diverges_is_the_worst_and_the_grid_goes_on(folders, tmp_path):
    flags = ["--dataset=digits", "--steps=4", "--weight_decay=0", folders[1], f"--results_dir={tmp_path}"]
    row, _ = run(train_from_scratch, *flags, "--learning_rate=1e30,0.01")
    assert [trial["diverged"] for trial in row["trials"]] == [True, False]
    assert row["trials"][0]["validation_accuracy"] == 0 and row["selected"]["learning_rate"] == 0.01
    assert row["accuracy"] > 0 and "1 of 2 trials diverged; it counts as the worst" in row["warnings"]
    with pytest.raises(UserError, match="all 1 trials diverged: .* try a smaller --learning_rate"):
        run(train_from_scratch, *flags, "--learning_rate=1e30")


COMPUTED = ["--dataset=digits", "--steps=5", "--learning_rate=0.02", "--weight_decay=1e-3", "--min_crop_area=1"]


@pytest.fixture(scope="module")
def computed(folders):
    """A record of a run in float32, uncompiled and whole batches."""
    return run(train_from_scratch, *folders, *COMPUTED)[0]


@pytest.mark.slow
@pytest.mark.parametrize("flags", [["--precision=mixed_bfloat16"], ["--precision=mixed_float16"], ["--jit_compile"],
                                   ["--accumulate=2"]])
def test_other_ways_to_compute_come_to_about_the_same(flags, computed, folders):
    plain, other = computed, run(train_from_scratch, *folders, *COMPUTED, *flags)[0]
    assert other["key"] != plain["key"] and not other["trials"][0]["diverged"]
    assert other["validation_accuracy"] == pytest.approx(plain["validation_accuracy"], abs=0.15)
    said = {"--precision": "trained in mixed precision", "--accumulate": "gradients of micro-batches are added"}
    expected = said.get(flags[0].split("=")[0], "other than 78,125 steps")
    assert any(text.startswith(expected) for text in other["deviations"])


@pytest.mark.parametrize("setting", [1, 2, 3, 4, 5])
def test_ablation_flags_are_the_papers_switches(setting):
    flagfile = f"--flagfile={ROOT}/flags/ablation_{setting}.flags"
    options = parse(pretrain, ["--model=inception_v3", "--dataset=imagenet2012", flagfile])
    switches = ("bn_scale", "label_smoothing", "dropout", "auxiliary_head")
    assert [getattr(options, name) for name in switches] == [
        [False, 0.1, True, True], [True, 0.1, True, True], [True, 0, True, True], [True, 0, False, True],
        [True, 0, False, False]][setting - 1]
    recipe = {name: getattr(options, name) for name in paper.PRETRAINING if name not in switches}
    assert recipe == {"batch_size": 4096, "epochs": 300, "learning_rate": 1.6, "weight_decay": 8e-5,
                      "warmup_epochs": 10, "decay_per_epoch": 0.975, "ema": 0.9999}


def test_the_regimes_regularise_where_they_are_told(folders, weights, tmp_path):
    flags = [f"--results_dir={tmp_path}", folders[1], "--dataset=digits", "--steps=2", "--learning_rate=0.05",
             "--weight_decay=0", "--min_crop_area=1"]
    switched = ["--label_smoothing=0.1", "--dropout"]
    for program, source in ((finetune, [f"--weights={weights}"]), (train_from_scratch, [])):
        plain = resolve(parse(program, [*SMALL, *flags, *source]), Silent()).spec
        record, _ = run(program, *flags, *source, *switched)
        assert not {"label_smoothing", "dropout", "auxiliary_head", "drop_path"} & set(plain)
        assert record["spec"] == plain | {"label_smoothing": 0.1, "dropout": True}
        assert ("trained with label smoothing, dropout or an auxiliary head, as for the paper's figure 5, not as for "
                "its others") in record["deviations"]
        flagfile = store.record_path(tmp_path, record["spec"]).with_suffix(".flags")
        assert parse(program, [f"--flagfile={flagfile}"]).label_smoothing == 0.1
        same = resolve(parse(program, [*SMALL, *flags, *source, "--bn_scale"]), Silent()).spec
        assert same == plain  # it is on anyhow


@pytest.mark.parametrize("program", [pretrain, finetune, train_from_scratch])
def test_switches_reach_the_network(program, weights, folders, monkeypatch, tmp_path):
    from tfbench.training import engine

    class Built(Exception):
        pass

    def build(name, **options):
        raise Built({switch: options[switch] for switch in ("bn_scale", "dropout", "auxiliary_head", "drop_path")})

    monkeypatch.setattr(engine, "build_network", build)
    monkeypatch.setattr("tfbench.inputs.weights_of", lambda config, network: (
        ("w", {"dataset": "glyphs", "sha256": "0", "bn_scale": False, "value_range": "inception"})
        if config.kind.pretrained else (None, None)))
    flags = ["--image_size=80", "--model=nasnet_large", "--dataset=digits", folders[1], f"--results_dir={tmp_path}"]
    expected = {"bn_scale": program is not finetune, "dropout": 0.0, "auxiliary_head": False, "drop_path": False}
    for more, changed in ([], {}), (["--dropout", "--auxiliary_head", "--drop_path"], {
            "dropout": 0.5, "auxiliary_head": True, "drop_path": True}):
        engine._engines.clear()
        with pytest.raises(Built) as built:
            execute(program, [*flags, *more])
        assert built.value.args[0] == expected | changed


@pytest.mark.parametrize("program", [pretrain, finetune, train_from_scratch])
@pytest.mark.parametrize("model, switch, name, other", [
    ("mobilenet_v1", "auxiliary_head", "auxiliary head", "inception_v3"),
    ("resnet_50", "dropout", "dropout", "inception_v1"),
    ("nasnet_mobile", "drop_path", "drop path", "nasnet_large")])
def test_a_switch_that_a_network_lacks_is_refused(program, model, switch, name, other, folders):
    with pytest.raises(UserError, match=f"the definition of {model} has no {name}: leave out --{switch}, or take a "
                       f"network that has, e.g. {other}"):
        execute(program, [f"--model={model}", "--dataset=digits", *folders, f"--{switch}"])


def test_batch_norm_scales_are_not_dropped(folders, weights):
    with pytest.raises(UserError, match="--nobn_scale would drop the batch-norm scales that .* has: leave it out"):
        run(finetune, *folders, "--dataset=digits", f"--weights={weights}", "--nobn_scale")


@pytest.mark.parametrize("program", [logistic_regression, finetune, train_from_scratch])
def test_a_set_without_room_for_a_validation_split_is_refused(program, monkeypatch):
    tiny = dataclasses.replace(DATASETS["digits"], name="tfds:tiny", **sizes_with_held_out(2, 0, 1))
    monkeypatch.setattr("tfbench.inputs.get_dataset", lambda *arguments, **options: tiny)
    with pytest.raises(UserError, match=r"tfds:tiny has too few training images \(2\) to hold some out .*: add images"):
        execute(program, ["--model=resnet_50", "--dataset=tfds:tiny"])


def test_network_that_is_too_small_a_grid_or_set_is_refused(folders):
    with pytest.raises(UserError, match="one label per image"):
        run(pretrain, *folders, "--dataset=digits_grid")
    with pytest.raises(UserError, match="--devices=7: TensorFlow sees 4 CPU here"):
        run(train_from_scratch, *folders, "--dataset=digits", "--devices=7", "--steps=3")
    with pytest.raises(UserError, match="--batch_size=15 cannot be shared equally by 4 devices"):
        run(train_from_scratch, *folders, "--dataset=digits", "--devices=4", "--steps=3", "--batch_size=15")
    with pytest.raises(UserError, match="--batch_size=16 cannot be shared equally by 1 devices and 5 micro-batches"):
        run(train_from_scratch, *folders, "--dataset=digits", "--accumulate=5", "--steps=3")
    with pytest.raises(UserError, match="imagenet2012 has no validation split for finetune"):
        execute_all(parse(finetune, [
            "--model=resnet_50", "--dataset=imagenet2012"]))


def test_finished_command_says_so_within_five_seconds(weights, folders, results):
    flags = [*SMALL, *folders, "--dataset=digits", "--steps=3", "--learning_rate=0.01", "--weight_decay=0"]
    row, _ = run(finetune, *flags, f"--weights={weights}")
    code, output, seconds = call("tfbench.finetune", *flags, f"--weights={weights}")
    assert code == 0 and "finished before" in output and f"{100 * row['accuracy']:.1f} %" in output
    assert seconds < 5.0
    flagfile = store.record_path(results, row["spec"]).with_suffix(".flags")
    code, output, _ = call("tfbench.finetune", f"--flagfile={flagfile}")
    assert code == 0 and "finished before" in output


@pytest.mark.slow
@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_interrupted_search_continues_with_the_missing_trials(number, code, folders, results, tmp_path):
    flags = [*SMALL, folders[1], f"--results_dir={tmp_path}", "--dataset=digits", "--steps=6", "--weight_decay=0",
             "--learning_rate=" + ",".join(f"{0.01 + 0.001 * i:g}" for i in range(40)), "--deterministic"]
    process = processes.Program("train_from_scratch", *flags)
    next(line for line in process.lines() if line.startswith("trial 4/40"))
    process.send_signal(number)
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == code and "Traceback" not in rest
    folder, = tmp_path.glob("work/*")
    before = list(store.read_trials(folder).values())
    assert 3 <= len(before) < 40 and not list(tmp_path.glob("rows/*.json"))
    # Go on with fewer than it would take: pretend all but the last were done, and count the stages that run.
    for i in range(len(before), 39):
        atomic.write_json(store.trial_path(folder, i + 1),
                         before[0] | {"learning_rate": 0.01 + 0.001 * i, "validation_accuracy": 0.0})
    done, output = processes.run("train_from_scratch", *flags)
    assert done == 0 and output.count("trial ") == 1 and "trial 40/40" in output
    row, = store.read_records(tmp_path)
    assert row["trials"][:len(before)] == before and len(row["trials"]) == 40


class Finalised:
    """Stands for objects of TensorFlow's, which are deleted whenever a graph is traced anew."""

    def __init__(self, finalise):
        self.finalise = finalise

    def __del__(self):
        self.finalise()


def deleted(finalise):
    Finalised(finalise)


def unreferenced(finalise):
    reference = weakref.ref(Finalised(lambda: None), lambda gone: finalise())
    assert reference() is None


@pytest.mark.parametrize("place", [deleted, unreferenced])
@pytest.mark.parametrize("number, error", [(signal.SIGTERM, Preempted), (signal.SIGALRM, OutOfTime)])
def test_a_signal_where_errors_are_lost_is_heard_after_it(number, error, place, capsys):
    def finalise():
        os.kill(os.getpid(), number)
        time.sleep(0.01)  # here Python hears it

    before = signal.getsignal(signal.SIGTERM)
    app.hear_preemption()
    try:
        with pytest.raises(error), app.alarm(60):
            place(finalise)
            time.sleep(5)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not capsys.readouterr().err


def test_an_alarm_that_was_lost_does_not_come_after_its_end():
    with app.alarm(60):
        deleted(lambda: (os.kill(os.getpid(), signal.SIGALRM), time.sleep(0.01)))
    time.sleep(3 * app.AGAIN_SECONDS)  # it would end this process


def test_unwritable_results_folder_is_found_before_any_work(folders, tmp_path):
    (tmp_path / "rows").write_text("in the way")
    code, output, seconds = call("tfbench.train_from_scratch", *SMALL, folders[1], "--dataset=digits",
                                 f"--results_dir={tmp_path}")
    assert code == 2 and "cannot write" in output and output.count("\n") == 1 and seconds < 2.0
