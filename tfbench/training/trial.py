"""One trial: train from given weights at one (learning rate, weight decay), resuming where it was cut."""

import contextlib
import pathlib
import shutil

import numpy as np
import orbit
import tensorflow as tf

REPORT_EVERY = 50  # steps of Orbit's inner loop at most: how often progress shows and ^C is heard


def train(trainer, weights: list[np.ndarray], make_batches, *, learning_rate: float, weight_decay: float,
          steps: int, folder: pathlib.Path, checkpoint_every: int, report=lambda images: None) -> bool:
    """Trains `trainer` for `steps` steps; its model holds the result.

    Args:
      weights: where training starts, as Trainer.weights() gives them.
      make_batches: first_step -> tf.data.Dataset of the batches from that step on.
      folder: for checkpoints (removed when the trial is done), summaries and Orbit's log.
      report: called with the number of images after each inner loop.

    Returns:
      Whether the loss stayed finite; a diverged trial is not trained further.
    """
    trainer.reset(weights, learning_rate=learning_rate, weight_decay=weight_decay, steps=steps)
    inner_loop = min(REPORT_EVERY, checkpoint_every, steps)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints = tf.train.CheckpointManager(
        trainer.checkpoint, str(folder / "checkpoints"), max_to_keep=2, step_counter=trainer.global_step,
        checkpoint_interval=checkpoint_every,
        last_checkpoint_step=-1)  # TensorFlow takes 0 for "none yet" and would save after the first loop
    losses = []

    with open(folder / "orbit.log", "a") as log, contextlib.redirect_stdout(log):
        controller = orbit.Controller(
            global_step=trainer.global_step, trainer=trainer, strategy=trainer.strategy,
            steps_per_loop=inner_loop, checkpoint_manager=checkpoints,
            train_actions=[lambda output: losses.append(float(output["loss"]))], summary_dir=str(folder / "summaries"))
        step = int(trainer.global_step.numpy())
        report(step * trainer.batch_size)
        if step < steps:
            trainer.train_dataset = trainer.strategy.experimental_distribute_dataset(make_batches(step))
        while step < steps and np.isfinite(losses).all():
            target = min(step + inner_loop, steps)
            controller.train(target, checkpoint_at_completion=False)
            report((target - step) * trainer.batch_size)
            step = target
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return bool(np.isfinite(losses).all())
