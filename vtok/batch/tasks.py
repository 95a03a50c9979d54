"""What the workers of a batch do: encode a video, or a range of one, with a model that each process loads once."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtok.batch.ranges import SourceRange, encode_range
from vtok.errors import VtokError
from vtok.files.encode import encode_with
from vtok.files.options import EncodeOptions
from vtok.model.loading import shared_model


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a task returned, or the error that is its input's fault: not raised, so that engines pass it as it is."""

    result: Any = None
    error: VtokError | OSError | None = None


def encode_whole(source: Path, target: Path, options: EncodeOptions) -> Outcome:
    """Encode a file. A target is replaced: that of a task whose worker was lost may be there."""
    return _outcome(lambda: encode_with(options, source, target, overwrite=True))


def encode_part(source: Path, part: SourceRange, options: EncodeOptions) -> Outcome:
    """Encode a range of a file."""
    return _outcome(lambda: encode_range(source, part, options, model=shared_model(options.model)))


def _outcome(task: Callable[[], Any]) -> Outcome:
    try:
        return Outcome(task())
    except (VtokError, OSError) as error:
        return Outcome(error=error)
