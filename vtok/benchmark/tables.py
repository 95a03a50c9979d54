"""Prints the tables of `vtok bench`: one per clip, the means over clips, and BD-rates."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vtok.benchmark.bd_rate import INTERPOLATION, MEANS, MEASURES, OPTIONAL_MEANS, SMALL_OVERLAP, Record, grouped
from vtok.benchmark.run import Benchmark

_DIGITS = {"bpp": 4, "ssim_y": 4, "ms_ssim_y": 4}  # of other measures: 2
POINT_TITLES = (
    "setting",
    "bpp",
    "PSNR-YUV",
    "Y",
    "U",
    "V",
    "SSIM-Y",
    "MS-SSIM-Y",
    "VMAF",
    "NEG",
    "encode fps",
    "decode fps",
)


def print_tables(console: Console, benchmark: Benchmark) -> None:
    """Print a table per clip, the means over all clips, and the BD-rate of the first codec against each other one."""
    clips = benchmark.by_clip()
    for group in clips.values():
        first = group[0]
        title = f"{first['clip']}: {first['num_frames']} frames of {first['width']}x{first['height']}"
        console.print(_points_table(title, group))
    console.print(_points_table(f"Mean over {len(clips)} clip{'s' if len(clips) != 1 else ''}", benchmark.means))
    console.print(
        "bpp: bits per pixel of luma. PSNR: global, in dB, YUV = (6 Y + U + V) / 8. fps: frames a second of wall time. "
        "MS-SSIM: none below 176 rows or columns. VMAF, NEG: nothing scaled. A measure that a clip lacks has no mean."
    )
    for anchor, rates in grouped(benchmark.bd_rates, lambda r: r["anchor"]).items():
        means = [mean for mean in benchmark.mean_bd_rates if mean["anchor"] == anchor]
        console.print(_bd_rate_table(f"BD-rate of {rates[0]['test']} against {anchor}", rates, means))
    if benchmark.bd_rates:
        console.print(f"{INTERPOLATION} interpolation of log bpp; overlap: common dB / all dB of both PSNR-YUV curves.")
    small = {rate["clip"] for rate in benchmark.bd_rates if rate["overlap"] < SMALL_OVERLAP}
    if small:
        console.print(
            f"[bold]Warning:[/bold] on {len(small)} clips an overlap is below {100 * SMALL_OVERLAP:.0f} %; "
            "there the BD-rate speaks for a part of the curves only."
        )


def point_cells(record: Record) -> list[str]:
    """Format a record or mean as text, one cell per column of `POINT_TITLES`."""
    rates = (record["num_frames"] / record[name] for name in ("encode_seconds", "decode_seconds"))
    numbers = [number_text(record.get(name), _DIGITS.get(name, 2)) for name in (*MEANS, *OPTIONAL_MEANS)]
    return [str(record["setting"]), *numbers, *(f"{rate:.1f}" for rate in rates)]


def number_text(value: float | None, digits: int) -> str:
    """Format a number; None gives an empty text."""
    return "" if value is None else f"{value:.{digits}f}"


def percent_text(value: float | None) -> str:
    """Format a BD-rate."""
    return "none" if value is None else f"{value:+.1f} %"


def _points_table(title: str, records: list[Record]) -> Table:
    table = _table(title, "codec", POINT_TITLES)
    for record in records:
        table.add_row(record["codec"], *point_cells(record))
    return table


def _bd_rate_table(title: str, rates: list[Record], means: list[Record]) -> Table:
    measures = [measure for measure in MEASURES if any(rate["measure"] == measure for rate in rates)]
    table = _table(title, "clip", [*map(MEASURES.__getitem__, measures), "over", "overlap"])
    for group in grouped(rates, lambda r: r["clip_sha256"]).values():
        by_measure = {rate["measure"]: rate for rate in group}
        psnr = by_measure["psnr_yuv"]
        span = "no common PSNR" if psnr["percent"] is None else f"{psnr['low']:.1f} to {psnr['high']:.1f} dB"
        cells = [percent_text(by_measure[m]["percent"]) if m in by_measure else "" for m in measures]
        table.add_row(escape(group[0]["clip"]), *cells, span, f"{100 * psnr['overlap']:.0f} %")
    percents = {mean["measure"]: percent_text(mean["percent"]) for mean in means}
    table.add_section()
    table.add_row("mean over clips", *(percents[measure] for measure in measures), "", "")
    return table


def _table(title: str, first: str, others: tuple[str, ...] | list[str]) -> Table:
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table
