"""Runs killed, pre-empted and sabotaged: the identical row in the end, or a clear error with all else intact."""

import errno
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

import orbit
import pytest
import tensorflow as tf
from helpers.disks import disk, remount
from helpers.outcomes import outcomes
from helpers.processes import Program, run
from helpers.programs import execute

from tfbench import UserError, logistic_regression, train_from_scratch
from tfbench.files import atomic
from tfbench.models import weights
from tfbench.models.build import build_network
from tfbench.results import store
from tfbench.training import checkpoints

ROOT = pathlib.Path(__file__).parents[2]
KILLS = 5  # in each of four campaigns
# A network that is traced in a second: what is killed and damaged here is the search around it.
SMALL = ["--model=mini_vgg", "--dataset=digits", "--image_size=32", "--batch_size=16",
         "--learning_rate=0.02,0.05", "--weight_decay=1e-4"]
GRID = [*SMALL, "--steps=60", "--deterministic", "--checkpoint_every=5"]


def start(results, data_dir):
    return Program("train_from_scratch", *GRID, f"--results_dir={results}", f"--data_dir={data_dir}")


def finish(results, data_dir):
    """Runs to the end; returns (exit code, output)."""
    return run("train_from_scratch", *GRID, f"--results_dir={results}", f"--data_dir={data_dir}")


def until_training(process) -> None:
    """Reads what a run prints before its first training."""
    next(line for line in process.lines() if line.startswith(("trial", "refit")))


def outcome(results) -> tuple:
    """The folder's one row without what differs by the clock, and the predictions."""
    found, = outcomes(results).values()
    return found


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, data_dir):
    """(outcome of the uninterrupted run, seconds that it trained)."""
    results = tmp_path_factory.mktemp("whole")
    process = start(results, data_dir)
    until_training(process)
    begin = time.monotonic()
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert not list(results.glob("work/*/*/checkpoints")) and not list(results.glob("work/*/trial*.json"))
    return outcome(results), time.monotonic() - begin


@pytest.fixture(scope="module")
def whole(uninterrupted):
    """Outcome of the uninterrupted run."""
    return uninterrupted[0]


@pytest.mark.slow
@pytest.mark.parametrize("campaign", range(4))
def test_killed_at_random_moments_it_comes_to_the_same_row(campaign, uninterrupted, data_dir, tmp_path):
    """SIGKILL while trials train, are scored and recorded; whenever a run gets to its end, another is begun."""
    whole, seconds = uninterrupted
    draw, kills, checkpointed = random.Random(campaign), 0, 0
    while kills < KILLS:
        process = start(tmp_path, data_dir)
        until_training(process)
        try:
            output, _ = process.communicate(timeout=draw.uniform(0.0, seconds))
            assert process.returncode == 0 and outcome(tmp_path) == whole, output
            shutil.rmtree(tmp_path / "rows")
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
            checkpointed += bool(list(tmp_path.rglob("step-*.index")))
            for record in tmp_path.glob("work/*/trial*.json"):
                json.loads(record.read_text())  # whole, whenever it was
    assert checkpointed
    code, output = finish(tmp_path, data_dir)
    assert code == 0 and outcome(tmp_path) == whole, output


@pytest.fixture(scope="module")
def preempted(tmp_path_factory, data_dir):
    """A results folder whose run was pre-empted in its second trial, after the checkpoint of step 10."""
    results = tmp_path_factory.mktemp("preempted")
    process = start(results, data_dir)
    while process.poll() is None and not [path for path in results.glob("work/*/trial2/checkpoints/*.index")
                                          if path.stem >= "step-00000010"]:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75 and "stopped by SIGTERM: the same command continues" in output, output
    assert "Traceback" not in output
    return results


@pytest.fixture
def cut(preempted, tmp_path):
    """A copy of `preempted`, and the data files of its two checkpoints."""
    results = tmp_path / "results"
    shutil.copytree(preempted, results)
    return results, sorted(results.glob("work/*/trial2/checkpoints/*.data*"))


@pytest.mark.slow
@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_damaged_checkpoints_fall_back(damaged, whole, cut, data_dir):
    results, checkpoint_data = cut
    assert len(checkpoint_data) == checkpoints.MAX_TO_KEEP
    for path in checkpoint_data[checkpoints.MAX_TO_KEEP - damaged:]:
        path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])
    code, output = finish(results, data_dir)
    assert code == 0 and outcome(results) == whole, output
    assert output.count("is damaged and left aside") == damaged
    assert "trial 1/2" not in output and "trial 2/2" in output


@pytest.mark.slow
@pytest.mark.parametrize("what, options, reason, later", [
    ("trial2/checkpoints", "size=300k", "No space left", "size=300m"), ("trial2", "ro", "Read-only", None)])
def test_full_and_read_only_disks_lose_nothing(what, options, reason, later, whole, cut, data_dir):
    """A folder of the running trial is a disk that is full, and has room `later`; or cannot be written, and while the
    program waits it is pre-empted."""
    results, _ = cut
    folder, = results.glob("work/*")
    kept = store.read_trials(folder)
    with disk(folder / what, options):
        process = start(results, data_dir)
        warning = next(line for line in process.lines() if "cannot write" in line)
        assert reason in warning and "make the folder writable and free some space" in warning
        assert store.read_trials(folder) == kept
        if later:
            remount(folder / what, later)
        else:
            process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == (0 if later else 75) and "Traceback" not in output, output
    if not later:
        code, output = finish(results, data_dir)
        assert code == 0, output
    assert outcome(results) == whole


@pytest.fixture
def refusing(monkeypatch):
    """From its call on, a disk is full whenever something is first written to it; gives what was refused."""
    monkeypatch.setattr(atomic, "FIRST_PAUSE", 0.001)
    refused, replace, write, make_writer = [], os.replace, tf.train.Checkpoint.write, tf.summary.create_file_writer

    def refuse_first(path, error) -> None:
        if str(path) not in refused:
            refused.append(str(path))
            raise error

    def replace_(source, target):
        refuse_first(target, OSError(errno.ENOSPC, "No space left on device"))
        replace(source, target)

    def write_(self, prefix, *more):
        refuse_first(prefix, tf.errors.ResourceExhaustedError(None, None, "No space left on device"))
        return write(self, prefix, *more)

    def make_writer_(folder, *more, **options):
        refuse_first(folder, tf.errors.PermissionDeniedError(None, None, "Read-only file system"))
        return make_writer(folder, *more, **options)

    def flush(self):
        refuse_first("summaries", tf.errors.ResourceExhaustedError(None, None, "No space left on device"))

    def begin():
        monkeypatch.setattr(os, "replace", replace_)
        monkeypatch.setattr(tf.train.Checkpoint, "write", write_)
        monkeypatch.setattr(tf.summary, "create_file_writer", make_writer_)
        monkeypatch.setattr(orbit.utils.SummaryManager, "flush", flush)
        return refused

    return begin


@pytest.mark.parametrize("program, flags, endings", [
    (train_from_scratch, ["--model=helpers.tiny_networks:tiny", "--batch_size=16", "--steps=6",
                          "--learning_rate=0.02,0.05", "--weight_decay=0", "--checkpoint_every=5", "--keep_model"],
     ["/trial1.json", "/trial2.json", "/refit/checkpoints/step-00000005", "/refit/checkpoints/step-00000006",
      "summaries", "/trial1/summaries/", ".h5", ".npz", ".flags"]),
    (logistic_regression, ["--model=mini_vgg", "--l2=1,100", "--max_iterations=20", "--keep_model"],
     ["/train-00000.npz", "/speed.json", ".h5", ".flags"])])
def test_each_file_that_a_run_writes_may_be_refused_for_a_while(program, flags, endings, refusing, data_dir, tmp_path,
                                                                capsys):
    if program is logistic_regression:
        weights.save(build_network("mini_vgg", image_size=32), tmp_path / "w.weights.h5", {
            "network": "mini_vgg", "dataset": "glyphs", "accuracy": 0.5, "n_test": 10, "value_range": "inception"})
        flags = [*flags, f"--weights={tmp_path}/w.weights.h5"]
    flags = ["--dataset=digits", "--image_size=32", "--deterministic", *flags, f"--data_dir={data_dir}"]
    execute(program, [*flags, f"--results_dir={tmp_path / 'whole'}"])
    refused = refusing()
    execute(program, [*flags, f"--results_dir={tmp_path / 'refused'}"])
    assert outcome(tmp_path / "refused") == outcome(tmp_path / "whole")
    files = {str(path) for path in (tmp_path / "refused").rglob("*") if path.suffix in (
        ".json", ".npz", ".flags", ".h5")} - set(refused)
    assert {path.rpartition("/")[2] for path in files} <= {"key.json"}  # written before anything is computed
    known = "".join(f"{path}\n" for path in refused)
    for ending in endings:
        assert f"{ending}\n" in known
    assert "No space left on device): make the folder writable" in capsys.readouterr().err


def test_a_checkpoint_that_cannot_be_written_leaves_the_earlier_ones(tmp_path, monkeypatch, capsys):
    value = tf.Variable(1.0)
    state = tf.train.Checkpoint(value=value)
    for step in (5, 10, 15):
        value.assign(step)
        checkpoints.save(state, tmp_path, step)
    assert checkpoints.saved_steps(tmp_path) == [10, 15]
    with monkeypatch.context() as patch:
        patch.setattr(state, "write", lambda prefix: (pathlib.Path(f"{prefix}.data-00000-of-00001").write_text("half"),
                                                      (_ for _ in ()).throw(OSError(28, "No space left on device"))))
        with pytest.raises(UserError, match="cannot write the checkpoint of step 20 .*No space left.*same command"):
            checkpoints.save(state, tmp_path, 20)
    assert checkpoints.saved_steps(tmp_path) == [10, 15] and not list(tmp_path.glob("step-00000020*"))
    value.assign(0.0)
    assert checkpoints.restore(state, tmp_path) == 15 and value.numpy() == 15
    checkpoints.delete_all(tmp_path)
    assert checkpoints.restore(state, tmp_path) is None


@pytest.mark.parametrize("ending", ["index", "data-00000-of-00001"])
@pytest.mark.parametrize("damage", [lambda content: content[:len(content) // 2], lambda content: b"", None,
                                    lambda content: content[:200] + bytes([content[200] ^ 255]) + content[201:]])
def test_the_newest_whole_checkpoint_counts(damage, ending, tmp_path, capsys):
    """Cut, empty, deleted and with flipped bits."""
    values = [tf.Variable(tf.zeros([100])), tf.Variable(0)]
    state = tf.train.Checkpoint(values=values)
    for step in (10, 15):
        values[0].assign(tf.fill([100], float(step)))
        values[1].assign(step)
        checkpoints.save(state, tmp_path, step)
    path = tmp_path / f"step-00000015.{ending}"
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    assert checkpoints.restore(state, tmp_path) == 10
    assert values[1].numpy() == 10 and (values[0].numpy() == 10).all()
    if not (damage is None and ending == "index"):  # without its index it was never there
        assert "step-00000015 is damaged and left aside" in capsys.readouterr().err


@pytest.mark.slow
def test_two_hosts_do_what_two_devices_do(data_dir, tmp_path):
    """Two processes on loopback, each with one device, and one process with two devices: the same trials and row."""
    flags = [*SMALL, "--steps=6", f"--data_dir={data_dir}"]
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        hosts = [f"127.0.0.1:{one.getsockname()[1]}" for one in (first, second)]
    workers = [subprocess.Popen(
        [sys.executable, "-m", "tfbench.train_from_scratch", *flags, f"--results_dir={tmp_path / 'hosts'}"], cwd=ROOT,
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | {"TF_CONFIG": json.dumps(
            {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}})}) for index in range(2)]
    try:
        outputs = [worker.communicate(timeout=240)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    script = ("import sys, tensorflow as tf; tf.config.set_logical_device_configuration("
              "tf.config.list_physical_devices('CPU')[0], [tf.config.LogicalDeviceConfiguration()] * 2); "
              "from tfbench import train_from_scratch as program; from tfbench.sweep import run; "
              "run.start('train_from_scratch', '', program.main)")
    flags += [f"--results_dir={tmp_path / 'devices'}", "--devices=2"]
    done = subprocess.run([sys.executable, "-c", script, *flags], cwd=ROOT, text=True, capture_output=True,
                          timeout=240)
    assert done.returncode == 0, done.stderr
    several, mirrored = (store.read_records(tmp_path / name)[0] for name in ("hosts", "devices"))
    assert several["distribution"] == {"strategy": "multi_worker", "replicas": 2, "hosts": 2, "images_per_replica": 8}
    assert mirrored["distribution"]["strategy"] == "mirrored"
    for a, b in zip(several["trials"], mirrored["trials"], strict=True):
        assert a["validation_accuracy"] == pytest.approx(b["validation_accuracy"], abs=0.01)
    assert several["accuracy"] == pytest.approx(mirrored["accuracy"], abs=0.01)
