"""A `.vtok` file as codes and as frames, all of them or a range, in constant memory."""

import math
import os
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import nullcontext, suppress
from fractions import Fraction
from functools import cached_property
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

from vtok.codec.chunk_coder import FRAMES_PER_CHUNK, ChunkDecoder
from vtok.codec.code_costs import CodeCosts
from vtok.codec.file_model import model_of
from vtok.codec.group_decoder import decode_group
from vtok.container.audio_index import AudioLocation, audio_bytes, bytes_around, locate_audio, read_packets
from vtok.container.reader import ContainerReader, FileHeader, GroupLocation, VideoGroup
from vtok.entropy.frame_coder import Codes
from vtok.entropy.integer_products import entropy_coding_threads
from vtok.errors import ConfigError, FormatError, MediaError, naming
from vtok.model.tokenizer import VideoTokenizer
from vtok.networks.arithmetic import Arithmetic
from vtok.system.pipeline import DEPTH, ahead
from vtok.system.threads import num_threads
from vtok.video.frame import Frame, VideoInfo
from vtok.video.times import Span
from vtok.video.tracks import AudioPacket


class LatentFrame(NamedTuple):
    """One latent frame and the frames that it stands for."""

    codes: Codes  # uint8 [n, H, W]
    first_frame: int
    pts: tuple[int, ...]  # of 1 to 8 frames
    is_restart: bool  # the networks begin anew with it


class CompressedVideo:
    """A `.vtok` file as frames, decoded as they are asked for.

    Attributes:
        path: The file.
        header: Its header.
        info: The same as the description of a video; `num_frames_from_header` is of the whole file if that is sound.
        model: What decodes it.
        costs: Where to note what groups and channels cost while codes are read, or None.

    Args:
        path: The `.vtok` file.
        tokenizer: Default: the one in this package that the file names.
        name: What to call the file instead of `path`.
        arithmetic: Where and how the networks compute; see `ChunkDecoder`.

    Raises:
        FormatError: Not a `.vtok` file, or damaged; while iterating too.
        ModelMismatchError: It was written with other weights than those of the tokenizer.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        tokenizer: VideoTokenizer | None = None,
        name: str | os.PathLike[str] | None = None,
        arithmetic: Arithmetic | None = None,
    ) -> None:
        self.path = Path(name or path)
        self._local_path = Path(path)
        self._arithmetic = arithmetic
        self.costs: CodeCosts | None = None
        try:
            self._file = self._local_path.open("rb")
        except OSError as error:
            raise MediaError(f"{self.path}: cannot be opened: {error.strerror}") from error
        try:
            with naming(self.path):
                self.header = self._read_header()
                self.model = model_of(self.header, tokenizer)
                self._prior = self.model.exact_prior
            self.info = _info(self.header, self._total_frames())
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __iter__(self) -> Iterator[Frame]:
        """All frames, in order; once. Of a damaged file those before the damage, then the error."""
        return self.decoded(self.latent_frames())

    def latent_frames(self) -> Iterator[LatentFrame]:
        """All latent frames, in order, read from front to back, once; no network runs."""
        with naming(self.path):
            for group in self._reader:
                yield from self._latent_frames_of(group)

    def decoded(self, latents: Iterable[LatentFrame], *, overlapped: bool = True) -> Iterator[Frame]:
        """The frames of successive latent frames, as the networks decode them; `overlapped`: latents are read ahead."""
        decoder = ChunkDecoder(self.model, self.info, self.header.quality, self._arithmetic)
        with ahead(_beside_networks(latents), depth=DEPTH) if overlapped else nullcontext(latents) as waiting:
            for latent in waiting:
                if latent.is_restart:
                    decoder.restart()
                yield from decoder.decode(latent.codes, latent.pts)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Frames `start` to `stop` (exclusive; default: the end), to the last bit those of a whole decode.

        Read are only the groups that these frames are in, and what the networks need to know of those before.

        Raises:
            ConfigError: `start` is negative.
            FormatError: One of these groups is damaged; then the frames before it come first.
        """
        if start < 0:
            raise ConfigError(f"frames from {start} on: must be 0 or more")
        stop = self.num_frames if stop is None else min(stop, self.num_frames)
        if start >= stop:
            return
        latents = self._latents_for(start, stop)
        first = next(latents)
        rest = self.decoded(chain([first], latents))
        for index, frame in enumerate(rest, first.first_frame):
            if start <= index < stop:
                yield frame

    def packets(self, span: Span, part: range | None = None) -> Iterator[AudioPacket]:
        """Audio packets that begin in a stretch of time, in the order of the file, read independently of the frames.

        Args:
            span: The stretch of time.
            part: The frames of that time. Damage far from them does no harm then.

        Raises:
            FormatError: Some of that sound is damaged.
        """
        with naming(self.path), self._local_path.open("rb") as file:
            yield from read_packets(file, self.header, self._audio(file, part), span)

    def audio_bytes(self) -> int:
        """How much of the file is sound."""
        with self._local_path.open("rb") as file:
            return audio_bytes(file, self._reader.body_byte_offset)

    def frame_range(self, start_seconds: Fraction, end_seconds: Fraction | None) -> range:
        """The frames that begin at or after one time and before another, both counted from the first frame's.

        Raises:
            ConfigError: There are none.
        """
        start = self.first_frame_at(start_seconds)
        stop = self.num_frames if end_seconds is None else self.first_frame_at(end_seconds)
        if start >= stop:
            end = "the end" if end_seconds is None else f"{float(end_seconds):g} s"
            raise ConfigError(
                f"{self.path}: no frame begins from {float(start_seconds):g} s to {end}; its {self.num_frames} frames "
                f"last {float(self.duration):g} s"
            )
        return range(start, stop)

    def first_frame_at(self, seconds: Fraction) -> int:
        """The first frame that begins `seconds` after frame 0 or later; behind the last if there is none."""
        if not self.locations:
            return 0
        with naming(self.path):
            target = math.ceil(self.first_pts + seconds / self.header.time_base)
            place = bisect_left(self.locations, target, key=self._first_pts) - 1
            if place < 0:
                return 0
            group = self._read_group(self.locations[place])
        return group.first_frame + bisect_left(group.pts, target)

    @property
    def num_frames(self) -> int:
        """Frames in the file, as far as its groups can be found."""
        return self.locations[-1].end_frame if self.locations else 0

    @property
    def first_pts(self) -> int:
        """Timestamp of the first frame; 0 if there is none."""
        return self._first_pts(self.locations[0]) if self.locations else 0

    @property
    def duration(self) -> Fraction:
        """Seconds from when the first frame begins to the end of the last."""
        if not self.locations:
            return Fraction(0)
        with naming(self.path):
            last_pts = self._read_group(self.locations[-1]).pts[-1]
        return self.header.seconds_shown(self.first_pts, last_pts, self.ticks_shown(self.num_frames - 1))

    def ticks_shown(self, index: int) -> int:
        """How long a frame is shown, in units of the time base; 0 if the file, or its intact part, does not say."""
        if index + 1 >= self.num_frames:
            return self._reader.last_frame_ticks
        with suppress(FormatError):  # of a damaged group, which may begin behind what was asked for
            return max(0, self._pts_of(index + 1) - self._pts_of(index))
        return 0

    @cached_property
    def locations(self) -> list[GroupLocation]:
        """Where the groups are.

        Raises:
            FormatError: There is no index, and a walk over the chunks came upon damage.
        """
        with naming(self.path):
            return self._reader.read_index()

    def _read_header(self) -> FileHeader:
        """Read from the beginning of the file what it says of itself."""
        self._reader = ContainerReader(self._file)
        return self._reader.header

    def _pts_of(self, index: int) -> int:
        location = self.locations[bisect_right(self.locations, index, key=_first_frame) - 1]
        with naming(self.path):
            return self._read_group(location).pts[index - location.first_frame]

    def _read_group(self, location: GroupLocation) -> VideoGroup:
        return self._reader.read_group(location)

    def _first_pts(self, location: GroupLocation) -> int:
        return self._reader.read_group_head(location).first_pts

    def _audio(self, file: BinaryIO, part: range | None) -> Iterable[AudioLocation]:
        needed = range(1 << 62) if part is None else bytes_around(self.locations, part)
        return locate_audio(file, self._reader.body_byte_offset, needed)

    def _latents_for(self, start: int, stop: int) -> Iterator[LatentFrame]:
        """The latent frames of frames `start` to `stop`, and before them those that the networks' state depends on."""
        memory = self.model.networks.config.synthesis_memory
        groups = self.locations
        first = bisect_right(groups, start, key=_first_frame) - 1
        missing = memory - (start - groups[first].first_frame) // FRAMES_PER_CHUNK
        while missing > 0 and first > 0 and groups[first - 1].end_frame == groups[first].first_frame:
            first -= 1
            missing -= self.header.num_latent_frames(groups[first].num_frames)
        before: deque[LatentFrame] = deque(maxlen=memory)
        for location in groups[first : bisect_left(groups, stop, key=_first_frame)]:
            with naming(self.path):
                latents = self._latent_frames_of(self._read_group(location))
            for latent in latents:
                if latent.first_frame >= stop:
                    return
                if latent.is_restart:
                    before.clear()
                if latent.first_frame + len(latent.pts) <= start:
                    before.append(latent)
                    continue
                yield from before
                before.clear()
                yield latent

    def _latent_frames_of(self, group: VideoGroup) -> list[LatentFrame]:
        """A group's latent frames, checked as a whole before anything is made of them."""
        channel_bits = self.costs.add_group(group, self._prior.num_channels) if self.costs else None
        codes = decode_group(self._prior, self.header, group, channel_bits=channel_bits)
        return [
            LatentFrame(
                frame_codes,
                group.first_frame + FRAMES_PER_CHUNK * i,
                group.pts[FRAMES_PER_CHUNK * i : FRAMES_PER_CHUNK * (i + 1)],
                group.is_restart and i == 0,
            )
            for i, frame_codes in enumerate(codes)
        ]

    def _total_frames(self) -> int | None:
        """The number of frames if the file is sound; damage is for iterating to report, after what comes before it."""
        try:
            self._reader.read_index()
        except (FormatError, OSError):
            return None
        return self._reader.totals.num_frames if self._reader.totals else None


def _first_frame(location: GroupLocation) -> int:
    return location.first_frame


def _info(header: FileHeader, num_frames: int | None) -> VideoInfo:
    return VideoInfo(
        width=header.width,
        height=header.height,
        time_base=header.time_base,
        average_rate=header.average_rate,
        sample_aspect_ratio=header.sample_aspect_ratio,
        color_range=header.color_range,
        color_matrix=header.color_matrix,
        color_primaries=header.color_primaries,
        color_transfer=header.color_transfer,
        num_frames_from_header=num_frames,
    )


def _beside_networks(latents: Iterable[LatentFrame]) -> Iterator[LatentFrame]:
    """Latents, decoded in a thread beside that of the networks."""
    with num_threads(entropy_coding_threads()):
        yield from latents
