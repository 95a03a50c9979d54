"""`.vtok` files of random codes that several test modules work on: no network runs to make them."""

from fractions import Fraction

import numpy as np

from support.motions import random_motion
from vtok.codec.chunk_tokens import ChunkTokens
from vtok.codec.file_model import new_header
from vtok.codec.group_encoder import GroupEncoder
from vtok.container.writer import ContainerWriter
from vtok.video.frame import VideoInfo


def random_codes(num_latents, num_channels=12, height=3, width=5, seed=0):
    """Codes uint8 `[T, n, H, W]` about zero."""
    steps = np.random.default_rng(seed).normal(0, 4, (num_latents, num_channels, height, width)).round()
    return (128 + steps).astype(np.uint8)


def random_motions(num_latents, height=3, width=5, *, latents_per_group=2):
    """The motion of each latent frame of a file as `write_codes` makes it."""
    return [
        random_motion(8 * height, 8 * width, seed=t, starts_group=t % latents_per_group == 0)
        for t in range(num_latents)
    ]


def write_codes(path, tokenizer, codes, *, pts=None, latents_per_group=2, quality=5.0, num_missing=0):
    """A file with these codes; its last latent frame stands for 8 frames less `num_missing`."""
    num_frames = 8 * len(codes) - num_missing
    pts = [40 * t for t in range(num_frames)] if pts is None else pts
    motions = random_motions(len(codes), *codes.shape[2:], latents_per_group=latents_per_group)
    info = VideoInfo(width=8 * codes.shape[3] - 3, height=8 * codes.shape[2], time_base=Fraction(1, 1000))
    with path.open("wb") as file:
        writer = ContainerWriter(file, new_header(tokenizer.pretrained, info))
        for start in range(0, len(codes), latents_per_group):
            group = GroupEncoder(tokenizer.pretrained.exact_prior, quality, (info.height, info.width))
            for i in range(start, min(start + latents_per_group, len(codes))):
                group.push(ChunkTokens(codes[i], motions[i]), pts[8 * i : 8 * i + 8])
            writer.write_group(group.finish(writer.totals.num_frames))
        writer.finish(last_frame_ticks=40)
    return path
