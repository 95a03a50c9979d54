"""Writes docs/scale.md: the needs of a million hours of 720p, computed from the figures at the top of this file.

python tools/docs/generate_scale.py
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"


@dataclass(frozen=True)
class Figure:
    """A number to compute from, with its source."""

    value: float
    unit: str
    source: str


@dataclass(frozen=True)
class Figures:
    """All numbers to compute from. To change one, edit it here and run this file."""

    encode: Figure = Figure(
        17.3 / 2,
        "frames/s per core, to encode 1280x720 at quality 5",
        "measured: 17.3 frames/s on two cores with bfloat16, start-up of an 8-second clip included (performance.md)",
    )
    scan: Figure = Figure(
        227,
        "frames/s per core, to decode H.264 of 1280x720 and take checksums of it",
        "measured: mean of four clips, processor time",
    )
    rate: Figure = Figure(
        0.0528, "bits per pixel at quality 5", "measured: mean over the validation clips, at most 640 wide (quality.md)"
    )
    verify: Figure = Figure(350, "MB/s per core, for `vtok verify`", "measured: a file of 53 MB, processor time")
    status: Figure = Figure(412, "bytes of a line of `--json-lines`", "measured: mean of five files")
    reading: Figure = Figure(
        4.5e6,
        "tokens/s per core, to read them from files of quality 5",
        "measured: 9 million on two busy cores (limits.md)",
    )
    hours: Figure = Figure(1e6, "hours of video", "given")
    frames: Figure = Figure(25, "frames/s of the videos", "assumed")
    sound: Figure = Figure(128, "kbit/s of sound", "assumed")
    sources: Figure = Figure(2500, "kbit/s of the sources", "assumed")
    minutes: Figure = Figure(10, "minutes per file", "assumed")
    split: Figure = Figure(60, "seconds per range", "default of `--split-seconds`")
    part: Figure = Figure(8, "MB per request to an object store", "assumed")
    cores: Figure = Figure(10_000, "cores", "assumed")


def quantities(f: Figures) -> dict[str, tuple[str, float, str]]:
    """The results: for each name its formula, the number, and its unit."""
    v = {item.name: getattr(f, item.name).value for item in fields(f)}
    frames = v["hours"] * 3600 * v["frames"]
    encode_hours = frames / v["encode"] / 3600
    scan_hours = frames / v["scan"] / 3600
    total_hours = encode_hours + scan_hours
    pictures = frames * 1280 * 720 * v["rate"] / 8
    sound = v["hours"] * 3600 * v["sound"] * 1000 / 8
    sources = v["hours"] * 3600 * v["sources"] * 1000 / 8
    files = v["hours"] * 60 / v["minutes"]
    written = pictures + sound
    part = v["part"] * 1e6
    tokens = frames / 8 * 384 * 90 * 160
    return {
        "frames": ("hours x 3600 x frames/s", frames, "frames"),
        "encode_hours": ("frames / encode speed", encode_hours, "core hours"),
        "scan_hours": ("frames / scan speed, if all files are split", scan_hours, "core hours"),
        "total_hours": ("sum of these two", total_hours, "core hours"),
        "hours_per_hour": ("total / hours", total_hours / v["hours"], "core hours per hour of video"),
        "days": ("total / cores / 24", total_hours / v["cores"] / 24, "days"),
        "pictures": ("frames x 1280 x 720 x bits per pixel / 8", pictures / 1e12, "TB of pictures"),
        "sound": ("hours x 3600 x kbit/s / 8", sound / 1e12, "TB of sound"),
        "sources": ("hours x 3600 x kbit/s / 8", sources / 1e12, "TB of sources to read"),
        "files": ("hours x 60 / minutes per file", files, "files"),
        "file_bytes": ("(pictures + sound) / files", written / files / 1e6, "MB per file"),
        "ranges": ("hours x 3600 / seconds per range", v["hours"] * 3600 / v["split"], "ranges, if all are split"),
        "reads": ("sources / MB per request, twice if split", 2 * sources / part, "requests to read, at most"),
        "writes": ("(pictures + sound) / MB per request + 2 per file", written / part + 2 * files, "requests to write"),
        "gbit": (
            "(2 x sources + written) / time",
            8e-9 * (2 * sources + written) / (total_hours / v["cores"] * 3600),
            "Gbit/s in all",
        ),
        "status": ("files x bytes per line", files * v["status"] / 1e9, "GB of status lines"),
        "verify_hours": ("written / verify speed", written / (v["verify"] * 1e6) / 3600, "core hours to resume once"),
        "speedup": ("scan speed / encode speed", v["scan"] / v["encode"], "cores that one scan keeps busy"),
        "tokens": ("frames / 8 x 384 x 90 x 160", tokens, "tokens"),
        "reading_hours": ("tokens / reading speed", tokens / v["reading"] / 3600, "core hours to read them once"),
    }


def number(value: float) -> str:
    """Format a number with three significant digits."""
    if value >= 1e6:
        exponent = len(str(int(value))) - 1
        return f"{value / 10**exponent:.2f} x 10^{exponent}"
    return f"{float(f'{value:.3g}'):,.10g}"


def table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """A table in Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def page() -> str:
    """The whole page."""
    figures = Figures()
    results = quantities(figures)
    given = [getattr(figures, item.name) for item in fields(figures)]
    values = {name: number(value) for name, (_, value, _) in results.items()}
    return TEXT.format(
        figures=table(("number", "of", "from"), [(number(f.value), f.unit, f.source) for f in given]),
        results=table(
            ("number", "of", "computed as"),
            [(values[name], unit, formula) for name, (formula, _, unit) in results.items()],
        ),
        **values,
    )


TEXT = """# Scale

How many videos are encoded on many processors, and what a million hours would take. The figures are written by
`python tools/docs/generate_scale.py`, in which each stands once.

## Batches
    vtok encode videos/ -o coded/ --workers 8                  # processes of this machine
    vtok encode videos/ -o coded/ --engine ray                 # a Ray cluster; pip install 'vtok[ray]'
    vtok encode videos/ -o coded/ --engine ray --skip-existing # go on where a batch was stopped

* **A task per file**, and of videos longer than one and a half times `--split-seconds` one per range of about that
  length. Ranges end where groups do. The networks look back as many chunks as they have blocks, so a range begins
  that much earlier and drops those codes. The process that was started scans a long video: decodes it without the
  networks, finds its scene cuts, takes the CRC-32 of its frames, hands out ranges as it goes, and joins what comes
  back, with the sound, tags and times of the scan.
* **The files are those of a single process, byte for byte**, of split videos too. A range is decoded from a keyframe
  before it; if that gives other frames than the scan, as in damaged files, it is decoded from the beginning instead;
  and if even that differs, the file is encoded in one piece, which a notice says. What is true of all files holds
  here too: codes are the encoder's choice, and processors of different kinds, or bfloat16 on some machines only
  (`--precision`), can choose a few of them differently, and so may workers whose number of threads is no power of two.
  Such files decode as any others.
* **For a goal** (`--size`, `--total-size` and so on) a long video has a task per group: the process that was started
  reads the video and sends the frames of each, up to eight at a time, because the quality of a group depends on what
  came of those before it.
* **Not split**, one task each: parts of a source (`--start`, `--end`) without a goal, sequences of images, and videos
  whose header does not tell their length.
* **Lost workers**: a task whose process or machine is gone, or to which the system refused a file, is tried again,
  `--retries` times. What the input is to blame for fails at once and does not stop the rest.
* **Resuming**: outputs are complete or absent, so `--skip-existing` checks what is there, all its checksums, and does
  the rest. A long video that was not finished begins anew. A machine that dies can leave a temporary file, `.vtok-`
  and 16 hexadecimal digits.
* **Telling**: `--json-lines` prints a line for each file when it is done: what became of it, why, how often something
  was tried again. One progress display counts files and frames.
* **On a cluster** all machines see the same files under the same names, and have the same version of vtok. Ray finds
  the cluster by `RAY_ADDRESS` or by a node on this machine, else it uses this machine alone. A task takes `--threads`
  processors (default 1).

## A million hours of 720p
From these figures:

{figures}

follow these:

{results}

## Where the design would have to change
* **Time.** {hours_per_hour} core hours for each hour of video is the figure that everything else is small against.
  The networks take a GPU (`--device cuda`), whose speed is not measured here; the range coder stays on processors.
* **Sources come as names of files.** An object store would have to be mounted, or each task would fetch its file,
  encode it and put the result back. The encoder reads and writes from front to back, so pipes do for that (`vtok
  encode - -`), but ranges need to seek.
* **One process leads a batch.** It opens every file to see how long it is, and keeps a thread per worker, and the
  plan and all results in memory: {status} GB of status lines for {files} files. It was tried with two workers;
  thousands of threads and millions of results are not what it is made for. A list of files can be cut into batches,
  each with its log, which needs no change here.
* **Resuming reads what was written**, {pictures} + {sound} TB, to verify it: {verify_hours} core hours. A manifest
  with sizes and checksums of finished files would replace that, at the price of trusting it.
* **The scan is one process, and serial**: it keeps {speedup} cores busy with one long video, no more. To find ranges
  by packets, without decoding, would lift that, and their frames could no longer be checked before they are joined.
  With more files than workers there is no need to split (`--split-seconds 0`), and {scan_hours} core hours are saved.
* **A range that is done is in memory** until the ones before it are, and is lost with the leading process. Films of
  many hours would want ranges kept on the disk.
* **No task has a limit of time.** A file on which a decoder hangs holds a worker until somebody ends it.
* **Files of {file_bytes} MB** suit object stores; millions of them do not suit one folder. Sources are mirrored as
  they are, so they should lie in folders of some thousands.
* **To train on the result** is another matter: {tokens} tokens, most of them zero, are decoded by the range coder
  each time they are read ([`limits.md`](limits.md)), {reading_hours} core hours for one pass over everything.
  Windows, crops and the first channels only, or raw tokens of a part kept on disks, are what can be paid for.
"""


if __name__ == "__main__":
    PAGE.write_text(page())
