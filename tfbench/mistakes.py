"""Shows what a run gets wrong: confusion matrix, classes, most confident mistakes as pictures, calibration.

Reads the predictions that lie beside the run's record and writes OUTPUT/index.html, a page that opens from disk, with
per_class.csv, mistakes.csv and confusion.csv. Nothing is computed anew. Pictures come from the prepared data set.

  python -m tfbench.mistakes
  python -m tfbench.mistakes --run=finetune-mobilenet_v1 --output=mistakes
"""

from tfbench.cli import app
from tfbench.config import FIELDS, WHAT, Setting
from tfbench.files.paths import as_path
from tfbench.results import store
from tfbench.results.titles import record_label
from tfbench.wording import say

SETTINGS = {
    "run": Setting("latest", "text", "the run to look at: `latest`, the path of its record, or the beginning of its "
                   "name or key", WHAT),
    "output": Setting(None, "text", "folder to write; unset: mistakes/NAME in --results_dir, NAME that of the record",
                      WHAT),
    **{name: FIELDS[name] for name in ("results_dir", "data_dir")},
}


def main(options) -> None:
    record = store.find_run(options.results_dir, options.run)
    from tfbench.report import mistakes  # pandas and SciPy: --help does without

    say(record_label(record))
    name = as_path(record["path"]).stem
    page, lines = mistakes.write(record, options.data_dir,
                                 options.output or as_path(options.results_dir) / "mistakes" / name)
    for line in [*lines, f"to look at: {page}"]:
        say(line)


if __name__ == "__main__":
    app.start("mistakes", __doc__, SETTINGS, main)
