"""Whole commands, file to file, as a user runs them: wall and processor seconds, peak memory; and videos for them."""

import json
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from itertools import chain, cycle, islice
from pathlib import Path
from statistics import median
from typing import NamedTuple

import av
from av.video.reformatter import Interpolation

SOURCE_RATE = 25


class Run(NamedTuple):
    """One process: seconds of wall time, of all its processors, and peak resident megabytes (10^6 bytes)."""

    wall: float
    processor: float
    peak_mb: float


def run_vtok(arguments: Sequence[str]) -> Run:
    """One run of the program."""
    launcher = [sys.executable, "-S", str(Path(__file__).with_name("measured_process.py"))]
    done = subprocess.run([*launcher, sys.executable, "-m", "vtok", *arguments], stdout=subprocess.PIPE, check=True)
    result = json.loads(done.stdout)
    if result.pop("status"):
        raise SystemExit(f"vtok {' '.join(arguments)} failed")
    return Run(**result)


def summary(runs: Sequence[Run], num_frames: int) -> dict[str, float]:
    """Medians, and the range of frames per second."""
    walls = [run.wall for run in runs]
    return {
        "frames": num_frames,
        "frames_per_second": num_frames / median(walls),
        "slowest_frames_per_second": num_frames / max(walls),
        "fastest_frames_per_second": num_frames / min(walls),
        "wall_seconds": median(walls),
        "processor_seconds": median(run.processor for run in runs),
        "peak_mb": median(run.peak_mb for run in runs),
    }


def make_clip(source: Path, target: Path, *, width: int, height: int, num_frames: int) -> None:
    """Scale a video, and play it to and fro until it is long enough: H.264 at a quality that keeps its noise."""
    with av.open(source) as container:
        frames = [
            frame.reformat(width, height, "yuv420p", interpolation=Interpolation.BICUBIC)
            for frame in islice(container.decode(video=0), num_frames)
        ]
    to_and_fro = cycle(chain(frames, frames[-2:0:-1]))
    options = {"preset": "veryfast", "crf": "18"}
    with av.open(target, "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(SOURCE_RATE), options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for pts, frame in enumerate(islice(to_and_fro, num_frames)):
            frame.pts, frame.time_base = pts, Fraction(1, SOURCE_RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
