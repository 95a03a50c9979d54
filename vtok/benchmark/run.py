"""A whole benchmark: runs every clip at every setting of every codec, one after the other, and sums up the results."""

import csv
import datetime
import io
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import av

import vtok.version
from vtok.benchmark.bd_rate import Record, bd_rates, grouped, mean_bd_rates, mean_over_clips
from vtok.benchmark.clips import clip_sha256, make_reference
from vtok.benchmark.codecs import VTOK, build_of
from vtok.benchmark.measurement import measure
from vtok.benchmark.records import Records
from vtok.benchmark.viewer import measure_viewer
from vtok.errors import MediaError, VtokError
from vtok.measure.vmaf import find_ffmpeg
from vtok.model.tokenizer import VideoTokenizer
from vtok.system.atomic import write_atomically

Job = dict[str, Any]
Progress = Callable[[list[Job]], AbstractContextManager[Callable[[Job], None]]]
"""Takes the jobs to be done; the context yields a function to be called after each job."""

PICTURES = "pictures"
"""Subfolder of the report that holds the pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of a benchmark.

    Attributes:
        settings: Qualities or crfs of each codec; BD-rates are those of the first codec against the others.
        max_frames: Number of frames measured, from the beginning of each clip.
        max_width: Width in pixels to which wider clips are scaled down.
        with_vmaf: Also measure VMAF if there is a program for it.
        viewer_qualities: Qualities of vtok whose frames can be looked at.
        num_pictures: Number of these frames for each clip and quality.
        viewer_preset: Preset of the x264 that they are compared with.
        threads: Number of threads of each codec.
    """

    settings: dict[str, list[int]]
    max_frames: int = 64
    max_width: int = 640
    with_vmaf: bool = True
    viewer_qualities: list[int] = field(default_factory=lambda: [3, 6])
    num_pictures: int = 4
    viewer_preset: str = "medium"
    threads: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """Result of `run_benchmark`; its attributes are those of `results.json`.

    Attributes:
        made: The date of the last measurement, versions, weights and machine.
        settings: The settings of the benchmark, see `Settings`.
        results: A record per clip, codec and setting, for the clips that could be measured at all settings.
        means: Means of `results` over clips; see `vtok.benchmark.bd_rate.mean_over_clips`.
        bd_rates: BD-rates per clip, codec and measure; see `vtok.benchmark.bd_rate.bd_rates`.
        mean_bd_rates: Means of `bd_rates` over clips.
        viewer: A record per clip and quality whose frames can be looked at.
        left_out: The reasons why clips could not be measured, one line each.
    """

    made: dict[str, Any]
    settings: dict[str, Any]
    results: list[Record]
    means: list[Record]
    bd_rates: list[Record]
    mean_bd_rates: list[Record]
    viewer: list[Record]
    left_out: list[str]

    def by_clip(self) -> dict[str, list[Record]]:
        """The results of each clip, by its SHA-256."""
        return grouped(self.results, lambda record: record["clip_sha256"])


def run_benchmark(
    clips: list[Path],
    folder: Path,
    settings: Settings,
    *,
    tokenizer: VideoTokenizer | None,
    again: bool = False,
    progress: Progress,
) -> Benchmark:
    """Measure what `folder` lacks, and return everything that was asked for.

    Args:
        clips: Video files.
        folder: The folder of measurements and pictures.
        settings: The settings to measure at.
        tokenizer: The weights; None if vtok is not among the codecs.
        again: Also measure what the folder has already.
        progress: Called with the jobs to be done; see `Progress`.

    Raises:
        VtokError: The folder is not one of this benchmark, or no clip could be measured.
    """
    records = Records(folder, again=again)
    jobs = list_jobs(clips, settings, tokenizer)
    left_out = measure_missing(jobs, records, folder, settings, tokenizer, progress)
    # A renamed clip keeps its results; show its new name.
    found = [(job, record | {"clip": job["clip"]}) for job in jobs if (record := records.find(job))]
    complete = _complete_clips(jobs, [job for job, _ in found])
    found = [(job, record) for job, record in found if job["clip_sha256"] in complete]
    if not found:
        raise MediaError(f"{left_out[0] if left_out else clips[0]}: no clip could be measured at every setting")
    results = [record for job, record in found if job["pictures"] is None]
    rates = bd_rates(results, list(settings.settings))
    return Benchmark(
        made={"date": max(record["date"] for record in results), **_made(settings, tokenizer)},
        settings=asdict(settings),
        results=results,
        means=mean_over_clips(results),
        bd_rates=rates,
        mean_bd_rates=mean_bd_rates(rates),
        viewer=[record for job, record in found if job["pictures"] is not None],
        left_out=left_out,
    )


def list_jobs(clips: list[Path], settings: Settings, tokenizer: VideoTokenizer | None) -> list[Job]:
    """All jobs, clip by clip: the identifying part of a record, and the path of the clip."""
    builds = {codec: build_of(codec, tokenizer, threads=settings.threads) for codec in settings.settings}
    with_vmaf = settings.with_vmaf and find_ffmpeg() is not None
    points = [
        {"codec": codec, "build": builds[codec], "setting": setting, "with_vmaf": with_vmaf, "pictures": None}
        for codec, numbers in settings.settings.items()
        for setting in numbers
    ]
    if VTOK in builds and settings.num_pictures:
        x264 = f"x264-{settings.viewer_preset}, {build_of('x264', None, threads=settings.threads)}"
        points += [
            {
                "codec": VTOK,
                "build": builds[VTOK],
                "setting": quality,
                "with_vmaf": False,
                "pictures": f"{settings.num_pictures} beside {x264}",
            }
            for quality in settings.viewer_qualities
        ]
    by_content = {clip_sha256(clip): clip for clip in reversed(clips)}  # the first of equal files
    return [
        {
            "clip": clip.name,
            "clip_sha256": sha256,
            "max_frames": settings.max_frames,
            "max_width": settings.max_width,
            **point,
            "path": clip,
        }
        for sha256, clip in reversed(by_content.items())
        for point in points
    ]


def measure_missing(
    jobs: list[Job],
    records: Records,
    folder: Path,
    settings: Settings,
    tokenizer: VideoTokenizer | None,
    progress: Progress,
) -> list[str]:
    """Run jobs clip by clip, and add each record as soon as it is measured. Return why clips could not be measured."""
    missing = [job for job in jobs if not _is_there(records.find(job), folder)]
    left_out: list[str] = []
    unreadable: Path | None = None
    with tempfile.TemporaryDirectory(prefix="vtok-bench-") as temporary, progress(missing) as done:
        reference, reference_of = Path(temporary) / "reference.mp4", None
        for job in missing:
            clip = job["path"]
            try:
                if clip not in (reference_of, unreadable):
                    unreadable = clip  # until the clip has been read
                    make_reference(clip, reference, num_frames=settings.max_frames, max_width=settings.max_width)
                    reference_of, unreadable = clip, None
                if clip != unreadable:
                    measured = _run_job(job, reference, folder, settings, tokenizer)
                    identity = {key: value for key, value in job.items() if key != "path"}
                    today = datetime.datetime.now(datetime.UTC).date().isoformat()
                    records.add({**identity, "date": today, **measured})
            except VtokError as error:
                point = "" if clip == unreadable else f", {job['codec']} {job['setting']}"
                left_out.append(f"{clip.name}{point}: {error}")
            done(job)
    return left_out


def write_results(benchmark: Benchmark, folder: Path) -> None:
    """Write `results.json`, and `results.csv` with one line per clip, codec and setting."""
    text = json.dumps(asdict(benchmark), indent=1, allow_nan=False) + "\n"
    write_atomically(folder / "results.json", text.encode())
    table = io.StringIO()
    writer = csv.DictWriter(table, fieldnames=list(benchmark.results[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(benchmark.results)
    write_atomically(folder / "results.csv", table.getvalue().encode())


def _run_job(
    job: Job, reference: Path, folder: Path, settings: Settings, tokenizer: VideoTokenizer | None
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="vtok-bench-") as scratch:
        if job["pictures"] is None:
            return measure(
                job["codec"],
                job["setting"],
                reference,
                Path(scratch),
                tokenizer=tokenizer,
                threads=settings.threads,
                with_vmaf=job["with_vmaf"],
            )
        return measure_viewer(
            job["setting"],
            reference,
            Path(scratch),
            preset=settings.viewer_preset,
            num_pictures=settings.num_pictures,
            pictures=folder / PICTURES,
            tokenizer=tokenizer,
            threads=settings.threads,
        )


def _is_there(record: dict[str, Any] | None, folder: Path) -> bool:
    """Whether a job was done and its pictures still exist."""
    if record is None:
        return False
    names = (name for frame in record.get("frames", []) for name in frame["pictures"] + frame["maps"])
    return all((folder / PICTURES / name).exists() for name in names)


def _complete_clips(jobs: list[Job], done: list[Job]) -> set[str]:
    """The clips that were measured at all settings, because means over different clips would not be comparable."""
    wanted, found = (Counter(job["clip_sha256"] for job in some if job["pictures"] is None) for some in (jobs, done))
    return {clip for clip in wanted if wanted[clip] == found[clip]}


def _made(settings: Settings, tokenizer: VideoTokenizer | None) -> dict[str, Any]:
    return {
        "vtok": vtok.version.__version__,
        "pyav": av.__version__,
        "model": tokenizer.name if tokenizer else None,
        "weights_sha256": tokenizer.weights_sha256 if tokenizer else None,
        "num_processors": os.cpu_count(),
        "threads": settings.threads,
    }
