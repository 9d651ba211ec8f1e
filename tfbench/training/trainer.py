"""The training step, traced once and used by every trial of a search.

Orbit runs the loop. Learning rate, weight decay, number of steps and weights are variables that `Trainer.reset` sets in
place, so only the first trial traces. All that a step does is a function of (seed, step) and of the variables in
`Trainer.checkpoint`: a resumed trial computes what an uninterrupted one would.
"""

import dataclasses
import time

import keras
import numpy as np
import orbit
import tensorflow as tf

from tfbench import paper
from tfbench.models.build import decayed_kernels
from tfbench.models.layers import step_randomness
from tfbench.training.schedules import Cosine

FIRST_LOSS_SCALE, LARGEST_LOSS_SCALE = 2.0 ** 15, 2.0 ** 24  # in float16
LOSS_SCALE_STEPS = 2000  # steps without overflow, after which the loss's scale doubles

as_written = tf.autograph.experimental.do_not_convert  # loops and conditions are Python's; converting them takes time


@dataclasses.dataclass(frozen=True)
class Step:
    """What a training step does.

    Attributes:
      batch_size: images per step over all devices.
      multi_label: labels are [batch, classes] float32 in {1, 0, -1} (0: no loss) and the loss is the sum of the
        classes' binary cross-entropies; otherwise labels are [batch] int64 and the loss is softmax cross-entropy.
        Both are averaged over the images.
      seed: of dropout and drop-path.
      accumulate: micro-batches, one after another, whose gradients are added before the weights change.
      label_smoothing: fraction of the label that is spread over all classes, in [0, 1).
      ema: decay of the exponential moving average of all weights, in [0, 1); 0: none is kept.
      scale_loss: whether the loss is scaled up, and steps whose gradients overflow are left out (float16).
      jit_compile: whether XLA compiles forward and backward pass.
      deterministic: whether TensorFlow is held to deterministic operations (devices.set_determinism).
    """

    batch_size: int
    multi_label: bool = False
    seed: int = 0
    accumulate: int = 1
    label_smoothing: float = 0.0
    ema: float = 0.0
    scale_loss: bool = False
    jit_compile: bool = False
    deterministic: bool = False


class Trainer(orbit.StandardTrainer):
    """SGD with Nesterov momentum, as TensorFlow 1's, on one network and one classification task.

    Args:
      strategy: where to train; `make_model` is called in its scope.
      make_model: returns the Keras model of models.build.build_network.
      step: what a step does.
      to_input: from what a batch has beside its labels to the network's input; part of the traced step.
      make_schedule: makes the learning rate's schedule (training/schedules.py).

    Attributes:
      global_step: int64 variable, steps done in this trial.
      elapsed: float64 variable, seconds spent on them, over all processes that took part.
      input_wait_seconds: float64 variable, how long the host waited for input in the latest loop. Where devices work
        beside the host (GPUs), that is an upper bound of how long the devices waited.
      checkpoint: all that determines how training goes on.
      seconds_per_step: of the latest loop, None before the first (training/trial.py sets it).
    """

    def __init__(self, strategy, make_model, step: Step, *, to_input=lambda images: images, make_schedule=Cosine):
        super().__init__(train_dataset=None)
        self.strategy, self.step, self.to_input = strategy, step, to_input
        self.seconds_per_step: float | None = None
        with strategy.scope():
            self.model = make_model()
            self.schedule = make_schedule()
            self.l2 = tf.Variable(0.0, trainable=False)
            self.steps = tf.Variable(1.0, trainable=False)
            self.optimizer = keras.optimizers.SGD(self.schedule, momentum=paper.MOMENTUM, nesterov=True)
            self.optimizer.build(self.model.trainable_variables)
            self.global_step = orbit.utils.create_global_step()
            self.elapsed, self.input_wait_seconds = (tf.Variable(0.0, trainable=False, dtype=tf.float64)
                                                     for _ in range(2))
            self.loss_scale = tf.Variable(1.0, trainable=False)
            self.good_steps = tf.Variable(0, trainable=False, dtype=tf.int64)
            self.averages = [tf.Variable(variable.value, trainable=False) for variable in self._averaged_variables()]
            self.loss_sum = _per_replica_variable(0.0)
            self.accumulated = [_per_replica_variable(tf.zeros(variable.shape)) for variable
                                in self.model.trainable_variables] if step.accumulate > 1 else []
        decayed = {id(variable) for variable in decayed_kernels(self.model)}
        self.is_decayed = [id(variable) in decayed for variable in self.model.trainable_variables]
        self.statistics = [variable.value for variable in self.model.non_trainable_variables
                           if variable.dtype == "float32"]  # of batch norm
        self.checkpoint = tf.train.Checkpoint(
            weights=[variable.value for variable in self.model.variables],
            momenta=[variable.value for variable in self.optimizer.variables],
            averages=self.averages, scale=[self.loss_scale, self.good_steps],
            global_step=self.global_step, elapsed=self.elapsed)
        self._grad_fn = tf.function(self._loss_and_gradients, jit_compile=True
                                    ) if step.jit_compile else self._loss_and_gradients

    def weights(self) -> list[np.ndarray]:
        """Copies of all weights, trainable or not."""
        return [np.array(variable) for variable in self.model.variables]

    def _averaged_variables(self) -> list[keras.Variable]:
        return [variable for variable in self.model.variables if variable.dtype == "float32"] if self.step.ema else []

    def use_averages(self) -> None:
        """Sets the weights to their moving averages, if these are kept."""
        for variable, average in zip(self._averaged_variables(), self.averages, strict=True):
            variable.assign(average)

    def reset(self, weights: list[np.ndarray], *, l2: float, steps: int, rates: dict[str, float]) -> None:
        """Sets everything that a trial changes, without tracing anything anew.

        Args:
          weights: as `weights()` returns them.
          l2: multiplies half the squared norm of the kernels in the loss.
          steps: how many there will be.
          rates: settings of the schedule.
        """
        for variable, value in zip(self.model.variables, weights, strict=True):
            variable.value.assign(value)
        for variable in self.optimizer.variables:  # iterations and momenta; the rate is the schedule
            variable.value.assign(np.zeros(variable.shape, variable.dtype))
        for variable, average in zip(self._averaged_variables(), self.averages, strict=True):
            average.assign(variable.value)
        for variable in self.accumulated:  # an interrupted step's
            variable.assign(np.zeros(variable.shape, np.float32))
        self.loss_scale.assign(FIRST_LOSS_SCALE if self.step.scale_loss else 1.0)
        for variable in (self.good_steps, self.global_step, self.elapsed):
            variable.assign(0)
        self.schedule.set(**rates)
        self.l2.assign(l2)
        self.steps.assign(float(steps))

    def train_loop_begin(self):
        self.loss_sum.assign(0.0)
        self.input_wait_seconds.assign(0.0)
        self.first_step = int(self.global_step.numpy())

    def train_step(self, iterator):
        if self.step.accumulate == 1:
            self.strategy.run(self._train_batch, args=self._next_batch(iterator))
        else:
            for number in tf.range(self.step.accumulate):
                self.strategy.run(self._accumulate, args=(*self._next_batch(iterator), number))
            self.strategy.run(self._apply_accumulated)
        self.global_step.assign_add(1)

    def train_loop_end(self):
        steps = int(self.global_step.numpy()) - self.first_step
        return {"loss": self.loss_sum.read_value() / steps, "learning_rate": self.schedule(self.global_step),
                "input_wait_seconds": self.input_wait_seconds}

    @as_written
    def _next_batch(self, iterator):
        """The next element for every device; the time it took is added to `input_wait_seconds`."""
        start = self._clock()
        with tf.control_dependencies([start]):
            batch = next(iterator)
        tensors = [tensor for value in tf.nest.flatten(batch)
                   for tensor in self.strategy.experimental_local_results(value)]
        with tf.control_dependencies(tensors):
            self.input_wait_seconds.assign_add(self._clock() - start)
        return batch

    def _clock(self):
        """Seconds, float64; tf.timestamp refuses to be called where operations are held to be deterministic."""
        return tf.numpy_function(time.time, [], tf.float64) if self.step.deterministic else tf.timestamp()

    @as_written
    def _train_batch(self, images, labels):
        loss, gradients = self._grad_fn(images, labels, self._replica_seed(0), *self._scale_and_progress())
        self.loss_sum.assign_add(loss)
        self._train_step(gradients)

    @as_written
    def _accumulate(self, images, labels, number):
        loss, gradients = self._grad_fn(images, labels, self._replica_seed(number), *self._scale_and_progress())
        self.loss_sum.assign_add(loss)
        for accumulated, gradient in zip(self.accumulated, gradients, strict=True):
            accumulated.assign_add(gradient)

    @as_written
    def _apply_accumulated(self):
        self._train_step([tf.identity(accumulated) for accumulated in self.accumulated])
        for accumulated in self.accumulated:
            accumulated.assign(tf.zeros(accumulated.shape))

    def _train_step(self, gradients):
        """The update of weights and statistics, from this device's gradients."""
        # Gradients are summed over the replicas: each adds 1 / replicas of the decay.
        decay = self._scale_and_progress()[0] * self.l2 / self.strategy.num_replicas_in_sync
        gradients = [gradient + decay * variable if decayed else gradient for gradient, variable, decayed
                     in zip(gradients, self.model.trainable_variables, self.is_decayed, strict=True)]
        tf.distribute.get_replica_context().merge_call(
            self._update, args=(gradients, [tf.identity(variable) for variable in self.statistics]))

    def _scale_and_progress(self):
        """Scale of the loss, and the fraction of the training that is done."""
        return tf.identity(self.loss_scale), tf.cast(self.global_step, tf.float32) / self.steps

    def _replica_seed(self, number):
        """Seed of this step, device and micro-batch."""
        replica = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int64)
        draws = self.global_step * self.step.accumulate + tf.cast(number, tf.int64)  # so far, on each device
        return tf.stack([tf.constant(self.step.seed, tf.int64), draws * self.strategy.num_replicas_in_sync + replica])

    def _loss_and_gradients(self, images, labels, seed, scale, progress):
        """This device's part of the loss, and the gradients of scale · loss."""
        variables = [variable.value for variable in self.model.trainable_variables]
        with tf.GradientTape() as tape:
            with step_randomness(seed, progress):
                outputs = self.model(self.to_input(images), training=True)
            loss = self._loss(outputs["logits"], labels)
            if "auxiliary_logits" in outputs:
                loss += paper.AUXILIARY_WEIGHT * self._loss(outputs["auxiliary_logits"], labels)
            scaled = scale * loss if self.step.scale_loss else loss
        return loss, tape.gradient(scaled, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    def _loss(self, logits, labels):
        losses = example_losses(logits, labels, self.step.multi_label, self.step.label_smoothing)
        return tf.reduce_sum(losses) / self.step.batch_size

    def _update(self, strategy, gradients, statistics):
        """Adds up the gradients and applies them; averages batch norm's statistics over the devices. No `all_reduce`:

        each one in a traced function registers a gradient in a table of TensorFlow's that is never
        emptied (2.20), and with it keeps the function and the network's variables for good.
        """
        variables = [variable.value for variable in self.model.trainable_variables]
        gradients = strategy.extended.batch_reduce_to(
            tf.distribute.ReduceOp.SUM, list(zip(gradients, variables, strict=True)))
        if strategy.num_replicas_in_sync > 1 and statistics:
            means = strategy.extended.batch_reduce_to(
                tf.distribute.ReduceOp.MEAN, list(zip(statistics, self.statistics, strict=True)))
            for variable, mean in zip(self.statistics, means, strict=True):
                strategy.extended.update(variable, lambda variable, mean: variable.assign(mean), args=(mean,),
                                         group=False)
        if not self.step.scale_loss:
            self._apply_gradients(strategy, variables, gradients)
            return
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(strategy.experimental_local_results(gradient)[0]))
                                for gradient in gradients])
        scale = tf.identity(self.loss_scale)
        tf.cond(finite, lambda: self._apply_gradients(strategy, variables, gradients, scale), lambda: None)
        grow = tf.logical_and(finite, self.good_steps + 1 >= LOSS_SCALE_STEPS)
        self.good_steps.assign(tf.where(tf.logical_or(grow, ~finite), tf.zeros_like(self.good_steps),
                                        self.good_steps + 1))
        self.loss_scale.assign(tf.where(finite, tf.where(grow, tf.minimum(2.0 * scale, LARGEST_LOSS_SCALE), scale),
                                        tf.maximum(scale / 2.0, 1.0)))

    def _apply_gradients(self, strategy, variables, gradients, scale=None):
        """Moves the weights by the summed gradients, which are multiplied by `scale`, and then their averages."""
        rate = tf.identity(self.optimizer.learning_rate)

        def apply_momentum(variable, gradient, momentum):
            # TensorFlow 1's MomentumOptimizer: v <- 0.9 v + g; w <- w - rate (g + 0.9 v). Keras's SGD has the rate
            # inside v, so its v remembers old rates. One operation instead of eight: the first trial starts sooner.
            tf.raw_ops.ResourceApplyMomentum(
                var=variable.handle, accum=momentum.handle, lr=rate,
                grad=gradient if scale is None else gradient / scale, momentum=paper.MOMENTUM, use_nesterov=True)

        momenta = [momentum.value for momentum in self.optimizer.momentums]
        for variable, gradient, momentum in zip(variables, gradients, momenta, strict=True):
            strategy.extended.update(variable, apply_momentum, args=(gradient, momentum), group=False)
        self.optimizer.iterations.assign_add(1)
        steps_done = tf.cast(self.global_step, tf.float32) + 1.0
        decay = tf.minimum(self.step.ema, (1.0 + steps_done) / (10.0 + steps_done))  # as in TensorFlow 1
        for average, variable in zip(self.averages, self._averaged_variables(), strict=True):
            strategy.extended.update(
                average, lambda average, variable: average.assign_add((1.0 - decay) * (variable - average)),
                args=(variable.value,), group=False)


def _per_replica_variable(value) -> tf.Variable:
    """A variable of which each device has its own; read from outside, their sum."""
    return tf.Variable(value, trainable=False, synchronization=tf.VariableSynchronization.ON_READ,
                       aggregation=tf.VariableAggregation.SUM)


def example_losses(logits, labels, multi_label: bool, smoothing: float = 0.0):
    """Cross-entropy of each example, [batch] float32 (see Step for the labels)."""
    if multi_label:
        losses = tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(labels > 0, tf.float32), logits)
        return tf.reduce_sum(losses * tf.cast(labels != 0, tf.float32), axis=-1)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    if not smoothing:
        return losses
    return (1.0 - smoothing) * losses - smoothing * tf.reduce_mean(tf.nn.log_softmax(logits), axis=-1)
