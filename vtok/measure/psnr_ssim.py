"""Quality of a decoded video against its source: PSNR, SSIM and MS-SSIM over the 8-bit planes of 4:2:0 frames.

PSNR over several frames and planes has several common definitions, which differ by tenths of a dB. Here:

* `psnr_y`, `psnr_u`, `psnr_v` are *global*: squared errors are pooled over all frames, then turned into dB once. They
  are the `y:`, `u:` and `v:` of the summary line of FFmpeg's `psnr` filter.
* `psnr_yuv`, the headline of this project, is (6 Y + U + V) / 8 of those three dB values, the 6:1:1 weighting that is
  common for 4:2:0 video (Ohm et al., "Comparison of the coding efficiency of video coding standards", 2012).
* `psnr_average` pools the squared errors of all samples of all three planes before taking the logarithm. It is the
  `average:` of FFmpeg's `psnr` filter and the `Global:` of x264. In 4:2:0 it weighs errors 4:1:1.
* `psnr_y_mean` and the other means average the dB values of the frames, as x264's `PSNR Mean` does.

SSIM is that of FFmpeg's `ssim` filter: overlapping 8x8 windows with equal weights on a grid of 4 pixels, summed in
integers. The SSIM paper has Gaussian windows at every pixel, which give slightly different values (Wang et al., "Image
quality assessment: from error visibility to structural similarity", 2004). MS-SSIM, in `vtok.measure.ms_ssim`, uses
those windows.
"""

import math
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol

import numpy as np
import numpy.typing as npt

from vtok.errors import ConfigError, MediaError
from vtok.measure.ms_ssim import ms_ssim
from vtok.video.frame import Plane

MAX_PSNR_DB = 100.0
"""Cap of every PSNR. That of identical planes is infinite and could be neither averaged nor stored as JSON."""

_PLANE_NAMES = ("y", "u", "v")

# The constants of the SSIM paper, (0.01 * 255)^2 and (0.03 * 255)^2, for sums over 64 samples instead of means.
_SSIM_C1 = int(0.01**2 * 255**2 * 64 + 0.5)
_SSIM_C2 = int(0.03**2 * 255**2 * 64 * 63 + 0.5)


class PlanarFrame(Protocol):
    """Any 4:2:0 frame: uint8 luma `y [h, w]`, chroma `u` and `v` `[ceil(h/2), ceil(w/2)]`."""

    @property
    def y(self) -> Plane: ...  # noqa: D102
    @property
    def u(self) -> Plane: ...  # noqa: D102
    @property
    def v(self) -> Plane: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """The quality of a decoded video. PSNR in dB, at most `MAX_PSNR_DB`; MSE in squared 8-bit steps; SSIM at most 1."""

    num_frames: int
    mse_y: float
    mse_u: float
    mse_v: float
    psnr_y: float
    """Global: from `mse_y`, pooled over all frames. `psnr_u` and `psnr_v` are defined alike."""
    psnr_u: float
    psnr_v: float
    psnr_yuv: float
    """The headline: (6 `psnr_y` + `psnr_u` + `psnr_v`) / 8."""
    psnr_average: float
    """From the squared errors of all samples of all planes: FFmpeg's `average`, x264's `Global`."""
    psnr_y_mean: float
    """The mean over frames of each frame's PSNR. `psnr_u_mean` and `psnr_v_mean` are defined alike."""
    psnr_u_mean: float
    psnr_v_mean: float
    psnr_yuv_mean: float
    """(6 `psnr_y_mean` + `psnr_u_mean` + `psnr_v_mean`) / 8."""
    ssim_y: float
    """The mean over frames of each frame's luma SSIM."""
    ms_ssim_y: float | None
    """The mean over frames of each frame's luma MS-SSIM; None for frames of fewer than `MIN_SIZE` rows or columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Spread of a measure over the frames; percentiles between two frames are interpolated.

    Attributes:
        minimum: The value of the worst frame.
        p5: The 5th percentile: 5 % of the frames are no better.
        p50: The median.
        p95: The 95th percentile.
    """

    minimum: float
    p5: float
    p50: float
    p95: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        """The spread of `values`, of which there must be at least one."""
        minimum, p5, p50, p95 = np.percentile(values, [0, 5, 50, 95]).tolist()
        return cls(minimum=minimum, p5=p5, p50=p50, p95=p95)


class QualityMeter:
    """Compares two videos frame by frame, and keeps a few numbers per frame.

    ```
    meter = QualityMeter()
    for reference, decoded in zip(source_frames, decoded_frames, strict=True):
        meter.add(reference, decoded)
    print(meter.result().psnr_yuv)
    ```

    Attributes:
        num_frames: Number of frames so far.
        frame_psnr: PSNR of luma and both chroma planes of each frame, in dB.
        frame_ssim_y: SSIM of luma of each frame.
        frame_ms_ssim_y: MS-SSIM of luma of each frame; empty if the frames are too small for it.
    """

    def __init__(self) -> None:
        self.num_frames = 0
        # Per plane, in the order of _PLANE_NAMES. Squared errors are integers, so the frame order does not change sums.
        self._squared_errors = [0, 0, 0]
        self._num_samples = [0, 0, 0]
        self.frame_psnr: list[tuple[float, float, float]] = []
        self.frame_ssim_y: list[float] = []
        self.frame_ms_ssim_y: list[float] = []

    def add(self, reference: PlanarFrame, decoded: PlanarFrame) -> None:
        """Add one more pair of frames, which must have one size.

        Raises:
            MediaError: The two frames differ in size, or have no pixels.
            ConfigError: A plane is not a uint8 matrix.
        """
        pairs = [(getattr(reference, name), getattr(decoded, name)) for name in _PLANE_NAMES]
        for name, pair in zip(_PLANE_NAMES, pairs, strict=True):
            _check_planes(name, *pair, index=self.num_frames)
        decibels = []
        for index, (a, b) in enumerate(pairs):
            squares = _squared_differences(a, b)
            # Rows first: the sum of a row (of at most 66,051 samples) fits 32 bits, which NumPy adds faster than 64.
            error = int(squares.sum(axis=1, dtype=np.uint32).sum(dtype=np.uint64))
            self._squared_errors[index] += error
            self._num_samples[index] += a.size
            decibels.append(psnr(error / a.size))
        self.frame_psnr.append((decibels[0], decibels[1], decibels[2]))
        self.frame_ssim_y.append(ssim(*pairs[0]))
        if (multi_scale := ms_ssim(*pairs[0])) is not None:
            self.frame_ms_ssim_y.append(multi_scale)
        self.num_frames += 1

    def result(self) -> Quality:
        """The quality over all frames added so far.

        Raises:
            MediaError: No frames were added.
        """
        if not self.num_frames:
            raise MediaError("0 frames were compared; at least 1 is needed: check that both videos have frames")
        y, u, v = (error / count for error, count in zip(self._squared_errors, self._num_samples, strict=True))
        y_mean, u_mean, v_mean = (fmean(values) for values in zip(*self.frame_psnr, strict=True))
        return Quality(
            num_frames=self.num_frames,
            mse_y=y,
            mse_u=u,
            mse_v=v,
            psnr_y=psnr(y),
            psnr_u=psnr(u),
            psnr_v=psnr(v),
            psnr_yuv=_weigh_6_1_1(psnr(y), psnr(u), psnr(v)),
            psnr_average=psnr(sum(self._squared_errors) / sum(self._num_samples)),
            psnr_y_mean=y_mean,
            psnr_u_mean=u_mean,
            psnr_v_mean=v_mean,
            psnr_yuv_mean=_weigh_6_1_1(y_mean, u_mean, v_mean),
            ssim_y=fmean(self.frame_ssim_y),
            ms_ssim_y=fmean(self.frame_ms_ssim_y) if self.frame_ms_ssim_y else None,
        )

    def frame_psnr_yuv(self) -> list[float]:
        """PSNR of each frame's planes weighted 6:1:1, in dB."""
        return [_weigh_6_1_1(*decibels) for decibels in self.frame_psnr]


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error of 8-bit samples, at most `MAX_PSNR_DB`."""
    return min(10 * math.log10(255**2 / mse), MAX_PSNR_DB) if mse else MAX_PSNR_DB


def ssim(reference: Plane, decoded: Plane) -> float:
    """Structural similarity of two planes `[h, w]`, as FFmpeg's `ssim` filter defines it; 1 if they are identical.

    The last `h % 4` rows and `w % 4` columns do not count, as in the filter. FFmpeg has no value for planes smaller
    than one 8x8 window; they are extended to 8 by repeating their last row or column.
    """
    h, w = reference.shape
    if h < 8 or w < 8:
        border = ((0, max(8 - h, 0)), (0, max(8 - w, 0)))
        reference, decoded = np.pad(reference, border, mode="edge"), np.pad(decoded, border, mode="edge")
    error = _window_sums(_squared_differences(reference, decoded))
    product = _window_sums(np.multiply(reference, decoded, dtype=np.uint16))
    a, b = _window_sums(reference), _window_sums(decoded)
    # Sums over 64 samples of 8 bits: no term below exceeds 64^2 * 255^2 * 2 + C2, so int32 holds all of them.
    squares = error + 2 * product
    a_times_b, a_and_b_squared = a * b, a * a + b * b
    variances = 64 * squares - a_and_b_squared
    covariance = 64 * product - a_times_b
    numerator = (2 * a_times_b + _SSIM_C1).astype(np.float32) * (2 * covariance + _SSIM_C2).astype(np.float32)
    denominator = (a_and_b_squared + _SSIM_C1).astype(np.float32) * (variances + _SSIM_C2).astype(np.float32)
    return float((numerator / denominator).mean(dtype=np.float64))


def _weigh_6_1_1(y: float, u: float, v: float) -> float:
    return (6 * y + u + v) / 8


def _squared_differences(a: Plane, b: Plane) -> npt.NDArray[np.uint16]:
    """`(a - b)^2` within 16 bits: 255^2 just fits, and narrow types make NumPy fast."""
    difference = np.maximum(a, b) - np.minimum(a, b)
    squares: npt.NDArray[np.uint16] = np.multiply(difference, difference, dtype=np.uint16)
    return squares


def _window_sums(plane: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> npt.NDArray[np.int32]:
    """Sums `[h // 4 - 1, w // 4 - 1]` over the 8x8 windows of `plane [h, w]` that start on the grid of 4 pixels."""
    h, w = plane.shape[0] // 4 * 4, plane.shape[1] // 4 * 4
    # Adding strided slices is ten times faster than `.sum` over reshaped axes of length 4.
    rows = np.add(plane[0:h:4, :w], plane[1:h:4, :w], dtype=np.int32)
    rows += plane[2:h:4, :w]
    rows += plane[3:h:4, :w]
    blocks = rows[:, 0::4] + rows[:, 1::4] + rows[:, 2::4] + rows[:, 3::4]
    pairs = blocks[1:] + blocks[:-1]
    windows: npt.NDArray[np.int32] = pairs[:, 1:] + pairs[:, :-1]
    return windows


def _check_planes(name: str, reference: Plane, decoded: Plane, *, index: int) -> None:
    for plane in (reference, decoded):
        if plane.dtype != np.uint8 or plane.ndim != 2:
            raise ConfigError(f"plane {name} is {plane.dtype} of shape {plane.shape}; it must be uint8 of shape [h, w]")
    if reference.shape != decoded.shape or not reference.size:
        (h, w), (decoded_h, decoded_w) = reference.shape, decoded.shape
        raise MediaError(
            f"plane {name} of frame {index} is {w}x{h} in the reference and {decoded_w}x{decoded_h} in the decoded "
            "video; both must have the same size, at least 1x1: compare with the video that was encoded"
        )
