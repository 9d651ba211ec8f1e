"""A study's plan, its status and its archive, on flags and made-up rows: nothing is trained."""

import dataclasses
import datetime
import json
import pathlib
import re
import time

import numpy as np
import pytest
from helpers.programs import FlagsError, parse

from tfbench import UserError, analysis, config, finetune, paper, study
from tfbench.data import lookup, manifests, verify
from tfbench.data.catalog import PAPER_DATASETS
from tfbench.files import atomic, sharing
from tfbench.models import weights
from tfbench.models.catalog import NETWORKS, PAPER
from tfbench.results import archive, store
from tfbench.results.record import Record
from tfbench.sweep import accelerators, jobs, lacking, plan, sizes, status
from tfbench.wording import duration

ROOT = pathlib.Path(__file__).parents[2]
WHOLE = ["--models=paper", "--datasets=paper", "--source=imagenet"]


def options(*arguments, folder="/absent"):
    weights = [f"--{regime}=--weights_dir=/absent/weights" for regime in ("finetune", "logistic_regression")]
    return parse(study, [*arguments, f"--data_dir={folder}", *weights])


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
    with pytest.raises(FlagsError, match=words):
        options(f"--models={text}", "--datasets=pets", "--source=imagenet")


def test_the_whole_paper_is_planned_in_two_seconds():
    flags = options(*WHOLE)
    start = time.thread_time()  # of the processor: what else the machine does must not fail this
    runs = jobs.plan_runs(flags, 1e12)
    text = plan.describe(flags, runs)
    assert time.thread_time() - start < 2
    assert len(runs) == 16 * 12 * 3
    assert sum(run.cost.fits for run in runs if run.config.regime == "finetune") == 192 * 57
    lines = {line.split()[0]: line for line in reversed(text.splitlines())}  # of several the first
    assert "10,944" in lines["fine-tuning"] and f"{192 * 57 * 19531 * 256:,}" in lines["fine-tuning"]
    assert "8,832" in lines["logistic"]
    fetched, weights, _, *by_hand = text.splitlines()[-6:]
    assert re.match("  to fetch +9 data sets, 8.2 GB and 1 file of unknown size: python -m tfbench.prepare_data "
                    "--dataset=food101,cifar10,", fetched)  # not the 41 GB that nobody can fetch
    assert re.match("  to fetch +weights of 16 networks, about 1.. GB: python -m tfbench.prepare_models --model=in",
                    weights)
    assert [line.split()[2].rstrip(",") for line in by_hand] == ["birdsnap", "sun397", "cars"]
    assert "39.1 GB: SUN397.tar.gz, Partitions.zip into /absent/downloads/manual. Princeton's" in by_hand[1]


@pytest.mark.parametrize("rate", [1.0, 1e9, 1e14])
def test_columns_of_the_plan_do_not_run_together(rate):
    flags = options(f"--flagfile={ROOT}/flags/paper_v3.flags")
    header, *lines = plan.table([(run.config.regime, run.cost) for run in jobs.plan_runs(flags, rate)])
    assert len({len(line) for line in (header, *lines)}) == 1
    assert [len(re.split(" {2,}", line.strip())) for line in (header, *lines)] == [5, 6, 6, 6]
    units = {"years"} if rate < 1e12 else {"d", "h", "min", "s", "years"}
    assert {line.split()[-1] for line in lines} <= units


def test_the_convergence_study_has_the_papers_steps():
    flags = parse(study, [f"--flagfile={ROOT}/flags/convergence.flags"])
    steps = {regime: [run.config.steps for run in jobs.plan_runs(flags, 1e12) if run.config.regime == regime
                      and run.config.dataset == "pets"] for regime in flags.regimes}
    assert tuple(steps["train_from_scratch"]) == paper.CONVERGENCE_STEPS
    assert steps["finetune"] == [number for number in paper.CONVERGENCE_STEPS if number <= paper.FINE_TUNING.steps]
    for name, search in (("finetune", paper.FINE_TUNING), ("train_from_scratch", paper.FROM_SCRATCH)):
        assert steps[name][0] == 76 and steps[name][-1] == search.steps


def test_retrained_and_public_weights_are_two_studies_that_share_training_from_scratch():
    studies = [parse(study, [f"--flagfile={ROOT}/flags/{name}.flags"]) for name in ("paper_v3", "paper_v3_retrained")]
    public, retrained = (jobs.plan_runs(options, 1e12) for options in studies)
    assert (len(public), len(retrained)) == (576, 16 + 576) and len({options.results_dir for options in studies}) == 1
    scratch, same = ([run.config for run in runs if run.config.regime == "train_from_scratch"]
                     for runs in (public, retrained))
    assert scratch == same and len(scratch) == 192
    texts = [plan.describe(*planned) for planned in zip(studies, (public, retrained), strict=True)]
    assert "public ImageNet weights, as in the paper's appendix B" in texts[0].splitlines()[0]
    assert "after 16 pretrainings on imagenet2012, as in the paper's main experiment" in texts[1].splitlines()[0]
    ablation = parse(study, [f"--flagfile={ROOT}/flags/figure_5_1.flags"])
    assert "main experiment" not in plan.describe(ablation, jobs.plan_runs(ablation, 1e12))
    pretraining = next(run for run in retrained if run.config.regime == "pretrain")
    assert (pretraining.cost.fits, pretraining.cost.evaluated) == (13, 50000 + 12 * 50000)
    assert pretraining.cost.trained == 2 * 93840 * 4096


def test_embedded_data_and_pretrained_sources_miss_nothing():
    flags = options("--models=mobilenet_v1", "--datasets=digits", "--source=glyphs", "--image_size=32")
    assert lacking.of_study(flags, jobs.plan_runs(flags, 1e12)) == []


def test_a_measured_throughput_gives_the_hours(tmp_path):
    file = tmp_path / "speed.json"
    file.write_text(json.dumps([{"network": "resnet_50", "image_size": 224, "images_per_second": {"tfbench": 1000.0}}]))
    rates = plan.measured_rates(file)
    flags = options("--models=resnet_50,resnet_152", "--datasets=pets", "--source=imagenet", "--regimes=finetune")
    half, whole = (run.cost for run in jobs.plan_runs(flags, rates))
    training = half.trained * (1 / 1000 + plan.IMAGE_SECONDS)
    assert half.seconds == pytest.approx(training, rel=0.01)  # what is evaluated is little beside it
    ratio = NETWORKS["resnet_152"].multiply_adds / NETWORKS["resnet_50"].multiply_adds
    assert (whole.seconds - whole.trained * plan.IMAGE_SECONDS) / (half.seconds - half.trained * plan.IMAGE_SECONDS
                                                                   ) == pytest.approx(ratio, rel=0.01)
    for content in ("[1]", "{", '[{"network": "alexnet"}]'):
        file.write_text(content)
        with pytest.raises(UserError, match="--what=training --output"):
            plan.measured_rates(file)


def test_accelerators_by_hand():
    """Worked out on paper: 57 trainings of 19,531 steps of 256 images, each three forward passes of 2 * 3.856e9
    operations; 56 trials at two crops of 740 validation images, 3,669 test images."""
    flags = options("--models=resnet_50", "--datasets=pets", "--source=imagenet",
                    "--regimes=finetune,logistic_regression", "--gpus=8")
    regression, tuning = sorted(jobs.plan_runs(flags, 1e12), key=lambda run: run.cost.trained)
    assert (tuning.cost.trained, tuning.cost.evaluated) == (284_996_352, 86_549)
    assert tuning.cost.operations == pytest.approx(6.594343066e18, rel=1e-9) and tuning.cost.solver == 0
    assert regression.cost.operations == pytest.approx(7349 * 7.712e9)
    assert regression.cost.solver == pytest.approx(4.7675 + 4.3529, rel=1e-3)  # products, eigenbasis
    work = [(run.cost.operations, run.cost.solver, run.config.precision) for run in (tuning, regression)]
    for name, expected in (("a100", 281_821), ("v100", 763_692), ("tpu_v4", 133_229)):
        assert accelerators.seconds(accelerators.ACCELERATORS[name], work) == pytest.approx(expected, rel=1e-4)
    text = plan.describe(flags, [tuning, regression])
    assert re.search(r"A100 +3 d 6 h +9 h 47 min +15 % of 156", text) and text.count("% of ") == 6
    fitting = dict(re.findall(r"(T4|V100) .* (\d in \d+ GB)", text))
    assert fitting == {"T4": "1 in 16 GB", "V100": "2 in 32 GB"}  # fine-tuning takes 26.5 GB
    flags.accelerator = "a100"
    assert plan.describe(flags, [tuning, regression]).count("% of ") == 1
    halved = accelerators.seconds(accelerators.ACCELERATORS["a100"], [(work[0][0], 0, "bfloat16")])
    assert halved == pytest.approx(6.594343066e18 / (312e12 * 0.2))


@pytest.mark.parametrize(("shape", "measured"), [
    ((3680, 2048, 37), 11.4), ((3760, 1536, 47), 8.1), ((50000, 1024, 100), 128)])
def test_the_solvers_model_is_what_was_measured(shape, measured):
    assert plan.solver_seconds(*shape, 46) == pytest.approx(measured, rel=0.12)


def test_cheaper_searches_stand_beside_the_papers():
    flags = options("--models=resnet_50", "--datasets=pets", "--source=imagenet", "--regimes=finetune")
    runs = jobs.plan_runs(flags, 1e12)
    _, planned, halving, small = (re.split(" {2,}", line.strip()) for line in plan.alternatives(runs))
    assert planned == ["as planned", "57", "284,996,352", "100 %"]
    assert small == ["--grid=3x2", "7", f"{7 * 19531 * 256:,}", "12 %"]
    flags.search = "halving"
    cheaper, = jobs.plan_runs(flags, 1e12)
    assert halving[1:3] == [f"{cheaper.cost.fits:,}", f"{cheaper.cost.trained:,}"]
    assert plan.alternatives([cheaper]) == []  # it is one of them already


def test_flagfiles_say_the_plans_numbers():
    images, times = {}, {}
    for path in sorted((ROOT / "flags").glob("*.flags")):
        text = path.read_text(encoding="utf-8")
        said = re.search(r"(\d\.\d) \* 10\^(\d+) images", text)
        taken = re.search(r"(\d[\w. ]*) of one A100", text)
        if not said and not taken:
            continue
        runs = jobs.plan_runs(parse(study, [f"--flagfile={path}"]), 1e12)
        if said:
            number = sum(run.cost.trained for run in runs) or sum(run.cost.evaluated for run in runs)
            assert f"{number:.1e}" == f"{said[1]}e+{int(said[2]):02d}", path
            images[path.stem] = len(runs)
        assert taken, path
        work = [(run.cost.operations, run.cost.solver, run.config.precision) for run in runs]
        assert taken[1] == duration(accelerators.seconds(accelerators.ACCELERATORS["a100"], work)), path
        times[path.stem] = taken[1]
    assert images == {"paper_finetune": 192, "paper_fixed_features": 192, "paper_from_scratch": 192, "paper_v1": 468,
                      "paper_v3": 576, "paper_v3_retrained": 592}
    assert times.keys() - images.keys() == {
        "convergence", "few_examples", "gpu8", *(f"figure_5_{number}" for number in range(1, 6)),
        *(f"appendix_c2_{number}" for number in range(1, 5))}


def test_training_in_16_bits_has_the_rate_of_16_bits():
    a100, v100, t4 = (accelerators.ACCELERATORS[name] for name in ("a100", "v100", "t4"))
    assert a100.rate("mixed_bfloat16") == a100.rate("bfloat16") == a100.rate("mixed_float16") == 312e12 * 0.2
    assert a100.rate("float32") == 156e12 * 0.15
    assert v100.rate("mixed_float16") == 125e12 * 0.24 and t4.rate("mixed_float16") == 65e12 * 0.13
    assert v100.rate("mixed_bfloat16") == v100.rate("float32")  # which it computes it in
    work = [(3e12, 0.0, "float32"), (8.45e12, 0.0, "mixed_float16")]
    assert accelerators.seconds(t4, work) == pytest.approx(3e12 / 2.835e12 + 1)
    _, line = accelerators.table(work, [], ["t4"], 1)
    assert "13 % of 65 · 10¹²/s, 35 % of 8.1 · 10¹²/s" in line


@pytest.mark.parametrize(("samples", "words"), [
    ([1.0] * 7, ""), ([1.0, 1.0, 0.1, 1.1, 0.9, 1.0, 5.0], ""),  # one slow, one fast: the median takes no notice
    ([1.0, 0.5, 0.6, 1.0, 1.0, 1.0, 1.25], "60 to 100 %"), ([], "")])
def test_samples_of_the_speed_that_scatter_are_told(samples, words):
    assert words in plan.scatter(samples) and bool(words) == bool(plan.scatter(samples))
    flags = options("--models=resnet_50", "--datasets=pets", "--source=imagenet", "--regimes=finetune")
    assert ("it does other work" in plan.describe(flags, jobs.plan_runs(flags, 1e12), samples)) == bool(words)


# ---- memory and disk -------------------------------------------------------------------------------


def test_memory_of_a_job_by_hand():
    """Of ResNet-50 on Pets: 23,508,032 + 2,049 * 37 parameters; 1.3 * 317 roots of 3.856e9 numbers are kept of an
    image; 3,680 images to fit; archives of 811,092,049 bytes; three batches of 256 * 224 * 224 * 3 numbers; 735 MB of
    TensorFlow."""
    flags = options("--models=resnet_50", "--datasets=pets", "--source=imagenet",
                    "--regimes=finetune,logistic_regression")
    regression, tuning = sorted((run.config for run in jobs.plan_runs(flags, 1e12)), key=lambda config: config.regime,
                                reverse=True)
    found = plan.memory(tuning)
    assert found.activations == pytest.approx(62_096.7 * 1.3 * 317 * 4 * 256, rel=1e-6)
    assert found.device - found.activations == 283_006_140
    assert found.host == 735_000_000 + 94_335_380 + 811_092_049 + 462_422_016
    tight = plan.memory(dataclasses.replace(tuning, accumulate=4, precision="mixed_bfloat16", image_size=112))
    assert tight.activations == pytest.approx(found.activations / 4 / 2 / 4, abs=1)
    assert tight.device - tight.activations == 283_006_140 + 94_335_380  # in 32 bits, with the sums of the gradients
    assert tight.host == found.host - 462_422_016 + 462_422_016 // 4 // 4
    shared = plan.memory(dataclasses.replace(tuning, devices=8))
    assert shared.activations == pytest.approx(found.activations / 8, abs=1)
    fitted = plan.memory(regression)
    assert fitted.activations == pytest.approx(found.activations / 5, abs=1)
    assert fitted.device == 94_335_380 + fitted.activations
    features, basis = 30_146_560, 8 * 2048 * (5 * 2048 + 24 * 37)  # float64 along the axes is held too
    assert fitted.host == found.host + features + 2 * features + 28 * 3680 * 37 + basis
    few = plan.memory(dataclasses.replace(regression, examples_per_class=(1,), subset_seeds=(0,)))
    assert few.host == found.host + features + 777 * (4 * 2048 + 28 * 37 + 8 * (5 * 2048 + 24 * 37))


def test_what_does_not_fit_has_the_least_accumulate_that_does():
    flags = options("--models=resnet_50,nasnet_large", "--datasets=pets,dtd", "--source=imagenet",
                    "--regimes=finetune,logistic_regression")
    planned = [run.config for run in jobs.plan_runs(flags, 1e12)]
    regressions, tunings = ([(one, plan.memory(one)) for one in planned if one.kind.trains == trains]
                            for trains in (False, True))

    def divided(one, parts):  # by the rule for a run that is given the flag
        named = {"accumulate": parts} if one.kind.trains else {"batch_size": 256 // parts}
        return plan.memory(dataclasses.replace(one, **named))

    for one, size in (*regressions, *tunings):
        for parts in (2, 4, 64):
            assert size.divided(parts).device == pytest.approx(divided(one, parts).device, abs=2)
            assert size.divided(parts).host == divided(one, parts).host
    for gigabytes in (16, 32, 80):
        parts = sizes.parts_that_fit([size for _, size in tunings], 1e9 * gigabytes)
        assert all(divided(one, parts).device <= 1e9 * gigabytes for one, _ in tunings)
        assert any(divided(one, parts // 2).device > 1e9 * gigabytes for one, _ in tunings)
    header, *lines, _, _ = sizes.remedies([*regressions, *tunings], [
        ("A100", 80e9, False), ("T4", 16e9, False), ("large", 1e12, False), ("none", 1e8, False), ("here", 32e9, True)])
    assert [re.split(" {2,}", line.strip()) for line in (header, *lines)] == [
        ["to fit all jobs into", "logistic regression", "fine-tuning"], ["A100", "fits", "--accumulate=4"],
        ["T4", "--batch_size=64", "--accumulate=16"], ["none", "none does", "none does"],
        ["here", "--batch_size=128", "--accumulate=8"]]
    assert sizes.remedies([*regressions, *tunings], [("large", 1e12, False)]) == []
    few = dataclasses.replace(tunings[0][1], images=3)  # whose batch is not divided by what divides the others'
    assert sizes.parts_that_fit([few, tunings[1][1]], 16e9) is None


@pytest.mark.parametrize(("network", "measured"), [
    ("resnet_50", 99.4e6), ("mobilenet_v1", 58.4e6), ("densenet_121", 145.4e6)])
def test_what_training_keeps_of_an_image_is_what_was_measured(network, measured):
    assert 4 * sizes.kept_numbers(NETWORKS[network], None) == pytest.approx(measured, rel=0.15)


def test_the_largest_job_of_each_regime_stands_in_the_plan():
    flags = options(*WHOLE)
    runs = jobs.plan_runs(flags, 1e12)
    header, *lines, _, _, _ = sizes.memory_table([(run.config, plan.memory(run.config)) for run in runs])
    assert len({len(line) for line in (header, *lines)}) == 1
    assert [re.split(" {2,}", line.strip())[0] for line in lines] == ["logistic regression", "fine-tuning",
                                                                      "training from scratch"]
    assert all(line.endswith("nasnet_large birdsnap") for line in lines)
    text = plan.describe(flags, runs)
    assert header in text and "archives" in text and "without birdsnap, aircraft, whose size is unknown" in text


def test_the_large_solver_is_streamed_in_blocks():
    source = options("--models=mobilenet_v1", "--datasets=pets", "--source=imagenet", "--regimes=logistic_regression")
    config = jobs.plan_runs(source, 1e12)[0].config
    network, pets = NETWORKS["mobilenet_v1"], lookup.get_dataset("pets", None)
    images = 2_000_000
    large = sizes.memory(config, network, dataclasses.replace(pets, classes=1000, source=None, train=images), images)
    fitted = images + 740
    features, _, scores, basis = sizes.regression(fitted, 1024, 1000)
    assert (features, scores, basis) == (4 * fitted * 1024, 28 * fitted * 1000, 8 * 1024 * (5 * 1024 + 24 * 1000))
    assert large.device == (4 << 30) + 16 * fitted * 1000  # the features have 8.2 GB
    small = sizes.memory(config, network, dataclasses.replace(pets, source=None, train=images), images)
    weights = 4 * (sizes.parameters(network, 1000) - sizes.parameters(network, 37))
    assert large.host - small.host == weights + (1000 - 37) * (28 * fitted + 8 * 24 * 1024)
    assert large.host > 735_000_000 + 2 * features + scores


def test_disk_of_a_study_by_hand():
    flags = options("--models=resnet_50", "--datasets=pets", "--source=imagenet",
                    "--regimes=finetune,logistic_regression")
    runs = jobs.plan_runs(flags, 1e12)
    assert {name: size for name, size, _ in sizes.disk(runs, keep_model=True)} == {
        "archives": 811_092_049, "data": 811_092_049, "weights": 4 * (23_508_032 + 2_049_000),
        "features": 4 * 2048 * 7349, "checkpoints": 376_128_512, "predictions": 2 * 2 * 3669 * 37,
        "networks": 2 * 94_335_380}
    first, *rest = sizes.disk_table(runs, keep_model=True)
    assert re.search(r"disk, about +2\.3 GB  in all$", first) and len(rest) == 7
    assert "networks" not in "".join(sizes.disk_table(runs, keep_model=False))


def test_features_that_several_runs_share_count_once():
    flags = options("--models=resnet_50", "--datasets=pets", "--source=imagenet", "--regimes=logistic_regression")
    flags.logistic_regression += " --examples_per_class=1,2 --subset_seeds=0,1"
    runs = jobs.plan_runs(flags, 1e12)
    assert len(runs) == 4
    assert ("features", 4 * 2048 * 7349, "") in sizes.disk(runs, keep_model=False)


# ---- status --------------------------------------------------------------------------------------


COST = plan.Cost(fits=57, trained=100, evaluated=10, seconds=3600.0, kept=1)
TITLE = ("finetune", "resnet_50", "pets", "")
NOBODY = {"at_work": None, "age": None, "report": None, "set_aside": {}}


def row(**more):
    return Record(**{
        "schema": 5, "key": "0" * 16, "regime": "finetune", "network": "resnet_50", "dataset": "pets", "metric": "top1",
        "accuracy": 0.9, "n_test": 100, "seconds": 1800.0, "spec": {"regime": "finetune", "steps": 19531},
        "trials": [{"validation_accuracy": 0.8, "diverged": False, "images_per_second": 50.0}] * 56} | more)


def test_a_finished_run_tells_its_accuracy_and_what_to_mind():
    trials = [{"validation_accuracy": 0.0, "diverged": True}, {"validation_accuracy": 0.8, "certified": False}]
    state = status.state_of(TITLE, COST, row(trials=trials, warnings=["edge of its grid"]), None)
    assert (state.state, state.accuracy, state.fits_done) == ("finished", 0.9, 57)
    assert (state.diverged, state.uncertified) == (1, 1)
    text = "\n".join(status.lines([state], [], NOBODY))
    for words in ("90.0 %", "edge of its grid", "1 × a trial that diverged", "1 × a regression", "1 of 1 run finished"):
        assert words in text


def test_a_begun_run_tells_how_far_it_is(tmp_path):
    assert status.state_of(TITLE, COST, None, tmp_path / "absent").state == "not begun"
    assert status.state_of(TITLE, COST, None, tmp_path).state == "begun"
    for number, accuracy in ((1, 0.5), (10, 0.7)):
        store.trial_path(tmp_path, number).write_text(json.dumps({
            "learning_rate": 0.1, "weight_decay": 0, "steps": 5, "validation_accuracy": accuracy, "test_crop": "whole",
            "diverged": False, "seconds": 60}))
    checkpoint = tmp_path / "trial2/checkpoints/ckpt-5.index"  # one that is being trained
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(bytes(2_000_000))
    state = status.state_of(TITLE, COST, None, tmp_path)
    assert (state.fits_done, state.best, state.seconds, state.accuracy) == (2, 0.7, 120, None)
    assert "2 of 57 fits done, best 70.0 %" in state.text
    assert state.checkpoint_bytes == 2_000_000
    assert "checkpoints of what is not finished: 2.0 MB" in status.lines([state], [], NOBODY)
    store.trial_path(tmp_path, 10).write_text("{")
    assert status.state_of(TITLE, COST, None, tmp_path).fits_done == 0


def test_what_is_left_follows_the_pace_of_what_is_finished():
    done = status.state_of(TITLE, COST, row(), None)  # in half the time that the plan expects
    left = status.state_of(TITLE, COST, None, None)
    found = status.totals([done, left, left])
    assert (found["finished"], found["begun"], found["not_begun"]) == (1, 0, 2)
    assert found["hours_spent"] == 0.5 and found["hours_left"] == pytest.approx(1.0)
    assert json.loads(json.dumps(status.as_json([done, left], ["x"], NOBODY)))["totals"]["runs"] == 2


def test_time_is_told_by_regime():
    """Worked out on paper: fine-tuning takes half of the hour that the plan expects of a run, a regression a quarter of
    its minute; nothing tells how long training from scratch takes, so the pace of both is taken, 1,815 of 3,660 s."""
    minute = dataclasses.replace(COST, seconds=60.0)
    solved = status.state_of(("logistic_regression", *TITLE[1:]), minute, row(seconds=15.0), None)
    left = [status.state_of((regime, *TITLE[1:]), cost, None, None) for regime, cost in (
        ("logistic_regression", minute), ("finetune", COST), ("finetune", COST), ("train_from_scratch", COST))]
    states = [status.state_of(TITLE, COST, row(), None), solved, *left]
    found = status.by_regime(states)
    assert list(found) == ["logistic_regression", "finetune", "train_from_scratch"]
    assert [(part["finished"], part["runs"], part["fits_done"]) for part in found.values()] == [
        (1, 2, 57), (1, 3, 57), (0, 1, 0)]
    assert [part["hours_left"] * 3600 for part in found.values()] == pytest.approx([15, 3600, 3600 * 1815 / 3660])
    assert [(part["spent"], part["left"]) for part in found.values()] == [
        ("15 s", "15 s"), ("30 min 0 s", "1 h 0 min"), ("0 s", "29 min 45 s")]
    assert status.totals(states)["hours_left"] == pytest.approx(sum(part["hours_left"] for part in found.values()))
    _, header, *lines = status.lines(states, [], NOBODY)
    assert header.split()[-2:] == ["left,", "about"] and lines[1] == (
        "  fine-tuning              1 of 3  57 of 171         30 min 0 s    1 h 0 min")
    assert status.as_json(states, [], NOBODY)["regimes"] == found
    assert "left, about" not in "".join(status.lines(states[:1], [], NOBODY))  # of one the summary tells


def test_status_of_nothing_is_all_left(capsys):
    flags = options("--models=mobilenet_v1", "--datasets=digits", "--source=glyphs", "--image_size=32", "--status",
                    "--json", "--results_dir=/absent/results")
    study.show_status(flags, jobs.plan_runs(flags, 1e12))
    found = json.loads(capsys.readouterr().out)
    assert found["totals"]["not_begun"] == found["totals"]["runs"] == 4


def test_hosts_tell_what_they_did():
    trials = [{"host": host, "seconds": 100.0, "images_per_second": speed} for host, speed in
              (("a", 50.0), ("a", 70.0), ("a", 60.0), ("b", 10.0))]
    searched = status.state_of(TITLE, COST, row(trials=trials, host="b", seconds=1000.0, refit={
        "seconds": 500.0, "images_per_second": 20.0}), None)
    solved = status.state_of(TITLE, COST, row(trials=[{"seconds": 1.0}], host="c", seconds=1000.0), None)
    unknown = status.state_of(TITLE, COST, row(), None)  # of an older tfbench
    hosts = status.by_host([searched, solved, unknown])
    assert {host: (part["fits"], part["hours"] * 3600, part["images_per_second"]) for host, part in hosts.items()} == {
        "a": (3, pytest.approx(300), 60.0), "b": (2, pytest.approx(700), 15.0), "c": (1, pytest.approx(1000), None)}
    assert [part["share"] for part in hosts.values()] == pytest.approx([0.15, 0.35, 0.5])
    lines = status.lines([searched, solved, unknown], [], NOBODY)
    assert "host a: 3 fits, 60 images/s in training, 15 % of the time spent" in lines
    assert "host c: 1 fit, 50 % of the time spent" in lines


def report(folder, seconds_ago: float, **more):
    """What a study on Ray wrote then."""
    written = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=seconds_ago)
    moment = written.isoformat(timespec="seconds")
    running = [{"title": "finetune resnet_50 pets 76 steps trial 3/56", "host": "node1", "node": "f00d",
                "since": moment}] * 2
    atomic.write_json(folder / "ray.json", {
        "written": moment, "ended": False, "dashboard": "http://head:8265", "done": 4, "of": 10, "running": running,
        "again": [{"title": "finetune resnet_50 pets 76 steps trial 4/56", "reason": "it died"}],
        "set_aside": [{"title": f"finetune resnet_50 dtd{unit}", "reason": reason, "details": []}
                      for unit, reason in ((" trial 1/56", "out of memory"), ("", "it needs trial 1/56"))]} | more)
    return status.read_work(folder)


RUNS = [("finetune", "resnet_50", *rest) for rest in (("pets", "76 steps"), ("pets", "7 steps"), ("dtd", ""))]


def at_work(work):
    """States of RUNS, and all lines."""
    found = status.with_work([status.state_of(title, COST, None, None) for title in RUNS], work)
    return [state.state for state in found], "\n".join(status.lines(found, [], work))


def test_what_runs_on_ray_is_read_from_its_file(tmp_path):
    states, text = at_work(report(tmp_path, 3))
    assert states == ["running", "not begun", "set aside"]
    for words in ("finetune resnet_50 dtd: set aside: out of memory", "trial 3/56 on node1 for ", "again: ", "it died",
                  "2 jobs running, 4 of 10 done", "http://head:8265",
                  "3 h 0 min left (1 h 30 min with 2 jobs at a time)",
                  "0 of 3 runs finished, 1 running, 0 begun, 1 set aside, 1 not begun"):
        assert words in text
    states, text = at_work(report(tmp_path, 3600))
    assert states == ["not begun", "not begun", "set aside"] and "wrote nothing for 1 h 0 min" in text
    states, text = at_work(report(tmp_path, 3600, ended=True))
    assert states == ["not begun", "not begun", "set aside"] and "ended 1 h 0 min ago" in text
    (tmp_path / "ray.json").write_text("{")
    with pytest.raises(UserError, match="move it away"):
        status.read_work(tmp_path)


def test_what_is_finished_is_not_set_aside(tmp_path):
    done = status.state_of(RUNS[2], COST, row(), None)
    assert status.with_work([done], report(tmp_path, 3))[0].state == "finished"


def test_a_study_in_one_process_is_known_by_its_lock(tmp_path):
    assert status.read_work(tmp_path)["at_work"] is None
    with sharing.exclusive_lock(tmp_path, print):
        work = status.read_work(tmp_path)
        found = [status.state_of(TITLE, COST, row(), None), *(
            status.state_of(TITLE, COST, None, tmp_path) for _ in range(2))]
        assert [state.state for state in status.with_work(found, work)] == ["finished", "running", "begun"]
        assert "in one process" in "\n".join(status.lines(found, [], work))
    assert status.read_work(tmp_path)["at_work"] is None


def test_the_runs_of_a_curve_have_titles_and_flags_of_their_own():
    flags = options("--models=resnet_50", "--datasets=pets", "--source=imagenet", "--regimes=finetune")
    flags.finetune += " --steps_curve=76,7 --examples_per_class=4 --subset_seeds=0,1"
    runs = jobs.plan_runs(flags, 1e12)
    assert [run.variant for run in runs] == [f"{steps} steps, 4 per class, subset {seed}"
                                             for steps in (76, 7) for seed in (0, 1)]
    for run in runs:
        for defaults in (False, True):
            assert parse(finetune, run.config.to_flags(defaults=defaults)) == run.config
        assert run.config.variants() == [run.config]


# ---- status of a large study -----------------------------------------------------------------------


def made_up_study(folder):
    """Flags of a study of 12,096 runs, all of which are finished; prepared data and weights are made up too."""
    curves = f"--steps_curve={','.join(map(str, range(1, 64)))} --grid=3x2"
    flags = parse(study, [*WHOLE, "--regimes=finetune", f"--data_dir={folder}/data",
                                           f"--results_dir={folder}",
                                           f"--finetune=--weights_dir={folder}/weights {curves}"])
    for name in flags.datasets:
        splits = {split: {"n": 100, "sha256": split} for split in manifests.SPLITS}
        dataset = lookup.get_dataset(name, None)
        atomic.write_json(manifests.folder(dataset, flags.data_dir) / manifests.MANIFEST, {
            "dataset": name, "tfds": dataset.tfds, "splits": splits, "content": name, "origin": "archives", "files": {},
            "versions": {},
            "verification": {level: {"result": "PASS", "found": ""} for level in verify.LEVELS}})
    for name in flags.models:
        path = weights.imagenet_path(folder / "weights", name)
        atomic.write_atomically(path, name.encode())
        atomic.write_json(weights.metadata_path(path), {
            "network": name, "dataset": "imagenet", "accuracy": 0.7, "n_test": 50000,
            "sha256": atomic.file_sha256(path), "value_range": "inception", "bn_scale": True})
    (folder / "rows").mkdir()
    trials, known = [{
        "learning_rate": 0.01, "weight_decay": 0.001 * number, "validation_accuracy": 0.5, "test_crop": "whole",
        "validation": {"whole": 0.5, "central": 0.4321}, "diverged": False, "seconds": 100.0,
        "images_per_second": 812.3456789, "input_wait": 0.0123456, "replicas": 1, "host": f"node{number % 4}"}
        for number in range(56)], {}
    refit = {"finite": True, "seconds": 100.0, "images_per_second": 800.0, "input_wait": 0.01, "images": 200}
    records = {number: row(trials=trials[:number], refit=refit, host="node0", warnings=["edge"]) for number in (6, 56)}
    texts = {number: json.dumps(record.to_json(), indent=1) for number, record in records.items()}
    for number, run in enumerate(jobs.plan_runs(flags, 1e12)):
        spec, _ = jobs.record_of(run.config, known)
        text = texts[6 if number % 10 else 56].replace("0" * 16, config.key_of(spec))
        store.record_path(folder, spec).write_text(text)
    return flags


@pytest.mark.slow
def test_twelve_thousand_rows_are_told_in_three_seconds(tmp_path, capsys):
    def seconds(do) -> float:
        start = time.thread_time()  # of the processor: what else the machine does must not fail this
        do()
        return time.thread_time() - start

    flags = made_up_study(tmp_path)
    for as_json in (False, True):
        flags.json = as_json
        pairs = [(seconds(lambda: study.show_status(flags, jobs.plan_runs(flags, 1e12))),
                  seconds(lambda: store.read_records(tmp_path))) for _ in range(2)]
        text = capsys.readouterr().out
        # A processor that is shared is slow: then some times what reading all rows takes.
        assert any(took < max(3, 4 * reading) for took, reading in pairs), pairs
        if not as_json:
            assert text.startswith("12,096 of 12,096 runs finished") and "nothing left" in text
            assert text.count("and 12,093 other runs\n") == 2 and "host node3: 27,826 fits" in text
    found = json.loads(text.splitlines()[-1])
    assert found["totals"]["finished"] == len(found["runs"]) == 12096 and len(found["hosts"]) == 4


# ---- archive -------------------------------------------------------------------------------------


def results(folder, networks=("resnet_50", "vgg_16", "inception_v1")):
    """A results folder with fine-tuned rows of the networks on one data set, and what else such folders hold."""
    labels = np.arange(100) % 5
    for i, network in enumerate(networks):
        right = np.arange(100) >= 10 * (3 - i)
        found = row(network=network, accuracy=float(right.mean()), key=f"{i:016x}",
                    source={"dataset": "glyphs", "accuracy": 0.5 + i / 10, "n_test": 10},
                    test_split={"n": 100, "sha256": "a" * 64},
                    spec={"regime": "finetune", "network": network, "dataset": "pets", "steps": 19531})
        store.write_record(folder, found, {"labels": labels, "predictions": np.where(right, labels, 9)}, "# flags\n")
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
    assert all(atomic.file_sha256(target / name) == sha for name, sha in listed.items())
    pages = [analysis.analyse(folder, output_dir=tmp_path / name).parent for folder, name in
             ((source, "a"), (target, "b"))]
    for name in ("accuracies.csv", "pairs.csv", "index.html"):
        assert (pages[0] / name).read_bytes() == (pages[1] / name).read_bytes()


def test_an_archive_is_extended_by_one_network(tmp_path):
    target = tmp_path / "archive"
    archive.export(results(tmp_path / "results", ("resnet_50", "vgg_16")), target)
    results(target, ("resnet_50", "vgg_16", "inception_v1"))
    assert len(store.read_records(target)) == 3


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
