"""A network on its devices, ready to train and predict; the latest is kept: the regimes share what is traced."""

import dataclasses
import gc

import numpy as np

from tfbench import paper
from tfbench.data.pipeline import to_network
from tfbench.errors import UserError
from tfbench.models.build import build_network, load_weights, set_batch_norm
from tfbench.models.lookup import get_network
from tfbench.training.devices import kind_of, make_strategy
from tfbench.training.predictor import Predictor
from tfbench.training.schedules import Cosine, WarmupDecay
from tfbench.training.trainer import Step, Trainer


@dataclasses.dataclass(frozen=True)
class Settings:
    """All that a traced training step depends on.

    Attributes:
      step: what a step does.
      batch_norm_momentum: in a step (paper.batch_norm_momentum).
      warmup: whether the learning rate follows WarmupDecay instead of Cosine.
      strategy, tpu, devices: see devices.make_strategy.
      Others: see models.build.build_network and data.pipeline.to_network.
    """

    network: str
    num_classes: int
    image_size: int
    value_range: str
    bn_scale: bool
    dropout: bool
    auxiliary_head: bool
    precision: str
    batch_norm_momentum: float
    sync_batch_norm: bool
    step: Step
    warmup: bool
    strategy: str
    tpu: str | None
    devices: int


@dataclasses.dataclass(frozen=True)
class Engine:
    """A network on its devices: its name, the traced training step, traced prediction, initial weights."""

    network: str
    trainer: Trainer
    predict: Predictor
    random_weights: list[np.ndarray]

    def pretrained_weights(self, weights: str) -> list[np.ndarray]:
        """The network of pretrained weights (build_network) below the randomly initialised classifier."""
        for variable, value in zip(self.trainer.model.variables, self.random_weights, strict=True):
            variable.assign(value)
        load_weights(self.trainer.model, self.network, weights, classifier=False)
        return self.trainer.weights()

    def distribution(self) -> dict:
        """How the network trains, as rows record it: strategy, replicas, hosts, and what batch norm averages over."""
        strategy, step = self.trainer.strategy, self.trainer.step
        replicas = strategy.num_replicas_in_sync
        return {"strategy": kind_of(strategy), "replicas": replicas,
                "hosts": getattr(strategy.extended, "_num_workers", 1),
                "images_per_replica": step.batch_size // replicas // step.accumulate}


_engine: dict[Settings, Engine] = {}


def shared_engine(settings: Settings) -> Engine:
    """make_engine(settings), or the latest one if it was made with the same settings."""
    if settings not in _engine:
        _engine.clear()
        gc.collect()  # traced functions and their network refer to each other
        _engine[settings] = make_engine(settings)
    return _engine[settings]


def make_engine(settings: Settings) -> Engine:
    """Builds and places a network; its graphs are traced at first use.

    Raises:
      UserError: the batch cannot be shared equally, or these devices cannot do what is asked.
    """
    step, strategy = settings.step, make_strategy(settings.devices, settings.strategy, settings.tpu)
    shares = strategy.num_replicas_in_sync * step.accumulate
    if step.batch_size % shares:
        parts = f"{strategy.num_replicas_in_sync} devices" + f" and {step.accumulate} micro-batches" * (
            step.accumulate > 1)
        raise UserError(f"--batch_size={step.batch_size} cannot be shared equally by {parts}: take a multiple of "
                        f"{shares}")
    if step.jit_compile and settings.sync_batch_norm and strategy.num_replicas_in_sync > 1:
        raise UserError("--jit_compile does not go with --sync_batch_norm on several devices: leave one out")

    def make_model():
        model = build_network(
            settings.network, num_classes=settings.num_classes, image_size=settings.image_size,
            bn_scale=settings.bn_scale, dropout=get_network(settings.network).dropout if settings.dropout else 0.0,
            auxiliary_head=settings.auxiliary_head, seed=step.seed, precision=settings.precision)
        # Micro-batches update the moving statistics once each: together they decay as one step does.
        set_batch_norm(model, momentum=settings.batch_norm_momentum ** (1 / step.accumulate),
                       synchronized=settings.sync_batch_norm)
        return model

    trainer = Trainer(strategy, make_model, step, make_schedule=WarmupDecay if settings.warmup else Cosine,
                      to_input=lambda batch: to_network(batch[0], settings.value_range, batch[1]))
    predictor = Predictor(strategy, lambda images: trainer.model(
        to_network(images, settings.value_range), training=False))
    return Engine(settings.network, trainer, predictor, trainer.weights())


def settings_of(spec: dict, options, *, classes: int, multi_label: bool, train_images: int) -> Settings:
    """The settings of the run that `spec` describes (results/record.py).

    Args:
      options: flag values, for what does not determine the outcome: which devices.
      train_images: images of the longest training, which set the batch-norm momentum.
    """
    step = Step(
        batch_size=spec["batch_size"], multi_label=multi_label, seed=spec["seed"], accumulate=spec["accumulate"],
        label_smoothing=spec.get("label_smoothing", 0.0), ema=spec.get("ema", 0.0),
        scale_loss=spec["precision"] == "mixed_float16", jit_compile=spec["jit_compile"],
        deterministic=spec["deterministic"])
    return Settings(
        network=spec["network"], num_classes=classes, image_size=spec["image_size"], value_range=spec["value_range"],
        bn_scale=spec["bn_scale"], dropout=spec.get("dropout", False),
        auxiliary_head=spec.get("auxiliary_head", False), precision=spec["precision"],
        batch_norm_momentum=paper.batch_norm_momentum(train_images, spec["batch_size"]),
        sync_batch_norm=spec["sync_batch_norm"], step=step, warmup="warmup_epochs" in spec,
        strategy=options.strategy, tpu=options.tpu, devices=options.devices)
