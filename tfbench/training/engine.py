"""A network on its devices, ready to train and predict; the latest is kept: the regimes share what is traced."""

import dataclasses
import gc

import numpy as np

from tfbench import paper
from tfbench.data.pipeline import to_network
from tfbench.errors import UserError
from tfbench.files import arrays
from tfbench.inputs import RunInputs
from tfbench.models.build import build_network, load_weights, set_batch_norm
from tfbench.models.catalog import Network
from tfbench.training.devices import kind_of, make_strategy
from tfbench.training.predictor import Predictor
from tfbench.training.schedules import Cosine, WarmupDecay
from tfbench.training.trainer import Step, Trainer

COPIES = 4  # of as many numbers as the weights, at least, in the memory of a host that trains


@dataclasses.dataclass(frozen=True)
class Engine:
    """A network on its devices: the traced training step, traced prediction, initial weights."""

    network: Network
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


_engines: dict[tuple, Engine] = {}  # the latest one


def shared_engine(inputs: RunInputs, train_images: int) -> Engine:
    """make_engine, or the latest engine if it was made for a run that traces the same graphs.

    Args:
      train_images: images of the longest training, which set the batch-norm momentum.
    """
    spec, dataset = inputs.spec, inputs.data.dataset
    momentum = paper.batch_norm_momentum(train_images, inputs.config.batch_size)
    key = (inputs.network, inputs.config.traced(), spec["image_size"], spec["value_range"], spec["bn_scale"], momentum,
           dataset.classes, dataset.multi_label, inputs.config.kind.search is None)
    if key not in _engines:
        _engines.clear()
        gc.collect()  # traced functions and their network refer to each other
        _engines[key] = make_engine(inputs, momentum)
    return _engines[key]


def make_engine(inputs: RunInputs, momentum: float) -> Engine:
    """Builds and places a network; its graphs are traced at first use.

    Args:
      momentum: decay of the batch-norm statistics in a step (paper.batch_norm_momentum).

    Raises:
      UserError: the batch cannot be shared equally, or these devices cannot do what is asked.
    """
    config, network, spec, dataset = inputs.config, inputs.network, inputs.spec, inputs.data.dataset
    arrays.check_memory(COPIES * 4 * network.parameters, f"{network.title}'s weights, momenta and gradients, and the "
                        "weights it starts from,")
    strategy = make_strategy(config.devices, config.strategy, config.tpu)
    replicas = strategy.num_replicas_in_sync
    if config.batch_size % (replicas * config.accumulate):
        parts = f"{replicas} devices"
        if config.accumulate > 1:
            parts += f" and {config.accumulate} micro-batches"
        raise UserError(f"--batch_size={config.batch_size} cannot be shared equally by {parts}: take a multiple of "
                        f"{replicas * config.accumulate}")
    if config.jit_compile and config.sync_batch_norm and replicas > 1:
        raise UserError("--jit_compile does not go with --sync_batch_norm on several devices: leave one out")

    def make_model():
        model = build_network(
            network, num_classes=dataset.classes, image_size=spec["image_size"], bn_scale=spec["bn_scale"],
            dropout=network.dropout if config.dropout else 0.0, auxiliary_head=config.auxiliary_head,
            drop_path=config.drop_path, seed=config.seed, precision=config.precision)
        # Micro-batches update the moving statistics once each: together they decay as one step does.
        set_batch_norm(model, momentum=momentum ** (1 / config.accumulate), synchronized=config.sync_batch_norm)
        return model

    value_range = spec["value_range"]
    step = Step(
        batch_size=config.batch_size, multi_label=dataset.multi_label, seed=config.seed, accumulate=config.accumulate,
        label_smoothing=config.label_smoothing, ema=config.ema, scale_loss=config.precision == "mixed_float16",
        jit_compile=config.jit_compile, deterministic=config.deterministic)
    trainer = Trainer(strategy, make_model, step, make_schedule=Cosine if config.kind.search else WarmupDecay,
                      to_input=lambda batch: to_network(batch[0], value_range, batch[1]))
    predictor = Predictor(strategy, lambda images: trainer.model(to_network(images, value_range), training=False))
    return Engine(network, trainer, predictor, trainer.weights())
