"""A study as an archive that others can analyse and extend: all of it but weights, features and checkpoints.

    DIR/rows/        rows, predictions and flagfiles, as in a results folder
    DIR/weights/     metadata of the weights that pretraining made
    DIR/archive.json what is in it: SHA-256 of every file, number of rows, versions

So it is a results folder: `analysis --results_dir=DIR` reads it, and a study with `--results_dir=DIR` adds to it.
"""

import collections
import contextlib
import pathlib
import tempfile

from tfbench.errors import UserError
from tfbench.files import atomic, paths
from tfbench.files.paths import Path, Remote, as_path
from tfbench.results import store
from tfbench.results.record import versions


def export(results_dir, target) -> int:
    """Writes the archive of a results folder as the new folder `target`; returns how many rows it holds.

    Raises:
      UserError: there is no row, a row is damaged or lacks its predictions, or `target` is there or cannot be written.
    """
    results_dir, target = as_path(results_dir), as_path(target)
    records = store.read_records(results_dir)
    if not records:
        raise UserError(f"expected rows of finished runs in {results_dir / 'rows'}, found none: run the study first")
    if target.exists():
        raise UserError(f"{target} is there already: name a folder that is not with --export=DIR")
    files = [path for one in records for path in _files_of(as_path(one["path"]))]
    files += paths.ending_in(results_dir / "weights", ".json")
    try:
        with _whole(target) as half:
            for path in files:
                copy = half / path.relative_to(results_dir)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(path.read_bytes())
            environments = collections.Counter(str(sorted((one.get("versions") or {}).items())) for one in records)
            atomic.write_json(half / "archive.json", {
                "schema": 1, "rows": len(records), "written_by": versions()["tfbench"], "versions": dict(environments),
                "sha256": {str(path.relative_to(results_dir)): atomic.file_sha256(path) for path in files}},
                cure=atomic.make_writable("--export"))
    except OSError as error:
        raise UserError(f"cannot write {target} ({error.strerror}): make the folder writable and free some space, or "
                        "name another with --export=DIR") from error
    return len(records)


@contextlib.contextmanager
def _whole(target):
    """A folder that becomes `target` when all is in it; in a bucket, where folders cannot be moved, `target` itself,
    which is emptied if anything fails."""
    if isinstance(target, Remote):
        try:
            yield target
        except BaseException:
            with contextlib.suppress(OSError):
                target.rmtree()
            raise
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        half = pathlib.Path(folder) / "archive"
        yield half
        half.rename(target)


def _files_of(path: Path) -> list[Path]:
    """A row's file and what lies beside it."""
    beside = [path, paths.beside(path, ".npz"), paths.beside(path, ".flags")]
    for file in beside[1:]:
        if not file.exists():
            raise UserError(f"{path.name} has no {file.name} beside it: put it back, or move the record to "
                            "another folder and run its command again")
    return beside
