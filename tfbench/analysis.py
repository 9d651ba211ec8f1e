"""Analyses a study: how well does a network's source accuracy predict how well it transfers?

Reads the rows that the other programs left in RESULTS_DIR (or any table of accuracies), prints the accuracies
and correlations of each regime, and writes a report: index.html, figures, accuracies.csv, correlations.json, and
curves where cells were run for several numbers of steps or on few examples. Runs of different budgets are never
mixed in one table. Partial studies are fine. It needs no TensorFlow and no network.

  python -m tfbench.analysis --results_dir=results
  python -m tfbench.analysis --accuracies=tfbench/stats/published/kornblith2019_v3_fig2_digitised.csv
"""

import pathlib

from absl import flags

from tfbench import UserError
from tfbench.cli import app


def define_flags(flag_values=flags.FLAGS) -> None:
    """Defines this program's flags in `flag_values`."""
    flags.DEFINE_string("results_dir", "results", "Folder whose rows are analysed.", flag_values=flag_values)
    flags.DEFINE_string(
        "accuracies", None, "CSV file to analyse instead of rows: columns setting (logreg, finetune or "
        "random_init), model, imagenet_top1 and one per data set, percent or fractions, empty where "
        "missing; or the accuracies.csv of another report.", flag_values=flag_values)
    flags.DEFINE_string(
        "output_dir", None, "Folder for the report (default: RESULTS_DIR/report, or report with "
        "--accuracies).", flag_values=flag_values)


def main(argv) -> None:
    """Analyses what the flags name."""
    del argv
    analyse(flags.FLAGS.results_dir, flags.FLAGS.accuracies, flags.FLAGS.output_dir)


def analyse(results_dir=None, accuracies=None, output_dir=None) -> pathlib.Path:
    """Prints the statistics of `results_dir`'s rows, or of the CSV file `accuracies`, and writes the report.

    Returns:
      Path of the report's index.html.

    Raises:
      UserError: nothing to analyse, results that do not go together (stats/accuracies.py), a damaged
        file (stats/csv_table.py), or an output folder that cannot be written.
    """
    # pandas, SciPy and matplotlib take a second: --help does without.
    from tfbench.results import store
    from tfbench.stats import accuracies as table_of
    from tfbench.stats import correlation, csv_table, report, text

    # ---- what to analyse -------------------------------------------------------------------------
    if accuracies:
        rows, table, origin = [], csv_table.from_csv(accuracies), f"the table {pathlib.Path(accuracies).name}"
    else:
        results_dir = pathlib.Path(results_dir or "results")
        rows = store.read_rows(results_dir)
        if not rows:
            raise UserError(f"expected rows of finished runs in {results_dir / 'rows'}, found none: run "
                            "study, or name another folder with --results_dir=DIR")
        table, origin = table_of.from_rows(rows), f"{len(rows)} rows"
    output_dir = pathlib.Path(output_dir or ("report" if accuracies else results_dir / "report"))

    # ---- statistics ------------------------------------------------------------------------------
    correlations = correlation.per_regime(table)
    index = report.write_report(table, correlations, output_dir, rows=rows, origin=origin)

    # ---- what was found --------------------------------------------------------------------------
    for line in text.lines(table, correlations, rows):
        print(line)
    print(f"report: {index}")
    return index


if __name__ == "__main__":
    define_flags()
    app.run(main)
