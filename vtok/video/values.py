"""Checks of the values of a header, whether they come from a file or from a program."""

import reprlib
from collections.abc import Callable, Mapping
from fractions import Fraction
from numbers import Real
from typing import Any, TypeVar

from vtok.errors import ConfigError

_Item = TypeVar("_Item")

MAX_TERM = (1 << 31) - 1  # for a term of a fraction, as in FFmpeg
MIN_TIME, MAX_TIME = -(1 << 63), (1 << 63) - 1  # for timestamps
MAX_SIDE = 16384  # for a side of a frame, in pixels


def require_fraction(name: str, value: object) -> None:
    """Raise ConfigError unless `value` is a positive fraction whose terms can be stored."""
    if not isinstance(value, Fraction):
        raise ConfigError(f"{name} is {reprlib.repr(value)}: must be a fraction")
    require_integer(f"numerator of {name}", value.numerator, 1, MAX_TERM)
    require_integer(f"denominator of {name}", value.denominator, 1, MAX_TERM)


def fraction(name: str, value: object) -> Fraction:
    """The fraction stored as `[numerator, denominator]`."""
    if not isinstance(value, list) or len(value) != 2:
        raise ConfigError(f"{name} is {reprlib.repr(value)}: must be [numerator, denominator]")
    for term in value:
        require_integer(f"term of {name}", term, 1, MAX_TERM)
    return Fraction(value[0], value[1])


def require_integer(name: str, value: object, low: int, high: int) -> None:
    """Raise ConfigError unless `value` is a whole number from `low` to `high`."""
    if type(value) is not int or not low <= value <= high:  # type(), not isinstance: True must not pass as an integer
        raise ConfigError(f"{name} is {reprlib.repr(value)}: must be an integer from {low} to {high}")


def require_real(name: str, value: Any, expected: str, is_allowed: Callable[[Any], bool]) -> None:
    """Raise ConfigError, which names what is `expected`, unless `value` is a number that is allowed."""
    if not (isinstance(value, Real) and is_allowed(value)):
        shown = f"{float(value):g}" if isinstance(value, Real) else repr(value)
        raise ConfigError(f"{name} is {shown}; expected {expected}")


def printable(text: str) -> str:
    """The text, escaped if needed: the author of a file must not move the cursor or change colours of a terminal."""
    return text if text.isprintable() else ascii(text)


def require_tags(tags: object) -> None:
    """Raise ConfigError unless `tags` map strings to strings that can be stored."""
    if not isinstance(tags, Mapping):
        raise ConfigError(f"tags are {reprlib.repr(tags)}: must be a mapping of strings to strings")
    for text in (*tags.keys(), *tags.values()):
        if not isinstance(text, str):
            raise ConfigError(f"tags contain {reprlib.repr(text)}: keys and values must be strings")
        try:
            text.encode()
        except UnicodeEncodeError:  # half of a surrogate pair can be neither stored nor printed
            raise ConfigError(f"tags contain {reprlib.repr(text)}, which is not valid Unicode") from None


def described(name: str, values: object, make: Callable[[Mapping[str, Any]], _Item]) -> tuple[_Item, ...]:
    """What the objects of a list in the header describe, each made by `make`.

    Raises:
        ConfigError: There is no such list, or `make` lacks a key or refuses a value.
    """
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise ConfigError(f"{name} is {reprlib.repr(values)}: must be a list of objects")
    try:
        return tuple(make(value) for value in values)
    except KeyError as error:
        raise ConfigError(f"{name} lacks {error.args[0]}") from None
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None
