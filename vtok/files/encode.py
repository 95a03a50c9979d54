"""Encodes a video to a `.vtok` file, in constant memory, all or nothing.

    VideoReader -> ChunkEncoder -> PriorGroupEncoder -> ContainerWriter

Packets of sound and subtitles do not go through the networks: they are copied unchanged.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction

from vtok.codec.effort import Effort
from vtok.codec.encoder import encode_chunks
from vtok.codec.source import SourcePart
from vtok.container.groups import VideoGroup
from vtok.errors import MediaError
from vtok.files.encoded_file import Advance, EncodeResult, Items, write_encoded
from vtok.files.goals import Goal, goal_of
from vtok.files.options import EncodeOptions
from vtok.files.passes import Passes, Submit
from vtok.files.source import chunks_of
from vtok.files.steering import steered
from vtok.files.survey import Survey
from vtok.model.loading import shared_model
from vtok.model.pretrained_model import PretrainedModel
from vtok.model.tokenizer import VideoTokenizer
from vtok.networks.arithmetic import choose_arithmetic
from vtok.system.atomic import check_target
from vtok.system.paths import StrPath, require_vtok
from vtok.system.sources import Sink, Writable
from vtok.system.standard_streams import is_standard, local_file
from vtok.video.filters import filters_of
from vtok.video.frame import Progress, VideoInfo


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
    submit: Submit | None = None,
) -> EncodeResult:
    """Do the same as `encode_file`, with an options object; a given tokenizer replaces the model that it names.

    For a goal, a survey of the source saves the passes that it took, and `submit` has groups coded by workers; see
    `vtok.files.passes.Passes`.
    """
    target = target if isinstance(target, str | os.PathLike) else Sink(target)
    if not isinstance(target, Sink):
        check_target(target, [source], overwrite=overwrite)
        if not is_standard(target):
            require_vtok(target)
    model = shared_model(options.model) if tokenizer is None else tokenizer.pretrained
    if options.goal is not None:
        return _encode_for_goal(
            options.goal,
            options,
            source,
            target,
            model=model,
            overwrite=overwrite,
            progress=progress,
            survey=survey,
            submit=submit,
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
    goal: Goal,
    options: EncodeOptions,
    source: StrPath,
    target: StrPath | Sink,
    *,
    model: PretrainedModel,
    overwrite: bool,
    progress: Progress | None,
    survey: Survey | None,
    submit: Submit | None,
) -> EncodeResult:
    """Do the same, with the qualities at which the file comes to its goal."""
    with (
        local_file(source) as path,
        steered(Passes(path, source, options, model, progress, submit), goal, survey) as (report, groups),
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
    if not goal.is_met(report.reached):
        result.notices.append(f"the goal is not met exactly: {report.summary()}")
    return replace(result, source=str(source), goal=report)
