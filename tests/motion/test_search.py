import subprocess
import sys

import cv2
import numpy as np
import pytest

from vtok.motion.search import MotionSearch
from vtok.video.motion import DISTANCES, MAX_VECTOR, STEPS, motion_size

Luma = np.ndarray


def texture(height: int, width: int, seed: int = 0) -> Luma:
    noise = np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return 128 + 40 * (smooth - smooth.mean()) / smooth.std()


def window(picture: Luma, x: float, y: float, height: int, width: int) -> Luma:
    """Pixels of `picture` from `(x, y)` on, as uint8."""
    columns, rows = np.meshgrid(np.arange(width) + x, np.arange(height) + y)
    samples = cv2.remap(picture, columns.astype(np.float32), rows.astype(np.float32), cv2.INTER_CUBIC)
    return samples.round().clip(0, 255).astype(np.uint8)


def pan(x: float, y: float, height: int = 96, width: int = 160) -> Luma:
    """Nine frames, -1 to 7 of a chunk; from one to the next the window moves by `(x, y)` pixels."""
    picture = texture(height + 120, width + 120)
    return np.stack([window(picture, 60 + t * x, 60 + t * y, height, width) for t in range(-1, 8)])


def noisy(frames: Luma, sigma: float) -> Luma:
    noise = np.random.default_rng(1).normal(0, sigma, frames.shape)
    return (frames + noise).round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(("x", "y"), [(1.75, -0.5), (5.25, 0), (-2, 3.25)])
def test_steady_motion_is_found_exactly(x: float, y: float):
    frames = pan(x, y)
    search = MotionSearch(*frames.shape[1:])
    fields = search.alignment(frames[1:], 14)
    for field, distance in zip(fields, DISTANCES[:-1], strict=True):
        # What was at p is at p - shift one frame later.
        expected = np.array([-x, -y])[:, None, None] * 4 * distance
        assert np.array_equal(field[:, 1:-1, 2:-2], np.broadcast_to(expected, field[:, 1:-1, 2:-2].shape))


@pytest.mark.parametrize("lagrangian", [0.5, 4, 14, 50])
@pytest.mark.parametrize("sigma", [0, 1, 3, 8])
@pytest.mark.parametrize("contrast", [0, 1])
def test_noise_is_not_motion(lagrangian: float, sigma: float, contrast: float):
    still = np.stack([128 + contrast * (texture(120, 200) - 128)] * 9)
    frames = noisy(still, sigma)
    search = MotionSearch(120, 200)
    fields = search.alignment(frames[1:], lagrangian)
    assert not fields.any()


@pytest.mark.parametrize("size", [(1, 1), (15, 200), (16, 16), (17, 33), (200, 20), (16, 5000), (90, 130)])
def test_any_size(size: tuple[int, int]):
    frames = np.random.default_rng(0).integers(0, 256, (9, *size)).astype(np.uint8)
    search = MotionSearch(*size)
    fields = search.alignment(frames[1:], 4)
    assert fields.shape == (len(STEPS), 2, *motion_size(*size))
    assert fields.dtype == np.int16
    assert np.abs(fields).max() <= MAX_VECTOR


def test_parts_of_blocks_at_the_edges_move_too():
    frames = pan(3, 1, 70, 110)
    fields = MotionSearch(70, 110).alignment(frames[1:], 14)
    assert fields.shape == (7, 2, 5, 7)
    assert (fields[1] == np.array([-12, -4])[:, None, None]).mean() > 0.9


def test_same_input_gives_the_same_fields():
    frames = pan(2.5, 1)
    other = pan(-1, 0.5)
    search = MotionSearch(*frames.shape[1:])
    first = search.alignment(frames[1:], 14)
    search.alignment(other[1:], 14)
    assert np.array_equal(search.alignment(frames[1:], 14), first)
    assert np.array_equal(MotionSearch(*frames.shape[1:]).alignment(frames[1:], 14), first)


def object_over_background(lagrangian: float) -> np.ndarray:
    """The fields of a chunk in which a part, not aligned to units, moves to the right."""
    ground, thing = texture(192, 256), texture(192, 256, seed=5)
    frames = []
    for t in range(8):
        frame = window(ground, 0, 0, 192, 256)
        frame[48:112, 80 + 2 * t : 176 + 2 * t] = window(thing, 0, 0, 64, 96)
        frames.append(frame)
    return MotionSearch(192, 256).alignment(np.stack(frames), lagrangian)


def test_an_object_moves_and_the_rest_does_not():
    fields = object_over_background(10)
    assert (fields[1][:, 4:6, 6:10] == np.array([8, 0])[:, None, None]).all()
    assert not fields[:, :, :2].any()
    assert not fields[:, :, -3:].any()


def count_split_units(field: np.ndarray) -> int:
    units = field.reshape(2, 6, 2, 8, 2)
    return int((units.max((2, 4)) != units.min((2, 4))).any(0).sum())


def test_dear_bits_merge_blocks_and_dearer_ones_stop_motion():
    cheap, dear, too_dear = (object_over_background(lagrangian) for lagrangian in (2, 200, 5000))
    assert count_split_units(cheap[0]) > count_split_units(dear[0])
    assert dear.any()
    assert not too_dear.any()


def test_threads_of_opencv_are_left_as_they_were():
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        MotionSearch(64, 64).alignment(np.zeros((8, 64, 64), np.uint8), 14)
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)


def test_the_command_line_starts_without_opencv():
    code = "import sys, vtok, vtok.cli.app, vtok.video.motion; sys.exit('cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
