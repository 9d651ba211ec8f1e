"""What flags take: numbers within bounds, names out of tables, lists of either, grids."""

import fnmatch
import importlib.util
import math
import os
import re
import unicodedata

from absl import flags

from tfbench.config import ALL, REFIT
from tfbench.data import folders, lookup
from tfbench.data.catalog import DATASETS
from tfbench.files.paths import is_address
from tfbench.models.catalog import NETWORKS
from tfbench.models.lookup import is_model_file
from tfbench.wording import DURATION_UNITS, brief_duration, unknown


def check_printable(argument: str) -> str:
    """The argument; ValueError where it holds line ends or other control characters, which flagfiles cannot hold."""
    if any(unicodedata.category(character) == "Cc" for character in argument):
        raise ValueError(f"expected text without line ends and other control characters, found {argument!r}")
    return argument


class TextParser(flags.ArgumentParser):
    """Any text in one line."""

    syntactic_help = "text"

    def parse(self, argument):
        return check_printable(argument)


class SwitchParser(flags.BooleanParser):
    """true or false."""

    def parse(self, argument):
        try:
            return super().parse(argument)
        except (ValueError, TypeError):
            raise ValueError(f"expected true or false, found {argument!r}") from None


class NameParser(flags.ArgumentParser):
    """A name out of a table; an unknown one is refused with the nearest that exists."""

    syntactic_help = "a name"

    def __init__(self, kind: str, names):
        super().__init__()
        self.kind, self.names = kind, tuple(names)

    def parse(self, argument):
        if argument in self.names:
            return argument
        raise ValueError(unknown(self.kind, argument, self.names))


class DatasetParser(NameParser):
    """A name in DATASETS, or a custom data set (data/lookup.py); `more` are further names."""

    def __init__(self, more=()):
        super().__init__("data set", (*DATASETS, *more))

    def parse(self, argument):
        if argument.startswith((folders.FOLDER, lookup.TFDS)) and not argument.endswith(":"):
            if is_address(argument):
                raise ValueError(f"expected a folder of this machine, found {argument!r}: copy the images there")
            return check_printable(argument)  # whether it exists is for data/lookup.py to say
        if argument in self.names:
            return argument
        raise ValueError(lookup.unknown_dataset(argument, self.names))


class NetworkParser(NameParser):
    """A name in NETWORKS, or MODULE:FUNCTION or PATH.keras of a custom network; `more` are further names.

    A path becomes absolute: it names the network in records.
    """

    def __init__(self, more=()):
        super().__init__("network", (*NETWORKS, *more))

    def parse(self, argument):
        if is_model_file(argument):
            if is_address(argument):
                raise ValueError(f"expected a model's file on this machine, found {argument!r}: copy it there")
            return os.path.abspath(os.path.expanduser(argument))
        parts = argument.split(":")
        if len(parts) == 2 and all(name.isidentifier() for name in (*parts[0].split("."), parts[1])):
            return argument  # whether it exists is for models/custom.py to say
        return super().parse(argument)


class ListParser(flags.ArgumentParser):
    """Comma-separated names that `item` parses, patterns of them ("resnet_*") and names of `groups`; none twice."""

    syntactic_help = "comma-separated names or patterns"

    def __init__(self, item: NameParser, groups: dict[str, tuple[str, ...]] | None = None):
        super().__init__()
        self.item, self.groups = item, groups or {}

    def parse(self, argument):
        names = argument.split(",") if isinstance(argument, str) else argument
        return tuple(dict.fromkeys(item for name in names for item in self._matches(name.strip())))

    def _matches(self, name: str) -> tuple[str, ...]:
        if name in self.groups:
            return self.groups[name]
        if ":" in name or not set(name) & set("*?["):
            return (self.item.parse(name),)
        if matches := fnmatch.filter(self.item.names, name):
            return tuple(matches)
        raise ValueError(f"no {self.item.kind} matches {name!r}. Known: {', '.join(self.item.names)}")


class NumberParser(flags.ArgumentParser):
    """A finite number of a `kind`, float or int, within bounds."""

    def __init__(self, kind=float, *, minimum=None, maximum=None, above=None):
        super().__init__()
        self.kind, self.minimum, self.maximum, self.above = kind, minimum, maximum, above
        self.noun = "whole number" if kind is int else "number"
        self.syntactic_help = f"a {self.noun}"

    def parse(self, argument):
        try:
            number = self.kind(argument)
        except (ValueError, TypeError):
            raise ValueError(f"expected a {self.noun}, found {argument!r}") from None
        if not math.isfinite(number):
            raise ValueError(f"expected a finite number, found {argument}")
        bounds = ((self.minimum, "at least", lambda limit: number < limit),
                  (self.maximum, "at most", lambda limit: number > limit),
                  (self.above, "above", lambda limit: number <= limit))
        for limit, words, is_outside in bounds:
            if limit is not None and is_outside(limit):
                raise ValueError(f"expected {words} {limit:g}, found {argument}")
        return number


class NumbersParser(flags.ArgumentParser):
    """Comma-separated numbers, as NumberParser takes one; none twice. The value is a tuple, or one of `words`."""

    syntactic_help = "comma-separated numbers"

    def __init__(self, kind=float, words: tuple[str, ...] = (), **bounds):
        super().__init__()
        self.item, self.words = NumberParser(kind, **bounds), words

    def parse(self, argument):
        if argument in self.words:
            return argument
        items = argument.split(",") if isinstance(argument, str) else argument
        try:
            numbers = tuple(self.item.parse(item) for item in items)
        except ValueError as error:
            instead = "".join(f" or {word}" for word in self.words)
            raise ValueError(f"expected comma-separated {self.item.noun}s{instead}, found {argument!r} "
                             f"({error})") from None
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"a number stands twice in {argument!r}")
        return numbers


class ChoiceParser(flags.ArgumentParser):
    """One of a few words. `bfloat16` and `mixed_bfloat16` stand for each other where only one is a choice."""

    def __init__(self, choices):
        super().__init__()
        self.choices = tuple(choices)
        self.syntactic_help = "|".join(self.choices)

    def parse(self, argument):
        other = {"bfloat16": "mixed_bfloat16", "mixed_bfloat16": "bfloat16"}.get(argument)
        for word in (argument, other):
            if word in self.choices:
                return word
        raise ValueError(f"expected one of {', '.join(self.choices)}, found {argument!r}")


class LibraryParser(ChoiceParser):
    """One of a few Python packages, which must be installed."""

    def parse(self, argument):
        name = super().parse(argument)
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:  # a folder of that name, such as W&B's of its files, is no package
            raise ValueError(f"expected {name} to be installed, found it missing: pip install {name}, or leave it out")
        return name


class TextsParser(flags.ArgumentParser):
    """Comma-separated texts; the value is a tuple."""

    syntactic_help = "comma-separated"

    def parse(self, argument):
        items = argument.split(",") if isinstance(argument, str) else argument
        return tuple(check_printable(item.strip()) for item in items if item.strip())


class TrialParser(flags.ArgumentParser):
    """"all", "refit", or the number of a trial, from 1."""

    syntactic_help = "all|refit|NUMBER"

    def parse(self, argument):
        text = str(argument)
        if text in (ALL, REFIT) or text.isdecimal() and int(text) > 0:
            return text
        raise ValueError(f"expected {ALL}, {REFIT} or the number of a trial, from 1, found {argument!r}")


class GridParser(flags.ArgumentParser):
    """"RATESxDECAYS": two whole numbers, each 1 to what the paper's grid has (`most`)."""

    syntactic_help = "RATESxDECAYS"

    def __init__(self, most: tuple):
        super().__init__()
        self.most = most

    def parse(self, argument):
        parts = argument.lower().split("x") if isinstance(argument, str) else argument
        if len(parts) == 2 and all(str(part).isdecimal() for part in parts):
            numbers = tuple(map(int, parts))
            if all(1 <= number <= most for number, most in zip(numbers, self.most, strict=True)):
                return numbers
        raise ValueError(f"expected RATESxDECAYS, at most {self.most[0]}x{self.most[1]}, found {argument!r}")


class GridSerializer(flags.ArgumentSerializer):
    """The way back from GridParser."""

    def serialize(self, value):
        return "x".join(map(str, value))


class DurationParser(flags.ArgumentParser):
    """A time such as 45s, 90m, 1h30m or 2d; the value is whole seconds, at least 1."""

    syntactic_help = "such as 90m, 2h, 1h30m"

    def parse(self, argument):
        match = re.fullmatch("".join(rf"(?:(\d+(?:\.\d+)?){unit})?" for unit in DURATION_UNITS), str(argument).lower(),
                             re.ASCII)
        numbers = match.groups(default="0") if match else ()
        seconds = sum(float(number) * size for number, size in zip(numbers, DURATION_UNITS.values(), strict=False))
        if not 1 <= seconds < math.inf:
            raise ValueError(f"expected a time such as 45s, 90m, 1h30m or 2d, found {argument!r}")
        return round(seconds)


class DurationSerializer(flags.ArgumentSerializer):
    """The way back from DurationParser."""

    def serialize(self, value):
        return brief_duration(value)


class CommaSerializer(flags.ArgumentSerializer):
    """The way back from ListParser and NumbersParser."""

    def serialize(self, value):
        return ",".join(item if isinstance(item, str) else repr(item) for item in value)
