"""The measurements so far, in one file that is saved after each measurement, so that a stopped run can continue."""

import json
from pathlib import Path
from typing import Any

from vtok.errors import ConfigError
from vtok.system.atomic import write_atomically

KEY_FIELDS = ("clip_sha256", "max_frames", "max_width", "codec", "build", "setting", "with_vmaf", "pictures")
"""The fields that identify a measurement; `pictures` is None except for frames to be looked at."""
FILE_NAME = "measured.json"


class Records:
    """The records in the folder of a report, by `key_of`.

    Args:
        folder: The folder, made if it is missing.
        again: Ignore records of earlier runs, so that everything is measured anew.

    Raises:
        ConfigError: The folder holds something else, which must not be mixed with a report.
    """

    def __init__(self, folder: Path, *, again: bool = False) -> None:
        self._path = folder / FILE_NAME
        self._again = again
        self._fresh: set[tuple[Any, ...]] = set()
        self._records: dict[tuple[Any, ...], dict[str, Any]] = {}
        if self._path.exists():
            self._records = _read(self._path)
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder}: is there and holds no {FILE_NAME} of vtok bench. Choose another folder")
        folder.mkdir(parents=True, exist_ok=True)

    def find(self, job: dict[str, Any]) -> dict[str, Any] | None:
        """The record of a job, if it was measured."""
        key = key_of(job)
        return None if self._again and key not in self._fresh else self._records.get(key)

    def add(self, record: dict[str, Any]) -> None:
        """Add a record, and save all records, including those of other clips and settings."""
        key = key_of(record)
        self._records[key] = record
        self._fresh.add(key)
        text = json.dumps({"records": list(self._records.values())}, indent=1) + "\n"
        write_atomically(self._path, text.encode())


def key_of(record: dict[str, Any]) -> tuple[Any, ...]:
    """The key that identifies a measurement."""
    return tuple(record[name] for name in KEY_FIELDS)


def _read(path: Path) -> dict[tuple[Any, ...], dict[str, Any]]:
    try:
        return {key_of(record): record for record in json.loads(path.read_text())["records"]}
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{path}: was not written by this version of vtok bench. Choose another folder") from None
