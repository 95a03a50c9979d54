from collections.abc import Callable

import numpy as np
import pytest

from motion.test_search import Luma, texture, window
from vtok.motion.displacement import DisplacementSearch
from vtok.video.motion import MAX_VECTOR, motion_size

STEP = 8  # levels of luma


def dct() -> np.ndarray:
    """An orthonormal transform of blocks of 8x8 pixels, `[64, 64]`, from the lowest frequencies on."""
    k, x = np.mgrid[:8, :8]
    line = np.cos(np.pi * k * (2 * x + 1) / 16) * np.where(k, 0.5, 8**-0.5)
    order = np.argsort(np.add.outer(np.arange(8), np.arange(8)).ravel(), kind="stable")
    return np.kron(line, line)[order]


def latents_of(frame: Luma) -> np.ndarray:
    """The first 32 coefficients of blocks in steps of codes: a still chunk's latents."""
    h, w = frame.shape[0] // 8, frame.shape[1] // 8
    blocks = (frame.astype(np.float64) - 128).reshape(h, 8, w, 8).transpose(1, 3, 0, 2).reshape(64, -1)
    return (dct()[:32] @ blocks).reshape(32, h, w).astype(np.float32) / STEP


def codes_of(frame: Luma) -> np.ndarray:
    return np.rint(latents_of(frame)).clip(-128, 127).astype(np.int16)


def expected_of(reference: Luma) -> Callable[[np.ndarray], np.ndarray]:
    """What is expected where `reference` moves by whole pixels; parts of pixels are rounded."""

    def expected(vectors: np.ndarray) -> np.ndarray:
        h, w = reference.shape
        dx, dy = (np.rint(v / 4).astype(int).repeat(16, 0).repeat(16, 1)[:h, :w] for v in vectors)
        y, x = np.mgrid[:h, :w]
        return codes_of(reference[(y + dy).clip(0, h - 1), (x + dx).clip(0, w - 1)])

    return expected


def search(frame: Luma, reference: Luma, fields: np.ndarray | None = None) -> np.ndarray:
    if fields is None:
        fields = np.zeros((7, 2, *motion_size(*frame.shape)), np.int16)
    one = DisplacementSearch(*frame.shape)
    return one.field(frame, reference, latents_of(frame), codes_of(reference), expected_of(reference), fields)


def is_about(vectors: np.ndarray, x: int, y: int) -> bool:
    return bool((np.abs(vectors - np.array([x, y])[:, None, None]) <= 2).all())


def moved(x: float, y: float, height: int = 128, width: int = 192) -> tuple[Luma, Luma]:
    """A frame and one before it, from which the window has moved by `(x, y)` pixels."""
    picture = texture(height + 120, width + 120)
    return window(picture, 60 + x, 60 + y, height, width), window(picture, 60, 60, height, width)


@pytest.mark.parametrize(("x", "y"), [(3, 0), (-12, 8), (2, -6)])
def test_motion_is_found_and_codes_get_cheaper(x: int, y: int):
    frame, reference = moved(x, y)
    field = search(frame, reference)
    assert is_about(field[:, 2:-2, 2:-2], 4 * x, 4 * y)
    codes = codes_of(frame)
    in_place, displaced = (np.abs(codes - c).sum() for c in (codes_of(reference), expected_of(reference)(field)))
    assert displaced < 0.5 * in_place


def test_a_large_motion_is_found_from_that_within_the_chunk():
    frame, reference = moved(48, 0)
    fields = np.zeros((7, 2, *motion_size(*frame.shape)), np.int16)
    for k, distance in enumerate((-3, 1, -1, 2, -1, 1, -1)):
        fields[k, 0] = -24 * distance
    field = search(frame, reference, fields)
    assert is_about(field[:, 2:-2, 2:-4], 192, 0)


def test_a_still_picture_has_no_vectors():
    frame, _ = moved(0, 0)
    assert not search(frame, frame).any()


@pytest.mark.parametrize("sigma", [1, 3, 8])
@pytest.mark.parametrize("contrast", [0, 1])
def test_noise_is_not_motion(sigma: float, contrast: float):
    picture = 128 + contrast * (texture(128, 192) - 128)
    noise = np.random.default_rng(1).normal(0, sigma, (2, 128, 192))
    frame, reference = (picture + noise).round().clip(0, 255).astype(np.uint8)
    assert not search(frame, reference).any()


def test_what_is_new_has_no_vectors():
    frame, reference = texture(128, 192, seed=1), texture(128, 192, seed=2)
    field = search(frame.round().clip(0, 255).astype(np.uint8), reference.round().clip(0, 255).astype(np.uint8))
    assert field.any(0).mean() < 0.1


def test_only_what_has_moved_is_displaced():
    ground = window(texture(192, 256), 0, 0, 192, 256)
    thing = window(texture(192, 256, seed=5), 0, 0, 64, 64)
    frame, reference = ground.copy(), ground.copy()
    reference[64:128, 64:128], frame[64:128, 72:136] = thing, thing
    field = search(frame, reference)
    assert is_about(field[:, 4:8, 4:8], -32, 0)
    assert not field[:, :4].any()
    assert not field[:, 8:].any()


def test_units_have_one_vector():
    frame, reference = moved(5, 3)
    field = search(frame, reference)
    units = field.reshape(2, 4, 2, 6, 2)
    assert np.array_equal(units.max((2, 4)), units.min((2, 4)))


def test_same_input_gives_the_same_field():
    frame, reference = moved(5, 3)
    one = DisplacementSearch(*frame.shape)
    fields = np.zeros((7, 2, *motion_size(*frame.shape)), np.int16)

    def run(frame: Luma, reference: Luma) -> np.ndarray:
        return one.field(frame, reference, latents_of(frame), codes_of(reference), expected_of(reference), fields)

    first = run(frame, reference)
    run(*moved(-8, 2))
    assert np.array_equal(run(frame, reference), first)
    assert np.array_equal(search(frame, reference), first)


@pytest.mark.parametrize("size", [(8, 8), (8, 200), (16, 16), (24, 40), (200, 24), (16, 2000), (88, 136)])
def test_any_size(size: tuple[int, int]):
    frame, reference = np.random.default_rng(0).integers(0, 256, (2, *size)).astype(np.uint8)
    field = search(frame, reference)
    assert field.shape == (2, *motion_size(*size))
    assert field.dtype == np.int16
    assert np.abs(field).max() <= MAX_VECTOR
