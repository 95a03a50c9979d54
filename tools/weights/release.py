"""Puts the weights of a finished run into the package, with a card that describes them.

python tools/weights/release.py runs/first --command "vtok train ..." --figures report/results.json
"""

import json
import shutil
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import typer

from vtok.errors import WeightsError
from vtok.model.registry import DEFAULT_MODEL
from vtok.model.tokenizer import VideoTokenizer
from vtok.model.weights import load_weights, save_card
from vtok.system.atomic import atomic_write

MAX_WEIGHTS_BYTES = 16_000_000
FIGURES = ("bpp", "psnr_yuv", "ssim_y", "ms_ssim_y", "vmaf")
FOLDER = Path(__file__).parents[2] / "vtok" / "pretrained"
DATA = (
    "21 minutes of public video: 115 clips from the repositories of open-source projects, mostly 360p to 720p H.264: "
    "people, faces, animals, streets, driving, nature, robots, screen captures, some animation. Some are under CC BY "
    "4.0, CC BY 3.0 or CC0, most state no licence for the clip itself; clips restricted to non-commercial or academic "
    "use were left out. No clip is part of this package. Nine other clips, from other sources, were for validation."
)
LIMITS = (
    "Needs more bits than x264 at equal PSNR, most where things move in ways of their own. At the lowest qualities "
    "fine texture is smoothed away. Little 1080p and animation was trained on."
)


def release(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    command: Annotated[str, typer.Option(help="The command that trained it, to go into the card.")],
    figures: Annotated[Path | None, typer.Option(help="The results.json of `vtok bench` with these weights.")] = None,
    name: Annotated[str, typer.Option(help="Name of the model.")] = DEFAULT_MODEL,
) -> None:
    """Copy the weights of RUN into the package and write their card."""
    weights = run / "weights.safetensors"
    tokenizer = VideoTokenizer.from_pretrained(weights)
    if weights.stat().st_size > MAX_WEIGHTS_BYTES:
        raise WeightsError(f"{weights}: {weights.stat().st_size} bytes; expected at most {MAX_WEIGHTS_BYTES}")
    card = {
        "configuration": load_weights(weights)[1],
        "training": {"command": command, "changed_on_the_way": "docs/training.md", "data": DATA} | _history(run),
        "figures": _figures(figures) if figures else {},
        "limits": LIMITS,
        "licence": "MIT, as the package",
    }
    target = FOLDER / f"{name}.safetensors"
    with atomic_write(target) as temporary:
        shutil.copyfile(weights, temporary)
    save_card(target, tokenizer.weights_sha256, card)


def _history(run: Path) -> dict[str, Any]:
    """Minutes, steps and validation results of a run, from its log."""
    events = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    starts = [event for event in events if event["event"] == "start"]
    validations = [event for event in events if event["event"] == "validation"]
    last = validations[-1]
    return {
        "started_from": Path(starts[0]["start"]).name,  # the name only: the folder exists on this machine alone
        "minutes": last["minutes"],
        "steps": last["step"],
        "settings": {key: starts[0]["config"][key] for key in ("data", "objective", "optimizer", "schedule")},
        "validation_crops": {"before": validations[0]["points"], "after": last["points"]},
    }


def _figures(results: Path) -> dict[str, Any]:
    """Means over clips per quality of vtok and setting of x264: rate, and each quality measure that all clips have."""
    points: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in json.loads(results.read_text())["results"]:
        points[f"{record['codec']} {record['setting']}"].append(record)
    return {
        point: {"num_clips": len(records)}
        | {
            key: round(fmean(record[key] for record in records), 5)
            for key in FIGURES
            if all(record[key] is not None for record in records)
        }
        for point, records in points.items()
    }


if __name__ == "__main__":
    typer.run(release)
