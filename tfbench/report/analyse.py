"""The whole analysis: from folders of results, or a table of accuracies, to statistics in words and a report."""

from tfbench.errors import UserError
from tfbench.files.paths import Path, as_path

PAPER = "paper"  # among the folders of --ablation: the paper's own numbers


def analyse(results_dir=None, accuracies=None, output_dir=None, *, regime=None, source_column=None, dataset=None,
            ignore_columns=(), exclude=(), source=None, ablation=(), allow_unequal_splits=False,
            duplicates=None, place_on=None) -> Path:
    """Prints the statistics of the rows in `results_dir`, or of the table `accuracies`, and writes the report.

    Args:
      results_dir: a folder or several; or a DataFrame, which is taken for `accuracies`.
      accuracies: path of a CSV, .xlsx or .parquet file, or a pandas DataFrame with the same columns.
      dataset: a name or several.
      output_dir, regime, source_column, ignore_columns, exclude, source, ablation, allow_unequal_splits,
        duplicates, place_on: as the flags of the same names.

    Returns:
      Path of the report's index.html.

    Raises:
      UserError: nothing to analyse, results that do not go together (stats/accuracies.py), a damaged
        file (stats/accuracy_table.py), or an output folder that cannot be written.
    """
    # pandas, SciPy and matplotlib take a second: --help does without.
    import pandas as pd

    from tfbench.report import pairs_page, text, write
    from tfbench.results import index as records_index
    from tfbench.stats import ablation as ablations
    from tfbench.stats import accuracies as tables
    from tfbench.stats import correlation as correlations
    from tfbench.stats import findings as statistics
    from tfbench.stats import published
    from tfbench.wording import count, say, unknown

    if place_on and place_on not in published.TABLES:
        raise UserError(f"--place_on: {unknown('published table', place_on, published.TABLES)}")
    # ---- what to analyse -------------------------------------------------------------------------
    runs, mismatches, reading, default_dir = [], [], None, as_path("report")
    datasets = [dataset] if isinstance(dataset, str) else list(dataset or ())
    options = {"source_column": source_column, "regime": regime, "ignore_columns": tuple(ignore_columns or ())}
    exclude = [exclude] if isinstance(exclude, str) else list(exclude or ())
    of_source: dict[str, pd.DataFrame] = {}
    taken: list[str] = []
    notes: list[str] = []
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
        records = records_index.read_records(*folders)
        if not records:
            raise UserError(f"expected rows of finished runs in {paths[0] / 'rows'}, found none: run "
                            "study, or name another folder with --results_dir=DIR")
        runs = tables.runs_of(records)
        groups = tables.by_source(runs)
        if source and source not in groups:
            raise UserError(f"expected --source as a data set that networks were pretrained on, found {source!r}: name "
                            f"one of {', '.join(filter(None, groups)) or 'none, as no record tells any'}")
        of_source = {name: tables.from_runs(group, allow_unequal=allow_unequal_splits)
                     for name, group in groups.items()}
        chosen = source or next(iter(groups))
        table, runs, origin = of_source[chosen], groups[chosen], count(len(groups[chosen]), "row")
        if len(groups) > 1:
            notes.append(f"results are of {len(groups)} sources of weights: this report's tables have those of "
                         f"{chosen}, its part on sources of weights all; --source=NAME has "
                         f"{', '.join(name for name in groups if name != chosen)}")
        mismatches = tables.mismatches(records) if allow_unequal_splits else []
        default_dir = paths[0] / "report"
    if reading:
        if source:
            raise UserError("--source: for results folders only, a table is of one source: leave it out")
        table = reading.table
        taken = [*reading.columns, *reading.surprises]
        for line in taken:
            say(f"{origin}: {line}")
    if datasets:
        table, runs = tables.of_datasets(table, runs, datasets)
    if exclude:
        table, runs = tables.without(table, runs, exclude)
        origin += f" without {', '.join(exclude)}"

    # ---- statistics ------------------------------------------------------------------------------
    ablation = list(ablation or ())
    studies = {folder: records_index.read_records(folder) for folder in ablation if folder != PAPER}
    ways = [published.ablation()] if PAPER in ablation else []
    if studies:
        measured, ways_taken = ablations.from_folders(studies)
        ways.append(measured)
        notes += ways_taken
    listed = None
    if duplicates:
        if not runs:
            raise UserError("--duplicates goes with records: accuracies alone do not tell which test images were right")
        listed = pairs_page.read_csv(duplicates)
        if not listed:
            notes.append(f"{duplicates} lists no near-duplicate")
    sources = {}
    for name, of_one in of_source.items() if len(of_source) > 1 else ():
        of_one = of_one[~of_one["network"].map(lambda network: tables.is_among(network, exclude))]
        if datasets:
            of_one = of_one[of_one["dataset"].isin(table["dataset"])]
        sources[name] = correlations.per_regime(of_one)
    findings = statistics.compute(table, runs, origin=origin, ablation=ablations.together(ways), mismatches=mismatches,
                                  taken=taken, notes=notes, sources=sources, duplicates=listed,
                                  place_on=place_on)
    words = text.in_words(findings)
    index = write.write_report(findings, words, output_dir or default_dir)

    for line in text.for_terminal(findings, words):
        say(line)
    say(f"report: {index}")
    return index


def _path(value, name: str, expected: str) -> Path:
    try:
        return as_path(value)
    except TypeError:
        raise UserError(f"expected {name} as {expected}, found {type(value).__name__}: pass one") from None
