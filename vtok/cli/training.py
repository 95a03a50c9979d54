"""The command `train`."""

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from vtok.cli.loading import set_threads
from vtok.cli.options import Device, PathArgument, PathOption, Threads, json_option
from vtok.cli.output import print_json


def train(
    videos: Annotated[Path, PathArgument(help="Folder of videos to train on.")],
    validation: Annotated[Path, PathOption(help="Folder of videos to validate on; none of them is in VIDEOS.")],
    output: Annotated[Path, PathOption("-o", "--output", help="Folder of the run: log, curves, weights.")],
    minutes: Annotated[float, typer.Option(help="Budget of wall time.", min=0)] = 60.0,
    config: Annotated[Path | None, PathOption(help="TOML file; see vtok/training/default.toml.")] = None,
    weights: Annotated[Path | None, PathOption(help="Weights to start from instead of the KLT.")] = None,
    cache: Annotated[Path | None, PathOption(help="Folder of the clip caches; default: in the run's folder.")] = None,
    compile_prior: Annotated[
        bool, typer.Option("--compile", help="Fuse elementwise arithmetic: 12 % faster, needs a C++ compiler.")
    ] = False,
    device: Device = "auto",
    as_json: Annotated[bool, json_option("the path `weights`, and the last line of log.jsonl")] = False,
    threads: Threads = None,
) -> None:
    """Train the tokenizer: a folder of videos in, weights out.

    A run that finds its own checkpoint in the output folder goes on from there. With torchrun, processes on one machine
    or several share the clips of each step; any number of processes that divides batch_size can go on with a run.

    Example: vtok train videos/ --validation other-videos/ -o runs/first --minutes 120

    Example: torchrun --nproc-per-node 2 -m vtok train videos/ --validation other-videos/ -o runs/first
    """
    from vtok.training.config import load_config
    from vtok.training.loop import train as run

    set_threads(threads)
    with redirect_stdout(sys.stderr):  # all output of a run is progress
        is_first = run(
            videos,
            validation,
            output,
            load_config(config),
            minutes=minutes,
            weights=weights,
            cache_folder=cache,
            compile_prior=compile_prior,
            device=device,
        )
    if as_json and is_first:
        last_line = (output / "log.jsonl").read_text().splitlines()[-1]
        print_json({"weights": str(output / "weights.safetensors")} | json.loads(last_line))
