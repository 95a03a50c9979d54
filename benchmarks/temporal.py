"""How time shows: what still scenes cost, and whether the ends of the chunks of eight frames can be seen.

Example: python benchmarks/temporal.py VIDEOS_OR_FOLDERS... --quality 5
"""

import tempfile
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from statistics import fmean
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from stages import chunks_of

from vtok.benchmark.clips import find_clips, make_reference
from vtok.codec.chunk_coder import FRAMES_PER_CHUNK, ChunkDecoder, ChunkEncoder
from vtok.codec.chunk_tokens import ChunkTokens
from vtok.codec.group_encoder import GroupEncoder
from vtok.entropy.exact_prior import ExactPrior
from vtok.media.reader import VideoReader
from vtok.model.tokenizer import VideoTokenizer
from vtok.video.frame import Frame, VideoInfo

NOISE = 2.0  # standard deviation of ordinary noise, in steps of 8-bit luma and chroma
NUM_STILL_FRAMES = 64


def coded(
    tokenizer: VideoTokenizer, info: VideoInfo, frames: list[Frame], quality: float
) -> tuple[list[Frame], tuple[int, int]]:
    """The decoded frames, and how many bytes the first latent frame takes, and all of them."""
    encoder, decoder = (
        ChunkEncoder(tokenizer.pretrained, info, quality),
        ChunkDecoder(tokenizer.pretrained, info),
    )
    tokens = [encoder.encode(chunk) for chunk in chunks_of(frames)]
    decoded = [
        frame
        for each, chunk in zip(tokens, chunks_of(frames), strict=True)
        for frame in decoder.decode(each, [frame.pts for frame in chunk], quality)
    ]
    prior = tokenizer.pretrained.exact_prior
    return decoded, (group_bytes(prior, quality, info, tokens[:1]), group_bytes(prior, quality, info, tokens))


def group_bytes(prior: ExactPrior, quality: float, info: VideoInfo, tokens: list[ChunkTokens]) -> int:
    """What chunks take as one group."""
    group = GroupEncoder(prior, quality, (info.height, info.width))
    for each in tokens:
        group.push(each, [0])
    return len(group.finish(0).coded)


def still(first: Frame, noise: float) -> Iterator[Frame]:
    """A scene without motion: one frame again and again, with noise of its own each time."""
    rng = np.random.default_rng(0)

    def noisy(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.clip(np.rint(plane + rng.normal(0, noise, plane.shape)), 0, 255).astype(np.uint8)

    for pts in range(NUM_STILL_FRAMES):
        yield Frame(noisy(first.y), noisy(first.u), noisy(first.v), pts=pts)


def cost_of_repeats(first: int, all_chunks: int) -> float:
    """What a chunk after the first costs, as a part of what the first does."""
    return (all_chunks - first) / (NUM_STILL_FRAMES / FRAMES_PER_CHUNK - 1) / first


def psnr_by_position(frames: list[Frame], decoded: list[Frame]) -> list[float]:
    """Mean PSNR of luma in dB of each of the eight frames of a chunk, over whole chunks."""
    psnr = [
        10 * np.log10(255**2 / max(1e-3, float(np.mean((a.y.astype(float) - b.y) ** 2))))
        for a, b in zip(frames, decoded, strict=True)
    ]
    whole = len(psnr) // FRAMES_PER_CHUNK * FRAMES_PER_CHUNK
    return [float(x) for x in np.reshape(psnr[:whole], (-1, FRAMES_PER_CHUNK)).mean(0)]


def change_at_borders(frames: list[Frame]) -> float:
    """Mean change of luma from a frame to the next across the ends of chunks, over that within chunks."""
    changes = [float(np.abs(b.y.astype(int) - a.y).mean()) for a, b in pairwise(frames)]
    across = [change for i, change in enumerate(changes, 1) if i % FRAMES_PER_CHUNK == 0]
    within = [change for i, change in enumerate(changes, 1) if i % FRAMES_PER_CHUNK]
    return fmean(across) / fmean(within)


def temporal(
    clips: Annotated[list[Path], typer.Argument(help="Video files, or folders of them.", exists=True)],
    quality: Annotated[float, typer.Option(min=1, max=9)] = 5,
    frames: Annotated[int, typer.Option(help="Only the first so many frames.", min=16)] = 64,
    max_width: Annotated[int, typer.Option(help="Scale wider clips down to this width, in pixels.", min=16)] = 640,
) -> None:
    """Print a row for each clip, and the mean."""
    tokenizer, rows = VideoTokenizer.from_pretrained(), {}
    with tempfile.TemporaryDirectory() as folder:
        reference = Path(folder) / "reference.mkv"
        for clip in find_clips(clips):
            make_reference(clip, reference, num_frames=frames, max_width=max_width)
            with VideoReader(reference) as reader:
                info, source = reader.info, list(islice(reader, frames))
            repeats = [
                cost_of_repeats(*coded(tokenizer, info, list(still(source[0], noise)), quality)[1])
                for noise in (0.0, NOISE)
            ]
            decoded, _ = coded(tokenizer, info, source, quality)
            by_position = psnr_by_position(source, decoded)
            border, border_of_source = change_at_borders(decoded), change_at_borders(source)
            rows[clip.name] = [*repeats, max(by_position) - min(by_position), border, border_of_source]
    rows["mean"] = [fmean(column) for column in zip(*rows.values(), strict=True)]
    table = Table(title=f"quality {quality:g}, {frames} frames")
    for column in (
        "clip",
        "chunk of a still / its first",
        f"with noise of {NOISE:g} / its first",
        "PSNR-Y by position, range in dB",
        "change at chunk borders / within",
        "the same of the source",
    ):
        table.add_column(column, justify="right")
    for name, (plain, noisy, spread, border, border_of_source) in rows.items():
        table.add_row(name, f"{plain:.1%}", f"{noisy:.1%}", f"{spread:.2f}", f"{border:.3f}", f"{border_of_source:.3f}")
    Console(width=130).print(table)


if __name__ == "__main__":
    typer.run(temporal)
