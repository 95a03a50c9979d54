"""Reaches a goal: looks for the qualities at which a file has the size, or the fidelity, that was asked for.

    look     counts frames, and the bytes of all that is not codes              no networks
    price    codes up to eight groups at up to four qualities                   --> a quality for all
    encode   codes all groups; each has the quality at which, by what is coded and by what the rest will cost, the file
             comes to the goal. The last is coded again until it does           --> groups, in a temporary file
    again    if that was not enough: all groups once more, now that the cost of each is known

One quality for all groups means equal slopes: what a bit more would gain is, by the training of the model, a function
of the quality alone.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vtok.codec.file_model import new_header
from vtok.codec.sound_queue import SoundQueue
from vtok.codec.source import SourceChunk, SourcePart
from vtok.container.groups import VideoGroup
from vtok.container.writer import ContainerWriter
from vtok.errors import ConfigError, MediaError
from vtok.files.goals import Goal, GoalReport
from vtok.files.options import EncodeOptions
from vtok.files.trials import NUM_COSTS, Coder, Costs, Forecast, mean_ssim, mean_vmaf, psnr_yuv, solved
from vtok.measure.vmaf import MISSING, find_ffmpeg
from vtok.media.reader import VideoReader
from vtok.model.pretrained_model import PretrainedModel
from vtok.networks.arithmetic import choose_arithmetic
from vtok.system.paths import StrPath
from vtok.video.frame import Progress
from vtok.video.times import played_seconds

MAX_PRICED = 8  # groups
MAX_PRICES = 4  # qualities
MAX_PASSES = 3  # that code all groups
MAX_TRIES = 4  # of the last group
_NEAR = 0.3  # qualities between which interpolation is exact enough
_DRIFT = 0.6  # how far the quality of a group may be from that of all
_LAST_DRIFT = 1.5  # likewise of the last group, which is coded again until the file is as it should be
# Of what is left for codes, so much is not used: forecasts are wrong now and then, and a group can be coded again.
_RESERVE = 0.008
_MEASURES = {"psnr": psnr_yuv, "ssim": mean_ssim, "vmaf": mean_vmaf}


class GroupStore:
    """Groups in a temporary file, in order."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lengths: list[int] = []

    def clear(self) -> None:
        """Forget all groups."""
        self._file.seek(0)
        self._lengths = []

    def add(self, group: VideoGroup) -> None:
        """Append a group."""
        data = group.to_bytes()
        self._file.write(data)
        self._lengths.append(len(data))

    def __iter__(self) -> Iterator[VideoGroup]:
        self._file.seek(0)
        for length in self._lengths:
            yield VideoGroup.from_bytes(self._file.read(length))


@dataclass(frozen=True, slots=True)
class _Look:
    """What is known of a source without networks.

    Attributes:
        num_frames: Number of frames of each group.
        num_body_bytes: Bytes of header, sound and groups, without the codes.
        num_end_bytes: Bytes of what follows, without the copy of the header.
        num_copy_bytes: Bytes of that copy, by the number of bytes before it.
        limit: Bytes that the file may have.
    """

    num_frames: list[int]
    num_body_bytes: int
    num_end_bytes: int
    num_copy_bytes: Callable[[int], int]
    limit: float

    def num_bytes(self, num_coded_bytes: float) -> float:
        """Bytes of the file with so many bytes of codes."""
        body = self.num_body_bytes + num_coded_bytes
        return body + self.num_copy_bytes(int(body)) + self.num_end_bytes


class _Nowhere:
    def write(self, data: bytes) -> int:
        return len(data)


class Steering:
    """The passes over a source that find a file for a goal.

    Args:
        path: The source.
        name: Its name in messages.
        options: The options of encoding, with a goal.
        model: The model that codes.
        progress: Called with the video's description and the name of each pass.
    """

    def __init__(
        self, path: StrPath, name: StrPath, options: EncodeOptions, model: PretrainedModel, progress: Progress | None
    ) -> None:
        assert options.goal is not None
        self._path, self._name, self._options, self._model = path, name, options, model
        self._goal: Goal = options.goal
        self._progress = progress
        self._num_passes = 0
        self._vmaf_program = find_ffmpeg() if self._goal.kind == "vmaf" else None
        if self._goal.kind == "vmaf" and self._vmaf_program is None:
            raise ConfigError(f"a VMAF cannot be reached: {MISSING}")
        self._highest = float(model.networks.config.num_qualities)
        self._look = self._looked()
        self._forecast = Forecast(self._look.num_frames)
        self._all = range(len(self._look.num_frames))
        # Sizes are limits: what the forecast promises stays below by a reserve.
        limit, others = self._look.limit, self._look.num_bytes(0)
        self._wanted = limit - _RESERVE * max(0.0, limit - others) if self._goal.is_size else self._goal.value

    def run(self, store: GroupStore) -> GoalReport:
        """Code all groups into `store`, so that the goal is reached.

        Raises:
            ConfigError: The goal cannot be reached.
            VtokError: Encoding failed.
        """
        quality = self._priced()
        for _ in range(MAX_PASSES):
            coded = self._encoded(store, quality)
            total = sum((costs for _, costs in coded.values()), start=np.zeros(NUM_COSTS))
            reached = self._shown(total)
            if self._goal.is_met(reached):
                break
            self._forecast.know(coded)
            quality = self._solved(np.zeros(NUM_COSTS), self._all, 1.0, self._highest)
        if self._goal.is_size and self._value(total) > self._look.limit:
            raise ConfigError(f"{self._name}: comes to {self._goal.text(reached)}, whatever the quality")
        return GoalReport(
            kind=self._goal.kind,
            wanted=self._goal.value,
            reached=reached,
            num_passes=self._num_passes + 1,
            qualities=[coded[group][0] for group in self._all],
        )

    def _value(self, total: Costs) -> float:
        """What a file with these costs comes to: bytes, dB, SSIM or VMAF; rises with the quality."""
        if self._goal.is_size:
            return self._look.num_bytes(float(total[0]))
        return _MEASURES[self._goal.kind](total, sum(self._look.num_frames))

    def _shown(self, total: Costs) -> float:
        """The same in the units of the goal."""
        value = self._value(total)
        return self._goal.of_bytes(value, self._look.limit) if self._goal.is_size else value

    def _solved(self, done: Costs, rest: Sequence[int], low: float, high: float) -> float:
        """The quality of all groups that are left at which the file comes to the goal."""
        return solved(lambda q: self._value(done + self._forecast.costs(rest, q)), self._wanted, low, high)

    def _looked(self) -> _Look:
        """Read the source without networks."""
        num_frames: list[int] = []
        pts: list[int] = []
        with self._opened("look", with_sound=self._options.with_audio) as (part, advance):
            writer = ContainerWriter(_Nowhere(), new_header(self._model, part.info, part.extras))
            first = last = None
            for chunk in self._chunks(part):
                pts += [frame.pts for frame in chunk.frames]
                writer.write_audio(chunk.audio)
                advance(len(chunk.frames))
                if chunk.ends_group:
                    writer.write_group(_empty_group(pts, writer.totals.num_frames))
                    num_frames.append(len(pts))
                    first, last, pts = pts[0] if first is None else first, pts[-1], []
            writer.write_audio(part.rest_of_sound())
            body = writer.num_bytes
            writer.finish(last_frame_ticks=part.last_frame_ticks)
            end = writer.num_bytes - body - writer.num_copy_bytes(body)
            if first is None or last is None:
                raise MediaError(f"{self._name}: no frame could be decoded")
            seconds = played_seconds(part.info, first, last, part.last_frame_ticks)
            width, height = part.info.width, part.info.height
        raw_bytes = sum(num_frames) * (width * height + 2 * -(-width // 2) * -(-height // 2))
        return _Look(num_frames, body, end, writer.num_copy_bytes, self._goal.limit(seconds, raw_bytes))

    def _priced(self) -> float:
        """Code some groups at several qualities; return the quality at which the file should come to the goal.

        Raises:
            ConfigError: No quality is good enough, or low enough.
        """
        count = min(MAX_PRICED, len(self._all))
        groups = {(2 * i + 1) * len(self._all) // (2 * count) for i in range(count)}
        priced: list[float] = []
        quality = min(5.0, self._highest)
        while len(priced) < MAX_PRICES:
            self._price(groups, quality)
            priced.append(quality)
            quality = self._solved(np.zeros(NUM_COSTS), self._all, 1.0, self._highest)
            if min(abs(quality - other) for other in priced) <= (0.0 if quality in (1.0, self._highest) else _NEAR):
                break
        for bound in (1.0, self._highest):
            if quality == bound and bound in priced:
                self._check_reachable(groups, bound)
        return quality

    def _check_reachable(self, groups: set[int], bound: float) -> None:
        """Refuse a goal that is beyond what all groups come to at the lowest or highest quality."""
        total = self._forecast.costs(self._all, bound)
        value = self._value(total)
        is_beyond = value > self._wanted if bound == 1.0 else value < self._wanted
        if not is_beyond or self._goal.is_met(self._shown(total)):
            return
        other = self._highest + 1.0 - bound
        self._price(groups, other)
        low, high = sorted(self._shown(self._forecast.costs(self._all, quality)) for quality in (bound, other))
        raise ConfigError(
            f"{self._name}: {self._goal.text(self._goal.value)} cannot be reached: its qualities come to about "
            f"{self._goal.text(low)} to {self._goal.text(high)}"
        )

    def _price(self, groups: set[int], quality: float) -> None:
        """Code some groups at one more quality."""
        with self._opened("price") as (part, advance):
            coder = self._coder(part)
            for number, chunks in enumerate(self._groups(part, groups.__contains__)):
                if chunks:
                    _, costs = coder.code(chunks, quality, 0, advance)
                    self._forecast.add(number, quality, costs)

    def _encoded(self, store: GroupStore, quality: float) -> dict[int, tuple[float, Costs]]:
        """Code all groups; return the quality and the costs of each."""
        store.clear()
        coded: dict[int, tuple[float, Costs]] = {}
        low, high = max(1.0, quality - _DRIFT), min(self._highest, quality + _DRIFT)
        done, first_frame = np.zeros(NUM_COSTS), 0
        with self._opened("encode") as (part, advance):
            coder = self._coder(part)
            for number, chunks in enumerate(self._groups(part, lambda number: True)):
                if number >= len(self._all):
                    raise MediaError(f"{self._name}: gives other frames each time it is read. Give a quality")
                of_group = self._solved(done, self._all[number:], low, high)
                group, costs = coder.code(chunks, of_group, first_frame, advance)
                if number == self._all[-1]:
                    code_again = partial(coder.code, chunks, first_frame=first_frame, advance=_ignore)
                    group, costs = self._fitted(code_again, group, costs, done)
                store.add(group)
                coded[number] = group.quality, costs
                done, first_frame = done + costs, first_frame + group.num_frames
        if len(coded) < len(self._all):
            raise MediaError(f"{self._name}: gives other frames each time it is read. Give a quality")
        return coded

    def _fitted(
        self, code: Callable[[float], tuple[VideoGroup, Costs]], group: VideoGroup, costs: Costs, done: Costs
    ) -> tuple[VideoGroup, Costs]:
        """The last group, coded again at other qualities until the file comes to the goal, if it can."""
        own = Forecast([group.num_frames])
        low, high = max(1.0, group.quality - _LAST_DRIFT), min(self._highest, group.quality + _LAST_DRIFT)
        for _ in range(MAX_TRIES):
            if self._goal.is_met(self._shown(done + costs)):
                break
            own.add(0, group.quality, costs)
            quality = solved(lambda q: self._value(done + own.costs([0], q)), self._wanted, low, high)
            if quality == group.quality:
                break
            group, costs = code(quality)
        return group, costs

    def _coder(self, part: SourcePart) -> Coder:
        options = self._options
        arithmetic = choose_arithmetic(options.device, options.precision)
        sees = not self._goal.is_size
        return Coder(self._model, part.info, arithmetic, options.verify, sees, self._vmaf_program)

    def _groups(self, part: SourcePart, is_wanted: Callable[[int], bool]) -> Iterator[list[SourceChunk]]:
        """Yield the chunks of each group; an empty list for one that is not wanted."""
        chunks: list[SourceChunk] = []
        number = 0
        for chunk in self._chunks(part):
            if is_wanted(number):
                chunks.append(chunk)
            if chunk.ends_group:
                yield chunks
                chunks, number = [], number + 1

    def _chunks(self, part: SourcePart) -> Iterator[SourceChunk]:
        return part.chunks(self._options.keyframe_seconds, scene_cuts=self._options.scene_cuts)

    @contextmanager
    def _opened(self, activity: str, *, with_sound: bool = False) -> Iterator[tuple[SourcePart, Callable[[int], None]]]:
        """Open the source for one more pass."""
        options = self._options
        sound = SoundQueue() if with_sound else None
        with VideoReader(
            self._path, name=self._name, allow_hdr=options.allow_hdr, image_rate=options.image_rate, sound=sound
        ) as reader:
            part = SourcePart(reader, sound, options.start_seconds, options.end_seconds)
            self._num_passes += 1
            yield part, self._progress(part.info, activity) if self._progress else _ignore


def _ignore(frames: int) -> None:
    pass


def _empty_group(pts: Sequence[int], first_frame: int) -> VideoGroup:
    """A group that takes no bytes for its codes."""
    return VideoGroup(
        first_frame=first_frame,
        pts=tuple(pts),
        num_latent_frames=-(-len(pts) // 8),
        quality=1.0,
        tokens_crc32=0,
        coded=b"",
    )


@contextmanager
def steered(
    path: Path, name: StrPath, options: EncodeOptions, model: PretrainedModel, progress: Progress | None
) -> Iterator[tuple[GoalReport, GroupStore]]:
    """Yield the groups of a file that reaches the goal of `options`, and how it does."""
    with tempfile.TemporaryFile(prefix="vtok-") as file:
        store = GroupStore(file)
        yield Steering(path, name, options, model, progress).run(store), store
