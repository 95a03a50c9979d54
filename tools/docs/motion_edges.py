"""Looks at the edges between blocks that move differently: nothing of them should be seen in decoded frames."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from generate_quality import side_by_side
from numpy.typing import NDArray
from PIL import Image
from weaknesses import WINDOW, Subject

import vtok
from vtok.codec.compressed_video import CompressedVideo
from vtok.media.reader import VideoReader
from vtok.model.tokenizer import VideoTokenizer
from vtok.video.motion import BLOCK, UNITS, Vectors

LARGE = UNITS  # quarters of a pixel by which vectors differ at an edge: a pixel
_HALF = BLOCK // 2

Lumas = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Edges:
    """What happens at the edges of motion of one clip at one quality.

    Attributes:
        share: The share of edges between blocks where vectors differ by a pixel or more.
        ratio: Mean change of the error of luma across those edges, divided by that in the middle of their blocks; 1 if
            the edges cannot be seen. None if there are none.
    """

    share: float
    ratio: float | None


def measure_edges(source: Lumas, decoded: Lumas, motion: Vectors, first_frames: Sequence[int]) -> Edges:
    """Compare errors across edges of motion with errors beside them.

    Args:
        source: Luma of the frames, `[t, h, w]`.
        decoded: The same of the decoded ones.
        motion: The fields of the chunks, `[T, 8, 2, rows, columns]`.
        first_frames: Number of each chunk's first frame.
    """
    errors = decoded.astype(np.float32) - source
    across, beside = [], []
    num_edges = 0
    bounds = [*first_frames, len(source)]
    for chunk, fields in enumerate(motion):
        own = errors[bounds[chunk] : bounds[chunk + 1]]
        for turned, vectors in ((own, fields), (own.transpose(0, 2, 1), fields.transpose(0, 1, 3, 2))):
            differs = np.abs(np.diff(vectors.astype(int), axis=-1)).sum(1).max(0) >= LARGE  # [rows, columns - 1]
            num_edges += differs.size
            jumps = np.abs(np.diff(turned, axis=2)).mean(0)  # [h, w - 1]
            for row, column in np.argwhere(differs):
                rows = slice(row * BLOCK, (row + 1) * BLOCK)
                edge = (column + 1) * BLOCK - 1
                if edge + _HALF < jumps.shape[1]:
                    across.append(jumps[rows, edge].mean())
                    beside += [jumps[rows, edge - _HALF].mean(), jumps[rows, edge + _HALF].mean()]
    ratio = float(np.mean(across) / max(np.mean(beside), 1e-9)) if across else None
    return Edges(len(across) / max(num_edges, 1), ratio)


def busiest_window(motion: Vectors, size: tuple[int, int]) -> tuple[int, int, int]:
    """The chunk, and the first column and row of the part of a frame of `size` (h, w) with the largest differences."""
    fields = motion.astype(int)
    rough = np.zeros((len(fields), *fields.shape[-2:]))
    rough[:, :, 1:] += np.minimum(np.abs(np.diff(fields, axis=-1)).sum((1, 2)), 100)
    rough[:, 1:] += np.minimum(np.abs(np.diff(fields, axis=-2)).sum((1, 2)), 100)
    columns, rows = (max(1, side // BLOCK) for side in WINDOW)
    shape = min(rows, rough.shape[1]), min(columns, rough.shape[2])
    sums = np.lib.stride_tricks.sliding_window_view(rough, shape, (1, 2)).sum((3, 4))
    chunk, row, column = np.unravel_index(int(sums.argmax()), sums.shape)
    left = min(int(column) * BLOCK, max(0, size[1] - WINDOW[0]))
    return int(chunk), left, min(int(row) * BLOCK, max(0, size[0] - WINDOW[1]))


def picture_of_edges(
    subject: Subject, qualities: Sequence[int], num_frames: int, tokenizer: VideoTokenizer | None
) -> tuple[list[Edges], Image.Image]:
    """Measure a clip at some qualities; draw where its motion is most uneven: the source, then each quality."""
    with tempfile.TemporaryDirectory(prefix="vtok-card-") as temporary:
        reference = Path(temporary) / "reference.mkv"
        subject.write(reference, num_frames)
        with VideoReader(reference) as reader:
            source = np.stack([frame.y for frame in reader])
        crops: list[Image.Image] = []
        labels, edges = [["source"]], []
        place: tuple[int, int, int] | None = None
        for quality in qualities:
            coded = Path(temporary) / f"{quality}.vtok"
            vtok.encode_file(reference, coded, quality=quality, tokenizer=tokenizer)
            with CompressedVideo(coded, tokenizer=tokenizer) as video:
                latents = list(video.latent_frames())
                decoded = np.stack([frame.y for frame in video])
            motion = np.stack([latent.tokens.motion.fields for latent in latents])
            first_frames = [latent.first_frame for latent in latents]
            edges.append(measure_edges(source, decoded, motion, first_frames))
            chunk, left, top = place = place or busiest_window(motion, source.shape[1:])
            number = first_frames[chunk] + 3
            if not crops:
                crops.append(_crop(source[number], left, top))
            crops.append(_crop(decoded[number], left, top))
            labels.append([f"vtok, quality {quality}"])
        part = f"{WINDOW[0]}x{WINDOW[1]} pixels from ({left}, {top}) on"
        return edges, side_by_side(crops, labels, f"luma of frame {number}, {part}")


def _crop(luma: NDArray[np.uint8], left: int, top: int) -> Image.Image:
    crop = Image.fromarray(luma).crop((left, top, left + WINDOW[0], top + WINDOW[1])).convert("RGB")
    return crop.resize((2 * WINDOW[0], 2 * WINDOW[1]), Image.Resampling.NEAREST)
