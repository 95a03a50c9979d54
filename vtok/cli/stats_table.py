"""The table that `vtok stats` prints."""

import numpy as np
from rich.console import Console
from rich.table import Table

from vtok.measure.code_usage import CodeUsage
from vtok.measure.ms_ssim import MIN_SIZE
from vtok.measure.psnr_ssim import Spread
from vtok.measure.stats import FileStats

Row = tuple[str, str]


def print_stats(stats: FileStats, console: Console) -> None:
    """Print `stats` as a table."""
    rate = f"{stats.kbit_per_second:.1f}" if stats.kbit_per_second else "unknown"
    rows: list[Row] = [
        ("frames", f"{stats.num_frames} of {stats.width} x {stats.height}, {stats.duration_seconds:.3f} s"),
        ("size", f"{stats.num_bytes} bytes"),
        ("bitrate", f"{rate} kbit/s"),
        ("bits per pixel", f"{stats.bits_per_pixel:.4f}"),
        ("ratio", f"{stats.compression_ratio:.1f} to raw 4:2:0, {stats.reference_ratio:.2f} to the reference file"),
        *_quality_rows(stats),
        ("decoding", f"{stats.decode_seconds:.2f} s, {stats.decoded_frames_per_second:.1f} frames/s"),
    ]
    if stats.codes:
        rows += [("model, quality", f"{stats.model}, {stats.model_quality:.3g}"), *_code_rows(stats.codes, stats)]
    table = Table(title=stats.compressed, show_header=False, title_justify="left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _quality_rows(stats: FileStats) -> list[Row]:
    quality, spread = stats.quality, stats.frame_spread
    rows = [
        ("PSNR-YUV (6:1:1)", f"{quality.psnr_yuv:.2f} dB global, {quality.psnr_yuv_mean:.2f} dB mean of frames"),
        ("  of frames", _spread(spread["psnr_yuv"], 2)),
        ("PSNR Y / U / V", f"{quality.psnr_y:.2f} / {quality.psnr_u:.2f} / {quality.psnr_v:.2f} dB"),
        ("SSIM Y", f"{quality.ssim_y:.4f}"),
        ("  of frames", _spread(spread["ssim_y"], 4)),
    ]
    if quality.ms_ssim_y is None:
        rows.append(("MS-SSIM Y", f"none: five scales need {MIN_SIZE} rows and columns or more"))
    else:
        rows += [("MS-SSIM Y", f"{quality.ms_ssim_y:.4f}"), ("  of frames", _spread(spread["ms_ssim_y"], 4))]
    if stats.vmaf is None or stats.vmaf_neg is None:
        rows.append(("VMAF", f"none: {stats.vmaf_missing}"))
    else:
        rows.append(("VMAF", f"{stats.vmaf:.2f}, NEG {stats.vmaf_neg:.2f}; nothing scaled"))
        rows.append(("  of frames", _spread(spread["vmaf"], 2)))
    return rows


def _code_rows(codes: CodeUsage, stats: FileStats) -> list[Row]:
    per_frame = [8e-3 * group.num_bytes / group.num_frames for group in codes.groups]
    return [
        ("codes", f"{codes.num_codes}, {100 * codes.zero_share:.1f} % zero"),
        ("bits per code", f"{codes.bits_per_code:.4f} stored, {codes.entropy_bits_per_code:.4f} channel entropy"),
        (
            "motion",
            f"{codes.num_motion_bytes} bytes, {100 * codes.num_motion_bytes / stats.num_bytes:.1f} % of the file",
        ),
        (
            "range coder",
            f"{codes.num_coded_bytes} bytes, {100 * codes.saved_share:.2f} % less than raw codes; "
            f"{100 * (8 * codes.num_coded_bytes / max(codes.ideal_bits, 1) - 1):.2f} % above the ideal",
        ),
        (
            "groups of frames",
            f"{len(codes.groups)}; {min(per_frame):.2f} to {max(per_frame):.2f} kbit per frame, "
            f"mean {8e-3 * (codes.num_coded_bytes + codes.num_motion_bytes) / stats.num_frames:.2f}",
        ),
        ("channels in use", f"{codes.num_used_channels} of {len(codes.channel_entropy_bits)}"),
        ("entropy by channel", _by_octave(codes.channel_entropy_bits) + "  bits, from 1, 2, 4, 8, ... on"),
        ("share of bits", _shares(codes.channel_bits) + "  %, of the same channels"),
    ]


def _spread(spread: Spread, digits: int) -> str:
    named = (("minimum", spread.minimum), ("p5", spread.p5), ("p50", spread.p50), ("p95", spread.p95))
    return ", ".join(f"{name} {value:.{digits}f}" for name, value in named)


def _octaves(values: list[float]) -> list[list[float]]:
    """Split the values of channels into those of channels 1, 2-3, 4-7, 8-15 and so on."""
    starts = [2**i - 1 for i in range(len(values).bit_length())]
    return [values[start : 2 * start + 1] for start in starts if start < len(values)]


def _by_octave(values: list[float]) -> str:
    return "  ".join(f"{np.mean(part):.2f}" for part in _octaves(values))


def _shares(bits: list[float]) -> str:
    return "  ".join(f"{100 * sum(part) / max(sum(bits), 1):.0f}" for part in _octaves(bits))
