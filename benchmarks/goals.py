"""How goals are reached: what was wanted, what came of it, in how many passes, and how long against a plain encode.

Example: python benchmarks/goals.py VIDEOS_OR_FOLDERS... --goals ratio=60,psnr=36
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Annotated, NamedTuple

import torch
import typer
from machine import describe

from vtok.benchmark.clips import find_clips
from vtok.errors import ConfigError, VtokError
from vtok.files.encode import encode_with
from vtok.files.goals import KINDS, Goal, goal_of
from vtok.files.options import EncodeOptions
from vtok.model.tokenizer import VideoTokenizer

SHARES = (0.5, 1.5)  # sizes to ask for, as parts of the size at quality 5


class Row(NamedTuple):
    """One file and one goal; `reached` is None if the goal cannot be reached."""

    clip: str
    wanted: str
    reached: str | None
    passes: int
    qualities: str
    seconds: float
    plain_seconds: float

    def cells(self) -> list[str]:
        """The row of the table."""
        times = f"{self.seconds / self.plain_seconds:.1f}"
        reached = "cannot be reached" if self.reached is None else self.reached
        return [self.clip, self.wanted, reached, str(self.passes or ""), self.qualities, f"{self.seconds:.1f}", times]


TITLES = ("file", "target", "reached", "passes", "qualities", "seconds", "plain encodes")


def parse_goals(text: str) -> list[Goal]:
    """The goals of a list such as `psnr=36,size=2MB`; raise BadParameter for anything else."""
    goals = []
    for part in filter(None, text.split(",")):
        kind, _, value = part.partition("=")
        if kind not in KINDS:
            raise typer.BadParameter(f"{part!r}: expected one of {', '.join(KINDS)}, = and a value")
        try:
            goals.append(goal_of(**{kind: value}))
        except ConfigError as error:
            raise typer.BadParameter(str(error)) from None
    return [goal for goal in goals if goal]


def measured(clip: Path, goals: list[Goal], tokenizer: VideoTokenizer, folder: Path) -> Iterator[Row]:
    """Encode a clip at quality 5, for parts of that size, and for the goals."""
    target = folder / f"{clip.stem}.vtok"
    begun = perf_counter()
    plain = encode_with(EncodeOptions(), clip, target, tokenizer=tokenizer, overwrite=True)
    plain_seconds = perf_counter() - begun
    for goal in [*(Goal("size", round(share * plain.num_bytes)) for share in SHARES), *goals]:
        begun = perf_counter()
        wanted = goal.text(goal.value)
        try:
            result = encode_with(EncodeOptions(goal=goal), clip, target, tokenizer=tokenizer, overwrite=True)
        except ConfigError:
            yield Row(clip.name, wanted, None, 0, "", perf_counter() - begun, plain_seconds)
            continue
        report = result.goal
        assert report is not None
        over = goal.is_size and (report.reached < goal.value if goal.kind == "ratio" else report.reached > goal.value)
        missed = "" if goal.is_met(report.reached) else ", exceeded" if over else ", missed"
        yield Row(
            clip.name,
            wanted,
            f"{goal.text(report.reached)}{missed}",
            report.num_passes,
            f"{min(report.qualities):.2f} to {max(report.qualities):.2f}",
            perf_counter() - begun,
            plain_seconds,
        )


def table(rows: list[Row]) -> str:
    """Markdown."""
    lines = [TITLES, ["---"] * 3 + ["---:"] * (len(TITLES) - 3), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def goals(
    clips: Annotated[list[Path], typer.Argument(help="Video files, or folders of them.", exists=True)],
    wanted: Annotated[
        str, typer.Option("--goals", help="Goals beside the sizes, such as psnr=36,ssim=0.97,vmaf=90.")
    ] = "psnr=36",
) -> None:
    """Print a Markdown table: each file for half and for 1.5 times its size at quality 5, and for the goals."""
    asked = parse_goals(wanted)
    tokenizer = VideoTokenizer.from_pretrained()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for clip in find_clips(clips):
            try:
                rows += measured(clip, asked, tokenizer, Path(folder))
            except VtokError as error:
                typer.echo(f"left out: {error}", err=True)
    print(table(rows))
    reached = [row for row in rows if row.reached is not None]
    if reached:
        times = fmean(row.seconds / row.plain_seconds for row in reached)
        missed = sum(row.reached.endswith(("missed", "exceeded")) for row in rows if row.reached)
        machine = describe()
        print(
            f"\n{len(reached)} of {len(rows)} goals can be reached; {missed} files miss what is promised. A goal takes "
            f"{times:.1f} times as long as a plain encode, in the mean, with the model loaded; "
            f"{machine['processor']}, {torch.get_num_threads()} threads."
        )


if __name__ == "__main__":
    typer.run(goals)
