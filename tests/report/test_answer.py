"""The answer at the head of the page: at most three sentences that a person can read."""

import numpy as np
import pandas as pd
import pytest

from tfbench.report import answer, text
from tfbench.stats import findings, published


def found(networks, datasets, regimes=("finetune", "logistic_regression"), **more):
    table = published.accuracies()
    return findings.compute(table[table["network"].isin(networks) & table["dataset"].isin(datasets)
                                  & table["regime"].isin(regimes)].reset_index(drop=True), **more)


NETWORKS = ("resnet_50", "mobilenet_v1", "inception_v4", "nasnet_mobile")


def test_three_sentences_with_the_correlations_first():
    first, best, wins = answer.answer(found(NETWORKS, ("pets", "dtd", "cars")))
    assert first.startswith("Source accuracy predicts transfer accuracy very well with logistic regression (r = .9")
    assert first.endswith("; 4 networks, 3 data sets.")
    assert best.startswith("Best on average over 3 data sets: Inception v4 with logistic regression")
    assert wins == "Fine-tuning is better than logistic regression in 11 of 12 comparisons."


def test_with_fewer_than_three_networks_correlations_come_last():
    of_two = found(NETWORKS[:2], ("pets", "dtd"))
    words = text.in_words(of_two)
    assert len(words.answer) == 2 and not any("correlation" in line or "r =" in line for line in words.answer)
    assert words.answer[0].startswith("Best on average over 2 data sets: ResNet-50 with ")
    assert [line for line in words.statements if "no correlation" in line] == words.statements[-2:]
    one, = answer.answer(found(NETWORKS[:1], ("pets", "dtd"), ("finetune",)))
    assert one.startswith("On average over 2 data sets: ResNet-50 with fine-tuning (") and one.endswith(" %).")


def test_placed_networks_are_in_the_answer():
    placed = answer.answer(found(NETWORKS, ("pets", "dtd", "cars"), place_on="kornblith2019"))[1]
    assert placed.startswith("Beside the published line: ") and " of 4 networks above it with fine-tuning, " in placed


def test_of_one_data_set_it_says_which_network():
    lines = answer.answer(found(NETWORKS, ("pets",)))
    assert lines[1] == "Oxford-IIIT Pets, fine-tuning: Inception v4 is the most accurate of 4 networks (93.7 %)."
    assert answer.answer(findings.compute(published.accuracies().iloc[:0])) == [
        "No run used all training examples: there are curves only."]


def test_a_ranking_counts_what_is_like_the_best_and_names_the_cheapest():
    rows = pd.DataFrame({
        "regime": "finetune", "network": [f"net{i}" for i in range(21)], "accuracy": np.linspace(.9, .8, 21), "low": .7,
        "high": .95, "like_best": pd.array([pd.NA, *[True] * 19, False], "boolean"), "parameters": 1e6,
        "milliseconds": [5.0, *[4.0] * 18, 2.0, 1.0], "multiply_adds": 1.0})
    assert answer.take(rows) == ("net0 is the most accurate of 21 networks (90.0 %, 95 % interval 70.0 to 95.0); 19 of "
                                 "the 20 others are not significantly different, and the cheapest of these is net19")
    assert answer.of_ranking(rows) == "Fine-tuning: 19 of the 20 others are not significantly different."


def test_equally_accurate_networks_tie_at_the_head_too():
    rows = pd.DataFrame({
        "regime": "finetune", "network": ["resnet_50", "vgg_16", "vgg_19"], "accuracy": [.9, .9, .8], "low": .7,
        "high": .95, "like_best": pd.array([pd.NA, True, False], "boolean"), "parameters": 1e6,
        "milliseconds": [5.0, 4.0, 1.0], "multiply_adds": 1.0})
    assert answer.take(rows) == ("ResNet-50 and VGG-16 tie as the most accurate of 3 networks (90.0 %, 95 % interval "
                                 "70.0 to 95.0); against one of them, the other is significantly worse, and the "
                                 "cheapest of these is VGG-16")


@pytest.mark.parametrize(("alike", "others", "words"), [
    (0, 1, "the other is significantly worse"), (0, 5, "all others are significantly worse"),
    (1, 1, "the other is not significantly different"), (1, 5, "1 of the 5 others is not significantly different"),
    (5, 5, "none of the 5 others is significantly different")])
def test_counts_as_people_say_them(alike, others, words):
    assert answer.told_apart(alike, others) == words
