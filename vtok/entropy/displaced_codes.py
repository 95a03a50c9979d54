"""Codes that a latent frame would have if it had moved, in exact arithmetic: what the prior takes for the one before.

    codes --> mean of their eight frames --> sampled at displaced positions --> codes of eight such frames

`vtok.networks.displaced_codes` does the same in floating point, for training. Here both matrices are multiples of a
power of two in float64, and so small that no sum has more than 53 bits. So products are exact, in any order. Samples
and codes are rounded to integers, halves to even.
"""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from vtok.entropy.channel_flags import ZERO_CODE
from vtok.entropy.prior_layers import half_precision
from vtok.errors import WeightsError
from vtok.networks.klt import PATCH, BlockTransform
from vtok.networks.layers import QualityTable
from vtok.video.motion import BLOCK, UNITS, Vectors

STEPS_PER_LEVEL = 16  # of samples
STEPS_OF_ONE = 2040  # of a sample: black and white are -1 and 1, 127.5 levels from grey
GAIN_BITS, SAMPLE_BITS, CODE_BITS = 12, 16, 24  # gains and the entries of both matrices are multiples of 2^-bits
SIDE = BLOCK // PATCH  # latent positions on a side of a block of motion
LUMA, CHROMA = PATCH**2, PATCH**2 // 4  # samples of a plane of one frame at a latent position
FRAME = LUMA + 2 * CHROMA
POSITIONS_AT_ONCE = 1024

Codes: TypeAlias = NDArray[np.uint8]
Samples: TypeAlias = NDArray[np.int16]  # in sixteenths of a level; grey is 0
Matrix: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.intp]


class SampledFrame:
    """The mean of the eight frames of a chunk, without networks, in whole latent positions.

    Args:
        luma: Samples `[8 H, 8 W]`.
        chroma: Samples of both planes, scaled as in block vectors (`vtok.networks.klt`), `[2, 4 H, 4 W]`.
    """

    def __init__(self, luma: Samples, chroma: Samples) -> None:
        self.luma, self.chroma = luma, chroma
        # A block at most as far out as all its samples are those of the edge, so all vectors can be looked up.
        self._padded = [_padded(luma[None], BLOCK + 1), _padded(chroma, BLOCK // 2 + 1)]

    def luma_levels(self) -> NDArray[np.uint8]:
        """The luma in levels from 0 (black) to 255 (white), `[8 H, 8 W]`."""
        levels: Samples = (self.luma + (ZERO_CODE * STEPS_PER_LEVEL + STEPS_PER_LEVEL // 2)) // STEPS_PER_LEVEL
        return levels.clip(0, 255).astype(np.uint8)

    def sampled(self, vectors: Vectors, rows: Indices, columns: Indices) -> Matrix:
        """The samples of some blocks `[num]`, displaced by `vectors [2, num]`: `[num, 2, 2, 96]`, for each position."""
        x = np.empty((len(rows), SIDE, SIDE, FRAME))
        for planes, side, start in zip(self._padded, (BLOCK, BLOCK // 2), (0, LUMA), strict=True):
            for plane in _sample(planes, side, vectors, rows, columns):
                end = start + (side // SIDE) ** 2
                blocks = plane.reshape(-1, SIDE, side // SIDE, SIDE, side // SIDE).transpose(0, 1, 3, 2, 4)
                x[..., start:end].reshape(blocks.shape)[:] = blocks
                start = end
        return x


def _padded(planes: Samples, pad: int) -> Samples:
    return np.pad(planes, ((0, 0), (pad, pad), (pad, pad)), mode="edge")


def _sample(
    padded: Samples, side: int, vectors: Vectors, rows: Indices, columns: Indices
) -> Iterator[NDArray[np.int32]]:
    """For each plane, displaced blocks `[num, side, side]`, by bilinear interpolation; edges go on beyond the frame."""
    units = UNITS * BLOCK // side
    places, shares = [], []
    for vector, block, size in zip(vectors, (columns, rows), (padded.shape[2], padded.shape[1]), strict=True):
        whole = vector.astype(np.intp) // units
        places.append((side * block + whole + side + 1).clip(0, size - side - 1))
        shares.append((vector - whole * units).astype(np.int32)[:, None, None])
    for plane in padded:
        x = sliding_window_view(plane, (side + 1, side + 1))[places[1], places[0]].astype(np.int32)
        x = x[:, :, :-1] * units + shares[0] * (x[:, :, 1:] - x[:, :, :-1])
        x = x[:, :-1] * units + shares[1] * (x[:, 1:] - x[:, :-1])
        yield x + units * units // 2 >> 2 * (units.bit_length() - 1)


class DisplacedCodes:
    """Displaces codes at one quality.

    Attributes:
        num_channels: Number of first channels that are displaced; in others, displaced codes are zero.

    Args:
        to_samples: Samples of codes, multiples of 2^-16, `[96, n]`.
        to_codes: Codes of samples, multiples of 2^-24, `[num_channels, 96]`.
    """

    def __init__(self, to_samples: Matrix, to_codes: Matrix) -> None:
        self.to_samples, self.to_codes = to_samples, to_codes
        self.num_channels = len(to_codes)

    def frame(self, codes: Codes) -> SampledFrame:
        """The mean of the eight frames that stored codes `[n, H, W]` stand for."""
        _, height, width = codes.shape
        used = np.flatnonzero((codes != ZERO_CODE).any((1, 2)))
        to_samples = self.to_samples[:, used]
        luma = np.empty((height, PATCH, width, PATCH), np.int16)
        chroma = np.empty((2, height, PATCH // 2, width, PATCH // 2), np.int16)
        rows_at_once = max(1, POSITIONS_AT_ONCE // width)
        for start in range(0, height, rows_at_once):
            rows = slice(start, start + rows_at_once)
            strip = codes[used, rows]
            centred = strip.reshape(len(used), strip.shape[1] * width).astype(np.float64) - ZERO_CODE
            samples = _rounded(_product(to_samples, centred), np.iinfo(np.int16)).reshape(FRAME, -1, width)
            luma[rows] = samples[:LUMA].reshape(PATCH, PATCH, -1, width).transpose(2, 0, 3, 1)
            of_chroma = samples[LUMA:].reshape(2, PATCH // 2, PATCH // 2, -1, width)
            chroma[:, rows] = of_chroma.transpose(0, 3, 1, 4, 2)
        return SampledFrame(
            luma.reshape(height * PATCH, -1), chroma.reshape(2, height * PATCH // 2, width * PATCH // 2)
        )

    def expected(self, frame: SampledFrame, vectors: Vectors, num_channels: int | None = None) -> NDArray[np.int16]:
        """Codes of the first channels if every block is displaced by its vector, zero or not.

        Args:
            frame: The frame of the codes before.
            vectors: Vectors in quarters of a pixel, `[2, rows, columns]`.
            num_channels: Number of channels, at most and by default `self.num_channels`.

        Returns:
            Centred codes, `[num_channels, H, W]`.
        """
        num_channels = self.num_channels if num_channels is None else num_channels
        height, width = (size // PATCH for size in frame.luma.shape)
        rows, columns = vectors.shape[1:]
        codes = np.empty((num_channels, rows, SIDE, columns, SIDE), np.int16)
        rows_at_once = max(1, POSITIONS_AT_ONCE // (SIDE**2 * columns))
        for start in range(0, rows, rows_at_once):
            part = vectors[:, start : start + rows_at_once]
            row, column = (x.ravel() for x in np.indices(part.shape[1:]))
            x = self._codes(frame, part.reshape(2, -1), start + row, column, num_channels)
            x = x.reshape(num_channels, -1, columns, SIDE, SIDE)
            codes[:, start : start + rows_at_once] = x.transpose(0, 1, 3, 2, 4)
        return codes.reshape(num_channels, rows * SIDE, columns * SIDE)[:, :height, :width]

    def at_displaced(self, codes: Codes, vectors: Vectors) -> tuple[Indices, NDArray[np.int16]]:
        """What is expected at displaced positions.

        Args:
            codes: Stored codes before, `[n, H, W]`.
            vectors: Vectors in quarters of a pixel, `[2, rows, columns]`.

        Returns:
            The displaced positions, those in blocks whose vectors are not zero, as places in a map `[num]`, and centred
            codes `[num_channels, num]` there.
        """
        _, height, width = codes.shape
        rows, columns = (vectors != 0).any(0).nonzero()
        parts = [np.empty((self.num_channels, 0, SIDE, SIDE), np.int16)]
        if len(rows):
            frame = self.frame(codes)
            for start in range(0, len(rows), POSITIONS_AT_ONCE // SIDE**2):
                row, column = (x[start : start + POSITIONS_AT_ONCE // SIDE**2] for x in (rows, columns))
                parts.append(self._codes(frame, vectors[:, row, column], row, column, self.num_channels))
        latent_row = (SIDE * rows)[:, None, None] + np.arange(SIDE)[:, None]
        latent_column = (SIDE * columns)[:, None, None] + np.arange(SIDE)
        is_inside = (latent_row < height) & (latent_column < width)
        return (latent_row * width + latent_column)[is_inside], np.concatenate(parts, axis=1)[:, is_inside]

    def displaced(self, codes: Codes, vectors: Vectors) -> NDArray[np.int16]:
        """Centred codes `[n, H, W]`: stored `codes` in place where a vector is zero, else what is expected."""
        places, expected = self.at_displaced(codes, vectors)
        displaced = codes.astype(np.int16) - ZERO_CODE
        flat = displaced.reshape(len(codes), -1)
        flat[: self.num_channels, places] = expected
        flat[self.num_channels :, places] = 0
        return displaced

    def _codes(
        self, frame: SampledFrame, vectors: Vectors, rows: Indices, columns: Indices, num_channels: int
    ) -> NDArray[np.int16]:
        """The codes of some blocks `[num]`, displaced by `vectors [2, num]`: `[num_channels, num, 2, 2]`."""
        x = frame.sampled(vectors, rows, columns)
        codes = _product(self.to_codes[:num_channels], x.reshape(-1, FRAME).T)
        return _rounded(codes, np.iinfo(np.int8)).reshape(num_channels, *x.shape[:-1])


def _product(a: Matrix, b: Matrix) -> Matrix:
    """The product of matrices, by PyTorch, whose threads are counted."""
    product: Matrix = (torch.from_numpy(a) @ torch.from_numpy(b)).numpy()
    return product


def _rounded(values: Matrix, limits: np.iinfo[np.signedinteger]) -> NDArray[np.int16]:
    """Values as integers within limits. Changes them."""
    return np.clip(np.rint(values, out=values), limits.min, limits.max, out=values).astype(np.int16)


class DisplacementMatrices:
    """The matrices of `DisplacedCodes` for all qualities, checked to have exact sums.

    Attributes:
        gains: Codes per unit of a coefficient, int32 `[num_qualities, n]`, in units of 2^-12.

    Args:
        transform: The block transform of the codes.
        gains: As the attribute.
        num_channels: Number of first channels that are displaced.

    Raises:
        WeightsError: Gains have the wrong shape or type or are not positive, or a worst-case sum has too many bits.
    """

    def __init__(self, transform: BlockTransform, gains: Tensor, num_channels: int) -> None:
        n = len(transform.analysis)
        if gains.dtype != torch.int32 or gains.ndim != 2 or gains.shape[1] != n or not len(gains) or gains.min() < 1:
            raise WeightsError(
                f"exact prior: gains are {tuple(gains.shape)} {gains.dtype}; expected positive int32 [.., {n}]"
            )
        self.gains = gains
        # Sums of eight numbers of half precision are exact in float64.
        self._synthesis = _sum_of_frames(half_precision(transform.synthesis)).numpy()
        self._analysis = _sum_of_frames(half_precision(transform.analysis).T).numpy().T[:num_channels]
        self._of_quality: dict[int, DisplacedCodes] = {}
        self._check()

    @np.errstate(all="ignore")
    def _check(self) -> None:
        gains = self.gains.double().numpy()
        of_sample = np.abs(self._synthesis) @ (2.0**GAIN_BITS / gains.T) * (STEPS_OF_ONE / PATCH * 2**SAMPLE_BITS)
        samples = ZERO_CODE * (of_sample + len(gains.T))
        of_code = np.abs(self._analysis).sum(1) * gains[:, : len(self._analysis)] / 2**GAIN_BITS
        codes = 2**15 * (of_code / STEPS_OF_ONE * 2**CODE_BITS + FRAME)
        worst = np.max([samples.max(), codes.max()])
        if not worst < 2**53:  # nor if it is not a number
            raise WeightsError(f"exact prior: sums of displaced codes have a worst case of {worst:.3g}")

    def of_quality(self, quality: float) -> DisplacedCodes:
        """Those of the nearest whole quality, halves up."""
        row = min(max(int(np.floor(quality + 0.5)), 1), len(self.gains)) - 1
        if row not in self._of_quality:
            # Products and quotients are rounded to float64 one by one, then to integers: the same on every machine.
            gains = self.gains[row].double().numpy()
            to_samples = self._synthesis * (STEPS_OF_ONE // PATCH * 2.0 ** (GAIN_BITS + SAMPLE_BITS)) / gains
            to_codes = (
                gains[: len(self._analysis), None] * self._analysis * 2.0 ** (CODE_BITS - GAIN_BITS) / STEPS_OF_ONE
            )
            self._of_quality[row] = DisplacedCodes(
                np.rint(to_samples) / 2**SAMPLE_BITS, np.ascontiguousarray(np.rint(to_codes)) / 2**CODE_BITS
            )
        return self._of_quality[row]


def quantize_gains(log_gain: QualityTable) -> Tensor:
    """Gains in units of 2^-12, int32 `[num_qualities, n]`. The exponential differs between machines: store them.

    Raises:
        WeightsError: A gain is too large.
    """
    gains = torch.round(half_precision(log_gain.rows).exp() * 2**GAIN_BITS).clamp_min(1)
    if not gains.max() < 2**31:
        raise WeightsError(f"gains up to {gains.max() / 2**GAIN_BITS:.3g} are too large")
    return gains.to(torch.int32)


def _sum_of_frames(columns: Tensor) -> Tensor:
    """Sums over the eight frames of block vectors, the columns `[768, n]`: `[96, n]`."""
    planes = torch.split(columns, [PATCH * size for size in (LUMA, CHROMA, CHROMA)])
    return torch.cat([plane.reshape(PATCH, -1, columns.shape[1]).sum(0) for plane in planes])
