"""Split large frames into strips of rows of blocks, so that the networks' memory is bounded.

A strip goes through the networks together with the rows around it that they see, which are then dropped. It has its own
state, as if it were a video. The places of the strips depend only on the size of the frame and on the arithmetic, so
one machine always gives the same pixels. A sample differs by at most one level from the frame in one piece. It does not
differ if convolutions sum in the same order for every height, as those of oneDNN did on every processor tried.
"""

from itertools import pairwise
from typing import NamedTuple

MAX_POSITIONS = 14_400  # latent positions at once, as in a frame of 1280x720; fewer cost time, more cost memory
MIN_ROWS = 32


class Strip(NamedTuple):
    """Rows of latents: `inner` are wanted, `outer` are those that the networks have to see for them."""

    inner: slice
    outer: slice

    def seen(self, side: int) -> slice:
        """The outer rows, in rows of samples; a row of latents is `side` rows of samples."""
        return slice(self.outer.start * side, self.outer.stop * side)

    def wanted(self, side: int) -> slice:
        """The inner rows, in rows of samples; a row of latents is `side` rows of samples."""
        return slice(self.inner.start * side, self.inner.stop * side)

    def wanted_of_seen(self, side: int) -> slice:
        """The place of the inner rows among the outer ones, in rows of samples."""
        return slice((self.inner.start - self.outer.start) * side, (self.inner.stop - self.outer.start) * side)


def strips(height: int, width: int, reach: int, *, bfloat16: bool, gradients: bool = False) -> list[Strip]:
    """Split a latent frame into strips of equal height.

    Args:
        height: Rows of latents.
        width: Columns of latents.
        reach: Number of rows around a row that the networks see.
        bfloat16: Whether the networks compute in half precision; in float32 strips are half as large.
        gradients: Whether the networks have gradients, which take much memory for each position. Such strips begin
            at even rows, so that the prior's checkerboard is that of the whole frame.
    """
    max_positions, min_rows, step = MAX_POSITIONS if bfloat16 else MAX_POSITIONS // 2, MIN_ROWS, 1
    if gradients:
        max_positions, min_rows, step = MAX_POSITIONS // 4, max(2, MIN_ROWS // 4), 2
        reach += reach % 2
    count = max(1, min(-(-height * width // max_positions), height // min_rows))
    edges = [*(height * i // count // step * step for i in range(count)), height]
    return [
        Strip(slice(start, stop), slice(max(0, start - reach), min(height, stop + reach)))
        for start, stop in pairwise(edges)
    ]
