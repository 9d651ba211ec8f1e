"""The whole analysis: from folders of results, or a table of accuracies, to statistics in words and a report."""

from tfbench.errors import UserError
from tfbench.files.paths import Path, as_path

PAPER = "paper"  # among the folders of --ablation: the paper's own numbers


def analyse(results_dir=None, accuracies=None, output_dir=None, *, source_column=None, dataset=None, ablation=(),
            allow_unequal_splits=False) -> Path:
    """Prints the statistics of the rows in `results_dir`, or of the table `accuracies`, and writes the report.

    Args:
      results_dir: a folder or several; or a DataFrame, which is taken for `accuracies`.
      accuracies: path of a CSV file, or a pandas DataFrame with the same columns.
      output_dir, source_column, dataset, ablation, allow_unequal_splits: as the flags of the same names.

    Returns:
      Path of the report's index.html.

    Raises:
      UserError: nothing to analyse, results that do not go together (stats/accuracies.py), a damaged
        file (stats/csv_table.py), or an output folder that cannot be written.
    """
    # pandas, SciPy and matplotlib take a second: --help does without.
    import pandas as pd

    from tfbench.report import text, write
    from tfbench.results import store
    from tfbench.stats import ablation as ablations
    from tfbench.stats import accuracies as tables
    from tfbench.stats import findings as statistics
    from tfbench.stats import published
    from tfbench.wording import count

    # ---- what to analyse -------------------------------------------------------------------------
    runs, mismatches, default_dir = [], [], as_path("report")
    if isinstance(results_dir, pd.DataFrame):
        results_dir, accuracies = None, results_dir
    if isinstance(accuracies, pd.DataFrame):
        table, origin = tables.from_frame(accuracies, source_column), "a DataFrame"
    elif accuracies:
        path = _path(accuracies, "accuracies", "the path of a CSV file or a DataFrame")
        table, origin = tables.from_csv(accuracies, source_column), f"the table {path.name}"
    else:
        folders = results_dir if isinstance(results_dir, list | tuple) else [results_dir or "results"]
        paths = [_path(folder, "results_dir", "a folder or a list of folders") for folder in folders]
        records = store.read_records(*folders)
        if not records:
            raise UserError(f"expected rows of finished runs in {paths[0] / 'rows'}, found none: run "
                            "study, or name another folder with --results_dir=DIR")
        runs = tables.runs_of(records)
        table, origin = tables.from_runs(runs, allow_unequal=allow_unequal_splits), count(len(runs), "row")
        mismatches = tables.mismatches(records) if allow_unequal_splits else []
        default_dir = paths[0] / "report"
    if dataset:
        table, runs = tables.of_dataset(table, runs, dataset)

    # ---- statistics ------------------------------------------------------------------------------
    ablation = list(ablation or ())
    studies = {folder: store.read_records(folder) for folder in ablation if folder != PAPER}
    ways = [published.ablation()] if PAPER in ablation else []
    notes: list[str] = []
    if studies:
        measured, notes = ablations.from_folders(studies)
        ways.append(measured)
    findings = statistics.compute(table, runs, origin=origin, ablation=ablations.together(ways), mismatches=mismatches,
                                  notes=notes)
    words = text.in_words(findings)
    index = write.write_report(findings, words, output_dir or default_dir)

    for line in text.for_terminal(findings, words):
        print(line)
    print(f"report: {index}")
    return index


def _path(value, name: str, expected: str) -> Path:
    try:
        return as_path(value)
    except TypeError:
        raise UserError(f"expected {name} as {expected}, found {type(value).__name__}: pass one") from None
