"""Trains on a pack of clips within a number of seconds, for a GPU that is available for minutes only.

python tools/gpu/train_pack.py packs/first -o runs/gpu --seconds 520 --weights vtok/pretrained/vtok-8x8x8.safetensors
"""

import time

BEGUN = time.monotonic()  # before imports that take seconds

import json  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Annotated  # noqa: E402

import typer  # noqa: E402
from clip_pack import unpack  # noqa: E402

from vtok.errors import ConfigError, VtokError  # noqa: E402
from vtok.training.config import load_config  # noqa: E402
from vtok.training.loop import TrainingRun  # noqa: E402


def train_pack(
    pack: Annotated[Path, typer.Argument(help="Folder that pack_clips.py made.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run: log, curves, weights.")],
    seconds: Annotated[float, typer.Option(help="Time from the start of this script to its end.", min=0)],
    reserve: Annotated[float, typer.Option(help="Of it, seconds to validate and save after training.", min=0)] = 40,
    config: Annotated[Path | None, typer.Option(help="TOML file; see vtok/training/gpu.toml.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights to start from instead of the KLT.")] = None,
    device: Annotated[str, typer.Option(help="Where to train: auto, cpu or cuda.")] = "auto",
    compile_prior: Annotated[
        bool, typer.Option("--compile", help="Fuse elementwise arithmetic; needs a C compiler.")
    ] = False,
) -> None:
    """Unpack PACK, train for what is left of the time, and leave weights, card, log and curves in the output folder."""
    knobs = load_config(config)
    with tempfile.TemporaryDirectory(prefix="vtok-clips-") as temporary:
        started = _tell("starting up", BEGUN)
        caches = unpack(pack, Path(temporary))
        unpacked = _tell(f"unpacking {sum(map(len, caches.values()))} clips", started)
        run = TrainingRun(
            knobs,
            output,
            train=caches["train"],
            validation=caches["validation"],
            weights=weights,
            device=device,
            compile_prior=compile_prior,
        )
        ready = _tell("setting up the run", unpacked)
        budget = seconds - reserve - (ready - BEGUN)
        if budget <= 0:
            raise ConfigError(
                f"seconds is {seconds:g}, of which {ready - BEGUN:.0f} are gone; expected {reserve:g} more"
            )
        run.run(budget / 60)
        ended = _tell("training, validating and saving", ready)
    # The checkpoint is six times as large as the weights, and useless: the cosine of the learning rate has ended.
    (output / "checkpoint.pt").unlink()
    events = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    speed = run.step / run.elapsed_seconds
    print(f"{run.step} steps on {run.arithmetic.device}, {speed:.2f} per second, validation included")
    costs = [f"{event['mean_log_cost']:.4f}" for event in events if event["event"] == "validation"]
    print(f"mean log cost {' to '.join(costs)}")
    print(f"done {ended - BEGUN:.1f} s after the start, of {seconds:g} s: {output}")


def _tell(phase: str, begun: float) -> float:
    """Print the duration of a phase, and return the current time."""
    now = time.monotonic()
    print(f"{phase}: {now - begun:.1f} s", flush=True)
    return now


if __name__ == "__main__":
    try:
        typer.run(train_pack)
    except VtokError as error:
        raise SystemExit(f"train_pack: error: {error}") from None
