"""Converts frames to codes and codes to frames, chunk by chunk; the networks' state is carried to the next chunk.

    8 frames, uint8 --> planes, float --> pad to blocks --> latents --> codes, uint8 [n, H, W]      ChunkEncoder
    codes, uint8 [n, H, W] --> planes, float --> crop --> 8 frames, uint8                           ChunkDecoder

A video of any length needs the memory of one chunk. The networks always see exactly one chunk at a time, so the result
cannot depend on the number of chunks available.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vtok.codec.strips import Strip, strips
from vtok.errors import ConfigError
from vtok.model.pretrained_model import PretrainedModel
from vtok.networks.arithmetic import Arithmetic, choose_arithmetic
from vtok.networks.klt import PATCH, pad_to_blocks
from vtok.networks.latent_networks import State
from vtok.networks.planes import Planes
from vtok.networks.quantizer import prefer_cheap_codes
from vtok.system.threads import use_threads
from vtok.video.frame import Frame, Plane, VideoInfo

FRAMES_PER_CHUNK = PATCH
_SIDES = (PATCH, PATCH // 2, PATCH // 2)  # rows of samples in a row of latents: luma and both chroma planes


def latent_size(height: int, width: int) -> tuple[int, int]:
    """Return the latent rows H and columns W of a video of `height` x `width` pixels."""
    return -(-height // PATCH), -(-width // PATCH)


class _Coder:
    def __init__(
        self, model: PretrainedModel, info: VideoInfo, quality: float, arithmetic: Arithmetic | None, reach: int
    ) -> None:
        self._arithmetic = arithmetic or choose_arithmetic("cpu")
        self._num_threads = torch.get_num_threads()  # for any thread that calls later; see `vtok.system.threads`
        self._model = model.on(self._arithmetic.device)
        highest = self._model.config.num_qualities
        if not 1 <= quality <= highest:
            raise ConfigError(f"quality is {quality:g}; expected 1 (smallest) to {highest} (best)")
        self._info = info
        self._quality = torch.tensor([float(quality)], dtype=torch.float32, device=self._arithmetic.device)
        height, width = latent_size(info.height, info.width)
        self._strips = strips(height, width, reach, bfloat16=self._arithmetic.bfloat16)
        self.restart()

    def restart(self) -> None:
        """Forget earlier chunks, as at the beginning of a video."""
        self._states: list[State | None] = [None] * len(self._strips)


class ChunkEncoder(_Coder):
    """Encodes the chunks of one video, in order; `prefer_cheap_codes` explains the choice of codes.

    Args:
        model: The model that encodes.
        info: Size and range of the frames.
        quality: 1 to 9.
        arithmetic: Device and number format of the networks; default: those of `choose_arithmetic("cpu")`.
    """

    def __init__(
        self, model: PretrainedModel, info: VideoInfo, quality: float, arithmetic: Arithmetic | None = None
    ) -> None:
        super().__init__(model, info, quality, arithmetic, model.networks.config.analysis_reach)

    def restart(self) -> None:
        """Forget earlier chunks, as at the beginning of a video."""
        super().restart()
        self.start_group()

    def start_group(self) -> None:
        """Choose the next codes regardless of earlier ones: the prior will not see these."""
        self._previous: list[Tensor | None] = [None] * len(self._strips)

    @torch.inference_mode()
    def encode(self, frames: Sequence[Frame]) -> Plane:
        """Return codes uint8 `[n, H, W]` of the next 1 to 8 frames; fewer than 8 only at the end of the video."""
        use_threads(self._num_threads)
        height, width = latent_size(self._info.height, self._info.width)
        codes = np.empty((self._model.config.num_channels, height, width), np.uint8)
        quantizer = self._model.quantizer
        for i, strip in enumerate(self._strips):
            planes = self._planes(frames, strip)
            with self._arithmetic.autocast():
                latents, self._states[i] = self._model.encode(planes, self._quality, self._states[i])
            wanted = latents[0, :, 0, strip.wanted_of_seen(1)]
            chosen = prefer_cheap_codes(wanted, quantizer(wanted), self._previous[i])
            codes[:, strip.inner] = quantizer.to_uint8(chosen).cpu().numpy()
            self._previous[i] = chosen
        return codes

    def _planes(self, frames: Sequence[Frame], strip: Strip) -> Planes:
        """Return the part of `frames` that the networks see for a strip."""
        y, u, v = (
            torch.from_numpy(np.stack([plane[strip.seen(side)] for plane in planes]))[None].to(self._arithmetic.device)
            for side, planes in zip(_SIDES, zip(*((f.y, f.u, f.v) for f in frames), strict=True), strict=True)
        )
        return pad_to_blocks(Planes.from_uint8(y, u, v, full_range=self._info.is_full_range))


class ChunkDecoder(_Coder):
    """Decodes the chunks of one video, in order; takes the arguments of `ChunkEncoder`."""

    def __init__(
        self, model: PretrainedModel, info: VideoInfo, quality: float, arithmetic: Arithmetic | None = None
    ) -> None:
        super().__init__(model, info, quality, arithmetic, model.networks.config.synthesis_reach)

    @torch.inference_mode()
    def decode(self, codes: Plane, pts: Sequence[int]) -> list[Frame]:
        """Return the next 1 to 8 frames from codes uint8 `[n, H, W]`, one frame per timestamp in `pts`."""
        use_threads(self._num_threads)
        size = self._info.height, self._info.width
        chroma_size = tuple(-(-n // 2) for n in size)
        planes = [np.empty((len(pts), *shape), np.uint8) for shape in (size, chroma_size, chroma_size)]
        for i, strip in enumerate(self._strips):
            stored = torch.from_numpy(codes[:, strip.outer]).to(self._arithmetic.device)
            centred = self._model.quantizer.from_uint8(stored)[None, :, None]
            with self._arithmetic.autocast():
                decoded, self._states[i] = self._model.decode(centred, self._quality, self._states[i])
            parts = decoded.to_uint8(full_range=self._info.is_full_range)
            for plane, part, side in zip(planes, parts, _SIDES, strict=True):
                inner = plane[:, strip.wanted(side)]
                inner[:] = part[0, : len(pts), strip.wanted_of_seen(side)][:, : inner.shape[1], : inner.shape[2]].cpu()
        return [Frame(*frame) for frame in zip(*planes, pts, strict=True)]
