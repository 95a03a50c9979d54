"""Chooses the codes of a chunk whose motion is known: near its latents, or cheaper ones that descent leads to."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vtok.codec.effort import Effort
from vtok.codec.latent_descent import DESCENTS, CodeCost
from vtok.codec.strips import Strip, strips
from vtok.entropy.frame_coder import Codes
from vtok.networks.arithmetic import Arithmetic
from vtok.networks.latent_model import LatentModel
from vtok.networks.motion import estimate_bits
from vtok.networks.planes import Planes
from vtok.networks.quantizer import prefer_cheap_codes
from vtok.video.motion import ChunkMotion

if TYPE_CHECKING:  # it loads OpenCV, and decoders do not need it
    from vtok.codec.displaced_past import DisplacedPast

_REACH_OF_GRADIENT = 4  # rows of latents; what is farther away has little influence


class Way(NamedTuple):
    """One way to code a chunk.

    Attributes:
        chunk: The chunk, aligned or not.
        motion: Its motion.
        displaced: The codes before, displaced by the motion, centred; None at the start of a group.
    """

    chunk: Planes
    motion: ChunkMotion
    displaced: NDArray[np.int16] | None


class CodeChoice:
    """Chooses the codes of the chunks of one video.

    Args:
        model: The model that encodes, on the device of the chunks.
        quality: Quality `[1]`, on the device of the chunks.
        arithmetic: Device and number format of the networks.
        effort: How much time to take.
        past: What is known of the chunk before; the caller keeps it up to date.
        size: Latent rows and columns.

    Attributes:
        strips: The strips in which the networks of the encoder see a frame.
    """

    def __init__(
        self,
        model: LatentModel,
        quality: Tensor,
        arithmetic: Arithmetic,
        effort: Effort,
        past: "DisplacedPast",
        size: tuple[int, int],
    ) -> None:
        self._model, self._quality, self._arithmetic = model, quality, arithmetic
        self._past, self._size = past, size
        self._cost, self._descent = CodeCost(model, quality, arithmetic), DESCENTS.get(effort)
        bfloat16 = arithmetic.bfloat16
        self.strips = strips(*size, model.config.analysis_reach, bfloat16=bfloat16)
        self._small_strips = strips(*size, _REACH_OF_GRADIENT, bfloat16=bfloat16, gradients=True)

    def codes(self, way: Way) -> Codes:
        """Return codes `[n, H, W]`."""
        latents = self._latents(way.chunk)
        if self._descent is None:
            return self._near_codes(latents, way)
        codes = self._empty()
        for strip in self._small_strips:
            of_strip, seen = _rows(way.chunk, strip), self._past.seen_by_prior(way.displaced, way.motion, strip.outer)
            chosen = self._cost.descend(latents[:, :, strip.outer], of_strip, seen, self._descent)
            self._put(codes, strip, chosen[:, :, strip.wanted_of_seen(1)])
        return codes

    def cost(self, way: Way) -> float:
        """Return about what a way costs, before descent: distortion + lambda x bits."""
        codes = self._near_codes(self._latents(way.chunk), way)
        vectors = torch.from_numpy(way.motion.fields)[None]
        total = float(self._model.lagrangian(self._quality)) * float(estimate_bits(vectors))
        for strip in self._small_strips:
            stored = torch.from_numpy(codes[:, strip.outer]).to(self._arithmetic.device)
            centred, of_strip = self._model.quantizer.from_uint8(stored)[None], _rows(way.chunk, strip)
            seen = self._past.seen_by_prior(way.displaced, way.motion, strip.outer)
            total += self._cost.of(centred, of_strip, seen, strip.wanted_of_seen(1))
        return total

    def _latents(self, chunk: Planes) -> Tensor:
        """Latents `[1, n, H, W]`, in units of one code step."""
        parts = []
        for strip in self.strips:
            with self._arithmetic.autocast():
                latents = self._model.encode_chunk(_rows(chunk, strip), self._quality)
            parts.append(latents[:, :, 0, strip.wanted_of_seen(1)])
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)

    def _near_codes(self, latents: Tensor, way: Way) -> Codes:
        """The nearest codes, or cheap ones that are nearly as near."""
        codes = self._empty()
        for strip in self.strips:
            wanted = latents[:, :, strip.inner]
            cheap = None if way.displaced is None else torch.from_numpy(way.displaced[:, strip.inner]).to(wanted)
            self._put(codes, strip, prefer_cheap_codes(wanted, self._model.quantizer(wanted), cheap))
        return codes

    def _empty(self) -> Codes:
        return np.empty((self._model.config.num_channels, *self._size), np.uint8)

    def _put(self, codes: Codes, strip: Strip, chosen: Tensor) -> None:
        """Put a strip's centred codes `[1, n, h, W]` to their place."""
        codes[:, strip.inner] = self._model.quantizer.to_uint8(chosen[0]).cpu().numpy()


def _rows(planes: Planes, strip: Strip) -> Planes:
    """The part of planes that the networks see for a strip."""
    return planes.block_rows(strip.outer.start, strip.outer.stop)
