"""Prints how far pixels differ between processors, precisions, numbers of threads and heights of strips.

    python benchmarks/drift.py [--video FILE]

The first frames are coded and decoded in float32 with two threads; everything else is compared with that. Lesser
processors are what `ATEN_CPU_CAPABILITY` and `ONEDNN_MAX_CPU_ISA` make of this one. Takes a minute.
"""

import os
import pickle
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
from vtok.codec.chunk_tokens import ChunkTokens
from vtok.media.reader import VideoReader
from vtok.model.loading import shared_model
from vtok.networks.arithmetic import choose_arithmetic
from vtok.video.frame import Frame, VideoInfo

SAMPLE = Path(__file__).parents[1] / "sample_videos" / "bigbuckbunny.mp4"
NUM_FRAMES = 96  # a group of four seconds
PROCESSORS = {
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "SSE4.1": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
}
WHOLE, SMALL = (strips.MAX_POSITIONS, strips.MIN_ROWS), (200, 1)


def encode(frames: list[Frame], info: VideoInfo, precision: str) -> list[ChunkTokens]:
    """The tokens of one group."""
    encoder = ChunkEncoder(shared_model(), info, 5, choose_arithmetic("cpu", precision))
    starts = range(0, len(frames), FRAMES_PER_CHUNK)
    return [encoder.encode(frames[start : start + FRAMES_PER_CHUNK]) for start in starts]


def decode(tokens: list[ChunkTokens], info: VideoInfo, precision: str) -> NDArray[np.uint8]:
    """The luma of all frames, `[t, h, w]`."""
    decoder = ChunkDecoder(shared_model(), info, choose_arithmetic("cpu", precision))
    frames = [frame for chunk in tokens for frame in decoder.decode(chunk, range(FRAMES_PER_CHUNK), 5)]
    return np.stack([frame.y for frame in frames])


def decode_elsewhere(tokens: list[ChunkTokens], info: VideoInfo, environment: dict[str, str]) -> NDArray[np.uint8]:
    """The same in float32, by a process of its own whose environment makes it another processor."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokens"
        path.write_bytes(pickle.dumps((tokens, info)))
        subprocess.run([sys.executable, __file__, "--only-decode", str(path)], env=os.environ | environment, check=True)
        pixels: NDArray[np.uint8] = np.load(path.with_suffix(".npy"))
        return pixels


def show(pixels: NDArray[np.uint8], expected: NDArray[np.uint8]) -> None:
    """Print how far luma is from what is expected, in the first chunk and in the last."""
    for name, part in (("first", slice(0, FRAMES_PER_CHUNK)), ("last", slice(-FRAMES_PER_CHUNK, None))):
        differences = np.abs(pixels[part].astype(int) - expected[part])
        noise = 10 * np.log10(255**2 / max(1e-9, float(np.square(differences).mean())))
        print(
            f"  {name:5} chunk: at most {differences.max()}, {(differences > 0).mean():.2g} of all differ, "
            f"{noise:.1f} dB between them",
            flush=True,
        )


def main(video: Path = SAMPLE, only_decode: Path | None = None) -> None:
    """Measure `video`; or, as another process asks, decode the tokens in `only_decode` to an array beside that file."""
    torch.set_num_threads(2)
    if only_decode is not None:
        tokens, info = pickle.loads(only_decode.read_bytes())
        np.save(only_decode.with_suffix(".npy"), decode(tokens, info, "float32"))
        return
    with VideoReader(video) as reader:
        info, frames = reader.info, list(islice(reader, NUM_FRAMES))
    tokens = encode(frames, info, "float32")
    pixels = decode(tokens, info, "float32")
    for name, environment in PROCESSORS.items():
        print(name)
        show(decode_elsewhere(tokens, info, environment), pixels)
    for precision in ("float32", "bfloat16"):
        for count in (1, 2, 3, 4):
            for height, (strips.MAX_POSITIONS, strips.MIN_ROWS) in (("whole", WHOLE), ("in strips", SMALL)):
                torch.set_num_threads(count)
                print(f"{precision}, {count} threads, {height}")
                show(decode(tokens, info, precision), pixels)


if __name__ == "__main__":
    typer.run(main)
