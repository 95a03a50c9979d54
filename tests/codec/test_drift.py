"""Pixels hardly differ between processors, threads and number formats, and not more at the end of a group."""

import drift
import numpy as np
import pytest
import torch

from support.sources import panned
from vtok.codec.group_encoder import MAX_GROUP_CHUNKS
from vtok.video.frame import VideoInfo

NUM_FRAMES = 8 * MAX_GROUP_CHUNKS  # the longest group: 20 seconds at 12.8 frames/s
SHORT = 96  # four seconds at 24 frames/s
INFO = VideoInfo(width=72, height=48, time_base=1)


@pytest.fixture(scope="module")
def tokens():
    return drift.encode(panned(48, 72, NUM_FRAMES, speed=1.25), INFO, "float32")


@pytest.fixture(scope="module")
def pixels(tokens):
    return drift.decode(tokens, INFO, "float32")


def mean_squares(pixels, others):
    """The mean squared difference of each stretch of four seconds."""
    squares = np.square(pixels.astype(float) - others).mean((1, 2))
    return [squares[start : start + SHORT].mean() for start in range(0, NUM_FRAMES - SHORT + 1, SHORT)]


@pytest.mark.parametrize("environment", drift.PROCESSORS.values(), ids=drift.PROCESSORS)
def test_other_processors_give_nearly_the_same_pixels(tokens, pixels, environment):
    others = drift.decode_elsewhere(tokens, INFO, environment)
    assert np.abs(pixels.astype(int) - others).max() <= 1
    assert max(mean_squares(pixels, others)) < 1e-3


def test_another_number_of_threads_gives_nearly_the_same_pixels(tokens, pixels):
    num_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if num_threads > 1 else 2)
        others = drift.decode(tokens, INFO, "float32")
    finally:
        torch.set_num_threads(num_threads)
    assert np.abs(pixels.astype(int) - others).max() <= 1
    assert max(mean_squares(pixels, others)) < 1e-3


def test_half_precision_stays_near_in_the_longest_group(tokens, pixels):
    errors = mean_squares(pixels, drift.decode(tokens, INFO, "bfloat16"))
    assert 0 < max(errors) < 0.3  # 53 dB
    assert errors[-1] < 1.5 * errors[0]
