"""Makes absl flags of Settings (config.py), and configs and options of the flags' values.

A program's flags are a literal table, name -> Setting: a regime's row, or the program's own. Here alone, and in
parsers.py and app.py, absl is seen. absl takes the last occurrence of a flag: flagfile first, overrides after.
"""

import difflib
import re
import shlex
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from absl import flags

from tfbench.cli import parsers
from tfbench.config import RunConfig, Setting, settings_of
from tfbench.data.catalog import GROUPS as DATASET_GROUPS
from tfbench.files.paths import is_address
from tfbench.models.catalog import GROUPS as MODEL_GROUPS
from tfbench.models.catalog import NETWORKS
from tfbench.regimes import RUNS

flags.disclaim_key_flags()  # flags belong to the program that defines them here

Error = flags.Error
Settings = Mapping[str, Setting]
COMMA = parsers.CommaSerializer()
# Groups of lists beside the catalogs': `all` are all networks with public weights, and all data sets of the paper.
NETWORK_LISTS = MODEL_GROUPS | {"all": tuple(name for name, network in NETWORKS.items() if network.weights)}
DATASET_LISTS = DATASET_GROUPS | {"all": DATASET_GROUPS["paper"]}


def _parser(name: str, known: Setting) -> tuple[flags.ArgumentParser, flags.ArgumentSerializer]:
    """What parses a flag of some kind, and the way back."""
    plain, choices = flags.ArgumentSerializer(), list(known.choices)  # absl would keep a parser of a tuple for good
    numbers: dict[str, Any] = {"minimum": known.minimum, "maximum": known.maximum, "above": known.above}
    kinds: dict[str, Callable[[], tuple[flags.ArgumentParser, flags.ArgumentSerializer]]] = {
        "text": lambda: (parsers.TextParser(), plain),
        "texts": lambda: (parsers.TextsParser(), COMMA),
        "switch": lambda: (parsers.SwitchParser(), plain),
        "integer": lambda: (parsers.NumberParser(int, **numbers), plain),
        "number": lambda: (parsers.NumberParser(float, **numbers), plain),
        "integers": lambda: (parsers.NumbersParser(int, words=tuple(known.choices), **numbers), COMMA),
        "numbers": lambda: (parsers.NumbersParser(float, **numbers), COMMA),
        "choice": lambda: (parsers.ChoiceParser(known.choices), plain),
        "library": lambda: (parsers.LibraryParser(known.choices), plain),
        "name": lambda: (parsers.NameParser("network" if name == "model" else name, known.choices), plain),
        "names": lambda: (parsers.ListParser(parsers.NameParser(name.removesuffix("s"), known.choices)), COMMA),
        "grid": lambda: (parsers.GridParser(tuple(known.choices)), parsers.GridSerializer()),
        "duration": lambda: (parsers.DurationParser(), parsers.DurationSerializer()),
        "trial": lambda: (parsers.TrialParser(), plain),
        "network": lambda: (parsers.NetworkParser(), plain),
        "dataset": lambda: (parsers.DatasetParser(known.choices), plain),
        "networks": lambda: (parsers.ListParser(parsers.NetworkParser(choices), NETWORK_LISTS), COMMA),
        "datasets": lambda: (parsers.ListParser(parsers.DatasetParser(choices), DATASET_LISTS), COMMA),
    }
    return kinds[known.kind]()


def define(settings: Settings, values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines a flag for each setting."""
    for name, known in settings.items():
        parser, serializer = _parser(name, known)
        if known.kind == "switch":
            flags.DEFINE_flag(_Switch(name, known), flag_values=values)
        else:
            flags.DEFINE(parser, name, known.default, known.help, flag_values=values, serializer=serializer)
        if known.alias:
            flags.DEFINE_alias(known.alias, name, flag_values=values)
        if known.required:
            flags.register_validator(name, lambda value: value is not None, "expected a value", flag_values=values)
    if "data_dir" in settings:
        flags.register_validator("data_dir", lambda path: not is_address(path), "expected a folder of this machine, or "
                                 "one that it shares with others: images are read one by one. Copy the data sets there "
                                 "(only --results_dir, --weights and --weights_dir may lie in a bucket)",
                                 flag_values=values)
    if {"epochs", "steps", "steps_curve"} <= settings.keys():
        flags.register_multi_flags_validator(
            ["epochs", "steps", "steps_curve"], lambda given: not (given["epochs"] and (given["steps"] or given[
                "steps_curve"])), "expected one of --epochs, --steps and --steps_curve", flag_values=values)
    if "features" in settings:
        flags.register_multi_flags_validator(
            ["model", "dataset", "features", "examples_per_class"], _one_kind_of_features,
            "expected --model=NAME and --dataset=NAME, or --features=FILE.npz alone", flag_values=values)
        flags.register_multi_flags_validator(
            ["features", "standardize"], lambda given: given["features"] or not given["standardize"],
            "--standardize is for --features=FILE: a network's features stay as they are", flag_values=values)


def _one_kind_of_features(given: Mapping[str, Any]) -> bool:
    if given["features"]:
        return not (given["model"] or given["dataset"] or given["examples_per_class"])
    return bool(given["model"] and given["dataset"])


class _Switch(flags.BooleanFlag):
    """A flag --name and --noname, whose parser says what it expects."""

    def __init__(self, name: str, known: Setting):
        super().__init__(name, known.default, known.help)
        self.parser = parsers.SwitchParser()


# Of values, where a flag has no default.
FORMS = {"text": "TEXT", "texts": "ONE,OTHER", "integer": "100", "number": "0.5", "integers": "1,2,4",
         "numbers": "0.01,0.1", "grid": "3x2", "trial": "1", "duration": "1h30m", "network": "resnet_50",
         "dataset": "digits", "networks": "resnet_50,vgg_16", "datasets": "digits,pets"}


def example(name: str, known: Setting) -> str:
    """A flag in a form that is right: with its default, with a choice, or with some value of its kind."""
    if known.kind == "switch":
        return f"--{name} or --no{name}"
    value = known.default
    if isinstance(value, tuple):
        value = value[:3]
    if value not in (None, "", ()):
        return f"--{name}={_parser(name, known)[1].serialize(value)}"
    return f"--{name}={FORMS.get(known.kind) or next(iter(known.choices))}"


def explain(error: Exception, settings: Settings, program: str = "") -> str:
    """An error of absl's on a command line as a line of ours: what was expected and found, and a form that is right."""
    text, listed = str(error), f"; `python -m tfbench.{program} --help` lists them" if program else ""
    aliases = {known.alias: name for name, known in settings.items() if known.alias}

    def right(name: str) -> str:
        return example(aliases.get(name, name), settings[aliases.get(name, name)])

    if isinstance(error, flags.UnrecognizedFlagError):
        name = error.flagname
        near = difflib.get_close_matches(name, [*settings, *aliases], n=1, cutoff=0.5)
        guess = f", did you mean {right(near[0])}?" if near else ""
        return f"there is no flag --{name}{guess or listed}"
    if isinstance(error, flags.CantOpenFlagFileError):
        cause = error.__context__
        reason = cause.strerror if isinstance(cause, OSError) else text
        return f"cannot read the flagfile {getattr(cause, 'filename', None)} ({reason}): correct --flagfile=FILE"
    if isinstance(error, UnicodeDecodeError):
        return f"a flagfile is no text in UTF-8 ({text}): correct --flagfile=FILE"
    if match := re.match(r"Missing value for flag --(\w+)", text):
        return f"--{match[1]} has no value" + (f", e.g. {right(match[1])}" if match[1] in {*settings, *aliases} else "")
    if match := re.match(r"flag --(\w+)=", text):
        name = match[1]
        if name not in settings and name not in aliases:
            return text
        if text.endswith("=None: expected a value"):
            return f"--{name} is missing, e.g. {right(name)}{listed.replace('lists them', 'lists what there is')}"
        if isinstance(error.__context__, ValueError):
            value = text.removeprefix(match[0]).removesuffix(f": {error.__context__}")
            return f"--{name}={value}: {str(error.__context__).rstrip('.')}; e.g. {right(name)}"
        return f"--{text.removeprefix('flag --')}"
    return re.sub(r"^flags .*?: (?=expected)", "", text)


def options(settings: Settings, values: flags.FlagValues = flags.FLAGS) -> types.SimpleNamespace:
    """The values of a program's flags, as plain attributes."""
    return types.SimpleNamespace(**{name: values[name].value for name in settings})


def parse(settings: Settings, arguments: Iterable[str]) -> types.SimpleNamespace:
    """The values of a program's flags on a command line, apart from absl's global ones.

    Raises:
      absl.flags.Error: as on the program's own command line.
    """
    values = flags.FlagValues()
    define(settings, values)
    try:
        values(["tfbench", *arguments])
    except ValueError as error:  # --noNAME=VALUE
        raise Error(str(error)) from error
    return options(settings, values)


def parse_run(regime: str, arguments: Iterable[str]) -> RunConfig:
    """The config of a command line of a regime's program; raises as parse."""
    return RunConfig.from_flags(regime, vars(parse(settings_of(RUNS[regime]), arguments)))


def to_command(program: str, lines: Iterable[str]) -> str:
    """A line for a POSIX shell that runs a program."""
    return shlex.join(["python", "-m", f"tfbench.{program}", *lines])
