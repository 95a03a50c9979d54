"""Multi-scale structural similarity of luma.

Z. Wang, E. Simoncelli, A. Bovik, "Multiscale structural similarity for image quality assessment" (2003): Gaussian
windows of 11x11 pixels at every place where they fit, contrast and structure at five scales, luminance at the last.
Between scales, 2x2 pixels are averaged; an odd last row or column is left out.
"""

import math

import numpy as np
import numpy.typing as npt

Map = npt.NDArray[np.float32]

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales, finest first: those of the paper."""
WINDOW_SIZE, WINDOW_SIGMA = 11, 1.5
MIN_SIZE = WINDOW_SIZE << len(SCALE_WEIGHTS) - 1
"""Least number of rows and of columns for a window to fit into the coarsest scale: 176."""

_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_DISTANCES = np.arange(WINDOW_SIZE) - WINDOW_SIZE // 2
_BELL = np.exp(-(_DISTANCES**2) / (2 * WINDOW_SIGMA**2))
_TAPS = (_BELL / _BELL.sum()).astype(np.float32)


def ms_ssim(reference: npt.NDArray[np.uint8], decoded: npt.NDArray[np.uint8]) -> float | None:
    """MS-SSIM of two uint8 planes `[h, w]` of one size, 0 to 1; None where h or w is below `MIN_SIZE`.

    A negative mean of contrast and structure has no power, so such a scale counts as 0.
    """
    if min(reference.shape) < MIN_SIZE:
        return None
    a, b = reference.astype(np.float32), decoded.astype(np.float32)
    factors: list[float] = []
    for scale in range(len(SCALE_WEIGHTS)):
        if scale:
            a, b = _halve(a), _halve(b)
        luminance, similarity = _similarity(a, b)
        if scale == len(SCALE_WEIGHTS) - 1:
            similarity = luminance * similarity
        factors.append(float(similarity.mean(dtype=np.float64)))
    return math.prod(float(max(factor, 0.0) ** weight) for factor, weight in zip(factors, SCALE_WEIGHTS, strict=True))


def _similarity(a: Map, b: Map) -> tuple[Map, Map]:
    """Luminance and (contrast times structure) of SSIM at every place of the window."""
    mean_a, mean_b = _blur(a), _blur(b)
    means, squares = mean_a * mean_b, mean_a * mean_a + mean_b * mean_b
    covariance = _blur(a * b) - means
    variances = _blur(a * a + b * b) - squares
    luminance = (2 * means + _C1) / (squares + _C1)
    structure = (2 * covariance + _C2) / (variances + _C2)
    return luminance.astype(np.float32), structure.astype(np.float32)


def _blur(x: Map) -> Map:
    """Means of `x [h, w]` under the window, `[h - 10, w - 10]`: down the columns, then along the rows."""
    for axis in (0, 1):
        num = x.shape[axis] - WINDOW_SIZE + 1
        slices = [x[i : i + num] if axis == 0 else x[:, i : i + num] for i in range(WINDOW_SIZE)]
        total = slices[WINDOW_SIZE // 2] * _TAPS[WINDOW_SIZE // 2]
        for i in range(WINDOW_SIZE // 2):  # the window is symmetric, so two rows share one product
            total += (slices[i] + slices[-1 - i]) * _TAPS[i]
        x = total
    return x


def _halve(x: Map) -> Map:
    h, w = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
    rows = x[0:h:2, :w] + x[1:h:2, :w]
    return (rows[:, 0::2] + rows[:, 1::2]) * np.float32(0.25)
