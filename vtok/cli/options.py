"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Force = Annotated[bool, typer.Option("-f", "--force", help="Overwrite the output if it exists.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress, notices or summary.")]
Threads = Annotated[int | None, typer.Option(help="Processor threads; default: all.", min=1)]
Start = Annotated[str | None, typer.Option(help="Begin here: seconds or HH:MM:SS after the first frame.")]
End = Annotated[str | None, typer.Option(help="Stop before this: seconds or HH:MM:SS after the first frame.")]
Duration = Annotated[str | None, typer.Option(help="Stop so long after the start.")]
Model = Annotated[str, typer.Option(help="Name of a model at hand, or a .safetensors file.")]
OtherModel = Annotated[str | None, typer.Option(help="A .safetensors file, for a file that was written with one.")]
NoAudio = Annotated[bool, typer.Option("--no-audio", help="Leave the sound out.")]
Device = Annotated[str, typer.Option(help="Where the networks run: auto, cpu or cuda.")]
Precision = Annotated[str, typer.Option(help="What they multiply in: auto, float32 or bfloat16.")]
OutputFolder = Annotated[
    Path | None, typer.Option("-o", "--output", help="Folder for any number of inputs; folders are mirrored below it.")
]
SkipExisting = Annotated[
    bool, typer.Option("--skip-existing", help="With -o: leave out what is there already, as after an interruption.")
]
JsonLines = Annotated[
    bool,
    typer.Option("--json-lines", help="With -o: print one JSON object per file when it is done, a JobResult."),
]
Workers = Annotated[
    int | None, typer.Option(help="With -o: encode so many files, or ranges of long ones, at once.", min=1)
]
EngineName = Annotated[
    str, typer.Option("--engine", help="With -o: where: local, processes; ray, a cluster (needs vtok[ray]).")
]
SplitSeconds = Annotated[
    float, typer.Option(help="With workers: length of the ranges of long videos; 0: never split.", min=0)
]
Retries = Annotated[int, typer.Option(help="With workers: try again so often what was lost with one.", min=0)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="With -o: only say what would be done.")]
