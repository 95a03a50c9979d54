"""Weights files: safetensors that also hold the configuration as JSON, and one hash that names the tensors.

Pickle is not used: a weights file is data, and reading it runs no code.
"""

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vtok.errors import WeightsError
from vtok.system.atomic import write_atomically

EXACT_PRIOR = "exact_prior."  # prefix of the names of its tensors
_CONFIG_KEY = "vtok_config"


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values, in order of the names; independent of the file's layout."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_weights(path: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Write tensors and their configuration, all or nothing."""
    metadata = {_CONFIG_KEY: json.dumps(config, sort_keys=True)}
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, save(contiguous, metadata))


def save_card(path: Path, tensors_sha256: str, details: Mapping[str, Any]) -> None:
    """Write the card by which the weights at `path` are found, beside them; see `docs/models.md`."""
    card = {"name": path.stem, "tensors_sha256": tensors_sha256, **details}
    write_atomically(path.with_suffix(".json"), f"{json.dumps(card, indent=2)}\n".encode())


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the configuration of a weights file.

    Raises:
        WeightsError: The file is missing, is not safetensors, or was not written by vtok.
    """
    try:
        with path.open("rb") as opened, safe_open(_openable(path, opened.fileno()), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such weights file") from error
    except (SafetensorError, OSError, struct.error) as error:
        raise WeightsError(f"{path}: not a readable safetensors file: {error}") from error
    if _CONFIG_KEY not in metadata:
        raise WeightsError(f"{path}: has no vtok configuration; expected a file written by `vtok train`")
    try:
        config = json.loads(metadata[_CONFIG_KEY])
    except ValueError as error:
        raise WeightsError(f"{path}: its configuration is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise WeightsError(f"{path}: its configuration is {config!r}; expected an object")
    return tensors, config


def _openable(path: Path, handle: int) -> Path | str:
    """A name of an open file that the package safetensors takes: it refuses names that are not UTF-8."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return f"/dev/fd/{handle}"
    return path


def split_tensors(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the networks' tensors in float32, and those of the exact prior unchanged."""
    networks = {key: tensor.float() for key, tensor in tensors.items() if not key.startswith(EXACT_PRIOR)}
    exact = {key.removeprefix(EXACT_PRIOR): x for key, x in tensors.items() if key.startswith(EXACT_PRIOR)}
    return networks, exact
