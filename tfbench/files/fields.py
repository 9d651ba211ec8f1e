"""What the fields of tfbench's own JSON files may hold: types and ranges, and the words for what does not fit."""

import sys
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple


class Kind(NamedTuple):
    """What a field holds: in words, its types and, of a number, its range."""

    words: str
    types: frozenset[type]
    low: float | None = None
    high: float = sys.float_info.max

    def accepts(self, values: Collection) -> bool:
        """Whether all values are of the kind."""
        return self.types.issuperset(map(type, values)) and (
            self.low is None or self.low <= min(values) and max(values) <= self.high)


_NUMBER, _WHOLE = frozenset((float, int)), frozenset((int,))
TEXT, SWITCH = Kind("a text", frozenset((str,))), Kind("true or false", frozenset((bool,)))
GROUP, LIST = Kind("a group of fields", frozenset((dict,))), Kind("a list", frozenset((list,)))
FRACTION, AMOUNT = Kind("a fraction in [0, 1]", _NUMBER, 0, 1), Kind("a number of at least 0", _NUMBER, 0)
NUMBER = Kind("a number", _NUMBER, -sys.float_info.max)
COUNT, INDEX = Kind("a positive whole number", _WHOLE, 1), Kind("a whole number of at least 0", _WHOLE, 0)


def wrong(fields: Any, kinds: Mapping[str, Kind], where: str = "", required: Collection[str] = ()) -> str | None:
    """The first field that is not of its kind, in words; None where all are. Null stands for what is not known.

    Args:
      fields: what should be a group of fields; those that `kinds` does not name may hold anything.
      where: what stands before the names in words, such as "source ".
      required: names of fields that must be there, not null and not empty.
    """
    if not isinstance(fields, Mapping):
        return f"expected {where.strip(' .') or 'it'} as {GROUP.words}, found {short(fields)}"
    for name in required:
        if fields.get(name) in (None, ""):
            return f"expected {where}{name} as {kinds[name].words}, found {fields.get(name)!r}"
    for name, kind in kinds.items():
        value = fields.get(name)
        if value is not None and not (type(value) in kind.types and (
                kind.low is None or kind.low <= value <= kind.high)):
            return f"expected {where}{name} as {kind.words}, found {short(value)}"
    return None


def short(value) -> str:
    """A value in at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
