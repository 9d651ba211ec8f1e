"""What results that lie on people's disks rest on, frozen: a run's specification and its hash, the records of a
finished study, and what the analysis finds in them.

tests/compatibility/README.md says how the data was made, by the code of before the programs were rewritten. The tests
meet the programs only as command lines and files, so that they pass unchanged whatever the modules are called. One
that fails says that people's results are lost: a changed hash makes every finished run be trained anew. It must change
only where the outcome does.
"""

import csv
import hashlib
import json
import pathlib
import shutil
import subprocess
import sys

import pytest

from tfbench import correlation, load_rows

ROOT = pathlib.Path(__file__).parent.parent
DATA = ROOT / "tests" / "compatibility"
STUDY = DATA / "study"
SPECS = json.loads((DATA / "specs.json").read_text())
ROWS = [json.loads(path.read_text()) for path in sorted(STUDY.glob("rows/*.json"))]
# Facts that specifications got after the study was made, where outcomes changed (tests/compatibility/README.md).
NEW_FACTS = {"resize": "bilinear",
             "update": "Nesterov momentum as TensorFlow 1's, the learning rate outside the velocity"}
TODAYS_DATA = {spec["dataset"]: spec["data"] for spec in (entry["spec"] for entry in SPECS)}  # versions now
REPEATABLE = [row for row in ROWS if row["regime"] in ("pretrain", "train_from_scratch")]  # others need the weights


def run(program: str, *flags) -> str:
    """What `python -m tfbench.PROGRAM` prints; it must end with 0, and soon."""
    command = [sys.executable, "-m", f"tfbench.{program}", *map(str, flags)]
    try:
        done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=60)
    except subprocess.TimeoutExpired:
        pytest.fail(f"{program} computes instead of finding what is finished: {' '.join(command)}")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def key_of(spec: dict) -> str:
    """The hash of a specification: its JSON with sorted keys, the first 16 digits of SHA-256."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def name_of(row: dict) -> str:
    """The name of a study's row, without ending."""
    return f"{row['regime']}-{row['network']}-{row['dataset']}-{row['key']}"


def weights_of(entry: dict) -> pathlib.Path | None:
    """The stand-in for the pretrained weights of a run of specs.json; None for one that takes none."""
    there = entry["spec"]["weights_sha256"]
    return DATA / "weights" / f"{entry['spec']['network']}.weights.h5" if there else None


def record(entry: dict) -> dict:
    """A record of the finished run: one of the study's in the same regime, with what specs.json says instead."""
    spec = entry["spec"]
    row = dict(next(row for row in ROWS if row["regime"] == spec["regime"]))
    chosen = {name: spec[name][0] if isinstance(spec[name], list) else spec[name]
              for name in row["selected"] if name in spec}
    accuracy = row["accuracy"]  # of another data set: on single labels, n examples are right in whole numbers
    if entry["metric"] == "top1":
        accuracy = round(accuracy * entry["n_test"]) / entry["n_test"]
    weights = weights_of(entry)
    certificate = json.loads(weights.with_name(f"{spec['network']}.json").read_text()) if weights else None
    return row | {
        "key": key_of(spec), "regime": spec["regime"], "network": spec["network"], "dataset": spec["dataset"],
        "metric": entry["metric"], "accuracy": accuracy, "n_test": entry["n_test"], "spec": spec,
        "selected": row["selected"] | chosen, "trials": [trial | chosen for trial in row["trials"][:1]],
        "source": certificate and {name: certificate[name] for name in ("dataset", "accuracy", "n_test")} | {
            "weights_sha256": certificate["sha256"]},
        "test_split": {"n": entry["n_test"], "sha256": spec["data"]["test"],
                       "expected": None if spec["network"] == "features" else entry["n_test"]}}


def close(found, expected) -> bool:
    """Whether two values are equal, numbers but for a rounding error; a CSV file's are text."""
    try:
        return float(found) == pytest.approx(float(expected), rel=1e-6, abs=1e-9)
    except (TypeError, ValueError):
        return found == expected


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A results folder in which every run of specs.json is finished."""
    folder = tmp_path_factory.mktemp("finished")
    for name in ("rows", "weights"):
        (folder / name).mkdir()
    for entry in SPECS:
        (folder / "rows" / f"{entry['name']}.json").write_text(json.dumps(record(entry)))
        if entry["program"] == "pretrain":
            (folder / "weights" / f"{entry['name']}.weights.h5").touch()
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A copy of the study's results folder, empty files in place of its weights."""
    folder = tmp_path_factory.mktemp("study") / "results"
    shutil.copytree(STUDY, folder)
    for path in folder.glob("weights/*.json"):
        path.with_suffix(".weights.h5").touch()
    return folder


@pytest.fixture(scope="module")
def report(study):
    """The folder of the report that the analysis writes on the study."""
    folder = study.parent / "report"
    run("analysis", f"--results_dir={study}", f"--output_dir={folder}")
    return folder


@pytest.mark.parametrize("name, spec", [(entry["name"], entry["spec"]) for entry in SPECS] + [
    (name_of(row), row["spec"]) for row in ROWS])
def test_a_name_ends_with_the_hash_of_the_specification(name, spec):
    assert name.rpartition("-")[2] == key_of(spec)


@pytest.mark.parametrize("entry", SPECS, ids=lambda entry: entry["name"])
def test_the_same_flags_find_the_run_that_was_finished_before(entry, finished, data_dir):
    before = sorted(path.name for path in (finished / "rows").iterdir())
    weights = weights_of(entry)
    said = run(entry["program"], *entry["flags"], f"--results_dir={finished}", f"--data_dir={data_dir}",
               *([f"--weights={weights}"] if weights else []))
    assert "finished before" in said and f"{entry['name']}.json" in said
    assert sorted(path.name for path in (finished / "rows").iterdir()) == before


def test_rows_are_read_with_what_their_files_say():
    found = {row["key"]: row for row in load_rows(STUDY)}
    assert len(ROWS) == 21 and found.keys() == {row["key"] for row in ROWS}
    for row in ROWS:
        for name in ("regime", "network", "dataset", "metric", "accuracy", "n_test", "validation_accuracy", "selected",
                     "trials", "source", "test_split", "spec", "deviations", "versions"):
            assert found[row["key"]][name] == row[name], name


def test_correlations_from_python_are_those_stored():
    found = correlation(load_rows(STUDY))
    stored = [line for line in json.loads((DATA / "analysis.json").read_text())["correlations"]
              if line["view"] == "all data sets"]
    assert list(found) == [line["regime"] for line in stored]
    for line in stored:
        assert all(close(getattr(found[line["regime"]], name), line[name]) for name in ("r", "rho"))
        assert len(found[line["regime"]].networks) == line["networks"]


@pytest.mark.parametrize("table", ["correlations", "correlations_by_dataset", "networks", "wins", "effects", "runs"])
def test_the_analysis_finds_the_numbers_stored(table, report):
    stored = json.loads((DATA / "analysis.json").read_text())[table]
    found = json.loads((report / "analysis.json").read_text())["tables"][table]
    assert len(found) == len(stored)
    for there, line in zip(found, stored, strict=True):
        wrong = {name: (there.get(name), value) for name, value in line.items() if not close(there.get(name), value)}
        assert not wrong


def test_the_table_of_accuracies_is_the_one_stored(report):
    with open(report / "accuracies.csv") as found, open(DATA / "accuracies.csv") as stored:
        found, stored = csv.DictReader(found), csv.DictReader(stored)
        assert found.fieldnames == stored.fieldnames
        for there, line in zip(found, stored, strict=True):
            assert not {name: (there[name], line[name]) for name in line if not close(there[name], line[name])}


@pytest.mark.parametrize("row", REPEATABLE, ids=name_of)
def test_a_rows_own_command_finds_it_made_by_todays_rules_only(row, tmp_path, data_dir):
    """The command in an old record's flagfile still names the run; a record of before is no record of it."""
    today = row | {"spec": row["spec"] | NEW_FACTS | {"data": TODAYS_DATA[row["dataset"]]}}
    today["key"] = key_of(today["spec"])
    (tmp_path / "rows").mkdir()
    for record in (row, today):
        (tmp_path / "rows" / f"{name_of(record)}.json").write_text(json.dumps(record))
    if row["regime"] == "pretrain":
        (tmp_path / "weights").mkdir()
        (tmp_path / "weights" / f"{name_of(today)}.weights.h5").touch()
    said = run(row["regime"], f"--flagfile={STUDY / 'rows' / name_of(row)}.flags", f"--results_dir={tmp_path}",
               f"--data_dir={data_dir}")
    assert "finished before" in said and f"{name_of(today)}.json" in said and name_of(row) not in said


def test_the_study_is_exported_whole(study, tmp_path):
    said = run("study", "--models=mobilenet_v1,mobilenet_v2,inception_v1", "--source=glyphs",
               "--datasets=digits,diacritics", "--image_size=32", f"--results_dir={study}",
               f"--export={tmp_path / 'archive'}")
    archive = json.loads((tmp_path / "archive" / "archive.json").read_text())
    files = [path for pattern in ("rows/*", "weights/*.json") for path in STUDY.glob(pattern)]
    assert f"{len(ROWS)} rows" in said and archive["rows"] == len(ROWS)
    assert archive["sha256"] == {
        str(path.relative_to(STUDY)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert all((tmp_path / "archive" / path.relative_to(STUDY)).read_bytes() == path.read_bytes() for path in files)
