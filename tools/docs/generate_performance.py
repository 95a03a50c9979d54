"""Writes docs/performance.md from what `make bench` measured.

python tools/docs/generate_performance.py demo/performance.json
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
ENTROPY_CODING = ("prior (encoder)", "range encoding", "prior (decoder)", "range decoding")

TEXT = """\
# Performance

Written by `tools/docs/generate_performance.py` from what `make bench` measured in one run, on a machine with nothing
else to do: {machine}.
Medians over runs; the range is that of the runs.

## Whole commands
File to file, start-up included: reading H.264, and writing H.264 at a quality that hides nothing. The clip is a sample
video, scaled, and played to and fro.

{commands}

{compared}

With bfloat16 in hardware, on 2 processors of an AMD EPYC, with the weights of the sixth run
([`training.md`](training.md)), from which today's differ in the prior alone: 640x360 at 41.4 frames/s to encode and
31.8 to decode (in float32 33.4 and 23.4), 1280x720 at 17.3 and 11.3 (11.3 and 7.2). Entropy coding took 9.2, 20.3, 24.9
and 25.7 % of the processors' time of encoding 640x360 at qualities 1, 5, 7 and 9, with a prior that takes a ninth more
time than today's, as measured on the Xeon.

These figures are from before motion, and before the step of descent. With both, on an AMD EPYC with bfloat16, 384
frames of a street at 640x360: 20.5 frames/s to encode (19.5 to 22.5 in three runs), 34 with `--effort fast` (34.2 to
37.5), 49 to decode (47 to 54); in float32 with AVX2 alone, 128 frames, 13.4, 27 and 27. Peaks of 940 and 876 MB at
1280x720, of 2.7 and 2.6 GB at 3840x2160. They were taken by hand; `make bench` will measure them with the rest.

## Beside other codecs
At 640x360, in this process, so without start-up. x264 and SVT-AV1 are those of PyAV; decoding is to memory.

{codecs}

The networks alone, at 128 x 128, beside `magvit2-pytorch` {magvit2_version} with random weights and the same 8x8x8
down-sampling (float32, as it comes; {torchvision}).
Thousands of multiplications per pixel are counted from the layers and by PyTorch's counter of operations.

{networks}

## Start-up
{start}

`import torch` alone takes about 1.6 s of it; `info` and `--help` do without.

## Memory
Peak resident memory by size is in the first table. It does not depend on length: {width_height}, ten seconds and ten
minutes of the same video:

{lengths}

Frames larger than 1280x720, or in float32 than half of that, go through the networks in strips of rows of latents, with
as many rows around each as the networks see (`vtok/codec/strips.py`); queues between stages hold two chunks; a group is
coded latent frame by latent frame.

## Where the time goes
Every step alone, one after the other, at 640x360, per frame. In a command they overlap, so what counts is the time of
all processors. A plain 3x3 convolution of 256 channels on this grid, channels last, reaches {peaks}
here; the networks, with everything between their convolutions, this part of it:

{stages}

Each step is given 20 ms to come to rest, which count for its processors and not for its wall: OpenMP's threads spin for
a while after a product, and x264's go on coding. Entropy coding (the prior's networks and the range coder) takes this
part of the processors' time of all steps:

{shares}

## What was done, and what it brought
* **Stages overlap** (`vtok/system/pipeline.py`): reading, analysis, and entropy coding with writing; entropy decoding,
  synthesis, and writing. Threads, as FFmpeg, PyTorch and the range coder work without Python's lock; bounded queues.
* **bfloat16 where the processor multiplies it** (`vtok/networks/arithmetic.py`), float32 elsewhere, channels last
  throughout. The convolutions themselves run at the speed of the plain one; what is between them makes the difference
  to the table.
* **Samples are moved as whole vectors.** Output channels of the synthesis matrix and of the guide are ordered so that
  spreading blocks over cells copies vectors of 192 and not single values: synthesis of 640x360 on one processor from
  25.7 to 23.3 ms a frame.
* **Freed memory is kept** (`vtok/system/memory.py`): the C library returned buffers of megabytes to the kernel at every
  free, and each came back as pages to be cleared. Decoding 600 frames from 17.5 to 15.6 s.
* **Strips** of large frames: encoding 32 frames of 3840x2160 from 38.7 to 17.8 s and from 3.6 to 2.3 GB, decoding from
  46.7 to 30.5 s and from 4.5 to 2.9 GB, most of the time gained in the kernel.
* **Large frames in place**: chunks are aligned and restored in place, and what is freed goes back to the kernel between
  the steps. Encoding 24 frames of 3840x2160 from 3.4 to 2.7 GB, decoding from 3.7 to 2.6 GB.
* **Entropy coding beside networks has one thread** (`vtok/system/threads.py`): threads that wait for the next small
  product spin. Encoding 600 frames from 11.6 to 10.7 s.
* **Products of 8-bit integers** in the prior (`vtok/entropy/integer_products.py`), which are exact in any order.
* **A prior of half the size** ([`training.md`](training.md#a-smaller-prior)), whose upper channels have one pass:
  entropy coding of 64 frames of 640x360 by one processor from 5.8 to 4.4 ms a frame at quality 5, from 9.9 to 6.8 ms
  at 9.
* **What is multiplied lies side by side.** Weights of channels that were every sixth value made PyTorch take four times
  as long as rows do; codes of a group stay as they were coded, and are gathered only where other channels are coded
  than in the latent frame before: at quality 9 from 6.8 to 6.0 ms.
* **Surroundings of fewer channels, and fewer tables** ([`training.md`](training.md#a-smaller-prior)): on a
  Xeon, both in one run, from 5.0 to 4.5 ms at quality 5, from 7.4 to 6.7 ms at 9.

Tried, and not kept: fewer or no spins of OpenMP's threads (no difference beyond noise), one OpenMP thread for all
stages (decoding 10 % slower), building the model without initialising it on PyTorch's meta device (which imports a
computer algebra system for a second, to save 0.2), an x264 preset faster than `veryfast` for output (5 to 8 % less
time, files of 1.7 to 2.7 times the size), `torch.compile` (needs a compiler on the user's machine). Not tried: the
synthesis in 8-bit integers, which these processors multiply twice as fast as bfloat16.
"""


def markdown(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table; the first column is text, the others are numbers."""
    columns = list(columns)
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _speed(record: dict[str, Any]) -> tuple[str, str]:
    low, high = record["slowest_frames_per_second"], record["fastest_frames_per_second"]
    return f"{record['frames_per_second']:.1f}", f"{low:.1f} to {high:.1f}"


def page(results: dict[str, Any]) -> str:
    """The page."""
    machine, commands, counts = results["machine"], results["commands"], results["thousand_multiplications_per_pixel"]
    peaks = " and ".join(f"{value:.0f} GFLOP/s in {name}" for name, value in machine["peak_gflops"].items())
    magvit2 = results["networks"]["magvit2-pytorch"]
    lengths = results["lengths"]
    return TEXT.format(
        machine=(
            f"{machine['processors']} processors of an {machine['processor']}, "
            f"{'with' if machine['bfloat16_in_hardware'] else 'without'} bfloat16 in hardware, "
            f"{machine['memory_gb']:.0f} GB, {machine['system']},\n"
            f"Python {machine['python']}, PyTorch {machine['torch']}"
        ),
        commands=markdown(
            ("command", "size", "arithmetic", "frames", "frames/s", "range", "processor s", "peak MB"),
            (
                (
                    f"`{r['what']}`",
                    r["size"],
                    r["precision"],
                    r["frames"],
                    *_speed(r),
                    f"{r['processor_seconds']:.1f}",
                    f"{r['peak_mb']:.0f}",
                )
                for r in commands
            ),
        ),
        compared=_compared(commands),
        codecs=markdown(
            ("codec", "frames/s", "range"),
            (
                (r["what"], *(("not run: " + r["not_run"], "") if "not_run" in r else _speed(r)))
                for r in results["codecs"]
            ),
        ),
        magvit2_version=magvit2.get("version", ""),
        torchvision=_torchvision(magvit2),
        networks=markdown(
            ("networks", "frames/s", "range", "thousand multiplications per pixel"),
            (
                (
                    f"{name}, {command}",
                    *_speed(of[command]),
                    f"{of[command].get('thousand_multiplications_per_pixel', counts[part]):.1f}",
                )
                for name, of in results["networks"].items()
                if "not_run" not in of
                for command, part in (("encode", "encoder"), ("decode", "decoder"))
            ),
        ),
        start=markdown(
            ("command", "wall s", "processor s", "peak MB"),
            (
                (f"`{r['what']}`", f"{r['wall_seconds']:.2f}", f"{r['processor_seconds']:.2f}", f"{r['peak_mb']:.0f}")
                for r in results["start"]
            ),
        ),
        width_height=lengths[0]["size"],
        lengths=markdown(
            ("command", "frames", "frames/s", "peak MB"),
            ((f"`{r['what']}`", r["frames"], _speed(r)[0], f"{r['peak_mb']:.0f}") for r in lengths),
        ),
        peaks=peaks,
        stages=markdown(
            ("step", "quality", "arithmetic", "wall ms", "processor ms", "GFLOP/s", "of the peak"),
            (
                (
                    r["step"],
                    r["quality"],
                    r["precision"],
                    f"{r['wall_ms']:.2f}",
                    f"{r['processor_ms']:.2f}",
                    *((f"{r['gflops']:.0f}", f"{r['gflops'] / r['peak_gflops']:.0%}") if "gflops" in r else ("", "")),
                )
                for r in results["stages"]
            ),
        ),
        shares=_shares(results["stages"]),
    )


def _torchvision(magvit2: dict[str, Any]) -> str:
    if "not_run" in magvit2:
        return f"not run: {magvit2['not_run']}"
    if magvit2["has_torchvision"]:
        return "with its torchvision"
    return "torchvision, which a loss needs that is not used here, does not import beside this PyTorch"


def _compared(commands: list[dict[str, Any]]) -> str:
    speeds = {(r["what"], r["size"], r["precision"]): r["frames_per_second"] for r in commands}
    if not any(precision == "bfloat16" for _, _, precision in speeds):
        return "All in float32, as this machine has no bfloat16 in hardware."
    ratios = {
        command: speeds[f"vtok {command}", "640x360", "float32"] / speeds[f"vtok {command}", "640x360", "bfloat16"]
        for command in ("encode", "decode")
    }
    parts = (f"{ratio:.0%} of it to {command}" for command, ratio in ratios.items())
    return f"Without bfloat16 the speed at 640x360 is {' and '.join(parts)}."


def _shares(stages: list[dict[str, Any]]) -> str:
    rows = []
    for quality, precision in dict.fromkeys((r["quality"], r["precision"]) for r in stages):
        of = [r for r in stages if (r["quality"], r["precision"]) == (quality, precision)]
        shares = (
            sum(r["share"] for r in of if r["what"] == command and r["step"] in ENTROPY_CODING)
            for command in ("encode", "decode")
        )
        rows.append((quality, precision, *(f"{share:.1%}" for share in shares)))
    return markdown(("quality", "arithmetic", "of encoding", "of decoding"), rows)


if __name__ == "__main__":
    PAGE.write_text(page(json.loads(Path(sys.argv[1]).read_text())))
