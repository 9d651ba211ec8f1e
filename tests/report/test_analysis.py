"""The analysis program from outside: what it prints and writes, how it fails, what it does not import."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pandas as pd
import pytest
from helpers.studies import BUDGET, Page, add_variants, write_rows

from tfbench import UserError
from tfbench import analysis as program
from tfbench.analysis import analyse
from tfbench.regimes import REGIMES
from tfbench.report import figures
from tfbench.stats.accuracies import from_csv

ROOT = pathlib.Path(__file__).parents[2]
PUBLISHED = ROOT / "tfbench/stats/published/kornblith2019_v3_fig2_digitised.csv"
HOSTILE = "<script>alert(1)</script> \"'&$\\frac{\x1b[31m"
# Fails the process on any import of TensorFlow, wherever it comes from.
BLOCKED = ("import runpy, sys; sys.modules.update(dict.fromkeys(('tensorflow', 'keras', 'ray')));"
           "runpy.run_module('tfbench.analysis', run_name='__main__', alter_sys=True)")


def analysis(*flags, cwd=ROOT):
    """Runs the program in a process of its own, where TensorFlow cannot be imported."""
    return subprocess.run([sys.executable, "-c", BLOCKED, *map(str, flags)], cwd=cwd, text=True,
                          capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)})


@pytest.fixture
def draw_only(monkeypatch):
    """draw_only(*names): reports of this process have these figures and the residuals, which stand beside the model.

    Drawing takes most of an analysis.
    """
    def only(*names):
        monkeypatch.setattr(figures, "FIGURES", [
            row if row.name in names or row.section == "residuals" else row._replace(draw=lambda findings: None)
            for row in figures.FIGURES])

    return only


def test_help_is_quick():
    start = os.times()
    done = subprocess.run([sys.executable, "-X", "importtime", "-m", "tfbench.analysis", "--help"], cwd=ROOT,
                          text=True, capture_output=True)
    end = os.times()
    assert end.children_user + end.children_system - start.children_user - start.children_system < 2  # measured: 0.4
    assert "--accuracies" in done.stdout
    assert "python -m tfbench.analysis --results_dir=results" in done.stdout
    for heavy in ("numpy", "pandas", "matplotlib", "scipy", "tensorflow"):
        assert f" {heavy}\n" not in done.stderr


def test_paper_from_its_published_table(tmp_path):
    done = analysis(f"--accuracies={PUBLISHED}", f"--output_dir={tmp_path}")
    assert (done.returncode, done.stderr) == (0, "")
    for line in (
            "r = .986 (95 % interval .958 to .995), ρ = .985; 16 networks, 12 data sets.",
            "r = .954 (95 % interval .871 to .984), ρ = .964; 16 networks, 12 data sets.",
            "r = .548 (95 % interval .072 to .821), ρ = .570; 16 networks, 12 data sets.",
            "On the 7 data sets with fewer than 10,000 training images: r = logistic regression .965, fine-tuning "
            ".907, training from scratch .296.", "training from scratch .863.",
            "Fine-tuning is better than logistic regression in 177 of 192 comparisons and equal in 3.",
            "Fine-tuning is better than training from scratch in 189 of 192 comparisons.",
            f"report: {tmp_path / 'index.html'}"):
        assert line in done.stdout
        assert line.startswith("report") or line in (tmp_path / "summary.md").read_text().replace("\\", "")
    page = Page(tmp_path / "index.html")
    # main, three regimes, against each other, bars, three of residuals; a ranking per data set and regime
    assert page.tags.count("svg") == 9 + 12 * 3
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert all(address.startswith("#") for address in page.addresses)  # nothing is fetched
    assert "177 of 192 comparisons and equal in 3" in page.text
    assert "Beside the paper" not in page.text  # it is the paper
    tables = json.loads((tmp_path / "analysis.json").read_text())["tables"]
    assert tables["correlations"][1]["r"] == pytest.approx(0.954, abs=5e-4)
    assert {f"{name}.csv" for name in tables} == {path.name for path in tmp_path.glob("*.csv")}
    assert from_csv(tmp_path / "accuracies.csv").equals(from_csv(PUBLISHED))
    assert {path.suffix for path in (tmp_path / "figures").iterdir()} == {".svg", ".png"}
    assert len(list((tmp_path / "figures").iterdir())) == 2 * 9


def test_study_with_a_gap_and_a_hostile_name(tmp_path):
    folder = write_rows(tmp_path / "study", ("resnet_50", "mobilenet_v1", "inception_v1", HOSTILE),
                        skip={("resnet_50", "diacritics", "finetune")})
    done = analysis(f"--results_dir={folder}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    for line in ("ρ = 1.000; 4 networks, 1 data set.", "ρ = 1.000; 4 networks, 2 data sets."):
        assert line in done.stdout
    assert "missing: 1 result" in done.stdout
    page = Page(folder / "report/index.html")
    assert page.tags.count("script") == 1  # the page's own
    assert page.open == []
    for name in ("summary.md", "accuracies.csv", "analysis.json"):
        assert "alert" in (folder / "report" / name).read_text()
    assert "<script>" not in (folder / "report/summary.md").read_text()
    for text in (HOSTILE.replace("\x1b", "?"), "ResNet-50 on Diacritics, fine-tuning", "12 steps instead of 19,531",
                 "widen the grid & repeat", "learning rate 0.01", "43.2", "tfbench 0.1.0", "7 of 7 comparisons"):
        assert text in page.text


def test_reports_are_the_same_every_time(tmp_path):
    folder = write_rows(tmp_path / "study")
    contents = []
    for name in ("a", "b"):
        assert analysis(f"--results_dir={folder}", f"--output_dir={tmp_path / name}").returncode == 0
        contents.append({str(path.relative_to(tmp_path / name)): path.read_bytes()
                         for path in sorted((tmp_path / name).rglob("*.*"))})
    assert contents[0] == contents[1]


def test_cheaper_runs_are_drawn_as_curves_and_change_no_table(tmp_path, run_program, draw_only):
    draw_only("convergence", "few_examples")  # before and after; between them the program draws all
    folder = write_rows(tmp_path / "study", ("resnet_50", "mobilenet_v1", "inception_v1", HOSTILE), spec=BUDGET)
    before = run_program(program, f"--results_dir={folder}").splitlines()
    files = {name: (folder / "report" / name).read_bytes() for name in ("accuracies.csv", "correlations.csv")}
    assert not list((folder / "report").rglob("convergence.*")) + list((folder / "report").rglob("few_examples.*"))
    for steps in (3, 6):
        add_variants(folder, HOSTILE, 0.0, steps=steps)
    for seed, accuracy in enumerate((0.2, 0.4, 0.6)):
        add_variants(folder, "resnet_50", accuracy, ("finetune", "logistic_regression"), examples_per_class=4,
                     subset_seed=seed)
    done = analysis(f"--results_dir={folder}")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    budget = "1 learning rate × 1 weight decay, batches of 8 images"
    notes = [line for line in before if line.endswith("not tested")]
    new = [line for line in lines if line not in before]
    assert [line for line in lines if line not in new] == before and len(notes) == 2
    assert new[0].startswith("90 % of the best odds are reached by training from scratch after 12 steps (0.11 epochs)")
    assert "by fine-tuning after 12 steps" in new[0] and "geometric means over 2 curves of each" in new[0]
    assert new[1:] == [
        "logistic regression: the table has 8 rows with 2 L2 strengths",
        "logistic regression: left out of the table: 6 rows on 4 examples per class with 2 L2 strengths "
        "(drawn as curves)",
        f"fine-tuning: the table has 8 rows with 12 steps, {budget}",
        f"fine-tuning: left out of the table: 4 rows with 3 or 6 steps, {budget} (drawn as curves)",
        f"fine-tuning: left out of the table: 6 rows on 4 examples per class with 12 steps, {budget} (drawn as curves)",
        f"training from scratch: the table has 8 rows with 12 steps, {budget}",
        f"training from scratch: left out of the table: 4 rows with 3 or 6 steps, {budget} (drawn as curves)",
        "4 curves of accuracy against training steps in the report",
        "4 curves of accuracy against training examples per class in the report"]
    assert all((folder / "report" / name).read_bytes() == content for name, content in files.items())
    for name, count in (("convergence", 12), ("few_examples", 4)):
        assert len((folder / f"report/{name}.csv").read_text().splitlines()) - 1 == count
        assert {path.suffix for path in (folder / "report/figures").glob(f"{name}.*")} == {".svg", ".png"}
    page = Page(folder / "report/index.html")
    assert page.tags.count("svg") == 11 + 1 + 2 * 3  # figures, accuracy against cost, rankings
    assert page.tags.count("script") == 1 and page.open == [] and len(page.ids) == len(set(page.ids))
    for text in ("Left out of the tables", *new[:-2], "Curves", "40.0\xa0±\xa011.5",
                 "12 steps, " + budget, budget + ", 4 examples per class, subset 2", HOSTILE.replace("\x1b", "?")):
        assert text in page.text
    assert "Missing results" not in page.text
    for path in (folder / "rows").glob("*-*.json"):
        path.unlink()  # a report without curves leaves none of an earlier one
    assert run_program(program, f"--results_dir={folder}").splitlines() == before
    assert not list((folder / "report").rglob("convergence.*")) + list((folder / "report").rglob("few_examples.*"))


def test_networks_at_another_budget_are_missing(tmp_path, run_program, draw_only):
    draw_only()
    folder = write_rows(tmp_path / "study", spec=BUDGET)
    for path in (folder / "rows").glob("*.json"):
        row = json.loads(path.read_text())
        if row["network"] == "densenet_121" and row["regime"] == "finetune":
            path.write_text(json.dumps(row | {"spec": BUDGET | {"steps": 6}}))
    said = run_program(program, f"--results_dir={folder}")
    assert "missing: 2 results" in said
    assert "ρ = 1.000; 3 networks, 2 data sets." in said
    assert "2 rows with 6 steps, 1 learning rate × 1 weight decay, batches of 8 images (in no curve" in said
    assert "DenseNet-121 on Diacritics, fine-tuning" in Page(folder / "report/index.html").text


def test_few_examples_alone_make_a_report_of_curves(tmp_path, run_program):
    folder = write_rows(tmp_path / "study", ("resnet_50",), spec=BUDGET | {"examples_per_class": 2, "subset_seed": 0})
    said = run_program(program, f"--results_dir={folder}")
    assert said.splitlines()[0] == "No run used all training examples: there are curves only."
    page = Page(folder / "report/index.html")
    assert page.tags.count("svg") == 1
    assert "there are curves only" in page.text
    assert not (folder / "report/accuracies.csv").exists()


def test_one_network_is_a_partial_study(tmp_path, run_program):
    folder = write_rows(tmp_path / "study", ("resnet_50",))
    said = run_program(program, f"--results_dir={folder}")
    assert "Logistic regression: no correlation: a correlation needs at least 3 networks, found 1" in said
    tables = json.loads((folder / "report/analysis.json").read_text())["tables"]
    assert tables["correlations"][1]["r"] is None
    assert tables["networks"][0]["standard_error"] is None and tables["networks"][0]["p_best"] == 1


def test_folders_without_results(tmp_path):
    with pytest.raises(UserError, match="there is no results folder"):
        analyse(tmp_path / "absent")
    done = analysis(f"--results_dir={tmp_path}")
    assert (done.returncode, done.stdout) == (2, "")
    assert "found none: run study" in done.stderr
    assert done.stderr.count("\n") == 1


def test_damaged_rows(tmp_path):
    folder = write_rows(tmp_path / "study")
    victim = folder / "rows/3.json"
    for content, words in ((victim.read_text()[:100], "is damaged"), ("[]", "is no record"),
                           (victim.read_text().replace('"n_test": 1000', '"n_test": 999'), "expected n_test")):
        victim.write_text(content)
        with pytest.raises(UserError, match=words):
            analyse(folder)
    assert not (folder / "report").exists()


def test_report_that_cannot_be_written(tmp_path, draw_only):
    draw_only()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="--output_dir=DIR") as refused:
        analyse(accuracies=PUBLISHED, output_dir=tmp_path / "file")
    assert "\n" not in str(refused.value)


def test_table_that_cannot_be_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="absent.csv"):
        analyse(accuracies=tmp_path / "absent.csv")
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("certified, expected", [
    (True, "all 16 logistic regressions are certified"), (False, "8 of 16 logistic regressions are not certified")])
def test_report_counts_regressions_that_are_not_certified(certified, expected, tmp_path, draw_only):
    draw_only()
    folder = write_rows(tmp_path, trials=[{"l2": 1.0, "validation_accuracy": 0.4, "certified": certified}],
                        refit={"certified": True})
    assert expected in analyse(folder).read_text()


def write_table(path, lines):
    path.write_text("\n".join(["setting,model,imagenet_top1,DTD,VOC2007,mine", *lines]) + "\n")
    return path


@pytest.mark.parametrize("lines", [
    ["logreg,A,70,60,50,40"],  # one network
    ["logreg,A,70,60,,", "logreg,B,71,61,,", "logreg,C,72,62,,", "finetune,C,72,62,,"],  # one data set
    ["logreg,A,70,60,50,40", "logreg,B,70,60,50,40", "logreg,C,70,60,50,40"],  # constant columns
    ["logreg,A,70,60,50,40", "logreg,B,71,60,51,", "finetune,C,72,,,44", "random_init,A,70,,,20"],  # gaps
    ["logreg,A,,60,50,40", "finetune,B,,61,51,41"],  # no source accuracy
    ["logreg,A,70,60,50,40", "logreg,B,71,61,52,41", "logreg,C,72,62,51,42", "logreg,D,,63,53,43"],
    ["finetune,<script>alert(1)</script>,70,60,50,40", "finetune,網路 | `x` \"\"y,71,61,51,41"]])
def test_every_partial_table_has_a_report(lines, tmp_path, capsys):
    path = write_table(tmp_path / "t.csv", [line.replace(' \"\"y', "") for line in lines])
    page = Page(analyse(accuracies=path, output_dir=tmp_path / "report"))
    assert page.open == [] and page.tags.count("script") == 1
    assert "report: " in capsys.readouterr().out
    assert "What the table was taken for" in page.text and "numbers are percent" in page.text
    for name in {line.split(",")[1] for line in lines}:
        assert name.replace(' \"\"y', "") in page.text
    json.loads((tmp_path / "report/analysis.json").read_text())
    assert from_csv(tmp_path / "report/accuracies.csv").equals(from_csv(path))


def test_a_data_frame_is_analysed_as_its_file_is(tmp_path, capsys, draw_only):
    draw_only()
    frame = pd.read_csv(PUBLISHED)
    frame = frame[frame["model"].isin(frame["model"].unique()[:4])]
    frame.to_csv(tmp_path / "few.csv", index=False)
    by_name = analyse(accuracies=frame, output_dir=tmp_path / "a").parent
    by_position = analyse(frame, output_dir=tmp_path / "b").parent
    by_path = analyse(accuracies=str(tmp_path / "few.csv"), output_dir=tmp_path / "c").parent
    for name in ("accuracies.csv", "correlations.csv", "networks.csv"):
        assert (by_name / name).read_bytes() == (by_position / name).read_bytes() == (by_path / name).read_bytes()
    assert "From a DataFrame, by tfbench" in Page(by_name / "index.html").text


@pytest.mark.parametrize("arguments", [{"accuracies": 3}, {"results_dir": 3}, {"results_dir": [3]}])
def test_what_is_no_path_is_named(arguments):
    with pytest.raises(UserError, match="found int: pass one"):
        analyse(**arguments)


def test_one_data_set_says_which_network_to_take(tmp_path, run_program, draw_only):
    draw_only()
    folder = write_rows(tmp_path / "study")
    printed = run_program(program, f"--results_dir={folder}", "--dataset=Diacritics")
    said = "Diacritics, fine-tuning: DenseNet-121 is the most accurate of 4 networks (87.0 %, 95 % interval"
    assert said in printed
    assert "Digits" not in Page(folder / "report/index.html").text
    with pytest.raises(UserError, match="digits, diacritics"):
        run_program(program, f"--results_dir={folder}", "--dataset=birds")


def test_several_folders_are_one_study(tmp_path, run_program, draw_only):
    draw_only()
    a = write_rows(tmp_path / "a", ("resnet_50", "mobilenet_v1"))
    write_rows(tmp_path / "b", ("inception_v1", "densenet_121"))
    for path in (tmp_path / "b/rows").iterdir():  # ever better ones in both
        row = json.loads(path.read_text())
        row["key"] = "b" + row["key"]
        path.write_text(json.dumps(row))
    said = run_program(program, f"--results_dir={a},{tmp_path / 'b'},{a}")  # what is in several counts once
    assert "4 networks, 2 data sets" in said
    assert (a / "report/index.html").exists() and not (tmp_path / "b/report").exists()


def test_unequal_splits_are_named_and_averaged_when_told(tmp_path, run_program, draw_only):
    draw_only()
    folder = write_rows(tmp_path / "study")
    for path in (folder / "rows").glob("*.json"):
        row = json.loads(path.read_text())
        if row["network"] == "resnet_50" and row["dataset"] == "digits":
            split = {"n": 900, "sha256": "c" * 64, "expected": 1000}
            path.write_text(json.dumps(row | {"n_test": 900, "test_split": split}))
    with pytest.raises(UserError, match="--allow_unequal_splits"):
        run_program(program, f"--results_dir={folder}")
    said = run_program(program, f"--results_dir={folder}", "--allow_unequal_splits")
    for line in ("Digits: tested on 900 of 1,000 images (3 runs)", "digits: 900 examples"):
        assert line in said
    assert "Unequal test splits" in Page(folder / "report/index.html").text


def test_ways_to_pretrain_are_drawn_beside_the_papers(tmp_path, run_program, draw_only):
    draw_only("ablation")
    folder = write_rows(tmp_path / "study")
    for path in (folder / "rows").glob("*.json"):
        row = json.loads(path.read_text())
        if row["regime"] == "pretrain":
            spec = {"bn_scale": True, "label_smoothing": 0.0, "dropout": False, "auxiliary_head": True}
            path.write_text(json.dumps(row | {"spec": spec}))
    run_program(program, f"--results_dir={folder}", f"--ablation={folder},paper")
    lines = (folder / "report/ablation.csv").read_text().splitlines()
    assert sum(line.startswith("ours,") and ",4," in line for line in lines) == 2 * 2  # regimes that take the weights
    assert sum(line.startswith("ours,") and ",3," in line for line in lines) == 2 * 2  # networks without dropout
    assert sum(line.startswith("paper") for line in lines) > 20
    assert (folder / "report/figures/ablation.svg").exists()


def test_public_and_retrained_weights_are_beside_each_other(tmp_path, run_program, draw_only):
    draw_only("sources")
    folder = write_rows(tmp_path / "study")
    for path in list((folder / "rows").glob("*.json")):
        row = json.loads(path.read_text())
        if row["source"] and row["network"] != "densenet_121":
            source = row["source"] | {"dataset": "imagenet", "accuracy": 0.9 - row["source"]["accuracy"] / 10}
            public = row | {"key": f"p{row['key']}", "source": source}
            path.with_stem(f"public{path.stem}").write_text(json.dumps(public))
    said = run_program(program, f"--results_dir={folder}")
    assert "report's tables have those of glyphs" in said and "--source=NAME has imagenet" in said
    assert "Public ImageNet weights: r = logistic regression -" in said
    lines = (folder / "report/sources.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in lines[1:]] == [[source, regime] for source in ("glyphs", "imagenet")
                                                           for regime in REGIMES]
    svg = (folder / "report/figures/sources.svg").read_text()
    assert svg.count("<g id=\"axes_") == 6
    run_program(program, f"--results_dir={folder}", "--source=imagenet", "--exclude=ResNet-50", "--dataset=digits")
    lines = (folder / "report/accuracies.csv").read_text().splitlines()[1:]
    assert {tuple(line.split(",")[1:3]) for line in lines if not line.startswith("train_from_scratch")} == {
        (network, "digits") for network in ("mobilenet_v1", "inception_v1")}
    with pytest.raises(UserError, match="name one of glyphs, imagenet"):
        run_program(program, f"--results_dir={folder}", "--source=imagenet2012")


def test_own_networks_are_placed_on_the_papers_figure(tmp_path, capsys, draw_only):
    draw_only("placement")
    folder = write_rows(tmp_path / "study")
    with pytest.raises(UserError, match=r"--place_on: there is no published table 'kornblith'.*Known: kornblith2019"):
        analyse(folder, place_on="kornblith")
    index = analyse(folder, place_on="kornblith2019")
    said = capsys.readouterr().out.splitlines()
    nothing, = (line for line in said if line.startswith("Nothing to place on the paper's figure 2"))
    assert "24 results not placed" in nothing and "Digits is not among" in nothing
    assert any("4 networks, 2 data sets" in line for line in said)  # the rest goes on
    assert not (index.parent / "placement.csv").exists()
    table = pd.DataFrame({"regime": "finetune", "network": "mine", "dataset": ["pets", "dtd"], "accuracy": [0.95, 0.8],
                          "n": 100, "source_accuracy": 0.82, "source_n": 50_000}).assign(n=pd.NA)
    index = analyse(table, output_dir=tmp_path / "report", place_on="kornblith2019")
    said = capsys.readouterr().out
    assert "mine lies" in said and "2 of 12 data sets" in said and "does not tell by which protocol" in said
    told = json.loads((index.parent / "analysis.json").read_text())
    line, = told["tables"]["placement"]
    assert line["low"] < line["residual"] < line["high"] and len(told["tables"]["not_placed"]) == 10
    assert "mine lies" in (index.parent / "summary.md").read_text()
    section = re.search('<section id="placement">.*?</section>', index.read_text(), re.DOTALL)[0]
    titles = re.findall("<use [^>]*><title>(.*?)</title>", section)
    assert len(titles) == 17 and titles[-1].startswith("mine: ImageNet 82.0 %, transfer")
