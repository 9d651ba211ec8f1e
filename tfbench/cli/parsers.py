"""What flags take beside plain numbers and words: names out of tables, lists of them, grids."""

import difflib
import fnmatch
import math

from absl import flags

from tfbench.data import lookup
from tfbench.data.catalog import DATASETS
from tfbench.files.paths import is_address
from tfbench.models.catalog import NETWORKS


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
    """A row of DATASETS, or a data set of the user's own (data/lookup.py); `more` are further names."""

    def __init__(self, more=()):
        super().__init__("data set", (*DATASETS, *more))

    def parse(self, argument):
        if argument.startswith((lookup.FOLDER, lookup.TFDS)) and not argument.endswith(":"):
            if is_address(argument):
                raise ValueError(f"expected a folder of this machine, found {argument!r}: copy the images there")
            return argument  # whether it exists is for data/lookup.py to say
        return super().parse(argument)


class NetworkParser(NameParser):
    """A row of NETWORKS, or MODULE:FUNCTION of the user's own (models/lookup.py)."""

    def __init__(self):
        super().__init__("network", NETWORKS)

    def parse(self, argument):
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
        return tuple(dict.fromkeys(found for name in names for found in self._meant(name.strip())))

    def _meant(self, name: str) -> tuple[str, ...]:
        if name in self.groups:
            return self.groups[name]
        if ":" in name or not set(name) & set("*?["):
            return (self.item.parse(name),)
        if found := fnmatch.filter(self.item.names, name):
            return tuple(found)
        raise ValueError(f"no {self.item.kind} matches {name!r}. Known: {', '.join(self.item.names)}")


class NumbersParser(flags.ArgumentParser):
    """Comma-separated finite numbers (`kind` float or int), none below `minimum`, none twice."""

    syntactic_help = "comma-separated numbers"

    def __init__(self, minimum: float, *, inclusive: bool, kind=float):
        super().__init__()
        self.minimum, self.inclusive, self.kind = minimum, inclusive, kind

    def parse(self, argument):
        items = argument.split(",") if isinstance(argument, str) else argument
        try:
            numbers = tuple(self.kind(item) for item in items)
        except ValueError:
            whole = "whole " * (self.kind is int)
            raise ValueError(f"expected comma-separated {whole}numbers, found {argument!r}") from None
        least = "at least" if self.inclusive else "above"
        for number in numbers:
            if not math.isfinite(number) or number < self.minimum or (
                    number == self.minimum and not self.inclusive):
                raise ValueError(f"every number must be {least} {self.minimum:g}, found {number:g}")
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"a number stands twice in {argument!r}")
        return numbers


class GridParser(flags.ArgumentParser):
    """"RATESxDECAYS": two whole numbers, each 1 to what the paper's grid has."""

    syntactic_help = "RATESxDECAYS"

    def __init__(self, rates: int, decays: int):
        super().__init__()
        self.most = (rates, decays)

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


class CommaSerializer(flags.ArgumentSerializer):
    """The way back from ListParser and NumbersParser."""

    def serialize(self, value):
        return ",".join(item if isinstance(item, str) else repr(item) for item in value)
