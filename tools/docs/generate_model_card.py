"""Writes docs/model_card.md: the card of a model for people, with pictures of its weaknesses.

python tools/docs/generate_model_card.py

All figures on the page come from the card in `vtok/pretrained/` or are measured here, which takes some minutes.
"""

import datetime
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import av
import numpy as np
import typer
from generate_quality import jpeg
from motion_edges import Edges, picture_of_edges
from weaknesses import PRESET, SUBJECTS, Measured, Subject, measure

import vtok.version
from vtok.benchmark.tables import number_text
from vtok.model.registry import DEFAULT_MODEL, model_card
from vtok.model.tokenizer import VideoTokenizer

DOCS = Path(__file__).parents[2] / "docs"
MAX_PICTURE_BYTES = 48_000
NUM_FRAMES = 64
QUALITIES = (2, 5, 8)
EDGE_QUALITIES = (2, 5)
UNEVEN = 2
"""The page mentions the worst frame of a clip if it is more than this number of dB worse than the median one."""
_NAMES = {"bpp": "bits per pixel", "psnr_yuv": "PSNR-YUV", "ssim_y": "SSIM", "ms_ssim_y": "MS-SSIM", "vmaf": "VMAF"}
_DIGITS = {"bpp": 4, "ssim_y": 4, "ms_ssim_y": 4, "vmaf": 1}  # of other measures: 2


def section(measured: Measured, image: str) -> str:
    """One weakness, with its picture."""
    ours, theirs, psnr = measured.vtok, measured.x264, measured.vtok.frame_psnr
    words = (
        f"{measured.subject.remark} At quality {measured.quality} vtok has {ours.psnr:.2f} dB with {ours.bpp:.4f} bits "
        f"per pixel, x264 {theirs.psnr:.2f} dB with {theirs.bpp:.4f}."
    )
    if min(psnr) < np.median(psnr) - UNEVEN:
        words += (
            f" The worst frame has {min(psnr):.1f} dB, number {np.argmin(psnr)}; the median one {np.median(psnr):.1f}."
        )
    title = measured.subject.title
    return f"### {title}\n{paragraph(words)}\n\n![{title}: source, vtok, x264 at the same bytes]({image})\n"


def measured_table(all_measured: list[Measured]) -> str:
    """Every clip at every quality."""
    rows = [
        (
            measured.subject.title,
            measured.quality,
            f"{measured.vtok.bpp:.4f}",
            f"{measured.vtok.psnr:.2f}",
            f"{measured.x264.bpp:.4f}",
            f"{measured.x264.psnr:.2f}",
            f"{measured.behind:+.2f}",
        )
        for measured in all_measured
    ]
    head = ("clip", "quality", "vtok: bits per pixel", "PSNR-YUV", "x264: bits per pixel", "PSNR-YUV", "x264 ahead, dB")
    return table(head, rows)


def edges_section(
    subjects: Sequence[Subject],
    docs: Path,
    *,
    tokenizer: VideoTokenizer,
    qualities: Sequence[int],
    num_frames: int,
) -> str:
    """The table of the edges of motion in the clips that move, and a picture of each."""
    rows: list[tuple[Any, ...]] = []
    pictures = []
    for number, subject in enumerate((subject for subject in subjects if subject.moves), start=1):
        edges, image = picture_of_edges(subject, qualities, num_frames, tokenizer)
        name = f"images/model_card_motion_{number}.jpg"
        (docs / name).write_bytes(jpeg(image, MAX_PICTURE_BYTES // 2))
        rows += [(subject.title, quality, *_cells(of)) for quality, of in zip(qualities, edges, strict=True)]
        of_qualities = " and ".join(map(str, qualities))
        pictures.append(f"![{subject.title}: source, and vtok at qualities {of_qualities}]({name})")
    head = ("clip", "quality", "edges where vectors differ, %", "change across them / beside them")
    return "\n\n".join([table(head, rows), *pictures])


def _cells(edges: Edges) -> tuple[str, str]:
    return f"{100 * edges.share:.0f}", number_text(edges.ratio, 3)


def figures_table(card: dict[str, Any]) -> str:
    """The card's figures of each codec and setting, for the measures that it has."""
    figures: dict[str, dict[str, float]] = card["figures"]
    names = [name for name in _NAMES if any(name in record for record in figures.values())]
    rows = [
        (*setting.split(" "), *(number_text(record.get(name), _DIGITS.get(name, 2)) for name in names))
        for setting, record in figures.items()
    ]
    return table(("codec", "quality or crf", *(_NAMES[name] for name in names)), rows)


def crops_table(crops: dict[str, list[dict[str, float]]]) -> str:
    """The validation of the last training run, before and after it."""
    rows = [
        (before["quality"], *(f"{x['bits_per_pixel']:.4f} / {x['psnr_yuv']:.2f}" for x in (before, after)))
        for before, after in zip(crops["before"], crops["after"], strict=True)
    ]
    return table(("quality", "before: bits per pixel / PSNR-YUV", "after"), rows)


def table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in [head, ("---",) * len(head), *rows])


def paragraph(text: str) -> str:
    """Wrap text to lines of at most 120 characters."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def page(card: dict[str, Any], weights: Path, all_measured: list[Measured], sections: list[str], edges: str) -> str:
    """The whole page."""
    configuration, training = card["configuration"], card["training"]
    num_clips = {record["num_clips"] for record in card["figures"].values()}
    return TEXT.format(
        name=card["name"],
        sha256=card["tensors_sha256"],
        licence=card["licence"],
        megabytes=f"{weights.stat().st_size / 1e6:.1f}",
        num_channels=configuration["num_channels"],
        num_qualities=configuration["num_qualities"],
        data=paragraph(training["data"]),
        training=paragraph(
            f"The last run: {training['minutes']:.0f} minutes and {training['steps']:,} steps, from the weights "
            f"`{training['started_from']}`, by"
        ),
        command=training["command"],
        crops=crops_table(training["validation_crops"]),
        num_clips=" or ".join(map(str, sorted(num_clips))),
        figures=figures_table(card),
        limits=paragraph(card["limits"]),
        measured_on=paragraph(
            f"Measured on {datetime.datetime.now(datetime.UTC).date()} by vtok {vtok.version.__version__} with these "
            f"weights; x264 `{PRESET}`, with one thread, is that of PyAV {av.__version__}."
        ),
        num_frames=max(len(measured.vtok.frame_psnr) for measured in all_measured),
        measured=measured_table(all_measured),
        sections="\n".join(sections),
        edges=edges,
    )


def generate(
    card: dict[str, Any],
    weights: Path,
    docs: Path,
    *,
    tokenizer: VideoTokenizer,
    subjects: Sequence[Subject] = SUBJECTS,
    qualities: Sequence[int] = QUALITIES,
    num_frames: int = NUM_FRAMES,
) -> None:
    """Measure, and write `model_card.md` and its pictures into the folder `docs`."""
    (docs / "images").mkdir(exist_ok=True)
    all_measured: list[Measured] = []
    sections: list[str] = []
    for subject in subjects:
        for measured, image in measure(subject, qualities, num_frames, tokenizer):
            all_measured.append(measured)
            if image is not None:
                name = f"images/model_card_{len(sections) + 1}.jpg"
                (docs / name).write_bytes(jpeg(image, MAX_PICTURE_BYTES))
                sections.append(section(measured, name))
    edge_qualities = [quality for quality in EDGE_QUALITIES if quality in qualities]
    edges = edges_section(subjects, docs, tokenizer=tokenizer, qualities=edge_qualities, num_frames=num_frames)
    (docs / "model_card.md").write_text(page(card, weights, all_measured, sections, edges), encoding="utf-8")


def main(
    model: Annotated[str, typer.Argument(help="Name of the model.")] = DEFAULT_MODEL,
    docs: Annotated[Path, typer.Option(help="Where model_card.md and images/ are written.")] = DOCS,
) -> None:
    """Write docs/model_card.md and its pictures."""
    found = model_card(model)
    generate(found.card, found.path, docs, tokenizer=VideoTokenizer.from_pretrained(model))


TEXT = """# The model {name}

Written by `make model-card` from the [card](../vtok/pretrained/{name}.json) of the weights and from what it measures.

| | |
|---|---|
| Weights | `vtok/pretrained/{name}.safetensors`, {megabytes} MB, part of the package |
| SHA-256 of the tensors | `{sha256}` |
| Licence | {licence} |

## What it is
A KLT of blocks of 8 frames x 8 x 8 pixels with small residual networks around it, lookup-free quantization to
{num_channels} codes of one byte each, and a prior that tells the range coder how likely each code is. One set of
weights has {num_qualities} qualities. [`design.md`](design.md) says why it is built like this.

* **For**: video as small files that are tokens at once, for training other models on them, on an ordinary processor.
* **Not for**: the smallest file at a given quality (see below), players, live video, masters that must not lose
  anything, or single frames as evidence: near something fast, a frame can show what was not there at its time.

## Data and terms
{data}

## Training
{training}

    {command}

[`training.md`](training.md) has all the runs that led there, and what failed. Ideal bits per pixel and PSNR-YUV in dB
on crops of the validation clips:

{crops}

## Figures
Means over {num_clips} validation clips, whole `.vtok` files and raw streams of x264; the measures are explained in
[`benchmark.md`](benchmark.md), and [`quality.md`](quality.md) has curves and BD-rates.

{figures}

## Limits
{limits}

[`limits.md`](limits.md) has all of them.

## What it is bad at, with pictures
Clips that were made to be hard, each for one reason (`tools/docs/hard_clips.py` draws them), and the sample videos,
coded by vtok and by x264, whose crf is fitted to the bytes of vtok's file, as closely as that goes. A picture shows the
frame and the place where vtok's mean absolute error of luma is largest, at twice the size; the figures are of the first
{num_frames} frames of the clip, PSNR-YUV in dB.

{measured_on}

{sections}
### Edges of motion
Blocks of 16x16 pixels have vectors of their own, and neither their edges nor those of chunks should be seen. The table
says how much the error of luma changes across the edges where vectors differ by a pixel or more, divided by its change
in the middle of the same blocks: 1 if an edge is a place like any other. The pictures show where vectors differ most.

{edges}

### All that was measured
With a minus sign vtok is ahead.

{measured}

Pictures of the film: Big Buck Bunny, (c) 2008 Blender Foundation, CC BY 3.0. The photograph was taken by NASA and is
in the public domain ([sample videos](../sample_videos/README.md)).
"""


if __name__ == "__main__":
    typer.run(main)
