"""Rate-distortion curves of records, their means over clips, and Bjontegaard-delta rates between them."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

Record = dict[str, Any]

INTERPOLATION = "akima"
SMALL_OVERLAP = 0.5
MEASURES = {"psnr_yuv": "PSNR-YUV", "ms_ssim_y": "MS-SSIM", "vmaf": "VMAF"}
"""The measures of BD-rates, with their names for people."""
MEANS = ("bpp", "psnr_yuv", "psnr_y", "psnr_u", "psnr_v", "ssim_y")
"""The measures that are averaged over clips; each clip has the same weight."""
OPTIONAL_MEANS = ("ms_ssim_y", "vmaf", "vmaf_neg")
"""The measures that are averaged over clips if all clips have them: small frames lack MS-SSIM, VMAF needs a program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BDRate:
    """Bytes that a codec needs more (or, if negative, fewer) than an anchor at equal quality.

    `percent` is the mean over the qualities from `low` to `high` that both curves reach, nan if there are none.
    `overlap` is the share of those qualities in all that either curve reaches, in [0, 1]. Qualities are in dB of
    PSNR-YUV, in -10 log10(1 - x) of an MS-SSIM of x, or in points of VMAF.
    """

    percent: float
    overlap: float
    low: float
    high: float


def bd_rate(anchor: list[Record], test: list[Record], measure: str = "psnr_yuv") -> BDRate | None:
    """Rate of `test` against `anchor`, both the records of one clip; None where a record lacks the measure.

    Needs the package bjontegaard (Bjontegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33).
    """
    from bjontegaard import bd_rate as bjontegaard_bd_rate

    if any(record.get(measure) is None for record in anchor + test):
        return None
    curves = [rising_curve(records, measure) for records in (anchor, test)]
    (anchor_bpp, anchor_quality), (test_bpp, test_quality) = curves
    low, high = max(anchor_quality[0], test_quality[0]), min(anchor_quality[-1], test_quality[-1])
    total = max(anchor_quality[-1], test_quality[-1]) - min(anchor_quality[0], test_quality[0])
    if high <= low or min(map(len, (anchor_bpp, test_bpp))) < 2:
        return BDRate(percent=math.nan, overlap=0.0, low=low, high=high)
    percent = bjontegaard_bd_rate(
        anchor_bpp,
        anchor_quality,
        test_bpp,
        test_quality,
        method=INTERPOLATION,
        require_matching_points=False,
        min_overlap=0,
    )
    return BDRate(percent=float(percent), overlap=(high - low) / total, low=low, high=high)


def rising_curve(records: Iterable[Record], measure: str = "psnr_yuv") -> tuple[list[float], list[float]]:
    """Bits per pixel and quality in rising order, without settings that cost more than another and are no better.

    Interpolation needs strictly rising quality, and no one would choose such a setting.
    """
    bpp: list[float] = []
    quality: list[float] = []
    points = ((record["bpp"], _linear(record[measure], measure)) for record in records)
    for rate, value in sorted(points, key=lambda point: (point[0], -point[1])):
        if not quality or value > quality[-1]:
            bpp.append(rate)
            quality.append(value)
    return bpp, quality


def bd_rates(records: list[Record], codecs: list[str]) -> list[Record]:
    """BD-rates of the first codec against each of the others, per clip and measure that the clip has.

    Each record has `clip`, `clip_sha256`, `test`, `anchor`, `measure` and the attributes of `BDRate`; `percent` is None
    for nan.
    """
    rates = []
    for sha256, group in grouped(records, lambda r: r["clip_sha256"]).items():
        curves = grouped(group, lambda r: r["codec"])
        for anchor in codecs[1:]:
            for measure in MEASURES:
                bd = bd_rate(curves[anchor], curves[codecs[0]], measure)
                if bd is not None:
                    percent = None if math.isnan(bd.percent) else bd.percent
                    names = {"clip": group[0]["clip"], "clip_sha256": sha256, "test": codecs[0], "anchor": anchor}
                    numbers = {"percent": percent, "overlap": bd.overlap, "low": bd.low, "high": bd.high}
                    rates.append({**names, "measure": measure, **numbers})
    return rates


def mean_bd_rates(rates: list[Record]) -> list[Record]:
    """Means of `bd_rates` over the clips that have one, per anchor and measure, with `num_clips`."""
    means = []
    for (test, anchor, measure), group in grouped(rates, lambda r: (r["test"], r["anchor"], r["measure"])).items():
        percents = [rate["percent"] for rate in group if rate["percent"] is not None]
        mean = fmean(percents) if percents else None
        numbers = {"percent": mean, "num_clips": len(percents)}
        means.append({"test": test, "anchor": anchor, "measure": measure, **numbers})
    return means


def mean_over_clips(records: list[Record]) -> list[Record]:
    """One record per (codec, setting): means of `MEANS`, sums of frames and seconds, the number of clips."""
    means = []
    for (codec, setting), group in grouped(records, lambda r: (r["codec"], r["setting"])).items():
        mean: Record = {"codec": codec, "setting": setting, "num_clips": len(group)}
        mean |= {name: fmean(record[name] for record in group) for name in MEANS}
        mean |= {name: _mean_if_all(record.get(name) for record in group) for name in OPTIONAL_MEANS}
        mean |= {name: sum(r[name] for r in group) for name in ("num_frames", "encode_seconds", "decode_seconds")}
        means.append(mean)
    return means


def grouped(records: Iterable[Record], key: Callable[[Record], Any]) -> dict[Any, list[Record]]:
    """Group records by key, in order of first appearance."""
    groups: dict[Any, list[Record]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return groups


def _linear(value: float, measure: str) -> float:
    """Convert MS-SSIM to dB, where its differences are comparable along the curve: as such it crowds below 1."""
    return -10 * math.log10(max(1 - value, 1e-10)) if measure == "ms_ssim_y" else value


def _mean_if_all(values: Iterable[float | None]) -> float | None:
    """The mean, or None if a value is missing, because means over different clips would not be comparable."""
    known = list(values)
    present = [value for value in known if value is not None]
    return fmean(present) if len(present) == len(known) else None
