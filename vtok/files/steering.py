"""Reaches a goal: looks for the qualities at which a file has the size, or the fidelity, that was asked for.

    look     counts frames, and the bytes of all that is not codes              no networks
    price    codes up to eight groups at up to four qualities                   --> a quality for all
    encode   codes all groups, several at a time; each has the quality at which, by what is coded and by what the rest
             will cost, the file comes to the goal. The last is coded again until it does   --> groups, in a temporary
             file
    again    if that was not enough: all groups once more, now that the cost of each is known

One quality for all groups means equal slopes: what a bit more would gain is, by the training of the model, a function
of the quality alone.
"""

import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any, BinaryIO

import numpy as np

from vtok.container.groups import VideoGroup
from vtok.errors import ConfigError, MediaError
from vtok.files.goals import Goal, GoalReport
from vtok.files.passes import Passes, SourceGroup
from vtok.files.survey import Survey, first_quality, wants_price
from vtok.files.trials import NUM_COSTS, Costs, Forecast, mean_ssim, mean_vmaf, psnr_yuv, solved
from vtok.measure.vmaf import MISSING, find_ffmpeg
from vtok.video.frame import VideoInfo

MAX_PASSES = 3  # that code all groups
MAX_TRIES = 4  # of the last group
_DRIFT = 0.6  # how far the quality of a group may be from that of all
# So many groups may be coded at a time; fewer near the end, where errors of forecasts count. The number does not depend
# on the workers that there are, so neither does the file.
_AHEAD = 7
_LAST_DRIFT = 1.5  # likewise of the last group, which is coded again until the file is as it should be
# Of what is left for codes, so much is not used: forecasts are wrong now and then, and a group can be coded again.
_RESERVE = 0.008
Coded = Future[tuple[VideoGroup, Costs]]
_MEASURES = {"psnr": psnr_yuv, "ssim": mean_ssim, "vmaf": mean_vmaf}


class GroupStore:
    """Groups in a temporary file, in order."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lengths: list[int] = []

    def clear(self) -> None:
        """Forget all groups."""
        self._file.seek(0)
        self._lengths = []

    def add(self, group: VideoGroup) -> None:
        """Append a group."""
        data = group.to_bytes()
        self._file.write(data)
        self._lengths.append(len(data))

    def __iter__(self) -> Iterator[VideoGroup]:
        self._file.seek(0)
        for length in self._lengths:
            yield VideoGroup.from_bytes(self._file.read(length))


class Steering:
    """The passes over a source that find a file for a goal.

    Args:
        passes: The passes over the source.
        goal: The goal.
        survey: What is known of the source already.

    Attributes:
        survey: What is known of the source.
    """

    def __init__(
        self,
        passes: Passes,
        goal: Goal,
        survey: Survey | None = None,
    ) -> None:
        self._passes, self._goal = passes, goal
        self._vmaf_program = find_ffmpeg() if self._goal.kind == "vmaf" else None
        if self._goal.kind == "vmaf" and self._vmaf_program is None:
            raise ConfigError(f"a VMAF cannot be reached: {MISSING}")
        self._highest = passes.highest_quality
        self.survey = Survey.of(passes) if survey is None else survey
        self._forecast, look = self.survey.forecast, self.survey.look
        self._all = range(len(look.num_frames))
        self._limit = self._goal.limit(look.seconds, look.num_raw_bytes)
        # Sizes are limits: what the forecast promises stays below by a reserve.
        reserve = _RESERVE * max(0.0, self._limit - look.num_bytes(0))
        self._wanted = self._limit - reserve if self._goal.is_size else self._goal.value

    def run(self, store: GroupStore) -> GoalReport:
        """Code all groups into `store`, so that the goal is reached.

        Raises:
            ConfigError: The goal cannot be reached.
            VtokError: Encoding failed.
        """
        quality = self.priced()
        for _ in range(MAX_PASSES):
            coded = self._encoded(store, quality)
            total = sum((costs for _, costs in coded.values()), start=np.zeros(NUM_COSTS))
            reached = self._shown(total)
            if self._goal.is_met(reached):
                break
            self._forecast.know(coded)
            quality = self._solved(np.zeros(NUM_COSTS), self._all, 1.0, self._highest)
        if self._goal.is_size and self._value(total) > self._limit:
            raise ConfigError(
                f"{self._passes.name}: comes to {self._goal.text(reached)} in place of "
                f"{self._goal.text(self._goal.value)}, after {MAX_PASSES} attempts. Give a quality, or more bytes"
            )
        return GoalReport(
            kind=self._goal.kind,
            wanted=self._goal.value,
            reached=reached,
            num_passes=self._passes.count + 1,
            qualities=[coded[group][0] for group in self._all],
        )

    def _value(self, total: Costs) -> float:
        """What a file with these costs comes to: bytes, dB, SSIM or VMAF; rises with the quality."""
        if self._goal.is_size:
            return self.survey.look.num_bytes(float(total[0]))
        return _MEASURES[self._goal.kind](total, sum(self.survey.look.num_frames))

    def _shown(self, total: Costs) -> float:
        """The same in the units of the goal."""
        value = self._value(total)
        return self._goal.of_bytes(value, self._limit) if self._goal.is_size else value

    def _solved(self, done: Costs, rest: Sequence[int], low: float, high: float) -> float:
        """The quality of all groups that are left at which the file comes to the goal."""
        return solved(lambda q: self._value(done + self._forecast.costs(rest, q)), self._wanted, low, high)

    def priced(self) -> float:
        """Code some groups at several qualities; return the quality at which the file should come to the goal.

        Raises:
            ConfigError: No quality is good enough, or low enough.
        """
        tried, highest = self.survey.qualities, self._highest
        quality = self._solved(np.zeros(NUM_COSTS), self._all, 1.0, highest) if tried else first_quality(highest)
        while wants_price(quality, tried, highest):
            self._price(quality)
            quality = self._solved(np.zeros(NUM_COSTS), self._all, 1.0, highest)
        if quality in (1.0, highest) and quality in tried:
            self._check_reachable(quality)
        return quality

    def _check_reachable(self, bound: float) -> None:
        """Refuse a goal that is beyond what all groups come to at the lowest or highest quality."""
        total = self.survey.costs(bound)
        value = self._value(total)
        is_beyond = value > self._wanted if bound == 1.0 else value < self._wanted
        if not is_beyond or self._goal.is_met(self._shown(total)):
            return
        other = self._highest + 1.0 - bound
        self._price(other)
        low, high = sorted(self._shown(self.survey.costs(quality)) for quality in (bound, other))
        raise ConfigError(
            f"{self._passes.name}: {self._goal.text(self._goal.value)} cannot be reached: its qualities come to about "
            f"{self._goal.text(low)} to {self._goal.text(high)}"
        )

    def _price(self, quality: float) -> None:
        """Code some groups at one more quality."""
        self.survey.price(self._passes, quality, sees=not self._goal.is_size, vmaf_program=self._vmaf_program)

    def _encoded(self, store: GroupStore, quality: float) -> dict[int, tuple[float, Costs]]:
        """Code all groups; return the quality and the costs of each."""
        store.clear()
        coded: dict[int, tuple[float, Costs]] = {}
        low, high = max(1.0, quality - _DRIFT), min(self._highest, quality + _DRIFT)
        done, first_frame = np.zeros(NUM_COSTS), 0
        running: deque[tuple[float, Coded]] = deque()  # quality and task of groups that are being coded

        def take(group: VideoGroup, costs: Costs) -> None:
            nonlocal done
            store.add(group)
            coded[len(coded)] = group.quality, costs
            done = done + costs

        for source, info, advance in self._passes.groups("encode"):
            number, last = source.number, self._all[-1]
            if number > last:
                raise MediaError(f"{self._passes.name}: gives other frames each time it is read. Give a quality")
            while len(running) > min(_AHEAD, (last - number) // 2):
                take(*running.popleft()[1].result())
            expected = sum(
                (self._forecast.costs([other], q) for other, (q, _) in enumerate(running, len(coded))), start=done
            )
            code = partial(self._code, source, info, first_frame=first_frame)
            chosen = self._solved(expected, self._all[number:], low, high)
            running.append((chosen, code(chosen, advance=advance)))
            first_frame += sum(len(chunk.frames) for chunk in source.chunks)
            if number == last:
                take(*self._fitted(code, *running.popleft()[1].result(), done))
        if len(coded) < len(self._all):
            raise MediaError(f"{self._passes.name}: gives other frames each time it is read. Give a quality")
        return coded

    def _code(self, source: SourceGroup, info: VideoInfo, quality: float, **more: Any) -> Coded:
        """Have a group coded."""
        sees = not self._goal.is_size
        return self._passes.code(source, info, quality, sees=sees, vmaf_program=self._vmaf_program, **more)

    def _fitted(
        self, code: Callable[..., Coded], group: VideoGroup, costs: Costs, done: Costs
    ) -> tuple[VideoGroup, Costs]:
        """The last group, coded again at other qualities until the file comes to the goal, if it can."""
        own = Forecast([group.num_frames])
        low, high = max(1.0, group.quality - _LAST_DRIFT), min(self._highest, group.quality + _LAST_DRIFT)
        for _ in range(MAX_TRIES):
            if self._goal.is_met(self._shown(done + costs)):
                break
            own.add(0, group.quality, costs)
            quality = solved(lambda q: self._value(done + own.costs([0], q)), self._wanted, low, high)
            if quality == group.quality:
                break
            group, costs = code(quality).result()
        return group, costs


@contextmanager
def steered(passes: Passes, goal: Goal, survey: Survey | None = None) -> Iterator[tuple[GoalReport, GroupStore]]:
    """Yield the groups of a file that reaches a goal, and how it does; `Steering` explains the arguments."""
    with tempfile.TemporaryFile(prefix="vtok-") as file:
        store = GroupStore(file)
        yield Steering(passes, goal, survey).run(store), store
