"""Divides a number of bytes over the files of a batch, so that all have about the same quality.

All files are priced at one quality after another, until one is found at which they come to the number together. What a
file comes to at that quality is its share; it is then encoded for a size that it never exceeds.

Files are priced by samples, which may err. Where that matters, as little more than the lowest quality can be had, all
groups are priced at the lowest: so each file gets at least what it needs, as long as there is enough for all.
"""

import math
from collections.abc import Hashable, Mapping
from typing import Protocol, TypeVar

from vtok.errors import ConfigError
from vtok.files.goals import Goal
from vtok.files.survey import Survey, first_quality, wants_price
from vtok.files.trials import solved

Key = TypeVar("Key", bound=Hashable)
_LEAST_USED = 0.97  # of the bytes, at the highest quality
_LOWEST = 1.0
_SAFE = 1.5  # a total of so many times what samples need at the lowest quality suffices without doubt


class Price(Protocol[Key]):
    """Prices files at one more quality."""

    def __call__(self, surveys: Mapping[Key, Survey] | None, quality: float, every: bool = False) -> dict[Key, Survey]:
        """Return the surveys continued; of all files if there are none yet. `every`: code all groups, not samples."""


def divided(total: float, price: Price[Key], highest: float) -> dict[Key, tuple[Goal, Survey]]:
    """Return the size and the survey of each file.

    Args:
        total: Bytes of all files together.
        price: Prices the files.
        highest: The highest quality.

    Raises:
        ConfigError: The files cannot come to that.
    """
    tried = [first_quality(highest)]
    surveys = price(None, tried[0])
    if not surveys:
        return {}

    def num_bytes(quality: float) -> int:
        return sum(survey.num_bytes(quality) for survey in surveys.values())

    quality = solved(num_bytes, total, _LOWEST, highest)
    while wants_price(quality, tried, highest):
        surveys = price(surveys, quality)
        tried.append(quality)
        quality = solved(num_bytes, total, _LOWEST, highest)
    if total / _SAFE < num_bytes(_LOWEST) < total * _SAFE:
        surveys = price(surveys, _LOWEST, every=True)
        quality = solved(num_bytes, total, _LOWEST, highest)
    low, high = num_bytes(_LOWEST), num_bytes(highest)
    if not low <= total <= high / _LEAST_USED:
        raise ConfigError(
            f"{total:.0f} bytes for all files cannot be reached: the qualities of {len(surveys)} files come to about "
            f"{low:.0f} to {high:.0f} bytes"
        )
    each = {key: survey.num_bytes(quality) for key, survey in surveys.items()}
    scale = total / sum(each.values())
    return {key: (Goal("size", math.floor(scale * each[key])), surveys[key]) for key in surveys}
