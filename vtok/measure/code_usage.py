"""Use of the codes of a `.vtok` file, and their cost."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtok.codec.code_costs import CodeCosts, GroupCost
from vtok.codec.compressed_video import LatentFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeUsage:
    """Use of the codes of a `.vtok` file; entropies are of each channel's codes over the whole file.

    Attributes:
        num_codes: Number of codes, one byte each before entropy coding.
        bits_per_code: Bits of the file per code.
        entropy_bits_per_code: Mean entropy of the channels: the bits that one fixed ideal table per channel would need.
        num_used_channels: Number of channels with any code other than zero.
        zero_share: Share of codes that are zero, 0 to 1.
        channel_entropy_bits: Entropy of each channel `[n]`, most important first.
        channel_num_values: Number of different codes in each channel `[n]`.
        num_coded_bytes: Bytes of the entropy-coded codes in the file; raw, they would take `num_codes` bytes.
        num_motion_bytes: Bytes of the entropy-coded motion in the file.
        saved_share: Share of the raw bytes that the range coder saved, 0 to 1.
        ideal_bits: Sum of `channel_bits`. The file stores more: flags of channels and the coder's overhead.
        channel_bits: Ideal code length under the prior of all codes of each channel `[n]`, in bits.
        groups: Cost of each group of frames, a list of `GroupCost`.
    """

    num_codes: int
    bits_per_code: float
    entropy_bits_per_code: float
    num_used_channels: int
    zero_share: float
    channel_entropy_bits: list[float]
    channel_num_values: list[int]
    num_coded_bytes: int
    num_motion_bytes: int
    saved_share: float
    ideal_bits: float
    channel_bits: list[float]
    groups: list[GroupCost]


class CodeHistogram:
    """Counts the values of the codes of each channel."""

    def __init__(self) -> None:
        self._counts: NDArray[np.int64] | None = None

    def count(self, latents: Iterable[LatentFrame]) -> Iterator[LatentFrame]:
        """Yield the same `latents`, and count their codes on the way."""
        for latent in latents:
            codes = latent.tokens.codes
            n = len(codes)
            offsets = 256 * np.arange(n)[:, None, None]
            counts = np.bincount((codes + offsets).reshape(-1), minlength=256 * n).reshape(n, 256)
            self._counts = counts if self._counts is None else self._counts + counts
            yield latent

    def usage(self, num_bytes: int, costs: CodeCosts) -> CodeUsage:
        """The usage of the counted codes; `num_bytes` is the file's size without sound."""
        assert self._counts is not None  # frames were decoded
        assert costs.channel_bits is not None
        total = int(self._counts.sum())
        share = self._counts / self._counts.sum(axis=1, keepdims=True)
        entropy = -(share * np.log2(np.where(share > 0, share, 1))).sum(axis=1)
        zeros = self._counts[:, 128]
        num_motion_bytes = sum(group.num_motion_bytes for group in costs.groups)
        num_coded_bytes = sum(group.num_bytes for group in costs.groups) - num_motion_bytes
        return CodeUsage(
            num_codes=total,
            bits_per_code=8 * num_bytes / total,
            entropy_bits_per_code=float(entropy.mean()),
            num_used_channels=int((zeros < self._counts.sum(axis=1)).sum()),
            zero_share=float(zeros.sum() / total),
            channel_entropy_bits=[round(float(bits), 6) for bits in entropy],
            channel_num_values=[int(values) for values in (self._counts > 0).sum(axis=1)],
            num_coded_bytes=num_coded_bytes,
            num_motion_bytes=num_motion_bytes,
            saved_share=1 - num_coded_bytes / total,
            ideal_bits=float(costs.channel_bits.sum()),
            channel_bits=[round(float(bits), 3) for bits in costs.channel_bits],
            groups=costs.groups,
        )
