"""Results, features, checkpoints and weights at an address instead of in a folder: the same records.

No real bucket is reached here: tests/helpers/gcs.py stands in for Google's. TensorFlow's ram:// and file:// go the
same way as its gs://, through tf.io.gfile; what lies at file:// can be looked at as files, and by other processes.
"""

import dataclasses
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import gcs, processes
from helpers.outcomes import outcomes
from helpers.programs import execute, parse

from tfbench import analysis, finetune, logistic_regression, pretrain, study, train_from_scratch
from tfbench.cli.progress import Silent
from tfbench.errors import UserError
from tfbench.files import atomic, sharing
from tfbench.files.paths import as_path
from tfbench.linear import features
from tfbench.models.weights import imagenet_path, metadata_path
from tfbench.results import archive, store
from tfbench.sweep import jobs, plan
from tfbench.training import checkpoints

SMALL = ["--image_size=32", "--batch_size=16", "--model=mini_vgg", "--deterministic"]
SOURCE = ["--dataset=glyphs", "--steps=8", "--learning_rate=0.05", "--warmup_epochs=0"]
TUNED = ["--dataset=digits", "--steps=4", "--learning_rate=0.01,0.05", "--weight_decay=1e-4"]
FITTED = ["--dataset=digits", "--l2=1,100", "--max_iterations=50"]
GRID = ["--dataset=digits", "--steps=60", "--learning_rate=0.02,0.05", "--weight_decay=1e-4", "--checkpoint_every=5"]
MATRIX = ["--models=mini_vgg", "--datasets=digits", "--source=glyphs", "--image_size=32", "--batch_size=16",
          "--deterministic", "--pretrain=" + " ".join(SOURCE[1:]), "--logistic_regression=" + " ".join(FITTED[1:]),
          "--finetune=" + " ".join(TUNED[1:]), "--regimes=logistic_regression,finetune"]


def run(module, *arguments):
    return execute(module, [*SMALL, *arguments])


def run_all(results_dir, data_dir):
    """Pretraining, then the regimes that start from its weights; returns (the folders' flags, the weights' address)."""
    folders = [f"--results_dir={results_dir}", f"--data_dir={data_dir}"]
    keras.utils.clear_session()  # a weights file holds the name of the input, which Keras numbers within a process
    record, new = run(pretrain, *folders, *SOURCE)
    weights = store.weights_path(results_dir, record.spec)
    assert new and run(finetune, *folders, *TUNED, f"--weights={weights}")[1]
    assert run(logistic_regression, *folders, *FITTED, f"--weights={weights}")[1]
    return folders, weights


@pytest.fixture(scope="module")
def local(tmp_path_factory, data_dir):
    """A results folder that the programs filled."""
    results = tmp_path_factory.mktemp("local")
    run_all(results, data_dir)
    return results


@pytest.fixture(scope="module")
def remote(tmp_path_factory, data_dir):
    """The same at an address: (address, the folder that it is, flags of the folders, weights)."""
    folder = tmp_path_factory.mktemp("remote") / "study"
    address = f"file://{folder}"
    return address, folder, *run_all(address, data_dir)


# ---- paths -------------------------------------------------------------------------------------


@pytest.fixture(params=["ram", "file"])
def root(request, tmp_path):
    """A folder that is not there yet, at an address."""
    return as_path(f"ram://{tmp_path.name}" if request.param == "ram" else f"file://{tmp_path}/new")


def test_an_address_is_used_like_a_folder(root):
    path = root / "a" / "one.x.json"
    assert not root.exists() and not root.is_dir() and not path.is_file() and not list(root.glob("*/*.json"))
    path.write_bytes(b"\x00old")
    path.write_bytes(b"\x00new")
    assert path.read_bytes() == b"\x00new" and path.stat().st_size == 4
    assert path.is_file() and not path.is_dir() and path.parent.is_dir() and not path.parent.is_file()
    path.with_suffix(".npz").write_bytes(b"")
    assert [str(file) for file in root.glob("*/*.json")] == [f"{root}/a/one.x.json"]
    assert sorted(file.name for file in root.glob("a/*")) == ["one.x.json", "one.x.npz"]
    assert as_path(str(path)) == path and path.relative_to(root).as_posix() == "a/one.x.json"
    assert path.stem == "one.x" and path.expanduser() == path.resolve() == path
    path.unlink()
    path.unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError):
        path.unlink()
    with pytest.raises(FileNotFoundError):
        path.read_bytes()
    root.rmtree()
    root.rmtree()
    assert not root.exists()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(root, monkeypatch):
    path = root / "record.json"
    atomic.write_json(path, {"old": 1})
    with monkeypatch.context() as patch:
        patch.setattr(tf.io.gfile, "rename", lambda *_, **__: (_ for _ in ()).throw(
            tf.errors.UnavailableError(None, None, "the line is down\nand more")))
        with pytest.raises(UserError, match=r"cannot write .*record.json \(the line is down\).*--results_dir=DIR"):
            atomic.write_json(path, {"new": 1}, cure=atomic.make_writable("--results_dir"))
    assert atomic.read_json(path, cure="") == {"old": 1} and [file.name for file in root.glob("*")] == ["record.json"]


def test_what_cannot_be_reached_is_the_users_to_mend(root, monkeypatch):
    monkeypatch.setattr(tf.io.gfile, "stat", lambda path: (_ for _ in ()).throw(
        tf.errors.PermissionDeniedError(None, None, "no access")))
    with pytest.raises(UserError, match=r"cannot use .* \(no access\): check its name, your access"):
        store.read_records(root)


def test_an_unknown_scheme_says_what_is_known():
    expected = r"nosuch://x/rows.* TensorFlow can reach here, which knows file://, gs://, ram:// and folders"
    with pytest.raises(UserError, match=expected):
        atomic.check_writable(as_path("nosuch://x") / "rows", cure=atomic.make_writable("--results_dir"))
    with pytest.raises(UserError, match="nosuch://x .*tensorflow-io for s3://"):
        analysis.analyse("nosuch://x")


def test_an_installed_extension_of_tensorflow_is_imported(tmp_path, monkeypatch):
    (tmp_path / "tensorflow_io.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError):
        as_path("nosuch://x").exists()
    assert sys.modules.pop("tensorflow_io").__file__ == str(tmp_path / "tensorflow_io.py")


def test_paths_of_this_machine_need_no_tensorflow(tmp_path):
    script = ("import sys; from tfbench.results import store; from tfbench import analysis; "
              "from tfbench.files import atomic; from tfbench.files.paths import as_path; "
              f"atomic.check_writable({str(tmp_path)!r}, cure=''); assert store.read_records({str(tmp_path)!r}) == []; "
              "as_path('gs://bucket/study') / 'rows'; print('tensorflow' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", script], text=True, capture_output=True)
    assert done.stdout == "False\n", done.stderr
    assert store.record_path(tmp_path, {"regime": "a", "network": "b", "dataset": "c"}).parent == tmp_path / "rows"


def test_nothing_is_locked_at_an_address(root):
    said = []
    with sharing.exclusive_lock(root, said.append):
        pass
    assert len(said) == 1 and "cannot be locked: see to it that only one study writes there" in said[0]


@pytest.mark.parametrize("program, flags", [
    ("finetune", ["--model=resnet_50", "--dataset=digits", "--data_dir=gs://bucket/data"]),
    ("finetune", ["--model=resnet_50", "--dataset=folder:gs://bucket/images"]),
    ("study", ["--models=resnet_50", "--datasets=digits", "--source=glyphs", "--data_dir=gs://bucket/data"])])
def test_data_must_lie_in_a_folder(program, flags):
    code, output = processes.run(program, *flags)
    assert code == 2 and "expected a folder of this machine" in output and "Traceback" not in output


# ---- programs ----------------------------------------------------------------------------------


def test_the_same_command_again_finds_its_records_and_features(remote, monkeypatch):
    address, _, folders, weights = remote
    assert not run(pretrain, *folders, *SOURCE)[1]
    assert not run(finetune, *folders, *TUNED, f"--weights={weights}")[1]
    monkeypatch.setattr(features, "make_extractor", None)  # the network is not to be run again
    record, new = run(logistic_regression, *folders, "--dataset=digits", "--l2=10", f"--weights={weights}")
    assert new and record.accuracy > 0
    store.record_path(address, record.spec).unlink()  # the other tests count them


@pytest.mark.slow
def test_records_are_those_of_a_folder(local, remote):
    records = outcomes(remote[1])
    assert len(records) == 3 and records == outcomes(local)
    assert not list(remote[1].rglob(".*")) and not list(remote[1].glob("work/*/*/checkpoints/*"))


def test_weights_dir_may_be_an_address(remote, data_dir, tmp_path):
    weights = remote[3]
    copy = imagenet_path(f"file://{tmp_path}", "mini_vgg")
    copy.write_bytes(weights.read_bytes())
    metadata_path(copy).write_bytes(metadata_path(weights).read_bytes())
    record, _ = run(finetune, f"--data_dir={data_dir}", f"--results_dir={tmp_path}", *TUNED, "--learning_rate=0.01",
                    f"--weights_dir=file://{tmp_path}")
    assert record.source["weights_sha256"] == atomic.file_sha256(weights) and (tmp_path / "rows").is_dir()
    metadata_path(copy).unlink()
    with pytest.raises(UserError, match=f"there is no weights file file://{tmp_path}/mini_vgg.json"):
        run(finetune, f"--data_dir={data_dir}", f"--results_dir={tmp_path}", *TUNED, f"--weights_dir=file://{tmp_path}")


def test_a_study_there_is_seen_analysed_and_exported(remote, data_dir, tmp_path, run_program):
    address, folder, *_ = remote
    flags = [*MATRIX, f"--results_dir={address}", f"--data_dir={data_dir}"]
    said = run_program(study, *flags, "--status")
    assert "3 of 3 runs finished" in said and "test 1,197 of 1,197" in said
    before = outcomes(folder)
    said = run_program(study, *flags, "--yes")
    assert said.count("finished before") == 3 and f"report: {address}/report/index.html" in said
    assert (folder / "report" / "index.html").exists() and outcomes(folder) == before
    record = store.read_records(address)[0]
    np.testing.assert_array_equal(store.read_predictions(record)["labels"], store.read_predictions(
        dataclasses.replace(record, path=record.path.removeprefix("file://")))["labels"])
    table = f"{address}/report/accuracies.csv"
    analysis.analyse(accuracies=table, output_dir=f"file://{tmp_path}/report")
    assert (tmp_path / "report" / "index.html").exists()

    for source, target in ((address, tmp_path / "a"), (folder, f"file://{tmp_path}/b"), (address, "ram://archive")):
        assert archive.export(source, target) == 3
        assert [record.key for record in store.read_records(target)] == [
            record.key for record in store.read_records(folder)]
        listed = atomic.read_json(as_path(target) / "archive.json", cure="")["sha256"]
        assert len(listed) == 10 and all(
            atomic.file_sha256(as_path(target) / name) == sha for name, sha in listed.items())
        with pytest.raises(UserError, match="is there already"):
            archive.export(source, target)


def test_a_failed_export_leaves_no_half(remote, monkeypatch):
    def fail(*arguments, **more):
        raise OSError(28, "No space left")

    monkeypatch.setattr(archive.atomic, "write_json", fail)
    with pytest.raises(UserError, match=r"cannot write ram://half \(No space left\)"):
        archive.export(remote[0], "ram://half")
    assert not as_path("ram://half").exists()


def test_the_jobs_of_a_study_keep_addresses(data_dir):
    options = parse(study, [*MATRIX, "--results_dir=ram://jobs/study", f"--data_dir={data_dir}"])
    runs = jobs.plan_runs(options, 1e11)
    made, _ = jobs.make(runs, Silent())
    assert all("--results_dir=ram://jobs/study" in job.call[0].to_flags() for job in made) and len(made) == 5
    assert any(flag.startswith("--weights=ram://jobs/study/weights/") for flag in made[1].call[0].to_flags())
    assert "results         ram://jobs/study" in plan.describe(options, runs)


def test_checkpoints_there_go_on(root):
    value = tf.Variable(1.0)
    state = tf.train.Checkpoint(value=value)
    for step in (5, 10, 15):
        value.assign(step)
        checkpoints.save(state, root, step)
    assert checkpoints.saved_steps(root) == [10, 15] and checkpoints.restore(state, root) == 15
    checkpoints.delete_all(root)
    assert checkpoints.restore(state, root) is None and not root.exists()


@pytest.mark.slow
def test_an_interrupted_run_goes_on_from_its_checkpoints(data_dir, tmp_path):
    """Stopped in its second trial by SIGTERM: the record of an uninterrupted run in a folder."""
    record, _ = run(train_from_scratch, *GRID, f"--results_dir={tmp_path}/whole", f"--data_dir={data_dir}")
    command = ["train_from_scratch", *SMALL, *GRID, f"--data_dir={data_dir}", f"--results_dir=file://{tmp_path}/cut"]
    process = processes.Program(*command)
    while process.poll() is None and not [path for path in (tmp_path / "cut").glob(
            "work/*/trial2/checkpoints/*.index") if path.stem >= "step-00000010"]:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 75, output
    work, = as_path(f"file://{tmp_path}/cut").glob("work/*")
    assert list(store.read_trials(work)) == [1]
    code, output = processes.run(*command)
    assert code == 0 and "trial 1/2" not in output and "trial 2/2" in output, output
    assert outcomes(tmp_path / "cut") == outcomes(tmp_path / "whole") and record.key
    assert not list((tmp_path / "cut").glob("work/*/*/checkpoints/*"))
    assert not list((tmp_path / "cut").glob("work/*/trial*.json"))


@pytest.mark.slow
def test_tensorflows_client_of_google_cloud_storage(data_dir, tmp_path):
    """gs:// of a process, with a server on this machine for Google's: a run interrupted there, and what is refused."""
    command = ["train_from_scratch", *SMALL, *GRID, f"--data_dir={data_dir}"]
    with gcs.served(tmp_path) as (environment, objects):
        def finish(results):
            return processes.run(*command, f"--results_dir={results}", env=environment)

        process = processes.Program(*command, "--results_dir=gs://bucket/study", env=environment)
        while process.poll() is None and not any(name.endswith(".index") for name in list(objects)):
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 75, output
        for results in ("gs://bucket/study", tmp_path / "folder"):
            code, output = finish(results)
            assert code == 0, output
        for bucket in ("missing", "forbidden"):
            code, output = finish(f"gs://{bucket}/study")
            assert code == 2 and f" gs://{bucket}/study" in output and "Traceback" not in output, output
    for name in [name for name in objects if name.startswith("study/rows/")]:
        atomic.write_atomically(tmp_path / name, objects[name])
    assert outcomes(tmp_path / "study") == outcomes(tmp_path / "folder") != {}
    assert not [name for name in objects if "checkpoints" in name]


@pytest.mark.ray
@pytest.mark.slow
def test_a_study_on_ray_writes_there(local, data_dir, tmp_path):
    done = subprocess.run([sys.executable, "-m", "tfbench.study", *MATRIX, f"--results_dir=file://{tmp_path}/study",
                           f"--data_dir={data_dir}", "--executor=ray", "--yes"], text=True, capture_output=True,
                          timeout=400)
    assert done.returncode == 0 and "cannot be locked" in done.stdout, done.stdout + done.stderr
    assert outcomes(tmp_path / "study") == outcomes(local)
    assert (tmp_path / "study" / "report" / "index.html").exists()
