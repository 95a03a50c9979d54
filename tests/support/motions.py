"""Motion of chunks for tests."""

import numpy as np
import torch

from vtok.networks.motion import VideoMotion
from vtok.video.motion import MAX_VECTOR, NUM_FIELDS, ChunkMotion, motion_size


def random_motion(height, width, *, seed=0, is_predicted=None):
    """Random motion in frames of `height` x `width` pixels, vectors of all sizes; by default any block is predicted."""
    rng = np.random.default_rng(seed)
    size = motion_size(height, width)
    vectors = rng.normal(0, 2 ** rng.uniform(-2, 9, (NUM_FIELDS, 1, *size)), (NUM_FIELDS, 2, *size)).round()
    mask = rng.random(size) < 0.5 if is_predicted is None else np.full(size, is_predicted)
    fields = np.clip(vectors, -MAX_VECTOR, MAX_VECTOR).astype(np.int16)
    fields[-1] *= mask.any()
    return ChunkMotion(fields, mask)


def no_motion(b, num_chunks, height, width):
    """Chunks in which nothing moves or is predicted, as the networks have it."""
    still = ChunkMotion.still(height, width, is_predicted=False)
    motion = video_motion([still] * num_chunks)
    return VideoMotion(*(part.expand(b, *part.shape[1:]) for part in motion))


def video_motion(motions):
    """The motion of the chunks of one video as the networks have it."""
    fields, masks = (
        np.stack([getattr(motion, name) for motion in motions])[None] for name in ("fields", "is_predicted")
    )
    return VideoMotion(torch.from_numpy(fields), torch.from_numpy(masks))
