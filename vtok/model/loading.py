"""Loads weights files as `PretrainedModel`s: one for the caller alone, or one shared by the whole process."""

from functools import lru_cache
from pathlib import Path
from threading import Lock

import torch

from vtok.entropy.exact_prior import ExactPrior
from vtok.errors import ConfigError, WeightsError
from vtok.model.pretrained_model import PretrainedModel
from vtok.model.registry import DEFAULT_MODEL, find_weights
from vtok.model.rgb_model import RgbModel
from vtok.model.weights import load_weights, split_tensors, tensors_sha256
from vtok.networks.latent_model import LatentModelConfig
from vtok.networks.layers import empty_layers

_LOCK = Lock()  # so that two threads do not load the same model


def shared_model(name_or_path: str | Path = DEFAULT_MODEL) -> PretrainedModel:
    """Return the model of that name or file, loaded once, and again if the file changes. The caller must not change it.

    Raises:
        WeightsError: There is no such model, or its tensors are not those that its card names.
    """
    path, card = find_weights(name_or_path)
    status = path.stat() if path.exists() else None
    file = (status.st_dev, status.st_ino, status.st_mtime_ns) if status else None
    with _LOCK:
        return _shared(path, card.tensors_sha256 if card else None, file)


@lru_cache(maxsize=4)
def _shared(path: Path, expected_sha256: str | None, file: object) -> PretrainedModel:
    return _read(path, expected_sha256)


def read_model(name_or_path: str | Path = DEFAULT_MODEL) -> PretrainedModel:
    """Return the model of that name or file, for the caller alone.

    Loading does not depend on PyTorch's default type, default device or random numbers, and changes none of them.

    Raises:
        WeightsError: There is no such model, or its tensors are not those that its card names.
    """
    path, card = find_weights(name_or_path)
    return _read(path, card.tensors_sha256 if card else None)


@torch.inference_mode(False)
def _read(path: Path, expected_sha256: str | None) -> PretrainedModel:
    tensors, config = load_weights(path)
    digest = tensors_sha256(tensors)
    if expected_sha256 and digest != expected_sha256:
        raise WeightsError(
            f"{path.stem}: the tensors have SHA-256 {digest}, the card says {expected_sha256}: "
            f"the installation is damaged. Reinstall vtok."
        )
    networks, exact = split_tensors(tensors)
    try:
        with torch.device("cpu"), empty_layers():
            model = RgbModel(LatentModelConfig.from_json(config))
        model.load_state_dict(networks, assign=True)
        with torch.device("cpu"):
            exact_prior = ExactPrior.from_tensors(model, exact)
    except (RuntimeError, TypeError, KeyError, ConfigError) as error:
        cause = str(error).partition("\n")[0]
        raise WeightsError(f"{path}: the tensors do not fit their configuration: {cause}") from error
    model.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    types = {name: tensors[name].dtype for name in networks}
    return PretrainedModel(model, exact_prior, path.stem, digest, types)
