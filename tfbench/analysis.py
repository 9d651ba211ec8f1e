"""Analyses a study: how well does a network's source accuracy predict how well it transfers?

Reads the rows that the other programs left in results folders (or any table of accuracies) and finds the paper's
statistics: correlations, tests of networks against each other, intervals, an additive model, counts. Prints them in
words and writes a report: index.html, summary.md, analysis.json, a CSV file per table, figures. Runs of different
budgets are never mixed in one table. Partial studies are fine: nothing is filled in. It needs no TensorFlow and no
network.

  python -m tfbench.analysis --results_dir=results
  python -m tfbench.analysis --results_dir=results,results/of_a_colleague --dataset=pets
  python -m tfbench.analysis --accuracies=tfbench/stats/published/kornblith2019_v3_fig2_digitised.csv
  python -m tfbench.analysis --results_dir=results --ablation=results/ablation_1,results/ablation_5,paper
"""

import pathlib

from absl import flags

from tfbench.cli import app
from tfbench.errors import UserError
from tfbench.files.paths import Path, as_path


def define_flags(flag_values=flags.FLAGS) -> None:
    """Defines this program's flags in `flag_values`."""
    flags.DEFINE_list(
        "results_dir", "results", "Folders whose rows are analysed together, separated by commas. A run that is in "
        "several counts once.", flag_values=flag_values)
    flags.DEFINE_string(
        "accuracies", None, "CSV file to analyse instead of rows: columns setting (logreg, finetune or "
        "random_init), model, imagenet_top1 and one per data set, percent or fractions, empty where "
        "missing; or the accuracies.csv of another report.", flag_values=flag_values)
    flags.DEFINE_string(
        "source_column", None, "Which column of --accuracies is the source accuracy, where several begin with "
        "imagenet_top1.", flag_values=flag_values)
    flags.DEFINE_string(
        "dataset", None, "Analyse this data set only, and say which network to take for it. Default: all.",
        flag_values=flag_values)
    flags.DEFINE_list(
        "ablation", None, "Folders of studies that differ in how the networks were pretrained (flags/ablation_1.flags "
        "to ablation_5.flags; v3 figures 3 and 5), to compare these ways; \"paper\" stands for the paper's own.",
        flag_values=flag_values)
    flags.DEFINE_boolean(
        "allow_unequal_splits", False, "Average over rows that were tested on different images of one data set, "
        "instead of refusing them; the report lists them, and no test compares them.", flag_values=flag_values)
    flags.DEFINE_string(
        "output_dir", None, "Folder for the report (default: report in the first folder of --results_dir, or report "
        "with --accuracies).", flag_values=flag_values)


def main(argv) -> None:
    """Analyses what the flags name."""
    del argv
    names = ("results_dir", "accuracies", "source_column", "dataset", "ablation", "allow_unequal_splits", "output_dir")
    analyse(**{name: flags.FLAGS[name].value for name in names})


def analyse(results_dir=None, accuracies=None, output_dir=None, *, source_column=None, dataset=None, ablation=(),
            allow_unequal_splits=False) -> Path:
    """Prints the statistics of the rows in `results_dir`, or of the CSV file `accuracies`, and writes the report.

    Args:
      results_dir: a folder or several. The others: as the flags of the same names.

    Returns:
      Path of the report's index.html.

    Raises:
      UserError: nothing to analyse, results that do not go together (stats/accuracies.py), a damaged
        file (stats/csv_table.py), or an output folder that cannot be written.
    """
    # pandas, SciPy and matplotlib take a second: --help does without.
    from tfbench.report import text, write
    from tfbench.results import store
    from tfbench.stats import ablation as ablations
    from tfbench.stats import accuracies as table_of
    from tfbench.stats import csv_table, findings, published
    from tfbench.wording import count

    # ---- what to analyse -------------------------------------------------------------------------
    rows, mismatches = [], []
    if accuracies:
        table, origin = csv_table.from_csv(accuracies, source_column), f"the table {pathlib.Path(accuracies).name}"
    else:
        folders = results_dir if isinstance(results_dir, list | tuple) else [results_dir or "results"]
        rows = store.read_records(*folders)
        if not rows:
            raise UserError(f"expected rows of finished runs in {as_path(folders[0]) / 'rows'}, found none: run "
                            "study, or name another folder with --results_dir=DIR")
        table, origin = table_of.from_records(rows, allow_unequal=allow_unequal_splits), count(len(rows), "row")
        mismatches = table_of.mismatches(rows)
    if dataset:
        table, rows = table_of.of_dataset(table, rows, dataset)
    output_dir = output_dir or ("report" if accuracies else as_path(folders[0]) / "report")

    # ---- statistics ------------------------------------------------------------------------------
    ways = {folder: store.read_records(folder) for folder in ablation or () if folder != "paper"}
    lines = ([published.ablation()] if "paper" in (ablation or ()) else []) + (
        [ablations.from_folders(ways)] if ways else [])
    found = findings.find(table, rows, origin=origin, ablation=ablations.together(lines), mismatches=mismatches)
    index = write.write_report(found, output_dir)

    # ---- what was found --------------------------------------------------------------------------
    for line in text.for_terminal(found):
        print(line)
    print(f"report: {index}")
    return index


if __name__ == "__main__":
    define_flags()
    app.run(main)
