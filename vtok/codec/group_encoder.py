"""Encodes chunks to a group of the file: entropy coding, the CRC of the tokens, and a check that they decode."""

from vtok.codec.chunk_coder import FRAMES_PER_CHUNK
from vtok.codec.chunk_tokens import ChunkTokens
from vtok.codec.group_decoder import decode_payload
from vtok.container.groups import VideoGroup, stored_quality
from vtok.entropy.exact_prior import ExactPrior
from vtok.entropy.group_coder import PriorGroupEncoder
from vtok.entropy.group_payload import GroupPayload
from vtok.entropy.motion_coder import MotionEncoder
from vtok.video.frame import VideoInfo
from vtok.video.times import DEFAULT_RATE

MAX_GROUP_CHUNKS = 32  # 256 frames, the limit of the format
# A chunk of the file holds at most 64 MiB. Groups of large frames are kept short, so that even at 2 bits per pixel they
# fill at most three quarters of that.
MAX_GROUP_PIXELS = 48 * 2**20 * 8 // 2


class GroupEncoder:
    """Encodes one group, chunk by chunk.

    Attributes:
        num_chunks: Number of chunks so far.

    Args:
        prior: The exact prior of the model.
        quality: 1 to 9; the nearest one that files state is taken.
        size: Height and width of a frame in pixels.
        verify: Decode the finished group and compare the tokens.
    """

    def __init__(self, prior: ExactPrior, quality: float, size: tuple[int, int], *, verify: bool = False) -> None:
        self._prior, self._quality, self._size, self._verify = prior, stored_quality(quality), size, verify
        self._encoder, self._motion_encoder = PriorGroupEncoder(prior, self._quality), MotionEncoder()
        self._pts: list[int] = []
        self._tokens_crc32 = 0
        self.num_chunks = 0

    def push(self, tokens: ChunkTokens, pts: list[int]) -> None:
        """Append the tokens of the frames with timestamps `pts`."""
        self._motion_encoder.push(tokens.motion)
        self._encoder.push(tokens.codes, tokens.motion)
        self._tokens_crc32 = tokens.crc32(self._tokens_crc32)
        self._pts += pts
        self.num_chunks += 1

    def finish(self, first_frame: int) -> VideoGroup:
        """Return the group; its first frame has the number `first_frame`.

        Raises:
            ChecksumError: The group was verified and decoded to other tokens.
        """
        group = VideoGroup(
            first_frame=first_frame,
            pts=tuple(self._pts),
            num_latent_frames=self.num_chunks,
            quality=self._quality,
            tokens_crc32=self._tokens_crc32,
            coded=GroupPayload(self._motion_encoder.finish(), self._encoder.finish()).to_bytes(),
        )
        if self._verify:
            crc = 0
            for tokens in decode_payload(
                self._prior, self._quality, group.coded, num_latent_frames=self.num_chunks, size=self._size
            ):
                crc = tokens.crc32(crc)
            group.check_tokens(crc)
        return group


def chunks_per_group(info: VideoInfo, keyframe_seconds: float) -> int:
    """Return the number of latent frames in a group of about `keyframe_seconds`, within the limits of the format."""
    wanted = keyframe_seconds * float(info.average_rate or DEFAULT_RATE) / FRAMES_PER_CHUNK
    fitting = MAX_GROUP_PIXELS // (info.width * info.height * FRAMES_PER_CHUNK)
    return max(1, round(min(wanted, fitting, MAX_GROUP_CHUNKS)))
