"""The configuration of a training run: a TOML file that overrides the documented defaults in `default.toml`."""

import tomllib
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

from vtok.errors import ConfigError
from vtok.networks.latent_model import LatentModelConfig
from vtok.networks.objective import ObjectiveConfig
from vtok.training.clip_cache import ClipCacheConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """A training step sees `batch_size` clips of `num_frames` frames (a multiple of 8) of `size` x `size` pixels."""

    batch_size: int
    num_frames: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    """The optimizers; see `vtok.training.optimizers`."""

    name: str
    learning_rate: float
    muon_learning_rate: float
    transform_learning_rate: float
    betas: tuple[float, float]
    warmup_steps: int
    final_learning_rate_ratio: float
    max_gradient_norm: float
    average_decay: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleConfig:
    """The schedule of a run: what it trains, and when it logs, validates and saves."""

    seed: int
    prior_only: bool
    log_every_steps: int
    validate_every_minutes: float
    save_every_minutes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """The whole configuration, one field per table of the TOML file."""

    model: LatentModelConfig
    cache: ClipCacheConfig
    validation_cache: ClipCacheConfig
    data: DataConfig
    objective: ObjectiveConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig


def load_config(path: Path | None = None) -> TrainConfig:
    """The defaults, overridden by the TOML file at `path`.

    Raises:
        ConfigError: The file is missing, is not TOML, or has a table or key that does not exist.
    """
    values = tomllib.loads(resources.files("vtok.training").joinpath("default.toml").read_text())
    if path is not None:
        try:
            overrides = tomllib.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: cannot be read as a configuration: {error}") from error
        for table, entries in overrides.items():
            _check_known(table, values, what="table", path=path)
            for key, value in entries.items():
                _check_known(key, values[table], what=f"key of [{table}]", path=path)
                values[table][key] = value
    sections = {field.name: field.type for field in fields(TrainConfig)}
    return TrainConfig(**{name: _section(kind, values[name]) for name, kind in sections.items()})


def _check_known(name: str, known: dict[str, Any], *, what: str, path: Path) -> None:
    if name not in known:
        raise ConfigError(f"{path}: {name!r} is not a {what}; expected one of {', '.join(known)}")


def _section(kind: Any, values: dict[str, Any]) -> Any:
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
