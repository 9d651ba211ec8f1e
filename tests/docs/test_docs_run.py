"""A reader's first day: README's and the manual's commands and code, typed in order into a clone, with less work.

Every command is named here: it is run, or it is among those that cannot be, with the reason.
"""

import os
import re
import shutil
import subprocess
import sys
import time

import pytest
import test_docs
from helpers import processes
from helpers.readers import PRETRAIN, SHORT_STUDY, make_clone
from test_docs import MANUAL, MEASUREMENTS

import tfbench

MINIATURE = "study --flagfile=flags/miniature.flags"

# Beginnings of commands → what is added to make them short; of several that fit, the longest.
RUN = {
    f"{MINIATURE} --yes": SHORT_STUDY,
    f"{MINIATURE} --status": SHORT_STUDY,
    f"{MINIATURE} --status --json": SHORT_STUDY,
    f"{MINIATURE} --watch=60": SHORT_STUDY,
    f"{MINIATURE} --export=archive": SHORT_STUDY,
    f"{MINIATURE} --executor=commands": SHORT_STUDY,
    f"{MINIATURE} --results_dir=results/ablation_1": "--models=mini_vgg,mini_resnet "
    "--pretrain_own= --datasets=digits --regimes=logistic_regression --processes=1 "
    f"--logistic_regression=--l2=1,100 '--pretrain={PRETRAIN} --flagfile=flags/ablation_1.flags --noauxiliary_head'",
    "study --flagfile=flags/paper_v3.flags --plan": "",
    "study --flagfile=flags/paper_v3.flags --executor=commands": "",
    "logistic_regression --model=inception_v4": "",
    "finetune --model=inception_v4": "",
    "train_from_scratch --model=inception_v4": "",
    "pretrain --model=mobilenet_v2": "--steps=4",
    "finetune --model=mobilenet_v2": "--steps=2",
    "pretrain --model=nets:small": "--steps=4",
    "finetune --model=nets:small": "--steps=2 --learning_rate=0.01 --weight_decay=0 --batch_size=64",
    "logistic_regression --features=mine.npz": "",
    "prepare_data --dataset=all --action=plan": "",
    "analysis --results_dir=results": "",
    "analysis --results_dir=results --dataset=digits": "",
    "analysis --results_dir=results --ablation=results/ablation_1,results/ablation_5,paper": "",
    "analysis --accuracies=": "--dataset=pets",
    "analysis --accuracies=tfbench/stats/published/kornblith2019_v3_fig2_digitised.csv --output_dir=report": "",
    "analysis --results_dir=results --duplicates=results/duplicates/pairs.csv": "",
    "tsne --models=mini_resnet,mini_vgg": "",
    "duplicates --source=glyphs": "",
    "mistakes --run=latest": "",
}
NOT_RUN = {  # these are parsed, in test_docs.py
    "prepare_models": "fetches a checkpoint",
    "export": "needs a run that kept its network; test_export_program.py runs each format",
    "prepare_data --dataset=": "fetches archives, or needs a data set or a copy that is there",
    "tsne --model=inception_v4": "needs pretrained weights",
    "logistic_regression --model=vit:vit": "fetches weights; test_custom_model.py does it with a small preset",
    "study --models=small": "needs public weights, and the paper's data",
    "study --models=MODULE:": "needs networks of the reader's own",
    "duplicates --source=imagenet2012": "needs ImageNet",
    "analysis --results_dir=DIR": "is about a folder of made-up cells, which benchmark makes",
    "predict": "needs photographs of the reader's; tests/classify runs it",
    "benchmark": "takes minutes; test_benchmark.py runs each in small",
    "train_from_scratch --model=tests.helpers": "is of photographs; tests/sweep/test_time_budget.py runs it",
    "study --flagfile=flags/choose_finetune.flags": "needs a ranking of the reader's images",
    "study --flagfile=flags/first_result.flags": "fetches weights and data; test_preparing.py plays its hosts",
    "study --flagfile=flags/choose.flags": "needs public weights, and images of the reader's",
    "study --flagfile=flags/paper_v3.flags --flagfile=flags/cluster.flags": "needs a Ray cluster and the paper's data",
    "study --flagfile=flags/paper_v3.flags --task=": "needs the paper's data; the script is run below",
    "study --flagfile=flags/halving.flags": "takes ten minutes",
    "study --models=paper --datasets=paper": "is about thousands of made-up records, which test_plan.py makes",
}
# What these ask for, with exit code 2: nothing of the paper's is here.
MISSING = {"--dataset=birdsnap": "tfbench.prepare_data --dataset=birdsnap", "--executor=commands": "tfbench.prepare_"}


def beginning(command: str, table: dict) -> str | None:
    return max((known for known in table if command.startswith(known)), key=len, default=None)


def typed(where: str) -> list[str]:
    """The commands of a document in their order, each once, without `python -m tfbench.`."""
    return list(dict.fromkeys(f"{program} {arguments.strip()}" for found, program, arguments in test_docs.commands()
                              if found == where))


@pytest.mark.parametrize("command", typed("README.md") + typed(MANUAL) + typed(MEASUREMENTS))
def test_every_command_is_run_or_excused(command):
    run = beginning(command, RUN)
    assert run is not None or beginning(command, NOT_RUN), "run it below, or say why not"


def code(where: str, first: str) -> str:
    """The Python block of a document that begins with `first`."""
    return next(block for block in re.findall(r"```python\n(.*?)```", test_docs.TEXTS[where], re.DOTALL)
                if block.startswith(first))


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone of this project and an empty home."""
    folder = make_clone(tmp_path_factory.mktemp("reader") / "clone")
    (folder / "nets.py").write_text(code(MANUAL, "# nets.py"))
    return folder


def environment(clone) -> dict[str, str]:
    return os.environ | {"HOME": str(clone.parent), "TF_CPP_MIN_LOG_LEVEL": "2"}


def run(clone, *arguments) -> str:
    """What a command prints, line by line; errors after it."""
    done = subprocess.run([sys.executable, *arguments], cwd=clone, capture_output=True, text=True, timeout=600,
                          env=environment(clone))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def run_program(clone, program: str, *flags, code=0) -> str:
    """What `python -m tfbench.PROGRAM` prints."""
    start = time.monotonic()
    found, output = processes.run(program, *flags, cwd=clone, env=environment(clone), timeout=600)
    print(f"{time.monotonic() - start:5.1f} s  {program} {' '.join(flags)[:100]}")
    assert found == code, output[-6000:]
    return output


def run_command(clone, command: str, weights: dict[str, str]) -> None:
    """Runs a command of the documents; FILE_THAT_PRETRAIN_NAMED is what was printed for the network before."""
    added = RUN[beginning(command, RUN)]
    program, *arguments = test_docs.shlex.split(f"{command} {added}")
    network = next((argument for argument in arguments if argument.startswith("--model=")), None)
    arguments = [argument.replace("FILE_THAT_PRETRAIN_NAMED", weights.get(network, "")) for argument in arguments]
    needs_the_papers = {"--dataset=birdsnap", "--flagfile=flags/paper_v3.flags"} & set(arguments)
    missing = next((told for argument, told in MISSING.items() if argument in arguments and needs_the_papers), None)
    printed = run_program(clone, program, *arguments, code=2 if missing else 0)
    assert missing is None or missing in printed, printed
    if program == "pretrain":
        weights[network] = re.search(r"\S+\.weights\.h5", printed).group()
    if "--results_dir=results/ablation_1" in arguments:  # "each in its own folder"
        again = [argument.replace("ablation_1", "ablation_5") for argument in arguments]
        run_program(clone, program, *again)


@pytest.mark.slow
def test_the_documents_from_top_to_bottom(clone):
    """What one command leaves the next ones need, so this is one test."""
    weights = {}
    after = "analysis --results_dir=results"  # of the paper's own commands, for which no data are here
    for command in [*filter(lambda command: command != after, typed("README.md")), after]:
        if beginning(command, RUN) is not None:
            run_command(clone, command, weights)
    assert (clone / "results" / "miniature" / "report" / "index.html").exists()
    assert (clone / "report" / "figures" / "main.png").exists()

    snippet = code(MANUAL, "from tfbench import build_network, correlation").replace(
        '"results/weights/FILE.weights.h5"', repr(weights["--model=mobilenet_v2"])).replace(
        '"mobilenet_v1"', '"mobilenet_v2"').replace('load_rows("results")', 'load_rows("results/miniature")')
    assert "('mini_" in run(clone, "-c", snippet)
    made = code(MANUAL, "np.savez")
    run(clone, "-c", "import numpy as np\nfrom sklearn import datasets\nfeatures, labels = datasets.load_iris("
        f"return_X_y=True)\npart = np.arange(150) % 3\n{made}")
    for command in typed(MANUAL):
        if beginning(command, RUN) is not None and command not in typed("README.md"):
            run_command(clone, command, weights)
    assert list((clone / "archive" / "rows").glob("*.json"))
    shutil.rmtree(clone)


def test_the_front_door(clone):
    assert "tfbench.finetune" in run(clone, "-m", "tfbench")
    listed = run(clone, "-m", "tfbench", "list")
    assert "inception_v4" in listed and "birdsnap" in listed
    assert "--learning_rate" in run(clone, "-m", "tfbench.finetune", "--help")
    assert tfbench.__version__ in run(clone, "-m", "tfbench", "--version")


# Stand-ins: the study prints three jobs in two stages, sbatch runs an array at once and tells its arguments.
STUDY = """#!/bin/bash
printf '%s\\n' 'echo first >> done' "sh -c 'echo a word >> done'" '# wait' 'echo last >> done'
"""
SBATCH = """#!/bin/bash
echo "$*" >> sbatch
for argument in "$@"; do
    case $argument in
        --array=1-*) last=${argument#--array=1-} ;;
        --wrap=*) job=${argument#--wrap=} ;;
    esac
done
for SLURM_ARRAY_TASK_ID in $(seq "$last"); do export SLURM_ARRAY_TASK_ID; bash -c "$job"; done
wc -l < sbatch
"""


def slurm_script(word: str) -> str:
    """The manual's script that has this word."""
    blocks = re.findall(r"```bash\n(.*?)```", test_docs.TEXTS[MANUAL], re.DOTALL)
    return next(block for block in blocks if word in block)


@pytest.mark.parametrize(("code", "requeued"), [(0, []), (1, []), (75, ["requeue 4711"])])
def test_the_array_script_requeues_what_was_preempted(tmp_path, code, requeued):
    for name, text in (("srun", '"$@"'), ("python", f'echo "$*" > told; exit {code}'),
                       ("scontrol", 'echo "$*" >> requeued')):
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(["bash", "-c", slurm_script("--task")], cwd=tmp_path, timeout=60, env=os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "64",
        "SLURM_JOB_ID": "4711"})
    assert done.returncode == code and "--task=3/64 --yes" in (tmp_path / "told").read_text()
    found = tmp_path / "requeued"
    assert (found.read_text().splitlines() if found.exists() else []) == requeued


def test_the_slurm_script_runs_the_stages_in_order(tmp_path):
    (tmp_path / "bin").mkdir()
    for name, text in (("python", STUDY), ("sbatch", SBATCH)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    script = slurm_script("stage")
    (tmp_path / "stage_100").write_text("of an earlier study")
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, text=True, capture_output=True, timeout=60,
                          env=os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"})
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert (tmp_path / "done").read_text().splitlines() == ["first", "a word", "last"]
    first, second = (tmp_path / "sbatch").read_text().splitlines()
    assert "--array=1-2" in first and "--dependency" not in first
    assert "--array=1-1" in second and "--dependency=afterok:1" in second
