"""Encodes latent frames to a group of the file: entropy coding, the CRC of the codes, and a check that they decode."""

import zlib
from collections.abc import Iterator

from vtok.codec.chunk_coder import FRAMES_PER_CHUNK
from vtok.container.reader import VideoGroup
from vtok.entropy.exact_prior import ExactPrior
from vtok.entropy.frame_coder import Codes, PriorGroupDecoder, PriorGroupEncoder
from vtok.video.frame import VideoInfo
from vtok.video.times import DEFAULT_RATE

MAX_GROUP_CHUNKS = 32  # 256 frames, the limit of the format
# A chunk of the file holds at most 64 MiB. Groups of large frames are kept short, so that even at 2 bits per pixel they
# fill at most three quarters of that.
MAX_GROUP_PIXELS = 48 * 2**20 * 8 // 2


class GroupEncoder:
    """Encodes one group, latent frame by latent frame.

    Attributes:
        num_chunks: Number of latent frames so far.

    Args:
        prior: The exact prior of the model.
        quality: 1 to 9.
        verify: Decode the finished group and compare the codes.
    """

    def __init__(self, prior: ExactPrior, quality: float, *, verify: bool = False) -> None:
        self._prior, self._quality, self._verify = prior, quality, verify
        self._encoder = PriorGroupEncoder(prior, quality)
        self._pts: list[int] = []
        self._codes_crc32 = 0
        self.num_chunks = 0

    def push(self, codes: Codes, pts: list[int]) -> None:
        """Append a latent frame, codes uint8 `[n, H, W]`, for the frames with timestamps `pts`."""
        self._encoder.push(codes)
        self._size = codes.shape[1:]
        self._codes_crc32 = zlib.crc32(codes.data, self._codes_crc32)
        self._pts += pts
        self.num_chunks += 1

    def finish(self, first_frame: int) -> VideoGroup:
        """Return the group; its first frame has the number `first_frame`.

        Raises:
            ChecksumError: The group was verified and decoded to other codes.
        """
        group = VideoGroup(
            first_frame=first_frame,
            pts=tuple(self._pts),
            num_latent_frames=self.num_chunks,
            codes_crc32=self._codes_crc32,
            coded=self._encoder.finish(),
        )
        if self._verify:
            group.check_codes(zlib.crc32(b"".join(self._decoded(group))))
        return group

    def _decoded(self, group: VideoGroup) -> Iterator[bytes]:
        height, width = self._size
        decoder = PriorGroupDecoder(
            self._prior,
            self._quality,
            group.coded,
            num_latent_frames=self.num_chunks,
            height=height,
            width=width,
        )
        for _ in range(self.num_chunks):
            yield decoder.pull().tobytes()


def chunks_per_group(info: VideoInfo, keyframe_seconds: float) -> int:
    """Return the number of latent frames in a group of about `keyframe_seconds`, within the limits of the format."""
    wanted = keyframe_seconds * float(info.average_rate or DEFAULT_RATE) / FRAMES_PER_CHUNK
    fitting = MAX_GROUP_PIXELS // (info.width * info.height * FRAMES_PER_CHUNK)
    return max(1, round(min(wanted, fitting, MAX_GROUP_CHUNKS)))
