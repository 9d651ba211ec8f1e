"""RunInputs: what a config names, looked up once – network, prepared data set, pretrained weights."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from tfbench.config import RunConfig, settings_of
from tfbench.data.catalog import Dataset
from tfbench.data.examples import PreparedDataset, find_dataset, open_dataset
from tfbench.data.lookup import get_dataset
from tfbench.data.prepare import prepare
from tfbench.errors import UserError
from tfbench.files.atomic import check_writable, make_writable, patiently
from tfbench.files.paths import as_path
from tfbench.models.catalog import Network
from tfbench.models.lookup import check_image_size, check_switches, get_network, is_custom, weights_metadata
from tfbench.models.weights import CUSTOM, IMAGENET, imagenet_path
from tfbench.regimes import PRETRAIN


@dataclasses.dataclass(frozen=True)
class RunInputs:
    """A config with what it names.

    Attributes:
      config: of a single run.
      network: of the catalog, or a custom one.
      data: the prepared data set.
      weights: file of the pretrained weights, or "own" for those that a custom network loads; None for random ones.
      metadata: of these weights; None for random ones.
      subset_images: that a run on few examples trains on; None where it trains on all.
      tracker: whom training tells how far it is (results/tracking.py); None: nobody.
    """

    config: RunConfig
    network: Network
    data: PreparedDataset
    weights: str | None
    metadata: dict | None
    subset_images: int | None = None
    tracker: Any = None

    @functools.cached_property
    def spec(self) -> dict:
        """All that determines the run's outcome (RunConfig.spec)."""
        return self.config.spec(self.network, self.data.dataset, self.data.manifest, self.metadata,
                                self.subset_images)


def resolve(config: RunConfig, progress, *, patient: bool = False) -> RunInputs:
    """Looks up what a single run names; prepares a data set that is drawn or a folder.

    A config that is refused leaves nothing behind.

    Args:
      patient: whether to wait for a results folder that cannot be written (atomic.patiently).

    Raises:
      UserError: something is not there or does not go together, or a folder cannot be written. TensorFlow is not
        imported before, except to prepare a data set and for a custom network.
    """
    network = network_of(config)
    if network.custom:
        progress.line(network.taken)
    dataset = dataset_of(config)
    data = (find_dataset if dataset.prepared_on_demand else open_dataset)(dataset, config.data_dir)
    weights, metadata = weights_of(config, network)
    check = functools.partial(check_writable, as_path(config.results_dir) / "rows", cure=make_writable("--results_dir"))
    patiently(check) if patient else check()
    data = data or prepare_data(config, dataset, progress)
    config, images = settle(config, data)
    return RunInputs(config, network, data, weights, metadata, images)


def prepare_data(config: RunConfig, dataset: Dataset, progress) -> PreparedDataset:
    """The prepared data set; one that is drawn, or a folder, is prepared first.

    Raises:
      UserError: another one is not prepared.
    """
    data = find_dataset(dataset, config.data_dir)
    if data is None and dataset.prepared_on_demand:
        doing = "drawing the data set" if dataset.embedded else "checking and copying the images of"
        progress.line(f"{doing} {dataset.name} into {config.data_dir}")
        for note in prepare(dataset, config.data_dir).get("reading", ()):
            progress.line(f"  {note}")
    return data or open_dataset(dataset, config.data_dir)


def resolve_prepared(config: RunConfig, known: dict[Any, Any]) -> RunInputs:
    """Looks up what a single run names where all of it is there; writes nothing.

    Args:
      known: {} at first. It keeps what was read, so that thousands of runs read each file once.

    Raises:
      UserError: something is not there.
    """
    def once(key: tuple, read: Callable[[], Any]):
        if key not in known:
            known[key] = read()
        return known[key]

    network = once(("network", config.regime, config.model), lambda: network_of(config))
    data = once(("data", *reading_of(config)),
                lambda: open_dataset(dataset_of(config), config.data_dir))
    weights, metadata = once(("weights", config.kind.pretrained, config.model, config.weights, config.weights_dir),
                             lambda: weights_of(config, network))
    config, images = settle(config, data)
    return RunInputs(config, network, data, weights, metadata, images)


def settle(config: RunConfig, data: PreparedDataset) -> tuple[RunConfig, int | None]:
    """The config of a single run as RunConfig.settled makes it, and its RunInputs.subset_images.

    Raises:
      UserError: a class has not so many examples.
    """
    if not config.examples_per_class:
        return config.settled(data.manifest["splits"]["train"]["n"]), None
    images = data.subset_images(config.examples_per_class[0], config.subset_seeds[0])
    return config.settled(images), images


def network_of(config: RunConfig) -> Network:
    """The network that a config names.

    Raises:
      UserError: there is none, the images are too small for it, or its definition lacks what a switch asks for.
    """
    network = get_network(config.model)
    check_image_size(network, config.image_size or network.image_size)
    check_switches(network, **config.switches)
    own = settings_of(config.kind).get("bn_scale")
    if network.builder == "untouched" and own and config.bn_scale != own.default:
        raise UserError(f"{network.name} is taken with its own batch norm: leave out --{'no' * (not config.bn_scale)}"
                        "bn_scale")
    return network


def reading_of(config: RunConfig) -> tuple:
    """What of a config decides which data set it is and how it is read: runs of one tuple share it."""
    return (config.regime == PRETRAIN.name, config.dataset, config.data_dir, config.split_seed, config.voc_difficult,
            config.aircraft_banner, config.metric)


def dataset_of(config: RunConfig) -> Dataset:
    """The data set that a config names, to be read as it says.

    Raises:
      UserError: there is none, or the kind of run cannot use it.
    """
    dataset = get_dataset(config.dataset, config.data_dir, split_seed=config.split_seed, difficult=config.voc_difficult,
                          crop_banner=config.aircraft_banner == "crop", metric=config.metric)
    if config.regime != PRETRAIN.name:
        if not dataset.validation and dataset.custom:
            raise UserError(f"{dataset.name} has too few training images ({dataset.train}) to hold some out for "
                            f"validation, on which {config.regime} chooses: add images")
        if not dataset.validation:
            raise UserError(f"{dataset.name} has no validation split for {config.regime} to choose on, it is to "
                            "pretrain on only: take another --dataset, or `python -m tfbench.pretrain "
                            f"--dataset={dataset.name}`")
    elif config.select_steps and not (dataset.validation or dataset.selection):
        raise UserError(f"{dataset.name} has no images for --select_steps to choose on: take --steps or --epochs")
    elif dataset.multi_label:
        raise UserError("pretrain takes a data set with one label per image, e.g. --dataset=glyphs; "
                        f"{dataset.name} has several")
    return dataset


def weights_of(config: RunConfig, network: Network) -> tuple[str | None, dict | None]:
    """The file of the pretrained weights and their metadata; (None, None) for random ones."""
    if not config.kind.pretrained:
        return None, None
    weights = weights_path(config)
    metadata = weights_metadata(network, weights)
    if config.bn_scale is False and metadata["bn_scale"]:
        raise UserError(f"--nobn_scale would drop the batch-norm scales that {weights} has: leave it out, or take "
                        f"weights that `python -m tfbench.pretrain --model={network.name} --nobn_scale` made")
    return weights, metadata


def weights_path(config: RunConfig) -> str:
    """The weights file that --weights names; "own" for what a custom network loads.

    Raises:
      UserError: public weights of a custom network.
    """
    if config.weights and config.weights != IMAGENET:
        return config.weights
    if is_custom(config.model):
        raise UserError(f"{config.model} has no public ImageNet weights: take --weights={CUSTOM} for those that it "
                        "loads itself, or --weights=FILE made by tfbench.pretrain")
    return str(imagenet_path(config.weights_dir, config.model))
