"""Analyses a study: how well does a network's source accuracy predict how well it transfers?

Reads the records that the other programs left in results folders (or any table of accuracies) and finds the paper's
statistics: correlations, tests of networks against each other, intervals, an additive model, counts. Prints them in
words and writes a report: index.html, summary.md, analysis.json, a CSV file per table, figures. Runs of different
budgets are never mixed in one table. Partial studies are fine: nothing is filled in. It needs no TensorFlow and no
network.

  python -m tfbench.analysis --results_dir=results
  python -m tfbench.analysis --results_dir=results,results/of_a_colleague --dataset=pets
  python -m tfbench.analysis --accuracies=tfbench/stats/published/kornblith2019_v3_fig2_digitised.csv
  python -m tfbench.analysis --results_dir=results --place_on=kornblith2019
  python -m tfbench.analysis --results_dir=results --ablation=results/ablation_1,results/ablation_5,paper
"""

from tfbench.cli import app
from tfbench.config import WHAT, Setting
from tfbench.report.analyse import analyse

SETTINGS = {
    "results_dir": Setting(("results",), "texts", "folders whose records are analysed together, separated by commas; a "
                           "run that is in several counts once", WHAT),
    "accuracies": Setting(None, "text", "CSV, .xlsx or .parquet file to analyse instead of records: columns setting "
                          "(logreg, finetune or random_init), model, imagenet_top1 and one per data set, percent or "
                          "fractions, empty where missing; or the accuracies.csv of another report", WHAT),
    "regime": Setting(None, "text", "regime of all lines of --accuracies, where it has no column setting", WHAT),
    "source_column": Setting(None, "text", "which column of --accuracies is the source accuracy, where several could "
                             "be, such as imagenet_top1_a and imagenet_top1_b", WHAT),
    "ignore_columns": Setting((), "texts", "columns of --accuracies that are no data sets", WHAT),
    "dataset": Setting((), "texts", "analyse this data set only, and say which network to take for it; or several; of "
                       "--accuracies also columns that are else passed over; unset: all", WHAT, alias="datasets"),
    "exclude": Setting((), "texts", "networks to leave out, by name: vgg_16,vgg_19, without which the paper drew "
                       "the bars of figure 6; unset: none", WHAT),
    "source": Setting(None, "text", "of which weights the tables are where the results are of several: the data set of "
                      "pretraining, \"imagenet\" for the public ones; unset: those with most results (v3 appendix B "
                      "compares them)", WHAT),
    "ablation": Setting((), "texts", "folders of studies that differ in how the networks were pretrained "
                        "(flags/ablation_1.flags to ablation_5.flags; v3 figures 3 and 5, appendix C.2), to "
                        "compare these ways; \"paper\" stands for the paper's own", WHAT),
    "allow_unequal_splits": Setting(False, "switch", "average over records that were tested on different images of one "
                                    "data set, instead of refusing them; the report lists them, and no test compares "
                                    "them", WHAT),
    "duplicates": Setting(None, "text", "pairs.csv of tfbench.duplicates: also show accuracies without the test images "
                          "that it lists", WHAT),
    "place_on": Setting(None, "text", "name of a published table, kornblith2019 (the paper's figure 2) or tllib (ten "
                        "of its fine-tuned networks): also draw these networks on its figure, and say how far above or "
                        "below its line each lies; results by another protocol are named with the reason", WHAT),
    "output_dir": Setting(None, "text", "folder for the report; unset: report in the first folder of --results_dir, or "
                          "report with --accuracies", WHAT),
}


def main(options) -> None:
    analyse(**vars(options))


if __name__ == "__main__":
    app.start("analysis", __doc__, SETTINGS, main)
