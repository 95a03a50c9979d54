"""Check whether a `.vtok` file is sound, as far as possible without its model."""

import os
from dataclasses import dataclass

from vtok.container.survey import survey
from vtok.errors import VtokError
from vtok.system.paths import StrPath
from vtok.system.sources import ByteSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The result of checking a file.

    Attributes:
        path: Path of the file.
        num_bytes: Size of the file.
        is_sound: Whether there are no faults.
        num_frames: Number of frames in the file as it was written, as far as that is known.
        num_intact_frames: Number of frames in intact groups.
        faults: The faults, in the order of the file, each with `byte_offset`, `end_offset` and `message`.
    """

    path: str
    num_bytes: int
    is_sound: bool
    num_frames: int
    num_intact_frames: int
    faults: list[dict[str, int | str]]

    def summary(self) -> str:
        """The result in one line, for people."""
        if self.is_sound:
            return f"{self.path}: sound, {self.num_frames} frames, {self.num_bytes} bytes"
        return f"{self.path}: {self.num_intact_frames} of {self.num_frames} frames are intact"


def verify_file(path: StrPath) -> Verification:
    """Check everything in the file at `path` that can be checked without its model.

    Raises:
        FormatError: The file is not a `.vtok` file.
        UnsupportedVersionError: The file needs a newer reader.
    """
    with ByteSource(path).opened() as file:
        found = survey(file)
        num_bytes = file.seek(0, os.SEEK_END)
    return Verification(
        path=str(path),
        num_bytes=num_bytes,
        is_sound=not found.faults,
        num_frames=found.num_frames,
        num_intact_frames=sum(location.num_frames for location in found.groups),
        faults=[fault._asdict() for fault in found.faults],
    )


def is_sound(path: StrPath) -> bool:
    """Whether the file at `path` is a `.vtok` file without faults."""
    try:
        return verify_file(path).is_sound
    except VtokError:
        return False
