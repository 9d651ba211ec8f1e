"""Images per second of the training step on a batch in memory, beside Keras's fit, and PyTorch with timm."""

import pathlib
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf

from tfbench import paper
from tfbench.benchmarks.timing import medians, ratios_of_rounds, say_ratio, seconds_of_rounds
from tfbench.benchmarks.torch_peer import TorchPeer
from tfbench.models.build import build_network, set_batch_norm
from tfbench.models.catalog import NETWORKS
from tfbench.training import trial
from tfbench.training.devices import distribute, graph_rewriting, make_strategy, without_autotuner
from tfbench.training.trainer import Step, Trainer

CLASSES = 100
L2, LEARNING_RATE = 1e-4, 1e-3


def measure(rounds: int, network: str, batch_size: int, image_size: int | None, steps: int, precision: str,
            torch_python: str | None = None) -> dict:
    """Images per second of training on one batch in memory, in rounds of `steps` steps.

    Ours is the whole step in Orbit's loop, with L2 regularisation, the sum of the losses and the clock of the input.
    Keras's is model.fit on the same batch from tf.data, without L2, with TensorFlow's rewriting of graphs. PyTorch's,
    where the interpreter `torch_python` has it, is the usual loop with timm's network, in a process of its own.
    """
    size, draw = image_size or NETWORKS[network].image_size, np.random.RandomState(0)
    batch = (tf.constant(draw.uniform(-1, 1, (batch_size, size, size, 3)), tf.float32),
             tf.constant(draw.randint(0, CLASSES, batch_size), tf.int64))
    strategy = make_strategy(1, "one_device")

    def make_model():
        return build_network(network, num_classes=CLASSES, image_size=size, precision=precision)

    def make_our_model():
        model = make_model()
        set_batch_norm(model, momentum=NETWORKS[network].bn_momentum)
        return model

    trainer = Trainer(strategy, make_our_model, Step(batch_size, scale_loss=precision == "mixed_float16"))
    peer = TorchPeer(torch_python, network, train=True, batch_size=batch_size, image_size=size, steps=steps,
                     precision=precision, classes=CLASSES, learning_rate=LEARNING_RATE, momentum=paper.MOMENTUM, l2=L2)
    try:
        loops = {"keras fit": keras_loop(make_model(), batch, steps), "tfbench": our_loop(trainer, batch, steps),
                 **peer.loops}
        seconds, processor_seconds = seconds_of_rounds(loops, rounds)
    finally:
        peer.close()
    rates = {name: steps * batch_size / median for name, median in medians(seconds).items()}
    pairs = {name: ("tfbench", name) for name in rates if name != "tfbench"}
    first_steps = [seconds_to_first_step(trainer, batch, steps) for _ in range(2)]
    return {"network": network, "batch_size": batch_size, "image_size": size, "precision": precision,
            "seconds": seconds, "images_per_second": rates, **ratios_of_rounds(seconds, pairs), "peer": peer.lines(),
            "processor_seconds": processor_seconds, "by_processor": ratios_of_rounds(processor_seconds, pairs),
            "second_trial_seconds": max(first_steps[1] - batch_size / rates["tfbench"], 0.0)}


def keras_loop(model, batch, steps: int):
    """A loop of `steps` steps of model.fit on `batch`."""
    bare = keras.Model(model.input, model.output["logits"])
    bare.compile(keras.optimizers.SGD(LEARNING_RATE, momentum=paper.MOMENTUM, nesterov=True), jit_compile=False,
                 loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    batches = without_autotuner(tf.data.Dataset.from_tensors(batch).repeat())

    def loop():
        with graph_rewriting():
            bare.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0)

    return loop


def our_loop(trainer: Trainer, batch, steps: int):
    """A loop of `steps` of our training steps on `batch`."""
    trainer.reset(trainer.weights(), l2=L2, steps=steps, rates={"learning_rate": LEARNING_RATE, "steps": steps})
    trainer.train_dataset = distribute(trainer.strategy, lambda shard: tf.data.Dataset.from_tensors(batch).repeat())
    return lambda: trainer.train(tf.constant(steps))


def seconds_to_first_step(trainer: Trainer, batch, steps: int) -> float:
    """From the start of a trial until its first step is done."""
    start, seconds = time.perf_counter(), []
    trainer.seconds_per_step = trial.LOOP_SECONDS  # so that the first inner loop is one step
    with tempfile.TemporaryDirectory() as folder:
        trial.train(trainer, trainer.weights(), lambda first_step, shard: tf.data.Dataset.from_tensors(batch).repeat(),
                    l2=L2, steps=steps, rates={"learning_rate": LEARNING_RATE, "steps": steps},
                    folder=pathlib.Path(folder), checkpoint_every=steps + 1,
                    report=lambda step, **facts: seconds.append(time.perf_counter() - start))
    return seconds[1]  # the first report says where the trial starts


def report(result: dict) -> list[str]:
    """The result of `measure` in lines of text."""
    lines = [f"{result['network']}, random weights, {result['batch_size']} images of {result['image_size']} pixels, "
             f"{result['precision']}"]
    lines += [f"  {name:<18} {rate:7.1f} images/s" for name, rate in result["images_per_second"].items()]
    ratios, by_processor = (", ".join(f"{say_ratio(found, name)} of {name}" for name in found["ratios"])
                            for found in (result, result["by_processor"]))
    return [*lines, f"  tfbench trains at {ratios}; a second trial begins within "
            f"{result['second_trial_seconds']:.2f} s", f"  by seconds of the processor at {by_processor}",
            *result["peer"]]
