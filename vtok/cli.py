"""The command line: it parses and prints; everything it does can be called from Python.

Torch takes seconds to import, so each command imports what it needs when it runs.
"""

import json
import os
import signal
import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from vtok.errors import VtokError
from vtok.pretrained import DEFAULT_MODEL
from vtok.version import __version__

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

EXIT_FAILED = 1
EXIT_INCOMPLETE = 3
_MOST_FAULTS = 20  # that are printed

Force = Annotated[bool, typer.Option("-f", "--force", help="Overwrite the output if it exists.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress, notices or summary.")]
Threads = Annotated[int | None, typer.Option(help="Processor threads; default: all.", min=1)]
Start = Annotated[str | None, typer.Option(help="Begin here: seconds or HH:MM:SS after the first frame.")]
End = Annotated[str | None, typer.Option(help="Stop before this: seconds or HH:MM:SS after the first frame.")]
Duration = Annotated[str | None, typer.Option(help="Stop so long after the start.")]
Model = Annotated[str, typer.Option(help="Name of a model in the package, or a .safetensors file.")]
NoAudio = Annotated[bool, typer.Option("--no-audio", help="Leave the sound out.")]
OtherModel = Annotated[str | None, typer.Option(help="A .safetensors file, for a file that was written with one.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"vtok {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Neural video compression whose codes are also tokens."""


@app.command()
def encode(
    source: Annotated[Path, typer.Argument(help="A video, an image, images as frames/%04d.png, or - for stdin.")],
    target: Annotated[Path, typer.Argument(help="The .vtok file to write, or - for stdout.")],
    quality: Annotated[float, typer.Option(help="1 (smallest) to 9 (best).", min=1, max=9)] = 5.0,
    keyframe_seconds: Annotated[
        float, typer.Option(help="Length of the groups that can be decoded on their own.", min=0.01)
    ] = 4.0,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object: the attributes of vtok.codec.EncodeResult.")
    ] = False,
    allow_hdr: Annotated[
        bool, typer.Option("--allow-hdr", help="Take HDR video, its colours cut to 8 bits as they are.")
    ] = False,
    image_rate: Annotated[
        str | None, typer.Option("--image-rate", help="Frames per second of images, as 24 or 30000/1001; default: 25.")
    ] = None,
    no_audio: NoAudio = False,
    model: Model = DEFAULT_MODEL,
    threads: Threads = None,
) -> None:
    """Compress a video into a .vtok file. Its sound, tags and chapters are copied as they are.

    Example: vtok encode holiday.mp4 holiday.vtok --quality 6
    """
    from vtok.codec import encode_file
    from vtok.progress import frame_progress
    from vtok.timecode import parse_rate

    rate = None if image_rate is None else parse_rate(image_rate)

    _set_threads(threads)
    with frame_progress("encode", quiet=quiet) as progress:
        result = encode_file(
            source,
            target,
            quality=quality,
            tokenizer=_load(model),
            keyframe_seconds=keyframe_seconds,
            overwrite=force,
            allow_hdr=allow_hdr,
            image_rate=rate,
            with_audio=not no_audio,
            progress=progress,
        )
    _finish(result, as_json=as_json, quiet=quiet)


@app.command()
def decode(
    source: Annotated[Path, typer.Argument(help="The .vtok file, or - for stdin.")],
    target: Annotated[
        Path,
        typer.Argument(
            help="What to write: .mp4, .mov, .mkv, .webm, .gif, .y4m, .yuv, frames/%04d.png, or - for stdout."
        ),
    ],
    codec: Annotated[
        str | None, typer.Option(help="Video codec; ffv1 is lossless.", show_default="libx264; libvpx-vp9 in .webm")
    ] = None,
    crf: Annotated[float | None, typer.Option(help="Its quality setting; default: visually lossless.")] = None,
    preset: Annotated[str | None, typer.Option(help="Its speed setting.")] = None,
    output_format: Annotated[
        str | None, typer.Option("--format", help="Format of stdout: mp4, mkv, webm, gif, y4m, raw, png and so on.")
    ] = None,
    start: Start = None,
    end: End = None,
    duration: Duration = None,
    recover: Annotated[
        bool, typer.Option("--recover", help="Write what is intact of a damaged file, and hold the picture in gaps.")
    ] = False,
    no_audio: NoAudio = False,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object: the attributes of vtok.codec.DecodeResult.")
    ] = False,
    model: OtherModel = None,
    threads: Threads = None,
) -> None:
    """Decompress a .vtok file, or a part of it, into a video.

    Times are seconds or HH:MM:SS from the first frame on; only the needed part of the file is read. A damaged file is
    refused; with --recover its faults are listed, and the exit code is 3 if there are any. Sound that the output's
    container cannot hold is dropped with a notice.

    Example: vtok decode holiday.vtok holiday-decoded.mp4 --start 1:30 --duration 10
    """
    from vtok.codec import decode_file
    from vtok.progress import frame_progress
    from vtok.timecode import parse_range

    start_seconds, end_seconds = parse_range(start, end, duration)

    _set_threads(threads)
    options = {key: str(value) for key, value in (("crf", crf), ("preset", preset)) if value is not None}
    with frame_progress("decode", quiet=quiet) as progress:
        result = decode_file(
            source,
            target,
            codec=codec,
            codec_options=options,
            output_format=output_format,
            start_seconds=start_seconds,
            end_seconds=end_seconds,
            recover=recover,
            with_audio=not no_audio,
            tokenizer=_load(model) if model else None,
            overwrite=force,
            progress=progress,
        )
    _finish(result, as_json=as_json, quiet=quiet)


@app.command()
def stats(
    reference: Annotated[Path, typer.Argument(help="The source video.")],
    compressed: Annotated[Path, typer.Argument(help="A .vtok file, or a decoded or otherwise compressed video.")],
    quiet: Quiet = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object: the attributes of vtok.stats.FileStats.")
    ] = False,
    model: OtherModel = None,
    threads: Threads = None,
) -> None:
    """Measure bitrate, PSNR and SSIM of a compressed video against its source, and how its codes are used.

    Example: vtok stats holiday.mp4 holiday.vtok
    """
    from vtok.progress import frame_progress
    from vtok.stats import file_stats, print_stats

    _set_threads(threads)
    with frame_progress("stats", quiet=quiet) as progress:
        result = file_stats(reference, compressed, tokenizer=_load(model) if model else None, progress=progress)
    if as_json:
        _print_json(asdict(result))
    else:
        print_stats(result)
    if result.incomplete:
        print(f"vtok: warning: {result.incomplete}. The figures are of what could be decoded.", file=sys.stderr)
        raise typer.Exit(EXIT_INCOMPLETE)


@app.command()
def info(
    file: Annotated[Path, typer.Argument(help="The .vtok file.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object: the attributes of vtok.inspection.FileInfo.")
    ] = False,
) -> None:
    """Say what is in a .vtok file: video, sound, rate, model, groups. Nothing is decoded.

    Example: vtok info holiday.vtok
    """
    from vtok.inspection import file_info

    _print_result(file_info(file), as_json=as_json, quiet=False)


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="The .vtok file.")],
    quiet: Quiet = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object: the attributes of vtok.inspection.Verification.")
    ] = False,
) -> None:
    """Check all checksums and the structure of a .vtok file; list every fault, exit 1 if there are any.

    Example: vtok verify holiday.vtok
    """
    from vtok.inspection import verify_file

    result = verify_file(file)
    _print_faults(result.path, [str(fault["message"]) for fault in result.faults], quiet=quiet)
    _print_result(result, as_json=as_json, quiet=quiet)
    if not result.is_sound:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def cut(
    source: Annotated[Path, typer.Argument(help="The .vtok file.")],
    target: Annotated[Path, typer.Argument(help="The .vtok file to write.")],
    start: Start = None,
    end: End = None,
    duration: Duration = None,
    no_audio: NoAudio = False,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object: the attributes of vtok.editing.EditResult.")
    ] = False,
) -> None:
    """Copy a part of a .vtok file without decoding it; begins and ends where groups of frames do.

    Example: vtok cut holiday.vtok beach.vtok --start 1:30 --duration 20
    """
    from vtok.editing import cut_file
    from vtok.timecode import parse_range

    start_seconds, end_seconds = parse_range(start, end, duration)
    result = cut_file(
        source,
        target,
        start_seconds=start_seconds,
        end_seconds=end_seconds,
        with_audio=not no_audio,
        overwrite=force,
    )
    _print_result(result, as_json=as_json, quiet=quiet)


@app.command()
def concat(
    files: Annotated[list[Path], typer.Argument(help="The .vtok files to join, then the .vtok file to write.")],
    no_audio: NoAudio = False,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object: the attributes of vtok.editing.EditResult.")
    ] = False,
) -> None:
    """Join .vtok files of the same model, quality and size without decoding them.

    Example: vtok concat morning.vtok evening.vtok day.vtok
    """
    from vtok.editing import concat_files

    *sources, target = files
    _print_result(concat_files(sources, target, with_audio=not no_audio, overwrite=force), as_json=as_json, quiet=quiet)


@app.command()
def train(
    videos: Annotated[Path, typer.Argument(help="Folder of videos to train on.")],
    validation: Annotated[Path, typer.Option(help="Folder of videos to validate on; none of them in VIDEOS.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run: log, curves, weights.")],
    minutes: Annotated[float, typer.Option(help="Budget of wall time.", min=0)] = 60.0,
    config: Annotated[Path | None, typer.Option(help="TOML file; see vtok/training/default.toml.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights to start from instead of the KLT.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of the clip caches; default: in the run's folder.")] = None,
    compile_prior: Annotated[
        bool, typer.Option("--compile", help="Fuse elementwise arithmetic: 12 % faster, needs a C++ compiler.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object: the path `weights`, and the last line of log.jsonl.")
    ] = False,
    threads: Threads = None,
) -> None:
    """Train the tokenizer: a folder of videos in, weights out.

    A run that finds its own checkpoint in the output folder goes on from there.

    Example: vtok train videos/ --validation other-videos/ -o runs/first --minutes 120
    """
    from vtok.training.config import load_config
    from vtok.training.loop import train as run

    _set_threads(threads)
    with redirect_stdout(sys.stderr):  # whatever a run prints is progress
        run(
            videos,
            validation,
            output,
            load_config(config),
            minutes=minutes,
            weights=weights,
            cache_folder=cache,
            compile_prior=compile_prior,
        )
    if as_json:
        last_line = (output / "log.jsonl").read_text().splitlines()[-1]
        _print_json({"weights": str(output / "weights.safetensors")} | json.loads(last_line))


def _set_threads(threads: int | None) -> None:
    if threads:
        import torch

        torch.set_num_threads(threads)


def _load(model: str) -> Any:
    from vtok.tokenizer import VideoTokenizer

    return VideoTokenizer.from_pretrained(model)


def _finish(result: Any, *, as_json: bool, quiet: bool) -> None:
    if not quiet:
        for notice in result.notices:
            print(f"vtok: notice: {result.source}: {notice}", file=sys.stderr)
    _print_faults(result.source, getattr(result, "faults", []), quiet=quiet)
    with redirect_stdout(sys.stderr if result.target == "-" else sys.stdout):  # there the data are
        _print_result(result, as_json=as_json, quiet=quiet)
    if result.incomplete:
        print(
            f"vtok: warning: {result.source}: {result.incomplete}. {result.target} holds what could be decoded.",
            file=sys.stderr,
        )
        raise typer.Exit(EXIT_INCOMPLETE)


def _print_result(result: Any, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        _print_json(asdict(result))
    elif not quiet:
        print(result.summary())


def _print_faults(path: str, faults: list[str], *, quiet: bool) -> None:
    if quiet:
        return
    for fault in faults[:_MOST_FAULTS]:
        print(f"vtok: fault: {path}: {fault}", file=sys.stderr)
    if len(faults) > _MOST_FAULTS:
        print(f"vtok: fault: {path}: {len(faults) - _MOST_FAULTS} more; see --json", file=sys.stderr)


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, allow_nan=False))  # NaN is no JSON: better an error here than in every reader


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)  # so that temporary files are removed on the way out


def _one_line(error: Exception) -> str:
    """`FILE: cause. hint`, which is what a VtokError says; from the system the hint is missing, sometimes the file."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def main() -> None:
    """Entry point of the `vtok` program: one line for what is not its fault, a traceback only with VTOK_DEBUG=1."""
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):  # Windows has no SIGHUP
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _terminate)
    try:
        app(prog_name="vtok")
    except (VtokError, OSError) as error:
        if os.environ.get("VTOK_DEBUG"):
            raise
        print(f"vtok: error: {_one_line(error)}", file=sys.stderr)
        raise SystemExit(EXIT_FAILED) from None


if __name__ == "__main__":
    main()
