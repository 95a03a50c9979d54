"""A picture for the README: one frame as it was, and as vtok decodes it at some qualities, with rate and PSNR below.

Example: python benchmarks/side_by_side.py sample_videos/bigbuckbunny.mp4 docs/images/side_by_side.jpg
"""

import tempfile
from pathlib import Path
from typing import Annotated

import matplotlib
import typer
from rate_distortion import parse_integers

from vtok import encode_file, file_stats
from vtok import open as open_vtok

matplotlib.use("agg")
import matplotlib.pyplot as plt


def side_by_side(
    clip: Annotated[Path, typer.Argument(help="A video file.", exists=True)],
    picture: Annotated[Path, typer.Argument(help="The image to write.")],
    qualities: Annotated[str, typer.Option(help="Such as 1,5.")] = "3,6",
    frame: Annotated[int, typer.Option(help="Number of the frame to show.")] = 40,
) -> None:
    """Draw the frame of CLIP at each quality beside the source's."""
    panels = []
    with tempfile.TemporaryDirectory() as folder:
        coded = Path(folder) / "clip.vtok"
        for quality in parse_integers(qualities):
            encode_file(clip, coded, quality=quality, overwrite=True, with_audio=False)
            stats = file_stats(clip, coded)
            with open_vtok(coded) as video:
                text = (
                    f"vtok --quality {quality}: {stats.kbit_per_second:.0f} kbit/s, "
                    f"{stats.bits_per_pixel:.3f} bits per pixel, {stats.quality.psnr_yuv:.1f} dB"
                )
                panels.append((text, video[frame].permute(1, 2, 0).numpy()))
        panels.insert(0, (f"source: {clip.name}", _source_frame(clip, frame)))
    height, width = panels[0][1].shape[:2]
    figure, axes = plt.subplots(1, len(panels), figsize=(len(panels) * width / 100, height / 100 + 0.35), dpi=100)
    for axis, (text, pixels) in zip(axes, panels, strict=True):
        axis.imshow(pixels, interpolation="nearest")
        axis.set_title(text, y=-0.12, fontsize=10)
        axis.axis("off")
    figure.subplots_adjust(left=0, right=1, top=1, bottom=0.35 / (height / 100 + 0.35), wspace=0.01)
    figure.savefig(picture, pil_kwargs={"quality": 88, "optimize": True})


def _source_frame(clip: Path, number: int):
    """The frame through the same colour conversion as the decoded ones."""
    from av.video.reformatter import VideoReformatter

    from vtok.media import VideoReader
    from vtok.media_frame import rgb_from_planes

    with VideoReader(clip) as reader:
        for index, frame in enumerate(reader):
            if index == number:
                return rgb_from_planes(frame, reader.info, VideoReformatter())
    raise typer.BadParameter(f"{clip} has no frame {number}")


if __name__ == "__main__":
    typer.run(side_by_side)
