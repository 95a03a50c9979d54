"""Arguments and options that several commands share."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from vtok.cli.meters import Style
from vtok.codec.effort import Effort

# A file without permission to read gets an error of one line when it is read, and a batch goes on: no usage error.
PathArgument = partial(typer.Argument, readable=False)
PathOption = partial(typer.Option, readable=False)


def json_option(kind: str) -> Any:
    """Return the option `--json`, which prints an object of that kind."""
    return typer.Option("--json", help=f"Print one JSON object: {kind}.")


Force = Annotated[bool, typer.Option("-f", "--force", help="Overwrite the output if it exists.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress, notices or summary.")]
ProgressStyle = Annotated[
    Style,
    typer.Option("--progress", help="auto: a bar or log lines; json: for programs, one object a second on stderr."),
]
Threads = Annotated[int | None, typer.Option(help="Processor threads; default: all.", min=1)]
Start = Annotated[str | None, typer.Option(help="Begin here: seconds or HH:MM:SS after the first frame.")]
End = Annotated[str | None, typer.Option(help="Stop before this: seconds or HH:MM:SS after the first frame.")]
Duration = Annotated[str | None, typer.Option(help="Stop this long after the start: seconds or HH:MM:SS.")]
Quality = Annotated[float | None, typer.Option(help="1 (smallest) to 9 (best).", min=1, max=9, show_default="5")]
EffortName = Annotated[
    Effort, typer.Option("--effort", help="Time to take for fewer bytes: fast two thirds of normal, high six times.")
]
Size = Annotated[
    str | None, typer.Option(help="In place of a quality: size of the file, never exceeded, such as 25MB or 24MiB.")
]
TotalSize = Annotated[
    str | None,
    typer.Option(
        help="With -o: size of all files together, never exceeded, such as 2GB; all get about the same quality."
    ),
]
Bitrate = Annotated[str | None, typer.Option(help="Bits per second of the file, never exceeded, such as 800k or 1.5M.")]
Ratio = Annotated[str | None, typer.Option(help="Bytes of raw frames for one byte of the file, at least, such as 20.")]
Psnr = Annotated[str | None, typer.Option(help="PSNR-YUV in dB, within 0.1, such as 36.")]
Ssim = Annotated[str | None, typer.Option(help="SSIM of luma, within 0.002, such as 0.97.")]
Vmaf = Annotated[str | None, typer.Option(help="VMAF, within 0.5, such as 90; needs an ffmpeg with libvmaf.")]
KeyframeSeconds = Annotated[
    float, typer.Option(help="Length of the groups that can be decoded on their own, at most, in seconds.", min=0.01)
]
NoSceneCuts = Annotated[bool, typer.Option("--no-scene-cuts", help="Groups of one length, also across scene cuts.")]
Verify = Annotated[
    bool, typer.Option("--verify", help="Decode all codes as they are written, and check the file on the disk.")
]
AllowHdr = Annotated[
    bool, typer.Option("--allow-hdr", help="Accept HDR video; its colours are cut to 8 bits as they are.")
]
ImageRate = Annotated[
    str | None, typer.Option("--image-rate", help="Frames per second of images, such as 24 or 30000/1001; default: 25.")
]
Scale = Annotated[
    str | None, typer.Option(help="Width and height of the coded pictures, as 1280:720, or 1280:-2 to keep the shape.")
]
Fps = Annotated[
    str | None, typer.Option(help="Frames per second, such as 24 or 30000/1001; default: the times of the source.")
]
Crop = Annotated[
    str | None, typer.Option(help="Part of the pictures, before scaling: WIDTH:HEIGHT:X:Y, or WIDTH:HEIGHT.")
]
Codec = Annotated[
    str | None, typer.Option(help="Video codec; ffv1 is lossless.", show_default="libx264; libvpx-vp9 in .webm")
]
OutputFormat = Annotated[
    str | None, typer.Option("--format", help="Format of stdout: mp4, mkv, webm, gif, y4m, raw, png and so on.")
]
Recover = Annotated[
    bool, typer.Option("--recover", help="Write what is intact of a damaged file, and hold the picture in gaps.")
]
Model = Annotated[str, typer.Option(help="Name of a model at hand, or a .safetensors file.")]
OtherModel = Annotated[str | None, typer.Option(help="A .safetensors file, for a file that was written with one.")]
NoAudio = Annotated[bool, typer.Option("--no-audio", help="Leave the sound out.")]
NoSubtitles = Annotated[bool, typer.Option("--no-subtitles", help="Leave the subtitles out.")]
Device = Annotated[str, typer.Option(help="Where the networks run: auto, cpu or cuda.")]
Precision = Annotated[str, typer.Option(help="Number format of the networks: auto, float32 or bfloat16.")]
OutputFolder = Annotated[
    Path | None, PathOption("-o", "--output", help="Folder for any number of inputs; folders are mirrored below it.")
]
SkipExisting = Annotated[
    bool, typer.Option("--skip-existing", help="With -o: skip outputs that exist already, as after an interruption.")
]
JsonLines = Annotated[
    bool,
    typer.Option("--json-lines", help="With -o: print one JSON object per file when it is done, a JobResult."),
]
Workers = Annotated[
    int | None, typer.Option(help="With -o: number of files, or ranges of long ones, encoded at once.", min=1)
]
EngineName = Annotated[
    str, typer.Option("--engine", help="With -o: local for processes here, ray for a cluster (needs vtok[ray]).")
]
SplitSeconds = Annotated[
    float, typer.Option(help="With workers: length of the ranges of long videos in seconds; 0: never split.", min=0)
]
Retries = Annotated[
    int, typer.Option(help="With workers: number of further tries for a task whose worker was lost.", min=0)
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="With -o: only print what would be done.")]
Estimated = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Write nothing: estimate size, quality and time of one video; with -o only list the outputs."
    ),
]
