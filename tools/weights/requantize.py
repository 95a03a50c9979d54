"""Quantizes the prior of existing weights again, after a change of the exact arithmetic; nothing is trained.

python tools/weights/requantize.py vtok/pretrained/vtok-8x8x8.safetensors

The networks do not change, but the hash does. So these are other weights: files written with the old ones still need
the old ones.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from vtok.entropy.exact_prior import ExactPrior
from vtok.model.weights import EXACT_PRIOR, load_weights, save_card, save_weights, split_tensors, tensors_sha256
from vtok.networks.latent_model import LatentModel, LatentModelConfig


def requantize(weights: Annotated[Path, typer.Argument(help="A .safetensors file; its card is beside it.")]) -> None:
    """Replace the tensors of the exact prior in WEIGHTS, and the hash on the card."""
    tensors, config = load_weights(weights)
    model = LatentModel(LatentModelConfig.from_json(config))
    model.load_state_dict(split_tensors(tensors)[0])
    exact = ExactPrior.quantize(model).tensors()
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(EXACT_PRIOR)}
    tensors |= {EXACT_PRIOR + name: tensor for name, tensor in exact.items()}
    save_weights(weights, tensors, config)
    details = json.loads(weights.with_suffix(".json").read_text())
    del details["name"], details["tensors_sha256"]
    save_card(weights, tensors_sha256(tensors), details)


if __name__ == "__main__":
    typer.run(requantize)
