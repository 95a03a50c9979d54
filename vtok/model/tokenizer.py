"""`VideoTokenizer`: video to codes and back, one class for the convolutional default and for the pretrained model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vtok.entropy.exact_prior import ExactPrior
from vtok.errors import ConfigError, WeightsError
from vtok.model.checks import (
    CONV_LAYERS,
    are_pairs,
    check_codes,
    check_integer,
    check_layers,
    checked_video,
    kernel_size,
    latent_model_config,
)
from vtok.model.registry import DEFAULT_MODEL, find_weights
from vtok.model.weights import load_weights, split_tensors, tensors_sha256
from vtok.networks.causal_layers import PAD_MODES, KernelSize
from vtok.networks.conv_model import ConvModel, ConvModelConfig
from vtok.networks.klt import PATCH, pad_to_blocks
from vtok.networks.latent_model import LatentModel
from vtok.networks.planes import Planes
from vtok.networks.quantizer import LFQ

DEFAULT_QUALITY = 5.0


class LossBreakdown(NamedTuple):
    """The parts of the loss, already weighted: their sum is the loss. Scalars; a part that does not apply is zero.

    Attributes:
        reconstruction: Mean squared error of the reconstruction, values in [-1, 1].
        commitment: Plain LFQ: latents to their signs.
        entropy: Plain LFQ: entropy of each soft code, to be clear.
        diversity: Plain LFQ: minus the entropy of the mean soft code, to use all codes.
        rate: Residual LFQ: lambda of the quality times bits per pixel under the prior.
    """

    reconstruction: Tensor
    commitment: Tensor
    entropy: Tensor
    diversity: Tensor
    rate: Tensor


class VideoTokenizer(nn.Module):
    """A video tokenizer: continuous latents, integer codes, and video from either.

    By default it is a causal 3-D convolutional tokenizer with plain LFQ, after MAGVIT-v2
    (https://arxiv.org/abs/2310.05737). With `("klt", n)` as first layer it is the model that `from_pretrained` loads:
    a learned transform of 8x8x8 blocks with residual LFQ, n codebooks of one byte, and a prior over the codes.

    Any height, width and number of frames will do: video is padded by replication at the end of each axis to what the
    layers divide, and the reconstruction is cropped back.

    Args:
        layers: Pairs of layer type and dimension. `residual`: a residual convolution; `compress_space`: halves height
            and width; `compress_time`: halves the number of frames. For the pretrained kind: `("klt", n)` first, then
            `("latent_residual", dim)` for each residual block on the latent grid, all of one dimension.
        residual_conv_kernel_size: Kernel of `residual` layers, all three axes; odd.
        num_codebooks: Codes per latent position, n.
        codebook_size: Codes per codebook; a power of two.
        channels: Of the video; 3 for the pretrained kind.
        init_dim: Channels after the input convolution.
        input_conv_kernel_size: Frames, rows, columns; rows and columns odd.
        output_conv_kernel_size: The same of the last convolution.
        pad_mode: How convolutions pad height and width: `constant`, `reflect`, `replicate` or `circular`.
        lfq_entropy_loss_weight: Weight of the entropy and the diversity loss.
        lfq_diversity_gamma: Weight of the diversity loss against the entropy loss.
        lfq_commitment_loss_weight: Weight of the commitment loss.
        lfq_inverse_temperature: Sharpness of the soft codes in the entropies.
        latent_options: Further fields of `LatentModelConfig`, for the pretrained kind.

    Raises:
        ConfigError: A parameter is outside its allowed set.
    """

    def __init__(
        self,
        layers: tuple[tuple[str, int], ...] = (("residual", 64),) * 3,
        residual_conv_kernel_size: int = 3,
        num_codebooks: int = 1,
        codebook_size: int = 8192,
        channels: int = 3,
        init_dim: int = 64,
        input_conv_kernel_size: KernelSize = (7, 7, 7),
        output_conv_kernel_size: KernelSize = (3, 3, 3),
        pad_mode: str = "reflect",
        lfq_entropy_loss_weight: float = 0.1,
        lfq_diversity_gamma: float = 1.0,
        *,
        lfq_commitment_loss_weight: float = 0.25,
        lfq_inverse_temperature: float = 1.0,
        latent_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        layers = tuple((kind, dim) for kind, dim in layers) if are_pairs(layers) else layers
        check_integer("num_codebooks", num_codebooks, minimum=1)
        check_integer("codebook_size", codebook_size, minimum=2)
        if codebook_size & (codebook_size - 1) or codebook_size > 2**62:
            raise ConfigError(f"codebook_size is {codebook_size}; expected a power of two from 2 to 2^62")
        check_integer("channels", channels, minimum=1)
        self.num_codebooks, self.codebook_size, self.channels = num_codebooks, codebook_size, channels
        self.lfq_entropy_loss_weight = lfq_entropy_loss_weight
        self.lfq_diversity_gamma = lfq_diversity_gamma
        self.lfq_commitment_loss_weight = lfq_commitment_loss_weight
        self.conv_model: ConvModel | None = None
        self.latent_model: LatentModel | None = None
        self.name, self.weights_sha256 = "untrained", ""
        self.exact_prior: ExactPrior | None = None
        if layers and layers[0][0] == "klt":
            config = latent_model_config(layers, num_codebooks, codebook_size, channels, latent_options)
            self.latent_model = LatentModel(config)
            return
        if latent_options is not None:
            raise ConfigError("latent_options needs ('klt', n) as the first of layers")
        check_layers(layers, CONV_LAYERS)
        check_integer("init_dim", init_dim, minimum=1)
        if pad_mode not in PAD_MODES:
            raise ConfigError(f"pad_mode is {pad_mode!r}; expected one of {', '.join(PAD_MODES)}")
        conv_config = ConvModelConfig(
            layers=layers,
            residual_conv_kernel_size=kernel_size("residual_conv_kernel_size", (residual_conv_kernel_size,) * 3),
            channels=channels,
            init_dim=init_dim,
            input_conv_kernel_size=kernel_size("input_conv_kernel_size", input_conv_kernel_size),
            output_conv_kernel_size=kernel_size("output_conv_kernel_size", output_conv_kernel_size),
            pad_mode=pad_mode,
        )
        quantizer = LFQ(
            num_codebooks=num_codebooks, codebook_size=codebook_size, inverse_temperature=lfq_inverse_temperature
        )
        self.conv_model = ConvModel(conv_config, quantizer)

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path = DEFAULT_MODEL) -> "VideoTokenizer":
        """The tokenizer with released weights, or with those in a `.safetensors` file; nothing is ever downloaded.

        Raises:
            WeightsError: There is no such model, or its tensors are not those its card names.
        """
        path, card = find_weights(name_or_path)
        tensors, config = load_weights(path)
        digest = tensors_sha256(tensors)
        if card and digest != card.tensors_sha256:
            raise WeightsError(
                f"{card.name}: the tensors have SHA-256 {digest}, the card says {card.tensors_sha256}: "
                f"the installation is damaged. Reinstall vtok."
            )
        try:
            tokenizer = cls.from_latent_config(config)
            assert tokenizer.latent_model is not None
            networks, exact = split_tensors(tensors)
            tokenizer.latent_model.load_state_dict(networks)
            tokenizer.exact_prior = ExactPrior.from_tensors(tokenizer.latent_model.prior, exact)
        except (RuntimeError, TypeError, KeyError, ConfigError) as error:
            cause = str(error).partition("\n")[0]
            raise WeightsError(f"{path}: the tensors do not fit their configuration: {cause}") from error
        tokenizer.name, tokenizer.weights_sha256 = card.name if card else path.stem, digest
        return tokenizer.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    @classmethod
    def from_latent_config(cls, config: Mapping[str, Any]) -> "VideoTokenizer":
        """The pretrained kind of tokenizer, untrained, from the fields of a `LatentModelConfig`."""
        options: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in config.items()
        }
        n, dim = options.pop("num_channels"), options.pop("dim")
        return cls(
            layers=(("klt", n), *((("latent_residual", dim),) * options.pop("num_analysis_blocks"))),
            num_codebooks=n,
            codebook_size=2 ** options.pop("num_stages"),
            latent_options=options,
        )

    @property
    def time_factor(self) -> int:
        """Frames per latent frame."""
        return PATCH if self.conv_model is None else self.conv_model.time_factor

    @property
    def space_factor(self) -> int:
        """Rows and columns of pixels per latent row and column."""
        return PATCH if self.conv_model is None else self.conv_model.space_factor

    def encode(self, video: Tensor, quantize: bool = False, *, quality: float | None = None) -> Tensor:
        """Tokenize a video.

        Args:
            video: `[b, c, t, h, w]` in [-1, 1], or images `[b, c, h, w]`.
            quantize: Codes instead of continuous latents.
            quality: 1 (smallest) to 9 (best), also in between; pretrained kind only. Default 5.

        Returns:
            Codes `[b, n, T, H, W]` in `[0, codebook_size)`: int64, or uint8 for codebooks of 256 residual LFQ codes.
            Or latents, float: `[b, n * log2(codebook_size), T, H, W]` for plain LFQ, `[b, n, T, H, W]` in units of one
            code step for residual LFQ.
        """
        video = checked_video("video", video, self.channels)
        if self.latent_model is None:
            self._refuse_quality(quality)
            latents = self._conv_encode(video)
            return self._conv.quantizer.signs_to_codes(latents) if quantize else latents
        planes = pad_to_blocks(Planes.from_rgb(video))
        latents, _ = self.latent_model.encode(planes, self._quality(quality, video))
        quantizer = self.latent_model.quantizer
        return quantizer.to_uint8(quantizer(latents)) if quantize else latents

    def decode(
        self, codes: Tensor, *, quality: float | None = None, size: tuple[int, int, int] | None = None
    ) -> Tensor:
        """Video from codes (any integer type) or from latents (floating point), as `encode` returns them.

        Args:
            codes: `[b, n, T, H, W]`, or latents.
            quality: As given to `encode`.
            size: Frames, height and width to crop to; default: all there is.

        Returns:
            Video `[b, c, t, h, w]`, nominally in [-1, 1].
        """
        is_codes = not codes.is_floating_point()
        dim = self.num_codebooks if is_codes or self.conv_model is None else self.conv_model.quantizer.dim
        check_codes(codes, dim, self.codebook_size)
        if self.latent_model is None:
            self._refuse_quality(quality)
            latents = self._conv.quantizer.codes_to_signs(codes) if is_codes else codes
            video: Tensor = self._conv.decoder(latents)
        else:
            centred = self.latent_model.quantizer.from_uint8(codes) if is_codes else codes
            planes, _ = self.latent_model.decode(centred, self._quality(quality, codes))
            video = planes.to_rgb()
        return video if size is None else video[:, :, : size[0], : size[1], : size[2]]

    def forward(
        self,
        video: Tensor,
        video_or_images: Tensor | None = None,
        return_loss: bool = False,
        return_codes: bool = False,
        *,
        quality: float | None = None,
    ) -> Any:
        """Tokenize and reconstruct.

        Args:
            video: What the reconstruction is compared with, `[b, c, t, h, w]` or images `[b, c, h, w]`.
            video_or_images: What is tokenized, of the same shape (images count as one frame); default: `video`.
            return_loss: Return the loss and its `LossBreakdown` instead of the reconstruction.
            return_codes: Also return the codes, as the last element.
            quality: As for `encode`.

        Returns:
            The reconstruction, of the shape of `video`; or `(loss, breakdown)`; with `return_codes` the codes follow:
            `(reconstruction, codes)` or `(loss, breakdown, codes)`.
        """
        target = source = checked_video("video", video, self.channels)
        if video_or_images is not None:
            source = checked_video("video_or_images", video_or_images, self.channels)
        if source.shape != target.shape:
            raise ConfigError(
                f"video_or_images has shape {list(source.shape)}; expected that of video, {list(target.shape)}"
            )
        if self.latent_model is None:
            self._refuse_quality(quality)
            reconstruction, codes, parts = self._conv_forward(source)
        else:
            reconstruction, codes, parts = self._latent_forward(
                self.latent_model, source, self._quality(quality, source)
            )
        if return_loss:
            breakdown = LossBreakdown(F.mse_loss(reconstruction, target), *parts)
            loss = torch.stack(breakdown).sum()
            return (loss, breakdown, codes) if return_codes else (loss, breakdown)
        if video.ndim == 4:
            reconstruction = reconstruction[:, :, 0]
        return (reconstruction, codes) if return_codes else reconstruction

    @property
    def _conv(self) -> ConvModel:
        assert self.conv_model is not None  # callers have seen that latent_model is None
        return self.conv_model

    def _conv_encode(self, video: Tensor) -> Tensor:
        t, h, w = video.shape[2:]
        time, space = self.time_factor, self.space_factor
        padding = (0, -w % space, 0, -h % space, 0, -t % time)
        latents: Tensor = self._conv.encoder(F.pad(video, padding, mode="replicate") if any(padding) else video)
        return latents

    def _conv_forward(self, video: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        quantized, codes, losses = self._conv.quantizer(self._conv_encode(video))
        t, h, w = video.shape[2:]
        reconstruction = self._conv.decoder(quantized)[:, :, :t, :h, :w]
        weight = self.lfq_entropy_loss_weight
        parts = (
            self.lfq_commitment_loss_weight * losses.commitment,
            weight * losses.entropy,
            -weight * self.lfq_diversity_gamma * losses.diversity,
            torch.zeros_like(losses.entropy),
        )
        return reconstruction, codes, parts

    def _latent_forward(
        self, model: LatentModel, video: Tensor, quality: Tensor
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        t, h, w = video.shape[2:]
        latents, _ = model.encode(pad_to_blocks(Planes.from_rgb(video)), quality)
        codes = model.quantizer(latents)
        planes, _ = model.decode(codes, quality)
        reconstruction = planes.crop(h, w).frames(0, t).to_rgb()
        bits = model.prior.bits(codes, model.prior(codes, quality)).sum((1, 2, 3, 4))
        rate = (model.lagrangian(quality) / 100 * bits / (t * h * w)).mean()
        zero = torch.zeros_like(rate)
        return reconstruction, model.quantizer.to_uint8(codes.detach()), (zero, zero, zero, rate)

    def _quality(self, quality: float | None, like: Tensor) -> Tensor:
        assert self.latent_model is not None
        highest = self.latent_model.config.num_qualities
        quality = DEFAULT_QUALITY if quality is None else float(quality)
        if not 1 <= quality <= highest:
            raise ConfigError(f"quality is {quality:g}; expected 1 (smallest) to {highest} (best)")
        return torch.full((len(like),), quality, device=like.device)

    @staticmethod
    def _refuse_quality(quality: float | None) -> None:
        if quality is not None:
            raise ConfigError("quality is for the pretrained kind of tokenizer; this one has a single operating point")
