"""Studies that differ in how networks were pretrained."""

import pytest
from scipy import special

from tfbench import UserError
from tfbench.stats import ablation

WAYS = {1: (False, 0.1, True, True), 2: (True, 0.1, True, True), 3: (True, 0.0, True, True),
        4: (True, 0.0, False, True), 5: (True, 0.0, False, False)}


def study(setting, accuracies, *, network="resnet_50", source=0.7, switches=None):
    """Rows of one pretraining and of its fine-tuning on data sets set0, set1, …; None where there is no result."""
    spec = dict(zip(ablation.SWITCHES, switches or WAYS[setting], strict=True))
    weights = {"dataset": "glyphs", "accuracy": source, "n_test": 100}
    rows = [{"regime": "pretrain", "network": network, "dataset": "glyphs", "accuracy": source, "source": None,
             "n_test": 100, "spec": spec, "key": f"p{setting}"}]
    rows += [{"regime": "finetune", "network": network, "dataset": f"set{i}", "accuracy": accuracy, "n_test": 50,
              "source": weights, "spec": {}, "key": f"f{setting}{i}"}
             for i, accuracy in enumerate(accuracies) if accuracy is not None]
    return [{"schema": 1, "metric": "top1", "test_split": {"n": 50, "sha256": "a"}} | row for row in rows]


def test_settings_are_recognised_and_means_taken_where_all_have_results():
    folders = {f"f{number}": study(number, [0.5 + number / 20, 0.8, None if number == 4 else 0.9],
                                   source=0.6 + number / 50) for number in WAYS}
    lines = ablation.from_folders(folders)
    assert lines["setting"].tolist() == [1, 2, 3, 4, 5]
    assert set(lines["origin"]) == {"ours"} and set(lines["regime"]) == {"finetune"}
    assert lines["source_accuracy"].tolist() == pytest.approx([0.62, 0.64, 0.66, 0.68, 0.7])
    assert lines["mean_log_odds"].tolist() == pytest.approx(
        [(special.logit(0.5 + number / 20) + special.logit(0.8)) / 2 for number in WAYS])


def test_folders_of_different_networks_add_up():
    lines = ablation.from_folders({"a": study(1, [0.5]), "b": study(1, [0.6], network="vgg_16")})
    assert lines["network"].tolist() == ["resnet_50", "vgg_16"]


@pytest.mark.parametrize(("folders", "words"), [
    ({"a": study(1, [0.5]), "b": study(1, [0.6])}, "a and b both hold ResNet-50"),
    ({"a": study(1, [0.5], switches=(False, 0.0, True, True))}, "label_smoothing 0.0"),
    ({"a": study(1, [0.5])[1:]}, "a: expected the pretrain row of resnet_50")])
def test_folders_that_do_not_go_together(folders, words):
    with pytest.raises(UserError, match=words):
        ablation.from_folders(folders)


def test_nothing_is_an_empty_table():
    assert tuple(ablation.together([]).columns) == ablation.COLUMNS
