"""Files of a training run: a checkpoint to continue from on any device, and weights for release."""

import io
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vtok.entropy.exact_prior import ExactPrior
from vtok.model.weights import EXACT_PRIOR, save_card, save_weights, tensors_sha256
from vtok.networks.latent_model import LatentModel, LatentModelConfig
from vtok.system.atomic import write_atomically


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a run's state, all or nothing, with its tensors on the processor."""
    data = io.BytesIO()
    torch.save(on_cpu(state), data)  # to memory first, because torch reports a full disk unclearly
    write_atomically(path, data.getbuffer())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote, onto the processor."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def save_average(path: Path, average: Mapping[str, Tensor], config: LatentModelConfig) -> None:
    """Write averaged weights for release, in half precision with their exact prior, and their card."""
    average = on_cpu(average)
    half = {name: tensor.half() for name, tensor in average.items()}
    exact = ExactPrior.quantize(model_of(average, config)).tensors()
    half |= {EXACT_PRIOR + name: tensor for name, tensor in exact.items()}
    save_weights(path, half, asdict(config))
    save_card(path, tensors_sha256(half), {"configuration": asdict(config)})


def model_of(tensors: Mapping[str, Tensor], config: LatentModelConfig) -> LatentModel:
    """A model with these tensors, on the processor."""
    model = LatentModel(config)
    model.load_state_dict(tensors)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def on_cpu(value: Any) -> Any:
    """Return `value` with all tensors in its dictionaries and lists on the processor."""
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, Mapping):
        return {key: on_cpu(each) for key, each in value.items()}
    return [on_cpu(each) for each in value] if isinstance(value, list) else value
