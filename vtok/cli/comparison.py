"""The command that shows two videos side by side: `compare`."""

from pathlib import Path
from typing import Annotated

import typer

from vtok.cli.loading import load, set_threads
from vtok.cli.meters import Place, Style
from vtok.cli.options import (
    Force,
    OtherModel,
    PathArgument,
    PathOption,
    ProgressStyle,
    Quiet,
    Threads,
    json_option,
)
from vtok.cli.output import Reporter


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
