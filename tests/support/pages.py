"""The blocks of a page of documentation, run as people type them."""

import re
import shlex

from support.videos import ROOT
from vtok.cli.app import app

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


SHELL = ("sh", "bash", "console")

SMALL_BENCHMARK = ["--codecs", "vtok,x264-ultrafast", "--qualities", "3,5", "--crfs", "30,40", "--frames", "4"]


def shell_lines(block):
    """The commands of a block as lists of words, up to the first pipe or redirection; `$ ` marks them in a session."""
    lines = block.replace("\\\n", " ").splitlines()
    if any(line.startswith("$ ") for line in lines):
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    for line in lines:
        words = shlex.split(line, comments=True)
        ends = [i for i, word in enumerate(words) if word in ("|", ">", ">>")]
        if words:
            yield words[: min(ends, default=None)]


def run_shell(words, runner):
    program, *arguments = words
    if program == "vtok":
        if arguments[0] == "train":
            arguments += ["--minutes", "0", "--config", "small.toml"]  # the last of an option counts
        if arguments[0] == "bench":
            arguments += SMALL_BENCHMARK
        result = runner.invoke(app, arguments)
        assert result.exit_code == 0, f"{shlex.join(words)}: {result.output} {result.exception}"
    elif program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert all(word in targets for word in arguments if "=" not in word), f"{shlex.join(words)}: no such target"
    elif program == "python":
        assert (ROOT / arguments[0]).is_file(), f"{shlex.join(words)}: no such script"
    else:
        assert program in ("git", "pip", "cd"), f"{shlex.join(words)}: no test knows how to try this"
