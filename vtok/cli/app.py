"""The program `vtok` with all its commands.

Torch takes seconds to import, so each command imports what it needs when it runs.
"""

import os
import signal
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from platform import python_version
from types import FrameType
from typing import Annotated

import typer

from vtok.cli.benchmark import bench
from vtok.cli.coding import decode, encode
from vtok.cli.comparison import compare, preview
from vtok.cli.files import concat, cut, info, stats, verify
from vtok.cli.output import EXIT_FAILED, Reporter, prepare_streams
from vtok.cli.playing import play
from vtok.cli.tokens import tokens_app
from vtok.cli.training import train
from vtok.errors import VtokError, one_line
from vtok.system.memory import keep_freed_memory
from vtok.system.paths import is_vtok
from vtok.version import __version__

COMMANDS = (encode, decode, play, preview, stats, compare, bench, info, verify, cut, concat, train)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        libraries = ", ".join(f"{name} {version_of(name)}" for name in ("torch", "av", "constriction", "numpy"))
        print(f"vtok {__version__}\nPython {python_version()}, {libraries}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print versions and exit.")
    ] = False,
) -> None:
    """Neural video compression whose codes are also tokens.

    Without a command, the names choose it: `vtok in.mp4 out.vtok` encodes, `vtok in.vtok out.mp4` decodes.
    """


for command in COMMANDS:
    app.command()(command)
app.add_typer(tokens_app, name="tokens")


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)  # so that temporary files are removed on the way out


def with_command(arguments: list[str]) -> list[str]:
    """Add the command if `arguments` have none: `decode` if the first name ends in .vtok, else `encode`."""
    names = [argument for argument in arguments if not argument.startswith("-")]
    commands = {"tokens", *(command.__name__ for command in COMMANDS)}
    if not names or arguments[0] != names[0] or names[0] in commands or not Path(names[0]).suffix:
        return arguments
    return ["decode" if is_vtok(names[0]) else "encode", *arguments]


def main() -> None:
    """Run the `vtok` program; bad input gets an error of one line, and a traceback only with VTOK_DEBUG=1."""
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):  # Windows has no SIGHUP
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _terminate)
    prepare_streams()
    keep_freed_memory()
    sys.argv[1:] = with_command(sys.argv[1:])
    try:
        app(prog_name="vtok")
    except (VtokError, OSError) as error:
        if os.environ.get("VTOK_DEBUG"):
            raise
        Reporter().error(one_line(error))
        raise SystemExit(EXIT_FAILED) from None


if __name__ == "__main__":
    main()
