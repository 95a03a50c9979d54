"""Divides a number of bytes over the files of a batch, so that all have about the same quality.

All files are priced at one quality after another, until one is found at which they come to the number together. What a
file comes to at that quality is its share; it is then encoded for a size that it never exceeds.
"""

import math
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

from vtok.errors import ConfigError
from vtok.files.goals import Goal
from vtok.files.survey import Survey, first_quality, wants_price
from vtok.files.trials import solved

Key = TypeVar("Key", bound=Hashable)
Price = Callable[[Mapping[Key, Survey] | None, float], dict[Key, Survey]]
_LEAST_USED = 0.97  # of the bytes, at the highest quality


def divided(total: float, price: Price[Key], highest: float) -> dict[Key, tuple[Goal, Survey]]:
    """Return the size and the survey of each file.

    Args:
        total: Bytes of all files together.
        price: Prices all files at one more quality; called with their surveys so far, at first with None.
        highest: The highest quality.

    Raises:
        ConfigError: The files cannot come to that.
    """
    tried = [first_quality(highest)]
    surveys = price(None, tried[0])
    if not surveys:
        return {}

    def num_bytes(quality: float) -> float:
        return sum(survey.num_bytes(quality) for survey in surveys.values())

    quality = solved(num_bytes, total, 1.0, highest)
    while wants_price(quality, tried, highest):
        surveys = price(surveys, quality)
        tried.append(quality)
        quality = solved(num_bytes, total, 1.0, highest)
    low, high = num_bytes(1.0), num_bytes(highest)
    if not low <= total <= high / _LEAST_USED:
        raise ConfigError(
            f"{total:.0f} bytes for all files cannot be reached: the qualities of {len(surveys)} files come to about "
            f"{low:.0f} to {high:.0f} bytes"
        )
    each = {key: survey.num_bytes(quality) for key, survey in surveys.items()}
    scale = total / sum(each.values())
    return {key: (Goal("size", math.floor(scale * each[key])), surveys[key]) for key in surveys}
