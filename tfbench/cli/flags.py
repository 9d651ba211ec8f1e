"""Makes absl flags of Settings (config.py), and configs and options of the flags' values.

A program's flags are a literal table, name -> Setting: a regime's row, or the program's own. Here alone, and in
parsers.py and app.py, absl is seen. absl takes the last occurrence of a flag: flagfile first, overrides after.
"""

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
from tfbench.regimes import RUNS

flags.disclaim_key_flags()  # flags belong to the program that defines them here

Error = flags.Error
Settings = Mapping[str, Setting]
COMMA = parsers.CommaSerializer()


def _parser(name: str, known: Setting) -> tuple[flags.ArgumentParser, flags.ArgumentSerializer]:
    """What parses a flag of some kind, and the way back."""
    plain = flags.ArgumentSerializer()
    numbers = {"minimum": known.minimum, "maximum": known.maximum, "above": known.above}
    kinds: dict[str, Callable[[], tuple[flags.ArgumentParser, flags.ArgumentSerializer]]] = {
        "text": lambda: (flags.ArgumentParser(), plain),
        "texts": lambda: (parsers.TextsParser(), COMMA),
        "switch": lambda: (flags.BooleanParser(), plain),
        "integer": lambda: (parsers.NumberParser(int, **numbers), plain),
        "number": lambda: (parsers.NumberParser(float, **numbers), plain),
        "integers": lambda: (parsers.NumbersParser(int, **numbers), COMMA),
        "numbers": lambda: (parsers.NumbersParser(float, **numbers), COMMA),
        "choice": lambda: (parsers.ChoiceParser(known.choices), plain),
        "name": lambda: (parsers.NameParser("network" if name == "model" else name, known.choices), plain),
        "names": lambda: (parsers.ListParser(parsers.NameParser(name.removesuffix("s"), known.choices)), COMMA),
        "grid": lambda: (parsers.GridParser(*known.default), parsers.GridSerializer()),
        "trial": lambda: (parsers.TrialParser(), plain),
        "network": lambda: (parsers.NetworkParser(), plain),
        "dataset": lambda: (parsers.DatasetParser(known.choices), plain),
        "networks": lambda: (parsers.ListParser(parsers.NetworkParser(known.choices), MODEL_GROUPS), COMMA),
        "datasets": lambda: (parsers.ListParser(parsers.DatasetParser(known.choices), DATASET_GROUPS), COMMA),
    }
    return kinds[known.kind]()


def define(settings: Settings, values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines a flag for each setting."""
    for name, known in settings.items():
        parser, serializer = _parser(name, known)
        if known.kind == "switch":
            flags.DEFINE_boolean(name, known.default, known.help, flag_values=values)
        else:
            flags.DEFINE(parser, name, known.default, known.help, flag_values=values, serializer=serializer)
        if known.alias:
            flags.DEFINE_alias(known.alias, name, flag_values=values)
        if known.required:
            flags.mark_flag_as_required(name, flag_values=values)
    if "data_dir" in settings:
        flags.register_validator("data_dir", lambda path: not is_address(path), "expected a folder of this machine, or "
                                 "one that it shares with others: images are read one by one. Copy the data sets there "
                                 "(only --results_dir, --weights and --weights_dir may lie in a bucket)",
                                 flag_values=values)
    if "features" in settings:
        flags.register_multi_flags_validator(
            ["model", "dataset", "features", "examples_per_class"], _one_kind_of_features,
            "expected --model=NAME and --dataset=NAME, or --features=FILE.npz alone", flag_values=values)


def _one_kind_of_features(given: Mapping[str, Any]) -> bool:
    if given["features"]:
        return not (given["model"] or given["dataset"] or given["examples_per_class"])
    return bool(given["model"] and given["dataset"])


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
    values(["tfbench", *arguments])
    return options(settings, values)


def parse_run(regime: str, arguments: Iterable[str]) -> RunConfig:
    """The config of a command line of a regime's program; raises as parse."""
    return RunConfig.from_flags(regime, vars(parse(settings_of(RUNS[regime]), arguments)))


def to_command(program: str, lines: Iterable[str]) -> str:
    """A line for a POSIX shell that runs a program."""
    return shlex.join(["python", "-m", f"tfbench.{program}", *lines])
