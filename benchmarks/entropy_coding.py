"""What the entropy coding of `.vtok` files saves, costs and takes: the same codes in bytes of five kinds, and seconds.

    raw       one byte per code
    frozen    the best static table per channel and quality, as learned from other videos (--tables)
    ideal     the best static table per channel, quality and clip: its entropy, tables not counted
    float     code length under the learned prior in floating point, no coder
    exact     what files have: the prior in exact arithmetic and the range coder

Example: python benchmarks/entropy_coding.py VIDEOS --tables TRAINING_VIDEOS
"""

import tempfile
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from stages import STEPS, Clock, chunks_of, read_video, through_files

from vtok.benchmark.clips import find_clips, make_reference
from vtok.cli.benchmark import parse_integers
from vtok.codec.chunk_coder import FRAMES_PER_CHUNK, ChunkEncoder
from vtok.codec.chunk_tokens import ChunkTokens
from vtok.codec.group_encoder import MAX_GROUP_CHUNKS
from vtok.entropy.tables import probabilities_of
from vtok.media.reader import VideoReader
from vtok.media.writer import VideoWriter
from vtok.model.tokenizer import VideoTokenizer
from vtok.networks.motion_maps import motion_maps
from vtok.networks.prior import PriorMotion
from vtok.system.memory import keep_freed_memory
from vtok.video.frame import Frame, VideoInfo

NUM_TABLE_FRAMES = 16  # of each video that tables are learned from
Histograms = NDArray[np.int64]  # [n, 256]


def code_frames(tokenizer: VideoTokenizer, info: VideoInfo, frames: list[Frame], quality: int) -> list[ChunkTokens]:
    """The tokens of each chunk."""
    encoder = ChunkEncoder(tokenizer.pretrained, info, quality)
    return [encoder.encode(chunk) for chunk in chunks_of(frames)]


def histograms(tokens: list[ChunkTokens]) -> Histograms:
    """How often each channel takes each value."""
    stacked = np.stack([each.codes for each in tokens], axis=1).reshape(len(tokens[0].codes), -1)
    return np.stack([np.bincount(channel, minlength=256) for channel in stacked])


def static_bits(counts: Histograms, table_counts: Histograms) -> float:
    """Bits of codes with `counts` under the best tables for `table_counts`, each value seen once more than it was."""
    smoothed = table_counts + 1.0
    return float(-(counts * np.log2(smoothed / smoothed.sum(1, keepdims=True))).sum())


def entropy_bits(counts: Histograms) -> float:
    """Bits under tables that are exactly the codes' own frequencies."""
    shares = counts / counts.sum(1, keepdims=True)
    return float(-(counts * np.log2(np.where(counts > 0, shares, 1))).sum())


@torch.inference_mode()
def float_prior_bits(tokenizer: VideoTokenizer, tokens: list[ChunkTokens], quality: int) -> float:
    """Code length under the prior in floating point."""
    model = tokenizer.pretrained.networks
    centred = model.quantizer.from_uint8(torch.from_numpy(np.stack([each.codes for each in tokens], axis=1)))[None]
    displaced = tokenizer.pretrained.exact_prior.displaced_codes(quality).displaced
    previous = torch.zeros_like(centred)
    for t, (before, after) in enumerate(pairwise(tokens), 1):
        previous[0, :, t] = torch.from_numpy(displaced(before.codes, after.motion.fields[-1]))
    fields = torch.from_numpy(np.stack([each.motion.fields for each in tokens]))[None]
    motion = PriorMotion(previous, motion_maps(fields, *centred.shape[3:]))
    location, log2_scale = model.prior(centred, torch.tensor([float(quality)]), motion)
    total = 0.0
    for t in range(len(tokens)):  # in double precision, one latent frame at a time
        distance = (centred[:, :, t] - location[:, :, t]).abs().double()
        # Not `Prior.bits`, whose probabilities have a floor, for training.
        total -= float(probabilities_of(model.prior, distance, log2_scale[:, :, t].double()).log2().sum())
    return total


def compress(reference: Path, target: Path) -> None:
    """The same frames as an ordinary file: to read the lossless one takes several times as long."""
    with VideoReader(reference) as reader, VideoWriter(target, reader.info, codec="libx264") as writer:
        for frame in reader:
            writer.write(frame)


def learn_tables(tokenizer: VideoTokenizer, videos: list[Path], qualities: list[int], max_width: int) -> Histograms:
    """Histograms `[quality, n, 256]` of the first frames of `videos`."""
    total = np.zeros((len(qualities), tokenizer.num_codebooks, 256), np.int64)
    with tempfile.TemporaryDirectory() as folder:
        reference = Path(folder) / "reference.mp4"
        for video in track(videos, "learning tables", console=Console(stderr=True)):
            make_reference(video, reference, num_frames=NUM_TABLE_FRAMES, max_width=max_width)
            info, frames = read_video(reference, NUM_TABLE_FRAMES)
            for row, quality in zip(total, qualities, strict=True):
                row += histograms(code_frames(tokenizer, info, frames, quality))
    return total


def entropy_coding(
    clips: Annotated[list[Path], typer.Argument(help="Video files, or folders of them.", exists=True)],
    tables: Annotated[Path | None, typer.Option(help="Folder of other videos, for the frozen tables.")] = None,
    qualities: Annotated[str, typer.Option(help="Such as 1,5,9 or 1-9.")] = "1-9",
    frames: Annotated[int, typer.Option(help="Only the first so many frames.", min=1, max=8 * MAX_GROUP_CHUNKS)] = 64,
    max_width: Annotated[int, typer.Option(help="Scale wider clips down to this width, in pixels.", min=2)] = 640,
) -> None:
    """Print bytes of each kind, summed over the clips, and the share of time in entropy coding, per quality."""
    keep_freed_memory()  # as the commands do
    chosen = parse_integers(qualities, 1, 9)
    tokenizer = VideoTokenizer.from_pretrained()
    learned = learn_tables(tokenizer, find_clips([tables]), chosen, max_width) if tables else None
    num_bytes: dict[int, dict[str, float]] = {quality: defaultdict(float) for quality in chosen}
    clocks = {quality: Clock() for quality in chosen}
    num_frames = 0
    with tempfile.TemporaryDirectory() as folder:
        reference, compressed = (Path(folder) / name for name in ("reference.mp4", "compressed.mp4"))
        for clip in track(find_clips(clips), "measuring", console=Console(stderr=True)):
            make_reference(clip, reference, num_frames=frames, max_width=max_width)
            compress(reference, compressed)
            for place, quality in enumerate(chosen):
                tokens, coded = through_files(
                    tokenizer, reference, quality, Path(folder), frames, clocks[quality], timed_video=compressed
                )
                counts, kinds = histograms(tokens), num_bytes[quality]
                kinds["raw"] += counts.sum()
                if learned is not None:
                    kinds["frozen"] += static_bits(counts, learned[place]) / 8
                kinds["ideal"] += entropy_bits(counts) / 8
                kinds["float"] += float_prior_bits(tokenizer, tokens, quality) / 8
                kinds["exact"] += coded
            num_frames += FRAMES_PER_CHUNK * len(tokens)
    console = Console(width=120)
    console.print(_bytes_table(num_bytes))
    console.print(_time_table(clocks, num_frames))


def _bytes_table(num_bytes: dict[int, dict[str, float]]) -> Table:
    kinds = list(next(iter(num_bytes.values())))
    table = Table(title="bytes, all clips")
    for column in ("quality", *kinds, *(f"exact saves of {kind}" for kind in kinds if kind not in ("raw", "exact"))):
        table.add_column(column, justify="right")
    for quality, of in num_bytes.items():
        saved = (f"{1 - of['exact'] / of[kind]:.1%}" for kind in kinds if kind not in ("raw", "exact"))
        table.add_row(str(quality), *(f"{of[kind]:.0f}" for kind in kinds), *saved)
    return table


def _time_table(clocks: dict[int, Clock], num_frames: int) -> Table:
    table = Table(title=f"milliseconds per frame of all processors together ({num_frames} frames)")
    columns = [step for steps in STEPS.values() for step in steps]
    for column in ("quality", *columns, "share of encode", "share of decode"):
        table.add_column(column, justify="right")
    for quality, clock in clocks.items():
        times = (f"{1000 * clock.processor[step] / num_frames:.1f}" for step in columns)
        table.add_row(str(quality), *times, *(f"{clock.entropy_coding_share(command):.1%}" for command in STEPS))
    return table


if __name__ == "__main__":
    typer.run(entropy_coding)
