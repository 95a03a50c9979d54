"""Writes the `.vtok` file of a source, all or nothing, with what it is told to code."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from vtok.codec.file_model import new_header
from vtok.codec.source import SourcePart
from vtok.container.groups import VideoGroup
from vtok.container.verification import verify_file
from vtok.container.writer import ContainerWriter
from vtok.errors import ChecksumError, MediaError
from vtok.files.goals import GoalReport
from vtok.files.options import EncodeOptions
from vtok.files.source import opened_part
from vtok.media.reader import VideoReader
from vtok.model.pretrained_model import PretrainedModel
from vtok.system.atomic import open_atomically
from vtok.system.paths import StrPath
from vtok.system.sources import Sink, name_of
from vtok.system.standard_streams import is_standard, local_file, standard_output
from vtok.video.frame import CountsBytes, Progress
from vtok.video.times import played_seconds

Advance = Callable[[int], None]  # called with the number of frames done since the last call
Items = Generator[VideoGroup | list[bytes], None, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeResult:
    """The outcome of `encode_file`.

    Attributes:
        source: The video that was read.
        target: The file that was written.
        num_frames: Number of frames in the written file.
        num_bytes: Size of the written file in bytes.
        num_track_bytes: Bytes of the written file that are sound and subtitles.
        bits_per_pixel: 8 x bytes without these / (width x height x frames).
        kbit_per_second: Bitrate of the whole file over the duration of the frames; None for a single frame without a
            rate.
        notices: Conversions and omissions, one line each.
        incomplete: The reason why the source could not be read to its end, or None.
        goal: How the size, bitrate, ratio, PSNR, SSIM or VMAF that was asked for was reached, or None.
    """

    source: str
    target: str
    num_frames: int
    num_bytes: int
    num_track_bytes: int
    bits_per_pixel: float
    kbit_per_second: float | None
    notices: list[str]
    incomplete: str | None
    goal: GoalReport | None = None

    def summary(self) -> str:
        """Return one line for people."""
        rate = f", {self.kbit_per_second:.0f} kbit/s" if self.kbit_per_second else ""
        tracks = f" with {self.num_track_bytes} of sound and subtitles" if self.num_track_bytes else ""
        goal = f", {self.goal.summary()}" if self.goal else ""
        return (
            f"{self.target}: {self.num_frames} frames, {self.num_bytes} bytes{tracks}, "
            f"{self.bits_per_pixel:.4f} bits per pixel{rate}{goal}"
        )


def write_encoded(
    options: EncodeOptions,
    source: StrPath,
    target: StrPath | Sink,
    coded: Callable[[SourcePart, Advance], Items],
    *,
    model: PretrainedModel,
    overwrite: bool = True,
    progress: Progress | None = None,
) -> EncodeResult:
    """Read a source, code it with `coded`, and write the file, all or nothing.

    Args:
        options: Options for reading, for the header, and for the check of the written file.
        source: A video, as `encode_file` takes it.
        target: The file to write or to replace, or the sink to write to.
        coded: Called with the source and the function to call with the number of frames done; yields the groups in the
            order of the file, each after the chunks of packets that come before it.
        model: The model that codes.
        overwrite: Replace a file that is there in the end; see `atomic_write`.
        progress: Called with the video's description; returns the function to call with the number of frames done
            since its last call.
    """
    with (
        local_file(source) as path,
        opened_part(path, options, name=source) as (reader, part),
        _opened_target(target, overwrite=overwrite) as file,
    ):
        header = new_header(model, part.info, part.extras)
        writer = ContainerWriter(file, header)
        first_pts = last_pts = None
        advance = progress(part.info) if progress else None
        with closing(coded(part, advance or (lambda frames: None))) as items:
            for item in items:
                if isinstance(item, VideoGroup):
                    writer.write_group(item)
                    if isinstance(advance, CountsBytes):
                        advance.written(writer.num_bytes)
                    first_pts = item.pts[0] if first_pts is None else first_pts
                    last_pts = item.pts[-1]
                else:
                    writer.write_packets(item)
        writer.write_packets(part.rest_of_packets())
        writer.finish(last_frame_ticks=part.last_frame_ticks)
        if isinstance(advance, CountsBytes):
            advance.written(writer.num_bytes)
        if first_pts is None or last_pts is None:
            raise MediaError(f"{source}: no frame could be decoded")
    result = _result(
        source,
        name_of(target),
        writer,
        reader,
        played_seconds(part.info, first_pts, last_pts, part.last_frame_ticks),
    )
    if options.verify and not isinstance(target, Sink) and not is_standard(target):
        check_written(target)
    elif options.verify:
        result.notices.append("only the codes were verified: what was written cannot be read again")
    return result


def _result(source: StrPath, target: str, writer: ContainerWriter, reader: VideoReader, seconds: float) -> EncodeResult:
    """Return the outcome after `writer` has written all frames of `reader`, which play for `seconds`."""
    num_pixels = reader.info.width * reader.info.height * writer.totals.num_frames
    return EncodeResult(
        source=str(source),
        target=target,
        num_frames=writer.totals.num_frames,
        num_bytes=writer.num_bytes,
        num_track_bytes=writer.num_track_bytes,
        bits_per_pixel=8 * (writer.num_bytes - writer.num_track_bytes) / num_pixels,
        kbit_per_second=8e-3 * writer.num_bytes / seconds if seconds else None,
        notices=list(reader.notices),
        incomplete=reader.decode_error,
    )


@contextmanager
def _opened_target(target: StrPath | Sink, *, overwrite: bool) -> Iterator[BinaryIO | Sink]:
    """Open the target: a path is written under a temporary name until it is complete, anything else directly."""
    if isinstance(target, Sink):
        yield target
        return
    if is_standard(target):
        with standard_output() as file:
            yield file
        return
    with open_atomically(target, overwrite=overwrite) as file:
        yield file


def check_written(target: StrPath) -> None:
    """Read a file that was just written, and check everything in it that can be checked.

    Raises:
        ChecksumError: The file is damaged.
    """
    verification = verify_file(target)
    if not verification.is_sound:
        raise ChecksumError(f"{target}: is not what was written: {verification.faults[0]['message']}. Check the disk")
