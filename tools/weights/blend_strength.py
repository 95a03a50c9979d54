"""Sets how strongly chunk ends are blended, so that frames change as much across them as within chunks.

python tools/weights/blend_strength.py runs/first

Nothing is trained. Training ends with the gates that minimise mean squared error, which hardly distinguishes strengths
(a factor of 1.5 costs 0.01 dB). The pulsing of a video depends on them much more. The clips are those that the run was
trained on.
"""

import json
import math
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor

from vtok.errors import ConfigError
from vtok.model.weights import load_weights, save_card, save_weights, split_tensors, tensors_sha256
from vtok.networks.arithmetic import choose_arithmetic
from vtok.networks.klt import PATCH
from vtok.networks.latent_model import LatentModel, LatentModelConfig
from vtok.networks.planes import Planes
from vtok.training.clip_cache import ClipCache, unpack_i420

STRENGTHS = "synthesis.blend.log_strength.rows"
TARGET = 1.1  # change across chunk ends over change within chunks; about 0.1 less for whole frames
PROBED = (1.0, 1.5)  # strengths; the change is about linear between and beyond them
MAX_STRENGTH = 2.0
NUM_CLIPS, BATCH_SIZE = 48, 8


def blend_strength(run: Annotated[Path, typer.Argument(help="Folder of a finished run.")]) -> None:
    """Replace the strengths in the weights of RUN, and the hash on their card."""
    weights = run / "weights.safetensors"
    tensors, config = load_weights(weights)
    model = LatentModel(LatentModelConfig.from_json(config))
    if model.synthesis.blend is None:
        raise ConfigError(f"{weights}: a model without a blend of chunks")
    rows = torch.zeros_like(model.synthesis.blend.log_strength.rows)
    model.load_state_dict(split_tensors(tensors)[0] | {STRENGTHS: rows})
    tensors[STRENGTHS] = strengths(model.eval(), ClipCache(run / "cache" / "train")).log().half()[:, None]
    save_weights(weights, tensors, config)
    details = json.loads(weights.with_suffix(".json").read_text())
    del details["name"], details["tensors_sha256"]
    save_card(weights, tensors_sha256(tensors), details)


@torch.no_grad()
def strengths(model: LatentModel, cache: ClipCache) -> Tensor:
    """The strength of each quality that makes frames change by `TARGET`; at least 1."""
    assert model.synthesis.blend is not None
    rows, chosen = model.synthesis.blend.log_strength.rows, []
    clips = cache.clips[np.linspace(0, len(cache) - 1, min(NUM_CLIPS, len(cache))).astype(int)]
    for quality in range(1, len(rows) + 1):
        codes = [
            _codes(model, unpack_i420(clips[i : i + BATCH_SIZE], cache.size), quality)
            for i in range(0, len(clips), BATCH_SIZE)
        ]
        ratios = []
        for strength in PROBED:
            rows[quality - 1] = math.log(strength)
            ratios.append(change_ratio(model, codes, quality))
        slope = (ratios[1] - ratios[0]) / (PROBED[1] - PROBED[0])
        strength = min(max(1.0, PROBED[0] + (TARGET - ratios[0]) / slope), MAX_STRENGTH)
        rows[quality - 1] = math.log(strength)
        print(f"quality {quality}: {ratios[0]:.3f}, by {strength:.2f} {change_ratio(model, codes, quality):.3f}")
        chosen.append(strength)
    return torch.tensor(chosen)


def change_ratio(model: LatentModel, codes: list[Tensor], quality: float) -> float:
    """Mean change of luma across chunk ends over that within chunks, as a mean over decoded clips."""
    ratios = []
    for batch in codes:
        with choose_arithmetic().autocast():
            luma = model.decode(batch, torch.full((len(batch),), float(quality)))[0].y
        changes = luma.diff(dim=1).abs().mean((2, 3))
        is_across = torch.arange(1, luma.shape[1]) % PATCH == 0
        within = changes[:, ~is_across].mean(1)
        moving = within > 1e-3  # an eighth of a step of 8 bits
        ratios.append((changes[:, is_across].mean(1) / within)[moving])
    return float(torch.cat(ratios).mean())


def _codes(model: LatentModel, clips: Planes, quality: float) -> Tensor:
    side, num_frames = (n // PATCH * PATCH for n in (clips.y.shape[-1], clips.y.shape[1]))
    with choose_arithmetic().autocast():
        whole = clips.crop(side, side).frames(0, num_frames)
        latents, _ = model.encode(whole, torch.full((len(whole.y),), float(quality)))
    codes: Tensor = model.quantizer(latents)
    return codes


if __name__ == "__main__":
    typer.run(blend_strength)
