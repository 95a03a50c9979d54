"""The command that compares vtok with other codecs: `bench`."""

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from vtok.cli.loading import load, set_threads
from vtok.cli.meters import Style
from vtok.cli.options import Model, PathArgument, PathOption, ProgressStyle, Quiet, json_option
from vtok.cli.output import EXIT_INCOMPLETE, Reporter, print_json
from vtok.errors import ConfigError
from vtok.model.registry import DEFAULT_MODEL

if TYPE_CHECKING:
    from vtok.benchmark.run import Benchmark

_NEEDED = {"bjontegaard": "bjontegaard", "PIL": "pillow"}
T = TypeVar("T")


def bench(
    clips: Annotated[list[Path], PathArgument(help="Video files, or folders of them.")],
    output: Annotated[Path, PathOption("-o", "--output", help="Folder of the report; an earlier run goes on there.")],
    codecs: Annotated[
        str, typer.Option(help="vtok, x264-PRESET, x265-PRESET, svtav1-PRESET; BD-rate: the first against the others.")
    ] = "vtok,x264-medium,x265-medium,svtav1-8",
    qualities: Annotated[str, typer.Option(help="Settings of vtok, such as 1,5 or 1-9.")] = "1-9",
    crfs: Annotated[str, typer.Option(help="Settings of x264 and x265, such as 21,26 or 21-26.")] = "21,26,31,36,41,46",
    av1_crfs: Annotated[str, typer.Option("--av1-crfs", help="Settings of SVT-AV1.")] = "25,33,41,49,56,63",
    frames: Annotated[int, typer.Option(help="Number of frames of each clip, from the first on.", min=1)] = 64,
    max_width: Annotated[int, typer.Option(help="Scale wider clips down to this width in pixels.", min=2)] = 640,
    no_vmaf: Annotated[bool, typer.Option("--no-vmaf", help="Leave out VMAF, which takes longest.")] = False,
    viewer_qualities: Annotated[str, typer.Option(help="Qualities whose frames the page shows.")] = "3,6",
    viewer_frames: Annotated[
        int, typer.Option(help="Number of frames of each clip and quality that the page shows.", min=0)
    ] = 4,
    model: Model = DEFAULT_MODEL,
    threads: Annotated[int, typer.Option(help="Processor threads of each codec.", min=1)] = 2,
    again: Annotated[bool, typer.Option("--again", help="Measure again what the folder already holds.")] = False,
    quiet: Quiet = False,
    progress: ProgressStyle = Style.AUTO,
    as_json: Annotated[bool, json_option("that of results.json, in place of tables")] = False,
) -> None:
    """Compare vtok with x264, x265 and SVT-AV1 on the same pixels: curves, BD-rates, speeds, and frames to look at.

    Writes index.html, a page that needs no other file, results.json and results.csv. The folder keeps what
    an interrupted run has measured, and the same command goes on from there.

    Example: vtok bench sample_videos -o report
    """
    _check_packages()
    from vtok.benchmark.clips import find_clips
    from vtok.benchmark.page import write_page
    from vtok.benchmark.run import Settings, run_benchmark, write_results
    from vtok.cli.progress import job_progress

    points = _points(codecs, qualities, crfs, av1_crfs)
    settings = Settings(
        settings=points,
        max_frames=frames,
        max_width=max_width,
        with_vmaf=not no_vmaf,
        viewer_qualities=_numbers("--viewer-qualities", viewer_qualities, 1, 9),
        num_pictures=viewer_frames,
        viewer_preset=next((name.removeprefix("x264-") for name in points if name.startswith("x264-")), "medium"),
        threads=threads,
    )
    set_threads(threads)
    benchmark = run_benchmark(
        find_clips(clips),
        output,
        settings,
        tokenizer=load(model) if "vtok" in points else None,
        again=again,
        progress=partial(job_progress, style=progress, quiet=quiet),
    )
    write_results(benchmark, output)
    write_page(benchmark, output)
    _print(benchmark, output / "index.html", Reporter(as_json=as_json, quiet=quiet))
    if benchmark.left_out:
        raise typer.Exit(EXIT_INCOMPLETE)


def _print(benchmark: "Benchmark", page: Path, report: Reporter) -> None:
    from vtok.benchmark.tables import print_tables

    if report.as_json:
        print_json(asdict(benchmark))
    with report.console(width=140) as console:
        print_tables(console, benchmark)
    report.line(f"{page}: {page.stat().st_size / 1e6:.1f} MB")
    for line in benchmark.left_out:
        report.warning(f"left out: {line}")


def _points(codecs: str, qualities: str, crfs: str, av1_crfs: str) -> dict[str, list[int]]:
    """Return the settings of each codec, from the options of these names."""
    from vtok.benchmark.codecs import FAMILIES, VTOK, parse_codecs

    names = _option("--codecs", parse_codecs, codecs)
    numbers = {VTOK: _numbers("--qualities", qualities, 1, 9)}
    numbers |= dict.fromkeys(("x264", "x265"), _numbers("--crfs", crfs, 0, FAMILIES["x264"].highest_crf))
    numbers["svtav1"] = _numbers("--av1-crfs", av1_crfs, 0, FAMILIES["svtav1"].highest_crf)
    return {name: numbers[name.partition("-")[0]] for name in names}


def parse_integers(text: str, low: int, high: int) -> list[int]:
    """Parse a list such as `"1-3,7"` to `[1, 2, 3, 7]`.

    Raises:
        ConfigError: The text is not such a list, or a number is not from `low` to `high`.
    """

    def numbers() -> Iterator[int]:
        for part in text.split(","):
            first, _, last = part.partition("-")
            yield from range(int(first), int(last or first) + 1)

    try:
        found = list(dict.fromkeys(numbers()))
    except ValueError:
        found = []
    if not found or min(found) < low or max(found) > high:
        raise ConfigError(f"{text!r} is not a list of whole numbers from {low} to {high}; write {low},{high} or 3-5")
    return found


def _option(name: str, parse: Callable[[str], T], text: str) -> T:
    """Parse the text of an option; a ConfigError becomes a usage error."""
    try:
        return parse(text)
    except ConfigError as error:
        raise typer.BadParameter(str(error), param_hint=f"'{name}'") from None


def _numbers(name: str, text: str, low: int, high: int) -> list[int]:
    return _option(name, lambda text: parse_integers(text, low, high), text)


def _check_packages() -> None:
    missing = [package for module, package in _NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ConfigError(f"bench: needs {' and '.join(missing)}. pip install 'vtok[bench]' brings what is needed")
