"""The commands that describe files or copy from them: `stats`, `info`, `verify`, `cut` and `concat`."""

from pathlib import Path
from typing import Annotated

import typer

from vtok.cli import options
from vtok.cli.loading import load, set_threads
from vtok.cli.meters import Place, Style
from vtok.cli.output import EXIT_FAILED, EXIT_INCOMPLETE, Reporter


def stats(
    reference: Annotated[Path, options.PathArgument(help="The source video.")],
    compressed: Annotated[Path, options.PathArgument(help="A .vtok file, or a decoded or otherwise compressed video.")],
    quiet: options.Quiet = False,
    progress: options.ProgressStyle = Style.AUTO,
    as_json: Annotated[bool, options.json_option("the attributes of vtok.FileStats")] = False,
    plot: Annotated[
        Path | None, options.PathOption(help="Draw quality and bits over time to this .png, .svg, .pdf or .html file.")
    ] = None,
    no_vmaf: Annotated[
        bool, typer.Option("--no-vmaf", help="Leave out VMAF, which is measured if there is an ffmpeg with libvmaf.")
    ] = False,
    scale: options.Scale = None,
    fps: options.Fps = None,
    crop: options.Crop = None,
    force: options.Force = False,
    model: options.OtherModel = None,
    threads: options.Threads = None,
) -> None:
    """Measure bitrate, PSNR, SSIM, MS-SSIM and VMAF of a video against its source, and how its codes are used.

    A video that was scaled, cropped or given another rate is compared with what was compressed: give the same options.

    Example: vtok stats holiday.mp4 holiday.vtok

    Example: vtok stats holiday.mp4 small.vtok --scale 1280:-2
    """
    from vtok.cli.progress import frame_progress
    from vtok.cli.stats_table import print_stats
    from vtok.measure.plot import check_plot, write_plot
    from vtok.measure.stats import file_stats

    if plot:
        check_plot(plot, [reference, compressed], overwrite=force)
    set_threads(threads)
    tokenizer = load(model) if model else None
    with frame_progress("stats", Place(source=compressed), progress, quiet=quiet) as shown:
        result = file_stats(
            reference,
            compressed,
            scale=scale,
            fps=fps,
            crop=crop,
            tokenizer=tokenizer,
            with_vmaf=not no_vmaf,
            progress=shown,
        )
    if plot:
        write_plot(result, plot)
    report = Reporter(as_json=as_json)  # not quiet even with --quiet: the figures are the result
    if as_json:
        report.result(result)
    else:
        with report.console() as console:
            print_stats(result, console)
    if result.incomplete:
        report.warning(f"{result.incomplete}. The figures are of what could be decoded.")
        raise typer.Exit(EXIT_INCOMPLETE)


def info(
    file: Annotated[Path, options.PathArgument(help="The .vtok file.")],
    as_json: Annotated[bool, options.json_option("the attributes of vtok.FileInfo")] = False,
) -> None:
    """Print what is in a .vtok file: video, sound, subtitles, rate, model, groups. Nothing is decoded.

    Example: vtok info holiday.vtok
    """
    from vtok.files.inspection import file_info

    Reporter(as_json=as_json).result(file_info(file))


def verify(
    file: Annotated[Path, options.PathArgument(help="The .vtok file.")],
    quiet: options.Quiet = False,
    as_json: Annotated[bool, options.json_option("the attributes of vtok.Verification")] = False,
) -> None:
    """Check all checksums and the structure of a .vtok file; list every fault, exit 1 if there are any.

    Example: vtok verify holiday.vtok
    """
    from vtok.container.verification import verify_file

    result = verify_file(file)
    report = Reporter(as_json=as_json, quiet=quiet)
    report.faults(result.path, [str(fault["message"]) for fault in result.faults])
    report.result(result)
    if not result.is_sound:
        raise typer.Exit(EXIT_FAILED)


def cut(
    source: Annotated[Path, options.PathArgument(help="The .vtok file.")],
    target: Annotated[Path, options.PathArgument(help="The .vtok file to write.")],
    start: options.Start = None,
    end: options.End = None,
    duration: options.Duration = None,
    no_audio: options.NoAudio = False,
    no_subtitles: options.NoSubtitles = False,
    force: options.Force = False,
    quiet: options.Quiet = False,
    as_json: Annotated[bool, options.json_option("the attributes of vtok.EditResult")] = False,
) -> None:
    """Copy a part of a .vtok file without decoding it. The part begins and ends where groups of frames do.

    Example: vtok cut holiday.vtok beach.vtok --start 1:30 --duration 20
    """
    from vtok.files.cut import cut_file
    from vtok.video.times import parse_range

    start_seconds, end_seconds = parse_range(start, end, duration)
    result = cut_file(
        source,
        target,
        start_seconds=start_seconds,
        end_seconds=end_seconds,
        with_audio=not no_audio,
        with_subtitles=not no_subtitles,
        overwrite=force,
    )
    Reporter(as_json=as_json, quiet=quiet).result(result)


def concat(
    files: Annotated[list[Path], options.PathArgument(help="The .vtok files to join, then the .vtok file to write.")],
    no_audio: options.NoAudio = False,
    no_subtitles: options.NoSubtitles = False,
    force: options.Force = False,
    quiet: options.Quiet = False,
    as_json: Annotated[bool, options.json_option("the attributes of vtok.EditResult")] = False,
) -> None:
    """Join .vtok files of the same model and size without decoding them.

    Example: vtok concat morning.vtok evening.vtok day.vtok
    """
    from vtok.files.concat import concat_files

    *sources, target = files
    result = concat_files(sources, target, with_audio=not no_audio, with_subtitles=not no_subtitles, overwrite=force)
    Reporter(as_json=as_json, quiet=quiet).result(result)
