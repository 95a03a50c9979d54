"""Codes of latent frames as context for others: the known codes of each channel group, `[P, channels]` each."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Channels = NDArray[np.intp]


class ContextCodes(NamedTuple):
    """Codes of some channels of a group in one latent frame; its tensors are never changed.

    Attributes:
        channels: Numbers of the channels, ascending. All other channels of the group count as zero.
        codes: Centred codes, int16 `[P, channels]`.
        companded: The codes as the networks see them, int8 `[P, channels]`; no channels if the networks do not see the
            group.
    """

    channels: Channels
    codes: Tensor
    companded: Tensor

    @classmethod
    def none(cls, num_positions: int) -> "ContextCodes":
        """The known codes of a group that is all zeros."""
        zeros = torch.zeros(num_positions, 0, dtype=torch.int8)
        return cls(np.empty(0, np.intp), zeros.to(torch.int16), zeros)

    def among(self, channels: Channels) -> "ContextCodes":
        """The known codes among `channels`."""
        kept = np.flatnonzero(np.isin(self.channels, channels))
        if len(kept) == len(self.channels):
            return self
        companded = self.companded if not self.companded.shape[1] else _columns(self.companded, kept)
        return ContextCodes(self.channels[kept], _columns(self.codes, kept), companded)

    def joined(self, other: "ContextCodes") -> "ContextCodes":
        """These codes and those of other channels of the same group."""
        if not len(self.channels):
            return other
        channels = np.concatenate([self.channels, other.channels])
        order = np.argsort(channels)
        codes, companded = (torch.cat([getattr(x, name) for x in (self, other)], dim=1) for name in self._fields[1:])
        companded = companded if not companded.shape[1] else _columns(companded, order)
        return ContextCodes(channels[order], _columns(codes, order), companded)

    def of(self, channels: Channels) -> Tensor:
        """Centred codes of `channels` of the group, int16 `[P, len(channels)]`, zero where unknown."""
        return _columns_of(self.codes, self.channels, channels)

    def rows(self, rows: Channels) -> "ContextCodes":
        """The known codes at some positions."""
        codes, companded = (torch.from_numpy(x.numpy().take(rows, axis=0)) for x in (self.codes, self.companded))
        return ContextCodes(self.channels, codes, companded)

    def with_rows(self, rows: Channels, others: "ContextCodes") -> "ContextCodes":
        """These codes, and `others [num, channels]` in place of some rows `[num]`."""
        channels = np.union1d(self.channels, others.channels)
        pairs = [(self.codes, others.codes), (self.companded, others.companded)]
        if any(x.companded.shape[1] < len(x.channels) for x in (self, others)):
            pairs.pop()  # the networks do not see the group
        merged = []
        for mine, theirs in pairs:
            joined = _columns_of(mine, self.channels, channels).numpy().copy()
            joined[rows] = _columns_of(theirs, others.channels, channels).numpy()
            merged.append(torch.from_numpy(joined))
        codes, companded = merged if len(merged) == 2 else (*merged, self.companded[:, :0])
        return ContextCodes(channels, codes, companded)


def first_companded(groups: Sequence[ContextCodes], num_channels: int) -> tuple[Tensor, Tensor]:
    """Companded codes of the known channels below `num_channels`, int8 `[P, channels]`, and their numbers, int64."""
    channels = np.concatenate([group.channels for group in groups])
    count = int(np.searchsorted(channels, num_channels))
    companded = torch.cat([group.companded for group in groups], dim=1)
    return companded[:, :count], torch.from_numpy(channels[:count])


def _columns_of(matrix: Tensor, known: Channels, channels: Channels) -> Tensor:
    """The columns of `channels`, of a matrix that has those of `known`; zero where unknown."""
    if np.array_equal(channels, known):
        return matrix
    if not len(known):
        return torch.zeros(len(matrix), len(channels), dtype=matrix.dtype)
    places = np.searchsorted(known, channels).clip(max=len(known) - 1)
    found = _columns(matrix, places)
    for column in np.flatnonzero(known[places] != channels).tolist():
        found[:, column] = 0
    return found


def _columns(matrix: Tensor, places: Channels) -> Tensor:
    """Select columns; numpy takes a quarter of the time that PyTorch does."""
    return torch.from_numpy(matrix.numpy().take(places, axis=1))
