"""Presets: a search on images of one's own is as long as their number asks for; on the paper's it is the paper's."""

import re

import pytest
from helpers.programs import FlagsError, parse, plan_runs

from tfbench import finetune, paper, pretrain, study, train_from_scratch
from tfbench.regimes import REGIMES
from tfbench.results import store
from tfbench.sweep import jobs, plan

MINE = ["--model=mobilenet_v1", "--dataset=folder:mine"]
PETS = ["--model=mobilenet_v1", "--dataset=pets"]
QUICK = paper.FINE_TUNING.quick


@pytest.mark.parametrize("images, tuned, scratch", [
    (1, (1, 100), (1, 400)), (40, (32, 100), (32, 400)), (120, (64, 100), (64, 400)), (400, (64, 188), (64, 694)),
    (5_000, (64, 2344), (64, 8672)), (100_000, (64, 19531), (64, 78125))])
def test_batches_and_steps_by_the_number_of_training_images(images, tuned, scratch):
    for program, expected in ((finetune, tuned), (train_from_scratch, scratch)):
        config = parse(program, MINE).settled(images)
        assert (config.batch_size, config.steps) == expected and config.batch_size <= images
        assert config.settled(7) == config  # what is settled stays
        quick = config.kind.search.quick
        assert config.grid_values == (quick.learning_rates, quick.weight_decays)


@pytest.mark.parametrize("flags, batch, steps, rates, decays", [
    (["--steps=7"], 64, 7, QUICK.learning_rates, QUICK.weight_decays),
    (["--steps_curve=7"], 64, 7, QUICK.learning_rates, QUICK.weight_decays),
    (["--epochs=2"], 64, 12, QUICK.learning_rates, QUICK.weight_decays),
    (["--epochs=0.5", "--batch_size=16"], 16, 12, QUICK.learning_rates, QUICK.weight_decays),
    (["--batch_size=256"], 256, 100, QUICK.learning_rates, QUICK.weight_decays),
    (["--grid=2x1"], 64, 188, (1e-4, 1e-1), paper.FINE_TUNING.weight_decays[4:5]),
    (["--learning_rate=0.3"], 64, 188, (0.3,), QUICK.weight_decays),
    (["--weight_decay=0"], 64, 188, QUICK.learning_rates, (0.0,)),
    (["--preset=paper"], 256, 19531, paper.FINE_TUNING.learning_rates, paper.FINE_TUNING.weight_decays),
    (["--preset=paper", "--examples_per_class=4"], 64, 1000, tuple(
        rate / 4 for rate in paper.FINE_TUNING.learning_rates), paper.FINE_TUNING.weight_decays)])
def test_what_is_given_wins(flags, batch, steps, rates, decays):
    config = parse(finetune, [*MINE, *flags]).variants()[0].settled(400)
    assert (config.batch_size, config.steps, *config.grid_values) == (batch, steps, rates, decays)
    again = parse(finetune, config.to_flags())  # the flagfile beside a record
    assert again.settled(399) == again == config


@pytest.mark.parametrize("dataset, preset", [
    ("pets", "paper"), ("digits", "paper"), ("folder:mine", "quick"), ("tfds:tf_flowers", "quick")])
def test_the_papers_data_sets_have_the_papers_numbers(dataset, preset):
    config = parse(finetune, ["--model=mobilenet_v1", f"--dataset={dataset}"])
    other = {"paper": "quick", "quick": "paper"}[preset]
    assert config.settled(400) == parse(finetune, config.to_flags(defaults=False)).settled(400)
    lengths = {name: parse(finetune, [*config.to_flags(), f"--preset={name}"]).settled(400).steps
               for name in ("quick", "paper")}
    assert config.settled(400).steps == lengths[preset] != lengths[other]


def test_epochs_are_refused_beside_steps():
    for flag in ("--steps=3", "--steps_curve=3,4"):
        with pytest.raises(FlagsError, match="expected one of --epochs, --steps and --steps_curve"):
            parse(finetune, [*PETS, "--epochs=3", flag])
    with pytest.raises(FlagsError, match="above 0"):
        parse(finetune, [*PETS, "--epochs=0"])
    assert parse(finetune, [*PETS, "--epochs=10"]).settled(2940).steps == 115  # of 256


def test_the_line_names_the_preset_where_it_decides():
    assert parse(finetune, MINE).length(400) == (
        "preset quick: 400 training images, batches of 64, 188 steps, 3 × 2 points (--preset=paper: the paper's)")
    assert parse(finetune, PETS).length(2940) == "2,940 training images, batches of 256, 19,531 steps, 7 × 8 points"
    given = ["--steps=5", "--batch_size=8", "--learning_rate=0.1", "--weight_decay=0"]
    assert parse(finetune, [*MINE, *given]).length(1) == "1 training image, batches of 8, 5 steps, 1 × 1 points"


def test_a_search_on_a_folder_says_its_length_first(photographs, tmp_path, run_program):
    shared = ["--model=helpers.tiny_networks:tiny", f"--dataset={photographs}", f"--results_dir={tmp_path}/results",
              f"--data_dir={tmp_path}/data"]
    said = run_program(pretrain, *shared, "--steps=1", "--batch_size=8", "--learning_rate=0.01")
    output = run_program(finetune, *shared, f"--weights={said.splitlines()[-1].split()[-1]}", "--learning_rate=0.1")
    lines = output.splitlines()
    first = next(number for number, line in enumerate(lines) if "trial 1/2" in line)
    assert re.search(r"preset quick: \d+ training images, batches of 16, 100 steps, 1 × 2 points .*; 3 trainings, "
                     r"[\d,]+ images, about .* on this machine", "\n".join(lines[:first]))
    record, = (record for record in store.read_records(tmp_path / "results") if record.regime == "finetune")
    assert record.spec["steps"] == 100 and record.spec["weight_decay"] == list(QUICK.weight_decays)
    assert "preset" not in record.spec and "epochs" not in record.spec and "budget" not in record.spec


def test_a_study_says_what_is_quick_and_passes_the_preset_on(photographs, tmp_path):
    arguments = ["--models=mobilenet_v1", f"--datasets={photographs}", "--source=glyphs", f"--data_dir={tmp_path}"]
    runs = plan_runs(study, arguments)
    lines = jobs.notes(runs)
    assert [line.split(" folder:")[0] for line in lines] == ["finetune", "train_from_scratch"]
    assert all("preset quick: " in line and "--preset=paper" in line for line in lines)
    papers = plan_runs(study, [*arguments, "--preset=paper"])
    assert jobs.notes(papers) == []
    for regime in ("finetune", "train_from_scratch"):
        quick, whole = (sum(run.cost.trained for run in found if run.config.regime == regime)
                        for found in (runs, papers))
        assert quick < whole / 1000 and REGIMES[regime].search.steps * 256 * 57 == whole
    assert plan.describe(parse(study, arguments), runs)
