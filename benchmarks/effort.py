"""What each effort of the encoder brings and takes: BD-rate against normal, and seconds of encoding.

Example: python benchmarks/effort.py VIDEOS_OR_FOLDERS... --qualities 3,5,7
"""

import tempfile
from pathlib import Path
from statistics import fmean
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from vtok.benchmark.bd_rate import MEASURES, Record, bd_rate
from vtok.benchmark.clips import find_clips, make_reference
from vtok.benchmark.codecs import code_with_vtok
from vtok.cli.benchmark import parse_integers
from vtok.codec.effort import Effort
from vtok.measure.stats import FrameComparison, pairs
from vtok.media.reader import VideoReader
from vtok.model.tokenizer import VideoTokenizer

Row = list[float | None]  # BD-rates in percent, frames per second, seconds as a share of normal's

SHOWN = ("psnr_yuv", "ms_ssim_y")


def measured(reference: Path, folder: Path, quality: int, effort: Effort, tokenizer: VideoTokenizer) -> Record:
    """Bits per pixel, quality and seconds of encoding of one file."""
    coding = code_with_vtok(quality, reference, folder, tokenizer=tokenizer, effort=effort)
    with (
        VideoReader(reference) as source,
        VideoReader(coding.decoded) as decoded,
        FrameComparison(source.info, with_vmaf=False) as comparison,
    ):
        for original, copy in pairs(source, decoded, names=("source", "decoded")):
            comparison.add(original, copy)
        info, (of_video, _) = source.info, comparison.result()
    num_pixels = info.width * info.height * of_video.num_frames
    return {
        "bpp": 8 * coding.num_bytes / num_pixels,
        "psnr_yuv": of_video.psnr_yuv,
        "ms_ssim_y": of_video.ms_ssim_y,
        "seconds": coding.encode_seconds,
        "num_frames": of_video.num_frames,
    }


def effort(
    clips: Annotated[list[Path], typer.Argument(help="Video files, or folders of them.", exists=True)],
    qualities: Annotated[str, typer.Option(help="Qualities, such as 3,5,7 or 1-9.")] = "3,5,7",
    frames: Annotated[int, typer.Option(help="Only the first so many frames.", min=1)] = 64,
    max_width: Annotated[int, typer.Option(help="Scale wider clips down to this width, in pixels.", min=16)] = 640,
) -> None:
    """Print a row for each clip and effort, and the means."""
    tokenizer = VideoTokenizer.from_pretrained()
    wanted = parse_integers(qualities, 1, 9)
    table = Table(title=f"qualities {qualities}, {frames} frames, at most {max_width} wide; bits against normal")
    for column in ("clip", "effort", *(MEASURES[name] for name in SHOWN), "frames/s", "seconds / normal's"):
        table.add_column(column, justify="left" if column in ("clip", "effort") else "right")
    rows: dict[Effort, list[Row]] = {}
    with tempfile.TemporaryDirectory() as folder:
        reference = Path(folder) / "reference.mkv"
        for clip in find_clips(clips):
            make_reference(clip, reference, num_frames=frames, max_width=max_width)
            # What is loaded at the first call counts for none of them.
            measured(reference, Path(folder), wanted[0], Effort.NORMAL, tokenizer)
            curves = {
                each: [measured(reference, Path(folder), quality, each, tokenizer) for quality in wanted]
                for each in Effort
            }
            seconds = {each: sum(record["seconds"] for record in curve) for each, curve in curves.items()}
            for each, curve in curves.items():
                rates = [bd_rate(curves[Effort.NORMAL], curve, measure) for measure in SHOWN]
                speed = sum(record["num_frames"] for record in curve) / seconds[each]
                row: Row = [
                    *(None if x is None else x.percent for x in rates),
                    speed,
                    seconds[each] / seconds[Effort.NORMAL],
                ]
                rows.setdefault(each, []).append(row)
                table.add_row(clip.name, each, *_shown(row))
    for each, of_clips in rows.items():
        means: Row = [fmean(x for x in column if x is not None) for column in zip(*of_clips, strict=True)]
        table.add_row("mean", each, *_shown(means))
    Console(width=120).print(table)


def _shown(row: Row) -> list[str]:
    *rates, speed, share = row
    shown = ["-" if x is None else f"{x:+.1f} %" for x in rates]
    return [*shown, f"{speed:.1f}", f"{share:.2f}"]


if __name__ == "__main__":
    typer.run(effort)
