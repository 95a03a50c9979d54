"""The commands that draw pictures: `compare`, two videos side by side, and `preview`, one at five qualities."""

from pathlib import Path
from typing import Annotated

import typer

from vtok.cli.loading import load, set_threads
from vtok.cli.meters import Place, Style
from vtok.cli.options import (
    AllowHdr,
    Crop,
    Device,
    EffortName,
    Force,
    Fps,
    ImageRate,
    KeyframeSeconds,
    Model,
    NoAudio,
    NoSubtitles,
    OtherModel,
    PathArgument,
    PathOption,
    Precision,
    ProgressStyle,
    Quiet,
    Scale,
    Threads,
    json_option,
)
from vtok.cli.output import Reporter
from vtok.codec.effort import Effort
from vtok.files.options import EncodeOptions
from vtok.model.registry import DEFAULT_MODEL


def compare(
    first: Annotated[Path, PathArgument(help="A .vtok file or any other video, for the left.")],
    second: Annotated[Path, PathArgument(help="A .vtok file or any other video, for the right.")],
    target: Annotated[Path, PathArgument(help="The image of one frame, or the video of all, to write.")],
    at: Annotated[
        str | None, typer.Option(help="For an image: seconds or HH:MM:SS after the first frame; default 0.")
    ] = None,
    reference: Annotated[Path | None, PathOption(help="The source video: labels get PSNR-YUV against it.")] = None,
    split: Annotated[
        bool,
        typer.Option(
            "--split", help="Show the left half of one and the right half of the other, in place of both whole."
        ),
    ] = False,
    force: Force = False,
    quiet: Quiet = False,
    progress: ProgressStyle = Style.AUTO,
    as_json: Annotated[bool, json_option("the attributes of vtok.Comparison")] = False,
    model: OtherModel = None,
    threads: Threads = None,
) -> None:
    """Draw two videos side by side, as an image or a video, under their names, bitrates and PSNR.

    Example: vtok compare holiday.mp4 holiday.vtok comparison.png --at 0.2
    """
    from vtok.cli.progress import frame_progress
    from vtok.measure.comparison import compare_files
    from vtok.video.times import parse_seconds

    at_seconds = parse_seconds(at) if at else None
    set_threads(threads)
    tokenizer = load(model) if model else None
    with frame_progress("compare", Place(source=first), progress, quiet=quiet) as shown:
        result = compare_files(
            first,
            second,
            target,
            at_seconds=at_seconds,
            reference=reference,
            split=split,
            tokenizer=tokenizer,
            overwrite=force,
            progress=shown,
        )
    Reporter(as_json=as_json, quiet=quiet).result(result)


def preview(
    source: Annotated[Path, PathArgument(help="A video, an image, images as frames/%04d.png, or - for stdin.")],
    output: Annotated[
        Path, PathOption("-o", "--output", help="The image (.png), or the page that needs no other file (.html).")
    ] = Path("preview.png"),
    at: Annotated[
        str | None, typer.Option(help="Show the frame at this time: seconds or HH:MM:SS; default: a usual one.")
    ] = None,
    effort: EffortName = Effort.NORMAL,
    keyframe_seconds: KeyframeSeconds = 4.0,
    force: Force = False,
    quiet: Quiet = False,
    progress: ProgressStyle = Style.AUTO,
    as_json: Annotated[bool, json_option("the attributes of vtok.Preview")] = False,
    allow_hdr: AllowHdr = False,
    image_rate: ImageRate = None,
    scale: Scale = None,
    fps: Fps = None,
    crop: Crop = None,
    no_audio: NoAudio = False,
    no_subtitles: NoSubtitles = False,
    model: Model = DEFAULT_MODEL,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
) -> None:
    """Draw one frame of a video at five qualities, and tell what the whole file would come to at each.

    Example: vtok preview holiday.mp4 -o preview.html --at 1:30
    """
    from vtok.benchmark.preview import preview_with
    from vtok.cli.progress import frame_progress
    from vtok.video.filters import filters_of
    from vtok.video.times import parse_rate, parse_seconds

    options = EncodeOptions(
        model=model,
        effort=effort,
        keyframe_seconds=keyframe_seconds,
        allow_hdr=allow_hdr,
        image_rate=None if image_rate is None else parse_rate(image_rate),
        filters=filters_of(scale=scale, fps=fps, crop=crop),
        with_audio=not no_audio,
        with_subtitles=not no_subtitles,
        device=device,
        precision=precision,
    )
    at_seconds = parse_seconds(at) if at else None
    set_threads(threads)
    with frame_progress("preview", Place(source=source), progress, quiet=quiet) as shown:
        result = preview_with(options, source, output, at_seconds=at_seconds, overwrite=force, progress=shown)
    Reporter(as_json=as_json, quiet=quiet).finish(result)
