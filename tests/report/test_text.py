"""Sentences on which network to take: equal ones tie, no order among them is made up."""

import types

import pandas as pd
import pytest

from tfbench.report import text
from tfbench.stats.findings import ranked

NETWORKS = ["resnet_50", "mobilenet_v1", "inception_v1", "densenet_121", "vgg_16", "vgg_19"]


def ranking(*accuracies, like_best=None):
    """The ranking of so many networks on one data set."""
    number = len(accuracies)
    like = pd.array(like_best or [pd.NA] * number, "boolean")
    return ranked(pd.DataFrame({
        "regime": "finetune", "network": NETWORKS[:number], "dataset": "digits", "accuracy": accuracies,
        "low": [accuracy - 0.05 for accuracy in accuracies], "high": [accuracy + 0.05 for accuracy in accuracies],
        "like_best": like, "like_best_holm": like, "parameters": 1e6,
        "multiply_adds": [float(number - place) for place in range(number)], "images_per_second": float("nan")}))


@pytest.mark.parametrize("accuracies, like_best, expected", [
    ((0.8, 0.9, 0.7), [False, pd.NA, False], "MobileNet v1 is the most accurate of 3 networks (90.0 %, 95 % interval "
     "85.0 to 95.0); all others are significantly worse"),
    ((0.9, 0.9, 0.7), [pd.NA, True, False], "ResNet-50 and MobileNet v1 tie as the most accurate of 3 networks (90.0 "
     "%, 95 % interval 85.0 to 95.0); against one of them, all others are significantly worse (p ≤ .05; Holm's "
     "correction adds none). The cheapest of these is MobileNet v1"),
    ((0.9, 0.9, 0.9), [pd.NA, True, True], "ResNet-50, MobileNet v1 and Inception v1 tie as the most accurate of 3 "
     "networks (90.0 %, 95 % interval 85.0 to 95.0). The cheapest of these is Inception v1"),
    ((0.9,) * 6, [pd.NA, *[True] * 5], "6 networks tie as the most accurate of 6 networks"),
    ((0.9, 0.9, 0.7), None, "tie as the most accurate of 3 networks (90.0 %, 95 % interval 85.0 to 95.0); without "
     "predictions nothing says how many of the others are as good."),
    ((0.9,), None, "ResNet-50 is the most accurate of 1 network (90.0 %, 95 % interval 85.0 to 95.0).")])
def test_equally_accurate_networks_tie(accuracies, like_best, expected):
    sentence, = text.choice(ranking(*accuracies, like_best=like_best))
    assert expected in sentence


def test_an_interval_stands_only_where_it_is_of_all_that_tie():
    rows = ranking(0.9, 0.9).assign(low=[0.8, 0.85])
    assert "interval" not in text.choice(rows)[0]


@pytest.mark.parametrize("means, expected", [
    ([2.0, 1.0, 0.5], "ResNet-50 is the best on average over 2 data sets; by paired t-tests all others"),
    ([2.0, 2.0, 0.5], "ResNet-50 and MobileNet v1 tie as the best on average over 2 data sets; by paired t-tests "
     "against one of them, all others"),
    ([2.0, 2.0, 2.0], "ResNet-50, MobileNet v1 and Inception v1 tie as the best on average over 2 data sets.")])
def test_networks_that_are_equal_on_average_tie(means, expected):
    frame = pd.DataFrame({"regime": "finetune", "network": NETWORKS[:3], "datasets": 2, "mean_log_odds": means,
                          "like_best": [False] * 3, "like_best_holm": [False] * 3})
    sentence, = text._best(types.SimpleNamespace(networks=frame))
    assert expected in sentence


@pytest.mark.parametrize("better, expected", [
    ([True], "ResNet-50 with fine-tuning is better than the state of the art before the paper on data set 0; the "
     "paper's best was not."),
    ([False], "ResNet-50 with fine-tuning is not better than the state of the art before the paper on data set 0"),
    ([True, False], "on 1 of 2 data sets: data set 0 (ResNet-50, fine-tuning). The paper: on 0 of these 2.")])
def test_the_state_of_the_art_on_one_data_set_is_not_counted(better, expected):
    table = pd.DataFrame({"dataset": [f"data set {i}" for i in range(len(better))], "network": "resnet_50",
                          "regime": "finetune", "better": better, "paper_better": False})
    sentence, = text._state_of_the_art(table)
    assert expected in sentence


@pytest.mark.parametrize("fits, certified, expected", [
    (1, 1, "the logistic regression is certified"), (1, 0, "the logistic regression is not certified"),
    (3, 3, "all 3 logistic regressions are certified"), (3, 2, "1 of 3 logistic regressions is not certified"),
    (3, 1, "2 of 3 logistic regressions are not certified")])
def test_verbs_agree_with_the_number_of_regressions(fits, certified, expected):
    assert expected in text._solver(pd.DataFrame({"fits": [fits], "certified": [certified]}))[0]
