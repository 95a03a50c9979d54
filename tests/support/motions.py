"""Motion of chunks for tests."""

import numpy as np
import torch

from vtok.video.motion import MAX_VECTOR, NUM_FIELDS, ChunkMotion, motion_size


def random_motion(height, width, *, seed=0, starts_group=False):
    """Random motion in frames of `height` x `width` pixels, vectors of all sizes, half of the last field's zero."""
    rng = np.random.default_rng(seed)
    size = motion_size(height, width)
    vectors = rng.normal(0, 2 ** rng.uniform(-2, 9, (NUM_FIELDS, 1, *size)), (NUM_FIELDS, 2, *size)).round()
    fields = np.clip(vectors, -MAX_VECTOR, MAX_VECTOR).astype(np.int16)
    fields[-1] *= (rng.random(size) < 0.5) & (not starts_group)
    return ChunkMotion(fields)


def no_motion(b, num_chunks, height, width):
    """The fields of chunks in which nothing moves, as training has them."""
    return torch.zeros(b, num_chunks, NUM_FIELDS, 2, *motion_size(height, width))


def video_motion(motions):
    """The fields of the chunks of one video, as training has them."""
    return torch.from_numpy(np.stack([motion.fields for motion in motions]))[None]
