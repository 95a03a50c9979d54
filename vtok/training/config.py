"""The configuration of a training run: a TOML file that overrides the documented defaults in `default.toml`."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from vtok.errors import ConfigError
from vtok.networks.latent_model import LatentModelConfig
from vtok.networks.objective import ObjectiveConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipCacheConfig:
    """Settings for cutting videos into clips.

    Attributes:
        num_frames: Frames per clip.
        size: Height and width of a clip in pixels; even.
        max_windows_per_video: Maximum number of windows of `num_frames` frames, evenly spread over the video, so that
            one long video of a still camera does not outweigh the rest.
        scales_per_window: Number of times that each window is scaled down, by a factor drawn from `[1, max_downscale]`.
        crops_per_scale: Number of crops drawn from each scaled window.
        max_downscale: Largest factor of scaling down, which hides the artefacts of the source's codec and gives finer
            detail.
        seed: Seed of all draws. The same videos and configuration give the same cache.
        motion_lagrangians: The motion of each clip is searched with each of these (see `vtok.motion.search`).
    """

    num_frames: int = 48
    size: int = 112
    max_windows_per_video: int = 16
    scales_per_window: int = 2
    crops_per_scale: int = 4
    max_downscale: float = 3.0
    seed: int = 0
    motion_lagrangians: tuple[float, ...] = (50.0, 300.0)

    def __post_init__(self) -> None:
        if not self.motion_lagrangians:
            raise ConfigError("motion_lagrangians is empty; expected at least one")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The configuration that a cache's manifest states."""
        given = dict(values)
        return cls(**given | {"motion_lagrangians": tuple(given.get("motion_lagrangians", ()))})


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
        ConfigError: The file is missing, is not TOML, has a table or key that does not exist, or a value of another
            type.
    """
    values = tomllib.loads(resources.files("vtok.training").joinpath("default.toml").read_text())
    if path is not None:
        try:
            overrides = tomllib.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: cannot be read as a configuration: {error}") from error
        for table, entries in overrides.items():
            _check_known(table, values, what="table", path=path)
            if not isinstance(entries, dict):
                raise ConfigError(f"{path}: {table} is {entries!r}; expected a table, [{table}]")
            for key, value in entries.items():
                _check_known(key, values[table], what=f"key of [{table}]", path=path)
                values[table][key] = value
    try:
        # As JSON, because in strict mode a list is a tuple and a whole number a float only there.
        return TypeAdapter(TrainConfig).validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        table, key = map(str, first["loc"][:2])
        raise ConfigError(f"{path}: {key} of [{table}] is {values[table][key]!r}: {first['msg']}") from error


def kept_settings(config: TrainConfig) -> dict[str, Any]:
    """The settings that a run keeps when it is resumed, by what messages call them."""
    schedule = {"seed": config.schedule.seed, "prior_only": config.schedule.prior_only}
    tables = {"model": asdict(config.model), "optimizer": asdict(config.optimizer), "schedule": schedule}
    return {f"{key} of [{table}]": value for table, entries in tables.items() for key, value in entries.items()}


def check_kept_settings(checkpoint: Path, before: Mapping[str, Any], config: TrainConfig) -> None:
    """Raise ConfigError if a run would go on with other `kept_settings` than those `before`."""
    now = kept_settings(config)
    for name, value in before.items():
        if now.get(name, value) != value:
            raise ConfigError(
                f"{checkpoint}: {name} is {value!r} there and {now[name]!r} now. Resume the run with the same, or give "
                "another folder"
            )


def _check_known(name: str, known: dict[str, Any], *, what: str, path: Path) -> None:
    if name not in known:
        raise ConfigError(f"{path}: {name!r} is not a {what}; expected one of {', '.join(known)}")
