"""Accuracies without listed test images, from stored predictions."""

import numpy as np
import pytest
from helpers.studies import make_study, runs_of

from tfbench import UserError, analysis
from tfbench.results import store
from tfbench.stats import metrics
from tfbench.stats.duplicates import without_duplicates


@pytest.mark.parametrize("metric", ["top1", "mean_per_class", "voc_map", "mean_average_precision"])
def test_the_accuracy_is_that_of_the_other_images(metric, tmp_path):
    records = make_study(tmp_path, metric=metric, networks=2, regimes=("finetune",))
    listed = {"dtd": {"0", "5", "299", "not there"}}
    frame, notes = without_duplicates(runs_of(store.read_records(tmp_path)), listed)
    assert not notes and len(frame) == 2
    for row, record in zip(frame.itertuples(), records, strict=True):
        kept = store.read_predictions(record, ("keys", "labels", "predictions", "scores"))
        stays = ~np.isin(kept["keys"], ["0", "5", "299"])
        scores = kept["scores"] if "scores" in kept else np.eye(6)[kept["predictions"]]
        assert row.accuracy_without == pytest.approx(metrics.score(metric, scores[stays], kept["labels"][stays]))
        assert (row.accuracy, row.n, row.n_without, row.left_out) == (record["accuracy"], 300, 297, 3)
        assert row.difference == pytest.approx(row.accuracy_without - row.accuracy)


def test_what_cannot_be_computed_is_said(tmp_path):
    make_study(tmp_path, networks=2, regimes=("finetune",))
    runs = runs_of(store.read_records(tmp_path))
    (tmp_path / "rows" / "finetune-1-dtd.npz").unlink()
    frame, notes = without_duplicates(runs, {"dtd": {"nothing"}, "pets": {"a"}})
    assert len(frame) == 1 and frame["difference"][0] == pytest.approx(0)
    assert [note.partition(":")[0] for note in notes] == [
        "finetune-net1-dtd-k1", "Oxford-IIIT Pets is listed with duplicates, but there is no result on it", "DTD"]
    frame, notes = without_duplicates(runs[:1], {"dtd": {str(number) for number in range(300)}})
    assert not len(frame) and "give no top-1 accuracy" in notes[0]


def test_the_report_has_both_accuracies(tmp_path, run_program):
    make_study(tmp_path)
    path = tmp_path / "pairs.csv"
    path.write_text("dataset,split,key\n" + "".join(f"dtd,test,{number}\n" for number in range(40)))
    said = run_program(analysis, f"--results_dir={tmp_path}", f"--duplicates={path}")
    assert "DTD: without the 40 near-duplicates of source images among 300 test images, the accuracies of 8 ru" in said
    lines = (tmp_path / "report" / "without_duplicates.csv").read_text().splitlines()
    assert len(lines) == 9 and ",accuracy,n,accuracy_without,n_without,left_out," in lines[0]
    assert "Without near-duplicates" in (tmp_path / "report" / "index.html").read_text()
    run_program(analysis, f"--results_dir={tmp_path}")
    assert not (tmp_path / "report" / "without_duplicates.csv").exists()


def test_a_table_of_accuracies_has_no_test_images(run_program):
    with pytest.raises(UserError, match="--duplicates goes with records"):
        run_program(analysis, "--accuracies=tfbench/stats/published/kornblith2019_v3_fig2_digitised.csv",
                    "--duplicates=pairs.csv")
