"""The convolutional tokenizer, the default of `VideoTokenizer`: an encoder, plain LFQ, and the mirrored decoder."""

from dataclasses import dataclass

from torch import nn

from vtok.networks.causal_layers import CausalConv3d, CausalResidual, Fold, KernelSize, Unfold
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


class ConvModel(nn.Module):
    """Video `[b, c, t, h, w]` to latents `[b, n * d, T, H, W]`, and quantized latents back to video.

    Attributes:
        time_factor: Number of frames per latent frame.
        space_factor: Rows of pixels per latent row, and columns of pixels per latent column.
    """

    def __init__(self, config: ConvModelConfig, quantizer: LFQ) -> None:
        super().__init__()
        self.quantizer = quantizer
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
