"""What a study lacks before it can run: what is to be fetched, how large it is, and what must be brought by hand."""

import dataclasses

from tfbench.data import manifests
from tfbench.data.lookup import get_dataset
from tfbench.data.sources import sizes
from tfbench.models.catalog import NETWORKS
from tfbench.models.lookup import download_bytes, is_custom, public_weights
from tfbench.models.weights import IMAGENET, imagenet_path
from tfbench.wording import count, megabytes


@dataclasses.dataclass(frozen=True)
class Lack:
    """One data set that is not prepared, or a network without weights.

    Attributes:
      name: of the data set or network. folder: --data_dir or --weights_dir.
      weights: whether it is a network.
      bytes: to fetch; of weights about.
      unknown: number of archives to fetch whose size nobody knows.
      by_hand: what a person must do first, in words; "" where it can be fetched.
    """

    name: str
    folder: str
    weights: bool
    bytes: int
    unknown: int = 0
    by_hand: str = ""


def of_study(options, runs) -> list[Lack]:
    """What a study lacks; what programs prepare by themselves is not lacking.

    Args:
      options: of the study program. runs: its jobs.Run.
    """
    names = dict.fromkeys([*options.datasets, *([] if options.source == IMAGENET else [options.source])])
    found = []
    for name in names:
        dataset = get_dataset(name, options.data_dir)
        if dataset.prepared_on_demand or manifests.read(dataset, options.data_dir) is not None:
            continue
        fetched, by_hand = manifests.absent_archives(dataset, options.data_dir)
        if manifests.in_tfds_format(dataset, options.data_dir):
            fetched, by_hand = [], []
        told = ""
        if by_hand and dataset.source:
            told = (f"{sizes(by_hand)}: {', '.join(file.name for file in by_hand)} into "
                    f"{manifests.manual_folder(options.data_dir)}. {dataset.source.note}")
        found.append(Lack(name, options.data_dir, False, sum(file.size for file in fetched),
                          sum(not file.size for file in fetched), told))
    folders = dict.fromkeys((run.config.model, run.config.weights_dir) for run in runs
                            if options.source == IMAGENET and run.config.kind.pretrained)
    for network, folder in folders:
        if is_custom(network) or imagenet_path(folder, network).exists():
            continue
        if NETWORKS[network].weights:
            size = download_bytes(NETWORKS[network], public_weights(NETWORKS[network]))
            found.append(Lack(network, folder, True, size))
        else:
            found.append(Lack(network, folder, True, 0, 0, "none are public: leave it out, or take --source=glyphs"))
    return found


def arguments(lacks: list[Lack]) -> tuple[str, list[str]]:
    """The program that prepares data sets, or weights, of one folder, and its flags."""
    program, flag, place = "prepare_data", "dataset", "data_dir"
    if lacks[0].weights:
        program, flag, place = "prepare_models", "model", "weights_dir"
    return program, [f"--{flag}={','.join(lack.name for lack in lacks)}", f"--{place}={lacks[0].folder}"]


def command(lacks: list[Lack]) -> str:
    """What a person types for that."""
    program, flags = arguments(lacks)
    return " ".join([f"python -m tfbench.{program}", *flags])


def groups(lacks: list[Lack]) -> list[list[Lack]]:
    """Those that can be fetched, by what one command prepares: all data sets, and the weights of each folder."""
    parts: dict[tuple[bool, str], list[Lack]] = {}
    for lack in lacks:
        if not lack.by_hand:
            parts.setdefault((lack.weights, lack.folder), []).append(lack)
    return list(parts.values())


def size(lacks: list[Lack]) -> str:
    """What is to be fetched for some of them, in words: "2.2 GB and 1 file of unknown size"."""
    total, unknown = (sum(getattr(lack, name) for lack in lacks if not lack.by_hand) for name in ("bytes", "unknown"))
    return megabytes(total) + (f" and {count(unknown, 'file')} of unknown size" if unknown else "")


def lines(lacks: list[Lack]) -> list[str]:
    """A line for each command that fetches, and for each that a person must bring; the first word says which."""
    fetched = groups(lacks)
    result = []
    for part in fetched:
        what = f"weights of {count(len(part), 'network')}, about" if part[0].weights else (
            f"{count(len(part), 'data set')},")
        result.append(f"to fetch        {what} {size(part)}: {command(part)}")
    if fetched:
        result.append(f"                about {size(lacks)} in all; --prepare does it before the study starts")
    for lack in lacks:
        if lack.by_hand and lack.weights:
            result.append(f"missing         weights of {lack.name}: {lack.by_hand}")
        elif lack.by_hand:
            result.append(f"by hand         {lack.name}, {lack.by_hand} Then {command([lack])}")
    return result
