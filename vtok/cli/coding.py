"""The commands `encode` and `decode`: one file, or any number of them into a folder."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from vtok.batch.plan import BatchResult, Job, JobResult, plan_batch, run_batch
from vtok.cli import options
from vtok.cli.loading import load, set_threads
from vtok.cli.meters import Place, Style
from vtok.cli.output import Reporter
from vtok.cli.workers import WorkerOptions
from vtok.codec.effort import Effort
from vtok.files.goals import goal_of
from vtok.files.options import DecodeOptions, EncodeOptions
from vtok.model.registry import DEFAULT_MODEL

Work = Callable[[Path, Path, Any], Any]  # encodes or decodes one file, from source, target and progress
Skip = Callable[[Path], bool]  # whether an existing target is good

_Sources = Annotated[
    list[Path],
    options.PathArgument(
        metavar="SOURCE TARGET.vtok | SOURCES... -o FOLDER",
        help="Videos, images, images as frames/%04d.png, or - for stdin and stdout.",
    ),
]
_Compressed = Annotated[
    list[Path],
    options.PathArgument(
        metavar="SOURCE.vtok TARGET | SOURCES... -o FOLDER",
        help="TARGET is a .mp4, .mov, .mkv, .webm, .gif, .y4m, .yuv, frames/%04d.png, or - for stdout.",
    ),
]


def encode(
    files: _Sources,
    output: options.OutputFolder = None,
    quality: options.Quality = None,
    effort: options.EffortName = Effort.NORMAL,
    size: options.Size = None,
    total_size: options.TotalSize = None,
    bitrate: options.Bitrate = None,
    ratio: options.Ratio = None,
    psnr: options.Psnr = None,
    ssim: options.Ssim = None,
    vmaf: options.Vmaf = None,
    keyframe_seconds: options.KeyframeSeconds = 4.0,
    no_scene_cuts: options.NoSceneCuts = False,
    start: options.Start = None,
    end: options.End = None,
    duration: options.Duration = None,
    verify: options.Verify = False,
    force: options.Force = False,
    skip_existing: options.SkipExisting = False,
    dry_run: options.Estimated = False,
    quiet: options.Quiet = False,
    progress: options.ProgressStyle = Style.AUTO,
    as_json: Annotated[
        bool, options.json_option("a vtok.EncodeResult; with --dry-run a vtok.Estimate, with -o a vtok.BatchResult")
    ] = False,
    as_json_lines: options.JsonLines = False,
    workers: options.Workers = None,
    engine: options.EngineName = "local",
    split_seconds: options.SplitSeconds = 60.0,
    retries: options.Retries = 2,
    allow_hdr: options.AllowHdr = False,
    image_rate: options.ImageRate = None,
    scale: options.Scale = None,
    fps: options.Fps = None,
    crop: options.Crop = None,
    no_audio: options.NoAudio = False,
    no_subtitles: options.NoSubtitles = False,
    model: options.Model = DEFAULT_MODEL,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    threads: options.Threads = None,
) -> None:
    """Compress videos into .vtok files. Sound, subtitles, tags and chapters are copied as they are.

    With --size, --bitrate, --ratio, --psnr, --ssim or --vmaf the encoder chooses the quality of each group of frames;
    it reads the source several times. With -o they are for each file; --total-size is for all together.

    -o takes any number of videos, and folders of them; a video that fails does not stop the rest. With --workers or
    --engine ray they are encoded side by side, long ones in ranges; the files are the same to the last byte.

    Example: vtok encode holiday.mp4 holiday.vtok --quality 6

    Example: vtok encode holiday.mp4 holiday.vtok --size 25MB

    Example: vtok encode holiday.mp4 --quality 6 --dry-run

    Example: vtok encode holiday.mp4 holiday.vtok --quality 4 --effort high

    Example: vtok encode videos/ more.mp4 -o coded/ --skip-existing

    Example: vtok encode videos/ -o coded/ --total-size 2GB

    Example: vtok encode videos/ -o coded/ --workers 8 --json-lines
    """
    from vtok.video.filters import filters_of
    from vtok.video.times import parse_range, parse_rate

    start_seconds, end_seconds = parse_range(start, end, duration)
    goal = goal_of(size=size, bitrate=bitrate, ratio=ratio, psnr=psnr, ssim=ssim, vmaf=vmaf)
    total = goal_of(size=total_size)
    named = {"quality": quality, goal.kind if goal else "": goal, "total-size": total}
    given = [f"--{name}" for name, value in named.items() if value]
    if len(given) > 1:
        raise typer.BadParameter(f"{' and '.join(given)} are given: give one of them")
    settings = EncodeOptions(
        model=model,
        quality=5.0 if quality is None else quality,
        effort=effort,
        goal=goal,
        keyframe_seconds=keyframe_seconds,
        scene_cuts=not no_scene_cuts,
        allow_hdr=allow_hdr,
        image_rate=None if image_rate is None else parse_rate(image_rate),
        filters=filters_of(scale=scale, fps=fps, crop=crop),
        with_audio=not no_audio,
        with_subtitles=not no_subtitles,
        start_seconds=start_seconds,
        end_seconds=end_seconds,
        verify=verify,
        device=device,
        precision=precision,
    )
    overwrite = force or skip_existing
    report = Reporter(as_json=as_json, as_json_lines=as_json_lines, quiet=quiet, progress=progress)
    work = partial(_encode_file, options=settings, threads=threads, overwrite=overwrite)
    pool = WorkerOptions(
        engine=engine,
        workers=workers,
        threads=threads,
        split_seconds=split_seconds,
        retries=retries,
        total_size=total.value if total else None,
    )
    if output is None:
        if pool.are_wanted or as_json_lines:
            raise typer.BadParameter("--workers, --engine, --total-size and --json-lines are for many inputs, with -o")
        if dry_run:
            _estimate(files, settings, report, threads=threads)
        else:
            _one_file("encode", files, work, report, skip_existing=skip_existing)
        return
    jobs = plan_batch(files, output, suffix=".vtok")
    skip = _is_sound if skip_existing else _never
    if pool.are_wanted and not dry_run:
        batch = pool.encode(jobs, settings, report, overwrite=overwrite, skip=skip)
    else:
        batch = _many_files("encode", jobs, work, report, skip=skip, dry_run=dry_run)
    report.finish_batch(batch)


def decode(
    files: _Compressed,
    output: options.OutputFolder = None,
    suffix: Annotated[str, typer.Option(help="With -o: suffix of the videos to write.")] = ".mp4",
    codec: options.Codec = None,
    crf: Annotated[float | None, typer.Option(help="Quality setting of the codec; default: visually lossless.")] = None,
    preset: Annotated[str | None, typer.Option(help="Speed setting of the codec.")] = None,
    output_format: options.OutputFormat = None,
    start: options.Start = None,
    end: options.End = None,
    duration: options.Duration = None,
    recover: options.Recover = False,
    no_audio: options.NoAudio = False,
    no_subtitles: options.NoSubtitles = False,
    force: options.Force = False,
    skip_existing: options.SkipExisting = False,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
    progress: options.ProgressStyle = Style.AUTO,
    as_json: Annotated[bool, options.json_option("a vtok.DecodeResult, with -o a vtok.BatchResult")] = False,
    as_json_lines: options.JsonLines = False,
    model: options.OtherModel = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    threads: options.Threads = None,
) -> None:
    """Decompress .vtok files, or parts of them, into videos.

    Times are seconds or HH:MM:SS from the first frame on; only the needed part of the file is read. A damaged file is
    refused; with --recover its faults are listed, and the exit code is 3 if there are any. Sound and subtitles that the
    output's container cannot hold are dropped with a notice; text is converted. -o takes any number of files, and
    folders of them.

    Example: vtok decode holiday.vtok holiday-decoded.mp4 --start 1:30 --duration 10
    """
    from vtok.video.times import parse_range

    start_seconds, end_seconds = parse_range(start, end, duration)
    settings = DecodeOptions(
        codec=codec,
        codec_options={key: str(value) for key, value in (("crf", crf), ("preset", preset)) if value is not None},
        output_format=output_format,
        start_seconds=start_seconds,
        end_seconds=end_seconds,
        recover=recover,
        with_audio=not no_audio,
        with_subtitles=not no_subtitles,
        device=device,
        precision=precision,
    )
    report = Reporter(as_json=as_json, as_json_lines=as_json_lines, quiet=quiet, progress=progress)
    work = partial(_decode_file, options=settings, model=model, threads=threads, overwrite=force)
    if output is None:
        if as_json_lines:
            raise typer.BadParameter("--json-lines is for many inputs, with -o")
        if dry_run:
            raise typer.BadParameter("--dry-run is for many inputs, with -o")
        _one_file("decode", files, work, report, skip_existing=skip_existing)
    else:
        jobs = plan_batch(files, output, suffix=suffix, source_suffixes={".vtok"})
        skip = Path.exists if skip_existing else _never
        report.finish_batch(_many_files("decode", jobs, work, report, skip=skip, dry_run=dry_run))


def _encode_file(
    source: Path, target: Path, progress: Any, *, options: EncodeOptions, threads: int | None, overwrite: bool
) -> Any:
    from vtok.files.encode import encode_with

    set_threads(threads)
    return encode_with(options, source, target, overwrite=overwrite, progress=progress)


def _decode_file(
    source: Path,
    target: Path,
    progress: Any,
    *,
    options: DecodeOptions,
    model: str | None,
    threads: int | None,
    overwrite: bool,
) -> Any:
    from vtok.files.decode import decode_with

    set_threads(threads)
    tokenizer = load(model) if model else None
    return decode_with(options, source, target, tokenizer=tokenizer, overwrite=overwrite, progress=progress)


def _is_sound(target: Path) -> bool:
    from vtok.container.verification import is_sound

    return is_sound(target)


def _never(target: Path) -> bool:
    return False


def _estimate(files: list[Path], settings: EncodeOptions, report: Reporter, *, threads: int | None) -> None:
    """Estimate what one input would come to."""
    from vtok.cli.progress import frame_progress
    from vtok.files.estimate import estimate_with

    if len(files) not in (1, 2):
        raise typer.BadParameter(f"expected one input, and one output or none, got {len(files)} names")
    set_threads(threads)
    with frame_progress("estimate", Place(source=files[0]), report.progress, quiet=report.quiet) as progress:
        estimate = estimate_with(settings, files[0], progress=progress)
    report.finish_estimate(estimate)


def _one_file(verb: str, files: list[Path], work: Work, report: Reporter, *, skip_existing: bool) -> None:
    """Encode or decode one input to one output."""
    from vtok.cli.progress import frame_progress

    if len(files) != 2:
        raise typer.BadParameter(f"expected one input and one output, got {len(files)} names. Give many inputs with -o")
    if skip_existing:
        raise typer.BadParameter("--skip-existing is for many inputs, with -o")
    with frame_progress(verb, Place(source=files[0]), report.progress, quiet=report.quiet) as progress:
        result = work(files[0], files[1], progress)
    report.finish(result)


def _many_files(verb: str, jobs: list[Job], work: Work, report: Reporter, *, skip: Skip, dry_run: bool) -> BatchResult:
    """Encode or decode any number of inputs into a folder, one after the other."""
    from vtok.cli.progress import frame_progress

    results: dict[str, Any] = {}
    numbers = {job: number for number, job in enumerate(jobs, start=1)}

    def work_on(job: Job) -> Any:
        place = Place(source=job.source, number=numbers[job], num_files=len(jobs))
        with frame_progress(verb, place, report.progress, quiet=report.quiet) as progress:
            results[str(job.target)] = work(job.source, job.target, progress)
        return results[str(job.target)]

    def told(job: JobResult) -> None:
        report.finish_job(job, results.get(job.target))

    return run_batch(jobs, work_on, skip=skip, dry_run=dry_run, told=told)
