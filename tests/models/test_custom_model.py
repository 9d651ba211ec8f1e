"""A custom network, --model=MODULE:FUNCTION, through every program."""

import importlib
import itertools
import json
import pathlib
import pickle
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from helpers import processes
from helpers.outcomes import outcomes
from helpers.programs import FlagsError, execute, parse

from tfbench import UserError, finetune, inputs, logistic_regression, pretrain, study, train_from_scratch
from tfbench.cli.progress import Silent
from tfbench.files import atomic
from tfbench.linear import features
from tfbench.models import custom, inspection, lookup, weights
from tfbench.models.build import build_network, decayed_kernels, set_batch_norm
from tfbench.models.catalog import NETWORKS
from tfbench.models.families import untouched
from tfbench.results import store
from tfbench.sweep import jobs, plan, run, worker
from tfbench.training.engine import _engines

ROOT = pathlib.Path(__file__).parents[2]
EXAMPLE = re.search(r"```python\n(# nets.py.*?)```", (ROOT / "docs" / "manual.md").read_text(), re.DOTALL)[1]
NUMBERS = itertools.count()
BODY = """
    images = net = keras.Input([image_size, image_size, 3])
    net = keras.layers.Conv2D(4, 3, strides=2)(net)
"""
STATED = "\nnet.image_size, net.value_range = 32, 'inception'\n"
POOLED = "    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(net))\n"


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module into the current folder, module(text); returns its name, another one each time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(text: str) -> str:
        name = f"nets{next(NUMBERS)}"
        (tmp_path / f"{name}.py").write_text(f"import keras\n{text}")
        return name

    return write


def loading(module, tmp_path, rest="", read="w.weights.h5"):
    """A module with a function net that loads weights where it is pretrained."""
    keras.backend.clear_session()
    name = module("def net(image_size, pretrained=False):" + BODY + POOLED.replace("return", "model =")
                  + f"    if pretrained:\n        model.load_weights('{tmp_path}/{read}')\n    return model\n"
                  + STATED + rest)
    custom.build(f"{name}:net", 32).save_weights(tmp_path / "w.weights.h5")
    return f"{name}:net"


SOURCE = "net.source = {'dataset': 'imagenet', 'accuracy': 0.7, 'n_test': 50000}\n"


# ---- what the function must be -------------------------------------------------------------------


@pytest.mark.parametrize("text, told", [
    ("def nett(image_size): pass", "has no function net, did you mean nets[0-9]+:nett"),
    ("net = 3", "has no function net: expected --model=MODULE:FUNCTION"),
    ("import nosuchmodule", "importing nets[0-9]+ failed: ModuleNotFoundError: No module named 'nosuchmodule'"),
    ("def net(:", "importing nets[0-9]+ failed: SyntaxError"),
    ("def net(image_size): pass", "must state net.image_size, the pixels a side .*; found None"),
    ("def net(image_size): pass\nnet.image_size = 32", 'must state net.value_range, .* "pixels" .RGB in .0, 255..'),
    ("def net(image_size): pass\nnet.image_size, net.value_range = 32, 'zero'", "found 'zero'"),
    ("def net(): pass" + STATED, r"to be called as net\(image_size\)"),
    ("def net(image_size):\n    return 1 / 0" + STATED,
     r"net\(32\) failed: ZeroDivisionError: division by zero \(.*nets[0-9]+.py, line 3\)"),
    ("def net(image_size): return 'vgg'" + STATED, "returns a str: expected a keras.Model"),
    ("import tf_keras\ndef net(image_size):\n    return tf_keras.Sequential([tf_keras.layers.Dense(2)])" + STATED,
     "a model of tf_keras, which is Keras 2"),
    ("class Net(keras.Model):\n    def call(self, images): return images\ndef net(image_size): return Net()" + STATED,
     "a model without an input"),
    ("def net(image_size):\n    image_size = 64" + BODY + POOLED + STATED,
     r"takes \(None, 64, 64, 3\): expected images \(None, 32, 32, 3\)"),
    ("def net(image_size):\n    images = net = keras.Input([image_size, image_size, 3])\n" + POOLED + STATED,
     "has no weights to train"),
    ("import itertools\nn = itertools.count(4)\ndef net(image_size):" + BODY.replace("(4,", "(next(n),") + POOLED
     + STATED, "another architecture each time"),
    ("def net(image_size):" + BODY.replace("strides=2", "kernel_initializer=keras.initializers.HeNormal(seed=1)")
     + POOLED + STATED, "the weight conv2d.*/kernel of .* is the same from every seed"),
])
def test_what_is_wrong_with_a_function_is_told(module, text, told):
    with pytest.raises(UserError, match=told):
        lookup.get_network(f"{module(text)}:net")


def test_what_no_name_leads_to_is_told(module):
    for name, told in (("nosuchmodule:net", "no module nosuchmodule for --model=nosuchmodule:net"),
                       (f"{module('')}.inner:net", "no module nets[0-9]+.inner")):
        with pytest.raises(UserError, match=told):
            lookup.get_network(name)
    for name in ("nets:", ":net", "a:b:c", "nets/x:net", "resnet_51"):
        with pytest.raises(FlagsError, match="there is no network"):
            parse(finetune, [f"--model={name}", "--dataset=digits"])


def test_sizes_that_the_function_cannot_take_are_told_early(module):
    row = lookup.get_network(f"{module('def net(image_size):' + BODY * 4 + POOLED + STATED)}:net")
    lookup.check_image_size(row, 64)
    with pytest.raises(UserError, match=r"net\(2\) failed: ValueError"):
        lookup.check_image_size(row, 2)


# ---- what is made of it --------------------------------------------------------------------------


def test_the_row_holds_the_networks_facts(module):
    name = f"{module(EXAMPLE)}:small"
    row = lookup.get_network(name)
    assert (row.name, row.image_size, row.feature_width, row.value_range) == (name, 64, 64, "inception")
    kernels = [9 * 3 * 16, 9 * 16 * 32, 9 * 32 * 64]
    assert row.parameters == sum(kernels) + 2 * (16 + 32 + 64)
    assert row.multiply_adds * 1e9 == sum(each * side ** 2 for each, side in zip(kernels, (32, 16, 8), strict=True))


def test_multiply_adds_are_those_of_the_catalog():
    keras.backend.clear_session()
    model = build_network("mobilenet_v1", num_classes=1)
    below = keras.Model(model.input, model.output["features"])
    graph = inspection.trace(below, 224)[0].graph
    assert custom.multiply_adds(graph) / 1e9 == pytest.approx(NETWORKS["mobilenet_v1"].multiply_adds, abs=6e-4)


LAYER = """
class Scale(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = [keras.layers.BatchNormalization(), keras.layers.DepthwiseConv2D(1), keras.layers.Conv2D(4, 1)]
    def build(self, shape):
        for layer in self.inner:
            layer.build(shape)
        self.kernel = self.add_weight(shape=[4], initializer="ones", name="kernel")
        self.built = True
    def call(self, net, training=False):
        return 2 * self.kernel * self.inner[2](self.inner[1](self.inner[0](net, training=training)))
"""


def test_an_architecture_is_what_the_network_computes_not_its_names(module):
    def hashed(text, before=""):
        name = module(before + "def net(image_size):" + text + POOLED + STATED)
        return lookup.get_network(f"{name}:net").architecture

    plain = hashed(BODY)
    keras.layers.Dense(1)  # Keras numbers names through a process
    assert hashed(BODY) == plain == hashed(BODY.replace("strides=2", "strides=2, name='first'"))
    others = [hashed(BODY.replace("strides=2", "strides=2, activation='relu'")), hashed(BODY.replace("(4,", "(5,")),
              hashed(BODY.replace("strides=2", "strides=2, dtype='mixed_bfloat16'"))]
    layers = [hashed(BODY + "    net = Scale()(net)\n", text) for text in (LAYER, LAYER.replace("2 *", "3 *"))]
    assert len({plain, *others, *layers}) == 6


def test_batch_norm_and_l2_reach_layers_inside_layers(module):
    inner = "[keras.layers.BatchNormalization(), keras.layers.Dense(4), keras.layers.LayerNormalization()]"
    text = (f"{LAYER}def net(image_size):{BODY}    net = Scale()(keras.Sequential({inner})(net))\n" + POOLED + STATED)
    model = build_network(f"{module(text)}:net", num_classes=3)
    set_batch_norm(model, momentum=0.25)
    norms = [layer for layer in inspection.all_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
    assert [layer.momentum for layer in norms] == [0.25, 0.25]
    # Conv2D, Dense, Scale's own and its Conv2D's, logits; no depthwise one, no bias, no norm
    assert sorted(tuple(variable.shape) for variable in decayed_kernels(model)) == sorted(
        [(3, 3, 3, 4), (4, 4), (4,), (1, 1, 4, 4), (4, 3)])


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_the_model_follows_from_the_seed_and_is_float32_outside(module, precision):
    name = f"{module(EXAMPLE)}:small"
    first, again, other = (build_network(name, num_classes=5, image_size=32, seed=seed, precision=precision)
                           for seed in (1, 1, 2))
    outputs = first(np.zeros([2, 32, 32, 3], np.float32))
    assert {key: (tuple(value.shape), value.dtype.name) for key, value in outputs.items()} == {
        "features": ((2, 64), "float32"), "logits": ((2, 5), "float32")}
    for a, b in zip(first.weights, again.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(not np.array_equal(a, b) for a, b in zip(first.weights, other.weights, strict=True))


# ---- weights -------------------------------------------------------------------------------------


def test_weights_that_the_function_loads_are_taken_and_named(module, tmp_path):
    name = loading(module, tmp_path, SOURCE)
    row = lookup.get_network(name)
    metadata = lookup.weights_metadata(row, "own")
    assert (metadata["dataset"], metadata["accuracy"], metadata["n_test"]) == ("imagenet", 0.7, 50000)
    model = build_network(name, weights="own", num_classes=2, seed=5)
    loaded = custom.build(name, 32, pretrained=True)
    for a, b in zip(model.get_layer(untouched.BODY).weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    again = loading(module, tmp_path, SOURCE)  # other weights
    assert lookup.weights_metadata(lookup.get_network(again), "own")["sha256"] != metadata["sha256"]
    assert lookup.get_network(again).architecture == row.architecture


def test_weights_that_are_not_what_they_are_called_are_told(module, tmp_path):
    def refused(name, told, given="own"):
        with pytest.raises(UserError, match=told):
            lookup.weights_metadata(lookup.get_network(name), given)

    refused(loading(module, tmp_path), "must state net.source, where its weights come from")
    refused(loading(module, tmp_path, "net.source = {'dataset': 'imagenet', 'accuracy': 71, 'n_test': 5}\n"),
            "in .0, 1.* found")
    refused(loading(module, tmp_path, SOURCE, read="missing.weights.h5"), "failed: FileNotFoundError")
    refused(f"{module(EXAMPLE)}:small", "has no weights of its own to take by --weights=own")
    refused(f"{module('def net(image_size, pretrained=False):' + BODY + POOLED + STATED + SOURCE)}:net",
            "conv2d.*/kernel of .*, pretrained, still follows from the seed: load all")
    refused("mobilenet_v1", "means those that a custom network loads")
    options = parse(finetune, [f"--model={module(EXAMPLE)}:small", "--dataset=digits"])
    with pytest.raises(UserError, match="has no public ImageNet weights: take --weights=own"):
        inputs.weights_path(options)


# ---- the programs --------------------------------------------------------------------------------


def call(regime, folder, data_dir, *arguments):
    shared = ["--image_size=32", "--batch_size=16", f"--results_dir={folder}/results", f"--data_dir={data_dir}"]
    return execute(regime, [*shared, *arguments])


def test_every_regime_takes_it(module, tmp_path, data_dir):
    text = EXAMPLE.replace("layers.GlobalAv", "layers.Dropout(0.1)(net)\n    net = layers.GlobalAv")
    name = f"{module(EXAMPLE)}:small"
    model, one = f"--model={name}", ("--learning_rate=0.01", "--weight_decay=0")
    source, _ = call(pretrain, tmp_path, data_dir, model, "--dataset=glyphs", "--steps=20", "--learning_rate=0.05",
                     "--warmup_epochs=0")
    path = store.weights_path(tmp_path / "results", source["spec"])
    row = lookup.get_network(name)
    assert source["network"] == name and source["spec"]["architecture"] == row.architecture
    assert source["own_network"] == {"architecture": row.architecture, "parameters": row.parameters,
                                     "multiply_adds": row.multiply_adds, "image_size": 64, "feature_width": 64}
    given = f"--weights={path}"
    fixed, _ = call(logistic_regression, tmp_path, data_dir, model, "--dataset=digits", given, "--l2=1,10")
    tuned, _ = call(finetune, tmp_path, data_dir, model, "--dataset=digits", given, "--steps=3", *one)
    engine = next(iter(_engines.values()))  # what the fine-tuning began with
    began, body = engine.pretrained_weights(str(path)), engine.trainer.model.get_layer(untouched.BODY)
    trained = build_network(name, weights=str(path), image_size=32)
    assert trained.output["logits"].shape == (None, 37)  # the classifier of the file
    for variable, value in zip(body.weights, trained.get_layer(untouched.BODY).weights, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert len(began) == len(engine.random_weights) and not all(map(np.array_equal, began, engine.random_weights))
    scratch, _ = call(train_from_scratch, tmp_path, data_dir, model, "--dataset=digits", "--steps=3", *one)
    for result in (fixed, tuned, scratch):
        assert "the user's own network instead of one of the paper's" in result["deviations"]
        assert "image size differs from the network's ImageNet size" in result["deviations"]
        assert result["spec"]["bn_scale"] is None and result["spec"]["value_range"] == "inception"
    assert fixed["accuracy"] > 0.2 and fixed["source"]["accuracy"] == source["accuracy"]
    _, new = call(finetune, tmp_path, data_dir, model, "--dataset=digits", given, "--steps=3", *one)
    assert not new

    changed = f"{module(text)}:small"  # in place of an edit of the file
    metadata = json.loads(weights.metadata_path(path).read_text())
    atomic.write_json(weights.metadata_path(path), metadata | {"network": changed})
    with pytest.raises(UserError, match="holds weights of another architecture of .*, which has changed since"):
        call(finetune, tmp_path, data_dir, f"--model={changed}", "--dataset=digits", given)


def test_weights_of_its_own_are_finetuned_and_their_features_regressed(module, tmp_path, data_dir):
    name = loading(module, tmp_path, SOURCE)
    for regime, more in ((logistic_regression, ["--l2=1"]),
                         (finetune, ["--steps=2", "--learning_rate=0.01", "--weight_decay=0"])):
        row, new = call(regime, tmp_path, data_dir, f"--model={name}", "--dataset=digits", "--weights=own", *more)
        sha256 = lookup.weights_metadata(lookup.get_network(name), "own")["sha256"]
        assert new and row["source"] == {"dataset": "imagenet", "accuracy": 0.7, "n_test": 50000,
                                         "weights_sha256": sha256}
        assert not any("public ImageNet weights" in text for text in row["deviations"])


def test_a_changed_function_meets_no_old_row_or_feature(module, tmp_path, data_dir):
    arguments = ("--dataset=digits", "--weights=own", "--l2=1")
    name = loading(module, tmp_path, SOURCE)
    before, _ = call(logistic_regression, tmp_path, data_dir, f"--model={name}", *arguments)
    path = tmp_path / f"{name.partition(':')[0]}.py"
    path.write_text(path.read_text().replace("strides=2", "strides=2, activation='relu'"))  # the same weights
    sys.modules.pop(path.stem)  # as in another process
    importlib.invalidate_caches()
    for cached in (custom.network_of, custom.metadata, features.make_extractor):
        cached.cache_clear()
    after, new = call(logistic_regression, tmp_path, data_dir, f"--model={name}", *arguments)
    assert new and after["spec"]["weights_sha256"] == before["spec"]["weights_sha256"]
    assert after["key"] != before["key"] and after["accuracy"] != before["accuracy"]
    assert after["features"]["folder"] != before["features"]["folder"]


class Interrupted(Silent):
    """A display at which the user presses ^C after so many images."""

    left = 16 * 5

    def images(self, number):
        self.left -= number
        if self.left <= 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("devices", [1, 4])
def test_dropout_of_keras_goes_on_where_it_was(module, tmp_path, data_dir, devices):
    text = EXAMPLE.replace("net = layers.Global", "net = layers.Dropout(0.5)(net)\n    net = layers.Global")
    name = f"{module(text)}:small"
    options = [parse(train_from_scratch, [
        f"--model={name}", "--dataset=digits_grid", "--steps=8", "--learning_rate=0.05", "--weight_decay=0",
        "--checkpoint_every=2", "--image_size=32", "--batch_size=16", f"--devices={devices}", "--strategy=mirrored",
        f"--results_dir={tmp_path}/{folder}", f"--data_dir={data_dir}"]) for folder in ("whole", "cut")]
    row, _ = run.execute(options[0], Silent())  # of this data set all scores are kept
    assert row["distribution"]["replicas"] == devices
    with pytest.raises(KeyboardInterrupt):
        run.execute(options[1], Interrupted())
    assert list((tmp_path / "cut").glob("work/*/trial1/checkpoints/*.index"))
    run.execute(options[1], Silent())
    assert outcomes(tmp_path / "whole") == outcomes(tmp_path / "cut")


SHORT = ["--datasets=digits", "--image_size=32", "--batch_size=32",
         "--pretrain=--steps=6 --learning_rate=0.05 --warmup_epochs=0", "--logistic_regression=--l2=1,100",
         "--finetune=--steps=2 --learning_rate=0.01 --weight_decay=0",
         "--train_from_scratch=--steps=2 --learning_rate=0.01 --weight_decay=0"]


def planned(*arguments):
    options = parse(study, [*SHORT, *arguments])
    return options, jobs.plan_runs(options, rate=1e11)


def test_a_study_plans_it(module, tmp_path, data_dir):
    name = loading(module, tmp_path, SOURCE)
    options, runs = planned(f"--models=mobilenet_v1,{name}", "--source=imagenet", f"--data_dir={data_dir}")
    taken = {(one.config.regime, one.config.model): one.config.weights for one in runs if one.config.kind.pretrained}
    assert taken["finetune", name] == "own" and taken["finetune", "mobilenet_v1"] == "imagenet"
    text = plan.describe(options, runs)
    assert "study of 2 networks" in text and "prepare_models --model=mobilenet_v1 --weights_dir=" in text
    costs = {one.config.model: one.cost.seconds for one in runs if one.config.regime == "train_from_scratch"}
    assert 0 < costs[name] < costs["mobilenet_v1"]


def test_a_worker_finds_the_module_and_refuses_another(module, tmp_path, data_dir, monkeypatch):
    name = f"{module(EXAMPLE)}:small"
    _, runs = planned(f"--models={name}", "--source=glyphs", f"--data_dir={data_dir}", f"--results_dir={tmp_path}/r")
    made, _ = jobs.make(runs, Silent())
    config, expected = made[0].call
    assert expected["folder"] == str(tmp_path) and f"--model={name}" in config.to_flags()
    with pytest.raises(worker.WrongWorker, match="another network nets[0-9]+:small than the machine that planned"):
        worker.work(config, expected | {"network": "0123"})
    script = ("import pickle, sys\nfrom tfbench.sweep import worker\n"
              "print(worker.work(*pickle.loads(bytes.fromhex(sys.argv[1])))['line'])")
    done = subprocess.run([sys.executable, "-c", script, pickle.dumps((config, expected)).hex()], cwd=ROOT,
                          text=True, capture_output=True, timeout=120)
    assert done.returncode == 0 and f"pretrain {name} glyphs" in done.stdout, done.stderr


@pytest.mark.slow
def test_a_study_of_it_and_a_network_of_the_catalog_is_analysed(module, tmp_path, data_dir):
    name = f"{module(EXAMPLE)}:small"
    code, output = processes.run("study", *SHORT, f"--models={name},mini_vgg", "--source=glyphs",
                                 f"--data_dir={data_dir}", "--results_dir=results", "--yes", cwd=tmp_path)
    assert code == 0, output
    assert sum(line.startswith("[") for line in output.splitlines()) == 8
    page = (tmp_path / "results/report/index.html").read_text()
    assert name in page and "the user&#x27;s own network instead of one of the paper" in page
    ranked = subprocess.run([sys.executable, "-c", "import sys\nfrom tfbench import analysis\n"
                             "analysis.analyse('results', dataset='digits')\nassert 'tensorflow' not in sys.modules"],
                            cwd=tmp_path, text=True, capture_output=True, timeout=120,
                            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"})
    assert ranked.returncode == 0, ranked.stderr
    table = (tmp_path / "results/report/accuracies.csv").read_text().splitlines()
    place = table[0].split(",").index("parameters")
    assert {line.split(",")[1]: float(line.split(",")[place]) for line in table[1:]} == {
        name: lookup.get_network(name).parameters, "mini_vgg": NETWORKS["mini_vgg"].parameters}


@pytest.mark.slow
def test_a_backbone_of_keras_hub_by_the_recipe(tmp_path, monkeypatch, data_dir):
    import keras_hub

    recipe = re.search(r"```python\n(# vit.py.*?)```", (ROOT / "docs" / "manual.md").read_text(), re.DOTALL)[1]
    backbone = keras_hub.models.ViTBackbone(image_shape=(32, 32, 3), patch_size=8, num_layers=2, num_heads=2,
                                            hidden_dim=32, mlp_dim=64)
    backbone.save_to_preset(str(tmp_path / "preset"))
    text = recipe.replace("vit_base_patch16_224_imagenet", str(tmp_path / "preset")).replace("= 224", "= 32")
    (tmp_path / "vit.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    row = lookup.get_network("vit:vit")
    assert row.feature_width == 32 and row.parameters == backbone.count_params()
    block = 4 * 17 * 32 * 32 + 2 * 17 * 17 * 32 + 2 * 17 * 32 * 64  # projections, attention, dense layers of 17 tokens
    assert row.multiply_adds * 1e9 == pytest.approx(16 * 8 * 8 * 3 * 32 + 2 * block)
    images = np.random.RandomState(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    model = build_network("vit:vit", weights="own", num_classes=3)
    np.testing.assert_array_equal(model(images)["features"], backbone(images)[:, 0])
    common = ["--model=vit:vit", "--weights=own", "--dataset=digits", f"--data_dir={data_dir}", "--results_dir=results"]
    fixed, _ = execute(logistic_regression, [*common, "--l2=1"])
    tuned, _ = execute(finetune, [*common, "--steps=2", "--learning_rate=0.01", "--weight_decay=0", "--batch_size=16"])
    assert fixed["network"] == tuned["network"] == "vit:vit" and fixed["source"]["dataset"] == "imagenet"
