"""The training step, trials and prediction against independent computations."""

import math
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfbench import UserError
from tfbench.training import protocol, trial
from tfbench.training.devices import make_strategy
from tfbench.training.trainer import Predictor, Trainer, example_losses

CLASSES, WIDTH, BATCH, COUNT = 3, 5, 8, 48
RANDOM = np.random.RandomState(0)
INPUTS = RANDOM.randn(COUNT, WIDTH).astype(np.float32)
LABELS = RANDOM.randint(0, CLASSES, COUNT)


def linear_model():
    """Softmax regression in the form of a network: `kernel` decays, `bias` does not."""
    keras.utils.set_random_seed(3)
    images = keras.Input([WIDTH])
    return keras.Model(images, {"features": images, "logits": keras.layers.Dense(CLASSES, name="logits")(images)})


def batches(first_step=0, steps=30):
    order = np.concatenate([np.random.RandomState(epoch).permutation(COUNT) for epoch in range(steps)])
    order = order[first_step * BATCH:steps * BATCH]
    return tf.data.Dataset.from_tensor_slices((INPUTS[order], LABELS[order])).batch(BATCH, drop_remainder=True)


def numpy_training(kernel, bias, *, learning_rate, weight_decay, steps):
    """The paper's update rule, written out: L2 through the gradient, Nesterov momentum, cosine to 0."""
    kernel, bias = kernel.astype(np.float64), bias.astype(np.float64)
    speed = [np.zeros_like(kernel), np.zeros_like(bias)]
    for step, (x, y) in enumerate(batches(steps=steps).as_numpy_iterator()):
        rate = learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
        scores = x @ kernel + bias
        chances = np.exp(scores - scores.max(1, keepdims=True))
        chances /= chances.sum(1, keepdims=True)
        error = (chances - np.eye(CLASSES)[y]) / BATCH
        gradients = [x.T @ error + weight_decay / learning_rate * kernel, error.sum(0)]
        for i, (value, gradient) in enumerate(zip((kernel, bias), gradients, strict=True)):
            speed[i] = 0.9 * speed[i] - rate * gradient
            value += 0.9 * speed[i] - rate * gradient
    return kernel, bias


def make_trainer(devices=1, model=linear_model):
    return Trainer(make_strategy(devices), model, batch_size=BATCH, multi_label=False)


def train(trainer, weights, folder, *, learning_rate=0.3, weight_decay=0.01, steps=30, checkpoint_every=1000,
          make_batches=batches):
    return trial.train(trainer, weights, make_batches, learning_rate=learning_rate, weight_decay=weight_decay,
                       steps=steps, folder=folder, checkpoint_every=checkpoint_every)


@pytest.mark.parametrize("devices", [1, 4])  # one number of replicas per process: TensorFlow keeps its groups
def test_update_equals_the_protocol_on_any_number_of_devices(devices, tmp_path):
    trainer = make_trainer(devices)
    start = trainer.weights()
    assert train(trainer, start, tmp_path)
    kernel, bias = numpy_training(*start, learning_rate=0.3, weight_decay=0.01, steps=30)
    np.testing.assert_allclose(trainer.weights()[0], kernel, atol=2e-6)
    np.testing.assert_allclose(trainer.weights()[1], bias, atol=2e-6)
    assert np.abs(kernel - start[0]).max() > 0.1  # it moved


def test_second_trial_neither_traces_nor_remembers(tmp_path):
    trainer = make_trainer()
    weights = trainer.weights()
    train(trainer, weights, tmp_path / "1")
    first = trainer.weights()
    train(trainer, weights, tmp_path / "2", learning_rate=0.05, weight_decay=0.0)
    assert np.abs(trainer.weights()[0] - first[0]).max() > 1e-3
    start = time.monotonic()
    train(trainer, weights, tmp_path / "3")
    assert time.monotonic() - start < 1.0
    np.testing.assert_array_equal(trainer.weights()[0], first[0])
    assert trainer._train_loop_fn.experimental_get_tracing_count() == 1


def test_interrupted_trial_continues_from_its_checkpoint(tmp_path):
    trainer = make_trainer()
    weights = trainer.weights()
    train(trainer, weights, tmp_path / "whole")
    expected = trainer.weights()

    class Killed(Exception):
        pass

    def dying(first_step):
        return batches(first_step).map(lambda x, y: tf.py_function(die, [x, y], [tf.float32, tf.int64])).map(
            lambda x, y: (tf.ensure_shape(x, [BATCH, WIDTH]), tf.ensure_shape(y, [BATCH]))).prefetch(1)

    drawn = []

    def die(x, y):
        drawn.append(0)
        if len(drawn) > 17:
            raise Killed
        return x, y

    with pytest.raises(tf.errors.OpError):
        train(trainer, weights, tmp_path / "cut", checkpoint_every=5, make_batches=dying)
    starts = []

    def resumed(first_step):
        starts.append(first_step)
        return batches(first_step)

    assert train(trainer, weights, tmp_path / "cut", checkpoint_every=5, make_batches=resumed)
    assert starts in ([10], [15])  # prefetching may have died one step early
    np.testing.assert_array_equal(trainer.weights()[0], expected[0])
    assert not (tmp_path / "cut" / "checkpoints").exists()


def test_diverging_trial_says_so(tmp_path):
    trainer = make_trainer()
    infinite = tf.data.Dataset.from_tensor_slices((INPUTS * np.float32(np.inf), LABELS))
    batches_of_it = infinite.repeat().batch(BATCH, drop_remainder=True)
    assert not train(trainer, trainer.weights(), tmp_path, make_batches=lambda first_step: batches_of_it)


def test_multi_label_loss_ignores_difficult_labels():
    logits = np.array([[2.0, -1.0, 0.5]], np.float32)
    labels = np.array([[1.0, -1.0, 0.0]], np.float32)
    expected = math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1))
    assert float(example_losses(logits, labels, True)[0]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("devices", [1, 4])
def test_prediction_counts_every_example_once(devices):
    strategy = make_strategy(devices)
    with strategy.scope():
        model = linear_model()
    count = 21
    index = np.full(24, -1)
    index[:count] = np.arange(count)
    padded = tf.data.Dataset.from_tensor_slices((INPUTS[:24], index)).batch(BATCH)
    predict = Predictor(strategy, lambda images: model(images, training=False))
    kernel, bias = (np.array(variable) for variable in model.variables)
    np.testing.assert_allclose(predict(padded, count, "logits"), INPUTS[:count] @ kernel + bias, atol=1e-5)
    with pytest.raises(AssertionError, match="21 of 24 examples seen"):
        predict(padded, 24, "logits")


def test_too_many_devices_are_refused():
    with pytest.raises(UserError, match="--devices=64: TensorFlow sees 4 CPU here"):
        make_strategy(64)


def test_numbers_of_the_paper():
    from tfbench import finetune, train_from_scratch
    assert protocol.cosine(0, 10) == 1 and protocol.cosine(10, 10) == pytest.approx(0)
    assert protocol.batch_norm_momentum(75750, 256) == pytest.approx(1 - 10 / (75750 / 256))
    assert protocol.batch_norm_momentum(2040, 256) == 0.9
    np.testing.assert_allclose(finetune.LEARNING_RATES, np.logspace(-4, -1, 7), rtol=1e-5)
    np.testing.assert_allclose(finetune.WEIGHT_DECAYS, [0, *np.logspace(-6, -3, 7)], rtol=1e-5)
    np.testing.assert_allclose(train_from_scratch.LEARNING_RATES, np.logspace(-3, 0, 7), rtol=1e-5)
    np.testing.assert_allclose(train_from_scratch.WEIGHT_DECAYS, np.logspace(-5, -1.5, 8), rtol=1e-5)
