"""Encodes a video to a `.vtok` file, in constant memory, all or nothing.

    VideoReader -> ChunkEncoder -> PriorGroupEncoder -> ContainerWriter

Packets of sound and subtitles do not go through the networks: they are copied unchanged.
"""

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from vtok.codec.effort import Effort
from vtok.codec.encoder import encode_chunks
from vtok.codec.file_model import new_header
from vtok.codec.source import SourcePart
from vtok.container.groups import VideoGroup
from vtok.container.verification import verify_file
from vtok.container.writer import ContainerWriter
from vtok.errors import ChecksumError, ConfigError, MediaError
from vtok.files.goals import GoalReport, goal_of
from vtok.files.options import EncodeOptions
from vtok.files.source import chunks_of, opened_part
from vtok.files.steering import steered
from vtok.files.survey import Survey
from vtok.media.reader import VideoReader
from vtok.model.loading import shared_model
from vtok.model.pretrained_model import PretrainedModel
from vtok.model.tokenizer import VideoTokenizer
from vtok.networks.arithmetic import choose_arithmetic
from vtok.system.atomic import check_target, open_atomically
from vtok.system.paths import StrPath, is_vtok
from vtok.system.sources import Sink, Writable, name_of
from vtok.system.standard_streams import is_standard, local_file, standard_output
from vtok.video.filters import filters_of
from vtok.video.frame import CountsBytes, Progress, VideoInfo
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


def encode_file(
    source: StrPath,
    target: StrPath | Writable,
    *,
    quality: float = 5.0,
    effort: str = "normal",
    size: float | str | None = None,
    bitrate: float | str | None = None,
    ratio: float | None = None,
    psnr: float | None = None,
    ssim: float | None = None,
    vmaf: float | None = None,
    tokenizer: VideoTokenizer | None = None,
    keyframe_seconds: float = 4.0,
    scene_cuts: bool = True,
    overwrite: bool = False,
    allow_hdr: bool = False,
    image_rate: Fraction | None = None,
    scale: str | None = None,
    fps: Fraction | float | str | None = None,
    crop: str | None = None,
    with_audio: bool = True,
    with_subtitles: bool = True,
    start_seconds: Fraction | float = 0,
    end_seconds: Fraction | float | None = None,
    verify: bool = False,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | None = None,
) -> EncodeResult:
    """Compress a video.

    Args:
        source: Any video file that FFmpeg reads, an image, a pattern of images such as `frames/%04d.png`, or `-` for
            standard input.
        target: The file to write, with a name that ends in `.vtok`; or `-` for standard output; or a binary file
            object, which needs only a `write` method and is not closed.
        quality: 1 (smallest) to 9 (best); of no effect with one of the following goals, for which the encoder chooses
            the quality of each group.
        effort: `fast`, `normal` or `high`: how much time to take for fewer bytes at the same quality.
        size: Bytes of the file, sound and all else included, never exceeded: a number, or text such as `25MB`.
        bitrate: Bits per second of the whole file, never exceeded: a number, or text such as `800k`.
        ratio: Bytes of the raw frames, 4:2:0, for one byte of the whole file, at least.
        psnr: PSNR-YUV in dB, within 0.1.
        ssim: SSIM of luma, within 0.002.
        vmaf: VMAF, within 0.5; needs an FFmpeg program with libvmaf.
        tokenizer: The tokenizer that encodes; default: the pretrained one of this package.
        keyframe_seconds: Length in seconds of the groups that can be decoded on their own, at most.
        scene_cuts: End groups at scene cuts too; else only the last may be shorter.
        overwrite: Replace an existing target.
        allow_hdr: Accept HDR video; its colours are cut to 8 bits without conversion.
        image_rate: Frames per second of a sequence of images; default 25.
        scale: Size of the coded pictures, as `1280:720`, or `1280:-2` to keep the shape, by FFmpeg's bicubic filter.
            The file does not tell the source's size, and goals are for the scaled pictures.
        fps: Frames per second of the file, by FFmpeg's filter, as 24 or `30000/1001`; default: all times are kept.
        crop: Part of the pictures, before they are scaled, as `640:360:0:60`: width, height, and the upper left corner.
        with_audio: Copy all audio tracks.
        with_subtitles: Copy all tracks of subtitles.
        start_seconds: Leave out frames that begin earlier than this after the first frame; the rest moves up.
        end_seconds: Leave out frames that begin at this time after the first frame or later.
        verify: Decode the codes of each group before it is written, and check the written file on the disk. Standard
            output and file objects cannot be read again, which a notice says.
        device: The device that the networks run on, one of `vtok.networks.arithmetic.DEVICES`.
        precision: The number format of the networks' products, one of `vtok.networks.arithmetic.PRECISIONS`.
        progress: Called with the video's description, and for a goal with the name of each pass; returns the function
            to call with the number of frames done since its last call.

    Raises:
        VtokError: Encoding failed, for any reason. Then nothing was written and an existing target is unchanged; only
            data already sent to standard output or a file object stays there.
    """
    options = EncodeOptions(
        quality=quality,
        effort=Effort(effort),
        goal=goal_of(size=size, bitrate=bitrate, ratio=ratio, psnr=psnr, ssim=ssim, vmaf=vmaf),
        keyframe_seconds=keyframe_seconds,
        scene_cuts=scene_cuts,
        allow_hdr=allow_hdr,
        image_rate=image_rate,
        filters=filters_of(scale=scale, fps=fps, crop=crop),
        with_audio=with_audio,
        with_subtitles=with_subtitles,
        start_seconds=start_seconds,
        end_seconds=end_seconds,
        verify=verify,
        device=device,
        precision=precision,
    )
    return encode_with(options, source, target, tokenizer=tokenizer, overwrite=overwrite, progress=progress)


def encode_with(
    options: EncodeOptions,
    source: StrPath,
    target: StrPath | Writable,
    *,
    tokenizer: VideoTokenizer | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    survey: Survey | None = None,
) -> EncodeResult:
    """Do the same as `encode_file`, with an options object; a given tokenizer replaces the model that it names.

    For a goal, a survey of the source saves the passes that it took.
    """
    target = target if isinstance(target, str | os.PathLike) else Sink(target)
    if not isinstance(target, Sink):
        check_target(target, [source], overwrite=overwrite)
        if not is_standard(target) and not is_vtok(target):
            raise ConfigError(f"{target}: unknown suffix {Path(target).suffix!r}. The name of the output ends in .vtok")
    model = shared_model(options.model) if tokenizer is None else tokenizer.pretrained
    if options.goal is not None:
        return _encode_for_goal(
            options, source, target, model=model, overwrite=overwrite, progress=progress, survey=survey
        )
    arithmetic = choose_arithmetic(options.device, options.precision)

    def coded(part: SourcePart, advance: Advance) -> Items:
        items = encode_chunks(
            chunks_of(part, options),
            model,
            part.info,
            quality=options.quality,
            arithmetic=arithmetic,
            effort=options.effort,
            verify=options.verify,
        )
        with closing(items):
            for item in items:
                if isinstance(item, VideoGroup):
                    yield item
                else:
                    yield item.audio
                    advance(len(item.pts))

    return write_encoded(options, source, target, coded, model=model, overwrite=overwrite, progress=progress)


def _encode_for_goal(
    options: EncodeOptions,
    source: StrPath,
    target: StrPath | Sink,
    *,
    model: PretrainedModel,
    overwrite: bool,
    progress: Progress | None,
    survey: Survey | None,
) -> EncodeResult:
    """Do the same, with the qualities at which the file comes to its goal."""
    with (
        local_file(source) as path,
        steered(path, source, options, model, progress, survey) as (report, groups),
    ):

        def coded(part: SourcePart, advance: Advance) -> Items:
            remaining, pts = iter(groups), []
            for chunk in chunks_of(part, options):
                yield chunk.audio
                pts += [frame.pts for frame in chunk.frames]
                if chunk.ends_group:
                    yield next_group(remaining, pts)
                    pts = []
                advance(len(chunk.frames))

        def next_group(remaining: Iterator[VideoGroup], pts: list[int]) -> VideoGroup:
            group = next(remaining, None)
            if group is None or list(group.pts) != pts:
                raise MediaError(f"{source}: gives other frames each time it is read. Give a quality, not a goal")
            return group

        def write_progress(info: VideoInfo, activity: str = "write") -> Advance:
            return progress(info, activity) if progress else (lambda frames: None)

        result = write_encoded(options, path, target, coded, model=model, overwrite=overwrite, progress=write_progress)
    if options.goal is not None and not options.goal.is_met(report.reached):
        result.notices.append(f"the goal is not met exactly: {report.summary()}")
    return replace(result, source=str(source), goal=report)


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
