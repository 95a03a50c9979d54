"""The command that plays a `.vtok` file: `play`."""

from pathlib import Path
from typing import Annotated

from vtok.cli import options
from vtok.cli.loading import load, set_threads
from vtok.cli.output import Reporter


def play(
    file: Annotated[Path, options.PathArgument(help="The .vtok file, or - for stdin.")],
    start: options.Start = None,
    no_audio: options.NoAudio = False,
    no_subtitles: options.NoSubtitles = False,
    quiet: options.Quiet = False,
    model: options.OtherModel = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    threads: options.Threads = None,
) -> None:
    """Play a .vtok file, with sound, in ffplay or mpv, whichever is found first.

    It is decoded while it plays: a picture larger than this machine decodes in time stutters. To close the player ends
    the command.

    Example: vtok play holiday.vtok --start 1:30
    """
    from vtok.files.play import play_file
    from vtok.video.times import parse_seconds

    set_threads(threads)
    result = play_file(
        file,
        start_seconds=parse_seconds(start) if start else 0,
        with_audio=not no_audio,
        with_subtitles=not no_subtitles,
        tokenizer=load(model) if model else None,
        device=device,
        precision=precision,
    )
    Reporter(quiet=quiet).notices(result.source, result.notices)
