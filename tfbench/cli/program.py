"""The frame around one run: from flags to catalog rows and data, and from a row to the terminal."""

from typing import NamedTuple

from tfbench.cli import flags as cli
from tfbench.cli.progress import Display
from tfbench.data import manifests
from tfbench.data.catalog import Dataset
from tfbench.data.lookup import get_dataset
from tfbench.data.prepare import prepare
from tfbench.errors import UserError
from tfbench.models.catalog import Network
from tfbench.models.lookup import check_image_size, get_network, is_custom, weights_metadata
from tfbench.models.weights import CUSTOM, IMAGENET, imagenet_path
from tfbench.results import store
from tfbench.results.record import summary
from tfbench.sweep.plan import cost, matrix_rate


class Resolved(NamedTuple):
    """What a run's flags name.

    Attributes:
      network, dataset: catalog rows. manifest: of the prepared data.
      metadata: of the pretrained weights; None for a program without --weights.
    """

    network: Network
    dataset: Dataset
    manifest: dict
    metadata: dict | None


def resolve(options, progress, *, prepared_only: bool = False) -> Resolved:
    """Checks what `options` name and prepares the data set if it is an embedded one or a folder of the user's.

    Args:
      prepared_only: refuse a data set that is not prepared, whichever it is, and write nothing.

    Raises:
      UserError: this version cannot do it, or a folder cannot be written. Before TensorFlow is
        imported, except to prepare a data set and for a network of the user's own.
    """
    network = get_network(options.model)
    dataset = dataset_of(options)
    check_image_size(network, options.image_size or network.image_size)
    if not prepared_only:
        store.check_writable(options.results_dir)
    manifest = manifest_of(dataset, options.data_dir, prepared_only=prepared_only)
    metadata = weights_metadata(network, weights_path(options)) if "weights" in options else None
    return Resolved(network, dataset, manifest or make(dataset, options.data_dir, progress), metadata)


def dataset_of(options) -> Dataset:
    """The catalog row of --dataset, read as the flags say."""
    return get_dataset(options.dataset, options.data_dir, split_seed=options.split_seed,
                          difficult=options.voc_difficult, crop_banner=options.aircraft_banner == "crop")


def manifest_of(dataset: Dataset, data_dir, *, prepared_only: bool = False) -> dict | None:
    """The manifest of a data set; None for one that is still to be made, by `make`.

    Raises:
      UserError: it is not prepared, and programs do not prepare it by themselves or, with `prepared_only`, must not.
    """
    manifest = manifests.read(dataset, data_dir)
    if manifest is None and (prepared_only or not dataset.embedded and not dataset.source):
        raise manifests.unprepared(dataset, data_dir)
    return manifest


def make(dataset: Dataset, data_dir, progress) -> dict:
    """Prepares an embedded data set or a folder of the user's own; returns its manifest."""
    doing = "drawing the data set" if dataset.embedded else "checking and copying the images of"
    progress.line(f"{doing} {dataset.name} into {data_dir}")
    return prepare(dataset, data_dir)


def weights_path(options) -> str:
    """The weights file that --weights names; "own" for what a function of the user's own loads.

    Raises:
      UserError: the public weights of such a network.
    """
    if options.weights == IMAGENET:
        if is_custom(options.model):
            raise UserError(f"{options.model} has no public ImageNet weights: take --weights={CUSTOM} for those that it "
                            "loads itself, or --weights=FILE made by tfbench.pretrain")
        return str(imagenet_path(options.weights_dir, options.model))
    return options.weights


def run_each(regime: str, run, options) -> list[dict]:
    """Runs what `options` ask for, one after another, with a progress bar; says what came out and returns the rows."""
    rows = []
    for single in cli.single_runs(options):
        work = cost(regime, single, matrix_rate())
        images = work.trained + work.evaluated
        with Display(images) as progress:
            progress.run(f"{single.model} {single.dataset}", images, images)
            row, new = run(single, progress)
            progress.finish_run()
        tell(row, new, single)
        rows.append(row)
    return rows


def tell(row: dict, new: bool, options) -> None:
    """Says what came out, what to mind and where the row is."""
    print(summary(row))
    for warning in row["warnings"]:
        print(f"warning: {warning}")
    print(f"{'row' if new else 'finished before, nothing to do; row'}: "
          f"{store.record_path(options.results_dir, row['spec'])}")
