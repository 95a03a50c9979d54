"""The log of a training run: `log.jsonl`, one object per event, and one line on the console for each event."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from vtok.errors import writing
from vtok.networks.objective import Outcome
from vtok.training.processes import Processes


class RunLog:
    """The log of one run; the first of several processes writes it.

    Args:
        path: The log file; existing content is kept.
        console: The console for progress.
        processes: This process among those of the run.
    """

    def __init__(self, path: Path, console: Console, processes: Processes) -> None:
        self.path, self._console, self._processes = path, console, processes

    def write(self, *, elapsed_seconds: float, step: int, **event: Any) -> None:
        """Add an event, whose kind is `event`. A run's start, with its configuration, goes to the file only."""
        if not self._processes.is_first:
            return
        event = {"minutes": round(elapsed_seconds / 60, 3), "step": step} | event
        with writing(self.path), self.path.open("a") as file:
            file.write(json.dumps(event) + "\n")
        if "config" not in event:
            self._console.print(_summary(event), highlight=False)

    def mean(self, outcomes: Iterable[Outcome]) -> dict[str, float]:
        """Means over the last steps and over all processes."""
        steps = [
            torch.stack(
                [
                    outcome.loss.mean(),
                    outcome.cost.log().mean(),
                    outcome.bits_per_pixel.mean(),
                    *outcome.squared_error.mean(1),
                ]
            )
            for outcome in outcomes
        ]
        loss, log_cost, bits_per_pixel, *errors = self._processes.mean(torch.stack(steps).mean(0)).tolist()
        psnr = (10 * torch.log10(4 / torch.tensor(errors))).tolist()
        return {
            "loss": round(loss, 5),
            "log_cost": round(log_cost, 4),
            "bits_per_pixel": round(bits_per_pixel, 5),
            "psnr_yuv": round((6 * psnr[0] + psnr[1] + psnr[2]) / 8, 3),
        }


def _summary(event: dict[str, Any]) -> str:
    head = f"{event['minutes']:7.1f} min  step {event['step']:6d}  {event['event']:10s}"
    if event["event"] == "validation":
        points = "  ".join(f"q{p['quality']} {p['bits_per_pixel']:.4f}/{p['psnr_yuv']:.2f}" for p in event["points"])
        return f"{head}  log cost {event['mean_log_cost']:.4f}  {points}"
    values = "  ".join(f"{key} {event[key]}" for key in event if key not in ("minutes", "step", "event"))
    return f"{head}  {values}"
