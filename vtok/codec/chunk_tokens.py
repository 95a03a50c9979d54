"""What a chunk of eight frames becomes: codes and motion."""

import zlib
from typing import NamedTuple

from vtok.entropy.frame_coder import Codes
from vtok.video.motion import ChunkMotion


class ChunkTokens(NamedTuple):
    """The tokens of one chunk; its arrays must not be changed."""

    codes: Codes  # uint8 [n, H, W]
    motion: ChunkMotion

    def crc32(self, before: int = 0) -> int:
        """CRC-32 of the chunk, continued from that of the chunks before it in the same group; see `docs/format.md`."""
        fields = self.motion.fields.astype("<i2", copy=False)
        return zlib.crc32(fields.tobytes(), zlib.crc32(self.codes.tobytes(), before))
