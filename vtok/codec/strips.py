"""Large frames in strips of rows of blocks, so that the networks' memory is bounded.

A strip goes through the networks together with as many rows around it as they see, which are then dropped. It has a
state of its own, as if it were a video. Where the strips are depends on the size of the frame and on the arithmetic
only, so one machine always gives the same pixels. Against the frame in one piece a sample differs by at most one level,
and by none where convolutions sum in the same order for every height, as those of oneDNN did on every processor tried.
"""

from itertools import pairwise
from typing import NamedTuple

MAX_POSITIONS = 14_400  # latent positions at once, about: a frame of 1280x720; fewer cost time, more cost memory
MIN_ROWS = 32


class Strip(NamedTuple):
    """Rows of latents: those that are wanted, and those that the networks have to see for it."""

    inner: slice
    outer: slice

    def seen(self, side: int) -> slice:
        """The outer rows, where a row of latents is `side` rows of samples."""
        return slice(self.outer.start * side, self.outer.stop * side)

    def wanted(self, side: int) -> slice:
        """The inner rows, in rows of samples."""
        return slice(self.inner.start * side, self.inner.stop * side)

    def wanted_of_seen(self, side: int) -> slice:
        """Where among the outer rows the inner ones are, in rows of samples."""
        return slice((self.inner.start - self.outer.start) * side, (self.inner.stop - self.outer.start) * side)


def strips(height: int, width: int, reach: int, *, bfloat16: bool) -> list[Strip]:
    """A latent frame in strips of equal height.

    Args:
        height: Rows of latents.
        width: Columns.
        reach: So many rows around a row are seen by the networks.
        bfloat16: Whether they compute in half precision; in float32 strips are half as large.
    """
    max_positions = MAX_POSITIONS if bfloat16 else MAX_POSITIONS // 2
    count = max(1, min(-(-height * width // max_positions), height // MIN_ROWS))
    edges = [height * i // count for i in range(count + 1)]
    return [
        Strip(slice(start, stop), slice(max(0, start - reach), min(height, stop + reach)))
        for start, stop in pairwise(edges)
    ]
