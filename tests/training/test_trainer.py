"""The training step, trials and prediction against independent computations."""

import math
import time
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfbench import Preempted, UserError, paper
from tfbench.data.pipeline import InputShard
from tfbench.training import checkpoints, trial
from tfbench.training.devices import make_strategy
from tfbench.training.predictor import Predictor
from tfbench.training.schedules import Cosine, WarmupDecay
from tfbench.training.trainer import Step, Trainer, example_losses

CLASSES, WIDTH, BATCH, COUNT = 3, 5, 8, 48
RANDOM = np.random.RandomState(0)
INPUTS = RANDOM.randn(COUNT, WIDTH).astype(np.float32)
LABELS = RANDOM.randint(0, CLASSES, COUNT)


def linear_model():
    """Softmax regression in the form of a network: `kernel` decays, `bias` does not."""
    keras.utils.set_random_seed(3)
    images = keras.Input([WIDTH])
    return keras.Model(images, {"features": images, "logits": keras.layers.Dense(CLASSES, name="logits")(images)})


def batches(first_step, part, steps=30):
    order = np.concatenate([np.random.RandomState(epoch).permutation(COUNT) for epoch in range(1 + steps // 6)])
    order = order[first_step * BATCH:steps * BATCH]
    return tf.data.Dataset.from_tensor_slices((INPUTS[order], LABELS[order])).batch(
        BATCH // part.num_batches, drop_remainder=True)


def gradients_of(x, y, kernel, bias):
    """Of the mean cross-entropy of softmax regression."""
    scores = x @ kernel + bias
    probs = np.exp(scores - scores.max(1, keepdims=True))
    probs /= probs.sum(1, keepdims=True)
    error = (probs - np.eye(CLASSES)[y]) / BATCH
    return [x.T @ error, error.sum(0)]


def cosine(step: float, steps: int) -> float:
    """Factor of the initial learning rate: 1 at the start, 0 at the end (v3 appendix A.5)."""
    return (1 + math.cos(math.pi * step / steps)) / 2


def warmup_decay(step: float, warmup_steps: float, decay_per_step: float) -> float:
    """Factor of the learning rate in pretraining: linearly from 0 to 1, then a constant factor per step."""
    return step / warmup_steps if step < warmup_steps else decay_per_step ** (step - warmup_steps)


def numpy_training(kernel, bias, *, learning_rate, weight_decay, steps):
    """The paper's update rule, written out: L2 through the gradient, cosine to 0, and TensorFlow 1's Nesterov momentum,
    whose learning rate is outside the velocity."""
    values = [kernel.astype(np.float64), bias.astype(np.float64)]
    speed = [np.zeros_like(value) for value in values]
    order = np.concatenate([np.random.RandomState(epoch).permutation(COUNT) for epoch in range(1 + steps // 6)])
    for step in range(steps):
        rate = learning_rate * cosine(step, steps)
        rows = order[step * BATCH:(step + 1) * BATCH]
        gradients = gradients_of(INPUTS[rows], LABELS[rows], *values)
        gradients[0] += weight_decay / learning_rate * values[0]
        for i, gradient in enumerate(gradients):
            speed[i] = 0.9 * speed[i] + gradient
            values[i] -= rate * (gradient + 0.9 * speed[i])
    return values


def make_trainer(devices=1, model=linear_model, **step):
    return Trainer(make_strategy(devices), model, Step(batch_size=BATCH, **step))


def train(trainer, weights, folder, *, learning_rate=0.3, weight_decay=0.01, steps=30, checkpoint_every=1000,
          make_batches=batches, report=lambda **facts: None):
    return trial.train(trainer, weights, make_batches, l2=weight_decay / learning_rate, steps=steps,
                       rates={"learning_rate": learning_rate, "steps": steps}, folder=folder,
                       checkpoint_every=checkpoint_every, report=report)


@pytest.mark.parametrize("devices, accumulate", [(1, 1), (1, 4), (4, 1), (4, 2)])
def test_update_equals_the_protocol_on_any_number_of_devices(devices, accumulate, tmp_path):
    trainer = make_trainer(devices, accumulate=accumulate)
    start = trainer.weights()
    assert train(trainer, start, tmp_path).finite
    kernel, bias = numpy_training(*start, learning_rate=0.3, weight_decay=0.01, steps=30)
    np.testing.assert_allclose(trainer.weights()[0], kernel, atol=2e-6)
    np.testing.assert_allclose(trainer.weights()[1], bias, atol=2e-6)
    assert np.abs(kernel - start[0]).max() > 0.1  # it moved


class Quadratic(keras.layers.Layer):
    """Half of x · w², whose sum is a quadratic function of the kernel w with curvature x."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=[WIDTH], name="kernel", initializer="ones")

    def call(self, x):
        return 0.5 * x * tf.square(self.kernel)


def quadratic_model():
    images = keras.Input([WIDTH])
    return keras.Model(images, {"features": images, "logits": Quadratic(name="logits")(images)})


@pytest.mark.parametrize("learning_rate, weight_decay", [(0.1, 0.0), (0.02, 3e-3), (1e-3, 1e-4)])
def test_200_steps_on_a_quadratic(learning_rate, weight_decay, tmp_path, monkeypatch):
    """Of Σ ½ a w² + λ/2 ‖w‖², λ = weight decay / learning rate, the loss being the sum of the logits."""
    from tfbench.training import trainer as module

    monkeypatch.setattr(module, "example_losses", lambda logits, labels, *_: tf.reduce_sum(logits, axis=-1))
    curvature = np.abs(RANDOM.randn(WIDTH)).astype(np.float32)
    trainer = make_trainer(model=quadratic_model)
    steps = 200
    data = tf.data.Dataset.from_tensors(
        (np.tile(curvature, (BATCH, 1)), np.zeros(BATCH, np.int64))).repeat()
    start = np.linspace(-1, 2, WIDTH).astype(np.float32)
    assert train(trainer, [start], tmp_path, learning_rate=learning_rate, weight_decay=weight_decay, steps=steps,
                 make_batches=lambda first_step, part: data).finite
    weight, speed = start.astype(np.float64), np.zeros(WIDTH)
    for step in range(steps):
        rate = learning_rate * cosine(step, steps)
        gradient = curvature * weight + weight_decay / learning_rate * weight
        speed = 0.9 * speed + gradient
        weight = weight - rate * (gradient + 0.9 * speed)
    np.testing.assert_allclose(trainer.weights()[0], weight, atol=4e-6)  # float32, 200 additions
    assert float(trainer.schedule(steps)) < 1e-12 * learning_rate  # where the cosine ends
    assert float(trainer.schedule(0)) == pytest.approx(learning_rate)


def test_second_trial_neither_traces_nor_remembers(tmp_path):
    trainer = make_trainer()
    weights = trainer.weights()
    train(trainer, weights, tmp_path / "1")
    first = trainer.weights()
    train(trainer, weights, tmp_path / "2", learning_rate=0.05, weight_decay=0.0)
    assert np.abs(trainer.weights()[0] - first[0]).max() > 1e-3
    start = time.process_time()
    train(trainer, weights, tmp_path / "3")
    assert time.process_time() - start < 1.0
    np.testing.assert_array_equal(trainer.weights()[0], first[0])
    assert trainer._train_loop_fn.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("kind, saved", [(KeyboardInterrupt, 12), (Preempted, 12), (RuntimeError, 10)])
def test_interrupted_trial_continues_from_its_checkpoint(kind, saved, tmp_path, monkeypatch):
    trainer = make_trainer(ema=0.9)
    weights = trainer.weights()
    train(trainer, weights, tmp_path / "whole")
    expected = trainer.weights(), [np.array(average) for average in trainer.averages]
    monkeypatch.setattr(trial, "_loop_steps", lambda trainer: 2)

    def stop(step, **facts):
        if step == 12:
            raise kind

    with pytest.raises(kind):
        train(trainer, weights, tmp_path / "cut", checkpoint_every=5, report=stop)
    assert checkpoints.saved_steps(tmp_path / "cut/checkpoints")[-1] == saved
    starts = []

    def resumed(first_step, part):
        starts.append(first_step)
        return batches(first_step, part)

    assert train(trainer, weights, tmp_path / "cut", checkpoint_every=5, make_batches=resumed).finite
    assert starts == [saved]
    for was, now in zip(expected, (trainer.weights(), trainer.averages), strict=True):
        np.testing.assert_array_equal(was[0], np.array(now[0]))
    assert len(checkpoints.saved_steps(tmp_path / "cut/checkpoints")) == checkpoints.MAX_TO_KEEP
    again = train(trainer, weights, tmp_path / "cut", checkpoint_every=5)  # not recorded yet: nothing is trained again
    assert again.finite and again.images_per_second is None and again.seconds > 0
    np.testing.assert_array_equal(expected[0][0], trainer.weights()[0])
    trial.delete_checkpoints(tmp_path / "cut")
    assert not (tmp_path / "cut" / "checkpoints").exists()


def test_diverging_trial_says_so(tmp_path):
    trainer = make_trainer()
    infinite = tf.data.Dataset.from_tensor_slices((INPUTS * np.float32(np.inf), LABELS))
    batches_of_it = infinite.repeat().batch(BATCH, drop_remainder=True)
    assert not train(trainer, trainer.weights(), tmp_path, make_batches=lambda first_step, part: batches_of_it).finite


def test_memory_that_does_not_suffice_is_explained(tmp_path):
    trainer = make_trainer()

    trainer._train_loop_fn = lambda *_: fail_with(tf.errors.ResourceExhaustedError(None, None, "OOM"))
    with pytest.raises(UserError, match="out of memory with 8 images at a time on each device: add --accumulate=2"):
        train(trainer, trainer.weights(), tmp_path)


def fail_with(error):
    raise error


def test_input_wait_is_the_time_spent_waiting(tmp_path, monkeypatch):
    """By a clock that goes on by 3 s for each batch of input and by 1 s for each step."""
    now = [0.0]

    def taking(seconds, value):
        def advance(value):
            now[0] += seconds
            return value

        return tf.ensure_shape(tf.numpy_function(advance, [value], value.dtype), value.shape)

    monkeypatch.setattr(Trainer, "_clock", lambda self: tf.numpy_function(lambda: now[0], [], tf.float64))
    monkeypatch.setattr(trial, "time", types.SimpleNamespace(monotonic=lambda: now[0]))
    options = tf.data.Options()
    options.autotune.enabled = False  # nothing is read ahead, by the strategy neither
    monkeypatch.setattr(trial, "distribute", lambda strategy, make_batches, _: make_batches(None).with_options(options))
    trainer = Trainer(make_strategy(1), linear_model, Step(batch_size=BATCH), to_input=lambda x: taking(1.0, x))
    slow = tf.data.Dataset.from_tensor_slices((INPUTS, LABELS)).repeat().batch(BATCH, drop_remainder=True).map(
        lambda x, y: (taking(3.0, x), y))
    outcome = train(trainer, trainer.weights(), tmp_path, make_batches=lambda first_step, shard: slow)
    assert outcome.seconds == 30 * 4 and outcome.input_wait == 0.75


@pytest.mark.parametrize("devices", [1, 4])
def test_float16_scales_the_loss_and_leaves_overflows_out(devices, tmp_path):
    trainer = make_trainer(devices, scale_loss=True)
    weights = trainer.weights()
    train(trainer, weights, tmp_path / "scaled")
    assert trainer.loss_scale.numpy() == 2.0 ** 15 and trainer.good_steps.numpy() == 30
    kernel, _ = numpy_training(*weights, learning_rate=0.3, weight_decay=0.01, steps=30)
    np.testing.assert_allclose(trainer.weights()[0], kernel, atol=2e-6)

    def overflowing(first_step, part):  # a finite loss whose scaled gradient is not: logits of 0, inputs of 1e36
        size = BATCH // part.num_batches
        huge = np.full((size, WIDTH), 1e36, np.float32), np.zeros(size, np.int64)
        return tf.data.Dataset.from_tensors(huge).repeat()

    zeros = [np.zeros_like(value) for value in weights]
    assert train(trainer, zeros, tmp_path / "overflow", steps=3, weight_decay=0.0, make_batches=overflowing).finite
    assert trainer.loss_scale.numpy() == 2.0 ** 12 and trainer.good_steps.numpy() == 0
    assert not np.array(trainer.weights()[0]).any() and int(trainer.optimizer.iterations.value.numpy()) == 0


def test_pretraining_averages_its_weights_and_warms_up(tmp_path):
    trainer = Trainer(make_strategy(1), linear_model, Step(batch_size=BATCH, ema=0.95), make_schedule=WarmupDecay)
    start = trainer.weights()
    rates = {"learning_rate": 0.2, "warmup_steps": 6.0, "decay_per_step": 0.9}
    trial.train(trainer, start, batches, l2=0.03, steps=30, rates=rates, folder=tmp_path, checkpoint_every=1000)
    values, speed = [value.astype(np.float64) for value in start], [0.0, 0.0]
    averages = [value.copy() for value in values]
    for step, (x, y) in enumerate(batches(0, InputShard()).as_numpy_iterator()):
        rate = 0.2 * warmup_decay(step, 6, 0.9)
        gradients = gradients_of(x, y, *values)
        gradients[0] += 0.03 * values[0]
        decay = min(0.95, (2 + step) / (11 + step))
        for i, gradient in enumerate(gradients):
            speed[i] = 0.9 * speed[i] + gradient
            values[i] -= rate * (gradient + 0.9 * speed[i])
            averages[i] = decay * averages[i] + (1 - decay) * values[i]
    np.testing.assert_allclose(trainer.weights()[0], values[0], atol=2e-6)
    trainer.use_averages()
    np.testing.assert_allclose(trainer.weights()[0], averages[0], atol=2e-6)
    assert np.abs(averages[0] - values[0]).max() > 1e-4


def test_multi_label_loss_ignores_difficult_labels():
    logits = np.array([[2.0, -1.0, 0.5]], np.float32)
    labels = np.array([[1.0, -1.0, 0.0]], np.float32)
    expected = math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1))
    assert float(example_losses(logits, labels, True)[0]) == pytest.approx(expected, rel=1e-6)


def test_smoothed_labels_are_those_of_keras():
    logits = RANDOM.randn(4, CLASSES).astype(np.float32)
    labels = np.array([0, 2, 1, 1])
    expected = keras.losses.categorical_crossentropy(np.eye(CLASSES, dtype=np.float32)[labels], logits,
                                                     from_logits=True, label_smoothing=0.1)
    np.testing.assert_allclose(example_losses(logits, labels, False, 0.1), expected, rtol=1e-5)


@pytest.mark.parametrize("devices", [1, 4])
def test_prediction_counts_every_example_once(devices):
    strategy = make_strategy(devices)
    with strategy.scope():
        model = linear_model()
    count = 21
    index = np.full(24, -1)
    index[:count] = np.arange(count)

    def padded(part):
        return tf.data.Dataset.from_tensor_slices((INPUTS[:24], index)).batch(BATCH // part.num_batches)

    predict = Predictor(strategy, lambda images: model(images, training=False))
    kernel, bias = (np.array(variable) for variable in model.variables)
    np.testing.assert_allclose(predict(padded, count, "logits"), INPUTS[:count] @ kernel + bias, atol=1e-5)
    with pytest.raises(AssertionError, match="21 of 24 examples seen"):
        predict(padded, 24, "logits")


def test_schedules_equal_their_formulas():
    assert cosine(0, 10) == 1 and cosine(10, 10) == pytest.approx(0)
    assert warmup_decay(5, 10, 0.975) == 0.5 and warmup_decay(11, 10, 0.975) == 0.975
    half, warm = Cosine(), WarmupDecay()
    half.set(learning_rate=0.2, steps=40)
    warm.set(learning_rate=0.2, warmup_steps=10, decay_per_step=0.975)
    for step in range(41):
        assert float(half(step)) == pytest.approx(0.2 * cosine(step, 40), rel=1e-5, abs=1e-9)
        assert float(warm(step)) == pytest.approx(0.2 * warmup_decay(step, 10, 0.975), rel=1e-5)


def test_numbers_of_the_paper():
    tune, scratch = paper.FINE_TUNING, paper.FROM_SCRATCH
    assert (tune.steps, scratch.steps) == (19531, 78125)
    np.testing.assert_allclose(tune.learning_rates, np.logspace(-4, -1, 7), rtol=1e-5)
    np.testing.assert_allclose(tune.weight_decays, [0, *np.logspace(-6, -3, 7)], rtol=1e-5)
    np.testing.assert_allclose(scratch.learning_rates, np.logspace(-3, 0, 7), rtol=1e-5)
    np.testing.assert_allclose(scratch.weight_decays, np.logspace(-5, -1.5, 8), rtol=1e-5)
    assert paper.evenly_spaced_subset(tune.learning_rates, 3) == (1e-4, tune.learning_rates[3], 0.1)
    assert paper.evenly_spaced_subset(tune.weight_decays, 1) == (tune.weight_decays[4],)
    assert paper.evenly_spaced_subset(tune.weight_decays, 8) == tune.weight_decays


def test_the_hparams_plugin_lists_trials_by_their_hyperparameters(tmp_path):
    """Read by TensorBoard itself, as its page asks for it."""
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

    points = [(0.01, 0.0, 0.5), (0.1, 0.0, 0.75)]
    for number, (rate, decay, accuracy) in enumerate(points, start=1):
        trial.summarise(tmp_path / "run" / f"trial{number}", 40, {"validation_accuracy": accuracy},
                        hyperparameters={"learning_rate": rate, "weight_decay": decay, "network": "resnet_50"})
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(tmp_path / "run"))
    multiplexer.Reload()
    context = backend_context.Context(TBContext(
        data_provider=MultiplexerDataProvider(multiplexer, str(tmp_path)), logdir=str(tmp_path)))
    request = RequestContext()
    experiment = context.experiment_from_metadata(
        request, "", True, context.hparams_metadata(request, ""), context.hparams_from_data_provider(request, "", None))
    assert {info.name for info in experiment.hparam_infos} == {"learning_rate", "weight_decay", "network"}
    assert {info.name.tag for info in experiment.metric_infos} == {"validation_accuracy"}
    found = list_session_groups.Handler(
        request, context, "", api_pb2.ListSessionGroupsRequest(
            start_index=0, slice_size=10, allowed_statuses=range(4), col_params=[
                api_pb2.ColParams(metric=info.name) for info in experiment.metric_infos])).run()
    listed = [(group.name, group.hparams["learning_rate"].number_value, group.hparams["weight_decay"].number_value,
               group.metric_values[0].value) for group in found.session_groups]
    assert sorted(listed) == [(f"run/trial{number}", *point) for number, point in enumerate(points, start=1)]
