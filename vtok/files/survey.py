"""What is known of a source before it is encoded: its frames, and what groups of them came to on trial."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from vtok.files.options import EncodeOptions
from vtok.files.passes import Look, Passes
from vtok.files.trials import Costs, Forecast
from vtok.model.pretrained_model import PretrainedModel

MAX_PRICED = 8  # groups
MAX_PRICES = 4  # qualities
_NEAR = 0.3  # qualities between which interpolation is exact enough
_FIRST = 5.0


@dataclass(slots=True)
class Survey:
    """Prices of a source: what it comes to at some qualities, by up to eight of its groups.

    Attributes:
        look: What is known without networks.
        forecast: What groups came to.
        qualities: The qualities that were tried.
    """

    look: Look
    forecast: Forecast
    qualities: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, passes: Passes) -> Self:
        """Read a source without networks."""
        look = passes.look()
        return cls(look, Forecast(look.num_frames))

    def price(
        self,
        passes: Passes,
        quality: float,
        *,
        every: bool = False,
        sees: bool = False,
        vmaf_program: str | None = None,
    ) -> None:
        """Code some groups at one more quality, or every one; `Coder` explains the other arguments."""
        sampled = self.look.spread(MAX_PRICED)
        wanted = set(range(len(self.look.num_frames))) if every else sampled
        if quality in self.qualities:
            wanted = wanted - sampled  # these are known
        coded = {
            group.number: passes.code(group, info, quality, advance=advance, sees=sees, vmaf_program=vmaf_program)
            for group, info, advance in passes.groups("price", wanted)
        }
        for number, task in coded.items():
            _, costs = task.result()
            if number in sampled:
                self.forecast.add(number, quality, costs)
            else:
                self.forecast.know({number: (quality, costs)})
        if quality not in self.qualities:
            self.qualities.append(quality)

    def costs(self, quality: float) -> Costs:
        """What all groups come to."""
        return self.forecast.costs(range(len(self.look.num_frames)), quality)

    def num_bytes(self, quality: float) -> int:
        """Bytes of the file; exact at a quality at which every group was coded."""
        return round(self.look.num_bytes(round(float(self.costs(quality)[0]))))


def wants_price(quality: float, tried: list[float], highest: float) -> bool:
    """Whether a quality is to be tried: it is not near one that was, and a bound is not one that was."""
    if len(tried) >= MAX_PRICES:
        return False
    distance = min((abs(quality - other) for other in tried), default=highest)
    return distance > (0.0 if quality in (1.0, highest) else _NEAR)


def first_quality(highest: float) -> float:
    """The quality to try first."""
    return min(_FIRST, highest)


def surveyed(
    path: Path, options: EncodeOptions, model: PretrainedModel, survey: Survey | None, quality: float, *, every: bool
) -> Survey:
    """Return a survey, made or continued, with the bytes of one more quality, of some groups or of every one."""
    passes = Passes(path, path, options, model, None)
    survey = Survey.of(passes) if survey is None else survey
    survey.price(passes, quality, every=every)
    return survey
