"""The TFDS builders behind the data sets: TFDS's own, those of this package, and how one is run."""

import contextlib
import importlib
import io
import logging
import pathlib
import tarfile
import zipfile

from tfbench.data.catalog import Dataset
from tfbench.data.manifests import CURE, INFO, folder
from tfbench.errors import UserError
from tfbench.files import atomic


def make_builder(dataset: Dataset, data_dir):
    """The TFDS builder of a data set: one of tfbench.data, or TFDS's own."""
    import tensorflow_datasets as tfds

    if not dataset.builder:
        return tfds.builder(dataset.tfds, data_dir=pathlib.Path(data_dir).expanduser())
    module, _, name = dataset.builder.partition(":")
    config = dataset.tfds.partition(":")[0].partition("/")[2]
    return getattr(importlib.import_module(module), name)(
        data_dir=pathlib.Path(data_dir).expanduser(), **({"config": config} if config else {}))


def run(dataset: Dataset, data_dir, make, downloads) -> None:
    """Lets a TFDS builder prepare; where it fails, nothing half-made stays under the final name."""
    import tensorflow as tf
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
    from tensorflow_datasets.core.download.extractor import ExtractError

    downloads = pathlib.Path(downloads)
    refusals = (tfds.download.DownloadError, NonMatchingChecksumError, ExtractError, AssertionError,
                FileNotFoundError, EOFError, ValueError, KeyError, tarfile.TarError, zipfile.BadZipFile,
                tf.errors.NotFoundError, tf.errors.DataLossError, tf.errors.OutOfRangeError)
    try:
        (downloads / "manual").mkdir(parents=True, exist_ok=True)
        make().download_and_prepare(
            download_dir=downloads, file_format="tfrecord", download_config=tfds.download.DownloadConfig(
                manual_dir=downloads / "manual", try_download_gcs=False,
                force_checksums_validation=dataset.source is not None))
    except (OSError, tf.errors.OpError, RuntimeError, *refusals) as error:
        if isinstance(error, RuntimeError) and isinstance(error.__cause__, OSError | tf.errors.OpError):
            error = error.__cause__  # TFDS says which split was being written
        if (folder(dataset, data_dir) / INFO).exists():
            return  # another process was first: the rename at the end failed, and its files are ours
        if isinstance(error, refusals) and not dataset.prepared_on_demand:
            raise UserError(f"{dataset.name} could not be prepared ({first_line(error)}): put the files that "
                            f"`python -m tfbench.prepare_data --dataset={dataset.name} --action=plan` lists into "
                            f"{downloads / 'manual'}, then run the same command again") from error
        if isinstance(error, OSError | tf.errors.OpError):
            disk_error = error if isinstance(error, OSError) else OSError(error.message)
            raise atomic.cannot_write(data_dir, disk_error, CURE) from error
        raise


@contextlib.contextmanager
def quiet():
    """Without TFDS's progress bars, notes and warnings about itself: it is over in seconds."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    logger = logging.getLogger("absl")  # TFDS's
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def photographs(builder, *, description: str, homepage: str, citation: str):
    """The DatasetInfo of a set of named photographs of one class each."""
    import tensorflow_datasets as tfds

    return tfds.core.DatasetInfo(
        builder=builder, description=description, homepage=homepage, citation=citation,
        features=tfds.features.FeaturesDict({
            "id": tfds.features.Text(), "image": tfds.features.Image(), "label": tfds.features.ClassLabel()}),
        supervised_keys=("image", "label"), metadata=tfds.core.MetadataDict())
