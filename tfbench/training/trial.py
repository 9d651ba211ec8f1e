"""One trial: train from given weights with given settings, resuming where it was cut."""

import contextlib
import os
import time
from typing import NamedTuple

import numpy as np
import orbit
import tensorflow as tf

from tfbench.errors import Preempted, UserError
from tfbench.files.paths import Path, Remote
from tfbench.training import checkpoints
from tfbench.training.devices import distribute, is_chief, on_all_hosts

LOOK_EVERY = 3.0  # seconds of Orbit's inner loop, about: how often progress shows and signals are heard


class Outcome(NamedTuple):
    """How a trial ended.

    Attributes:
      finite: whether the loss stayed finite; a trial that diverged is not trained further.
      seconds: of training, over all processes that took part.
      images_per_second, input_wait: of this process; the share of its time in [0, 1] that it waited for images. None
        where it had nothing left to train.
    """

    finite: bool
    seconds: float
    images_per_second: float | None
    input_wait: float | None


def train(trainer, weights: list[np.ndarray], make_batches, *, l2: float, steps: int, rates: dict[str, float],
          folder: Path, checkpoint_every: int, report=lambda **facts: None) -> Outcome:
    """Trains `trainer` for `steps` steps; its model holds the result.

    A trial longer than `checkpoint_every` leaves its last checkpoint in `folder` (see `forget`): whoever is
    interrupted before the result is recorded has it still.

    Args:
      weights: where training starts, as Trainer.weights() gives them.
      make_batches: (first_step, data.pipeline.InputShard) -> tf.data.Dataset of the batches from that step on.
      l2, rates: see Trainer.reset.
      folder: for checkpoints, summaries and Orbit's log.
      report: called with step, loss, images, images_per_second and input_wait after each inner loop; once with the step
        and images of the checkpoint it goes on from.

    Raises:
      UserError: a checkpoint cannot be written, or memory does not suffice.
    """
    trainer.reset(weights, l2=l2, steps=steps, rates=rates)
    step = 0
    if checkpoints.steps(folder / "checkpoints"):
        step = checkpoints.restore(trainer.checkpoint, folder / "checkpoints")
        if step is None:  # parts of a damaged one may have been read
            trainer.reset(weights, l2=l2, steps=steps, rates=rates)
            step = 0
    agree(trainer.strategy, step)
    report(step=step, images=step * trainer.step.batch_size)
    if step == steps:
        return Outcome(True, float(trainer.elapsed.numpy()), None, None)
    try:
        return _loop(trainer, make_batches, step, steps, folder, checkpoint_every, report)
    except tf.errors.ResourceExhaustedError as error:
        if "No space left" not in error.message:
            raise out_of_memory(trainer.step, trainer.strategy) from error
        raise checkpoints.unwritable(folder, error) from error
    except (OSError, tf.errors.PermissionDeniedError) as error:
        raise checkpoints.unwritable(folder, error) from error


def _loop(trainer, make_batches, first: int, steps: int, folder, checkpoint_every: int, report) -> Outcome:
    """Inner loops of a few seconds, with what is to be done between them."""
    finite, step, trained, waited, saved = True, first, 0.0, 0.0, first
    start = time.monotonic()
    trainer.train_dataset = distribute(trainer.strategy, lambda part: make_batches(first, part),
                                       trainer.step.accumulate)
    trainer.elapsed.assign_add(time.monotonic() - start)
    with _quiet_controller(trainer, folder, steps) as controller:
        try:
            while step < steps and finite:
                start = time.monotonic()
                target = min(step + _loop_steps(trainer), steps, (step // checkpoint_every + 1) * checkpoint_every)
                loss = controller(target)
                seconds = time.monotonic() - start
                trainer.elapsed.assign_add(seconds)
                finite, waiting = bool(np.isfinite(loss)), float(trainer.waited.numpy())
                trained, waited, done, step = trained + seconds, waited + waiting, target - step, target
                trainer.seconds_per_step = seconds / done
                if finite and (step % checkpoint_every == 0 or step == steps > checkpoint_every):
                    _save(trainer, folder, step)
                    saved = step
                report(step=step, loss=loss, images=done * trainer.step.batch_size,
                       images_per_second=done * trainer.step.batch_size / seconds, input_wait=min(waiting / seconds, 1))
        except (KeyboardInterrupt, Preempted):  # they come between two steps, never within one
            step = int(trainer.global_step.numpy())
            if finite and step > saved:
                _save(trainer, folder, step)
            raise
    return Outcome(finite, float(trainer.elapsed.numpy()), (step - first) * trainer.step.batch_size / trained,
                   min(waited / trained, 1.0))


@contextlib.contextmanager
def _quiet_controller(trainer, folder, steps: int):
    """Orbit's loop as a function from the step to train up to, to the mean loss; its words go into a file."""
    losses = []
    chief = is_chief(trainer.strategy)
    folder.mkdir(parents=True, exist_ok=True)
    logged = chief and not isinstance(folder, Remote)  # objects in a bucket cannot be added to
    with open(folder / "orbit.log" if logged else os.devnull, "a") as log:
        controller = None

        def run(target: int) -> float:
            nonlocal controller
            with contextlib.redirect_stdout(log):
                controller = controller or orbit.Controller(
                    global_step=trainer.global_step, trainer=trainer, strategy=trainer.strategy, steps_per_loop=steps,
                    train_actions=[lambda output: losses.append(float(output["loss"]))],
                    summary_dir=str(folder / "summaries") if chief else None)
                controller.train(target, checkpoint_at_completion=False)
            return losses[-1]

        yield run


def _loop_steps(trainer) -> int:
    """Steps of the next inner loop: so many as take LOOK_EVERY; one, where it is not known how long they take."""
    pace = trainer.seconds_per_step
    wanted = 1 if pace is None else max(1, min(int(LOOK_EVERY / pace), 1000))
    return min(on_all_hosts(trainer.strategy, wanted))  # after each loop all hosts add up their losses


def _save(trainer, folder, step: int) -> None:
    if is_chief(trainer.strategy):
        checkpoints.save(trainer.checkpoint, folder / "checkpoints", step)


def summarise(folder: Path, step: int, values: dict[str, float]) -> None:
    """Adds scalars to the trial's TensorBoard summaries, beside Orbit's of its training."""
    with tf.summary.create_file_writer(str(folder / "summaries" / "validation")).as_default():
        for name, value in values.items():
            tf.summary.scalar(name, value, step=step)


def forget(folder: Path) -> None:
    """Deletes the checkpoints of a trial whose result is recorded."""
    checkpoints.clear(folder / "checkpoints")


def agree(strategy, number: int) -> None:
    """Raises UserError unless all hosts have the same `number`: they would train different things, or wait for ever."""
    found = sorted(set(on_all_hosts(strategy, number)))
    if len(found) > 1:
        raise UserError(f"the hosts stand at different places ({', '.join(map(str, found))}): expected one "
                        "--results_dir that all of them see; start the same command on all of them again")


def out_of_memory(step, strategy) -> UserError:
    """What to do where a batch does not fit."""
    here = step.batch_size // strategy.num_replicas_in_sync // step.accumulate
    cure = "take more devices or a smaller --image_size" if here == 1 else (
        f"add --accumulate={2 * step.accumulate}, which takes {max(here // 2, 1)} at a time and adds up their gradients"
        " (batch norm then sees fewer images at once), or --precision=mixed_bfloat16")
    return UserError(f"out of memory with {here} images at a time on each device: {cure}. What is finished is kept; "
                     "the same command continues where it stopped")
