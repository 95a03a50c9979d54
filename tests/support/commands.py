"""What a shell sees of a command, and what every failure has to look like."""

import re
from inspect import getdoc
from pathlib import Path
from typing import NamedTuple


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


def in_folder():
    return sorted(path.name for path in Path.cwd().iterdir())


def assert_failed(outcome, message):
    """Failed with exactly one line, as promised, and wrote nothing."""
    assert (outcome.code, outcome.out) == (1, "")
    assert re.fullmatch(rf"vtok: error: {message}[^\n]*\n", outcome.err), outcome.err
    assert not [name for name in in_folder() if name.startswith(".vtok-")]


def documented_attributes(kind):
    return re.findall(r"^    (\w+): ", getdoc(kind).partition("Attributes:\n")[2], re.M)
