"""Fetches the public ImageNet weights of a network, converts and evaluates them.

Writes WEIGHTS_DIR/NAME.weights.h5 and its metadata NAME.json, which the programs find as
--weights=imagenet. Finished weights are kept; an interrupted download goes on where it stopped.

  python -m tfbench.prepare_models --model=inception_v4
  python -m tfbench.prepare_models --model=inception_v4 --archive=inception_v4_2016_09_09.tar.gz
  python -m tfbench.prepare_models --model=resnet_50 --weights_source=keras
  python -m tfbench.prepare_models --model=inception_v4 --checkpoint=train/model.ckpt-1000 \\
      --output=mine.weights.h5
  python -m tfbench.prepare_models --model=inception_v4 --imagenet_val=/data/imagenet/val
"""

import pathlib
import tempfile
import time

from tfbench.cli import app
from tfbench.cli.progress import Display
from tfbench.config import FIELDS, WHAT, Setting
from tfbench.errors import UserError
from tfbench.files import atomic, downloads
from tfbench.files.paths import Path, Remote, as_path, is_address
from tfbench.models import weights
from tfbench.models.catalog import NETWORKS, VALUE_RANGES, Network
from tfbench.models.lookup import get_network, public_weights
from tfbench.models.public_weights import PublicWeights
from tfbench.results import record as records
from tfbench.wording import say

SOURCES = ("slim", "keras")
CURE = atomic.make_writable("--weights_dir")


SETTINGS = {
    "model": Setting(None, "name", "network whose ImageNet weights are fetched", WHAT, choices=NETWORKS,
                     required=True, alias="models"),
    "weights_source": Setting(None, "choice", "whose weights: TF-Slim's checkpoint or Keras Applications' file; unset: "
                              "TF-Slim's where there is one (DenseNets: Keras's)", WHAT, choices=SOURCES,
                              alias="source"),
    "archive": Setting(None, "text", "the public file if it is on this machine already; unset: it is downloaded into "
                       "WEIGHTS_DIR/downloads, or found there (of the default folder if WEIGHTS_DIR is an address)",
                       WHAT),
    "checkpoint": Setting(None, "text", "a TensorFlow checkpoint in the original naming instead of the public one: the "
                          "file (V1) or the prefix (V2), a folder, a SavedModel, a frozen graph, or an .h5 file of "
                          "Keras Applications", WHAT),
    "output": Setting(None, "text", "weights file to write, ending in .weights.h5; unset: WEIGHTS_DIR/NAME.weights.h5; "
                      "required with --checkpoint", WHAT),
    "imagenet_val": Setting(None, "text", "evaluate the weights on these ImageNet validation images: a folder of "
                            "images by class, or a TFDS data folder with imagenet2012", WHAT),
    "batch_size": Setting(64, "integer", "images per step of that evaluation (our choice)", WHAT, minimum=1),
    "weights_dir": FIELDS["weights_dir"],
}


def output_path(options) -> Path:
    """Where the weights go.

    Raises:
      UserError: --checkpoint without a well-formed --output.
    """
    if options.checkpoint and not options.output:
        raise UserError("--checkpoint needs --output=FILE.weights.h5: the folder of public weights is not for others")
    if options.output and not options.output.endswith(weights.ENDING):
        raise UserError(f"--output={options.output} must end in {weights.ENDING}")
    return as_path(options.output) if options.output else weights.imagenet_path(
        options.weights_dir, options.model)


def obtain(options, network: Network, public: PublicWeights) -> tuple[pathlib.Path, dict]:
    """The public file, downloaded if need be.

    Returns:
      (its path, what the metadata says of it).
    """
    local = FIELDS["weights_dir"].default if is_address(options.weights_dir) else options.weights_dir
    path = pathlib.Path(options.archive) if options.archive else (
        pathlib.Path(local).expanduser() / "downloads" / pathlib.PurePosixPath(public.url).name)
    if options.archive or path.exists():
        sha256 = downloads.check(path, size=public.size, checksum=public.checksum, cure="correct --archive, or replace "
                                 "it by the public file (its address is in tfbench/models/catalog.py)")
    else:
        say(f"fetching {public.url}")
        size = public.size or 4 * network.parameters  # bytes, about, where the size is unknown
        with Display(size) as progress:
            progress.run(path.name, size, size)
            sha256 = downloads.download(public.url, path, size=public.size, checksum=public.checksum,
                                    report=progress.images,
                                    manual=", or name it with --archive=FILE", cure=CURE)
    return path, {"url": public.url, "file": path.name, "file_sha256": sha256, "checksum_known": public.checksum}


def convert(options, network: Network, public: PublicWeights, path: Path) -> dict:
    """Makes the weights file and its metadata from the public file or --checkpoint.

    Returns:
      The metadata.
    """
    start = time.monotonic()
    facts: dict[str, object]
    if options.checkpoint:
        file, origin = as_path(options.checkpoint), {"checkpoint": options.checkpoint}
        facts = {"accuracy": None, "n_test": None, "accuracy_is": "unknown", "source": "slim",
                 "value_range": network.value_range}
    else:
        file, origin = obtain(options, network, public)
        facts = {"accuracy": public.top1, "n_test": 50_000, "accuracy_is": "published", "source": public.source,
                 "value_range": public.value_range, "image_size": public.eval_size, "crop": public.crop}

    from tfbench.models import checkpoints, keras_files  # TensorFlow, only now that there is something to convert
    from tfbench.models import convert as conversion

    said: tuple[str, ...] = ()
    if options.checkpoint and checkpoints.is_hdf5(file):
        tensors = keras_files.read(network, file)
        keras = public_weights(network, "keras")
        facts |= {"source": "keras", "value_range": keras.value_range}
        said = (f"{file.name} is a weights file of Keras Applications, for {VALUE_RANGES[keras.value_range]}",)
    elif options.checkpoint:
        found = checkpoints.read(file)
        tensors, said = found.tensors, (found.taken,)
    elif public.source == "keras":
        tensors = keras_files.read(network, file)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        here = None if isinstance(path, Remote) else path.parent
        with tempfile.TemporaryDirectory(dir=here, prefix=".unpacked-") as folder:
            archive = downloads.unpack(file, f"{folder}/archive", cure=CURE, checked=bool(public.checksum))
            tensors = checkpoints.read(checkpoints.find(str(archive))).tensors
    read = time.monotonic()
    taken = conversion.take(network, tensors)
    model = conversion.build_for(network, taken.tensors)
    built = time.monotonic()
    account = conversion.assign(model, taken.tensors)
    if taken.elsewhere:
        account["not_needed"]["outside of the scope"] = taken.elsewhere
    if options.checkpoint:
        if taken.classes not in (1000, 1001):
            facts["dataset"] = "unknown"
        say("; ".join((*said, *taken.words, conversion.which_values(account))))
    weights.save(model, path, {"network": network.name, "dataset": "imagenet", "metric": "top1", **facts, **origin,
                               **account, "versions": records.versions()},
                 cure=f"{atomic.make_writable()}, or choose another --output" if options.output else CURE,
                 classifier=taken.classes is not None)
    say(f"{account['tensors_used']} tensors ({account['averaged']} moving averages) into {path}: read in "
          f"{read - start:.1f} s, network built in {built - read:.1f} s, converted in "
          f"{time.monotonic() - built:.1f} s")
    for why, number in account["not_needed"].items():
        say(f"  not needed: {number} tensors ({why})")
    return weights.read_metadata(path, network)


def evaluate_weights(options, network: Network, public: PublicWeights, path: Path, metadata: dict) -> None:
    """Evaluates the weights on ImageNet validation images and adds the outcome to the metadata."""
    from tfbench.models import imagenet
    from tfbench.models.build import build_network

    if metadata["classes"] is None:
        raise UserError(f"{path} has no classifier to evaluate: leave out --imagenet_val")
    images = imagenet.read(options.imagenet_val)
    model = build_network(network, weights=str(path), image_size=public.eval_size)
    with Display(len(images.labels)) as progress:
        progress.run(f"{network.name} on ImageNet validation images", len(images.labels), len(images.labels))
        result = imagenet.evaluate(model, images, public, value_range=metadata["value_range"],
                                   batch_size=options.batch_size, report=progress.images)
    if result["n"] == imagenet.VALIDATION_IMAGES:
        metadata |= {"accuracy": result["top1"], "accuracy_is": "certified", "n_test": result["n"]}
    atomic.write_json(weights.metadata_path(path), metadata | {"imagenet": result}, cure=CURE)
    say(imagenet.describe(result))


def main(options) -> None:
    path = output_path(options)
    network = get_network(options.model)
    public = public_weights(network, options.weights_source)
    if path.exists() and not options.checkpoint:
        metadata = weights.read_metadata(path, network)
        if options.weights_source and metadata["source"] != options.weights_source:
            raise UserError(f"{path} was made from {metadata['source']}: delete it, or choose another --output")
        say(f"prepared before: {path}")
    else:
        metadata = convert(options, network, public, path)
    if options.imagenet_val:
        evaluate_weights(options, network, public, path, metadata)
    say(f"metadata: {weights.metadata_path(path)}")


if __name__ == "__main__":
    app.start("prepare_models", __doc__, SETTINGS, main,
              again=lambda options: "the same command goes on with the download")
