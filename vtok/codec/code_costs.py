"""The cost of a file's codes, recorded while it is read."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vtok.container.groups import VideoGroup
from vtok.entropy.group_payload import GroupPayload


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupCost:
    """The space of one group's codes in the file.

    Attributes:
        first_frame: Number of the group's first frame.
        num_frames: Number of frames in the group.
        quality: Quality of the group.
        num_bytes: Bytes of the entropy-coded codes and motion, without timestamps and framing.
        num_motion_bytes: Bytes of the motion among these.
    """

    first_frame: int
    num_frames: int
    quality: float
    num_bytes: int
    num_motion_bytes: int


@dataclass(slots=True)
class CodeCosts:
    """Records the cost of groups and channels while a file is read.

    Attributes:
        groups: The costs of the groups read so far.
        channel_bits: Ideal length under the prior of all codes of each channel `[n]`, in bits.
    """

    groups: list[GroupCost] = field(default_factory=list)
    channel_bits: NDArray[np.float64] | None = None

    def add_group(self, group: VideoGroup, num_channels: int) -> NDArray[np.float64]:
        """Record the size of a group; return `channel_bits`, to which the group's decoder adds."""
        self.groups.append(
            GroupCost(
                first_frame=group.first_frame,
                num_frames=group.num_frames,
                quality=group.quality,
                num_bytes=len(group.coded),
                num_motion_bytes=len(GroupPayload.from_bytes(group.coded).motion),
            )
        )
        if self.channel_bits is None:
            self.channel_bits = np.zeros(num_channels)
        return self.channel_bits
