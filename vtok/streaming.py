"""Frames to codes and codes to frames, one chunk at a time, with the networks' state carried from chunk to chunk.

    8 frames, uint8 --> planes, float --> pad to blocks --> latents --> codes, uint8 [n, H, W]      ChunkEncoder
    codes, uint8 [n, H, W] --> planes, float --> crop --> 8 frames, uint8                           ChunkDecoder

A video of any length needs the memory of one chunk. The networks always see exactly one chunk at a time, so a result
cannot depend on how many are at hand.
"""

from collections.abc import Sequence

import numpy as np
import torch

from vtok.errors import ConfigError
from vtok.klt import PATCH, pad_to_blocks
from vtok.latent_model import LatentModel
from vtok.latent_networks import State
from vtok.media_frame import Frame, Plane, VideoInfo
from vtok.planes import Planes
from vtok.precision import Arithmetic, choose_arithmetic
from vtok.tokenizer import VideoTokenizer

FRAMES_PER_CHUNK = PATCH


def file_model(tokenizer: VideoTokenizer) -> LatentModel:
    """The part of `tokenizer` that codes files.

    Raises:
        ConfigError: It is not of the pretrained kind.
    """
    if tokenizer.latent_model is None:
        raise ConfigError("files need a tokenizer of the pretrained kind, such as VideoTokenizer.from_pretrained()")
    return tokenizer.latent_model


def latent_size(height: int, width: int) -> tuple[int, int]:
    """Latent rows H and columns W of a video of `height` x `width` pixels."""
    return -(-height // PATCH), -(-width // PATCH)


class _Coder:
    def __init__(
        self, tokenizer: VideoTokenizer, info: VideoInfo, quality: float, arithmetic: Arithmetic | None = None
    ) -> None:
        self._arithmetic = arithmetic or choose_arithmetic("cpu")
        self._model = file_model(tokenizer).to(self._arithmetic.device)
        highest = self._model.config.num_qualities
        if not 1 <= quality <= highest:
            raise ConfigError(f"quality is {quality:g}; expected 1 (smallest) to {highest} (best)")
        self._info = info
        self._quality = torch.tensor([float(quality)], device=self._arithmetic.device)
        self._state: State | None = None

    def restart(self) -> None:
        """Forget what came before, as at the beginning of a video."""
        self._state = None


class ChunkEncoder(_Coder):
    """Codes of one video's chunks, in order.

    Args:
        tokenizer: Of the pretrained kind.
        info: Size and range of the frames.
        quality: 1 to 9.
        arithmetic: Where and how to compute; the tokenizer's networks are moved there. Default: on the processor.
    """

    @torch.inference_mode()
    def encode(self, frames: Sequence[Frame]) -> Plane:
        """Codes uint8 `[n, H, W]` of the next 1 to 8 frames; fewer than 8 only at the end of the video."""
        stacked = (
            torch.from_numpy(np.stack(planes))[None].to(self._arithmetic.device)
            for planes in zip(*((f.y, f.u, f.v) for f in frames), strict=True)
        )
        planes = pad_to_blocks(Planes.from_uint8(*stacked, full_range=self._info.is_full_range))
        with self._arithmetic.autocast():
            latents, self._state = self._model.encode(planes, self._quality, self._state)
        quantizer = self._model.quantizer
        codes: Plane = quantizer.to_uint8(quantizer(latents))[0, :, 0].contiguous().cpu().numpy()
        return codes


class ChunkDecoder(_Coder):
    """Frames of one video's chunks, in order; arguments as for `ChunkEncoder`."""

    @torch.inference_mode()
    def decode(self, codes: Plane, pts: Sequence[int]) -> list[Frame]:
        """The next frames, as many as there are timestamps (1 to 8), from codes uint8 `[n, H, W]`."""
        centred = self._model.quantizer.from_uint8(torch.from_numpy(codes).to(self._arithmetic.device))[None, :, None]
        with self._arithmetic.autocast():
            planes, self._state = self._model.decode(centred, self._quality, self._state)
        cropped = planes.crop(self._info.height, self._info.width).frames(0, len(pts))
        y, u, v = (plane[0].cpu().numpy() for plane in cropped.to_uint8(full_range=self._info.is_full_range))
        return [Frame(*frame) for frame in zip(y, u, v, pts, strict=True)]
