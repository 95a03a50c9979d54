"""Frames per second and peak memory of whole `vtok encode` and `vtok decode` commands, file to file.

Example: python benchmarks/speed.py sample_videos/bigbuckbunny.mp4 --runs 5
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from vtok.klt import PATCH
from vtok.precision import has_fast_bfloat16
from vtok.streaming import file_model
from vtok.tokenizer import VideoTokenizer


def multiplications_per_pixel() -> dict[str, float]:
    """Multiplications per pixel of luma of the pretrained model's parts, counted from its layers, in thousands."""
    model = file_model(VideoTokenizer.from_pretrained())
    transform = model.transform.analysis.numel()

    def weights(part: torch.nn.Module) -> int:
        return sum(layer.weight.numel() for layer in part.modules() if isinstance(layer, torch.nn.Conv2d))

    synthesis = model.synthesis
    fine = (
        synthesis.refine_enter,
        synthesis.refine_hidden,
        synthesis.refine_leave,
    )  # four cells a block
    counts = {
        "encoder": weights(model.analysis) + transform,
        "decoder": weights(synthesis) + 3 * sum(weights(layer) for layer in fine) + transform,
        "prior": weights(model.prior),
    }
    return {part: count / PATCH**3 / 1000 for part, count in counts.items()}


def measure(arguments: list[str]) -> tuple[float, float, float]:
    """Wall seconds, processor seconds and peak resident memory in MB of one run of the program."""
    begun = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "vtok", *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begun
    if status:
        raise SystemExit(f"vtok {' '.join(arguments)} failed with status {status}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def speed(
    clip: Annotated[Path, typer.Argument(help="A video file.", exists=True)],
    runs: Annotated[int, typer.Option(help="Counted runs of each command, after one that is not.", min=1)] = 5,
    qualities: Annotated[str, typer.Option(help="Qualities, separated by commas.")] = "1,5,9",
) -> None:
    """Print medians (and the range of wall time) over runs, start-up included."""
    console = Console(width=120)
    arithmetic = "bfloat16" if has_fast_bfloat16() else "float32"
    console.print(f"{platform.machine()}, {os.cpu_count()} processors, torch {torch.__version__}, {arithmetic}")
    counts = ", ".join(f"{part} {count:.1f}" for part, count in multiplications_per_pixel().items())
    console.print(f"thousand multiplications per pixel: {counts}")
    table = Table(title=f"{clip.name}, {runs} runs")
    for column in ("command", "frames", "frames/s", "wall s (min-max)", "processor s", "peak MB"):
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        coded, decoded = Path(folder) / "a.vtok", Path(folder) / "a.mp4"
        for quality in qualities.split(","):
            encode = ["encode", str(clip), str(coded), "--quality", quality, "--force", "--json"]
            program = [sys.executable, "-m", "vtok", *encode]
            first = subprocess.run(program, capture_output=True, check=True)
            num_frames = json.loads(first.stdout)["num_frames"]
            for command in (encode, ["decode", str(coded), str(decoded), "--force", "--json"]):
                results = [measure(command) for _ in range(runs + 1)][1:]
                wall, processor, memory = zip(*results, strict=True)
                table.add_row(
                    f"{command[0]}, quality {quality}",
                    str(num_frames),
                    f"{num_frames / median(wall):.1f}",
                    f"{median(wall):.2f} ({min(wall):.2f}-{max(wall):.2f})",
                    f"{median(processor):.2f}",
                    f"{median(memory):.0f}",
                )
    console.print(table)


if __name__ == "__main__":
    typer.run(speed)
