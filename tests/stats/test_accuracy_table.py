"""Tables of accuracies as people write them: every kind is read as it was meant, with a word, or refused in words."""

import csv
import random
import sys
import time
import zipfile

import numpy as np
import openpyxl
import pandas as pd
import pytest

from tfbench import UserError, correlation
from tfbench.report.write import csv_of
from tfbench.stats import accuracies, published
from tfbench.stats.accuracies import from_csv, from_frame, read_table
from tfbench.stats.table_columns import (
    DATASET_NAMES,
    NAMES,
    NETWORK_NAMES,
    NETWORKS,
    SETTINGS,
    no_accuracy,
    spelling,
)

HEADER = "setting,model,imagenet_top1,DTD,VOC2007\n"
NETWORK_ROWS = [("ResNet-50", 75.2, 70.1, 90.3), ("ResNet-101", 76.4, 71.5, 91.2), ("Inception v4", 80.2, 75.3, 95.1),
                ("MobileNet v1", 70.9, 65.2, 87.0)]
HEAD = ["setting", "model", "imagenet_top1", "CIFAR-10", "Oxford-IIIT Pets"]
ROWS = [[setting, name, source, first + 3 * i, second + i] for i, setting in enumerate(("logreg", "finetune"))
        for name, source, first, second in NETWORK_ROWS]


def cell(value) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def text_of(head=HEAD, rows=ROWS, delimiter=",", cell=cell) -> str:
    return "".join(delimiter.join(map(cell, row)) + "\n" for row in [head, *rows])


def write(tmp_path, text, name="table.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def with_comma(value) -> str:
    return cell(value).replace(".", ",") if isinstance(value, float) else cell(value)


def with_column(name, value, at=3):
    """The table with one more column, `value(i)` in line i."""
    return text_of([*HEAD[:at], name, *HEAD[at:]], [[*row[:at], value(i), *row[at:]] for i, row in enumerate(ROWS)])


PLAIN = from_frame(pd.DataFrame(ROWS, columns=HEAD))

# ---- kinds that are the plain table -------------------------------------------------------------

SAME = {  # kind -> (content, words that are said of it)
    "plain": (text_of(), ""),
    "semicolons and decimal commas": (text_of(delimiter=";", cell=with_comma),
                                      "semicolons between cells|decimal commas"),
    "semicolons": (text_of(delimiter=";"), "semicolons"),
    "tabs": (text_of(delimiter="\t"), "tabs"),
    "quoted numbers": (text_of(cell=lambda value: f'"{cell(value)}"'), ""),
    "quoted decimal commas": (text_of(cell=lambda value: f'"{with_comma(value)}"'), "decimal commas"),
    "Markdown": (f"{text_of(delimiter=' | ')}".replace("\n", " |\n| ").replace("setting", "| setting", 1)[:-2].replace(
        "\n", "\n|---|---|---|---|---|\n", 1), "bars"),
    "byte order mark": ("\ufeff" + text_of(), ""),
    "UTF-16": (text_of().encode("utf-16"), "UTF-16"),
    "UTF-16 without a mark, tabs": (text_of(delimiter="\t").encode("utf-16-le"), "UTF-16"),
    "CR": (text_of().replace("\n", "\r"), ""),
    "CRLF": (text_of().replace("\n", "\r\n"), ""),
    "sep=,": ("sep=,\n" + text_of(), ""),
    "sep=;": ('"sep=;"\r\n' + text_of(delimiter=";"), "semicolons"),
    "trailing comma": (text_of().replace("\n", ",\n"), ""),
    "trailing comma, not in the header": (text_of().replace("\n", ",\n").replace(",\n", "\n", 1), ""),
    "percent signs": (text_of(cell=lambda value: cell(value) + "%" * isinstance(value, float)), ""),
    "percent in headings": (text_of([*HEAD[:2], "imagenet_top1 (%)", "CIFAR-10 [%]", "Oxford-IIIT Pets in %"]), ""),
    "fractions": (text_of(rows=[[v / 100 if isinstance(v, float) else v for v in row] for row in ROWS],
                          cell=lambda v: f"{v:.3f}" if isinstance(v, float) else v), "fractions"),
    "source apart as fractions": (text_of(rows=[[*row[:2], f"{row[2] / 100:.3f}", *row[3:]] for row in ROWS]),
                                  "fractions in 'imagenet_top1', percent in the other columns"),
    "row numbers of pandas": (with_column("Unnamed: 0", lambda i: i + 2, 0), "'Unnamed: 0' (numbers of rows)"),
    "row numbers without a heading": (with_column("", lambda i: i, 0), "'' (numbers of rows)"),
    "row numbers of R": (with_column("", lambda i: i + 1, 0)[1:], "'' (numbers of rows)"),
    "headings in capitals": (text_of(["Setting", "Model", "ImageNet Top-1", "cifar-10", "OXFORD-IIIT pets"]), ""),
    "other headings": (text_of(["Method", "Backbone", "ImageNet accuracy", "cifar10_acc", "pets (top-1)"]), ""),
    "other settings": (text_of(rows=[[{"logreg": "Linear Probe", "finetune": "FT"}[row[0]], *row[1:]] for row in ROWS]),
                       "'Linear Probe' is logistic regression, 'FT' is fine-tuning"),
    "other spellings in one regime": (text_of(rows=[
        row if row[0] == "logreg" else [row[0], row[1].lower().replace(" ", "").replace("-", ""), *row[2:]]
        for row in ROWS]), "'ResNet-50' and 'resnet50'"),
    "columns that are no accuracies": (text_of(
        [*HEAD[:3], "params_m", "GFLOPs", "imagenet_top5", "epochs", *HEAD[3:], "Average", "CIFAR-10 std", "Year",
         "seed"],
        [[*row[:3], 25.6, 4.1, 92.1, 90, *row[3:], (row[3] + row[4]) / 2, 0.3, 2019, 1] for row in ROWS]),
        "'params_m' (parameters)|'GFLOPs' (operations)|'imagenet_top5' (not top-1)|'epochs' (length of training)|"
        "'Average' (a mean)|'CIFAR-10 std' (a spread)|'Year' (a year)|'seed' (a seed or number)|--dataset=NAME"),
    "remarks above": ("# made by hand\n\n" + text_of(), ""),
    "blank lines and columns": ("\n" + text_of([*HEAD, "", ""], [[*row, "", ""] for row in ROWS]) + ",,,,,,\n", ""),
    "blanks around cells": (text_of(delimiter=" , "), ""),
}


@pytest.mark.parametrize("kind", SAME)
def test_the_same_table_in_another_dress(kind, tmp_path):
    content, words = SAME[kind]
    reading = read_table(write(tmp_path, content))
    pd.testing.assert_frame_equal(reading.table, PLAIN)
    said = "\n".join([*reading.columns, *reading.surprises])
    assert "data sets: " in said and [word for word in words.split("|") if word not in said] == []
    plain = kind in ("plain", "CR", "CRLF", "byte order mark", "percent signs", "quoted numbers")
    assert not (plain and reading.surprises)


def frames():
    """The plain table as DataFrames of many makes."""
    frame = pd.DataFrame(ROWS, columns=HEAD)
    return {"as it is": frame, "index of names": frame.set_index(["setting", "model"]), "text": frame.astype(str),
            "categories": frame.astype({"setting": "category", "model": "category"}),
            "other index": frame.set_axis([f"row {i}" for i in range(len(frame))]),
            "two-level headings": frame.set_axis(pd.MultiIndex.from_tuples([(name, "") for name in HEAD]), axis=1),
            "pyarrow": frame.convert_dtypes(dtype_backend="pyarrow"), "nullable": frame.convert_dtypes(),
            "float32": frame.astype(dict.fromkeys(HEAD[2:], "float32")),
            "filtered": pd.concat([frame.iloc[4:], frame.iloc[:4]]).sort_index()}


@pytest.mark.parametrize("kind", frames())
def test_data_frames_of_many_makes(kind):
    pd.testing.assert_frame_equal(read_table(frames()[kind]).table, PLAIN, rtol=1e-6)


def test_networks_may_be_the_index_of_a_data_frame():
    frame = pd.DataFrame(ROWS[:4], columns=HEAD).drop(columns="setting").set_index("model")
    for index in (frame.index, frame.index.rename(None)):
        found = from_frame(frame.set_axis(index), regime="linear probe")
        pd.testing.assert_frame_equal(found, PLAIN[PLAIN["regime"] == "logistic_regression"].reset_index(drop=True))


def test_parquet_is_read(tmp_path):
    pd.DataFrame(ROWS, columns=HEAD).to_parquet(tmp_path / "table.parquet")
    pd.testing.assert_frame_equal(from_csv(tmp_path / "table.parquet"), PLAIN)
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "table.parquet").read_bytes()[:500])
    with pytest.raises(UserError, match="no Parquet file that pyarrow can read"):
        from_csv(tmp_path / "cut.parquet")


def test_a_workbook_is_read(tmp_path):
    path = tmp_path / "table.xlsx"
    with pd.ExcelWriter(path) as writer:
        pd.DataFrame().to_excel(writer, sheet_name="empty")
        pd.DataFrame(ROWS, columns=HEAD).to_excel(writer, sheet_name="accuracies", startrow=2)
        pd.DataFrame({"a": [1]}).to_excel(writer, sheet_name="notes")
    reading = read_table(path)
    pd.testing.assert_frame_equal(reading.table, PLAIN)
    assert "sheet 'accuracies', not notes" in reading.surprises
    book = openpyxl.load_workbook(path)
    book["accuracies"]["E5"] = "n/a?"
    book.save(path)
    with pytest.raises(UserError, match="line 5, column 'CIFAR-10'"):
        read_table(path)
    damaged = path.read_bytes()
    path.write_bytes(damaged[:600] + bytes(50) + damaged[650:])
    with pytest.raises(UserError, match="table.xlsx"):
        read_table(path)
    (tmp_path / "cut.xlsx").write_bytes(damaged[:-300])
    with pytest.raises(UserError, match="damaged"):
        read_table(tmp_path / "cut.xlsx")


def workbook(path, *sheets):
    """A workbook of (lines, state) sheets."""
    book = openpyxl.Workbook()
    for lines, state in sheets:
        sheet = book.create_sheet()
        for line in lines:
            sheet.append(line)
        sheet.sheet_state = state
    del book["Sheet"]
    book.save(path)
    return path


LINES = [["network", "imagenet", "pets"], ["net1", 75.2, 88], ["net2", 71, 80], ["net3", 70, 81]]


def test_titles_above_a_header_and_hidden_sheets_are_passed_over(tmp_path):
    other = [["network", "imagenet", "pets"], ["net1", 1.5, 2.5]]
    path = workbook(tmp_path / "t.xlsx", (other, "hidden"), ([["Results of May", None, None], *LINES], "visible"))
    assert sorted(from_csv(path, regime="finetune")["accuracy"].round(2)) == [.8, .81, .88]


def test_a_formula_without_its_value_is_no_missing_result(tmp_path):
    path = workbook(tmp_path / "t.xlsx", ([*LINES[:2], ["net2", 71, "=C2-5"], LINES[3]], "visible"))
    with pytest.raises(UserError, match="cell C3: expected a value, found the formula '=C2-5' without one: open the"):
        read_table(path, regime="finetune")


def test_lines_that_sum_up_others_are_no_networks(tmp_path):
    table = from_csv(write(tmp_path, text_of(*(LINES[0], [*LINES[1:], ["Mean", 72.1, 83]]))), regime="finetune")
    assert sorted(set(table["network"])) == ["net1", "net2", "net3"]


@pytest.mark.parametrize("head, lines, told", [
    (["network", "imagenet (%)", "pets (%)"], [["net1", .752, .88], ["net2", .71, .8]], "percent as its heading says"),
    (["network", "imagenet", "", ""], [["net1", 75, 88, 1], ["net2", 71, 80, 1]], "found none for 2 of them")])
def test_headings_that_do_not_fit_their_numbers_are_refused(head, lines, told, tmp_path):
    with pytest.raises(UserError, match=told):
        from_frame(pd.DataFrame(lines, columns=head), regime="finetune")


def test_without_openpyxl_a_workbook_is_named(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "table.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", "")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(UserError, match="pip install openpyxl"):
        read_table(tmp_path / "table.xlsx")


TWO_SIGNS = {  # headings and lines in which a comma, a point or a blank may be either sign, where, and the other cell
    "comma beside points": (["pets"], [["75.2", "1,234"], ["71.5", "88"]], "line 2, column 'pets'", "'75.2' (line 2"),
    "point beside commas": (["pets"], [["75,2", "1.234"], ["71,5", "88"]], "line 2, column 'pets'", "'75,2' (line 2"),
    "in one column": (["pets"], [["75", "90.1"], ["71", "88,5"]], "line 3, column 'pets'", "'90.1' (line 2"),
    "examples beside decimal commas": (["pets", "pets n"], [["75,2", "88,5", "3,669"], ["71,5", "88", "3669"]],
                                       "line 2, column 'pets n'", "'75,2' (line 2"),
    "examples with points": (["pets", "pets n"], [["75,2", "88,5", "3.669"], ["71,5", "88", "3669"]],
                             "line 2, column 'pets n'", "a number of examples above 0, found '3.669'"),
    "lone comma among whole numbers": (["pets"], [["75", "1,234"], ["71", "88"], ["70", "81"]],
                                       "line 2, column 'pets'", "beside whole numbers such as 88"),
    "half of a column": (["pets"], [["75", "88,125"], ["71", "88"]], "line 2, column 'pets'", "write '88.125' where"),
    "of the source": (["pets"], [["75,125", "88"], ["71", "81"]], "column 'imagenet_top1'", "--ignore_columns="),
    "blank": (["pets"], [["75.2", "1 234"], ["71", "88"]], "line 2, column 'pets'", "found '1 234'"),
    "narrow blank": (["pets"], [["75.2", "1\u202f234"], ["71", "88"]], "line 2, column 'pets'", "found '1"),
    "apostrophe": (["pets"], [["75.2", "1'234"], ["71", "88"]], "line 2, column 'pets'", '"1\'234"'),
}


@pytest.mark.parametrize("kind", TWO_SIGNS)
def test_a_sign_that_may_be_of_decimals_or_thousands_is_refused(kind, tmp_path):
    head, lines, *words = TWO_SIGNS[kind]
    table = [["network", "imagenet_top1", *head], *([f"net{i}", *line] for i, line in enumerate(lines))]
    with pytest.raises(UserError) as caught:
        from_csv(write(tmp_path, text_of(table[0], table[1:], cell=lambda value: f'"{value}"')), regime="finetune")
    assert [word for word in words if word not in str(caught.value)] == [] and "\n" not in str(caught.value)


@pytest.mark.parametrize("lines", [
    [["75,2", "1,234"], ["71", "88"], ["70", "81"]], [["75,125", "88,125"], ["71,5", "90"], ["70", "81"]],
    [["75,125", "88,234"], ["71,375", "90,012"], ["70", "81"]], [["0,752", "0,881"], ["0,710", "0,900"]],
    [["75", "1,234 %"], ["71", "88"], ["70", "81"]]])
def test_other_cells_decide_that_a_comma_is_a_decimal_sign(lines, tmp_path):
    rows = [[f"net{i}", *line] for i, line in enumerate(lines)]
    text = text_of(["network", "imagenet_top1", "pets"], rows, cell=lambda value: f'"{value}"')
    table = from_csv(write(tmp_path, text), regime="finetune")
    first = float(lines[0][1].removesuffix("%").replace(",", "."))
    assert table["accuracy"].iloc[0] == pytest.approx(first if first < 1 else first / 100)


def test_examples_may_have_thousands_signs_where_decimals_have_points(tmp_path):
    rows = [["net1", "75.2", "88.5", '"3,669"'], ["net2", "71.5", "88", "3 669"], ["net3", "72.5", "86.1", "3'669"]]
    table = from_csv(write(tmp_path, text_of(["network", "imagenet_top1", "pets", "pets n"], rows)), regime="finetune")
    assert list(table["n"]) == [3669] * 3


# ---- what may be chosen -----------------------------------------------------------------------------


def test_a_table_without_settings_is_of_one_regime(tmp_path):
    path = write(tmp_path, text_of(HEAD[1:], [row[1:] for row in ROWS[:4]]))
    for name in ("finetune", "ft", "Fine-Tuned"):
        assert set(from_csv(path, regime=name)["regime"]) == {"finetune"}
    assert "all lines are fine-tuning (--regime)" in read_table(path, regime="ft").surprises
    with pytest.raises(UserError, match="--regime among logreg"):
        from_csv(path, regime="zero shot")
    with pytest.raises(UserError, match="has a column 'setting': leave out --regime"):
        from_csv(write(tmp_path, text_of()), regime="finetune")


def test_columns_are_chosen(tmp_path):
    path = write(tmp_path, with_column("params", lambda i: i / 10 + 30))
    assert set(from_csv(path, datasets=["params", "cifar 10"])["dataset"]) == {"params", "cifar10"}
    assert set(from_csv(path, ignore_columns=["CIFAR-10"])["dataset"]) == {"pets"}
    for options, words in (({"datasets": ["dtd"]}, "'dtd', found 'params', 'CIFAR-10'"),
                           ({"ignore_columns": ["nothing"]}, "no 'nothing'")):
        with pytest.raises(UserError, match=words):
            from_csv(path, **options)
    with pytest.raises(UserError, match="'cost'.*found '312': .*--ignore_columns=cost"):
        from_csv(write(tmp_path, with_column("cost", lambda i: 312)))
    table = from_csv(write(tmp_path, with_column("cost", lambda i: "312 $")), ignore_columns=["cost"])
    assert set(table["dataset"]) == {"cifar10", "pets"}


def test_the_mean_of_the_others_is_found_by_its_numbers(tmp_path):
    rows = [[*row, 50 + i, (row[3] + row[4] + 50 + i) / 3] for i, row in enumerate(ROWS)]
    reading = read_table(write(tmp_path, text_of([*HEAD, "DTD", "VTAB"], rows)))
    assert set(reading.table["dataset"]) == {"cifar10", "pets", "dtd"}
    assert any("'VTAB' (the mean of the others)" in line for line in reading.surprises)


@pytest.mark.parametrize(("heading", "is_none"), [
    *((name, True) for name in ("Params (M)", "#params", "num_parameters", "FLOPs", "GMACs", "top5", "ImageNet Top-5",
                                "top-10 acc", "cifar10_error", "test loss", "std", "DTD std", "n_epochs", "Year", "Run",
                                "mean", "Avg.", "avg acc", "Overall", "Image size", "input_resolution", "latency ms",
                                "images/second", "URL", "Depth", "batch size", "model size (MB)")),
    *((name, False) for name in ("CIFAR-10", "cifar10_top1", "SUN397", "Caltech-101", "102 Flowers", "VOC2007", "DTD",
                                 "Pets mean per class", "NYU Depth", "ImageNet-V2", "Places365", "Average Joe Cars"))])
def test_headings_of_what_is_no_accuracy(heading, is_none):
    assert bool(no_accuracy(heading)) == is_none


def test_names_of_the_catalogs_have_spellings_of_their_own():
    assert set(NETWORK_NAMES.values()) == set(NETWORKS)
    assert len({spelling(name) for name in ("net-1.1", "net-11", "net 1.1+", "net 1 1 1")}) == 4
    assert len({spelling(name) for name in ("ResNet-50", "resnet50", "ResNet 50", "RESNET_50")}) == 1
    assert not set(NETWORK_NAMES) & set(DATASET_NAMES)


# ---- extremes, missing cells ------------------------------------------------------------------------


def test_a_hundred_percent_takes_the_number_of_examples_in_the_same_form(tmp_path):
    rows = [[*row[:3], 100.0 if i == 3 else row[3], row[4]] for i, row in enumerate(ROWS)]
    with pytest.raises(UserError, match="line 5, column 'CIFAR-10': .* in a column 'CIFAR-10 n', for example 1880"):
        from_csv(write(tmp_path, text_of(rows=rows)))
    for name, number in (("CIFAR-10 n", "10,000"), ("n_cifar10", "10000"), ("CIFAR-10 n", "10000.0")):
        filled = [[*row, f'"{number}"' if i == 3 else ""] for i, row in enumerate(rows)]
        table = from_csv(write(tmp_path, text_of([*HEAD, name], filled)))
        assert table[table["accuracy"] == 1]["n"].tolist() == [10000] and table["n"].notna().sum() == 1
    long = "regime,network,dataset,accuracy,source_accuracy\nft,a,dtd,100,70\nft,b,dtd,60,71\n"
    with pytest.raises(UserError, match="in a column 'n'"):
        from_csv(write(tmp_path, long))
    assert from_csv(write(tmp_path, long.replace("accuracy\n", "accuracy,n\n").replace("70\n", "70,1880\n").replace(
        "71\n", "71,\n")))["n"].notna().sum() == 1


def test_one_low_cell_is_percent_like_its_column(tmp_path):
    rows = [[*row[:3], 0.6 if i == 3 else row[3], row[4]] for i, row in enumerate(ROWS)]
    reading = read_table(write(tmp_path, text_of(rows=rows)))
    assert reading.table["accuracy"].min() == 0.006
    assert any("0.6 in line 5, column 'CIFAR-10'" in line for line in reading.surprises)
    rows = [[*row[:3], row[3] / 100 if i < 4 else row[3], row[4]] for i, row in enumerate(ROWS)]
    with pytest.raises(UserError, match="column 'CIFAR-10': expected percent or fractions throughout"):
        from_csv(write(tmp_path, text_of(rows=rows)))


@pytest.mark.parametrize("missing", ["", "-", "–", "n/a", "N/A", "NaN", "nan", "NULL", "#N/A", "?", " "])
def test_missing_cells(missing, tmp_path):
    reading = read_table(write(tmp_path, text_of(rows=[*ROWS[:-1], [*ROWS[-1][:-1], missing]])))
    pd.testing.assert_frame_equal(reading.table, PLAIN.drop(index=15))
    assert any("taken as missing: 1 cell" in line for line in reading.surprises) == bool(missing.strip())


def test_correlation_warns_of_what_was_not_plain():
    frame = pd.DataFrame(ROWS, columns=HEAD).assign(params_m=25.6)
    with pytest.warns(UserWarning, match="'params_m'"):
        found = correlation(frame)
    plain = correlation(frame.drop(columns="params_m"))
    assert found["finetune"].r == plain["finetune"].r and found["finetune"].datasets == ("cifar10", "pets")


@pytest.mark.parametrize(("content", "words"), [
    (b"\xd0\xcf\x11\xe0", "Excel file of before 2007"), (b"\x1f\x8b\x08", "gunzip"), (b"%PDF-1.4", "a PDF"),
    (b"<!doctype html>", "Raw"), (b' {"a": 1}', "JSON"), (b"\x89HDF", "HDF5"), (b"PK\x03\x04", "damaged"),
    ("sep=^\n" + text_of(delimiter="^"), "sep='\\^'")])
def test_other_kinds_of_files_are_called_what_they_are(content, words, tmp_path):
    with pytest.raises(UserError, match=words):
        from_csv(write(tmp_path, content))


# ---- CSV -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "logreg,A,70,60,50\nrandom_init,B,80,10,\n", "logistic_regression,A,.7,.6,.5\ntrain_from_scratch,B,.8,.1,\n"])
def test_percent_and_fractions_are_told_apart(tmp_path, text):
    table = from_csv(write(tmp_path, HEADER + text))
    assert table["accuracy"].tolist() == pytest.approx([0.5, 0.6, 0.1])  # in the catalog's order
    assert table["source_accuracy"].tolist() == pytest.approx([0.7, 0.7, 0.8])
    assert table["regime"].tolist() == ["logistic_regression"] * 2 + ["train_from_scratch"]
    assert table["n"].isna().all()


def test_byte_order_mark_quotes_and_windows_line_ends(tmp_path):
    text = b"\xef\xbb\xbf" + (HEADER + 'logreg,"A, big",70,60,50\n\n').replace("\n", "\r\n").encode()
    assert from_csv(write(tmp_path, text))["network"].tolist() == ["A, big"] * 2


@pytest.mark.parametrize(("text", "words"), [
    ("", ["empty"]),
    (HEADER, ["found none"]),
    (HEADER + "logreg,A,70,,\n", ["found none"]),
    ("model,imagenet_top1,DTD\nA,70,60\n", ["no column setting", "--regime=NAME"]),
    ("setting,model,DTD\nlogreg,A,70\n", ["imagenet_top1"]),
    ("setting,model,imagenet_top1,DTD,DTD\nlogreg,A,70,60,50\n", ["rename"]),
    ("regime,dataset,accuracy\nfinetune,digits,.5\n", ["network", "source_accuracy"]),
    (HEADER + "logreg,A,70,60\n", ["line 2", "5 cells", "found 4"]),
    (HEADER + "zeroshot,A,70,60,50\n", ["line 2", "zeroshot", "logreg"]),
    (HEADER + "logreg,,70,60,50\n", ["line 2", "'model'"]),
    (HEADER + "logreg,A,70,60,50\nlogreg,B,70,sixty,50\n", ["line 3", "'DTD'", "sixty"]),
    (HEADER + "logreg,A,70,60,101\n", ["line 2", "'VOC2007'", "101"]),
    (HEADER + "logreg,A,70,-1,50\n", ["line 2", "'DTD'", "-1"]),
    (HEADER + "logreg,A,70,60 ± 2,50\n", ["line 2", "'DTD'", "60 ± 2", "the mean alone"]),
    (HEADER + "logreg,A,70,1_0,50\n", ["line 2", "'DTD'", "1_0"]),
    (HEADER + "logreg,A,inf,60,50\n", ["line 2", "'imagenet_top1'", "inf"]),
    (HEADER + "logreg,A,70,60,50\nlogreg,A,70,61,51\n", ["lines 2 and 3"]),
    (HEADER + "logreg,A,70,60,50\nfinetune,A,71,61,51\n", ["lines 2 and 3", "70 % and 71 %"]),
    (HEADER + "logreg,A,70,60,50\nlogreg,B,71,0.7,50\n", ["percent or fractions", "'DTD'", "0.7", "percent sign"]),
    ("regime,network,dataset,accuracy,n,source_accuracy\nfinetune,a,d,.5,many,.6\n", ["line 2", "'n'", "many"]),
    (HEADER.encode() + b"logreg,Caf\xe9,70,60,50\n", ["line 2", "0xe9", "UTF-8"]),
    (HEADER.encode("utf-16")[:-1], ["UTF-16"]),
    (HEADER + 'logreg,"A,70,60,50\n', ["cannot read"]),
    (HEADER + "logreg,A,7\0,60,50\n", ["line 2", "'imagenet_top1'", "7\\x00"]),
])
def test_csv_errors_name_the_place(tmp_path, text, words):
    path = write(tmp_path, text)
    with pytest.raises(UserError) as error:
        from_csv(path)
    assert [word for word in [str(path), *words] if word not in str(error.value)] == []


def test_files_that_cannot_be_read(tmp_path):
    for path in (tmp_path, tmp_path / "absent.csv"):
        with pytest.raises(UserError, match="--accuracies=FILE"):
            from_csv(path)


def test_titles_and_names_are_the_same(tmp_path):
    text = "setting,model,imagenet_top1,DTD,cars,mine\nlogreg,ResNet-50,70,60,50,40\nlogreg,vgg_16,71,61,51,41\n"
    table = from_csv(write(tmp_path, text))
    assert sorted(set(table["dataset"])) == ["cars", "dtd", "mine"]
    assert set(table["network"]) == {"resnet_50", "vgg_16"}
    both = "setting,model,imagenet_top1,DTD\nlogreg,ResNet-50,70,60\nlogreg,resnet_50,70,60\n"
    with pytest.raises(UserError, match="lines 2 and 3"):
        from_csv(write(tmp_path, both))


def test_one_of_several_source_columns_is_named(tmp_path):
    path = write(tmp_path, "setting,model,imagenet_top1_a,imagenet_top1_b,DTD\nlogreg,A,70,80,60\n")
    assert from_csv(path, source_column="imagenet_top1_b")["source_accuracy"].tolist() == [0.8]
    assert from_csv(path, source_column="imagenet_top1_b")["dataset"].tolist() == ["dtd"]
    for column in (None, "imagenet_top1_c"):
        with pytest.raises(UserError, match="--source_column=COLUMN"):
            from_csv(path, source_column=column)


@pytest.mark.parametrize("form", ["wide", "long"])
def test_a_data_frame_is_a_table_as_its_file_is(tmp_path, form):
    path = published.FOLDER / "kornblith2019_v3_fig2_digitised.csv"
    if form == "long":
        counts = pd.array([None, *[7] * 575], "Int64")
        path = tmp_path / "long.csv"
        published.accuracies().assign(n=counts).to_csv(path, index=False)
    frame = pd.read_csv(path, float_precision="round_trip")
    pd.testing.assert_frame_equal(accuracies.from_frame(frame), from_csv(path))


@pytest.mark.parametrize(("frame", "words"), [
    ([1, 2], "expected a pandas DataFrame of accuracies, found list"),
    (pd.DataFrame({"setting": ["logreg"], "model": ["A"], "imagenet_top1": [70], "DTD": [160]}, index=["x"]),
     "the DataFrame, line x, column 'DTD': .* found '160'"),
    (pd.DataFrame({"setting": ["logreg"], "model": [None], "imagenet_top1": [70], "DTD": [60]}), "column 'model'"),
    (pd.DataFrame(), "expected the columns setting, model")])
def test_data_frames_that_are_no_table(frame, words):
    with pytest.raises(UserError, match=words):
        accuracies.from_frame(frame)


def test_published_table_is_read_cell_by_cell():
    path = published.FOLDER / "kornblith2019_v3_fig2_digitised.csv"
    table = from_csv(path).set_index(["regime", "network", "dataset"])["accuracy"]
    with path.open(newline="") as file:
        cells = [(SETTINGS[line["setting"]], NAMES[line["model"]], NAMES[dataset], float(text) / 100)
                 for line in csv.DictReader(file) for dataset, text in list(line.items())[3:]]
    assert len(cells) == len(table) == 3 * 16 * 12
    assert all(table[cell[:3]] == cell[3] for cell in cells)


# ---- spreadsheets, fuzz -----------------------------------------------------------------------------


def test_written_tables_are_safe_in_spreadsheets_and_come_back(tmp_path):
    names = ["=1+1", "+net", "-net", "@net", "plain", " =HYPERLINK(1)", "＝2", "esc\x1b[31m", "two\nlines", "'quoted'"]
    frame = pd.DataFrame({"regime": "finetune", "network": names, "dataset": "dtd",
                          "accuracy": np.linspace(0.3, 0.7, 10),
                          "n": 100, "source_accuracy": np.linspace(0.1, 0.9, 10), "source_n": None})
    text = csv_of(frame.assign(change=-0.5))
    assert "\x1b" not in text and len(text.splitlines()) == 11
    cells = list(csv.DictReader(text.splitlines()))
    assert all(row["change"] == "-0.5" for row in cells)
    assert not [row["network"] for row in cells if row["network"].lstrip()[:1] in tuple("=+-@＝＋－＠")]
    found = from_csv(write(tmp_path, text))
    assert found["network"].tolist() == [name.strip().replace("\x1b", "?").replace("\n", "?") for name in names]
    np.testing.assert_array_equal(found["accuracy"], frame["accuracy"])


def mutated(content: bytes, draw: random.Random) -> bytes:
    """The content with one to three faults: bytes changed, cut, doubled, swapped or put in."""
    for _ in range(draw.randint(1, 3)):
        place, length = draw.randrange(len(content) + 1), draw.randint(1, 12)
        piece = content[place:place + length]
        other = draw.choice([b"", bytes(draw.randrange(256) for _ in range(length)), piece * 2, piece[::-1], b",", b";",
                             b'"', b"\n", b"%", b"-", b"NaN", b"0", b"\0", b"1e400", b"\xef\xbb\xbf", b".", b"100"])
        content = content[:place] + other + content[place + length:]
    return content


@pytest.mark.slow
def test_damaged_tables_are_read_or_refused_in_a_line(tmp_path):
    draw, seen = random.Random(0), {"read": 0, "refused": 0}
    pd.DataFrame(ROWS, columns=HEAD).to_excel(tmp_path / "t.xlsx")
    pd.DataFrame(ROWS, columns=HEAD).to_parquet(tmp_path / "t.parquet")
    texts = [content if isinstance(content, bytes) else content.encode() for content, _ in SAME.values()]
    end = time.process_time() + 25
    for content in texts * 30 + [(tmp_path / f"t.{kind}").read_bytes() for kind in ("xlsx", "parquet")] * 60:
        path = write(tmp_path, mutated(content, draw), "fuzz.csv")
        try:
            table = from_csv(path)
            seen["read"] += 1
            assert table["accuracy"].between(0, 1).all() and (table["network"] != "").all()
            assert set(table["regime"]) <= set(SETTINGS.values())
        except UserError as error:
            seen["refused"] += 1
            assert len(str(error).splitlines()) == 1 and len(str(error)) < 2000, str(error)
        if time.process_time() > end:
            break
    assert seen["read"] > 20 and seen["refused"] > 200, seen
