"""Flags that several programs share, defined once, in functions that a program calls by name.

Each function defines its flags on the `flag_values` it is given: a program's own on absl's global
FLAGS when it is the main module; the study on fresh FlagValues per run. Defaults are the paper's
(arXiv 1805.08974v3). absl takes the last occurrence of a flag: flagfile first, overrides after.
"""

import difflib
import math

from absl import flags

from tfbench.data import find
from tfbench.data.catalog import DATASETS
from tfbench.models.catalog import NETWORKS

flags.disclaim_key_flags()  # `--help` of a program lists these flags as the program's own


class NameParser(flags.ArgumentParser):
    """A name out of a table; an unknown one is refused with the nearest that exists."""

    syntactic_help = "a name"

    def __init__(self, kind: str, names):
        super().__init__()
        self.kind, self.names = kind, tuple(names)

    def parse(self, argument):
        if argument in self.names:
            return argument
        near = difflib.get_close_matches(str(argument).lower(), self.names, n=1, cutoff=0)
        raise ValueError(f"there is no {self.kind} {argument!r}, did you mean {near[0]!r}? "
                         f"Known: {', '.join(self.names)}")


class DatasetParser(NameParser):
    """A row of DATASETS, or a data set of the user's own (data/find.py); `more` are further names."""

    def __init__(self, more=()):
        super().__init__("data set", (*DATASETS, *more))

    def parse(self, argument):
        if argument.startswith((find.FOLDER, find.TFDS)) and not argument.endswith(":"):
            return argument  # whether it exists is for data/find.py to say
        return super().parse(argument)


class ListParser(flags.ArgumentParser):
    """Comma-separated values, each of which `item` parses."""

    syntactic_help = "comma-separated names"

    def __init__(self, item: flags.ArgumentParser):
        super().__init__()
        self.item = item

    def parse(self, argument):
        if not isinstance(argument, str):
            return tuple(argument)
        return tuple(self.item.parse(name.strip()) for name in argument.split(","))


class NumbersParser(flags.ArgumentParser):
    """Comma-separated finite numbers, none below `minimum`, none twice."""

    syntactic_help = "comma-separated numbers"

    def __init__(self, minimum: float, *, inclusive: bool):
        super().__init__()
        self.minimum, self.inclusive = minimum, inclusive

    def parse(self, argument):
        items = argument.split(",") if isinstance(argument, str) else argument
        try:
            numbers = tuple(float(item) for item in items)
        except ValueError:
            raise ValueError(f"expected comma-separated numbers, found {argument!r}") from None
        least = "at least" if self.inclusive else "above"
        for number in numbers:
            if not math.isfinite(number) or number < self.minimum or (
                    number == self.minimum and not self.inclusive):
                raise ValueError(f"every number must be {least} {self.minimum:g}, found {number:g}")
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"a number stands twice in {argument!r}")
        return numbers


class _CommaSerializer(flags.ArgumentSerializer):
    def serialize(self, value):
        return ",".join(item if isinstance(item, str) else repr(item) for item in value)


def define_names(name, default, help_text, kind, table, flag_values):
    """Defines a flag that takes comma-separated names out of `table`."""
    flags.DEFINE(ListParser(NameParser(kind, table)), name, default, help_text, flag_values=flag_values,
                 serializer=_CommaSerializer())


def define_numbers(name, default, help_text, flag_values, *, minimum=0.0, inclusive=True):
    """Defines a flag that takes comma-separated numbers; its value is a tuple of floats."""
    flags.DEFINE(NumbersParser(minimum, inclusive=inclusive), name, default, help_text,
                 flag_values=flag_values, serializer=_CommaSerializer())


def define_name(name, default, help_text, kind, table, flag_values):
    """Defines a flag that takes one name out of `table`."""
    flags.DEFINE(NameParser(kind, table), name, default, help_text, flag_values=flag_values,
                 serializer=flags.ArgumentSerializer())


OWN_DATASETS = ("folder:PATH (PATH/CLASS/*.jpg, or the same in train/, val/ and test/ there) or tfds:NAME for one of "
                "your own")


def define_dataset(fv, *, more=(), text: str = "", required: bool = True) -> None:
    """--dataset."""
    flags.DEFINE(DatasetParser(more), "dataset", None, f"data set, a row of DATASETS{text}; {OWN_DATASETS}",
                 flag_values=fv, serializer=flags.ArgumentSerializer())
    if required:
        flags.mark_flags_as_required(["dataset"], flag_values=fv)


def define_datasets(fv) -> None:
    """--datasets, required: several, comma-separated."""
    flags.DEFINE(ListParser(DatasetParser()), "datasets", None, f"target data sets, comma-separated: rows of DATASETS, "
                 f"{OWN_DATASETS}", flag_values=fv, serializer=_CommaSerializer())
    flags.mark_flags_as_required(["datasets"], flag_values=fv)


def define_run_flags(fv=flags.FLAGS, *, required: bool = True) -> None:
    """--model --dataset, how and where a regime computes."""
    define_name("model", None, "network, a row of NETWORKS", "network", NETWORKS, fv)
    if required:
        flags.mark_flags_as_required(["model"], flag_values=fv)
    define_dataset(fv, required=required)
    define_reading_flags(fv)
    define_machine_flags(fv)
    define_folder_flags(fv)


def define_reading_flags(fv=flags.FLAGS) -> None:
    """--split_seed --voc_difficult --aircraft_banner."""
    flags.DEFINE_integer("split_seed", 0, "chooses which images are held out where a data set has no split of its own, "
                         "and Caltech-101's 30 per class (the paper's choice is not published)", lower_bound=0,
                         flag_values=fv)
    flags.DEFINE_enum("voc_difficult", "ignore", ["ignore", "negative", "positive"], "what an object that VOC2007 "
                      "calls difficult counts as in training and testing (ignore: the official scoring; the paper does "
                      "not say)", flag_values=fv)
    flags.DEFINE_enum("aircraft_banner", "keep", ["keep", "crop"], "the credit line of 20 pixels in FGVC Aircraft's "
                      "images (its rules ask for its removal; the paper does not say)", flag_values=fv)


def define_machine_flags(fv=flags.FLAGS) -> None:
    """--image_size --batch_size --seed --deterministic --devices."""
    flags.DEFINE_integer("image_size", None, "side of the square input in pixels; unset: the network's own "
                         "ImageNet size (v3 section 3)", lower_bound=1, flag_values=fv)
    flags.DEFINE_integer("batch_size", 256, "images per step over all devices (v3 appendix A.5)",
                         lower_bound=1, flag_values=fv)
    flags.DEFINE_integer("seed", 0, "initial weights, order of the images and augmentation follow from it",
                         lower_bound=0, upper_bound=2**32 - 1, flag_values=fv)
    flags.DEFINE_boolean("deterministic", False, "deterministic TensorFlow operations: the same bits every "
                         "time on the same machine, slower", flag_values=fv)
    flags.DEFINE_integer("devices", 0, "replicas, one per GPU (MirroredStrategy); 0: every GPU there is, or "
                         "the CPU", lower_bound=0, flag_values=fv)


def define_folder_flags(fv=flags.FLAGS) -> None:
    """--results_dir --data_dir."""
    flags.DEFINE_string("results_dir", "results", "folder of rows, weights and work in progress",
                        flag_values=fv)
    define_data_folder_flag(fv)


def define_data_folder_flag(fv=flags.FLAGS) -> None:
    """--data_dir."""
    flags.DEFINE_string("data_dir", "~/tensorflow_datasets", "folder of prepared data sets, in TFDS's layout",
                        flag_values=fv)


def define_weights_flag(fv=flags.FLAGS) -> None:
    """--weights --weights_dir."""
    flags.DEFINE_string("weights", "imagenet", "pretrained weights: a file made by tfbench.pretrain, or "
                        "`imagenet` for the public ones that tfbench.prepare_models put into --weights_dir",
                        flag_values=fv)
    define_weights_folder_flag(fv)


def define_weights_folder_flag(fv=flags.FLAGS) -> None:
    """--weights_dir."""
    flags.DEFINE_string("weights_dir", "~/tfbench_weights", "folder of public ImageNet weights, made by "
                        "tfbench.prepare_models", flag_values=fv)


def define_training_flags(fv, *, steps: int, learning_rate, weight_decay, origin: str) -> None:
    """--steps --learning_rate --weight_decay --checkpoint_every --min_crop_area; defaults differ by regime.

    Args:
      origin: where in the paper the defaults stand.
    """
    flags.DEFINE_integer("steps", steps, f"training steps of each trial ({origin})", lower_bound=1,
                         flag_values=fv)
    define_numbers("learning_rate", learning_rate, f"initial learning rates to try, comma-separated ({origin})",
                   fv, inclusive=False)
    define_numbers("weight_decay", weight_decay, "weight decays to try, comma-separated; each is divided by "
                   f"the learning rate before use ({origin})", fv)
    flags.DEFINE_integer("checkpoint_every", 1000, "steps between checkpoints of an unfinished trial",
                         lower_bound=1, flag_values=fv)
    flags.DEFINE_float("min_crop_area", 0.08, "smallest random training crop, as a fraction of the image's "
                       "area (Inception-style; 1: the whole image)", lower_bound=0.01, upper_bound=1.0,
                       flag_values=fv)


def parse(define_flags, arguments: list[str]) -> flags.FlagValues:
    """Flag values of a program called with `arguments`, apart from absl's global ones.

    Raises:
      absl.flags.Error: as on the program's own command line.
    """
    fv = flags.FlagValues()
    define_flags(fv)
    fv(["tfbench", *arguments])
    return fv


def own(define_flags, parsed=flags.FLAGS) -> flags.FlagValues:
    """The flags that `define_flags` defines with the values that `parsed` holds; absl's left out."""
    fv = flags.FlagValues()
    define_flags(fv)
    for name in fv:
        fv[name].value = parsed[name].value
    fv.mark_as_parsed()
    return fv


def flagfile(fv: flags.FlagValues, program: str) -> str:
    """Text of a flagfile that repeats the run `python -m tfbench.PROGRAM` with the values of `fv`."""
    return f"# python -m tfbench.{program} --flagfile=THIS_FILE\n{fv.flags_into_string()}"
