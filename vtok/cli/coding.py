"""The commands `encode` and `decode`: one file, or any number of them into a folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from vtok.cli.loading import load, set_threads
from vtok.cli.options import (
    Device,
    DryRun,
    Duration,
    End,
    EngineName,
    Force,
    JsonLines,
    Model,
    NoAudio,
    OtherModel,
    OutputFolder,
    Precision,
    Quiet,
    Retries,
    SkipExisting,
    SplitSeconds,
    Start,
    Threads,
    Workers,
)
from vtok.cli.output import finish, finish_batch, tell_of_job
from vtok.model.registry import DEFAULT_MODEL

Work = Callable[[Path, Path, Any], Any]  # source, target, progress: what encodes or decodes one file


def encode(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE TARGET.vtok | SOURCES... -o FOLDER",
            help="Videos, images, images as frames/%04d.png, or - for stdin and stdout.",
        ),
    ],
    output: OutputFolder = None,
    quality: Annotated[float, typer.Option(help="1 (smallest) to 9 (best).", min=1, max=9)] = 5.0,
    keyframe_seconds: Annotated[
        float, typer.Option(help="Length of the groups that can be decoded on their own.", min=0.01)
    ] = 4.0,
    start: Start = None,
    end: End = None,
    duration: Duration = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Decode all codes as they are written, and check the file on the disk.")
    ] = False,
    force: Force = False,
    skip_existing: SkipExisting = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object: a vtok.EncodeResult, with -o a vtok.BatchResult."),
    ] = False,
    as_json_lines: JsonLines = False,
    workers: Workers = None,
    engine: EngineName = "local",
    split_seconds: SplitSeconds = 60.0,
    retries: Retries = 2,
    allow_hdr: Annotated[
        bool, typer.Option("--allow-hdr", help="Take HDR video, its colours cut to 8 bits as they are.")
    ] = False,
    image_rate: Annotated[
        str | None, typer.Option("--image-rate", help="Frames per second of images, as 24 or 30000/1001; default: 25.")
    ] = None,
    no_audio: NoAudio = False,
    model: Model = DEFAULT_MODEL,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
) -> None:
    """Compress videos into .vtok files. Their sound, tags and chapters are copied as they are.

    With -o any number of videos, and folders of them: what fails does not stop the rest. With --workers or --engine ray
    they are encoded side by side, long ones in ranges that are joined; the files are the same to the last byte.

    Example: vtok encode holiday.mp4 holiday.vtok --quality 6

    Example: vtok encode videos/ more.mp4 -o coded/ --skip-existing

    Example: vtok encode videos/ -o coded/ --workers 8 --json-lines
    """
    from vtok.files.options import EncodeOptions
    from vtok.video.times import parse_range, parse_rate

    start_seconds, end_seconds = parse_range(start, end, duration)
    options = EncodeOptions(
        model=model,
        quality=quality,
        keyframe_seconds=keyframe_seconds,
        allow_hdr=allow_hdr,
        image_rate=None if image_rate is None else parse_rate(image_rate),
        with_audio=not no_audio,
        start_seconds=start_seconds,
        end_seconds=end_seconds,
        verify=verify,
        device=device,
        precision=precision,
    )

    def work(source: Path, target: Path, progress: Any) -> Any:
        from vtok.files.encode import encode_with

        set_threads(threads)
        return encode_with(options, source, target, overwrite=force or skip_existing, progress=progress)

    if output is None:
        if workers is not None or engine != "local" or as_json_lines:
            raise typer.BadParameter("--workers, --engine and --json-lines are for many inputs, with -o")
        _one_file("encode", files, work, skip_existing, dry_run, as_json=as_json, quiet=quiet)
        return
    from vtok.batch.plan import plan_batch
    from vtok.container.verification import is_sound

    jobs = plan_batch(files, output, suffix=".vtok")
    skip = is_sound if skip_existing else None
    if (workers is None and engine == "local") or dry_run:
        _many_files(
            "encode", jobs, work, skip, dry_run=dry_run, as_json=as_json, as_json_lines=as_json_lines, quiet=quiet
        )
        return
    from vtok.cli.workers import encode_on_workers

    batch = encode_on_workers(
        jobs,
        options,
        engine=engine,
        workers=workers,
        threads=threads,
        split_seconds=split_seconds,
        retries=retries,
        overwrite=force or skip_existing,
        skip=skip,
        as_json=as_json,
        as_json_lines=as_json_lines,
        quiet=quiet,
    )
    finish_batch(batch, as_json=as_json, as_json_lines=as_json_lines, quiet=quiet)


def decode(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE.vtok TARGET | SOURCES... -o FOLDER",
            help="TARGET is a .mp4, .mov, .mkv, .webm, .gif, .y4m, .yuv, frames/%04d.png, or - for stdout.",
        ),
    ],
    output: OutputFolder = None,
    suffix: Annotated[str, typer.Option(help="With -o: of the videos to write.")] = ".mp4",
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
    skip_existing: SkipExisting = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object: a vtok.DecodeResult, with -o a vtok.BatchResult."),
    ] = False,
    as_json_lines: JsonLines = False,
    model: OtherModel = None,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
) -> None:
    """Decompress .vtok files, or parts of them, into videos.

    Times are seconds or HH:MM:SS from the first frame on; only the needed part of the file is read. A damaged file is
    refused; with --recover its faults are listed, and the exit code is 3 if there are any. Sound that the output's
    container cannot hold is dropped with a notice. With -o any number of files, and folders of them.

    Example: vtok decode holiday.vtok holiday-decoded.mp4 --start 1:30 --duration 10
    """
    from vtok.video.times import parse_range

    start_seconds, end_seconds = parse_range(start, end, duration)
    options = {key: str(value) for key, value in (("crf", crf), ("preset", preset)) if value is not None}

    def work(source: Path, target: Path, progress: Any) -> Any:
        from vtok.files.decode import decode_file

        set_threads(threads)
        return decode_file(
            source,
            target,
            codec=codec,
            codec_options=options,
            output_format=output_format,
            start_seconds=start_seconds,
            end_seconds=end_seconds,
            recover=recover,
            with_audio=not no_audio,
            tokenizer=load(model) if model else None,
            overwrite=force,
            device=device,
            precision=precision,
            progress=progress,
        )

    if output is None:
        if as_json_lines:
            raise typer.BadParameter("--json-lines is for many inputs, with -o")
        _one_file("decode", files, work, skip_existing, dry_run, as_json=as_json, quiet=quiet)
        return
    from vtok.batch.plan import plan_batch

    jobs = plan_batch(files, output, suffix=suffix, source_suffixes={".vtok"})
    skip = Path.exists if skip_existing else None
    _many_files("decode", jobs, work, skip, dry_run=dry_run, as_json=as_json, as_json_lines=as_json_lines, quiet=quiet)


def _one_file(
    verb: str, files: list[Path], work: Work, skip_existing: bool, dry_run: bool, *, as_json: bool, quiet: bool
) -> None:
    """One input and one output."""
    from vtok.cli.progress import frame_progress

    if len(files) != 2:
        raise typer.BadParameter(f"expected one input and one output, got {len(files)} names. Give many inputs with -o")
    if skip_existing or dry_run:
        raise typer.BadParameter("--skip-existing and --dry-run are for many inputs, with -o")
    with frame_progress(verb, quiet=quiet) as progress:
        result = work(files[0], files[1], progress)
    finish(result, as_json=as_json, quiet=quiet)


def _many_files(
    verb: str,
    jobs: list[Any],
    work: Work,
    skip: Callable[[Path], bool] | None,
    *,
    dry_run: bool,
    as_json: bool,
    as_json_lines: bool,
    quiet: bool,
) -> None:
    """Any number of inputs, into a folder."""
    from vtok.batch.plan import run_batch
    from vtok.cli.progress import frame_progress

    results: dict[str, Any] = {}
    numbers = {job: number for number, job in enumerate(jobs, start=1)}

    def work_on(job: Any) -> Any:
        with frame_progress(f"{verb} {numbers[job]}/{len(jobs)} {job.source.name}", quiet=quiet) as progress:
            results[str(job.target)] = work(job.source, job.target, progress)
        return results[str(job.target)]

    batch = run_batch(
        jobs,
        work_on,
        skip=skip or (lambda target: False),
        dry_run=dry_run,
        told=lambda job: tell_of_job(
            job, results.get(job.target), as_json=as_json, as_json_lines=as_json_lines, quiet=quiet
        ),
    )
    finish_batch(batch, as_json=as_json, as_json_lines=as_json_lines, quiet=quiet)
