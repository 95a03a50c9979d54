"""Checks of the arguments of `VideoTokenizer`, and the model configurations that follow from them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vtok.errors import ConfigError
from vtok.networks.causal_layers import PAD_MODES, KernelSize
from vtok.networks.conv_model import ConvModelConfig
from vtok.networks.latent_model import LatentModelConfig

CONV_LAYERS = ("residual", "compress_space", "compress_time")
LATENT_LAYERS = ("klt", "latent_residual")


def plain_layers(layers: Any) -> tuple[tuple[str, int], ...]:
    """Return `layers` as a tuple of tuples.

    Raises:
        ConfigError: The layers are not pairs of a type and a dimension.
    """
    if not isinstance(layers, tuple | list):
        raise ConfigError(f"layers is {layers!r}; expected (type, dimension) pairs")
    for layer in layers:
        if not (isinstance(layer, tuple | list) and len(layer) == 2 and isinstance(layer[0], str)):
            raise ConfigError(
                f"layer {layer!r} is not a (type, dimension) pair with a type in "
                f"{', '.join((*CONV_LAYERS, *LATENT_LAYERS))}"
            )
        if not isinstance(layer[1], int) or layer[1] < 1:
            raise ConfigError(f"layer {layer!r} has dimension {layer[1]!r}; expected an integer of 1 or more")
    return tuple((kind, dim) for kind, dim in layers)


def _check_types(layers: tuple[tuple[str, int], ...], allowed: tuple[str, ...]) -> None:
    for layer in layers:
        if layer[0] not in allowed:
            raise ConfigError(f"layer {layer!r} is not a (type, dimension) pair with a type in {', '.join(allowed)}")


def latent_model_config(
    layers: tuple[tuple[str, int], ...],
    num_codebooks: int,
    codebook_size: int,
    channels: int,
    options: Mapping[str, Any] | None,
) -> LatentModelConfig:
    """Return the configuration of a model of the pretrained kind, from parameters of `VideoTokenizer`.

    Raises:
        ConfigError: The parameters do not fit together.
    """
    _check_types(layers, LATENT_LAYERS)
    (_, num_channels), *blocks = layers
    dims = {dim for _, dim in blocks}
    if len(dims) != 1 or any(kind != "latent_residual" for kind, _ in blocks):
        raise ConfigError(f"layers are {layers}; expected ('klt', n), then ('latent_residual', dim) of one dimension")
    if num_codebooks != num_channels:
        raise ConfigError(f"num_codebooks is {num_codebooks}; expected {num_channels}, the dimension of the klt layer")
    if codebook_size > 256:
        raise ConfigError(f"codebook_size is {codebook_size}; expected at most 256 with a klt layer")
    if channels != 3:
        raise ConfigError(f"channels is {channels}; expected 3 with a klt layer")
    fields = dict(options or {})
    fields.setdefault("num_synthesis_blocks", len(blocks))
    try:
        return LatentModelConfig(
            num_channels=num_channels,
            num_stages=codebook_size.bit_length() - 1,
            dim=dims.pop(),
            num_analysis_blocks=len(blocks),
            **fields,
        )
    except TypeError as error:
        raise ConfigError(f"latent_options has a key that LatentModelConfig does not: {error}") from None


def conv_model_config(
    *, layers: tuple[tuple[str, int], ...], residual_conv_kernel_size: int, pad_mode: str, init_dim: int, **others: Any
) -> ConvModelConfig:
    """Return the configuration of a convolutional model, from parameters of `VideoTokenizer`.

    Raises:
        ConfigError: A parameter is outside its allowed range.
    """
    _check_types(layers, CONV_LAYERS)
    check_integer("init_dim", init_dim, minimum=1)
    if pad_mode not in PAD_MODES:
        raise ConfigError(f"pad_mode is {pad_mode!r}; expected one of {', '.join(PAD_MODES)}")
    kernels: dict[str, Any] = {"residual_conv_kernel_size": (residual_conv_kernel_size,) * 3} | {
        name: others.pop(name) for name in ("input_conv_kernel_size", "output_conv_kernel_size")
    }
    sizes: dict[str, Any] = {name: _kernel_size(name, size) for name, size in kernels.items()}
    return ConvModelConfig(layers=layers, init_dim=init_dim, pad_mode=pad_mode, **sizes, **others)


def check_codebooks(num_codebooks: Any, codebook_size: Any) -> None:
    """Raise ConfigError unless there is at least one codebook and the codebook size is a power of two."""
    check_integer("num_codebooks", num_codebooks, minimum=1)
    check_integer("codebook_size", codebook_size, minimum=2)
    if codebook_size & (codebook_size - 1) or codebook_size > 2**62:
        raise ConfigError(f"codebook_size is {codebook_size}; expected a power of two from 2 to 2^62")


def check_integer(name: str, value: Any, *, minimum: int) -> None:
    """Raise ConfigError unless `value` is an integer of at least `minimum`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise ConfigError(f"{name} is {value!r}; expected an integer of {minimum} or more")


def _kernel_size(name: str, size: Any) -> KernelSize:
    """Return `size` as three integers; ConfigError unless they are positive, and odd for rows and columns."""
    if not isinstance(size, tuple | list) or len(size) != 3 or not all(isinstance(k, int) and k >= 1 for k in size):
        raise ConfigError(f"{name} is {size!r}; expected three positive integers: frames, rows, columns")
    if any(k % 2 == 0 for k in size[1:]):
        raise ConfigError(f"{name} is {size!r}; expected odd rows and columns")
    frames, rows, columns = size
    return frames, rows, columns


def checked_video(name: str, video: Tensor, channels: int, dtype: torch.dtype) -> Tensor:
    """Return video `[b, c, t, h, w]` unchanged, and images `[b, c, h, w]` as video of one frame.

    Raises:
        ConfigError: The tensor is neither, or its values are not finite numbers of type `dtype`.
    """
    if video.dtype != dtype:
        raise ConfigError(f"{name} has type {video.dtype}; expected floating point in [-1, 1], {dtype}")
    if video.ndim not in (4, 5) or video.shape[1] != channels or 0 in video.shape:
        raise ConfigError(
            f"{name} has shape {list(video.shape)}; expected [b, {channels}, t, h, w], or images "
            f"[b, {channels}, h, w], of at least one frame and pixel"
        )
    _check_finite(name, video)
    return video.unsqueeze(2) if video.ndim == 4 else video


def check_codes(codes: Tensor, dim: int, codebook_size: int, dtype: torch.dtype) -> None:
    """Raise ConfigError unless `codes` is `[b, dim, T, H, W]`: codes below `codebook_size`, or latents of `dtype`."""
    is_codes = not codes.is_floating_point()
    what = "codes" if is_codes else "latents"
    if codes.ndim != 5 or codes.shape[1] != dim or 0 in codes.shape:
        raise ConfigError(f"{what} have shape {list(codes.shape)}; expected [b, {dim}, T, H, W]")
    if not is_codes:
        if codes.dtype != dtype:
            raise ConfigError(f"latents have type {codes.dtype}; expected {dtype}")
        _check_finite("latents", codes)
    elif not (int(codes.min()) >= 0 and int(codes.max()) < codebook_size):
        low, high = int(codes.min()), int(codes.max())
        raise ConfigError(f"codes range from {low} to {high}; expected 0 to {codebook_size - 1}")


def _check_finite(name: str, values: Tensor) -> None:
    finite = values.isfinite()
    if not finite.all():
        raise ConfigError(f"{name}: a value is {float(values[~finite][0])}; expected finite numbers")
