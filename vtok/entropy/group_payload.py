"""The entropy-coded bytes of a group: its motion, then its codes, whose prior sees the motion.

    u32       length of the motion bytes
    motion    `vtok.entropy.motion_coder`
    codes     `vtok.entropy.group_coder`, to the end

Nothing here needs torch.
"""

import struct
from typing import NamedTuple

from vtok.errors import FormatError, TruncatedError

ENTROPY_CODER = "prior-3"
OLD_ENTROPY_CODERS = ("prior-1", "prior-2")  # of codes without motion, and without displaced codes; of other models

LENGTH = struct.Struct("<I")


class GroupPayload(NamedTuple):
    """The two parts of the entropy-coded bytes of a group."""

    motion: bytes
    codes: bytes

    def to_bytes(self) -> bytes:
        """Both parts as they are in the file."""
        return LENGTH.pack(len(self.motion)) + self.motion + self.codes

    @classmethod
    def from_bytes(cls, data: bytes) -> "GroupPayload":
        """The parts of a group's entropy-coded bytes.

        Raises:
            FormatError: The declared length is not there.
        """
        length = motion_length(data)
        end = LENGTH.size + length
        if end > len(data):
            raise FormatError(f"{length} bytes of motion declared in {len(data)} entropy-coded bytes")
        return cls(data[LENGTH.size : end], data[end:])


def motion_length(data: bytes) -> int:
    """The length of the motion that the first of a group's entropy-coded bytes declare.

    Raises:
        TruncatedError: There are less than four bytes.
    """
    if len(data) < LENGTH.size:
        raise TruncatedError(f"{len(data)} entropy-coded bytes are too few")
    length: int = LENGTH.unpack_from(data)[0]
    return length


def check_entropy_coder(name: str) -> None:
    """Refuse files of other entropy coders.

    Raises:
        FormatError: The entropy coder is not that of this version.
    """
    if name in OLD_ENTROPY_CODERS:
        raise FormatError(f"was made by an older vtok ({name}): only the vtok that made it can decode it")
    if name != ENTROPY_CODER:
        raise FormatError(f"entropy coder {name!r} is unknown; expected {ENTROPY_CODER}")
