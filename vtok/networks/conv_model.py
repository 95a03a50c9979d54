"""The convolutional tokenizer, the default of `VideoTokenizer`: an encoder, plain LFQ, and the mirrored decoder."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vtok.errors import ConfigError
from vtok.networks.causal_layers import CausalConv3d, CausalResidual, Fold, KernelSize, Unfold
from vtok.networks.losses import LossBreakdown, Reconstruction
from vtok.networks.quantizer import LFQ

# Factors by which each layer type shrinks time, and height and width.
_FACTORS = {"residual": (1, 1), "compress_space": (1, 2), "compress_time": (2, 1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvModelConfig:
    """The arguments of `VideoTokenizer`, which has checked them."""

    layers: tuple[tuple[str, int], ...]
    residual_conv_kernel_size: KernelSize
    channels: int
    init_dim: int
    input_conv_kernel_size: KernelSize
    output_conv_kernel_size: KernelSize
    pad_mode: str
    entropy_loss_weight: float
    diversity_gamma: float
    commitment_loss_weight: float


class ConvModel(nn.Module):
    """Video `[b, c, t, h, w]` to latents `[b, n * d, T, H, W]`, and quantized latents back to video.

    Attributes:
        num_codebooks: Number of codebooks n.
        codebook_size: Number of codes 2^d of a codebook.
        channels: Number of channels of the video.
        latent_dim: Number of channels n * d of the latents.
        time_factor: Number of frames per latent frame.
        space_factor: Rows of pixels per latent row, and columns of pixels per latent column.
    """

    def __init__(self, config: ConvModelConfig, quantizer: LFQ) -> None:
        super().__init__()
        self.config, self.quantizer = config, quantizer
        self.num_codebooks, self.codebook_size = quantizer.num_codebooks, quantizer.codebook_size
        self.channels, self.latent_dim = config.channels, quantizer.dim
        self.time_factor = self.space_factor = 1
        dim = config.init_dim
        encoder: list[nn.Module] = [CausalConv3d(config.channels, dim, config.input_conv_kernel_size, config.pad_mode)]
        decoder: list[nn.Module] = [CausalConv3d(dim, config.channels, config.output_conv_kernel_size, config.pad_mode)]
        for kind, dim_out in config.layers:
            time, space = _FACTORS[kind]
            self.time_factor *= time
            self.space_factor *= space
            if kind == "residual":
                kernel_size = config.residual_conv_kernel_size
                encoder.append(CausalResidual(dim, dim_out, kernel_size, config.pad_mode))
                decoder.append(CausalResidual(dim_out, dim, kernel_size, config.pad_mode))
            else:
                encoder.append(Fold(dim, dim_out, time=time, space=space))
                decoder.append(Unfold(dim_out, dim, time=time, space=space))
            dim = dim_out
        self.encoder = nn.Sequential(*encoder, nn.SiLU(), nn.Conv3d(dim, quantizer.dim, 1))
        self.decoder = nn.Sequential(nn.Conv3d(quantizer.dim, dim, 1), *reversed(decoder))

    def to_latents(self, video: Tensor, quality: float | None) -> Tensor:
        """Video of any size to latents; there is one quality, None."""
        _refuse(quality)
        t, h, w = video.shape[2:]
        padding = (0, -w % self.space_factor, 0, -h % self.space_factor, 0, -t % self.time_factor)
        latents: Tensor = self.encoder(F.pad(video, padding, mode="replicate") if any(padding) else video)
        return latents

    def to_codes(self, latents: Tensor) -> Tensor:
        """Latents to codes `[b, n, T, H, W]`, int64."""
        return self.quantizer.signs_to_codes(latents)

    def from_codes(self, codes: Tensor) -> Tensor:
        """Codes to quantized latents."""
        return self.quantizer.codes_to_signs(codes)

    def to_video(self, latents: Tensor, quality: float | None) -> Tensor:
        """Latents to video of whole latent positions."""
        _refuse(quality)
        video: Tensor = self.decoder(latents)
        return video

    def reconstruct(self, source: Tensor, target: Tensor | None, quality: float | None) -> Reconstruction:
        """Code `source`; with a `target` of the same shape, count losses too."""
        quantized, codes, losses = self.quantizer(self.to_latents(source, quality))
        t, h, w = source.shape[2:]
        video = self.decoder(quantized)[:, :, :t, :h, :w]
        if target is None:
            return Reconstruction(video, codes)
        config = self.config
        breakdown = LossBreakdown(
            reconstruction=F.mse_loss(video, target),
            commitment=config.commitment_loss_weight * losses.commitment,
            entropy=config.entropy_loss_weight * losses.entropy,
            diversity=-config.entropy_loss_weight * config.diversity_gamma * losses.diversity,
            rate=torch.zeros_like(losses.entropy),
        )
        return Reconstruction(video, codes, breakdown)


def _refuse(quality: float | None) -> None:
    if quality is not None:
        raise ConfigError("quality is for the pretrained kind of tokenizer; this one has a single operating point")
