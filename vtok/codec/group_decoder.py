"""From a group of the file to its latent frames: range decoding, and the check of the codes' CRC."""

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
    """A group's latent frames, codes uint8 `[n, H, W]` each, checked as a whole.

    Args:
        prior: Of the file's model.
        header: Of the file.
        group: What is decoded.
        channel_bits: As for `PriorGroupDecoder`.

    Raises:
        FormatError: The group does not decode to the codes that were written, or is larger than groups may be.
    """
    header.check_group(group.num_frames, group.num_latent_frames)  # recovery has not
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
