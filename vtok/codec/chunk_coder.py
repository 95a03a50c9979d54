"""Converts frames to codes and motion, and back, chunk by chunk.

    8 frames, uint8 --> align --> latents --> codes, uint8 [n, H, W], and motion                      ChunkEncoder
    codes and motion --> latents --> aligned frames --> restore --> blend --> 8 frames, uint8         ChunkDecoder
                                   the last frame before, as it was put out --'

Each chunk decodes from its own codes and motion alone, but for the blend, which smooths the step from the chunk before
and leaves the last frame as it is. Nothing goes from a group to the next. The encoder keeps the codes of the chunk
before: the entropy coder will look there, displaced by the motion, so it searches for that motion, and prefers codes
that are cheap after them (`vtok.codec.code_choice`). The networks see a chunk in strips (`vtok.codec.strips`), motion
the whole frame.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vtok.codec.chunk_tokens import ChunkTokens
from vtok.codec.code_choice import CodeChoice, Way
from vtok.codec.effort import Effort
from vtok.codec.strips import Strip, strips
from vtok.entropy.frame_coder import Codes
from vtok.errors import ConfigError
from vtok.model.pretrained_model import PretrainedModel
from vtok.networks.alignment_choice import choose_alignment
from vtok.networks.arithmetic import Arithmetic, choose_arithmetic
from vtok.networks.klt import PATCH
from vtok.networks.motion import align, restore
from vtok.networks.planes import Planes
from vtok.system.memory import give_back_freed_memory
from vtok.system.threads import use_threads
from vtok.video.frame import Frame, Plane, VideoInfo
from vtok.video.motion import ANCHOR, ChunkMotion, Vectors

FRAMES_PER_CHUNK = PATCH
_SIDES = (PATCH, PATCH // 2, PATCH // 2)  # rows of samples in a row of latents: luma and both chroma planes
_CELLS = 2  # rows of cells in a row of latents

Samples = tuple[Tensor, Tensor, Tensor]  # of whole blocks, uint8: luma [1, t, 8 H, 8 W], and both chroma planes


def latent_size(height: int, width: int) -> tuple[int, int]:
    """Return the latent rows H and columns W of a video of `height` x `width` pixels."""
    return -(-height // PATCH), -(-width // PATCH)


class _Coder:
    _strips: list[Strip]

    def __init__(self, model: PretrainedModel, info: VideoInfo, arithmetic: Arithmetic | None) -> None:
        self._arithmetic = arithmetic or choose_arithmetic("cpu")
        self._num_threads = torch.get_num_threads()  # for any thread that calls later; see `vtok.system.threads`
        self._model = model.on(self._arithmetic.device)
        self._info = info
        self._size = latent_size(info.height, info.width)

    def _quality_tensor(self, quality: float) -> Tensor:
        highest = self._model.config.num_qualities
        if not 1 <= quality <= highest:
            raise ConfigError(f"quality is {quality:g}; expected 1 (smallest) to {highest} (best)")
        return torch.tensor([float(quality)], dtype=torch.float32, device=self._arithmetic.device)

    def _end_step(self) -> None:
        """A step ends whose buffers are of no use to the next: they are given back if they are large."""
        if len(self._strips) > 1:
            give_back_freed_memory()

    def _planes(self, samples: Sequence[Tensor]) -> Planes:
        y, u, v = (plane.to(self._arithmetic.device) for plane in samples)
        return Planes.from_uint8(y, u, v, full_range=self._info.is_full_range)


class ChunkDecoder(_Coder):
    """Decodes the chunks of one video, in order.

    Args:
        model: The model that decodes.
        info: Size and range of the frames.
        arithmetic: Device and number format of the networks; default: those of `choose_arithmetic("cpu")`.
    """

    def __init__(self, model: PretrainedModel, info: VideoInfo, arithmetic: Arithmetic | None = None) -> None:
        super().__init__(model, info, arithmetic)
        reach = self._model.config.synthesis_reach
        self._strips = strips(*self._size, reach, bfloat16=self._arithmetic.bfloat16)
        self.start_group()

    def start_group(self) -> None:
        """Forget the last frame: the next chunk is not blended with it."""
        self._last: Samples | None = None

    @torch.inference_mode()
    def decode(self, tokens: ChunkTokens, pts: Sequence[int], quality: float) -> list[Frame]:
        """Return the next 1 to 8 frames from their tokens of a quality, one frame per timestamp in `pts`."""
        use_threads(self._num_threads)
        of_chunk = self._quality_tensor(quality)
        chunk, hint = self._synthesised(tokens.codes, of_chunk)
        self._end_step()
        alignment = tokens.motion.fields[:-1]
        if alignment.any():
            chunk = restore(chunk, torch.from_numpy(alignment)[None].to(self._arithmetic.device))
        if hint is not None and self._last is not None:
            self._blend(chunk, self._planes(self._last), hint, of_chunk)
        self._end_step()
        samples = chunk.to_uint8(full_range=self._info.is_full_range)
        y, u, v = (plane[:, -1:].clone() for plane in samples)
        self._last = y, u, v
        height, width = self._info.height, self._info.width
        sizes = (height, width), *[(-(-height // 2), -(-width // 2))] * 2
        planes = [
            plane[0, : len(pts), :h, :w].cpu().contiguous().numpy()
            for plane, (h, w) in zip(samples, sizes, strict=True)
        ]
        return [Frame(*frame) for frame in zip(*planes, pts, strict=True)]

    def _blend(self, chunk: Planes, last: Planes, hint: Tensor, quality: Tensor) -> None:
        """Change a chunk so that it goes on smoothly from the frame before, in place."""
        first = Planes(*(plane[:, :1].clone() for plane in chunk))
        for strip in self._strips:
            seen = hint[:, :, strip.seen(_CELLS)]
            with self._arithmetic.autocast():
                change = self._model.blend(_rows(first, strip), _rows(last, strip), seen, quality)
            for plane, part, side in zip(chunk, change, _SIDES, strict=True):
                plane[:, :, strip.wanted(side)] += part[:, :, strip.wanted_of_seen(side)]

    def _synthesised(self, codes: Codes, quality: Tensor) -> tuple[Planes, Tensor | None]:
        """The aligned chunk, luma `[1, 8, 8 H, 8 W]`, and the hint for the blend of its end, if the model blends."""
        whole: Planes | None = None
        hints = []
        for strip in self._strips:
            stored = torch.from_numpy(codes[:, strip.outer]).to(self._arithmetic.device)
            centred = self._model.quantizer.from_uint8(stored)[None, :, None]
            with self._arithmetic.autocast():
                part, hint = self._model.decode_chunk(centred, quality)
            if len(self._strips) == 1:
                return part, hint
            if hint is not None:
                hints.append(hint[:, :, strip.wanted_of_seen(_CELLS)])
            if whole is None:
                whole = Planes(
                    *(
                        torch.empty(1, PATCH, self._size[0] * side, p.shape[-1], device=p.device)
                        for p, side in zip(part, _SIDES, strict=True)
                    )
                )
            for plane, p, side in zip(whole, part, _SIDES, strict=True):
                plane[:, :, strip.wanted(side)] = p[:, :, strip.wanted_of_seen(side)]
        assert whole is not None
        return whole, torch.cat(hints, dim=2) if hints else None


class SearchedChunk(NamedTuple):
    """A chunk on its way into the encoder: whole blocks of eight frames, and how these move."""

    samples: tuple[Plane, Plane, Plane]  # uint8: luma [8, 8 H, 8 W], and both chroma planes
    alignment: Vectors


class ChunkEncoder(_Coder):
    """Encodes the chunks of one video, in order.

    Args:
        model: The model that encodes.
        info: Size and range of the frames.
        quality: 1 to 9.
        arithmetic: Device and number format of the networks; default: those of `choose_arithmetic("cpu")`.
        effort: How much time to take.
    """

    def __init__(
        self,
        model: PretrainedModel,
        info: VideoInfo,
        quality: float,
        arithmetic: Arithmetic | None = None,
        effort: Effort = Effort.NORMAL,
    ) -> None:
        # OpenCV takes a fifth of a second to load, and only encoders need it.
        from vtok.codec.displaced_past import DisplacedPast
        from vtok.motion.search import MotionSearch

        super().__init__(model, info, arithmetic)
        self._quality = self._quality_tensor(quality)
        self._effort = effort
        rows, columns = self._size
        self._search = MotionSearch(rows * PATCH, columns * PATCH)
        self._lagrangian = float(self._model.search_lagrangian(self._quality))
        exact = model.exact_prior.displaced_codes(quality)
        self._past = DisplacedPast(self._model, exact, self._quality, self._size)
        self._choice = CodeChoice(self._model, self._quality, self._arithmetic, effort, self._past, self._size)
        self._strips = self._choice.strips

    def start_group(self) -> None:
        """Encode the next chunk regardless of earlier ones."""
        self._past.forget()

    def search(self, frames: Sequence[Frame]) -> SearchedChunk:
        """Find the motion in 1 to 8 frames; may run in another thread than `encode`, ahead of it."""
        parts = zip(*((f.y, f.u, f.v) for f in frames), strict=True)
        y, u, v = (_whole_blocks(part, self._size, side) for part, side in zip(parts, _SIDES, strict=True))
        return SearchedChunk((y, u, v), self._search.alignment(y, self._lagrangian))

    @torch.no_grad()
    def encode(self, frames: Sequence[Frame] | SearchedChunk) -> ChunkTokens:
        """Return the tokens of the next 1 to 8 frames; fewer than 8 only at the end of a group.

        The search for their motion may have been done before.
        """
        use_threads(self._num_threads)
        searched = frames if isinstance(frames, SearchedChunk) else self.search(frames)
        self._end_step()
        planes = self._planes([torch.from_numpy(plane)[None] for plane in searched.samples])
        frame = planes.frames(ANCHOR, ANCHOR + 1).to_uint8(full_range=True)[0][0, 0].cpu().numpy()
        vectors = torch.from_numpy(searched.alignment)[None].to(self._arithmetic.device)
        way = self._way(frame, planes, vectors)
        del planes
        self._end_step()
        codes = self._choice.codes(way)
        self._end_step()
        self._past.add(codes)
        return ChunkTokens(codes, way.motion)

    def _way(self, frame: Plane, planes: Planes, vectors: Tensor) -> Way:
        """How to code a chunk whose frame 2 is `frame`: aligned by the vectors that were found for it, or not."""
        if self._effort == Effort.HIGH and vectors.any():
            still = torch.zeros_like(vectors)
            ways = [self._way_of(frame, *each) for each in ((planes, still), (align(planes, vectors), vectors))]
            return min(ways, key=self._choice.cost)
        return self._way_of(frame, *choose_alignment(self._model, planes, vectors, self._quality))

    def _way_of(self, frame: Plane, chunk: Planes, vectors: Tensor) -> Way:
        alignment = vectors[0].cpu().numpy()
        displacement = self._past.field(frame, chunk, alignment)
        motion = ChunkMotion(np.concatenate([alignment, displacement[None]]))
        return Way(chunk, motion, self._past.displaced(displacement))


def _rows(planes: Planes, strip: Strip) -> Planes:
    """The part of planes that the networks see for a strip."""
    return planes.block_rows(strip.outer.start, strip.outer.stop)


def _whole_blocks(planes: Sequence[Plane], size: tuple[int, int], side: int) -> Plane:
    """Planes of 1 to 8 frames as uint8 `[8, H * side, W * side]`; frames and edges are repeated to whole blocks."""
    height, width = planes[0].shape
    rows, columns = size[0] * side, size[1] * side
    whole = np.empty((PATCH, rows, columns), np.uint8)
    for t in range(PATCH):
        whole[t, :height, :width] = planes[min(t, len(planes) - 1)]
    whole[:, :height, width:] = whole[:, :height, width - 1 : width]
    whole[:, height:] = whole[:, height - 1 : height]
    return whole
