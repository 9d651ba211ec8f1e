"""The training step, traced once and used by every trial of a grid, and exact prediction.

Orbit runs the loop; learning rate, weight decay, length and weights are variables that `reset`
sets in place, so a trial after the first starts without tracing.
"""

import contextlib

import keras
import numpy as np
import orbit
import tensorflow as tf

from tfbench.models.build import decayed_kernels
from tfbench.models.layers import set_drop_path_progress
from tfbench.training import protocol


class Cosine(keras.optimizers.schedules.LearningRateSchedule):
    """initial · (1 + cos(π · step / steps)) / 2, with initial and steps as variables."""

    def __init__(self):
        self.initial = tf.Variable(0.0, dtype=tf.float32, trainable=False)
        self.steps = tf.Variable(1.0, dtype=tf.float32, trainable=False)

    def __call__(self, step):
        return self.initial * 0.5 * (1.0 + tf.cos(np.pi * tf.cast(step, tf.float32) / self.steps))

    def get_config(self):
        return {}


class Trainer(orbit.StandardTrainer):
    """SGD with Nesterov momentum on one network and one classification task.

    Args:
      strategy: where to train; `make_model` is called in its scope.
      make_model: returns the Keras model of models.build.build_network.
      batch_size: images per step over all replicas.
      multi_label: labels are [batch, classes] float32 in {1, 0, -1} (0: no loss) and the loss is the
        sum of the classes' binary cross-entropies; otherwise labels are [batch] int64 and the loss
        is softmax cross-entropy. Both are averaged over the images.
      to_input: from what a batch has beside its labels to what the network takes, part of the traced step.

    Attributes:
      global_step: int64 variable, steps done in this trial.
    """

    def __init__(self, strategy, make_model, *, batch_size: int, multi_label: bool, to_input=lambda images: images):
        super().__init__(train_dataset=None)
        self.strategy, self.batch_size, self.multi_label = strategy, batch_size, multi_label
        self.to_input = to_input
        with strategy.scope():
            self.model = make_model()
            self.schedule = Cosine()
            self.l2 = tf.Variable(0.0, dtype=tf.float32, trainable=False)
            self.optimizer = keras.optimizers.SGD(self.schedule, momentum=protocol.MOMENTUM, nesterov=True)
            self.optimizer.build(self.model.trainable_variables)
            self.global_step = orbit.utils.create_global_step()
            self.loss_sum = tf.Variable(0.0, trainable=False, synchronization=tf.VariableSynchronization.ON_READ,
                                        aggregation=tf.VariableAggregation.SUM)
        decayed = {id(variable) for variable in decayed_kernels(self.model)}
        self.is_decayed = [id(variable) in decayed for variable in self.model.trainable_variables]
        self.steps_in_loop = 0
        self.checkpoint = tf.train.Checkpoint(
            model=self.model, optimizer=self.optimizer, global_step=self.global_step)

    def weights(self) -> list[np.ndarray]:
        """Copies of all weights, trainable or not."""
        return [np.array(variable) for variable in self.model.variables]

    def reset(self, weights: list[np.ndarray], *, learning_rate: float, weight_decay: float, steps: int):
        """Puts everything a trial changes back in place, without tracing anything anew.

        Args:
          weights: as `weights()` gives them.
          learning_rate: initial learning rate; it falls to 0 along a cosine over `steps`.
          weight_decay: divided by the learning rate, it multiplies half the squared norm of the kernels
            in the loss (the paper's convention).
        """
        for variable, value in zip(self.model.variables, weights, strict=True):
            variable.assign(value)
        for variable in self.optimizer.variables:  # iterations and momenta; the rate is the schedule
            variable.assign(np.zeros(variable.shape, variable.dtype))
        self.global_step.assign(0)
        self.schedule.initial.assign(learning_rate)
        self.schedule.steps.assign(float(steps))
        self.l2.assign(weight_decay / learning_rate)

    def train_loop_begin(self):
        self.loss_sum.assign(0.0)
        self.first_step = int(self.global_step.numpy())

    def train_step(self, iterator):
        set_drop_path_progress(self.model, tf.cast(self.global_step, tf.float32) / self.schedule.steps)
        self.strategy.run(self._replica_step, args=next(iterator))
        self.global_step.assign_add(1)

    def train_loop_end(self):
        steps = int(self.global_step.numpy()) - self.first_step
        return {"loss": self.loss_sum.read_value() / steps, "learning_rate": self.schedule(self.global_step)}

    def _replica_step(self, images, labels):
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            logits = self.model(self.to_input(images), training=True)["logits"]
            loss = tf.reduce_sum(example_losses(logits, labels, self.multi_label)) / self.batch_size
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        # Gradients are summed over the replicas: each adds its share of the decay.
        share = self.l2 / self.strategy.num_replicas_in_sync
        gradients = [gradient + share * variable if decayed else gradient
                     for gradient, variable, decayed in zip(gradients, variables, self.is_decayed, strict=True)]
        tf.distribute.get_replica_context().merge_call(self._update, args=(gradients,))
        self.loss_sum.assign_add(loss)

    def _update(self, strategy, gradients):
        """What `optimizer.apply` does, without `all_reduce`.

        Each all_reduce in a traced function registers a gradient in a table of TensorFlow's that is never
        emptied (2.20), and with it keeps the function and the network's variables for good.
        """
        variables = [variable.value for variable in self.model.trainable_variables]
        rate = self.optimizer.learning_rate
        summed = strategy.extended.batch_reduce_to(
            tf.distribute.ReduceOp.SUM, list(zip(gradients, variables, strict=True)))
        for gradient, variable in zip(summed, variables, strict=True):
            strategy.extended.update(
                variable, lambda variable, gradient: self.optimizer.update_step(gradient, variable, rate),
                args=(gradient,), group=False)
        self.optimizer.iterations.assign_add(1)


def example_losses(logits, labels, multi_label: bool):
    """Cross-entropy of each example, [batch] float32 (see Trainer for the labels)."""
    if not multi_label:
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    losses = tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(labels > 0, tf.float32), logits)
    return tf.reduce_sum(losses * tf.cast(labels != 0, tf.float32), axis=-1)


class Predictor:
    """The network in inference mode, traced once: features or logits of every example, exactly.

    Args:
      forward: from the images of a batch to {"features", "logits"} or one of them.
      around: makes a context in which the traced function is run, e.g. devices.graph_rewriting.
    """

    def __init__(self, strategy, forward, around=contextlib.nullcontext):
        self.strategy, self.around = strategy, around
        self._forward = tf.function(lambda images: strategy.run(forward, args=(images,)))

    def __call__(self, batches: tf.data.Dataset, count: int, output: str, report=lambda images: None):
        """Runs the network over data/pipeline.evaluation_batches.

        Args:
          batches: pairs of images and indices, -1 marking padding.
          count: number of examples.
          output: "features" or "logits".
          report: called with the number of images after each batch.

        Returns:
          float32 [count, width], row i belonging to example i.

        Raises:
          AssertionError: an example was not seen exactly once.
        """
        return np.concatenate(list(self.stream(batches, count, output, report)))

    def stream(self, batches: tf.data.Dataset, count: int, output: str, report=lambda images: None):
        """The same batch by batch: yields float32 [up to a batch, width], in the order of the examples."""
        seen = 0
        for images, indices in self.strategy.experimental_distribute_dataset(batches):
            with self.around():
                values = self._local(self._forward(images)[output])
            index = self._local(indices)
            real = index >= 0
            number = int(real.sum())
            assert (index[real] == np.arange(seen, seen + number)).all(), f"examples out of order after {seen}"
            seen += number
            yield values[real]
            report(number)
        assert seen == count, f"{seen} of {count} examples seen"

    def _local(self, value) -> np.ndarray:
        return np.concatenate([part.numpy() for part in self.strategy.experimental_local_results(value)])
