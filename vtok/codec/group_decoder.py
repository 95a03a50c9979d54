"""Decodes a group of the file to its chunks' tokens: motion first, then codes, and the check of their CRC."""

import numpy as np
from numpy.typing import NDArray

from vtok.codec.chunk_coder import latent_size
from vtok.codec.chunk_tokens import ChunkTokens
from vtok.container.groups import VideoGroup, frame_range
from vtok.container.header import FileHeader
from vtok.entropy.exact_prior import ExactPrior
from vtok.entropy.group_coder import PriorGroupDecoder
from vtok.entropy.group_payload import GroupPayload
from vtok.entropy.motion_coder import MotionDecoder
from vtok.errors import FormatError


def decode_group(
    prior: ExactPrior, header: FileHeader, group: VideoGroup, *, channel_bits: NDArray[np.float64] | None = None
) -> list[ChunkTokens]:
    """Return the tokens of a group's chunks, checked as a whole.

    Args:
        prior: The exact prior of the file's model.
        header: The header of the file.
        group: The group to decode.
        channel_bits: The array that receives the code length of each channel; see `PriorGroupDecoder`.

    Raises:
        FormatError: The group does not decode to the tokens that were written, or exceeds the size limit of groups.
    """
    header.check_group(group.num_frames, group.num_latent_frames)  # recovery does not check this itself
    if not 1 <= group.quality <= prior.num_qualities:
        frames = frame_range(group.first_frame, group.num_frames)
        raise FormatError(f"quality {group.quality:g} declared for {frames}; expected 1 to {prior.num_qualities}")
    tokens = decode_payload(
        prior,
        group.quality,
        group.coded,
        num_latent_frames=group.num_latent_frames,
        size=(header.height, header.width),
        channel_bits=channel_bits,
    )
    crc = 0
    for chunk in tokens:
        crc = chunk.crc32(crc)
    group.check_tokens(crc)
    return tokens


def decode_payload(
    prior: ExactPrior,
    quality: float,
    coded: bytes,
    *,
    num_latent_frames: int,
    size: tuple[int, int],
    channel_bits: NDArray[np.float64] | None = None,
) -> list[ChunkTokens]:
    """Return the tokens in the entropy-coded bytes of a group of frames of `size`, height and width in pixels.

    Raises:
        FormatError: The bytes are damaged.
    """
    payload = GroupPayload.from_bytes(coded)
    motion = MotionDecoder(payload.motion, num_chunks=num_latent_frames, height=size[0], width=size[1])
    motions = [motion.pull() for _ in range(num_latent_frames)]
    height, width = latent_size(*size)
    decoder = PriorGroupDecoder(
        prior,
        quality,
        payload.codes,
        num_latent_frames=num_latent_frames,
        height=height,
        width=width,
        channel_bits=channel_bits,
    )
    return [ChunkTokens(decoder.pull(motion), motion) for motion in motions]
