"""What the codes of a file cost, noted while it is read."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vtok.container.groups import VideoGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupCost:
    """What the codes of one group of frames take in the file.

    Attributes:
        first_frame: Number of its first frame.
        num_frames: Frames in it.
        num_bytes: Entropy-coded codes, without timestamps and framing.
    """

    first_frame: int
    num_frames: int
    num_bytes: int


@dataclass(slots=True)
class CodeCosts:
    """Notes what groups and channels cost while a file is read.

    Attributes:
        groups: Those read so far.
        channel_bits: Ideal code length under the prior of all codes of each channel `[n]`, in bits.
    """

    groups: list[GroupCost] = field(default_factory=list)
    channel_bits: NDArray[np.float64] | None = None

    def add_group(self, group: VideoGroup, num_channels: int) -> NDArray[np.float64]:
        """Note the size of a group; return `channel_bits`, to which its decoder is to add."""
        self.groups.append(
            GroupCost(first_frame=group.first_frame, num_frames=group.num_frames, num_bytes=len(group.coded))
        )
        if self.channel_bits is None:
            self.channel_bits = np.zeros(num_channels)
        return self.channel_bits
