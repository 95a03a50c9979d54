"""Codes groups of frames on trial: what they cost and how they look at a quality; and what others will, by these."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vtok.codec.chunk_coder import FRAMES_PER_CHUNK, ChunkDecoder
from vtok.codec.effort import Effort
from vtok.codec.encoder import encode_chunks
from vtok.codec.group_decoder import decode_payload
from vtok.codec.source import SourceChunk
from vtok.container.groups import VideoGroup
from vtok.files.options import EncodeOptions
from vtok.measure.psnr_ssim import psnr, ssim
from vtok.measure.vmaf import VmafMeter
from vtok.model.pretrained_model import PretrainedModel
from vtok.networks.arithmetic import Arithmetic, choose_arithmetic
from vtok.video.frame import Frame, VideoInfo

# Sums over frames: coded bytes; mean squared errors of Y, U and V; 1 - SSIM; 100 - VMAF.
Costs = NDArray[np.float64]
NUM_COSTS = 6
Around = tuple[Frame | None, Frame | None]  # the frames of a source before and after a group; None at its ends
_LEAST = 1e-9  # of a cost, as logarithms are interpolated
# Logarithms of costs per step of quality, for groups of which one quality is known.
_USUAL_SLOPES = np.array([0.55, -0.35, -0.3, -0.3, -0.35, -0.35])


def psnr_yuv(costs: Costs, num_frames: float) -> float:
    """Return the PSNR-YUV of frames, in dB; see `vtok.measure.psnr_ssim.Quality`."""
    y, u, v = (psnr(float(error) / num_frames) for error in costs[1:4])
    return (6 * y + u + v) / 8


def mean_ssim(costs: Costs, num_frames: float) -> float:
    """Return the mean SSIM of the luma of frames."""
    return 1 - float(costs[4]) / num_frames


def mean_vmaf(costs: Costs, num_frames: float) -> float:
    """Return the mean VMAF of frames."""
    return 100 - float(costs[5]) / num_frames


@dataclass(frozen=True, slots=True, eq=False)
class Coder:
    """Codes one group at a time.

    Attributes:
        model: The model that codes.
        info: Size and range of the frames.
        arithmetic: Device and number format of the networks.
        effort: How much time the encoder takes.
        verify: Decode the tokens of each group, and compare.
        sees: Whether frames are decoded too, and their errors counted.
        vmaf_program: The program that measures VMAF too; see `vtok.measure.vmaf.find_ffmpeg`.
    """

    model: PretrainedModel
    info: VideoInfo
    arithmetic: Arithmetic
    effort: Effort
    verify: bool
    sees: bool
    vmaf_program: str | None = None

    @classmethod
    def of(
        cls,
        options: EncodeOptions,
        model: PretrainedModel,
        info: VideoInfo,
        *,
        sees: bool,
        vmaf_program: str | None = None,
    ) -> Self:
        """Return a coder with the options of encoding."""
        arithmetic = choose_arithmetic(options.device, options.precision)
        return cls(model, info, arithmetic, options.effort, options.verify, sees, vmaf_program)

    def code(
        self,
        chunks: Sequence[SourceChunk],
        quality: float,
        first_frame: int,
        advance: Callable[[int], None] = lambda frames: None,
        around: Around = (None, None),
    ) -> tuple[VideoGroup, Costs]:
        """Return a group, and its costs; errors are 0 if frames are not decoded.

        Args:
            chunks: The frames of the group.
            quality: Its quality.
            first_frame: Number of its first frame in the video.
            advance: Called with the number of frames done since its last call.
            around: The frames of the source before and after them, by which VMAF sees the motion of the first and last.
        """
        group = self.encode(chunks, quality, first_frame, advance)
        return group, self.costs(chunks, group, around)

    def encode(
        self,
        chunks: Sequence[SourceChunk],
        quality: float,
        first_frame: int,
        advance: Callable[[int], None] = lambda frames: None,
    ) -> VideoGroup:
        """Return a group; `code` explains the arguments."""
        group: VideoGroup | None = None
        items = encode_chunks(
            chunks,
            self.model,
            self.info,
            quality=quality,
            arithmetic=self.arithmetic,
            effort=self.effort,
            verify=self.verify,
            first_frame=first_frame,
        )
        with closing(items):
            for item in items:
                if isinstance(item, VideoGroup):
                    group = item
                else:
                    advance(len(item.pts))
        assert group is not None  # each group has a frame
        return group

    def costs(self, chunks: Sequence[SourceChunk], group: VideoGroup, around: Around = (None, None)) -> Costs:
        """Return the costs of a coded group; `code` explains the arguments."""
        costs = np.zeros(NUM_COSTS)
        costs[0] = len(group.coded)
        if self.sees:
            costs[1:] = self._errors(chunks, group, around)
        return costs

    def _errors(self, chunks: Sequence[SourceChunk], group: VideoGroup, around: Around) -> Costs:
        """All costs but the bytes."""
        errors = np.zeros(NUM_COSTS - 1)
        program, width, height = self.vmaf_program, self.info.width, self.info.height
        with VmafMeter(program, width=width, height=height) if program else nullcontext() as meter:
            before, after = around
            if meter and before is not None:
                meter.add(before, before)
            for frame, decoded in self.pairs(chunks, group):
                errors[:-1] += errors_of(frame, decoded)
                if meter:
                    meter.add(frame, decoded)
            if meter:
                if after is not None:
                    meter.add(after, after)
                begin = before is not None
                scores = meter.finish().default[begin : begin + group.num_frames]
                errors[-1] = sum(100 - score for score in scores)
        return errors

    def pairs(self, chunks: Sequence[SourceChunk], group: VideoGroup) -> Iterator[tuple[Frame, Frame]]:
        """Yield each frame of a coded group, and what it decodes to."""
        size = self.info.height, self.info.width
        tokens = decode_payload(
            self.model.exact_prior, group.quality, group.coded, num_latent_frames=group.num_latent_frames, size=size
        )
        decoder = ChunkDecoder(self.model, self.info, self.arithmetic)
        for i, (chunk, of_chunk) in enumerate(zip(chunks, tokens, strict=True)):
            pts = group.pts[FRAMES_PER_CHUNK * i : FRAMES_PER_CHUNK * (i + 1)]
            yield from zip(chunk.frames, decoder.decode(of_chunk, pts, group.quality), strict=True)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Trial:
    """What a group is coded from; it can be sent to another process. `Coder` explains the attributes."""

    chunks: Sequence[SourceChunk]
    info: VideoInfo
    quality: float
    first_frame: int
    around: Around
    sees: bool
    vmaf_program: str | None

    def coded(
        self, options: EncodeOptions, model: PretrainedModel, advance: Callable[[int], None] = lambda frames: None
    ) -> tuple[VideoGroup, Costs]:
        """Return the group and its costs."""
        coder = Coder.of(options, model, self.info, sees=self.sees, vmaf_program=self.vmaf_program)
        return coder.code(self.chunks, self.quality, self.first_frame, advance, self.around)


def errors_of(frame: Frame, decoded: Frame) -> Costs:
    """The costs of a frame that frames show one by one: mean squared errors of Y, U and V; 1 - SSIM."""
    planes = ((frame.y, decoded.y), (frame.u, decoded.u), (frame.v, decoded.v))
    squares = [float(np.square(a.astype(np.int32) - b).mean()) for a, b in planes]
    return np.array([*squares, 1 - ssim(frame.y, decoded.y)])


class Forecast:
    """What groups will cost at a quality, by what some of them did.

    Logarithms of costs are interpolated over the quality. A group that was not tried costs as much per frame as the
    nearest one that was.

    Args:
        num_frames: Number of frames of each group.
    """

    def __init__(self, num_frames: Sequence[int]) -> None:
        self._num_frames = num_frames
        self._tried: dict[int, dict[float, Costs]] = {}  # logarithms of costs per frame, by group and quality
        self._coded: dict[int, tuple[float, Costs]] = {}  # likewise, of all groups once they are coded

    def add(self, group: int, quality: float, costs: Costs) -> None:
        """Note what a group costs at a quality."""
        self._tried.setdefault(group, {})[quality] = np.log(np.maximum(costs / self._num_frames[group], _LEAST))

    def know(self, coded: Mapping[int, tuple[float, Costs]]) -> None:
        """Note qualities and costs of groups that were coded; by these they are forecast better than by others."""
        for group, (quality, costs) in coded.items():
            self._coded[group] = quality, np.log(np.maximum(costs / self._num_frames[group], _LEAST))

    def costs(self, groups: Iterable[int], quality: float) -> Costs:
        """Sum of the costs of some groups at a quality."""
        total, of_nearest = np.zeros(NUM_COSTS), {group: self._at(group, quality) for group in self._tried}
        places = sorted(self._tried)
        for group in groups:
            nearest = _nearest(places, group)
            logarithms = of_nearest[nearest]
            if group in self._coded and nearest != group:
                known, costs = self._coded[group]
                logarithms = costs + logarithms - self._at(nearest, known)
            total += self._num_frames[group] * np.exp(logarithms)
        return total

    def _at(self, group: int, quality: float) -> Costs:
        """Logarithms of the costs per frame of a tried group, on a line through the two qualities around `quality`."""
        tried = self._tried[group]
        qualities = sorted(tried)
        if len(qualities) == 1:
            return tried[qualities[0]] + _USUAL_SLOPES * (quality - qualities[0])
        place = min(max(bisect_left(qualities, quality), 1), len(qualities) - 1)
        low, high = qualities[place - 1 : place + 1]
        line: Costs = tried[low] + (tried[high] - tried[low]) * ((quality - low) / (high - low))
        return line


def _nearest(places: Sequence[int], group: int) -> int:
    place = bisect_left(places, group)
    return min(places[max(0, place - 1) : place + 1], key=lambda other: abs(other - group))


def solved(value_at: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    """Return the quality between `low` and `high`, in steps of 1/256, at which a rising value is at most `wanted`.

    It is the highest such quality, and `low` if there is none.
    """
    first, last = math.ceil(low * 256), math.floor(high * 256)
    while first < last:
        middle = (first + last + 1) // 2
        first, last = (middle, last) if value_at(middle / 256) <= wanted else (first, middle - 1)
    return first / 256
