"""Where records lie and how they are written: atomically, once, named by what determines them.

    RESULTS_DIR
      rows/NAME.json     the record
      rows/NAME.npz      its per-example test predictions
      rows/NAME.flags    flagfile that repeats the run
      index.parquet      what the analysis reads of many records (results/index.py)
      work/NAME/         results of the trials so far, trialN.json, checkpoints, TensorBoard summaries
      models/            trained networks with their classifiers (results/kept_models.py)
      weights/           what pretrain made
      set_aside.json     {title: reason} of the runs that the last study in one process set aside
      budgets/           which level a --budget took (sweep/time_budget.py)
      ray.json           what the last study on Ray is doing or came to (sweep/executors/ray_cluster.py)

NAME is regime-network-dataset-KEY, KEY the hash of the run's specification (RunConfig.spec). So a repeated command
finds its record, and a changed one never meets another's. RESULTS_DIR is a folder, or an address such as
gs://bucket/study (files/paths.py).
"""

import dataclasses
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from tfbench.config import SCHEMA, name_of
from tfbench.data.catalog import OWN_METRICS
from tfbench.errors import UserError
from tfbench.files import arrays, atomic, paths, sharing
from tfbench.files.paths import as_path
from tfbench.models.weights import ENDING
from tfbench.regimes import PRETRAIN, REGIMES
from tfbench.results.record import Record, check_same_outcome, fault_of_trial

CURE = atomic.make_writable("--results_dir")
LATEST = "latest"  # of find_run
SHOWN = 10  # names of runs in a message


def record_path(results_dir, spec: dict) -> paths.Path:
    """Where the record of the run that `spec` describes lies, or will."""
    return as_path(f"{results_dir}/rows/{name_of(spec)}.json")


def weights_path(results_dir, spec: dict) -> paths.Path:
    """Where the weights of the pretraining that `spec` describes lie, or will."""
    return as_path(results_dir) / "weights" / f"{name_of(spec)}{ENDING}"


def work_dir(results_dir, spec: dict) -> paths.Path:
    """Where the run that `spec` describes keeps its trials and checkpoints while it is not finished."""
    return as_path(results_dir) / "work" / name_of(spec)


def lock_path(results_dir, spec: dict, part: str = "") -> paths.Path:
    """The file by which processes know that one works on the run that `spec` describes, or on a part of it."""
    return as_path(results_dir) / "rows" / f".{name_of(spec)}{part}.lock"


# ---- trials of a search that is not finished -------------------------------------------------------


def trial_path(work, number: int) -> paths.Path:
    """Where the result of a search's trial lies in the run's work folder; `number` from 1."""
    return as_path(work) / f"trial{number}.json"


def read_trials(work, spec: dict | None = None) -> dict[int, dict]:
    """The trials that are recorded in a work folder, by their number and in its order.

    Args:
      spec: of the run; each trial must be at its point of the grid. None: of whichever run.

    Raises:
      UserError: a record is damaged or of another point, or a file beside them is called almost like one.
    """
    trials = {}
    for number, path in sorted(_trial_files(work).items()):
        cure = f"move it out of {work}, its trial is then run again"
        trials[number] = atomic.read_json(path, cure=cure)
        if fault := fault_of_trial(trials[number], number, spec):
            raise UserError(f"{path}: {fault}: {cure}")
    return trials


def _trial_files(work) -> dict[int, paths.Path]:
    """The files of trials in a work folder, by number. UserError for "trial1 (1).json": a copy, or misnamed."""
    files = {}
    for path in paths.ending_in(work, ".json"):
        if not path.name.startswith("trial"):
            continue
        match = re.fullmatch(r"trial([1-9]\d{0,8})\.json", path.name)
        if not match:
            raise UserError(f"expected results of trials in {work} to be called trial1.json, trial2.json, …, found "
                            f"{path.name!r}: move it out of the folder")
        files[int(match[1])] = path
    return files


def await_trials(work, numbers, spec: dict | None = None) -> dict[int, dict]:
    """read_trials, once those with these numbers are seen here: they come from other machines.

    Raises:
      UserError: some are not, after sharing.SEEN_WITHIN seconds.
    """
    sharing.wait_until_visible(lambda: all(trial_path(work, number).exists() for number in numbers),
                               f"the trials of {work}")
    return read_trials(work, spec)


def delete_trials(work) -> None:
    """Deletes the results of a work folder's trials: the record has them."""
    for path in _trial_files(work).values():
        atomic.delete(path)


# ---- records of finished runs ----------------------------------------------------------------------


def read_record(path, key: str | None = None) -> Record:
    """One record.

    Args:
      key: of the run that it should be of; None: of whichever.

    Raises:
      UserError: the file is cut, is no record or another run's, or was written by a newer tfbench.
    """
    cure = f"move it to another folder and run its command again (its flags are in {str(path)[:-5]}.flags)"
    return Record.from_json(atomic.read_json(path, cure=cure, schema=SCHEMA), path=path, cure=cure, key=key)


def finished(results_dir, spec: dict) -> Record | None:
    """The record of the run that `spec` describes, or None while it is not finished.

    A pretraining without its weights is not finished.
    """
    path = paths.beside(record_path(results_dir, spec), ".json")
    if not path.exists() or (spec["regime"] == PRETRAIN.name and not weights_path(results_dir, spec).exists()):
        return None
    return read_record(path, key=path.stem.rpartition("-")[2])


def scored_otherwise(results_dir, spec: dict) -> list[str]:
    """A line for each finished run that differs from the one that `spec` describes in the metric of its own data."""
    if ":" not in spec["dataset"]:
        return []
    bare = {name: value for name, value in spec.items() if name != "metric"}
    others = [bare, *(bare | {"metric": name} for names in OWN_METRICS.values() for name in names)]
    found = [finished(results_dir, other) for other in others if other != spec]
    return [f"this run is finished by another metric, --metric={record.metric}, in {record.path}; it is computed anew. "
            "The analysis takes one metric per data set: take that one, or another --results_dir"
            for record in found if record]


def read_records(*results_dirs) -> list[Record]:
    """All records below the folders, folder by folder in the order of their file names; of copies of one only one.

    Raises:
      UserError: a folder does not exist, a record is damaged (see read_record), or two of one run tell different
        outcomes.
    """
    return without_copies(record for folder in results_dirs for record in records_of(folder))


def records_of(folder) -> Iterator[Record]:
    """The records below one folder, in the order of their file names; UserError as of read_records."""
    check_results_dir(folder)
    for path in paths.ending_in(as_path(folder) / "rows", ".json"):
        yield read_record(path)


def check_results_dir(folder) -> None:
    """Raises UserError unless there is such a folder, and it is not the one of the records themselves."""
    if not as_path(folder).is_dir():
        raise UserError(f"there is no results folder {folder}: name an existing one with --results_dir=DIR")
    if as_path(folder).name == "rows" and not (as_path(folder) / "rows").exists():
        raise UserError(f"expected a results folder, {folder} is the folder of its records: name the one it is in, "
                        f"--results_dir={as_path(folder).parent}")


def without_copies(found: Iterable[Record]) -> list[Record]:
    """Of copies of one record only one; UserError where two of one run tell different outcomes."""
    records: dict[tuple, Record] = {}
    for record in found:
        run = (record.key, record.regime, record.network, record.dataset)
        other = records.setdefault(run, record)
        if other is not record:
            check_same_outcome(other, record)
            if not _predictions_path(other).exists():
                records[run] = record  # a copy of the record alone says less
    return list(records.values())


def find_run(results_dir, run: str, prefer: Callable[[Record], bool] = lambda record: True) -> Record:
    """The record of one finished run of a regime.

    Args:
      run: "latest", the one that ended last; the path of a record; or the beginning of its name or key.
      prefer: "latest" is the last of those of which this holds, where there are any.

    Raises:
      UserError: there is none, or there are several.
    """
    path = as_path(run)
    if run.lower().endswith(".json") and path.exists():
        return read_record(path)
    records = [record for record in read_records(results_dir) if record.regime in REGIMES]
    if run == LATEST and records:
        return max(list(filter(prefer, records)) or records, key=lambda record: (record.finished or "", record.key))
    name = re.sub(r"[^\w.-]+", "_", run)  # as in names of files, also of a title that a program printed
    found = [record for record in records
             if as_path(record.path).stem.startswith(name) or record.key.startswith(run)]
    if len(found) == 1:
        return found[0]
    if not records:
        others = [str(folder.parent) for folder in sorted(as_path(results_dir).glob("*/rows"), key=str)][:SHOWN]
        raise UserError(f"expected records of finished runs in {results_dir}/rows, found none: run "
                        "logistic_regression, finetune or train_from_scratch, or "
                        + (f"name --results_dir={' or '.join(others)}" if others else "correct --results_dir"))
    names = sorted(as_path(record.path).stem for record in found or records)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    raise UserError(f"expected {LATEST}, the path of a record, or the beginning of one run's name or key, found {run!r}"
                    f", which {'several begin with' if found else 'none begins with'}: name one of "
                    f"{', '.join(names[:SHOWN])}{more}")


def _predictions_path(record: Mapping[str, Any]) -> paths.Path:
    return paths.beside(record["path"], ".npz")


PREDICTIONS = {"keys": arrays.Expected("U", (1,), False), "labels": arrays.Expected("iuf", (1, 2), False),
               "predictions": arrays.Expected("iu", (1,), False), "scores": arrays.Expected("f", (2,), False),
               "probabilities": arrays.Expected("f", (2,), False), "class_names": arrays.Expected("U", (1,), False)}


def read_predictions(record: Mapping[str, Any],
                     names=("labels", "predictions", "scores")) -> dict[str, np.ndarray] | None:
    """Those of the arrays `names` that lie beside a record of read_records; None where there is no file.

    Raises:
      UserError: the file is damaged, or has another number of examples than the record.
    """
    path = _predictions_path(record)
    if not path.exists():
        return None
    cure = (f"move it out of {path.parent} to go without its tests, or the record of that name too and run its command "
            "again")
    predictions = arrays.read(path, {name: PREDICTIONS[name] for name in names}, cure=cure)
    for name, array in predictions.items():
        if len(array) != record["n_test"] and name != "class_names":
            raise UserError(f"{path} is damaged (expected {name} of {record['n_test']:,} test examples, found "
                            f"{len(array):,}): {cure}")
    return predictions


def write_record(results_dir, record: Record, predictions: dict[str, np.ndarray], flagfile: str,
                 chief: bool = True) -> Record:
    """Writes predictions and flags, then the record: where a record is, everything beside it is whole.

    Args:
      record: its spec names the files.
      predictions: of record.test_predictions: arrays with one entry per test example, in the order of the split's
        keys.
      flagfile: text that repeats the run as `--flagfile=NAME.flags`.
      chief: False on the hosts of a run that write nothing.

    Returns:
      The record with its path.
    """
    path = record_path(results_dir, record.spec)
    record = dataclasses.replace(record, path=str(path))
    if not chief:
        return record
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **predictions)  # type: ignore[arg-type]

    def write() -> None:
        atomic.write_atomically(path.with_suffix(".npz"), buffer.getvalue(), cure=CURE)
        atomic.write_atomically(path.with_suffix(".flags"), flagfile.encode(), cure=CURE)
        atomic.write_json(path, record.to_json(), cure=CURE)

    atomic.patiently(write)
    return record
