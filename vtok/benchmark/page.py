"""The page of a benchmark: one HTML file that contains its style, script, numbers and pictures."""

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from vtok.benchmark.bd_rate import INTERPOLATION, MEASURES, SMALL_OVERLAP, Record, grouped
from vtok.benchmark.codecs import VTOK
from vtok.benchmark.page_parts import data_uri, palette_colours, table, table_row, template, whole_page
from vtok.benchmark.run import PICTURES, Benchmark
from vtok.benchmark.tables import POINT_TITLES, percent_text, point_cells
from vtok.benchmark.viewer import MAX_ERROR, PICTURE_QUALITY
from vtok.system.atomic import write_atomically

MAX_PICTURE_BYTES = 24_000_000
"""Limit of all pictures in a page, which base64 makes a third larger. Of frames that do not fit, the best go first."""
_SHOWN = {"psnr_yuv": ("dB", 2), "ms_ssim_y": ("", 4), "vmaf": ("", 2)}  # unit and digits


def write_page(benchmark: Benchmark, folder: Path, *, max_picture_bytes: int = MAX_PICTURE_BYTES) -> None:
    """Write `index.html` into the folder, which contains the pictures."""
    frames, num_left_out = _frames(benchmark.viewer, folder / PICTURES, max_picture_bytes)
    names = dict.fromkeys(name for frame in frames for name in frame["pictures"] + frame["maps"])
    codecs: list[str] = list(benchmark.settings["settings"])
    data = {
        "names": ["original", "vtok", "x264"],
        "right": 1,
        "codecs": codecs,
        "measures": [
            {"key": key, "label": MEASURES[key], "unit": unit, "digits": digits}
            for key, (unit, digits) in _SHOWN.items()
            if any(record[key] is not None for record in benchmark.results)
        ],
        "scopes": _scopes(benchmark),
        "frames": frames,
        "palette": palette_colours(),
    }
    first = benchmark.results[0]
    num_clips = len(benchmark.by_clip())
    main = template("page_report.html").substitute(
        cards=_cards(benchmark),
        viewer=_viewer(benchmark, frames, num_left_out),
        bd_text="Bits that the first codec needs more, or with a minus sign fewer, than the other at equal quality. "
        f"Faint: the two curves have less than {100 * SMALL_OVERLAP:.0f} % of their qualities in common.",
        bd_table=_bd_table(benchmark),
        points=_points(benchmark),
        method=_method(benchmark),
    )
    page = whole_page(
        title="Rate and distortion of vtok" if VTOK in codecs else "Rate and distortion",
        lead=f"{', '.join(codecs)} on the same pixels: {num_clips} clip{'s' if num_clips > 1 else ''}, up to "
        f"{first['max_frames']} frames each, at most {first['max_width']} pixels wide.",
        made=_made(benchmark),
        main=main,
        scripts=("page_curves.js", "page_viewer.js"),
        data=data,
        pictures={name: data_uri((folder / PICTURES / name).read_bytes(), Path(name).suffix) for name in names},
    )
    write_atomically(folder / "index.html", page.encode())


def _scopes(benchmark: Benchmark) -> list[dict[str, Any]]:
    """Curves of the means and of each clip, in the order of the codecs."""

    def curves(records: Iterable[Record]) -> list[list[dict[str, Any]]]:
        by_codec = grouped(records, lambda r: r["codec"])
        names = ("setting", "bpp", *_SHOWN)
        return [[{name: r[name] for name in names} for r in by_codec[c]] for c in benchmark.settings["settings"]]

    clips = benchmark.by_clip()
    mean = [{"name": f"the mean over {len(clips)} clips", "curves": curves(benchmark.means)}] if len(clips) > 1 else []
    return [*mean, *({"name": group[0]["clip"], "curves": curves(group)} for group in clips.values())]


def _frames(viewer: list[Record], pictures: Path, max_bytes: int) -> tuple[list[dict[str, Any]], int]:
    """As many frames for the viewer as fit, worst first, and the number of those that do not fit."""
    frames = [
        {
            "clip": record["clip"],
            "quality": record["setting"],
            "number": frame["number"],
            "isMedian": frame["is_median"],
            "psnr": frame["psnr_yuv"],
            "pictures": frame["pictures"],
            "maps": frame["maps"],
            "focus": frame["focus"],
            "width": record["width"],
            "height": record["height"],
            "caption": f"{record['clip']}, frame {frame['number']}. vtok quality {record['setting']}: "
            f"{record['bpp']:.4f} bits per pixel, {frame['psnr_yuv'][0]:.2f} dB. x264 {record['x264_preset']}, "
            f"crf {record['x264_crf']:g}: {record['x264_bpp']:.4f} bits per pixel, {frame['psnr_yuv'][1]:.2f} dB.",
        }
        for record in viewer
        for frame in record["frames"]
    ]
    frames.sort(key=lambda frame: frame["psnr"][0])
    sizes: dict[str, int] = {}
    for count, frame in enumerate(frames):
        sizes |= {name: (pictures / name).stat().st_size for name in frame["pictures"] + frame["maps"]}
        if sum(sizes.values()) > max_bytes:
            return frames[:count], len(frames) - count
    return frames, 0


def _made(benchmark: Benchmark) -> str:
    made = benchmark.made
    weights = f"the weights <b>{escape(str(made['model']))}</b> (SHA-256 <code>{made['weights_sha256']}</code>), "
    return (
        f"{made['date']}, vtok {made['vtok']} with {weights if made['model'] else ''}the other codecs of PyAV "
        f"{made['pyav']}; {made['threads']} threads for each, on a machine with {made['num_processors']} processors."
    )


def _cards(benchmark: Benchmark) -> str:
    cards = [
        f"<li><b>{percent_text(mean['percent'])}</b><span>bits of {escape(mean['test'])} against "
        f"{escape(mean['anchor'])}<br>at equal PSNR-YUV (BD-rate)</span></li>"
        for mean in benchmark.mean_bd_rates
        if mean["measure"] == "psnr_yuv"
    ]
    return f'<ul class="cards">{"".join(cards)}</ul>' if cards else ""


def _viewer(benchmark: Benchmark, frames: list[dict[str, Any]], num_left_out: int) -> str:
    if not frames:
        return ""
    off = max(abs(record["x264_bpp"] / record["bpp"] - 1) for record in benchmark.viewer)
    preset = escape(benchmark.viewer[0]["x264_preset"])
    text = (
        f"x264 {preset} was encoded once more for each clip and quality, its crf fitted until its "
        f"stream had as many bits as vtok's file; the largest difference is {100 * off:.1f} %. Of each clip and "
        "quality the worst frames of vtok by PSNR-YUV are shown, at least eight frames apart, and the median one. "
        f"Pictures are WebP of quality {PICTURE_QUALITY}; numbers and error maps are of the decoded pixels themselves."
    )
    if num_left_out:
        text += f" To keep this page small, the {num_left_out} best of these frames were left out."
    return template("page_viewer.html").substitute(heading="Frames at the same bitrate", text=text, max_error=MAX_ERROR)


def _bd_table(benchmark: Benchmark) -> str:
    rates = benchmark.bd_rates
    columns = list(dict.fromkeys((rate["anchor"], rate["measure"]) for rate in rates))
    if not columns:
        return "<p>There is only one codec.</p>"
    rows = []
    for group in grouped(rates, lambda r: r["clip_sha256"]).values():
        by_column = {(rate["anchor"], rate["measure"]): rate for rate in group}
        rows.append(table_row(group[0]["clip"], [_bd_cell(by_column.get(column)) for column in columns]))
    means = {(mean["anchor"], mean["measure"]): percent_text(mean["percent"]) for mean in benchmark.mean_bd_rates}
    rows.append(table_row("mean over clips", [f"<td>{means[column]}</td>" for column in columns], "mean"))
    titles = [f"{anchor}<br>{MEASURES[measure]}" for anchor, measure in columns]
    return table([f"{rates[0]['test']} against", *titles], rows)


def _bd_cell(rate: Record | None) -> str:
    if rate is None:
        return "<td></td>"
    faint = ' class="quiet"' if rate["overlap"] < SMALL_OVERLAP else ""
    return f'<td{faint} title="{100 * rate["overlap"]:.0f} % in common">{percent_text(rate["percent"])}</td>'


def _points(benchmark: Benchmark) -> str:
    clips = benchmark.by_clip()
    parts = [_point_table(benchmark.means)] if len(clips) > 1 else []
    for group in clips.values():
        first = group[0]
        title = f"{escape(first['clip'])}: {first['num_frames']} frames of {first['width']}x{first['height']}"
        is_open = " open" if len(clips) == 1 else ""
        parts.append(f"<details{is_open}><summary>{title}</summary>{_point_table(group)}</details>")
    if len(clips) > 1:
        parts.insert(0, f"<p>Means over {len(clips)} clips, each counting alike; then each clip.</p>")
    return "\n".join(parts)


def _point_table(records: list[Record]) -> str:
    """A table without the columns of measures that no record has."""
    cells = [point_cells(record) for record in records]
    columns = [n for n in range(len(POINT_TITLES)) if any(row[n] for row in cells)]
    rows, last = [], records[0]["codec"]
    for record, row in zip(records, cells, strict=True):
        kind = "new" if record["codec"] != last else ""
        rows.append(table_row(record["codec"], [f"<td>{row[n]}</td>" for n in columns], kind))
        last = record["codec"]
    return table(["codec", *(POINT_TITLES[n] for n in columns)], rows)


def _method(benchmark: Benchmark) -> str:
    threads = benchmark.settings["threads"]
    items = [
        "Every codec reads the same lossless file: the first frames of the clip, scaled by a bicubic filter.",
        "Bits per pixel are of the whole .vtok file, and of the other codecs' raw streams, without MP4's index and "
        "without the text in which encoders note their settings.",
        "PSNR-YUV is (6 Y + U + V) / 8 of the planes' PSNRs, each from the squared error over all frames. MS-SSIM is "
        "of luma, mean over frames, for clips of 176 rows and columns or more. VMAF is version 0.6.1, nothing scaled.",
        f"BD-rate: {INTERPOLATION} interpolation of log bits per pixel over PSNR-YUV, MS-SSIM in dB or VMAF, over what "
        "both curves reach. Settings that cost more than another and are no better are left out of a curve.",
        f"Codecs ran one after the other with {threads} threads each; fps are frames a second of wall time. Encoding "
        "includes reading the lossless file, and vtok's decoding includes writing one.",
    ]
    return f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"
