"""Passes over a source: what is known without networks, and its groups of frames, again and again."""

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace

from vtok.codec.file_model import new_header
from vtok.codec.source import SourceChunk, SourcePart
from vtok.container.groups import VideoGroup
from vtok.container.writer import ContainerWriter
from vtok.errors import MediaError
from vtok.files.options import EncodeOptions
from vtok.files.source import chunks_of, opened_part
from vtok.files.trials import Around, Coder, Costs, Trial
from vtok.media.reader import VideoReader
from vtok.model.pretrained_model import PretrainedModel
from vtok.system.paths import StrPath
from vtok.video.frame import Frame, Progress, VideoInfo
from vtok.video.times import played_seconds

Submit = Callable[[Trial], Future[tuple[VideoGroup, Costs]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is known of a source without networks.

    Attributes:
        info: Description of the frames.
        num_frames: Number of frames of each group.
        begins: Timestamp of the first frame of each group, in units of the time base.
        seconds: Time that the frames play for.
        num_track_bytes: Bytes of sound and subtitles.
        num_body_bytes: Bytes of header, packets and groups, without the codes.
        num_end_bytes: Bytes of what follows, without the copy of the header.
        num_copy_bytes: Bytes of that copy, by the number of bytes before it.
        notices: Conversions and omissions, one line each.
        incomplete: The reason why the source could not be read to its end, or None.
    """

    info: VideoInfo
    num_frames: list[int]
    begins: list[int]
    seconds: float
    num_track_bytes: int
    num_body_bytes: int
    num_end_bytes: int
    num_copy_bytes: Callable[[int], int]
    notices: list[str]
    incomplete: str | None

    @property
    def num_raw_bytes(self) -> int:
        """Bytes of the frames as they are in memory, 4:2:0."""
        width, height = self.info.width, self.info.height
        return sum(self.num_frames) * (width * height + 2 * -(-width // 2) * -(-height // 2))

    def num_bytes(self, num_coded_bytes: float) -> float:
        """Bytes of the file with so many bytes of codes."""
        body = self.num_body_bytes + num_coded_bytes
        return body + self.num_copy_bytes(int(body)) + self.num_end_bytes

    def spread(self, count: int) -> set[int]:
        """Numbers of `count` groups, or of all if there are fewer, spread evenly over the video."""
        num_groups = len(self.num_frames)
        count = min(count, num_groups)
        return {(2 * i + 1) * num_groups // (2 * count) for i in range(count)}


@dataclass(frozen=True, slots=True)
class SourceGroup:
    """A group of frames to be coded.

    Attributes:
        number: Its number in the video.
        chunks: Its frames and packets.
        around: The frames before and after it.
    """

    number: int
    chunks: list[SourceChunk]
    around: Around


def _ignore(frames: int) -> None:
    pass


class Passes:
    """Reads one source any number of times.

    Args:
        path: The source.
        name: Its name in messages.
        options: The options of encoding.
        model: The model that codes.
        progress: Called with the video's description and the name of each pass.
        submit: Has a group coded by a worker, and waits while all have enough to do; None: groups are coded here.

    Attributes:
        name: The source's name in messages.
        count: Number of passes so far.
        highest_quality: The highest quality of the model.
    """

    def __init__(
        self,
        path: StrPath,
        name: StrPath,
        options: EncodeOptions,
        model: PretrainedModel,
        progress: Progress | None,
        submit: Submit | None = None,
    ) -> None:
        self.name, self.count, self.highest_quality = name, 0, float(model.networks.config.num_qualities)
        self._path, self._options, self._model = path, options, model
        self._progress, self._submit = progress, submit

    def look(self) -> Look:
        """Read the source without networks.

        Raises:
            MediaError: No frame could be decoded.
        """
        num_frames: list[int] = []
        begins: list[int] = []
        pts: list[int] = []
        last = 0
        with self.opened("look", with_packets=True) as (reader, part, advance):
            writer = ContainerWriter(_Nowhere(), new_header(self._model, part.info, part.extras))
            for chunk in chunks_of(part, self._options):
                pts += [frame.pts for frame in chunk.frames]
                writer.write_packets(chunk.audio)
                advance(len(chunk.frames))
                if chunk.ends_group:
                    writer.write_group(_empty_group(pts, writer.totals.num_frames))
                    num_frames.append(len(pts))
                    begins.append(pts[0])
                    last, pts = pts[-1], []
            writer.write_packets(part.rest_of_packets())
            body = writer.num_bytes
            writer.finish(last_frame_ticks=part.last_frame_ticks)
            if not begins:
                raise MediaError(f"{self.name}: no frame could be decoded")
            return Look(
                info=part.info,
                num_frames=num_frames,
                begins=begins,
                seconds=played_seconds(part.info, begins[0], last, part.last_frame_ticks),
                num_track_bytes=writer.num_track_bytes,
                num_body_bytes=body,
                num_end_bytes=writer.num_bytes - body - writer.num_copy_bytes(body),
                num_copy_bytes=writer.num_copy_bytes,
                notices=list(reader.notices),
                incomplete=reader.decode_error,
            )

    def groups(
        self, activity: str, wanted: Collection[int] | None = None
    ) -> Iterator[tuple[SourceGroup, VideoInfo, Callable[[int], None]]]:
        """Yield groups, each with the video's description and the function to call with the number of frames done.

        Args:
            activity: Name of the pass.
            wanted: Numbers of the groups, all by default.
        """
        if wanted is not None and not wanted:
            return
        with self.opened(activity) as (_, part, advance):
            chunks: list[SourceChunk] = []
            number = 0
            before: Frame | None = None
            ended: SourceGroup | None = None  # waits for the frame after it
            for chunk in chunks_of(part, self._options):
                if ended is not None:
                    yield replace(ended, around=(ended.around[0], chunk.frames[0])), part.info, advance
                    ended = None
                if wanted is not None and number > max(wanted):
                    return
                if wanted is None or number in wanted:
                    chunks.append(chunk)
                if chunk.ends_group:
                    ended = SourceGroup(number, chunks, (before, None)) if chunks else None
                    chunks, number, before = [], number + 1, chunk.frames[-1]
            if ended is not None:
                yield ended, part.info, advance

    def coder(self, info: VideoInfo, *, sees: bool, vmaf_program: str | None = None) -> Coder:
        """A coder of the groups; `Coder` explains the arguments."""
        return Coder.of(self._options, self._model, info, sees=sees, vmaf_program=vmaf_program)

    def code(
        self,
        group: SourceGroup,
        info: VideoInfo,
        quality: float,
        *,
        first_frame: int = 0,
        advance: Callable[[int], None] = _ignore,
        sees: bool = False,
        vmaf_program: str | None = None,
    ) -> Future[tuple[VideoGroup, Costs]]:
        """Code a group, here or on a worker; `Coder` explains the arguments. Here an error is raised at once."""
        trial = Trial(
            chunks=group.chunks,
            info=info,
            quality=quality,
            first_frame=first_frame,
            around=group.around,
            sees=sees,
            vmaf_program=vmaf_program,
        )
        if self._submit is not None:
            return self._submit(trial)
        coded: Future[tuple[VideoGroup, Costs]] = Future()
        coded.set_result(trial.coded(self._options, self._model, advance))
        return coded

    @contextmanager
    def opened(
        self, activity: str, *, with_packets: bool = False
    ) -> Iterator[tuple[VideoReader, SourcePart, Callable[[int], None]]]:
        """Open the source for one more pass."""
        with opened_part(self._path, self._options, name=self.name, with_packets=with_packets) as (reader, part):
            self.count += 1
            yield reader, part, self._progress(part.info, activity) if self._progress else _ignore


class _Nowhere:
    def write(self, data: bytes) -> int:
        return len(data)


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
