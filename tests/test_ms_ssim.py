"""MS-SSIM is that of a published library, and of its definition written down window by window."""

import math

import numpy as np
import pytest
import torch

from vtok.measure.ms_ssim import MIN_SIZE, SCALE_WEIGHTS, ms_ssim


def pair(h, w, *, noise):
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[:h, :w]
    a = (128 + 60 * np.sin(columns / 9) * np.cos(rows / 13) + rng.normal(0, 10, (h, w))).clip(0, 255).astype(np.uint8)
    return a, (a + rng.normal(0, noise, (h, w))).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(("h", "w"), [(176, 192), (208, 320)])  # that library treats odd sizes in a way of its own
@pytest.mark.parametrize("noise", [3, 40])
def test_agrees_with_a_published_library(h, w, noise):
    library = pytest.importorskip("pytorch_msssim")
    a, b = pair(h, w, noise=noise)
    tensors = (torch.from_numpy(plane).float()[None, None] for plane in (a, b))
    assert ms_ssim(a, b) == pytest.approx(float(library.ms_ssim(*tensors, data_range=255)), abs=2e-5)


def plain_ms_ssim(a, b):
    """Scale by scale in float64, every window on its own, weights in two dimensions."""
    bell = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = np.outer(bell, bell) / bell.sum() ** 2
    result = 1.0
    a, b = a.astype(float), b.astype(float)
    for scale, exponent in enumerate(SCALE_WEIGHTS):
        if scale:
            h, w = (size // 2 for size in a.shape)
            a, b = (p[: 2 * h, : 2 * w].reshape(h, 2, w, 2).mean(axis=(1, 3)) for p in (a, b))
        p, q = (np.lib.stride_tricks.sliding_window_view(plane, (11, 11)) for plane in (a, b))

        def mean(x):
            return np.einsum("yxij,ij->yx", x, window)  # used within the turn

        mean_p, mean_q = mean(p), mean(q)
        deviations = p - mean_p[..., None, None], q - mean_q[..., None, None]
        variances = mean(deviations[0] ** 2) + mean(deviations[1] ** 2)
        values = (2 * mean(deviations[0] * deviations[1]) + 7.65**2) / (variances + 7.65**2)
        if scale == 4:
            values *= (2 * mean_p * mean_q + 2.55**2) / (mean_p**2 + mean_q**2 + 2.55**2)
        result *= values.mean() ** exponent
    return result


def test_is_the_plain_definition_of_odd_sizes_too():
    a, b = pair(179, 185, noise=30)
    assert ms_ssim(a, b) == pytest.approx(plain_ms_ssim(a, b), abs=2e-5)


def test_bounds():
    a, b = pair(MIN_SIZE, MIN_SIZE, noise=20)
    assert ms_ssim(a, a) == 1
    assert ms_ssim(a, 255 - a) == 0, "a negative mean has no power"
    assert 0 < ms_ssim(a, b) < 1
    assert math.isfinite(ms_ssim(np.zeros_like(a), np.full_like(a, 255)))


def test_too_small_for_five_scales():
    a, b = pair(MIN_SIZE - 1, 640, noise=20)
    assert ms_ssim(a, b) is ms_ssim(a.T, b.T) is None
