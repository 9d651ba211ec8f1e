"""One trial: trains from given weights with given settings, and resumes where it was interrupted."""

import contextlib
import functools
import io
import time
from typing import Any, NamedTuple

import numpy as np
import orbit
import tensorflow as tf
from tensorboard.plugins.hparams import api as hp

from tfbench.errors import Preempted, UserError
from tfbench.files import atomic
from tfbench.files.paths import Path, Remote
from tfbench.training import checkpoints
from tfbench.training.devices import distribute, is_chief, on_all_hosts
from tfbench.wording import say

LOOP_SECONDS = 3.0  # of Orbit's inner loop, about: after each, progress shows and signals are heard


class Outcome(NamedTuple):
    """How a trial ended.

    Attributes:
      finite: whether the loss stayed finite; a trial that diverged is not trained further.
      seconds: of training, over all processes that took part.
      images_per_second: of this process; None where it had nothing left to train.
      input_wait: fraction of this process's time in [0, 1] that it waited for images; None as above.
    """

    finite: bool
    seconds: float
    images_per_second: float | None
    input_wait: float | None


def train(trainer, weights: list[np.ndarray], make_batches, *, l2: float, steps: int, rates: dict[str, float],
          folder: Path, checkpoint_every: int, report=lambda **facts: None, until: int | None = None) -> Outcome:
    """Trains `trainer` for `steps` steps; its model holds the result.

    A trial longer than `checkpoint_every` leaves its last checkpoint in `folder`, for a process that is interrupted
    before the result is recorded. delete_checkpoints deletes it.

    Args:
      weights: where training starts, as Trainer.weights() returns them.
      make_batches: (first_step, shard of the input, see devices.distribute) → tf.data.Dataset of the batches from that
        step on.
      l2, rates: see Trainer.reset.
      folder: for checkpoints, summaries and Orbit's log.
      checkpoint_every: steps.
      until: stop after so many of the steps, with a checkpoint from which the same call with a later `until` goes on;
        None: at the end.
      report: called first with the step and images that the trial resumes from; after each inner loop with step, loss,
        images, images_per_second and input_wait.

    Raises:
      UserError: a checkpoint cannot be written, or memory does not suffice.
    """
    trainer.reset(weights, l2=l2, steps=steps, rates=rates)
    step: int | None = 0
    if checkpoints.saved_steps(folder / "checkpoints"):
        step = checkpoints.restore(trainer.checkpoint, folder / "checkpoints")
    end = until or steps
    if step is None or step > end:  # all are damaged, and one may have been read in part; or it is a later stop's
        trainer.reset(weights, l2=l2, steps=steps, rates=rates)
        step = 0
    check_same_on_all_hosts(trainer.strategy, step)
    report(step=step, images=step * trainer.step.batch_size)
    if step == end:
        return Outcome(True, float(trainer.elapsed.numpy()), None, None)
    try:
        return _train_loop(trainer, make_batches, step, end, folder, checkpoint_every, report, keep=bool(until))
    except tf.errors.ResourceExhaustedError as error:
        if "No space left" not in error.message:
            raise out_of_memory(trainer.step, trainer.strategy) from error
        raise checkpoints.unwritable(folder, error) from error
    except (OSError, tf.errors.PermissionDeniedError) as error:
        raise checkpoints.unwritable(folder, error) from error


def _train_loop(trainer, make_batches, first_step: int, steps: int, folder, checkpoint_every: int, report, *,
                keep: bool) -> Outcome:
    """Inner loops of a few seconds; between them checkpoints are written and progress is reported.

    `keep`: whether the last step has a checkpoint however few there are.
    """
    batch_size, finite, step, saved_step = trainer.step.batch_size, True, first_step, first_step
    train_seconds = input_wait_seconds = 0.0
    start = time.monotonic()
    trainer.train_dataset = distribute(trainer.strategy, lambda shard: make_batches(first_step, shard),
                                       trainer.step.accumulate)
    trainer.elapsed.assign_add(time.monotonic() - start)
    controller = _quiet_controller(trainer, folder, steps)
    try:
        while step < steps and finite:
            start = time.monotonic()
            target = min(step + _loop_steps(trainer), steps, (step // checkpoint_every + 1) * checkpoint_every)
            loss = controller(target)
            seconds = time.monotonic() - start
            trainer.elapsed.assign_add(seconds)
            finite, wait = bool(np.isfinite(loss)), float(trainer.input_wait_seconds.numpy())
            loop_steps, step = target - step, target
            train_seconds, input_wait_seconds = train_seconds + seconds, input_wait_seconds + wait
            trainer.seconds_per_step = seconds / loop_steps
            if finite and (step % checkpoint_every == 0 or step == steps and (keep or steps > checkpoint_every)):
                atomic.patiently(functools.partial(_save, trainer, folder, step))
                saved_step = step
            report(step=step, loss=loss, images=loop_steps * batch_size,
                   images_per_second=loop_steps * batch_size / seconds, input_wait=min(wait / seconds, 1))
    except (KeyboardInterrupt, Preempted):  # they come between two steps, never within one
        step = int(trainer.global_step.numpy())
        if finite and step > saved_step:
            try:
                _save(trainer, folder, step)
            except UserError as error:  # there is no time to wait
                say(f"warning: {error}", error=True)
        raise
    return Outcome(finite, float(trainer.elapsed.numpy()), (step - first_step) * batch_size / train_seconds,
                   min(input_wait_seconds / train_seconds, 1.0))


def _quiet_controller(trainer, folder, steps: int):
    """Orbit's loop, step to train up to → mean loss; what Orbit prints goes into a file.

    That file and the summaries are for people: where they cannot be written, training goes on without.
    """
    losses: list[float] = []
    controller, chief = None, is_chief(trainer.strategy)
    logged = chief and not isinstance(folder, Remote)  # objects in a bucket cannot be added to

    def make(summary_dir: str | None) -> orbit.Controller:
        made = orbit.Controller(
            global_step=trainer.global_step, trainer=trainer, strategy=trainer.strategy, steps_per_loop=steps,
            train_actions=[lambda output: losses.append(float(output["loss"]))], summary_dir=summary_dir)
        try:
            made.summary_manager.summary_writer()  # makes its folder
        except tf.errors.OpError:
            return make(None)
        return made

    def run(target: int) -> float:
        nonlocal controller
        done, printed = len(losses), io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                controller = controller or make(str(folder / "summaries") if chief else None)
                controller.train(target, checkpoint_at_completion=False)
        except (tf.errors.OpError, OSError):
            if len(losses) == done:
                raise
            controller = None  # it trained, but could not write its summaries: the next one begins a new file
        if logged:
            with contextlib.suppress(OSError), open(folder / "orbit.log", "a") as log:
                log.write(printed.getvalue())
        return losses[-1]

    return run


def _loop_steps(trainer) -> int:
    """Steps of the next inner loop, which take about LOOP_SECONDS; 1 where it is not known how long a step takes."""
    seconds_per_step = trainer.seconds_per_step
    wanted = 1 if seconds_per_step is None else max(1, min(int(LOOP_SECONDS / seconds_per_step), 1000))
    return min(on_all_hosts(trainer.strategy, wanted))  # after each loop all hosts add up their losses


def _save(trainer, folder, step: int) -> None:
    if is_chief(trainer.strategy):
        checkpoints.save(trainer.checkpoint, folder / "checkpoints", step)


def summarise(folder: Path, step: int, values: dict[str, float], hyperparameters: dict[str, Any]) -> None:
    """Adds scalars to the trial's TensorBoard summaries, beside those that Orbit writes of its training.

    TensorBoard's HParams plugin lists the trial by `hyperparameters`, with the scalars as its metrics. What
    cannot be written is left out.
    """
    with contextlib.suppress(tf.errors.OpError), tf.summary.create_file_writer(
            str(folder / "summaries" / "validation")).as_default():
        hp.hparams(hyperparameters, trial_id=f"{folder.parent.name}/{folder.name}")
        for name, value in values.items():
            tf.summary.scalar(name, value, step=step)


def delete_checkpoints(folder: Path) -> None:
    """Deletes the checkpoints of a trial whose result is recorded."""
    checkpoints.delete_all(folder / "checkpoints")


def check_same_on_all_hosts(strategy, number: int) -> None:
    """Raises UserError unless all hosts have the same `number`: they would train different things or wait for ever."""
    numbers = sorted(set(on_all_hosts(strategy, number)))
    if len(numbers) > 1:
        raise UserError(f"the hosts stand at different places ({', '.join(map(str, numbers))}): expected one "
                        "--results_dir that all of them see; start the same command on all of them again")


def out_of_memory(step, strategy) -> UserError:
    """The error, with its remedy, where a batch does not fit into memory."""
    images = step.batch_size // strategy.num_replicas_in_sync // step.accumulate
    if images == 1:
        cure = "take more devices or a smaller --image_size"
    else:
        cure = (f"add --accumulate={2 * step.accumulate}, which takes {max(images // 2, 1)} at a time and adds up "
                "their gradients (batch norm then sees fewer images at once), or --precision=mixed_bfloat16")
    return UserError(f"out of memory with {images} images at a time on each device: {cure}. What is finished is kept; "
                     "with --accumulate or another precision or size it is another run, which begins anew")
