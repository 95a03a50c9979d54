"""Where scene cuts are found, and where none are."""

from dataclasses import replace
from itertools import accumulate

import numpy as np
import pytest

from support.sources import panned, scenes
from vtok.video import scene_cuts
from vtok.video.scene_cuts import NEAR, scene_starts


def cuts_of(frames):
    """Numbers of the frames after cuts; all frames come out in order."""
    found = list(scene_starts(iter(frames)))
    assert [frame for frame, _ in found] == list(frames)
    return [t for t, (_, is_cut) in enumerate(found) if is_cut]


def with_luma(frame, change):
    """A frame whose luma is changed, in whole levels that are kept within 8 bits."""
    return replace(frame, y=np.clip(change(frame.y.astype(float)).round(), 0, 255).astype(np.uint8))


@pytest.mark.parametrize("size", [(24, 32), (30, 53), (48, 64), (180, 320), (32, 700)])
@pytest.mark.parametrize("speed", [0, 1])
@pytest.mark.parametrize("lengths", [(1, 9), (11, 4, 4, 30), (9, 1)])
def test_each_cut_is_found_at_its_frame(lengths, speed, size):
    assert cuts_of(scenes(*size, lengths, speed=speed)) == list(accumulate(lengths))[:-1]


def test_cuts_to_black_and_back_are_cuts():
    frames = panned(72, 128, 30, speed=1)
    frames[10:20] = [with_luma(frame, lambda y: 0 * y + 16) for frame in frames[10:20]]
    assert cuts_of(frames) == [10, 20]


@pytest.mark.parametrize("length", range(1, NEAR + 1))
def test_shots_and_flashes_of_few_frames_are_left_alone(length):
    assert cuts_of(scenes(72, 128, (12, length, 12))) == []
    frames = panned(72, 128, 24, speed=1)
    frames[12 : 12 + length] = [with_luma(frame, lambda y: 3 * y + 60) for frame in frames[12 : 12 + length]]
    assert cuts_of(frames) == []


def test_what_goes_on_is_no_cut():
    rng = np.random.default_rng(0)
    still = [replace(panned(72, 128, 1, speed=0)[0], pts=t) for t in range(20)]
    for frames in (
        still,
        panned(72, 128, 20, speed=31),
        [with_luma(frame, lambda y: y + rng.normal(0, 20, y.shape)) for frame in still],
        [with_luma(frame, lambda y: 0 * y + rng.integers(0, 256, y.shape)) for frame in still],
        [with_luma(frame, lambda y: y * abs(10 - frame.pts) / 10) for frame in still],  # noqa: B023 (called at once)
        [with_luma(frame, lambda y: y * 0.6 + 80 * (frame.pts % 10 > 4)) for frame in still],  # noqa: B023 (as above)
    ):
        assert cuts_of(frames) == []


def test_a_dissolve_is_no_cut():
    before, after = (panned(72, 128, 24, speed=1, seed=seed) for seed in (0, 1))
    shares = np.clip((np.arange(24) - 8) / 8, 0, 1)
    mixed = [
        with_luma(a, lambda y: (1 - s) * y + s * b.y)  # noqa: B023 (called at once)
        for a, b, s in zip(before, after, shares, strict=True)
    ]
    assert cuts_of(mixed) == []


def test_a_pan_that_begins_or_ends_is_no_cut():
    frames = panned(180, 320, 40, speed=4)
    assert cuts_of([*[frames[0]] * 10, *frames, *[frames[-1]] * 10]) == []


@pytest.mark.parametrize("size", [(1, 1), (7, 64), (64, 7)])
def test_pictures_without_a_block_have_no_cuts(size):
    assert cuts_of(scenes(*size, (9, 9))) == []


@pytest.mark.parametrize("num_frames", range(2 * NEAR + 2))
def test_short_videos_come_out_whole(num_frames):
    assert cuts_of(panned(24, 24, num_frames, speed=1)) == []


@pytest.mark.parametrize("size", [(8, 8), (75, 112), (37, 80), (16, 300)])
def test_the_change_is_that_of_the_definition(size):
    """In plain integers, block by block."""
    rng = np.random.default_rng(size[0])
    for before, after in rng.integers(0, 256, (3, 2, *size), dtype=np.uint8):
        small = [smaller(luma.tolist()) for luma in (before, after)]
        arrays = [scene_cuts._small(luma) for luma in (before, after)]
        assert [array.tolist() for array in arrays] == small
        assert scene_cuts.change(*arrays) == expected_change(*small)


def smaller(luma):
    size = len(luma), len(luma[0])
    height, width = (max(1, min(size) // 36, n // 128) for n in size)
    rows, columns = 8 * (size[0] // height // 8), 8 * (size[1] // width // 8)
    return [
        [
            sum(luma[height * r + i][width * c + j] for i in range(height) for j in range(width)) // (height * width)
            for c in range(columns)
        ]
        for r in range(rows)
    ]


def expected_change(before, after):
    rows, columns = len(after), len(after[0])

    def variation(difference, row, column):
        values = [difference(row + i, column + j) for i in range(8) for j in range(8)]
        return sum(abs(64 * value - sum(values)) for value in values)

    def from_place(dr, dc):
        return lambda r, c: after[r][c] - before[min(max(r + dr, 0), rows - 1)][min(max(c + dc, 0), columns - 1)]

    blocks = [(r, c) for r in range(0, rows, 8) for c in range(0, columns, 8)]
    places = [(dr, dc) for dr in (-1, 0, 1) for dc in (-1, 0, 1)]
    left = sum(min(variation(from_place(*place), *block) for place in places) for block in blocks)
    held = [sum(variation(lambda r, c: p[r][c], *block) for block in blocks) for p in (before, after)]  # noqa: B023
    return 1000 * left // (max(held) + 2 * 64 * rows * columns)
