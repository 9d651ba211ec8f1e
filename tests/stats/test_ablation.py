"""Studies that differ in how networks were pretrained."""

import numpy as np
import pytest
from scipy import special

from tfbench import UserError
from tfbench.stats import ablation, published, transforms

WAYS = {1: (False, 0.1, True, True), 2: (True, 0.1, True, True), 3: (True, 0.0, True, True),
        4: (True, 0.0, False, True), 5: (True, 0.0, False, False)}


NETWORK, WITHOUT = "inception_v4", "resnet_50"  # with and without an auxiliary classifier


def study(setting, accuracies, *, network=NETWORK, source=0.7, switches=None, regime="finetune", key="", pretraining="",
          **spec):
    """Rows of one pretraining and of a transfer to data sets set0, set1, …; None where there is no result.

    `spec` is that of the transfer.
    """
    switches = dict(zip(ablation.SWITCHES, switches or WAYS[setting], strict=True))
    weights = {"dataset": "glyphs", "accuracy": source, "n_test": 100}
    rows = [{"regime": "pretrain", "network": network, "dataset": "glyphs", "accuracy": source, "source": None,
             "n_test": 100, "spec": switches, "key": pretraining or f"p{setting}"}]
    rows += [{"regime": regime, "network": network, "dataset": f"set{i}", "accuracy": accuracy, "n_test": 50,
              "source": weights, "spec": {"bn_scale": switches["bn_scale"]} | spec, "key": f"f{setting}{i}{key}"}
             for i, accuracy in enumerate(accuracies) if accuracy is not None]
    return [{"schema": 1, "metric": "top1", "test_split": {"n": 50, "sha256": "a"}} | row for row in rows]


def as_pretrained(setting, accuracies, **more):
    """A study fine-tuned with the switches of its pretraining."""
    switches = dict(zip(ablation.SWITCHES, WAYS[setting], strict=True))
    return study(setting, accuracies, **switches, **more)


def test_settings_are_recognised_and_means_taken_where_all_have_results():
    folders = {f"f{number}": as_pretrained(number, [0.5 + number / 20, 0.8, None if number == 4 else 0.9],
                                           source=0.6 + number / 50) for number in WAYS}
    lines, notes = ablation.from_folders(folders)
    assert notes == [] and tuple(lines.columns) == ablation.COLUMNS
    assert lines["setting"].tolist() == [1, 2, 3, 4, 5]
    assert set(lines["origin"]) == {"ours"} and set(lines["regime"]) == {"finetune"}
    assert lines["source_accuracy"].tolist() == pytest.approx([0.62, 0.64, 0.66, 0.68, 0.7])
    x = np.array([[special.logit(0.5 + number / 20), special.logit(0.8)] for number in WAYS])
    assert lines["mean_log_odds"].tolist() == pytest.approx(list(x.mean(axis=1)))
    assert lines["standard_error"].tolist() == pytest.approx(list(transforms.standard_errors(x)))


def test_folders_of_different_networks_add_up():
    lines, _ = ablation.from_folders({"a": study(1, [0.5]), "b": study(1, [0.6], network="vgg_16")})
    assert lines["network"].tolist() == [NETWORK, "vgg_16"]


@pytest.mark.parametrize(("folders", "words"), [
    ({"a": study(1, [0.5]), "b": study(1, [0.6], pretraining="p")}, "a and b both hold Inception v4"),
    ({"a": study(1, [0.5], switches=(False, 0.0, True, True))}, "label_smoothing 0.0"),
    ({"a": study(1, [0.5])[1:]}, "a: expected the pretrain row of inception_v4"),
    ({"a": study(1, [0.5])[:1]}, "a: expected results of pretrained networks")])
def test_folders_that_do_not_go_together(folders, words):
    with pytest.raises(UserError, match=words):
        ablation.from_folders(folders)


@pytest.mark.parametrize(("rows", "experiment"), [
    (study(1, [0.5], regime="logistic_regression"), ablation.FIXED), (as_pretrained(1, [0.5]), ablation.SAME),
    (as_pretrained(3, [0.5]), ablation.SAME), (study(1, [0.5]), ablation.PRETRAINING_ONLY),
    (study(4, [0.5]), ablation.PRETRAINING_ONLY), (study(5, [0.5]), ablation.SAME),
    (study(2, [0.5], dropout=True), ablation.OTHER), (study(5, [0.5], label_smoothing=0.1), ablation.OTHER),
    (study(1, [0.5], **dict(zip(ablation.SWITCHES, WAYS[2], strict=True))), ablation.OTHER),
    (study(4, [0.5], network=WITHOUT), ablation.SAME),  # the auxiliary classifier that it lacks was never there
    (study(1, [0.5], network=WITHOUT, label_smoothing=0.1, dropout=True), ablation.SAME)])
def test_experiments_are_told_apart(rows, experiment):
    lines, _ = ablation.from_folders({"a": rows})
    assert lines["experiment"].tolist() == [experiment]


def test_one_folder_may_hold_both_experiments_and_the_last_setting_ends_both():
    folders = {str(number): as_pretrained(number, [0.5]) + study(number, [0.6], key="c2")[1:] for number in (1, 2)}
    folders["5"] = study(5, [0.7])
    lines, _ = ablation.from_folders(folders)
    found = {experiment: list(zip(group["setting"], special.expit(group["mean_log_odds"]).round(9), strict=True))
             for experiment, group in lines.groupby("experiment")}
    assert found == {ablation.SAME: [(1, 0.5), (2, 0.5), (5, 0.7)],
                     ablation.PRETRAINING_ONLY: [(1, 0.6), (2, 0.6), (5, 0.7)]}


@pytest.mark.parametrize(("network", "settings"), [
    (WITHOUT, [2, 3]), ("inception_v1", [2, 3, 4]), (NETWORK, [2, 3, 4, 5])])
@pytest.mark.parametrize("regime", ["finetune", "logistic_regression"])
@pytest.mark.parametrize("refused", [False, True])
def test_a_setting_that_leaves_out_what_a_network_lacks_is_none(network, settings, regime, refused):
    """Whether the programs ignored such a switch, or refused it, so that no specification has it."""
    lacks = {WITHOUT: ("dropout", "auxiliary_head"), "inception_v1": ("auxiliary_head",), NETWORK: ()}[network]
    folders = {}
    for number in (2, 3, 4, 5):
        switches = [value and not (refused and name in lacks)
                    for name, value in zip(ablation.SWITCHES, WAYS[number], strict=True)]
        accuracy = 0.4 + 0.1 * min(number, settings[-1])  # the same training, the same outcome
        folders[f"f{number}"] = study(number, [accuracy], network=network, regime=regime, switches=switches,
                                      pretraining=str(switches), **dict(zip(ablation.SWITCHES, switches, strict=True)))
    lines, notes = ablation.from_folders(folders)
    assert lines["setting"].tolist() == settings and len(set(lines["experiment"])) == 1
    assert special.expit(lines["mean_log_odds"]).tolist() == pytest.approx([0.6, 0.7, 0.8, 0.9][:len(settings)])
    left_out = ", ".join(f"f{number}" for number in (2, 3, 4, 5) if number not in settings)
    assert [f"not from {left_out} again" in note for note in notes] == ([True] if lacks else [])


def test_two_pretrainings_of_one_last_setting_are_refused():
    folders = {"a": study(5, [0.5], network=WITHOUT), "b": study(5, [0.6], network=WITHOUT, pretraining="another")}
    with pytest.raises(UserError, match="a and b both hold ResNet-50 pretrained by setting 3"):
        ablation.from_folders(folders)


# What each step does in the paper's digitised figures 3 and 5, worked out from its table by hand.
PUBLISHED = {
    ("logistic_regression", "inception_resnet_v2"): [.167, .170, .080, .054],
    ("logistic_regression", "inception_v4"): [.076, .259, .134, .068],
    ("logistic_regression", "inception_v3"): [.144, .156, .073, .034],
    ("logistic_regression", "bn_inception"): [.140, .092, .112],
    ("logistic_regression", "inception_v1"): [.113, .082, .071],
    ("logistic_regression", ablation.MEAN): [.128, .1518, .094, .052],
    ("finetune", "inception_v4"): [.046, .070, -.003, -.005],
    ("finetune", "inception_resnet_v2"): [.070, .018, -.007, -.041],
    ("finetune", ablation.MEAN): [.058, .044, -.005, -.023]}


def test_the_papers_effects_are_reproduced_to_their_digits():
    found = ablation.effects(published.ablation())
    assert {key: list(group["effect"].round(9)) for key, group in found.groupby(["regime", "network"])} == PUBLISHED
    means = found[(found["network"] == ablation.MEAN) & (found["regime"] == "logistic_regression")]
    assert means["networks"].tolist() == [5, 5, 5, 3]
    assert dict(zip(means["setting"], means["step"], strict=True)) == ablation.STEPS


def test_nothing_is_an_empty_table():
    assert tuple(ablation.together([]).columns) == ablation.COLUMNS
    assert len(ablation.effects(ablation.together([]))) == 0
