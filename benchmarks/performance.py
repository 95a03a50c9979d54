"""Speed, memory and start-up of whole commands, where the time goes, and other codecs beside it, all in one run.

Example: python benchmarks/performance.py sample_videos/bigbuckbunny.mp4 --runs 3 --json performance.json
"""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import torch
import typer
from commands import Run, make_clip, run_vtok, summary
from machine import describe, peak_gflops
from rich.console import Console
from rich.table import Table
from stages import ENTROPY_CODING, STEPS, Clock, through_files

from vtok.codec.chunk_coder import ChunkDecoder, ChunkEncoder
from vtok.errors import VtokError
from vtok.media.reader import VideoReader
from vtok.media.writer import VideoWriter
from vtok.model.tokenizer import VideoTokenizer
from vtok.networks.arithmetic import choose_arithmetic, has_fast_bfloat16
from vtok.networks.klt import PATCH
from vtok.system.memory import keep_freed_memory
from vtok.video.frame import Frame, VideoInfo

SIZES = {"640x360": (640, 360, 250), "1280x720": (1280, 720, 200), "3840x2160": (3840, 2160, 16)}
# What is worth measuring here, first what the commands choose.
PRECISIONS = ("bfloat16", "float32") if has_fast_bfloat16() else ("float32",)
COMPARED = "640x360"  # the size at which other codecs are measured
SMALL = (160, 96)  # of the video whose length is varied
LENGTHS = (250, 15_000)  # frames: ten seconds and ten minutes
CODECS = {
    "x264 medium": ("libx264", {"preset": "medium", "crf": "26"}),
    "x264 veryfast": ("libx264", {"preset": "veryfast", "crf": "26"}),
    "SVT-AV1 preset 8": ("libsvtav1", {"preset": "8", "crf": "35"}),
}
NETWORKS = {"analysis": "encoder", "synthesis": "decoder"}
Record = dict[str, Any]


def multiplications_per_pixel(tokenizer: VideoTokenizer) -> dict[str, float]:
    """Multiplications per pixel of luma of the pretrained model's parts, counted from its layers, in thousands."""
    model = tokenizer.pretrained.networks
    transform = model.transform.analysis.numel()

    def weights(part: torch.nn.Module) -> int:
        return sum(layer.weight.numel() for layer in part.modules() if isinstance(layer, torch.nn.Conv2d))

    synthesis = model.synthesis
    fine = (synthesis.refine_enter, synthesis.refine_hidden, synthesis.refine_leave)  # four cells a block
    counts = {
        "encoder": weights(model.analysis) + transform,
        "decoder": weights(synthesis) + 3 * sum(weights(layer) for layer in fine) + transform,
        "prior": weights(model.prior),
    }
    return {part: count / PATCH**3 / 1000 for part, count in counts.items()}


def measure_commands(source: Path, folder: Path, runs: int) -> Iterator[Record]:
    """`vtok encode` and `vtok decode` by size and precision; each round runs all, so that all see the same machine."""
    for size, (width, height, num_frames) in SIZES.items():
        clip, coded, decoded = folder / f"{size}.mp4", folder / f"{size}.vtok", folder / f"{size}.out.mp4"
        make_clip(source, clip, width=width, height=height, num_frames=num_frames)
        measured: dict[tuple[str, str], list[Run]] = {}
        for _ in range(runs):
            for precision in PRECISIONS:
                options = ["--force", "--quiet", "--precision", precision]
                for command, names in (("encode", (clip, coded)), ("decode", (coded, decoded))):
                    run = run_vtok([command, *map(str, names), *options])
                    measured.setdefault((command, precision), []).append(run)
        for (command, precision), of in measured.items():
            yield {"size": size, "what": f"vtok {command}", "precision": precision, **summary(of, num_frames)}


def measure_codecs(clip: Path, folder: Path, num_frames: int, runs: int) -> Iterator[Record]:
    """Other codecs through PyAV: reading the clip and encoding it; decoding to memory. No start-up."""
    target = folder / "other.mp4"
    for name, (codec, options) in CODECS.items():
        times: dict[str, list[Run]] = {"encode": [], "decode": []}
        try:
            for _ in range(runs):
                start = perf_counter()
                with (
                    VideoReader(clip) as reader,
                    VideoWriter(target, reader.info, codec=codec, options=options) as writer,
                ):
                    for frame in reader:
                        writer.write(frame)
                times["encode"].append(Run(perf_counter() - start, 0, 0))
                start = perf_counter()
                with VideoReader(target) as reader:
                    for _frame in reader:
                        pass
                times["decode"].append(Run(perf_counter() - start, 0, 0))
        except VtokError as error:
            yield {"what": name, "not_run": str(error)}
            continue
        for what, of in times.items():
            result = summary(of, num_frames)
            yield {"what": f"{name} {what}", **{key: result[key] for key in result if "frames" in key}}


def measure_networks(tokenizer: VideoTokenizer, runs: int, peer_python: str | None) -> Record:
    """The networks alone at 128 x 128, 16 frames, without entropy coding; and magvit2-pytorch, or why not."""
    info = VideoInfo(width=128, height=128, time_base=Fraction(1))
    rng = np.random.default_rng(0)
    shapes = ((128, 128), (64, 64), (64, 64))
    frames = []
    for i in range(16):
        y, u, v = (rng.integers(0, 256, shape, np.uint8) for shape in shapes)
        frames.append(Frame(y, u, v, i))
    model, encoding, decoding = tokenizer.pretrained, [], []
    encoder, decoder = ChunkEncoder(model, info, 5), ChunkDecoder(model, info)
    for _ in range(runs + 1):
        start = perf_counter()
        tokens = [encoder.encode(frames[i : i + 8]) for i in (0, 8)]
        encoder.start_group()
        encoding.append(Run(perf_counter() - start, 0, 0))
        start = perf_counter()
        decoder.start_group()
        for each in tokens:
            decoder.decode(each, range(8), 5)
        decoding.append(Run(perf_counter() - start, 0, 0))
    return {
        "vtok": {"encode": summary(encoding[1:], 16), "decode": summary(decoding[1:], 16)},
        "magvit2-pytorch": _magvit2(runs, peer_python),
    }


def _magvit2(runs: int, python: str | None) -> Record:
    if python is None:
        return {"not_run": "no environment given for it (--peer-python)"}
    script = Path(__file__).with_name("magvit2.py")
    done = subprocess.run([python, str(script), "--runs", str(runs)], capture_output=True, text=True)
    if done.returncode:
        return {"not_run": done.stderr.strip().splitlines()[-1]}
    result: Record = json.loads(done.stdout.splitlines()[-1])
    return result


def measure_lengths(source: Path, folder: Path) -> Iterator[Record]:
    """Peak memory of ten seconds and of ten minutes of the same small video."""
    width, height = SMALL
    clip, coded, decoded = folder / "long.mp4", folder / "long.vtok", folder / "long.out.mp4"
    for num_frames in LENGTHS:
        make_clip(source, clip, width=width, height=height, num_frames=num_frames)
        for command, names in (("encode", (clip, coded)), ("decode", (coded, decoded))):
            run = run_vtok([command, *map(str, names), "--force", "--quiet"])
            yield {"what": f"vtok {command}", "size": f"{width}x{height}", **summary([run], num_frames)}


def measure_start(clip: Path, folder: Path, runs: int) -> Iterator[Record]:
    """Commands that do hardly anything."""
    coded, decoded = str(folder / "one.vtok"), str(folder / "one.mp4")
    commands = {
        "vtok --help": ["--help"],
        "vtok encode, one frame": ["encode", str(clip), coded, "--end", "0.04", "--force", "--quiet"],
        "vtok info": ["info", coded],
        "vtok decode, one frame": ["decode", coded, decoded, "--force", "--quiet"],
    }
    for name, arguments in commands.items():
        result = summary([run_vtok(arguments) for _ in range(runs)], 1)
        yield {"what": name, **{key: result[key] for key in ("wall_seconds", "processor_seconds", "peak_mb")}}


def measure_stages(tokenizer: VideoTokenizer, clip: Path, folder: Path, quality: int, precision: str) -> list[Record]:
    """Milliseconds per frame of every step alone, its part of the processors' time, and how near the peak it is."""
    num_frames, arithmetic = 64, choose_arithmetic("cpu", precision)
    peak = peak_gflops(torch.bfloat16 if arithmetic.bfloat16 else torch.float32)
    through_files(tokenizer, clip, quality, folder, 16, Clock(), arithmetic)  # what is only done once
    clock = Clock()
    through_files(tokenizer, clip, quality, folder, num_frames, clock, arithmetic)
    with VideoReader(clip) as reader:
        pixels = reader.info.width * reader.info.height
    records = []
    for command, steps in STEPS.items():
        shares = clock.shares(command)
        for step in steps:
            record: Record = {"quality": quality, "precision": precision, "what": command, "step": step}
            record |= {"wall_ms": 1000 * clock.wall[step] / num_frames, "share": shares[step]}
            record |= {"processor_ms": 1000 * clock.processor[step] / num_frames}
            if step in NETWORKS:
                multiplications = 1000 * multiplications_per_pixel(tokenizer)[NETWORKS[step]] * pixels
                record |= {"gflops": 2e-9 * multiplications / (clock.wall[step] / num_frames), "peak_gflops": peak}
            records.append(record)
    return records


def performance(
    video: Annotated[Path, typer.Argument(help="A video; it is scaled, and played to and fro.", exists=True)],
    runs: Annotated[int, typer.Option(help="Runs of each command.", min=1)] = 3,
    peer_python: Annotated[
        str | None, typer.Option(help="Python of an environment with magvit2-pytorch and PyTorch.")
    ] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write all figures there.")] = None,
) -> None:
    """Print tables of medians over runs, and the range of each speed."""
    keep_freed_memory()  # as the commands do
    console, tokenizer = Console(width=130), VideoTokenizer.from_pretrained()
    results: Record = {
        "machine": describe(),
        "thousand_multiplications_per_pixel": multiplications_per_pixel(tokenizer),
    }
    results["machine"]["peak_gflops"] = {
        name: peak_gflops(dtype) for name, dtype in (("bfloat16", torch.bfloat16), ("float32", torch.float32))
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results["commands"] = list(measure_commands(video, folder, runs))
        compared = folder / f"{COMPARED}.mp4"
        results["codecs"] = list(measure_codecs(compared, folder, SIZES[COMPARED][2], runs))
        results["networks"] = measure_networks(tokenizer, runs, peer_python)
        results["start"] = list(measure_start(compared, folder, runs))
        results["lengths"] = list(measure_lengths(video, folder))
        results["stages"] = [
            record
            for precision in PRECISIONS
            for quality in ((1, 5, 7, 9) if precision == PRECISIONS[0] else (5,))
            for record in measure_stages(tokenizer, compared, folder, quality, precision)
        ]
    if json_path:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        json_path.write_text(json.dumps(results, indent=1))
    for table in tables(results):
        console.print(table)


def tables(results: Record) -> Iterator[Table | str]:
    """All results for people."""
    machine = {key: value for key, value in results["machine"].items() if key != "peak_gflops"}
    yield ", ".join(f"{key} {value}" for key, value in machine.items())
    peaks = (f"{value:.0f} GFLOP/s in {key}" for key, value in results["machine"]["peak_gflops"].items())
    yield f"a plain 3x3 convolution of 256 channels reaches {', '.join(peaks)}"
    counts = (f"{part} {count:.1f}" for part, count in results["thousand_multiplications_per_pixel"].items())
    yield f"thousand multiplications per pixel: {', '.join(counts)}"
    yield _table(
        "whole commands, file to file, start-up included",
        ("size", "command", "precision", "frames", "frames/s", "(range)", "processor s", "peak MB"),
        (
            (r["size"], r["what"], r["precision"], r["frames"], *_speed(r), f"{r['processor_seconds']:.1f}", _mb(r))
            for r in results["commands"]
        ),
    )
    yield _table(
        f"other codecs at {COMPARED}, without start-up",
        ("codec", "frames/s", "(range)"),
        ((r["what"], *((r["not_run"],) if "not_run" in r else _speed(r))) for r in results["codecs"]),
    )
    yield _networks_table(results)
    yield _table(
        "start-up",
        ("command", "wall s", "processor s", "peak MB"),
        ((r["what"], f"{r['wall_seconds']:.2f}", f"{r['processor_seconds']:.2f}", _mb(r)) for r in results["start"]),
    )
    yield _table(
        "memory by length",
        ("size", "command", "frames", "frames/s", "peak MB"),
        ((r["size"], r["what"], r["frames"], _speed(r)[0], _mb(r)) for r in results["lengths"]),
    )
    yield _stages_table(results["stages"])


def _networks_table(results: Record) -> Table:
    counts, rows = results["thousand_multiplications_per_pixel"], []
    for name, of in results["networks"].items():
        if "not_run" in of:
            rows.append((name, f"not run: {of['not_run']}", "", "", ""))
            continue
        for command, part in (("encode", "encoder"), ("decode", "decoder")):
            cost = of[command].get("thousand_multiplications_per_pixel", counts[part])
            rows.append((name, command, *_speed(of[command]), f"{cost:.1f}"))
    columns = ("networks at 128x128", "", "frames/s", "(range)", "thousand multiplications per pixel")
    return _table("networks alone, without entropy coding", columns, rows)


def _stages_table(records: list[Record]) -> Table:
    rows = []
    for r in records:
        peak = f"{r['gflops']:.0f} ({r['gflops'] / r['peak_gflops']:.0%})" if "gflops" in r else ""
        coding = "*" if r["step"] in ENTROPY_CODING else ""
        times = (f"{r['wall_ms']:.2f}", f"{r['processor_ms']:.2f}", f"{r['share']:.1%}{coding}")
        rows.append((r["quality"], r["precision"], r["what"], r["step"], *times, peak))
    columns = ("quality", "precision", "", "step", "wall ms", "processor ms", "share of processor", "GFLOP/s (of peak)")
    return _table(f"each step alone at {COMPARED}, per frame (*: entropy coding)", columns, rows)


def _table(title: str, columns: tuple[str, ...], rows: Any) -> Table:
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*map(str, row))
    return table


def _speed(record: Record) -> tuple[str, str]:
    low, high = record["slowest_frames_per_second"], record["fastest_frames_per_second"]
    return f"{record['frames_per_second']:.1f}", f"({low:.1f}-{high:.1f})"


def _mb(record: Record) -> str:
    return f"{record['peak_mb']:.0f}"


if __name__ == "__main__":
    typer.run(performance)
