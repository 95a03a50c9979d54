"""`VideoTokenizer`: video to codes and back, one class for the convolutional and the pretrained kind of model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vtok.errors import ConfigError
from vtok.model.checks import (
    check_codebooks,
    check_codes,
    check_integer,
    checked_video,
    conv_model_config,
    latent_model_config,
    plain_layers,
)
from vtok.model.loading import read_model
from vtok.model.pretrained_model import PretrainedModel
from vtok.model.registry import DEFAULT_MODEL
from vtok.model.rgb_model import RgbModel
from vtok.networks.causal_layers import KernelSize
from vtok.networks.conv_model import ConvModel
from vtok.networks.quantizer import LFQ


class VideoTokenizer(nn.Module):
    """A video tokenizer: continuous latents, integer codes, and video from either.

    By default it is a causal 3-D convolutional tokenizer with plain LFQ, after MAGVIT-v2
    (https://arxiv.org/abs/2310.05737). With `("klt", n)` as first layer it is the kind of model that `from_pretrained`
    loads: a learned transform of 8x8x8 blocks with residual LFQ, n codebooks of one byte, and a prior over the codes.

    Height, width and number of frames are arbitrary: the end of each axis is padded by replication to a multiple of
    the layers' total stride, and the reconstruction is cropped back.

    Args:
        layers: Pairs of layer type and dimension. `residual`: a residual convolution; `compress_space`: halves height
            and width; `compress_time`: halves the number of frames. For the pretrained kind: `("klt", n)` first, then
            `("latent_residual", dim)` for each residual block on the latent grid, all of the same dimension.
        residual_conv_kernel_size: Kernel size of `residual` layers along all three axes; odd.
        num_codebooks: Codes per latent position, n.
        codebook_size: Codes per codebook; a power of two.
        channels: Channels of the video; 3 for the pretrained kind.
        init_dim: Channels after the input convolution.
        input_conv_kernel_size: Kernel size of the input convolution: frames, rows, columns; rows and columns odd.
        output_conv_kernel_size: Kernel size of the last convolution: frames, rows, columns; rows and columns odd.
        pad_mode: Padding of height and width in convolutions: `constant`, `reflect`, `replicate` or `circular`.
        lfq_entropy_loss_weight: Weight of the entropy and the diversity loss.
        lfq_diversity_gamma: Weight of the diversity loss relative to the entropy loss.
        lfq_commitment_loss_weight: Weight of the commitment loss.
        lfq_inverse_temperature: Sharpness of the soft codes in the entropies.
        latent_options: Further fields of `LatentModelConfig`, for the pretrained kind.

    Raises:
        ConfigError: A parameter is outside its allowed range.
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
        layers = plain_layers(layers)
        check_codebooks(num_codebooks, codebook_size)
        check_integer("channels", channels, minimum=1)
        if layers and layers[0][0] == "klt":
            config = latent_model_config(layers, num_codebooks, codebook_size, channels, latent_options)
            self._adopt(RgbModel(config))
            return
        if latent_options is not None:
            raise ConfigError("latent_options needs ('klt', n) as the first of layers")
        conv_config = conv_model_config(
            layers=layers,
            residual_conv_kernel_size=residual_conv_kernel_size,
            channels=channels,
            init_dim=init_dim,
            input_conv_kernel_size=input_conv_kernel_size,
            output_conv_kernel_size=output_conv_kernel_size,
            pad_mode=pad_mode,
            entropy_loss_weight=lfq_entropy_loss_weight,
            diversity_gamma=lfq_diversity_gamma,
            commitment_loss_weight=lfq_commitment_loss_weight,
        )
        quantizer = LFQ(
            num_codebooks=num_codebooks, codebook_size=codebook_size, inverse_temperature=lfq_inverse_temperature
        )
        self._adopt(ConvModel(conv_config, quantizer))

    def _adopt(self, networks: ConvModel | RgbModel, pretrained: PretrainedModel | None = None) -> None:
        self.networks, self._pretrained = networks, pretrained
        self.num_codebooks, self.codebook_size = networks.num_codebooks, networks.codebook_size
        self.channels = networks.channels
        self.time_factor, self.space_factor = networks.time_factor, networks.space_factor

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path = DEFAULT_MODEL) -> "VideoTokenizer":
        """Return the tokenizer with released weights, or with those in a `.safetensors` file; nothing is downloaded.

        Raises:
            WeightsError: There is no such model, or its tensors are not those that its card names.
        """
        return cls.of(read_model(name_or_path))

    @classmethod
    def of(cls, model: PretrainedModel) -> "VideoTokenizer":
        """Return a tokenizer that uses the networks of `model` itself, not a copy."""
        tokenizer = cls.__new__(cls)
        nn.Module.__init__(tokenizer)
        tokenizer._adopt(model.networks, model)
        return tokenizer.eval()

    @property
    def pretrained(self) -> PretrainedModel:
        """The model that codes files, with the hash of its weights as they are now.

        Raises:
            ConfigError: The tokenizer is not of the pretrained kind, or was not loaded from weights.
        """
        if isinstance(self.networks, ConvModel):
            raise ConfigError("files need a tokenizer of the pretrained kind, such as VideoTokenizer.from_pretrained()")
        if self._pretrained is None:
            raise ConfigError("files need trained weights, such as those of VideoTokenizer.from_pretrained()")
        self._pretrained = self._pretrained.as_it_is()
        return self._pretrained

    @property
    def name(self) -> str:
        """Name of the weights; `untrained` if none were loaded."""
        return "untrained" if self._pretrained is None else self.pretrained.name

    @property
    def weights_sha256(self) -> str:
        """Hash of the weights, as files name it; empty if none were loaded."""
        return "" if self._pretrained is None else self.pretrained.tensors_sha256

    def encode(self, video: Tensor, quantize: bool = False, *, quality: float | None = None) -> Tensor:
        """Tokenize a video.

        The pretrained kind codes chunks of eight frames one by one, as `vtok.encode_file` does where nothing moves. In
        files, chunks are also aligned by their motion.

        Args:
            video: `[b, c, t, h, w]` in [-1, 1], or images `[b, c, h, w]`.
            quantize: Return codes instead of continuous latents.
            quality: 1 (smallest) to 9 (best), fractions too; default 5. Used by the pretrained kind only.

        Returns:
            Codes `[b, n, T, H, W]` in `[0, codebook_size)`: int64, or uint8 for codebooks of 256 residual LFQ codes.
            Or latents, float: `[b, n * log2(codebook_size), T, H, W]` for plain LFQ, `[b, n, T, H, W]` in units of one
            code step for residual LFQ.
        """
        latents = self.networks.to_latents(self._checked("video", video), quality)
        return self.networks.to_codes(latents) if quantize else latents

    def decode(
        self, codes: Tensor, *, quality: float | None = None, size: tuple[int, int, int] | None = None
    ) -> Tensor:
        """Return the video of codes or latents, as `encode` returns them.

        Args:
            codes: Codes `[b, n, T, H, W]` of any integer type, or latents in floating point.
            quality: The quality that was given to `encode`.
            size: Frames, height and width to crop to; default: no cropping.

        Returns:
            Video `[b, c, t, h, w]`, nominally in [-1, 1].
        """
        is_codes = not codes.is_floating_point()
        dim = self.num_codebooks if is_codes else self.networks.latent_dim
        check_codes(codes, dim, self.codebook_size, self._dtype)
        video = self.networks.to_video(self.networks.from_codes(codes) if is_codes else codes, quality)
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
            video: The target of the reconstruction loss, `[b, c, t, h, w]`, or images `[b, c, h, w]`.
            video_or_images: The video to tokenize, of the same shape (images count as one frame); default: `video`.
            return_loss: Return the loss and its `LossBreakdown` instead of the reconstruction; for the pretrained kind
                it is the training loss of `vtok.networks.objective`.
            return_codes: Also return the codes, as the last element.
            quality: 1 (smallest) to 9 (best), fractions too; default 5. Used by the pretrained kind only.

        Returns:
            The reconstruction, of the shape of `video`; or `(loss, breakdown)`; with `return_codes` the codes follow:
            `(reconstruction, codes)` or `(loss, breakdown, codes)`.
        """
        target = source = self._checked("video", video)
        if video_or_images is not None:
            source = self._checked("video_or_images", video_or_images)
        if source.shape != target.shape:
            raise ConfigError(
                f"video_or_images has shape {list(source.shape)}; expected that of video, {list(target.shape)}"
            )
        reconstruction, codes, losses = self.networks.reconstruct(source, target if return_loss else None, quality)
        if losses is not None:
            loss = torch.stack(losses).sum()
            return (loss, losses, codes) if return_codes else (loss, losses)
        if video.ndim == 4:
            reconstruction = reconstruction[:, :, 0]
        return (reconstruction, codes) if return_codes else reconstruction

    def _checked(self, name: str, video: Tensor) -> Tensor:
        return checked_video(name, video, self.channels, self._dtype)

    @property
    def _dtype(self) -> torch.dtype:
        """The type of the networks' parameters, in which they compute."""
        return next(self.networks.parameters()).dtype
