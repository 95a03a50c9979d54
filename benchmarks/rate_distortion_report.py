"""Tables, BD-rate and plot of what `rate_distortion.py` measured: a record is a dict for one (clip, codec, setting)."""

import csv
import importlib.util
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

Record = dict[str, Any]

INTERPOLATION = "akima"
SMALL_OVERLAP = 0.5
MEANS = ("bpp", "psnr_yuv", "psnr_y", "psnr_u", "psnr_v", "ssim_y")
"""What is averaged over clips, each clip counting alike."""
OPTIONAL_MEANS = ("ms_ssim_y", "vmaf", "vmaf_neg")
"""Likewise, if all clips have it: small frames have no MS-SSIM, and VMAF needs a program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BDRate:
    """Bytes that a codec needs more (or, negative, fewer) than an anchor at equal PSNR-YUV.

    `percent` is the mean over the dB from `low_db` to `high_db` that both curves reach, nan when there are none;
    `overlap` is the share of those in all the dB that either reaches, in [0, 1].
    """

    percent: float
    overlap: float
    low_db: float
    high_db: float


def bd_rate(anchor: list[Record], test: list[Record]) -> BDRate:
    """Bjontegaard-delta rate of `test` against `anchor`, both the records of one clip, in bpp over PSNR-YUV."""
    from bjontegaard import bd_rate as bjontegaard_bd_rate

    curves = [rising_curve(records) for records in (anchor, test)]
    low = max(min(psnr) for _, psnr in curves)
    high = min(max(psnr) for _, psnr in curves)
    total = max(max(psnr) for _, psnr in curves) - min(min(psnr) for _, psnr in curves)
    if high <= low:
        return BDRate(percent=math.nan, overlap=0.0, low_db=low, high_db=high)
    (anchor_bpp, anchor_psnr), (test_bpp, test_psnr) = curves
    percent = bjontegaard_bd_rate(
        anchor_bpp, anchor_psnr, test_bpp, test_psnr, method=INTERPOLATION, require_matching_points=False, min_overlap=0
    )
    return BDRate(percent=float(percent), overlap=(high - low) / total, low_db=low, high_db=high)


def rising_curve(records: Iterable[Record]) -> tuple[list[float], list[float]]:
    """Bits per pixel and PSNR-YUV in rising order, without settings that cost more than another and are no better.

    Interpolation needs PSNR to rise strictly, and no one would choose such a setting.
    """
    bpp: list[float] = []
    psnr: list[float] = []
    for record in sorted(records, key=lambda record: (record["bpp"], -record["psnr_yuv"])):
        if not psnr or record["psnr_yuv"] > psnr[-1]:
            bpp.append(record["bpp"])
            psnr.append(record["psnr_yuv"])
    return bpp, psnr


def mean_over_clips(records: list[Record]) -> list[Record]:
    """One record per (codec, setting): means of `MEANS`, sums of frames and seconds, the number of clips."""
    means = []
    for (codec, setting), group in _grouped(records, lambda r: (r["codec"], r["setting"])).items():
        mean: Record = {"codec": codec, "setting": setting, "num_clips": len(group)}
        mean |= {name: fmean(record[name] for record in group) for name in MEANS}
        mean |= {name: _mean_if_all(record.get(name) for record in group) for name in OPTIONAL_MEANS}
        mean |= {name: sum(r[name] for r in group) for name in ("num_frames", "encode_seconds", "decode_seconds")}
        means.append(mean)
    return means


def print_report(console: Console, records: list[Record], *, codecs: list[str]) -> None:
    """Print a table per clip, the means over all clips, and the BD-rate of the first codec against each other one."""
    for clip, group in _grouped(records, lambda r: r["clip"]).items():
        first = group[0]
        title = f"{clip}: {first['num_frames']} frames of {first['width']}x{first['height']}"
        console.print(_points_table(title, group))
    num_clips = len({record["clip_sha256"] for record in records})
    console.print(_points_table(f"Mean over {num_clips} clips", mean_over_clips(records)))
    console.print(
        "bpp: bits per pixel of luma. PSNR: global, in dB, YUV = (6 Y + U + V) / 8. fps: frames a second of wall time. "
        "MS-SSIM: none below 176 rows or columns. VMAF, NEG: nothing scaled. A measure that a clip lacks has no mean."
    )
    if len(codecs) > 1 and importlib.util.find_spec("bjontegaard") is None:
        console.print(
            "No BD-rate: it needs the package bjontegaard; pip install -e '.[bench]' brings it.", markup=False
        )
        return
    for anchor in codecs[1:]:
        _print_bd_rates(console, records, test=codecs[0], anchor=anchor)


def write_csv(file: TextIO, records: list[Record]) -> None:
    """Write every record as one line, with a header."""
    fields = dict.fromkeys(name for record in records for name in record)  # older records may lack the newest
    writer = csv.DictWriter(file, fieldnames=list(fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)


def write_plot(path: Path, records: list[Record]) -> None:
    """Draw PSNR-YUV over bits per pixel: the means bold, each clip faint."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    means = _grouped(mean_over_clips(records), lambda r: r["codec"])
    for n, (codec, group) in enumerate(means.items()):
        clips = _grouped((r for r in records if r["codec"] == codec), lambda r: r["clip_sha256"])
        for clip_group in clips.values():
            axes.plot(*rising_curve(clip_group), color=f"C{n}", alpha=0.2, linewidth=0.8)
        axes.plot(*rising_curve(group), color=f"C{n}", marker="o", label=codec)
    axes.set(xscale="log", xlabel="bits per pixel", ylabel="PSNR-YUV (6:1:1), dB", title="Mean over clips; faint: each")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def _points_table(title: str, records: list[Record]) -> Table:
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    table.add_column("codec")
    for name in (
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
    ):
        table.add_column(name, justify="right")
    for r in records:
        row = [f"{r['bpp']:.4f}", *(f"{r[name]:.2f}" for name in MEANS[1:5]), f"{r['ssim_y']:.4f}"]
        row += [_cell(r.get(name), digits) for name, digits in zip(OPTIONAL_MEANS, (4, 2, 2), strict=True)]
        row += [f"{r['num_frames'] / r[name]:.1f}" for name in ("encode_seconds", "decode_seconds")]
        table.add_row(r["codec"], str(r["setting"]), *row)
    return table


def _cell(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _mean_if_all(values: Iterable[float | None]) -> float | None:
    """Means over different clips would not compare: one value that is missing, and there is none."""
    known = list(values)
    present = [value for value in known if value is not None]
    return fmean(present) if len(present) == len(known) else None


def _print_bd_rates(console: Console, records: list[Record], *, test: str, anchor: str) -> None:
    table = Table(title=f"BD-rate of {test} against {anchor}", title_justify="left", title_style="bold")
    table.add_column("clip")
    for name in ("BD-rate", "over", "overlap"):
        table.add_column(name, justify="right")
    percents, small = [], 0
    for group in _grouped(records, lambda r: r["clip_sha256"]).values():
        curves = [[r for r in group if r["codec"] == codec] for codec in (anchor, test)]
        bd = bd_rate(*curves)
        small += bd.overlap < SMALL_OVERLAP
        if math.isnan(bd.percent):
            table.add_row(escape(group[0]["clip"]), "none", "no common PSNR", "0 %")
            continue
        percents.append(bd.percent)
        span = f"{bd.low_db:.1f} to {bd.high_db:.1f} dB"
        table.add_row(escape(group[0]["clip"]), f"{bd.percent:+.1f} %", span, f"{100 * bd.overlap:.0f} %")
    if percents:
        table.add_section()
        table.add_row(f"mean of {len(percents)} clips", f"{fmean(percents):+.1f} %", "", "")
    console.print(table)
    console.print(
        f"{INTERPOLATION} interpolation of log bpp over PSNR-YUV; overlap: common dB / all dB of both curves."
    )
    if small:
        console.print(
            f"[bold]Warning:[/bold] on {small} clips the overlap is below {100 * SMALL_OVERLAP:.0f} %; "
            "there the BD-rate speaks for a part of the curves only."
        )


def _grouped(records: Iterable[Record], key: Callable[[Record], Any]) -> dict[Any, list[Record]]:
    """Records by key, in order of first appearance."""
    groups: dict[Any, list[Record]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return groups
