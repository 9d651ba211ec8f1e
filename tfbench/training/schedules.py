"""Learning rates as functions of the step. Their settings are variables, so a new trial traces nothing anew."""

import keras
import numpy as np
import tensorflow as tf


class _Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule whose settings are float32 variables, named as the arguments of `set`."""

    def __init__(self, *names: str):
        self.settings = {name: tf.Variable(1.0, dtype=tf.float32, trainable=False) for name in names}

    def set(self, **values: float) -> None:
        """Sets a trial's settings.

        Raises:
          KeyError: one is missing or unknown.
        """
        for name in self.settings | values:
            self.settings[name].assign(values[name])

    def get_config(self):
        return {}


class Cosine(_Schedule):
    """learning_rate · (1 + cos(π · step / steps)) / 2: from learning_rate to 0 over `steps` (v3 appendix A.5)."""

    def __init__(self):
        super().__init__("learning_rate", "steps")

    def __call__(self, step):
        progress = tf.cast(step, tf.float32) / self.settings["steps"]
        return self.settings["learning_rate"] * tf.square(tf.cos(np.pi / 2 * progress))  # exact where it is near 0


class WarmupDecay(_Schedule):
    """Linearly from 0 to learning_rate over warmup_steps, then × decay_per_step at every step (v3 appendix)."""

    def __init__(self):
        super().__init__("learning_rate", "warmup_steps", "decay_per_step")

    def __call__(self, step):
        step = tf.cast(step, tf.float32)
        warmup, decay = self.settings["warmup_steps"], self.settings["decay_per_step"]
        factor = tf.where(step < warmup, step / tf.maximum(warmup, 1.0), tf.exp(tf.math.log(decay) * (step - warmup)))
        return self.settings["learning_rate"] * factor
