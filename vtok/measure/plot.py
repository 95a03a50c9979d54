"""Plots the quality and bits over time that `vtok.measure.stats.file_stats` measured."""

import io
import os
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from vtok.errors import ConfigError
from vtok.measure.stats import FileStats
from vtok.system.atomic import check_target, write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf", ".html")


def check_plot(path: str | os.PathLike[str], sources: list[Path], *, overwrite: bool) -> None:
    """Check what can be known before hours of measuring.

    Raises:
        VtokError: The suffix is unknown, matplotlib is missing, or the file exists and is not to be overwritten.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{path}: cannot be plotted to. Choose one of {', '.join(SUFFIXES)}.")
    check_target(path, sources, overwrite=overwrite)
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise ConfigError(f"{path}: plots need matplotlib. pip install matplotlib brings it.") from None


def write_plot(stats: FileStats, path: str | os.PathLike[str]) -> None:
    """Draw an image, or an HTML page that needs no other file; `path` appears when it is complete.

    Raises:
        VtokError: The suffix is unknown or matplotlib is missing. An existing file is replaced.
    """
    check_plot(path, [], overwrite=True)
    figure = _figure(stats)
    if Path(path).suffix.lower() == ".html":
        write_atomically(path, _page(stats, figure).encode())
    else:
        image = io.BytesIO()
        figure.savefig(image, format=Path(path).suffix.lower().removeprefix("."), dpi=120)
        write_atomically(path, image.getvalue())


def _figure(stats: FileStats) -> "Figure":
    from matplotlib.figure import Figure

    series = stats.frames
    curves: list[tuple[str, list[tuple[str, list[float] | None]]]] = [
        ("dB", [("PSNR-YUV", series.psnr_yuv), ("PSNR-Y", series.psnr_y)]),
        ("", [("SSIM-Y", series.ssim_y), ("MS-SSIM-Y", series.ms_ssim_y)]),
        ("", [("VMAF", series.vmaf), ("VMAF NEG", series.vmaf_neg)]),
    ]
    shown = [(unit, [(label, values) for label, values in named if values]) for unit, named in curves]
    shown = [(unit, named) for unit, named in shown if named]
    num_rows = len(shown) + bool(stats.codes)
    figure = Figure(figsize=(9, 2.2 * num_rows + 0.6), layout="constrained")
    all_axes = figure.subplots(num_rows, sharex=True, squeeze=False)[:, 0]
    for axes, (unit, named) in zip(all_axes, shown, strict=False):
        for label, values in named:
            axes.plot(series.seconds, values, linewidth=1, marker="." if len(values) == 1 else None, label=label)
        axes.set_ylabel(unit)
        axes.legend(loc="lower right")
    if stats.codes:
        groups = stats.codes.groups
        edges = [series.seconds[group.first_frame] for group in groups] + [stats.duration_seconds]
        edges[-1] = max(edges[-1], edges[-2])
        all_axes[-1].stairs([8e-3 * group.num_bytes / group.num_frames for group in groups], edges, fill=True)
        all_axes[-1].set_ylabel("kbit per frame")
    for axes in all_axes:
        axes.grid(visible=True, alpha=0.3)
    all_axes[-1].set_xlabel("seconds")
    figure.suptitle(_title(stats))
    return figure


def _title(stats: FileStats) -> str:
    rate = f", {stats.kbit_per_second:.0f} kbit/s" if stats.kbit_per_second else ""
    # A name may contain dollar signs, which matplotlib would take for mathematics.
    return f"{Path(stats.compressed).name}{rate}, PSNR-YUV {stats.quality.psnr_yuv:.2f} dB".replace("$", r"\$")


def _page(stats: FileStats, figure: "Figure") -> str:
    image = io.StringIO()
    figure.savefig(image, format="svg")
    svg = image.getvalue()
    svg = svg[svg.index("<svg") :]  # what precedes is the prologue of a separate file
    title = escape(f"{Path(stats.compressed).name} against {Path(stats.reference).name}")
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n</head>\n'
        f"<body>\n<h1>{title}</h1>\n{svg}</body>\n</html>\n"
    )
