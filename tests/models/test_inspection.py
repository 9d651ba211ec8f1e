"""Custom Keras models by kind: what each is taken for, or why it is refused."""

import json

import keras
import numpy as np
import pytest
from helpers.programs import execute, parse

from tfbench import UserError, finetune
from tfbench.cli.progress import Silent
from tfbench.models import custom, inspection, lookup, weights
from tfbench.models.build import build_network
from tfbench.models.catalog import VALUE_RANGES
from tfbench.models.families import untouched

L = keras.layers
SIZE = 16


def images(**more):
    return keras.Input([SIZE, SIZE, 3], **more)


def maps(net, **more):
    net = L.Conv2D(4, 3, strides=2, **more)(net)
    return L.BatchNormalization()(net)


def pooled(net, **more):
    return L.GlobalAveragePooling2D()(maps(net, **more))


def model(layers=pooled, first=None):
    """A functional model of what `layers` makes of images."""
    begin = first if first is not None else images()
    return keras.Model(begin, layers(begin))


def sequence(*layers, begin=True):
    return keras.Sequential([*([images()] if begin else []), *layers])


def frozen(network, layer=None):
    (layer if layer is not None else network).trainable = False
    return network


@keras.saving.register_keras_serializable("tfbench_tests")
class AddsLoss(L.Layer):
    def call(self, net):
        self.add_loss(keras.ops.mean(net))
        return net


PLAIN = "4 features, the output of global_average_pooling2d_1"
TAKEN = {
    "functional": (lambda: model(), PLAIN),
    "Sequential": (lambda: sequence(L.Conv2D(4, 3), L.GlobalAveragePooling2D()), PLAIN),
    "Sequential without input": (lambda: sequence(L.Conv2D(4, 3), L.GlobalAveragePooling2D(), begin=False), PLAIN),
    "Sequential around a model": (lambda: keras.Sequential([model(), L.Dense(3)]),
                                  "3 features, the output of dense_1 (Dense, not taken for a classifier)"),
    "list of one": (lambda: keras.Model(*(lambda net: ([net], [pooled(net)]))(images())), PLAIN),
    "dictionary": (lambda: model(lambda net: {"map": net, "features": pooled(net)}), PLAIN),
    "map": (lambda: model(maps), "4 features, the output of average_of_map; its map (None, 7, 7, 4) is averaged"),
    "any size": (lambda: model(first=keras.Input([None, None, 3])), PLAIN),
    "softmax": (lambda: model(lambda net: L.Dense(9, activation="softmax", name="top")(pooled(net))),
                PLAIN + "; its classifier top (softmax, 9 wide) is left off"),
    "sigmoid": (lambda: model(lambda net: L.Dense(1, activation="sigmoid", name="top")(pooled(net))),
                PLAIN + "; its classifier top (sigmoid, 1 wide) is left off"),
    "softmax, dropout": (lambda: model(lambda net: L.Softmax()(L.Dense(9, name="top")(L.Dropout(.5)(pooled(net))))),
                         PLAIN + "; its classifier top (softmax, 9 wide) is left off"),
    "softmax of a convolution": (
        lambda: model(lambda net: L.Activation("softmax")(L.GlobalAveragePooling2D()(L.Conv2D(9, 1, name="top")(
            maps(net))))),
        "its classifier top (softmax, 9 wide) is left off; its map (None, 7, 7, 4) is averaged"),
    "softmax inside a model": (
        lambda: model(lambda net: model(lambda net: L.Dense(9, activation="softmax", name="top")(pooled(net)))(net)),
        "4 features, the output of functional_1; its classifier top (softmax, 9 wide) is left off"),
    "linear, called logits": (lambda: model(lambda net: L.Dense(9, name="logits")(pooled(net))),
                              "its classifier logits (linear, 9 wide) is left off"),
    "regularizer": (lambda: model(lambda net: pooled(net, kernel_regularizer="l2")),
                    "the regularizer of 1 layer (conv2d_1) is NOT applied: --weight_decay is the only one"),
    "activity regularizer": (lambda: model(lambda net: pooled(net, activity_regularizer="l1")),
                             "the regularizer of 1 layer (conv2d_1) is NOT applied"),
    "constraint": (lambda: model(lambda net: pooled(net, kernel_constraint="max_norm")),
                   "the constraint of 1 layer (conv2d_1) is NOT applied: the protocol has none"),
    "precision": (lambda: model(lambda net: pooled(net, dtype="mixed_bfloat16")),
                  "layers have the precision mixed_bfloat16 of their own"),
    "frozen, but without weights": (lambda: model(lambda net: frozen(L.Dropout(.1))(pooled(net))), "4 features"),
    "dropout": (lambda: model(lambda net: L.Dropout(.1)(pooled(net))), "4 features, the output of dropout_1"),
    "training=False where that changes nothing": (
        lambda: model(lambda net: sequence(L.Conv2D(4, 3), L.GlobalMaxPooling2D())(net, training=False)), "4 features"),
    "custom layer": (lambda: model(lambda net: AddsLoss()(pooled(net))), "4 features, the output of adds_loss_1"),
}
REFUSED = {
    "two outputs": (lambda: model(lambda net: [pooled(net), pooled(net)]), "with 2 outputs: expected features alone"),
    "no features": (lambda: model(lambda net: {"logits": pooled(net)}), "without features, its outputs are logits"),
    "tokens": (lambda: model(lambda net: L.Reshape([-1, 4])(maps(net))), "a sequence: end with the vector"),
    "softmax without a classifier": (lambda: model(lambda net: L.Softmax()(pooled(net))),
                                     r"ends in probabilities \(softmax\), below which no classifier is found"),
    "grey": (lambda: model(first=keras.Input([SIZE, SIZE, 1])), r"takes \(None, 16, 16, 1\): expected images"),
    "channels first": (lambda: model(lambda net: L.Flatten()(net), keras.Input([3, SIZE, SIZE])),
                       "takes images with channels first"),
    "channels first inside": (
        lambda: model(lambda net: L.Flatten()(L.Conv2D(4, 3, data_format="channels_first", name="front")(
            L.Permute([3, 1, 2])(net)))), "the layer front .*channels_first"),
    "bytes": (lambda: model(lambda net: pooled(L.Rescaling(1 / 255)(net)), images(dtype="uint8")),
              "takes uint8 images: expected float32"),
    "frozen": (lambda: frozen(model()), "the layer conv2d_1 of .* is frozen"),
    "frozen layer": (lambda: (lambda net: frozen(net, net.layers[2]))(model()), "the layer batch_normalization_1 .*"),
    "training=False": (lambda: model(lambda net: model(pooled)(net, training=False)),
                       "the layer functional_1 .* is called with training=False"),
    "batch norm in inference mode": (
        lambda: model(lambda net: L.GlobalAveragePooling2D()(L.BatchNormalization(name="norm")(
            L.Conv2D(4, 3)(net), training=False))), "the layer norm .* is called with training=False"),
    "dropout in inference": (lambda: model(lambda net: L.Dropout(.5, name="drop")(pooled(net), training=True)),
                             "the layer drop .* is called with training=True"),
    "16-bit weights": (lambda: model(lambda net: pooled(net, dtype="bfloat16")), "conv2d_1 .* the type bfloat16"),
    "64-bit weights": (lambda: model(lambda net: pooled(net, dtype="float64")), "conv2d_1 .* the type float64"),
    "float16": (lambda: model(lambda net: pooled(net, dtype="mixed_float16")), "conv2d_1 .* computes in float16"),
    "Lambda": (lambda: model(lambda net: L.Lambda(lambda x: x, name="code")(pooled(net))), "the Lambda layer code"),
    "no weights": (lambda: model(L.Flatten()), "has no weights to train"),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_a_model_is_taken_for_what_it_is_meant_to_be(kind):
    make, told = TAKEN[kind]
    found = inspection.inspect("net", SIZE, make())
    assert "; ".join(found.taken).find(told) >= 0, found.taken
    output = found.model(np.zeros([2, SIZE, SIZE, 3], np.float32))
    features = output["features"] if isinstance(output, dict) else output
    assert features.shape == (2, int(found.taken[0].split()[0]))


@pytest.mark.parametrize("kind", REFUSED)
def test_a_model_that_cannot_be_used_as_it_is_meant_is_refused(kind):
    make, told = REFUSED[kind]
    with pytest.raises(UserError, match=told):
        inspection.inspect("net", SIZE, make())


def test_a_sequential_is_its_layers():
    models = [sequence(L.Conv2D(4, 3), L.GlobalAveragePooling2D()),
              model(lambda net: L.GlobalAveragePooling2D()(L.Conv2D(4, 3)(net))),
              model(lambda net: L.Dense(7, activation="softmax")(L.GlobalAveragePooling2D()(L.Conv2D(4, 3)(net))))]
    found = [inspection.inspect("net", SIZE, one).model for one in models]
    assert len(set(map(custom.architecture, found))) == 1
    assert [len(one.weights) for one in found] == [2, 2, 2]


# ---- images that a model scales itself -----------------------------------------------------------


def rescaled(*arguments):
    return lambda net: pooled(L.ZeroPadding2D(1)(L.Rescaling(*arguments)(net)))


def normalized(net):
    return pooled(L.Normalization(mean=[120., 120., 120.], variance=[3600., 3600., 3600.])(net))


@pytest.mark.parametrize("value_range, layers, right", [
    *((value_range, pooled, True) for value_range in VALUE_RANGES),
    ("pixels", rescaled(1 / 127.5, -1), True), ("inception", rescaled(1 / 127.5, -1), False),
    ("unit", rescaled(1 / 255), False), ("torch", rescaled(1 / 255), False),
    ("rgb_mean", rescaled(1 / 127.5, -1), False), ("caffe", rescaled(1 / 255), True),
    ("unit", rescaled(2., -1), True), ("pixels", rescaled(2., -1), False),
    ("unit", rescaled(255.), True), ("pixels", rescaled(255.), False),
    ("pixels", normalized, True), ("inception", normalized, False),
    ("inception", lambda net: pooled(net / 127.5 - 1.), False), ("pixels", lambda net: pooled(net / 127.5 - 1.), True),
    ("inception", lambda net: model(rescaled(1 / 255))(net), False),
])
def test_images_are_scaled_once(value_range, layers, right):
    network = model(layers)
    traced, _ = inspection.trace(network, SIZE)
    span = inspection.values_at_first_weights(traced, network, value_range)
    assert inspection.is_scaled_well(span) == right
    if not right:
        with pytest.raises(UserError, match="scales its images itself.* its first weights would meet values from"):
            inspection.check_scaling("net", network, value_range, span)


# ---- models that Keras saved ---------------------------------------------------------------------

SOURCE = {"dataset": "imagenet", "accuracy": None, "n_test": None}


def saved(folder, network, ending=".keras", **facts) -> str:
    path = folder / f"net{ending}"
    network.save(path.with_suffix(ending.lower()))
    path.with_suffix(ending.lower()).rename(path)
    if facts:
        (folder / "net.json").write_text(json.dumps(facts))
    return str(path)


@pytest.mark.parametrize("ending", [".keras", ".h5", ".KERAS"])
def test_a_saved_model_is_a_network_with_weights(tmp_path, ending):
    network = model(lambda net: L.Dense(9, activation="softmax", name="top")(pooled(net)))
    name = saved(tmp_path, network, ending, value_range="unit", source=SOURCE)
    row = lookup.get_network(name)
    assert row.taken == (f"{name}: images of 16 × 16 pixels, RGB in [0, 1] (unit); {PLAIN}; "
                         "its classifier top (softmax, 9 wide) is left off")
    assert lookup.weights_metadata(row, "own")["dataset"] == "imagenet"
    random, loaded = (build_network(name, weights=given, num_classes=2).get_layer(untouched.BODY).weights
                      for given in (None, "own"))
    for variable, value in zip(loaded, network.weights, strict=False):
        np.testing.assert_array_equal(variable, value)
    assert len(loaded) == 6 and not np.array_equal(random[0], loaded[0])


def test_a_saved_model_of_keras_2_is_one(tmp_path):
    tf_keras = pytest.importorskip("tf_keras")
    layers = tf_keras.layers
    network = tf_keras.Sequential([layers.Conv2D(4, 3, input_shape=[SIZE, SIZE, 3]), layers.Flatten(),
                                   layers.Dense(5, activation="softmax", name="top")])
    row = lookup.get_network(saved(tmp_path, network, ".h5", value_range="unit"))
    assert row.feature_width == 14 * 14 * 4 and "its classifier top (softmax, 5 wide) is left off" in row.taken
    newer = saved(tmp_path, network, ".keras", value_range="unit")
    with pytest.raises(UserError, match="was saved by Keras 2, .* save the model there as .h5"):
        lookup.get_network(newer)


def test_what_a_saved_models_normalization_learnt_stays(tmp_path):
    learnt = L.Normalization()
    learnt.adapt(np.random.RandomState(0).uniform(0, 255, [8, SIZE, SIZE, 3]).astype(np.float32))
    name = saved(tmp_path, model(lambda net: pooled(learnt(net))), source=SOURCE)
    row = lookup.get_network(name)
    assert "RGB in [0, 255] (pixels, which it scales itself)" in row.taken
    body = build_network(name, num_classes=2, seed=3).get_layer(untouched.BODY)
    np.testing.assert_allclose(body.layers[1].mean, learnt.mean)
    assert lookup.weights_metadata(row, "own")["value_range"] == "pixels"


@pytest.mark.parametrize("make, told", [
    (lambda folder: str(folder / "net.keras"), "there is no model .*net.keras"),
    (lambda folder: saved(folder, model()), 'must state "value_range" in .*net.json, .*found None'),
    (lambda folder: saved(folder, model(), value_range="zero"), "found 'zero'"),
    (lambda folder: saved(folder, model(), colour="unit"), "net.json must state facts of net.keras, e.g. .* colour"),
    (lambda folder: saved(folder, model(first=keras.Input([None, None, 3])), value_range="unit"), 'state "image_size"'),
    (lambda folder: saved(folder, frozen(model()), value_range="unit"), r"conv2d_1 of .*net.keras\(16\) is frozen"),
    (lambda folder: saved(folder, model(lambda net: L.Lambda(lambda x: x)(pooled(net)))), "cannot load .*Lambda"),
    (lambda folder: (folder / "net.keras").write_text("cut") and str(folder / "net.keras"), "no zip archive"),
    (lambda folder: model().save_weights(folder / "net.weights.h5") or str(folder / "net.weights.h5"),
     "holds weights and no model"),
])
def test_a_file_that_is_no_such_model_is_told(tmp_path, make, told):
    name = make(tmp_path)
    with pytest.raises(UserError, match=told):
        lookup.get_network(name)


def test_a_saved_models_custom_layers_ask_for_a_function(tmp_path, monkeypatch):
    name = saved(tmp_path, model(lambda net: AddsLoss()(pooled(net))), value_range="unit")
    monkeypatch.setattr(keras.saving, "get_registered_object", lambda *_: None)
    objects = dict(keras.saving.get_custom_objects())
    keras.saving.get_custom_objects().clear()
    try:
        with pytest.raises(UserError, match="Could not locate class 'AddsLoss'.*whose module defines them"):
            lookup.get_network(name)
    finally:
        keras.saving.get_custom_objects().update(objects)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    network = model()
    network.layers[1].bias.assign([np.nan] * 4)
    row = lookup.get_network(saved(tmp_path, network, value_range="unit", source=SOURCE))
    with pytest.raises(UserError, match="the weight .*/bias of .*, pretrained, has values that are not finite"):
        lookup.weights_metadata(row, "own")


class Told(Silent):
    def __init__(self):
        self.lines = []

    def line(self, text):
        self.lines.append(text)


def test_a_program_takes_a_saved_sequential_and_says_for_what(tmp_path, data_dir, monkeypatch):
    network = sequence(L.Conv2D(4, 3), L.Flatten(), L.Dense(10, activation="softmax", name="top"))
    saved(tmp_path, network, value_range="unit", source=SOURCE)
    monkeypatch.chdir(tmp_path)
    progress = Told()
    row, new = execute(finetune, ["--model=net.keras", "--weights=own", "--dataset=digits", "--steps=2",
                                  "--learning_rate=0.01", "--weight_decay=0", "--batch_size=16",
                                  f"--data_dir={data_dir}", "--results_dir=results"], progress)
    assert new and row["network"] == f"{tmp_path}/net.keras" and row["spec"]["value_range"] == "unit"
    assert any("its classifier top (softmax, 10 wide) is left off" in line for line in progress.lines)
    assert parse(finetune, ["--model=~/net.h5", "--dataset=digits"]).model.startswith("/")


def test_a_weights_file_does_not_tell_what_was_built_before(tmp_path):
    name = saved(tmp_path, model(), value_range="unit")
    hashes = []
    for count in (1, 4):
        for _ in range(count):
            L.Conv2D(1, 1)
        weights.save(build_network(name, num_classes=2), tmp_path / f"{count}.weights.h5",
                     {"network": name, "dataset": "glyphs", "accuracy": None, "value_range": "unit"})
        hashes.append(json.loads((tmp_path / f"{count}.json").read_text())["sha256"])
    assert hashes[0] == hashes[1]
