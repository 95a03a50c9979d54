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
        if np.array_equal(channels, self.channels):
            return self.codes
        if not len(self.channels):
            return torch.zeros(len(self.codes), len(channels), dtype=torch.int16)
        places = np.searchsorted(self.channels, channels).clip(max=len(self.channels) - 1)
        codes = _columns(self.codes, places)
        for column in np.flatnonzero(self.channels[places] != channels).tolist():
            codes[:, column] = 0
        return codes


def first_companded(groups: Sequence[ContextCodes], num_channels: int) -> tuple[Tensor, Tensor]:
    """Companded codes of the known channels below `num_channels`, int8 `[P, channels]`, and their numbers, int64."""
    channels = np.concatenate([group.channels for group in groups])
    count = int(np.searchsorted(channels, num_channels))
    companded = torch.cat([group.companded for group in groups], dim=1)
    return companded[:, :count], torch.from_numpy(channels[:count])


def _columns(matrix: Tensor, places: Channels) -> Tensor:
    """Select columns; numpy takes a quarter of the time that PyTorch does."""
    return torch.from_numpy(matrix.numpy().take(places, axis=1))
