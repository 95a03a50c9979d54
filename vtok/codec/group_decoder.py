"""Decodes a group of the file to its latent frames: range decoding, and the check of the codes' CRC."""

import zlib

import numpy as np
from numpy.typing import NDArray

from vtok.codec.chunk_coder import latent_size
from vtok.container.reader import FileHeader, VideoGroup
from vtok.entropy.exact_prior import ExactPrior
from vtok.entropy.frame_coder import Codes, PriorGroupDecoder


def decode_group(
    prior: ExactPrior, header: FileHeader, group: VideoGroup, *, channel_bits: NDArray[np.float64] | None = None
) -> list[Codes]:
    """Return a group's latent frames, codes uint8 `[n, H, W]` each, checked as a whole.

    Args:
        prior: The exact prior of the file's model.
        header: The header of the file.
        group: The group to decode.
        channel_bits: The array that receives the code length of each channel; see `PriorGroupDecoder`.

    Raises:
        FormatError: The group does not decode to the codes that were written, or exceeds the size limit of groups.
    """
    header.check_group(group.num_frames, group.num_latent_frames)  # recovery does not check this itself
    height, width = latent_size(header.height, header.width)
    decoder = PriorGroupDecoder(
        prior,
        header.quality,
        group.coded,
        num_latent_frames=group.num_latent_frames,
        height=height,
        width=width,
        channel_bits=channel_bits,
    )
    codes = [decoder.pull() for _ in range(group.num_latent_frames)]
    crc = 0
    for frame_codes in codes:
        crc = zlib.crc32(frame_codes.data, crc)
    group.check_codes(crc)
    return codes
