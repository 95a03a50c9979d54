"""How fast tokens are read, from `.vtok` files and raw from `.npy` files, against decoding the source video with PyAV.

Everything is read once from front to back, file by file, on the threads that are given, after one run that is not
counted; medians. The files are warm: they come from the memory of the operating system.

Example: python benchmarks/tokens.py sample_videos/bigbuckbunny.mp4
"""

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Annotated

import av
import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from vtok import TokenReader, encode_file
from vtok.benchmark.clips import find_clips


def read_vtok(path: Path) -> int:
    """Tokens of a `.vtok` file, read one latent frame after the other."""
    return sum(codes.size for codes in TokenReader(path))


def read_npy(path: Path) -> int:
    """The same of a `.npy` file, into memory."""
    return int(np.load(path).size)


def read_video(path: Path) -> int:
    """Decode a video to RGB, as one would to train on pixels; the number of frames."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        return sum(frame.to_ndarray(format="rgb24") is not None for frame in container.decode(video=0))


def seconds_of(read: Callable[[Path], int], files: list[Path], runs: int) -> float:
    """Median over runs of the seconds that all files take."""
    seconds = []
    for _ in range(runs + 1):
        begin = perf_counter()
        for file in files:
            read(file)
        seconds.append(perf_counter() - begin)
    return statistics.median(seconds[1:])


def main(
    videos: Annotated[list[Path], typer.Argument(help="Videos, or folders of them.")],
    quality: Annotated[float, typer.Option(help="1 to 9.", min=1, max=9)] = 5.0,
    runs: Annotated[int, typer.Option(help="Counted runs.", min=1)] = 3,
    threads: Annotated[int | None, typer.Option(help="Threads of PyTorch; default: all.", min=1)] = None,
) -> None:
    """Print tokens, frames and files per second and bytes on disk, for each way of reading."""
    if threads:
        torch.set_num_threads(threads)
    clips = find_clips(videos)
    with tempfile.TemporaryDirectory() as name:
        coded = [Path(name, f"{number}.vtok") for number in range(len(clips))]
        raw = [path.with_suffix(".npy") for path in coded]
        num_frames = num_tokens = 0
        for clip, path, array in zip(clips, coded, raw, strict=True):
            encode_file(clip, path, quality=quality)
            tokens = TokenReader(path)
            num_frames, num_tokens = num_frames + tokens.num_frames, num_tokens + tokens.nbytes
            np.save(array, tokens[:])
        table = Table(title=f"{len(clips)} files, {num_frames} frames, {num_tokens} tokens, quality {quality:g}")
        for column in ("", "tokens/s", "frames/s", "files/s", "bytes"):
            table.add_column(column, justify="right" if column else "left")
        for label, read, files in (
            (".vtok", read_vtok, coded),
            (".npy", read_npy, raw),
            ("source, RGB", read_video, clips),
        ):
            seconds = seconds_of(read, files, runs)
            tokens_per_second = "" if read is read_video else f"{num_tokens / seconds:,.0f}"
            size = sum(file.stat().st_size for file in files)
            table.add_row(
                label, tokens_per_second, f"{num_frames / seconds:,.0f}", f"{len(files) / seconds:.2f}", f"{size:,}"
            )
        Console().print(table)


if __name__ == "__main__":
    typer.run(main)
