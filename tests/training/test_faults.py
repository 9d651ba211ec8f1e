"""Runs killed, pre-empted and sabotaged: the identical row in the end, or a clear error with all else intact."""

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

import pytest
import tensorflow as tf
from helpers.disks import disk
from helpers.outcomes import outcomes
from helpers.processes import Program, run

from tfbench import UserError
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
@pytest.mark.parametrize("what, options, reason", [
    ("trial2/checkpoints", ["size=300k"], "No space left"), ("trial2", ["ro"], "Read-only")])
def test_full_and_read_only_disks_lose_nothing(what, options, reason, whole, cut, data_dir):
    """A folder of the running trial is a disk that is full, or cannot be written: what is elsewhere is kept."""
    results, _ = cut
    folder, = results.glob("work/*")
    kept = store.read_trials(folder)
    with disk(folder / what, *options):
        code, output = finish(results, data_dir)
    assert code == 2 and "error: cannot write" in output and reason in output, output
    assert "Traceback" not in output and store.read_trials(folder) == kept
    code, output = finish(results, data_dir)
    assert code == 0 and outcome(results) == whole, output


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
