"""Which devices train, and that their number changes nothing but rounding where batch norm is synchronised."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tfbench import UserError
from tfbench.training import devices

LOSSES = """
import json, sys
import keras, numpy as np, tensorflow as tf
from tfbench.models.build import set_batch_norm
from tfbench.training.devices import distribute, make_strategy
from tfbench.training.trainer import Step, Trainer

count = int(sys.argv[1])
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0],
                                           [tf.config.LogicalDeviceConfiguration()] * count)
draw = np.random.RandomState(0)
images, labels = draw.randn(80, 6, 6, 3).astype(np.float32), draw.randint(0, 3, 80)

def make_model():
    keras.utils.set_random_seed(1)
    inputs = keras.Input([6, 6, 3])
    net = keras.layers.Conv2D(8, 3, name="conv")(inputs)
    net = keras.layers.Activation("relu")(keras.layers.BatchNormalization()(net))
    net = keras.layers.GlobalAveragePooling2D()(net)
    model = keras.Model(inputs, {"features": net, "logits": keras.layers.Dense(3, name="logits")(net)})
    set_batch_norm(model, momentum=0.9, synchronized=sys.argv[2] == "synchronized")
    return model

strategy = make_strategy(count)
trainer = Trainer(strategy, make_model, Step(batch_size=16))
trainer.reset(trainer.weights(), l2=0.01, steps=20, rates={"learning_rate": 0.2, "steps": 20})
trainer.train_dataset = distribute(
    strategy, lambda part: tf.data.Dataset.from_tensor_slices((images, labels)).repeat().batch(16 // part.num_batches))
losses = [float(trainer.train(tf.constant(1))["loss"]) for _ in range(20)]
statistics = [np.array(variable).tolist() for variable in trainer.model.non_trainable_variables]
copies = [[part.numpy().tolist() for part in strategy.experimental_local_results(variable.value)]
          for variable in trainer.model.non_trainable_variables]
print(json.dumps([losses, statistics, copies]))
"""


def trained(count: int, batch_norm: str):
    done = subprocess.run([sys.executable, "-c", LOSSES, str(count), batch_norm], capture_output=True, text=True,
                          timeout=120, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_loss_does_not_depend_on_the_number_of_devices():
    one = trained(1, "synchronized")
    assert one[0][-1] < one[0][0] - 0.05  # it learns
    for count in (2, 4):
        losses, statistics, copies = trained(count, "synchronized")
        np.testing.assert_allclose(losses, one[0], rtol=2e-5)
        np.testing.assert_allclose(statistics, one[1], rtol=1e-4, atol=1e-6)
        assert all(copy == variable[0] for variable in copies for copy in variable)  # every device has the same


def test_input_of_one_processor_has_no_autotuner():
    """Its thread sleeps ever longer, and who closes an iterator waits for it; a strategy's iterator has one again."""
    batches = devices.distribute(devices.make_strategy(1), lambda shard: tf.data.Dataset.range(4))
    assert isinstance(batches, tf.data.Dataset) and not batches.options().autotune.enabled


def test_batch_norm_of_each_device_for_itself_is_another_training():
    losses, statistics, copies = trained(2, "each")
    assert np.abs(np.subtract(losses, trained(1, "each")[0])).max() > 1e-4
    assert all(copy == variable[0] for variable in copies for copy in variable)  # the average of both


def test_what_is_not_there_is_refused(monkeypatch):
    with pytest.raises(UserError, match="--devices=64: TensorFlow sees 4 CPU here"):
        devices.make_strategy(64)
    with pytest.raises(UserError, match="--strategy=one_device with --devices=2"):
        devices.make_strategy(2, "one_device")
    monkeypatch.setenv("TF_CONFIG", "{")
    with pytest.raises(UserError, match="TF_CONFIG is damaged"):
        devices.make_strategy(0, "auto")
    monkeypatch.delenv("TF_CONFIG")
    with pytest.raises(UserError, match="--strategy=multi_worker: expected the environment variable TF_CONFIG"):
        devices.make_strategy(0, "multi_worker")
    assert devices.kind_of(devices.make_strategy(0, "auto")) == "one_device"
    assert devices.kind_of(devices.make_strategy(4, "mirrored")) == "mirrored"
    assert devices.make_strategy(4, "mirrored") is devices.make_strategy(4)


def test_the_tpu_gets_its_address(monkeypatch):
    """No TPU is here: what is tested is that its address goes where the strategy is made, and what comes back."""
    from official.common import distribute_utils

    asked = []

    def make(kind, tpu_address):
        asked.append((kind, tpu_address))
        raise RuntimeError("no such TPU\nand more")

    monkeypatch.setattr(distribute_utils, "get_distribution_strategy", make)
    for kind, address in (("auto", "grpc://10.0.0.2:8470"), ("tpu", "mine"), ("tpu", None)):
        with pytest.raises(UserError, match=r"cannot use the TPU at --tpu=.* \(RuntimeError: no such TPU\)"):
            devices.make_strategy(0, kind, address)
    assert asked == [("tpu", "grpc://10.0.0.2:8470"), ("tpu", "mine"), ("tpu", "local")]
