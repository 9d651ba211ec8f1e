"""The TFDS builders behind the data sets: TFDS's own, those of this package, and how one is run."""

import contextlib
import importlib
import io
import pathlib
import tarfile
import zipfile

from tfbench.data.catalog import Dataset
from tfbench.data.manifests import folder, unwritable
from tfbench.data.sources import SOURCES
from tfbench.errors import UserError

INFO = "dataset_info.json"  # the last file TFDS writes
OWN = ("birdsnap", "fgvc_aircraft")  # builders of this package besides those of the embedded sets
UNCHECKED = ("imagenet2012",)  # data sets whose builder takes the archives in the manual folder as they are


def make_builder(dataset: Dataset, data_dir):
    """The TFDS builder of a data set: one of tfbench.data, or TFDS's own."""
    import tensorflow_datasets as tfds

    name, version = dataset.tfds.split(":")
    base, _, config = name.partition("/")
    root = pathlib.Path(data_dir).expanduser()
    if dataset.embedded or base in OWN:  # module and class are named after the builder
        where = "embedded" if dataset.embedded else "builders"
        module = importlib.import_module(f"tfbench.data.{where}.{base}")
        own = getattr(module, "".join(part.capitalize() for part in base.split("_")))
        return own(data_dir=root, **({"config": config} if config else {}))
    if config == "standard-part1-full":  # TFDS only has SUN397 shrunk to 120,000 pixels
        from tensorflow_datasets.datasets.sun397 import sun397_dataset_builder as sun397

        return tfds.builder(base, data_dir=root, config=sun397.Sun397Config(
            name=config, version=tfds.core.Version(version), partition=1, target_pixels=None, quality=95,
            description="The first of the ten official partitions, images of their own size."))
    return tfds.builder(dataset.tfds, data_dir=root)


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
                force_checksums_validation=dataset.name in SOURCES))
    except (OSError, tf.errors.OpError, RuntimeError, *refusals) as error:
        if isinstance(error, RuntimeError) and isinstance(error.__cause__, OSError | tf.errors.OpError):
            error = error.__cause__  # TFDS says which split was being written
        if (folder(dataset, data_dir) / INFO).exists():
            return  # another process was first: the rename at the end failed, and its files are ours
        if isinstance(error, refusals) and not dataset.embedded and not dataset.source:
            raise UserError(f"{dataset.name} could not be prepared ({first_line(error)}): put the files that "
                            f"`python -m tfbench.prepare_data --dataset={dataset.name} --action=plan` lists into "
                            f"{downloads / 'manual'}, then run the same command again") from error
        if isinstance(error, OSError | tf.errors.OpError):
            raise unwritable(data_dir, error if isinstance(error, OSError)
                              else OSError(error.message)) from error
        raise


@contextlib.contextmanager
def quiet():
    """Without TFDS's progress bars, notes and warnings about itself: it is over in seconds."""
    import tensorflow_datasets as tfds
    from absl import logging

    tfds.disable_progress_bar()
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)


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
