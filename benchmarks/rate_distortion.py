"""Rate and distortion of vtok and of x264 on the same pixels: bits per pixel, PSNR, SSIM, speed, BD-rate.

Example: python benchmarks/rate_distortion.py sample_videos --json rd.json --plot rd.png
"""

import hashlib
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import rate_distortion_report as report
import typer
from measured_codecs import X264_PRESETS, build_of, is_available, make_reference, measure
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from vtok.atomic import atomic_write
from vtok.errors import VtokError

VIDEO_SUFFIXES = {".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".nut", ".ts", ".webm", ".y4m"}
KEY_FIELDS = ("clip_sha256", "max_frames", "max_width", "codec", "build", "setting")
"""What makes a measurement the same as one that the JSON file has."""

stderr = Console(stderr=True)


def benchmark(
    clips: Annotated[list[Path], typer.Argument(help="Video files, or folders of them.", exists=True)],
    frames: Annotated[int, typer.Option(help="Only the first so many frames of each clip.", min=1)] = 64,
    max_width: Annotated[int, typer.Option(help="Scale wider clips down to this width, in pixels.", min=2)] = 640,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Keep results here; a later run measures what is missing.")
    ] = None,
    codecs: Annotated[str, typer.Option(help="vtok, x264-PRESET; BD-rate is that of the first against the others.")] = (
        "vtok,x264-medium,x264-veryfast"
    ),
    crfs: Annotated[str, typer.Option(help="Settings of x264, such as 21,26 or 20-30.")] = "21,26,31,36,41,46",
    qualities: Annotated[str, typer.Option(help="Settings of vtok, likewise.")] = "1-9",
    again: Annotated[bool, typer.Option("--again", help="Measure again what the JSON file already has.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one line per measurement, not tables.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the curves to this image.")] = None,
) -> None:
    """Measure rate and distortion of vtok and x264 on the same pixels, and print tables with BD-rates.

    Example: python benchmarks/rate_distortion.py sample_videos --json rd.json --plot rd.png
    """
    chosen = available_codecs(codecs)
    settings = {codec: parse_integers(qualities if codec == "vtok" else crfs) for codec in chosen}
    wanted = list_jobs(find_clips(clips), settings, max_frames=frames, max_width=max_width)
    results = load_results(json_path)
    measure_missing([job for job in wanted if again or key_of(job) not in results], results, json_path)
    # A clip under a new name keeps its result; show the name it has now.
    records = [results[key_of(job)] | {"clip": job["clip"]} for job in wanted if key_of(job) in results]
    records = complete_clips(records, num_points=sum(map(len, settings.values())))
    if not records:
        stderr.print("no clip could be measured at every setting")
        raise typer.Exit(1)
    if as_csv:
        report.write_csv(sys.stdout, records)
    else:
        wide = Console() if sys.stdout.isatty() else Console(width=140)
        report.print_report(wide, records, codecs=chosen)
    if plot:
        report.write_plot(plot, records)
    if len(records) < len(wanted):
        raise typer.Exit(3)


def list_jobs(
    clips: list[Path], settings: dict[str, list[int]], *, max_frames: int, max_width: int
) -> list[dict[str, Any]]:
    """All that is to be measured, clip by clip: the identifying part of a record, and the path of the clip."""
    builds = {codec: build_of(codec) for codec in settings}
    return [
        {
            "clip": clip.name,
            "clip_sha256": sha256,
            "max_frames": max_frames,
            "max_width": max_width,
            "codec": codec,
            "build": builds[codec],
            "setting": setting,
            "path": clip,
        }
        for clip, sha256 in ((clip, hashlib.sha256(clip.read_bytes()).hexdigest()) for clip in clips)
        for codec in settings
        for setting in settings[codec]
    ]


def measure_missing(
    jobs: list[dict[str, Any]], results: dict[tuple[Any, ...], dict[str, Any]], path: Path | None
) -> None:
    """Run jobs clip by clip, add their records to `results`, and save after each, so that a stopped run goes on."""
    if not jobs:
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    with Progress(*columns, console=stderr) as progress, tempfile.TemporaryDirectory() as folder:
        task = progress.add_task("", total=len(jobs))
        reference, reference_of = Path(folder) / "reference.mp4", None
        for job in jobs:
            clip = job["path"]
            progress.update(task, description=f"{clip.name} {job['codec']} {job['setting']}")
            try:
                if reference_of != clip:
                    make_reference(clip, reference, num_frames=job["max_frames"], max_width=job["max_width"])
                    reference_of = clip
                measured = measure(job["codec"], job["setting"], reference, Path(folder))
            except VtokError as error:
                stderr.print(f"{clip.name} {job['codec']} {job['setting']}: left out: {error}", markup=False)
                continue
            finally:
                progress.advance(task)
            results[key_of(job)] = {name: value for name, value in job.items() if name != "path"} | measured
            save_results(path, results)


def complete_clips(records: list[dict[str, Any]], *, num_points: int) -> list[dict[str, Any]]:
    """The records of the clips that were measured at all settings: means over different clips would not compare."""
    counts = Counter(record["clip_sha256"] for record in records)
    return [record for record in records if counts[record["clip_sha256"]] >= num_points]


def available_codecs(names: str) -> list[str]:
    """The codecs of a comma-separated list, without those that this installation does not have."""
    allowed = {"vtok", *(f"x264-{preset}" for preset in X264_PRESETS)}
    chosen = list(dict.fromkeys(name.strip() for name in names.split(",")))
    if unknown := [name for name in chosen if name not in allowed]:
        raise typer.BadParameter(f"no codec {unknown[0]!r}; there are vtok and x264- with {', '.join(X264_PRESETS)}")
    for name in chosen:
        if not is_available(name):
            stderr.print(f"{name}: left out: the installed package has no module vtok.codec")
    chosen = [name for name in chosen if is_available(name)]
    if not chosen:
        raise typer.BadParameter("no codec is left to measure; add x264-medium to --codecs")
    return chosen


def parse_integers(text: str) -> list[int]:
    """`"1-3,7"` to `[1, 2, 3, 7]`."""

    def numbers() -> Iterator[int]:
        for part in text.split(","):
            first, _, last = part.partition("-")
            yield from range(int(first), int(last or first) + 1)

    try:
        return list(dict.fromkeys(numbers()))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a list of whole numbers; write 21,26 or 1-9") from None


def find_clips(paths: list[Path]) -> list[Path]:
    """The files themselves, and the videos in each folder by name."""
    clips = []
    for path in paths:
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        clips += [file for file in inside if file == path or file.suffix.lower() in VIDEO_SUFFIXES]
    if not clips:
        raise typer.BadParameter(f"no videos ({' '.join(sorted(VIDEO_SUFFIXES))}) in {', '.join(map(str, paths))}")
    return list(dict.fromkeys(clips))


def key_of(record: dict[str, Any]) -> tuple[Any, ...]:
    """What identifies a measurement."""
    return tuple(record[name] for name in KEY_FIELDS)


def load_results(path: Path | None) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The records of an earlier run, by key."""
    if path is None or not path.exists():
        return {}
    try:
        return {key_of(record): record for record in json.loads(path.read_text())["results"]}
    except (ValueError, KeyError, TypeError):
        raise typer.BadParameter(f"{path} is not a result of this benchmark; choose another --json") from None


def save_results(path: Path | None, results: dict[tuple[Any, ...], dict[str, Any]]) -> None:
    """Write all records, also those of other clips and settings that were there."""
    if path is not None:
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps({"results": list(results.values())}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(benchmark)
