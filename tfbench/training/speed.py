"""How fast a network is trained and evaluated on this machine, by a few real steps on the run's own images."""

import dataclasses
import itertools
import tempfile
import time

import numpy as np

from tfbench.data.examples import join, select
from tfbench.inputs import RunInputs
from tfbench.training import trial
from tfbench.training.search import EVAL_BATCH_FACTOR, make_task, prepare_devices, trial_settings

STEPS, STEP_SECONDS, MOST_STEPS = 6, 2.0, 200  # that are measured: more of short ones, for which images are read ahead
MOST_BATCHES = 2  # of validation images


class _Clock:
    """A progress that notes when a training has come how far."""

    def __init__(self):
        self.steps: list[tuple[int, float]] = []

    def images(self, number: int) -> None:
        del number

    def training(self, step: int, *args, **more) -> None:
        self.steps.append((step, time.perf_counter()))


def measure(inputs: RunInputs, seconds: float) -> dict[str, float]:
    """Times the training step of a search and its evaluation. Nothing that a run reads is written or changed.

    The weights are random ones: they do not matter. What is traced stays for the run itself (engine.shared_engine).

    Args:
      inputs: of a run of a regime that trains; its weights need not be there.
      seconds: that the steps may take, about; one is measured in any case.

    Returns:
      Seconds: "trace", to build the network and trace its graphs; "begin", to begin a further training; "train" and
      "evaluate", per image.

    Raises:
      UserError: memory does not suffice, or what engine.make_engine refuses.
    """
    clock = _Clock()
    with tempfile.TemporaryDirectory() as folder:
        inputs = dataclasses.replace(inputs, config=dataclasses.replace(
            inputs.config, results_dir=folder, checkpoint_every=MOST_STEPS + 2))  # none is written
        config, data = inputs.config, inputs.data
        point = next(itertools.product(*config.grid_values))  # the smallest rate: it does not diverge
        prepare_devices(config)
        train, validation = data.load("train"), data.load("validation")

        def run(name: str, steps: int) -> float:
            """Seconds from the start of a training until it ends."""
            start = time.perf_counter()
            task.train(train, task.engine.random_weights, name, **trial_settings(*point, steps=steps))
            return time.perf_counter() - start

        start = time.perf_counter()
        task = make_task(inputs, len(join(train, validation).labels), clock)
        run("first", 1)
        whole = time.perf_counter() - start
        trainer = task.engine.trainer
        trainer.seconds_per_step = None  # that of the first step has its tracing in it; unknown, one step comes alone
        run("second", 1)
        number = steps_to_measure(float(trainer.seconds_per_step or 0), seconds)
        trainer.seconds_per_step, clock.steps = trial.LOOP_SECONDS, []
        start = time.perf_counter()
        run("third", 1 + number)
        (first, at_first), (last, at_last) = clock.steps[0], clock.steps[-1]
        per_step = (at_last - at_first) / max(last - first, 1)
        begin = max(at_first - start - per_step, 0.0)

        some = select(validation, np.arange(min(len(validation.labels), MOST_BATCHES * EVAL_BATCH_FACTOR
                                                * config.batch_size)))
        times = []
        for _ in range(2):  # the first traces
            start = time.perf_counter()
            task.predict(some)
            times.append(time.perf_counter() - start)
    return {"trace": max(whole - per_step - begin, 0.0) + max(times[0] - times[1], 0.0), "begin": begin,
            "train": per_step / config.batch_size, "evaluate": times[1] / len(some.labels)}


def steps_to_measure(step: float, seconds: float) -> int:
    """How many steps are measured, where one takes `step` seconds and all of them may take `seconds`."""
    step = max(step, 1e-6)
    return max(min(max(STEPS, int(STEP_SECONDS / step)), int(seconds / step), MOST_STEPS), 1)
