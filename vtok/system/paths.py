"""Paths and the meaning of their suffixes."""

import os
from pathlib import Path

from vtok.errors import ConfigError

StrPath = str | os.PathLike[str]

VIDEO_SUFFIXES = frozenset(
    [
        ".3gp",
        ".avi",
        ".flv",
        ".gif",
        ".m2ts",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".mxf",
        ".nut",
        ".ogv",
        ".ts",
        ".webm",
        ".wmv",
        ".y4m",
    ]
)
"""Lower-case suffixes of the files in a folder that are taken for videos."""


def is_vtok(path: StrPath) -> bool:
    """Whether a path names a `.vtok` file."""
    return Path(path).suffix == ".vtok"


def require_vtok(target: StrPath) -> None:
    """Raise ConfigError if a file that is to be written as a `.vtok` file is not named like one."""
    if not is_vtok(target):
        raise ConfigError(f"{target}: unknown suffix {Path(target).suffix!r}. The name of the output ends in .vtok")
