"""What the exact prior sees of the motion is exactly what the float prior sees."""

import numpy as np
import pytest
import torch

from support.integer_prior import plain_maps
from support.motions import random_motion, video_motion
from vtok.entropy.checkerboard import Checkerboard
from vtok.entropy.motion_maps import motion_maps
from vtok.networks.motion_maps import motion_maps as float_maps


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (7, 8), (23, 40)])
def test_the_maps_are_those_of_the_float_prior(size):
    height, width = size
    motions = [random_motion(8 * height, 8 * width, seed=t, starts_group=t == 0) for t in range(5)]
    positions = Checkerboard(height, width)
    expected = 8 * float_maps(video_motion(motions), height, width)
    seen = set()
    for number, motion in enumerate(motions):
        got = motion_maps(motion, positions)
        assert got.dtype == torch.int8
        as_map = positions.to_map(got).view(height, width, 3).permute(2, 0, 1)
        assert torch.equal(as_map.float(), expected[number])
        assert as_map[:, -1, -1].tolist() == plain_maps(motion, (height - 1) // 2, (width - 1) // 2)
        seen |= set(np.unique(got.numpy()).tolist())
    if size == (23, 40):
        assert seen == set(range(9))
