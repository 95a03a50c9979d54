"""The pretrained model in one piece: planes to latents, latents to codes, codes to planes, and the prior over codes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor, nn

from vtok.errors import ConfigError
from vtok.networks.klt import (
    BLOCK_VALUES,
    PATCH,
    BlockTransform,
    cells_to_planes,
    frame_to_blocks,
    frame_to_cells,
    planes_to_blocks,
)
from vtok.networks.latent_networks import AnalysisNetwork, SynthesisNetwork
from vtok.networks.layers import QualityTable, convolve
from vtok.networks.planes import Planes
from vtok.networks.prior import Prior
from vtok.networks.quantizer import ResidualLFQ

# Of integer fields that are not just 1 or more.
_BOUNDS = {
    "num_channels": (1, BLOCK_VALUES),
    "num_stages": (1, 8),
    "blend_dim": (0, 1 << 16),
    "num_qualities": (2, 1 << 16),
    "prior_near_channels": (0, BLOCK_VALUES),
    "prior_near_context": (0, 1 << 16),
    "prior_num_single_pass": (0, BLOCK_VALUES),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentModelConfig:
    """Sizes of the pretrained model.

    Attributes:
        num_channels: Latent channels n; each is one codebook.
        num_stages: Bit planes per channel; 8 make a codebook of 256.
        dim: Width of the networks on the latent grid.
        num_analysis_blocks: Residual blocks of the encoder.
        num_synthesis_blocks: Residual blocks of the decoder.
        refine_dim: Width of the decoder's refinement on the half-size grid.
        guide_dim: Number of channels that the refinement gets from the latent grid.
        blend_dim: Width of the network that blends the ends of chunks; 0 leaves the ends as they are.
        num_qualities: Number of trained operating points.
        finest_step: Step of the quantizer at the highest quality before training, in units of the orthonormal
            transform.
        coarsest_step: Step of the quantizer at quality 1 before training, in units of the orthonormal transform.
        finest_lambda: Cost of a bit per pixel at the highest quality, in units of the distortion (see
            `vtok.networks.objective`).
        coarsest_lambda: Cost of a bit per pixel at quality 1, in units of the distortion; geometric in between.
        prior_groups: Ends of the channel groups of the prior.
        prior_context_dim: Width of the prior's temporal context.
        prior_group_dim: Width of the prior's group networks.
        prior_single_pass_dim: Width of the prior's networks for groups that are coded in one pass.
        prior_near_channels: Number of channels of codes that the prior's networks see around a position.
        prior_near_context: Number of channels that the hidden layer of the prior's temporal context sees around a
            position.
        prior_num_single_pass: Number of the prior's last groups that are coded in one pass.
    """

    num_channels: int = 384
    num_stages: int = 8
    dim: int = 256
    num_analysis_blocks: int = 3
    num_synthesis_blocks: int = 3
    refine_dim: int = 96
    guide_dim: int = 32
    blend_dim: int = 0
    num_qualities: int = 9
    finest_step: float = 0.13
    coarsest_step: float = 3.2
    finest_lambda: float = 0.08
    coarsest_lambda: float = 80.0
    prior_groups: tuple[int, ...] = (16, 64, 128, 256, 384)
    prior_context_dim: int = 160
    prior_group_dim: int = 128
    prior_single_pass_dim: int = 128
    prior_near_channels: int = 384
    prior_near_context: int = 160
    prior_num_single_pass: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, (low, high) = getattr(self, field.name), _BOUNDS.get(field.name, (1, 1 << 16))
            if field.type is int and not (isinstance(value, int) and low <= value <= high):
                raise ConfigError(f"{field.name} is {value!r}; expected an integer from {low} to {high}")
        ends = self.prior_groups
        if not ends or any(not isinstance(end, int) or end <= start for start, end in pairwise((0, *ends))):
            raise ConfigError(f"prior_groups is {ends!r}; expected increasing integers above 0, ends of groups")

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> Self:
        """The configuration that a weights file states, which has lists for tuples.

        Raises:
            TypeError: It has other fields.
            ConfigError: A field is outside its allowed set.
        """
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in config.items()
        }
        return cls(**values)

    @property
    def analysis_reach(self) -> int:
        """Number of rows and columns of blocks around a latent that it depends on."""
        return self.num_analysis_blocks

    @property
    def synthesis_reach(self) -> int:
        """Number of rows and columns of latents around a block that it depends on."""
        # The three convolutions of the refinement see three half-size cells.
        return self.num_synthesis_blocks + 2


DISTORTION_WEIGHT = 100.0  # of the objective, in whose units lambda is
_SEARCH_FACTOR = 88.0
_POSITIONS_AT_ONCE = 2048  # whose coefficients are computed together, outside of the networks
_CHANNELS_TO_ESTIMATE = 64
_BITS_OF_ONE = 4.5  # of a code of one, its place among zeros included


class LatentModel(nn.Module):
    """Analysis, quantization, synthesis and prior at nine qualities in one set of weights.

    Codes are centred here: 0 is zero, and the range is that of `ResidualLFQ`. Latent frames are `[b, n, T, H, W]`.
    """

    def __init__(self, config: LatentModelConfig) -> None:
        super().__init__()
        self.config = config
        n, qualities = config.num_channels, config.num_qualities
        self.transform = BlockTransform(n)
        self.analysis = AnalysisNetwork(n, config.dim, config.num_analysis_blocks, qualities)
        self.synthesis = SynthesisNetwork(
            n,
            config.dim,
            config.num_synthesis_blocks,
            config.refine_dim,
            config.guide_dim,
            config.blend_dim,
            qualities,
        )
        self.quantizer = ResidualLFQ(num_stages=config.num_stages)
        self.log_gain = QualityTable(qualities, n)
        with torch.no_grad():
            steps = torch.linspace(math.log(config.coarsest_step), math.log(config.finest_step), qualities)
            self.log_gain.rows.copy_(-steps[:, None].expand(-1, n))
        self.prior = Prior(
            num_channels=n,
            groups=config.prior_groups,
            context_dim=config.prior_context_dim,
            group_dim=config.prior_group_dim,
            single_pass_dim=config.prior_single_pass_dim,
            near_channels=config.prior_near_channels,
            near_context=config.prior_near_context,
            num_single_pass=config.prior_num_single_pass,
            num_qualities=qualities,
        )

    @torch.no_grad()
    def set_klt(self, second_moments: Tensor) -> None:
        """Start from the KLT of the training set, with gains that keep every channel in the range of its codes."""
        self.transform.set_klt(second_moments)
        # Eight standard deviations must fit; three for the first channel, which is not centred and bounded by white.
        headroom = torch.full_like(self.transform.scale, 8.0)
        headroom[0] = 3.0
        highest = self.quantizer.max_code / (headroom * self.transform.scale)
        self.log_gain.rows.copy_(torch.minimum(self.log_gain.rows, highest.log()))

    def encode(self, planes: Planes, quality: Tensor) -> Tensor:
        """Encode chunks one by one, without motion: their codes alone are enough to decode them.

        Args:
            planes: Planes with luma `[b, 8 T, 8 H, 8 W]`.
            quality: Qualities `[b]`.

        Returns:
            Latents `[b, n, T, H, W]` in units of one code step, not yet rounded, float32.
        """
        chunks = (planes.frames(start, start + PATCH) for start in range(0, planes.y.shape[1], PATCH))
        return torch.cat([self.encode_chunk(chunk, quality) for chunk in chunks], dim=2)

    def decode(self, codes: Tensor, quality: Tensor) -> Planes:
        """Centred codes, or latents in units of one code step, `[b, n, T, H, W]` of `encode` to whole blocks."""
        chunks: list[Planes] = []
        for part in torch.split(codes, 1, dim=2):
            chunk, hint = self.decode_chunk(part, quality)
            if hint is not None and chunks:
                change = self.blend(chunk.frames(0, 1), chunks[-1].frames(PATCH - 1, PATCH), hint, quality)
                chunk = Planes(*(a + b for a, b in zip(chunk, change, strict=True)))
            chunks.append(chunk)
        return Planes(*(torch.cat(planes, dim=1) for planes in zip(*chunks, strict=True)))

    def encode_chunk(self, chunk: Planes, quality: Tensor) -> Tensor:
        """Encode one aligned chunk of each video.

        Args:
            chunk: The chunk, luma `[b, 8, 8 H, 8 W]`.
            quality: Qualities `[b]`.

        Returns:
            Latents in units of one code step, not yet rounded, float32 `[b, n, 1, H, W]`.
        """
        latents: Tensor = self.analysis(self.transform, planes_to_blocks(chunk), quality)
        return latents.float().unsqueeze(2) * self.gain(quality)

    def decode_chunk(
        self, codes: Tensor, quality: Tensor, *, refinement_gradient: bool = True
    ) -> tuple[Planes, Tensor | None]:
        """Centred codes `[b, n, 1, H, W]` to the aligned chunk; the inverse of `encode_chunk`, up to rounding.

        `refinement_gradient` is that of `SynthesisNetwork`.

        Returns:
            The chunk, luma `[b, 8, 8 H, 8 W]`; and, from a model that blends the ends of chunks, what `blend` needs to
            know besides frames, `[b, blend_dim, 2H, 2W]`.
        """
        latents = (codes / self.gain(quality)).squeeze(2)
        latents = latents.contiguous(memory_format=torch.channels_last)
        cells, hint = self.synthesis(self.transform, latents, quality, refinement_gradient=refinement_gradient)
        return cells_to_planes(cells, len(quality)), hint

    def blend(self, first: Planes, last: Planes, hint: Tensor, quality: Tensor) -> Planes:
        """What to add to decoded chunks so that they go on smoothly from the frame before.

        Args:
            first: The first frames of the chunks, luma `[b, 1, 8 H, 8 W]`.
            last: The last frames before them, like `first`.
            hint: The second result of `decode_chunk`.
            quality: Qualities `[b]`.

        Returns:
            Luma `[b, 8, 8 H, 8 W]`.
        """
        assert self.synthesis.blend is not None
        jump = Planes(*(a - b for a, b in zip(last, first, strict=True)))
        cells = torch.cat(frame_to_cells(frame_to_blocks(jump)), dim=1)
        return cells_to_planes(self.synthesis.blend(cells, hint, quality), len(quality))

    @torch.no_grad()
    def linear_latents(self, chunk: Planes, quality: Tensor, num_channels: int) -> Tensor:
        """The first latents of chunks without the networks: coefficients of the transform, in units of one code step.

        Args:
            chunk: Aligned chunks, luma `[b, 8, 8 H, 8 W]`.
            quality: Qualities `[b]`.
            num_channels: Number of first channels.

        Returns:
            `[b, num_channels, H, W]`.
        """
        rows = _rows_at_once(chunk)
        strips = (chunk.block_rows(start, start + rows) for start in range(0, chunk.y.shape[-2] // PATCH, rows))
        analysis = self.transform.analysis[:num_channels, :, None, None]
        coefficients = torch.cat([convolve(planes_to_blocks(strip), analysis) for strip in strips], dim=2)
        return coefficients.float() * self.gain(quality)[:, :num_channels, 0]

    @torch.no_grad()
    def estimate_cost(self, chunk: Planes, quality: Tensor) -> Tensor:
        """Estimate what the first channels of chunks would cost to code: distortion plus lambda times bits.

        The transform alone, rounding, and a guess of the bits of each code are enough to compare ways to align a chunk.
        Later channels do not count: there the networks leave out most of what the transform has.

        Args:
            chunk: Aligned chunks, luma `[b, 8, 8 H, 8 W]`.
            quality: Qualities `[b]`.

        Returns:
            `[b, H, W]`; sums over blocks are in the units of the objective's cost times the pixels of the chunk.
        """
        latents = self.linear_latents(chunk, quality, _CHANNELS_TO_ESTIMATE)
        codes = torch.where(latents.abs() < 0.6, 0, latents.round())
        gain = self.gain(quality)[:, : latents.shape[1], 0]
        error = ((codes - latents) / gain).square().sum(1)
        bits = torch.where(codes == 0, 0, _BITS_OF_ONE + 2 * codes.abs().clamp_min(1).log2()).sum(1)
        # Block vectors are scaled so that a plain sum has the weights of the planes, twice those of the objective.
        return 0.5 * DISTORTION_WEIGHT * error + self.lagrangian(quality)[:, None, None] * bits

    def lagrangian(self, quality: Tensor) -> Tensor:
        """Lambda `[b]` at `quality [b]`: the distortion that a bit per pixel may cost."""
        low, high = math.log(self.config.coarsest_lambda), math.log(self.config.finest_lambda)
        return torch.exp(low + (high - low) * (quality - 1) / (self.config.num_qualities - 1))

    def search_lagrangian(self, quality: Tensor) -> Tensor:
        """The lagrangian of the search of motion `[b]` at `quality [b]`: levels of 8 bits that a bit may cost.

        A sum of absolute differences instead of squares takes the root of lambda. The factor is twice the quantizer's
        step, four times what would balance error and bits of a block by itself: vectors that pay only just do not pay.
        """
        return _SEARCH_FACTOR * self.lagrangian(quality).sqrt()

    def gain(self, quality: Tensor) -> Tensor:
        """Code steps per unit of each coefficient at `quality [b]`: `[b, n, 1, 1, 1]`."""
        gain: Tensor = self.log_gain(quality).exp()
        return gain[:, :, None, None, None]


def _rows_at_once(chunk: Planes) -> int:
    """Rows of latents whose positions are computed together, so that it takes little memory."""
    return max(1, _POSITIONS_AT_ONCE * PATCH // chunk.y.shape[-1])
