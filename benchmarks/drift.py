"""Prints how far codes and pixels differ between processors, precisions, numbers of threads and heights of strips.

    python benchmarks/drift.py [--video FILE]

The first 32 frames are coded and decoded in float32 with two threads; everything else is compared with that. Lesser
processors are what `ATEN_CPU_CAPABILITY` and `ONEDNN_MAX_CPU_ISA` make of this one. Takes a minute.
"""

import os
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from vtok.codec import strips
from vtok.codec.chunk_coder import FRAMES_PER_CHUNK, ChunkDecoder, ChunkEncoder
from vtok.media.reader import VideoReader
from vtok.model.loading import shared_model
from vtok.networks.arithmetic import choose_arithmetic
from vtok.video.frame import Frame, VideoInfo

SAMPLE = Path(__file__).parents[1] / "sample_videos" / "bigbuckbunny.mp4"
NUM_FRAMES = 32
PROCESSORS = {
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "SSE4.1": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
}
WHOLE, SMALL = (strips.MAX_POSITIONS, strips.MIN_ROWS), (200, 1)


def encode(frames: list[Frame], info: VideoInfo, precision: str) -> NDArray[np.uint8]:
    """Codes `[T, n, H, W]`."""
    encoder = ChunkEncoder(shared_model(), info, 5, choose_arithmetic("cpu", precision))
    starts = range(0, len(frames), FRAMES_PER_CHUNK)
    return np.stack([encoder.encode(frames[start : start + FRAMES_PER_CHUNK]) for start in starts])


def decode(codes: NDArray[np.uint8], info: VideoInfo, precision: str) -> NDArray[np.uint8]:
    """All samples, one after the other."""
    decoder = ChunkDecoder(shared_model(), info, 5, choose_arithmetic("cpu", precision))
    frames = [frame for chunk in codes for frame in decoder.decode(chunk, range(FRAMES_PER_CHUNK))]
    return np.concatenate([plane.ravel() for frame in frames for plane in (frame.y, frame.u, frame.v)])


def show(name: str, values: NDArray[np.uint8], expected: NDArray[np.uint8]) -> None:
    """Print the largest difference and the share of values that differ."""
    differences = np.abs(values.astype(int) - expected)
    print(f"  {name:8} at most {differences.max()}, {(differences > 0).mean():.2g} of all differ", flush=True)


def main(video: Path = SAMPLE, expected: Path | None = None) -> None:
    """Measure `video`; with `expected`, the codes and pixels of another processor, compare with these only."""
    with VideoReader(video) as reader:
        info, frames = reader.info, list(islice(reader, NUM_FRAMES))
    torch.set_num_threads(2)
    if expected is not None:
        other = np.load(expected)
        show("codes", encode(frames, info, "float32"), other["codes"])
        show("pixels", decode(other["codes"], info, "float32"), other["pixels"])
        return
    codes = encode(frames, info, "float32")
    pixels = decode(codes, info, "float32")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "expected.npz"
        np.savez(path, codes=codes, pixels=pixels)
        for name, environment in PROCESSORS.items():
            print(name, flush=True)
            command = [sys.executable, __file__, "--video", str(video), "--expected", str(path)]
            subprocess.run(command, env=os.environ | environment, check=True)
    for precision in ("float32", "bfloat16"):
        for count in (1, 2, 3, 4):
            for height, (strips.MAX_POSITIONS, strips.MIN_ROWS) in (("whole", WHOLE), ("in strips", SMALL)):
                torch.set_num_threads(count)
                print(f"{precision}, {count} threads, {height}")
                show("codes", encode(frames, info, precision), codes)
                show("pixels", decode(codes, info, precision), pixels)


if __name__ == "__main__":
    typer.run(main)
