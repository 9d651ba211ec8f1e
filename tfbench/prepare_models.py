"""Fetches the public ImageNet weights of networks, converts and evaluates them.

Writes WEIGHTS_DIR/NAME.weights.h5 and its metadata NAME.json, which the programs find as
--weights=imagenet. Finished weights are kept; an interrupted download goes on where it stopped.
Of several networks the files are fetched first, some at once. What one of them meets does not stop
the others: at the end stands what is missing and why, and the same command fetches only that.

  python -m tfbench.prepare_models --model=inception_v4
  python -m tfbench.prepare_models --model=small,resnet_*
  python -m tfbench.prepare_models --model=all --action=status
  python -m tfbench.prepare_models --model=inception_v4 --archive=inception_v4_2016_09_09.tar.gz
  python -m tfbench.prepare_models --model=resnet_50 --weights_source=keras
  python -m tfbench.prepare_models --model=inception_v4 --checkpoint=train/model.ckpt-1000 \\
      --output=mine.weights.h5
  python -m tfbench.prepare_models --model=inception_v4 --imagenet_val=/data/imagenet/val
"""

import gc
import pathlib
import tempfile
import time

from tfbench.cli import app
from tfbench.cli.fetch import fetch_all, tell_missing
from tfbench.cli.progress import Display
from tfbench.config import FIELDS, WHAT, Setting
from tfbench.errors import UserError
from tfbench.files import atomic, downloads
from tfbench.files.fetching import Wanted
from tfbench.files.paths import Path, Remote, as_path, is_address
from tfbench.models import weights
from tfbench.models.catalog import VALUE_RANGES, Network
from tfbench.models.lookup import download_bytes, get_network, is_custom, public_weights
from tfbench.models.public_weights import PublicWeights
from tfbench.results import record as records
from tfbench.wording import aligned, count, megabytes, say

SOURCES = ("slim", "keras")
CURE = atomic.make_writable("--weights_dir")


SETTINGS = {
    "model": Setting(None, "networks", "networks whose ImageNet weights are fetched, comma-separated: names, patterns "
                     "such as resnet_*, groups, or `all`", WHAT, required=True, alias="models"),
    "action": Setting("prepare", "choice", "prepare: fetch and convert; status: say what is there, what is missing and "
                      "its size", WHAT, choices=("prepare", "status")),
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


def check(options) -> None:
    """Raises UserError for flags that do not go together, or a network without public weights."""
    if options.checkpoint and not options.output:
        raise UserError("--checkpoint needs --output=FILE.weights.h5: the folder of public weights is not for others")
    if options.output and not options.output.endswith(weights.ENDING):
        raise UserError(f"--output={options.output} must end in {weights.ENDING}")
    for name in ("archive", "checkpoint", "output"):
        if getattr(options, name) and len(options.model) > 1:
            raise UserError(f"--{name} is a file of one network, --model has {len(options.model)}: name one, or leave "
                            f"--{name} out")
    for name in options.model:
        if is_custom(name):
            raise UserError(f"{name} is a custom network, which loads its weights itself: --model takes those of "
                            "`python -m tfbench list`")


def output_path(options, name: str) -> Path:
    """Where the weights of a network go."""
    return as_path(options.output) if options.output else weights.imagenet_path(options.weights_dir, name)


def archive_path(options, public: PublicWeights) -> pathlib.Path:
    """Where the public file lies, or will."""
    if options.archive:
        return pathlib.Path(options.archive)
    local = FIELDS["weights_dir"].default if is_address(options.weights_dir) else options.weights_dir
    return pathlib.Path(local).expanduser() / "downloads" / pathlib.PurePosixPath(public.url).name


def wanted_file(options, network: Network, public: PublicWeights) -> Wanted:
    """The public file as one to fetch."""
    return Wanted(public.url, archive_path(options, public), download_bytes(network, public), public.size,
                  public.checksum, ", or name it with --archive=FILE")


def obtained(options, public: PublicWeights, fetched: dict) -> tuple[pathlib.Path, dict]:
    """The public file, which is there or was fetched now.

    Args:
      fetched: as cli.fetch.fetch_all returns it.

    Returns:
      (its path, what the metadata says of it).
    """
    path = archive_path(options, public)
    outcome = fetched.get(path)
    if isinstance(outcome, UserError):
        raise outcome
    mend = ("correct --archive" if options.archive else "move it elsewhere and run the same command again to fetch it "
            "anew") + " (its address is in tfbench/models/catalog.py)"
    sha256 = outcome or downloads.check(path, size=public.size, checksum=public.checksum, cure=mend)
    return path, {"url": public.url, "file": path.name, "file_sha256": sha256, "checksum_known": public.checksum}


def convert(options, network: Network, public: PublicWeights, path: Path, fetched: dict) -> dict:
    """Makes the weights file and its metadata from the public file or --checkpoint.

    Args:
      fetched: as of `obtained`.

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
        file, origin = obtained(options, public, fetched)
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


def read_prepared(options, network: Network) -> dict | None:
    """The metadata of weights that are there, None where they are not.

    Raises:
      UserError: they are damaged, or made from another public file than asked for.
    """
    path = output_path(options, network.name)
    if options.checkpoint or not path.exists():
        return None
    metadata = weights.read_metadata(path, network)
    if options.weights_source and metadata.get("source") != options.weights_source:
        raise UserError(f"{path} was made from {metadata.get('source')}: move it and "
                        f"{weights.metadata_path(path).name} elsewhere, or choose another --output")
    return metadata


def prepare_all(options) -> dict[str, UserError]:
    """Fetches the public files of networks, then converts them one after another; whatever one of them meets.

    Returns:
      network -> why its weights are not there, of those that could not be had.
    """
    left: dict[str, tuple[Network, PublicWeights, dict | None]] = {}
    failed: dict[str, UserError] = {}
    for name in options.model:
        try:
            network = get_network(name)
            left[name] = network, public_weights(network, options.weights_source), read_prepared(options, network)
        except UserError as error:
            failed[name] = error
    files = [wanted_file(options, network, public) for network, public, metadata in left.values()
             if metadata is None and not options.checkpoint]
    fetched = fetch_all([file for file in files if not options.archive and not file.path.exists()], cure=CURE)
    for name, (network, public, metadata) in left.items():
        path = output_path(options, name)
        try:
            if metadata is not None:
                say(f"prepared before: {path}")
            else:
                metadata = convert(options, network, public, path, fetched)
            if options.imagenet_val:
                evaluate_weights(options, network, public, path, metadata)
            say(f"metadata: {weights.metadata_path(path)}")
        except UserError as error:
            failed[name] = error
        if len(left) > 1:
            gc.collect()  # the network that was converted
    return failed


def status(options) -> list[str]:
    """A table of what is there and what is missing, a line per network, then what is left to do."""
    rows = [("network", "weights", "size", "from", "ImageNet top-1")]
    there, left, faults = 0, {}, []
    for name in options.model:
        network = get_network(name)
        path, source, state, size, top1 = output_path(options, name), "", "missing", "", None
        try:
            public = public_weights(network, options.weights_source)
            file = wanted_file(options, network, public)
            source, top1, size = public.source, public.top1, f"{'' if public.size else 'about '}{megabytes(file.about)}"
            if metadata := read_prepared(options, network):
                there += 1
                state, source, top1 = "there", metadata.get("source", ""), metadata["accuracy"]
                size = megabytes(path.stat().st_size)
            else:
                state = "fetched, not converted" if file.path.exists() else "missing"
                left[file.path] = 0 if file.path.exists() else file.left
                if state == "missing" and file.left < file.about:
                    state = "fetched in part"
        except UserError as error:
            state = "not usable"
            faults.append(f"{name}: {error}")
        rows.append((name, state, size, source, "" if top1 is None else f"{100 * top1:.1f} %"))
    lines = [*aligned(rows), f"{there} of {count(len(options.model), 'network')} there in {options.weights_dir}"]
    if missing := len(options.model) - there - len(faults):
        lines.append(f"{missing} missing, about {megabytes(sum(left.values()))} to fetch: the same command without "
                     "--action=status does it")
    return lines + faults


def main(options) -> int | None:
    check(options)
    if options.action == "status":
        for line in status(options):
            say(line)
        return None
    failed = prepare_all(options)
    if failed and len(options.model) == 1:
        raise failed[options.model[0]]
    if failed:
        tell_missing(failed, len(options.model), "network")
        return 1
    if len(options.model) > 1:
        say(f"{count(len(options.model), 'network')} there in {options.weights_dir}")
    return None


if __name__ == "__main__":
    app.start("prepare_models", __doc__, SETTINGS, main,
              again=lambda options: "" if options.action == "status" else "the same command goes on with the downloads")
