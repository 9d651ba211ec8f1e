"""The whole analysis: from folders of results, or a table of accuracies, to statistics in words and a report."""

from tfbench.errors import UserError
from tfbench.files.paths import Path, as_path

PAPER = "paper"  # among the folders of --ablation: the paper's own numbers


def analyse(results_dir=None, accuracies=None, output_dir=None, *, regime=None, source_column=None, dataset=None,
            ignore_columns=(), ablation=(), allow_unequal_splits=False) -> Path:
    """Prints the statistics of the rows in `results_dir`, or of the table `accuracies`, and writes the report.

    Args:
      results_dir: a folder or several; or a DataFrame, which is taken for `accuracies`.
      accuracies: path of a CSV, .xlsx or .parquet file, or a pandas DataFrame with the same columns.
      dataset: a name or several.
      output_dir, regime, source_column, ignore_columns, ablation, allow_unequal_splits: as the flags of the same names.

    Returns:
      Path of the report's index.html.

    Raises:
      UserError: nothing to analyse, results that do not go together (stats/accuracies.py), a damaged
        file (stats/accuracy_table.py), or an output folder that cannot be written.
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
    runs, mismatches, reading, default_dir = [], [], None, as_path("report")
    datasets = [dataset] if isinstance(dataset, str) else list(dataset or ())
    options = {"source_column": source_column, "regime": regime, "ignore_columns": tuple(ignore_columns or ())}
    if isinstance(results_dir, pd.DataFrame):
        results_dir, accuracies = None, results_dir
    if isinstance(accuracies, pd.DataFrame):
        reading, origin = tables.read_table(accuracies, datasets=datasets, **options), "a DataFrame"
    elif accuracies:
        path = _path(accuracies, "accuracies", "the path of a CSV file or a DataFrame")
        reading, origin = tables.read_table(path, datasets=datasets, **options), f"the table {path.name}"
    elif given := [f"--{name}" for name, value in options.items() if value]:
        raise UserError(f"{', '.join(given)}: for tables only, and there is none: name one with --accuracies=FILE")
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
    if reading:
        table = reading.table
        for line in (*reading.columns, *reading.surprises):
            print(f"{origin}: {line}")
    if datasets:
        table, runs = tables.of_datasets(table, runs, datasets)

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
