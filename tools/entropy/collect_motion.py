"""Collect the motion that the encoder finds in videos, for `fit_motion_tables.py`.

    python tools/entropy/collect_motion.py FOLDER OUTPUT --every 2

Of each video, 40 frames are one group of five chunks. They are scaled down to one of several widths. What is found
depends on the weights, on the search and on its estimate of what vectors cost, that is, on the tables fitted before.
"""

from collections import deque
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from vtok.benchmark.clips import find_clips, scaled
from vtok.codec.chunk_coder import FRAMES_PER_CHUNK, ChunkEncoder
from vtok.media.reader import VideoReader
from vtok.model.loading import shared_model
from vtok.video.frame import Frame, VideoInfo

QUALITIES = (2, 4, 6, 8)
WIDTHS = (640, 320, 640, 960)  # in turn; narrower videos keep theirs
NUM_CHUNKS = 5
LAST_FRAME = 120  # the group ends here, or at the end of a shorter video: the beginning is often still


def collect(
    folder: Annotated[Path, typer.Argument(help="A folder of videos.")],
    output: Annotated[Path, typer.Argument(help="Folder of the .npz files, one for each video.")],
    every: Annotated[int, typer.Option(help="Take each video of this number.")] = 1,
) -> None:
    """Search for motion in the videos in FOLDER; those whose file exists in OUTPUT are done."""
    output.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(find_clips([folder])[::every]):
        target = output / f"{path.stem}.npz"
        if target.exists():
            continue
        info, frames = read(path, WIDTHS[number % len(WIDTHS)])
        fields = {f"fields_{quality}": search(info, frames, quality) for quality in QUALITIES}
        np.savez_compressed(target, **fields)  # type: ignore[arg-type]
        print(f"{path.name}: {info.width}x{info.height}", *(int((x[1:, -1] != 0).sum()) for x in fields.values()))


def read(path: Path, max_width: int) -> tuple[VideoInfo, list[Frame]]:
    """The frames of one group in whole chunks, and what they are."""
    reformatter = VideoReformatter()
    with VideoReader(path, allow_hdr=True) as reader:
        frames = deque(islice(reader, LAST_FRAME), maxlen=NUM_CHUNKS * FRAMES_PER_CHUNK)
        width = min(reader.info.width, max_width) // 2 * 2
        height = round(reader.info.height * width / reader.info.width / 2) * 2
        info = replace(reader.info, width=width, height=height)
        return info, [scaled(frame, reformatter, w=width, h=height) for frame in frames]


def search(info: VideoInfo, frames: list[Frame], quality: int) -> NDArray[np.int16]:
    """The fields that an encoder writes, `[chunks, 8, 2, rows, columns]`."""
    encoder = ChunkEncoder(shared_model(), info, quality)
    chunks = [frames[i : i + FRAMES_PER_CHUNK] for i in range(0, len(frames), FRAMES_PER_CHUNK)]
    return np.stack([encoder.encode(chunk).motion.fields for chunk in chunks])


if __name__ == "__main__":
    typer.run(collect)
