"""Paths and the meaning of their suffixes."""

import os
from pathlib import Path

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
