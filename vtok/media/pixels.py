"""Frames from and to FFmpeg's pixel formats.

Nearly all video is stored as 8-bit YCbCr 4:2:0, so its samples pass through unchanged. Every other pixel format is
converted once, here.
"""

import numpy as np
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import Interpolation, VideoReformatter

from vtok.video.frame import BT601, BT709, FULL_RANGE, LIMITED_RANGE, Frame, Plane, VideoInfo, guessed_matrix

# Matrices that swscale numbers differently: FCC, BT.601 (Europe, America), SMPTE 240M, BT.2020 (both kinds).
_SWSCALE_MATRICES = {BT709: 1, 4: 4, 5: 5, BT601: 5, 7: 7, 9: 9, 10: 9}
_SWSCALE_FLAGS = int(Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT)
_IDENTITY = 0  # H.273 matrix of RGB
_READ_AS_THEY_ARE = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "gray")


def is_rgb(pixel_format: VideoFormat) -> bool:
    """Whether the samples are red, green and blue, or indices into a palette of such colours."""
    return pixel_format.is_rgb or pixel_format.has_palette


def is_gray(pixel_format: VideoFormat) -> bool:
    """Whether there is luma only, perhaps with alpha."""
    return not is_rgb(pixel_format) and sum(not component.is_alpha for component in pixel_format.components) == 1


def conversion(pixel_format: VideoFormat) -> str | None:
    """One line that says what converting a pixel format to 8-bit 4:2:0 loses, or None if nothing is lost."""
    name = pixel_format.name
    if name in ("yuv420p", "yuvj420p"):
        return None
    changes = []
    if is_rgb(pixel_format):
        changes.append("RGB to YCbCr")
    elif is_gray(pixel_format):
        changes.append("gray to YCbCr without colour")
    if (depth := max(component.bits for component in pixel_format.components)) > 8:
        changes.append(f"{depth} bits to 8")
    grids = {(16, 16): "4:4:4", (8, 16): "4:2:2", (16, 8): "4:4:0", (4, 16): "4:1:1", (4, 4): "4:1:0"}
    grid = grids.get((pixel_format.chroma_width(16), pixel_format.chroma_height(16)))
    if grid and not is_gray(pixel_format):
        changes.append(f"chroma {grid} to 4:2:0")
    if any(component.is_alpha for component in pixel_format.components):
        changes.append("its alpha channel dropped")
    return f"pixel format {name} converted to yuv420p" + (f": {', '.join(changes)}" if changes else "")


def converted_colors(frame: VideoFrame) -> tuple[int, int]:
    """Return range and matrix of the planes that `planes_420` gives for this frame.

    They are those of the source, with two exceptions. RGB gets the limited range and a matrix (BT.709 from 720 rows on,
    else BT.601, as players assume), which also stands in for the matrix of RGB where the samples are none. Gray and the
    old "yuvj" formats mean the full range unless they say otherwise.
    """
    matrix = int(frame.colorspace)
    if is_rgb(frame.format):
        return LIMITED_RANGE, guessed_matrix(frame.height)
    if matrix == _IDENTITY:
        matrix = guessed_matrix(frame.height)
    implies_full = frame.format.name.startswith("yuvj") or is_gray(frame.format)
    return int(frame.color_range) or (FULL_RANGE if implies_full else 0), matrix


def planes_420(
    frame: VideoFrame, reformatter: VideoReformatter, color_range: int | None = None
) -> tuple[Plane, Plane, Plane]:
    """Copy a picture out of FFmpeg as 4:2:0: y uint8 `[h, w]`, u and v uint8 `[ceil(h/2), ceil(w/2)]`.

    With a `color_range`, pictures of another range are converted to it.
    """
    is_full, size = converted_colors(frame)[0] == FULL_RANGE, ((frame.height + 1) // 2, (frame.width + 1) // 2)
    if frame.format.name not in _READ_AS_THEY_ARE:
        frame = _to_planar_8_bit(frame, reformatter)
    planes = [_rows(frame.planes[0]).copy()]
    if len(frame.planes) == 1:
        planes += (np.full(size, 128, np.uint8) for _ in "uv")
    else:
        planes += (_average_down(_rows(plane), size) for plane in frame.planes[1:3])
    if color_range is not None and is_full != (color_range == FULL_RANGE):
        planes = [_to_other_range(plane, is_full, is_chroma=number > 0) for number, plane in enumerate(planes)]
    return planes[0], planes[1], planes[2]


def _to_other_range(plane: Plane, is_full: bool, *, is_chroma: bool) -> Plane:
    """Convert samples from full to limited range, or back."""
    span, full_zero, limited_zero = (224, 128, 128) if is_chroma else (219, 0, 16)
    values = np.arange(256)
    if is_full:
        table = limited_zero + (values - full_zero) * span / 255
    else:
        table = full_zero + (values - limited_zero) * 255 / span
    converted: Plane = table.round().clip(0, 255).astype(np.uint8)[plane]
    return converted


def frame_from_planes(frame: Frame, pixel_format: str) -> VideoFrame:
    """Copy a picture into an FFmpeg frame of `yuv420p`, or of `yuv444p` with each chroma sample repeated."""
    height, width = frame.y.shape
    picture = VideoFrame(width, height, pixel_format)
    planes = [frame.y, frame.u, frame.v]
    if pixel_format == "yuv444p":
        planes[1:] = (chroma.repeat(2, axis=0).repeat(2, axis=1)[:height, :width] for chroma in planes[1:])
    for target, source in zip(picture.planes, planes, strict=True):
        _rows(target)[:] = source
    return picture


def rgb_from_planes(frame: Frame, info: VideoInfo, reformatter: VideoReformatter) -> Plane:
    """Convert a picture to full-range RGB, uint8 `[h, w, 3]`; an unspecified matrix is guessed as players do."""
    matrix = _SWSCALE_MATRICES.get(info.color_matrix, _SWSCALE_MATRICES[guessed_matrix(info.height)])
    picture = reformatter.reformat(
        frame_from_planes(frame, "yuv420p"),
        format="rgb24",
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=FULL_RANGE if info.is_full_range else LIMITED_RANGE,  # a file may declare anything else
        dst_color_range=FULL_RANGE,
        interpolation=_SWSCALE_FLAGS | int(Interpolation.FULL_CHR_H_INT),  # else white is 253
        threads=1,
    )
    return np.asarray(picture.to_ndarray(), np.uint8)


def jpeg_from_planes(frame: Frame, info: VideoInfo, reformatter: VideoReformatter) -> VideoFrame:
    """Convert a picture to the colours of JPEG files: full range and the matrix of BT.601 (JFIF 1.02)."""
    matrix = _SWSCALE_MATRICES.get(info.color_matrix, _SWSCALE_MATRICES[guessed_matrix(info.height)])
    return reformatter.reformat(
        frame_from_planes(frame, "yuv420p"),
        format="yuvj420p",
        src_colorspace=matrix,
        dst_colorspace=_SWSCALE_MATRICES[BT601],
        src_color_range=info.color_range or LIMITED_RANGE,
        dst_color_range=FULL_RANGE,
        interpolation=_SWSCALE_FLAGS,
        threads=1,
    )


def _rows(plane: VideoPlane) -> Plane:
    """View a plane as uint8 `[height, width]`, without the padding at the end of its lines."""
    lines: Plane = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, abs(plane.line_size))
    if plane.line_size < 0:  # a picture stored bottom-up
        lines = lines[::-1]
    return lines[:, : plane.width]


def _average_down(plane: Plane, size: tuple[int, int]) -> Plane:
    """Halve the axes of a chroma plane that exceed `size`, by the mean of neighbours; an odd last line stands alone.

    swscale would stretch odd sizes a little. This way, 4:4:4 made by `frame_from_planes` comes back exactly.
    """
    total, count = plane.astype(np.uint16), 1
    if total.shape[0] > size[0]:
        total = np.pad(total, ((0, total.shape[0] % 2), (0, 0)), mode="edge")
        total, count = total[0::2] + total[1::2], 2 * count
    if total.shape[1] > size[1]:
        total = np.pad(total, ((0, 0), (0, total.shape[1] % 2)), mode="edge")
        total, count = total[:, 0::2] + total[:, 1::2], 2 * count
    return ((total + count // 2) // count).astype(np.uint8)


def _to_planar_8_bit(frame: VideoFrame, reformatter: VideoReformatter) -> VideoFrame:
    """Convert depth, packing and RGB with swscale. The chroma grid stays where `_average_down` can reduce it."""
    source = frame.format
    color_range, matrix = converted_colors(frame)
    if is_gray(source):
        target, color_range = "gray", FULL_RANGE  # swscale takes gray as full range whatever range is set
    else:
        grid = source.chroma_width(16), source.chroma_height(16)
        target = {(8, 8): "yuv420p", (8, 16): "yuv422p"}.get(grid, "yuv444p")
    # swscale leaves YCbCr values alone if matrices and ranges are equal on both sides; it takes unspecified as limited.
    color_range = color_range or LIMITED_RANGE
    swscale_matrix = _SWSCALE_MATRICES.get(matrix, _SWSCALE_MATRICES[BT709])
    return reformatter.reformat(
        frame,
        format=target,
        src_colorspace=None if is_rgb(source) else swscale_matrix,
        dst_colorspace=swscale_matrix,
        src_color_range=FULL_RANGE if is_rgb(source) else color_range,
        dst_color_range=color_range,
        interpolation=_SWSCALE_FLAGS,
        threads=1,
    )
