"""A training run: from two folders of videos and a configuration to weights, within a budget of minutes.

A run folder holds `log.jsonl` (one object per event), `curves.png`, `checkpoint.pt` (to resume) and
`weights.safetensors` with its card (averaged weights in half precision, for release). Under `torchrun` all processes
share one run; see `vtok.training.processes`.
"""

import json
import math
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from vtok.errors import ConfigError
from vtok.model.weights import load_weights, split_tensors
from vtok.networks.klt import BLOCK_VALUES, planes_to_blocks
from vtok.networks.latent_model import LatentModel
from vtok.networks.objective import Objective, Outcome
from vtok.training.average import WeightAverage
from vtok.training.checkpoint import load_checkpoint, model_of, save_average, save_checkpoint
from vtok.training.clip_cache import ClipCache, build_clip_cache, find_videos, to_device
from vtok.training.config import TrainConfig, check_kept_settings, kept_settings
from vtok.training.curves import plot_curves
from vtok.training.motion import motion_at
from vtok.training.optimizers import build_optimizers, set_learning_rate
from vtok.training.processes import Processes, arithmetic_of, is_first_process, joined_processes, num_processes
from vtok.training.run_log import RunLog
from vtok.training.validation import validate
from vtok.video.motion import BLOCK

KLT_CLIPS = 1000
LOGGED_QUALITIES = (1, 3, 5, 7, 9)


class TrainingRun:
    """One run of `vtok train`.

    Args:
        config: The whole configuration.
        folder: The folder of the run's files.
        train: Clips to train on.
        validation: Clips to validate on.
        weights: Weights to start from instead of the KLT, such as the released ones.
        compile_prior: Fuse the prior's elementwise arithmetic with `torch.compile`: a step takes 12 % less time, but
            the machine needs a C++ compiler and the first step takes half a minute.
        device: The device to train on: "auto", "cpu" or "cuda".
        console: The console for progress.
        processes: This process among those of the run; they share the folder.
    """

    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        *,
        train: ClipCache,
        validation: ClipCache,
        weights: Path | None = None,
        compile_prior: bool = False,
        device: str = "auto",
        console: Console | None = None,
        processes: Processes = Processes(),  # noqa: B008 (a constant)
    ) -> None:
        _check(config, train)
        self.processes, self._share = processes, processes.share(config.data.batch_size)
        self.config, self.folder = config, folder
        self.train, self.validation = train, validation
        self.console = console or Console(stderr=True, quiet=not processes.is_first)
        self.arithmetic = arithmetic_of(device, processes.count)
        folder.mkdir(parents=True, exist_ok=True)
        self.log = RunLog(folder / "log.jsonl", self.console, processes)
        self.rng = np.random.default_rng(config.schedule.seed)
        torch.manual_seed(config.schedule.seed)
        self.model = LatentModel(config.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.step, self.elapsed_seconds = 0, 0.0
        checkpoint = folder / "checkpoint.pt"
        if checkpoint.exists():
            self._start = "checkpoint"
        elif weights is not None:
            self._start = str(weights)
            self._start_from(weights)
        else:
            self._start = "klt"
            self.model.set_klt(self._second_moments())
        self.model.to(self.arithmetic.device)
        self.train, self.validation = (cache.on(self.arithmetic.device) for cache in (train, validation))
        if compile_prior:
            self.model.prior.compile_elementwise()
        if config.schedule.prior_only:
            self.model.requires_grad_(False)
            self.model.prior.requires_grad_(True)
        self.optimizers = build_optimizers(self.model, config.optimizer)
        self.objective = processes.parallel(Objective(self.model, config.objective))
        self.average = WeightAverage(self.model, config.optimizer.average_decay)
        if checkpoint.exists():
            self._resume(checkpoint)

    def run(self, minutes: float) -> None:
        """Train for `minutes` of wall time (in all, if the run was resumed), validating and saving on the way.

        SIGINT and SIGTERM end the run early, after it has validated and saved.
        """
        self._log(
            event="start",
            start=self._start,
            minutes=minutes,
            device=self.arithmetic.device.type,
            bfloat16=self.arithmetic.bfloat16,
            config=asdict(self.config),
        )
        with _stop_on_signals() as stop, _fast_arithmetic(self.arithmetic.device):
            self._train(minutes * 60, stop)
            self.save()  # before validating, because whoever stops a run may not wait
            self._validate()

    def _train(self, budget_seconds: float, stop: Callable[[], bool]) -> None:
        schedule = self.config.schedule
        begun = time.monotonic() - self.elapsed_seconds
        due = {"validate": self.elapsed_seconds, "save": self.elapsed_seconds + schedule.save_every_minutes * 60}
        recent: deque[Outcome] = deque(maxlen=schedule.log_every_steps)
        _, is_stopped = self._agreed(0, stop())
        while self.elapsed_seconds < budget_seconds and not is_stopped:
            if self.elapsed_seconds >= due["validate"]:
                self._validate()
                due["validate"] += schedule.validate_every_minutes * 60
            if self.elapsed_seconds >= due["save"]:
                self.save()
                due["save"] += schedule.save_every_minutes * 60
            recent.append(self._train_step(self.elapsed_seconds / budget_seconds))
            self.elapsed_seconds, is_stopped = self._agreed(time.monotonic() - begun, stop())
            if self.step % schedule.log_every_steps == 0:
                self._log(event="train", **self.log.mean(recent))

    def _agreed(self, elapsed_seconds: float, is_stopped: bool) -> tuple[float, bool]:
        """The slowest clock of all processes, and whether any process is to stop, so that all of them act alike."""
        slowest, stopped = self.processes.largest(elapsed_seconds, is_stopped)
        return slowest, bool(stopped)

    def _compute_gradients(self) -> Outcome:
        """Compute gradients on this process's share of a new batch; the parameters get those of the whole batch."""
        data = self.config.data
        planes, fields = self.train.batch(
            self.rng, batch_size=data.batch_size, num_frames=data.num_frames, size=data.size, share=self._share
        )
        qualities = self.rng.integers(1, self.config.model.num_qualities + 1, data.batch_size)
        seeds = self.rng.integers(0, 2**63, data.batch_size)
        quality = to_device(torch.from_numpy(qualities[self._share]).float(), planes.y.device)
        fields = motion_at(self.model, self.train.motion_lagrangians, fields, quality)
        with self.arithmetic.autocast():
            outcome: Outcome = self.objective(planes, quality, fields, seeds[self._share].tolist())
        outcome.loss.mean().backward()  # type: ignore[no-untyped-call]
        return outcome

    def _train_step(self, progress: float) -> Outcome:
        return self._update(self._compute_gradients(), progress)

    def _update(self, outcome: Outcome, progress: float) -> Outcome:
        """Take a step along the gradients; return `outcome` without its graph."""
        optimizer = self.config.optimizer
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), optimizer.max_gradient_norm)
        set_learning_rate(self.optimizers, optimizer, step=self.step, progress=progress)
        # A single broken batch must not end hours of training, so gradients that are not finite are skipped.
        is_finite = math.isfinite(norm)
        for each in self.optimizers:
            if is_finite:
                each.step()
            each.zero_grad()
        self.step += 1
        self.average.update(self.model, self.step)
        return Outcome(
            *(
                x.detach()
                for x in (outcome.loss, outcome.cost, outcome.bits_per_pixel, outcome.squared_error, outcome.quality)
            )
        )

    def _start_from(self, weights: Path) -> None:
        given = split_tensors(load_weights(weights)[0])[0]
        try:
            self.model.load_state_dict(given)
        except RuntimeError as error:
            raise ConfigError(f"{weights}: weights of other sizes than the configuration's [model]") from error

    @torch.no_grad()
    def _second_moments(self) -> Tensor:
        self.console.print("computing the KLT of the training clips")
        moments = torch.zeros(BLOCK_VALUES, BLOCK_VALUES, dtype=torch.float64)
        num_blocks = 0
        size = self.train.size // 8 * 8
        for index in self.rng.permutation(len(self.train))[:KLT_CLIPS]:
            planes = self.train.planes(index, index + 1).crop(size, size)
            blocks = planes_to_blocks(planes.frames(0, self.train.num_frames // 8 * 8)).transpose(0, 1).flatten(1)
            moments += (blocks @ blocks.T).double()
            num_blocks += blocks.shape[1]
        return moments / num_blocks

    def _validate(self) -> None:
        if not self.processes.is_first:
            return
        points = validate(
            model_of(self.average.tensors, self.config.model),
            self.validation,
            LOGGED_QUALITIES,
            self.config.objective,
            self.arithmetic,
        )
        self._log(
            event="validation",
            points=[asdict(point) for point in points],
            mean_log_cost=sum(point.log_cost for point in points) / len(points),
        )
        plot_curves(self.log.path, self.folder / "curves.png")

    def save(self) -> None:
        """Write checkpoint and weights, in the first process only."""
        if not self.processes.is_first:
            return
        state = {
            "settings": kept_settings(self.config),
            "step": self.step,
            "elapsed_seconds": self.elapsed_seconds,
            "model": self.model.state_dict(),
            "average": self.average.tensors,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "rng": json.dumps(self.rng.bit_generator.state),
        }
        save_checkpoint(self.folder / "checkpoint.pt", state)
        save_average(self.folder / "weights.safetensors", self.average.tensors, self.config.model)

    def _resume(self, checkpoint: Path) -> None:
        state = load_checkpoint(checkpoint)
        check_kept_settings(checkpoint, state.get("settings", {}), self.config)
        self.model.load_state_dict(state["model"])
        self.average.load(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.rng.bit_generator.state = json.loads(state["rng"])
        self.step, self.elapsed_seconds = state["step"], state["elapsed_seconds"]

    def _log(self, **event: Any) -> None:
        self.log.write(elapsed_seconds=self.elapsed_seconds, step=self.step, **event)


def train(
    videos: Path,
    validation_videos: Path,
    folder: Path,
    config: TrainConfig,
    *,
    minutes: float,
    weights: Path | None = None,
    cache_folder: Path | None = None,
    compile_prior: bool = False,
    device: str = "auto",
) -> bool:
    """Train on every video below `videos` for `minutes`; see `TrainingRun`. Matching clip caches are reused.

    All processes that `torchrun` started train together.

    Returns:
        Whether this process is the one that reports on the run.
    """
    cache_folder = cache_folder or folder / "cache"
    # Everything that could be missing is checked before minutes are spent on the caches.
    sources = find_videos(videos), find_videos(validation_videos)
    if weights is not None:
        load_weights(weights)
    arithmetic_of(device, num_processes())

    def caches() -> tuple[ClipCache, ClipCache]:
        return (
            build_clip_cache(sources[0], cache_folder / "train", config.cache),
            build_clip_cache(sources[1], cache_folder / "validation", config.validation_cache),
        )

    # The first process cuts the clips before it joins, because it forks for that, which gloo's threads would not
    # survive. The others join, which makes them wait for the first, and then find the clips.
    cut = caches() if is_first_process() else None
    with joined_processes() as processes:
        train_cache, validation_cache = cut or caches()
        run = TrainingRun(
            config,
            folder,
            train=train_cache,
            validation=validation_cache,
            weights=weights,
            compile_prior=compile_prior,
            device=device,
            processes=processes,
        )
        run.run(minutes)
        return processes.is_first


def _check(config: TrainConfig, cache: ClipCache) -> None:
    data = config.data
    if data.num_frames % 8 or not 8 <= data.num_frames <= cache.num_frames:
        raise ConfigError(
            f"data.num_frames is {data.num_frames}; expected a multiple of 8 up to the cache's {cache.num_frames}"
        )
    if data.size % BLOCK or not BLOCK <= data.size <= cache.size:
        raise ConfigError(f"data.size is {data.size}; expected a multiple of {BLOCK} up to the cache's {cache.size}")


@contextmanager
def _stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Within the context, SIGINT and SIGTERM only make the yielded function return True."""
    stopped: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda number, _: stopped.append(number)) for number in numbers]
    try:
        yield lambda: bool(stopped)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def _fast_arithmetic(device: torch.device) -> Iterator[None]:
    """Within the context, a GPU multiplies float32 as TF32 and picks its fastest convolutions; a CPU is unaffected."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.benchmark = before[1]
