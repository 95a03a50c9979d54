"""Draws a preview: as one image, or as a page with the viewer of `vtok bench`."""

import io
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image

from vtok.benchmark.page_parts import data_uri, palette_colours, table, table_row, template, whole_page
from vtok.benchmark.viewer import (
    MAX_ERROR,
    PICTURE_QUALITY,
    error_map,
    focus_of,
    map_bytes,
    picture_bytes,
)
from vtok.measure.comparison import text_plane
from vtok.media.pixels import rgb_from_planes
from vtok.version import __version__
from vtok.video.frame import Frame, Plane, VideoInfo

if TYPE_CHECKING:
    from vtok.benchmark.preview import Preview, Shown

_COLUMNS = 3
_GAP = 4
_BAR = 26  # rows of a label


def drawn(preview: "Preview", info: VideoInfo, shown: "list[Shown]") -> bytes:
    """The image or the page, as the suffix of the preview's target says."""
    is_page = Path(preview.target).suffix.lower() == ".html"
    return _page(preview, info, shown).encode() if is_page else _image(preview, info, shown)


def _image(preview: "Preview", info: VideoInfo, shown: "list[Shown]") -> bytes:
    """A PNG of the source and what it decodes to, each pixel as it is, under labels."""
    name = f"{Path(preview.source).name} at {preview.seconds:.3g} s"
    labels = [name, *(point.label() for point in preview.points)]
    tiles = [
        _tile(frame, info, label)
        for frame, label in zip([shown[0].original, *(each.decoded for each in shown)], labels, strict=True)
    ]
    height, width, _ = tiles[0].shape
    num_rows = -(-len(tiles) // _COLUMNS)
    sheet = np.zeros((num_rows * height, _COLUMNS * (width + _GAP) - _GAP, 3), np.uint8)
    for number, tile in enumerate(tiles):
        top, left = number // _COLUMNS * height, number % _COLUMNS * (width + _GAP)
        sheet[top : top + height, left : left + width] = tile
    target = io.BytesIO()
    Image.fromarray(sheet).save(target, "PNG", optimize=True)
    return target.getvalue()


def _tile(frame: Frame, info: VideoInfo, label: str) -> Plane:
    """A frame under its label, RGB, uint8 `[_BAR + h, w, 3]`."""
    bar = np.repeat(text_plane(label, info.width, _BAR)[..., None], 3, axis=2)
    tile: Plane = np.concatenate([bar, rgb_from_planes(frame, info, VideoReformatter())])
    return tile


def _page(preview: "Preview", info: VideoInfo, shown: "list[Shown]") -> str:
    name = Path(preview.source).name
    names = ["original", *(f"quality {point.quality}" for point in preview.points)]
    maps = [error_map(each.original, each.decoded) for each in shown]
    decoded = zip(names[1:], shown, maps, strict=True)
    pictures = {"original.webp": data_uri(picture_bytes(shown[0].original, info), ".webp")}
    for title, each, errors in decoded:
        pictures[f"{title}.webp"] = data_uri(picture_bytes(each.decoded, info), ".webp")
        pictures[f"{title}.png"] = data_uri(map_bytes(errors), ".png")
    middle = len(shown) // 2
    frame = {
        "clip": name,
        "quality": 0,
        "number": 0,
        "isMedian": False,
        "psnr": [point.frame_psnr_yuv for point in preview.points],
        "pictures": [f"{title}.webp" for title in names],
        "maps": [f"{title}.png" for title in names[1:]],
        "focus": focus_of(maps[middle], info),
        "width": info.width,
        "height": info.height,
        "caption": f"{name} at {preview.seconds:.3f} s. " + ". ".join(p.label() for p in preview.points) + ".",
    }
    viewer = template("page_viewer.html").substitute(
        heading="One frame at five qualities",
        text=f"The frame at {preview.seconds:.3f} s, {info.width}x{info.height}. Pictures are WebP of quality "
        f"{PICTURE_QUALITY}; numbers and error maps are of the decoded pixels themselves.",
        max_error=MAX_ERROR,
    )
    return whole_page(
        title=f"Preview of {name}",
        lead="One frame, and what the whole file would come to.",
        made=escape(f"vtok {__version__}"),
        main=template("page_preview.html").substitute(
            files_text="Estimated by up to four groups of frames at quality 5, and by the group of this frame at the "
            "other qualities. Sound is counted.",
            files=_files(preview),
            viewer=viewer,
        ),
        scripts=("page_viewer.js",),
        data={"names": names, "right": 1 + middle, "frames": [frame], "palette": palette_colours()},
        pictures=pictures,
    )


def _files(preview: "Preview") -> str:
    rows = []
    for point in preview.points:
        rate = f"{point.kbit_per_second:.0f}" if point.kbit_per_second else ""
        cells = (f"{point.num_bytes / 1e6:.3g}", rate, f"{point.psnr_yuv:.2f}", f"{point.frame_psnr_yuv:.2f}")
        rows.append(table_row(f"quality {point.quality}", [f"<td>{cell}</td>" for cell in cells]))
    return table(["", "MB", "kbit/s", "PSNR-YUV, dB", "PSNR-YUV of this frame, dB"], rows)
