"""What the workers of a batch do: encode a video, or a range of one, with a model that each process loads once."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

from vtok.batch.ranges import SourceRange, encode_range
from vtok.container.groups import VideoGroup
from vtok.errors import VtokError
from vtok.files.encode import EncodeResult, encode_file
from vtok.model.tokenizer import VideoTokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeSettings:
    """How to encode: the arguments of `vtok.encode_file`, with a model's name or file instead of a tokenizer."""

    model: str
    quality: float = 5.0
    keyframe_seconds: float = 4.0
    allow_hdr: bool = False
    image_rate: Fraction | None = None
    with_audio: bool = True
    start_seconds: Fraction | float = 0
    end_seconds: Fraction | float | None = None
    verify: bool = False
    device: str = "auto"
    precision: str = "auto"

    def for_ranges(self) -> dict[str, Any]:
        """Those that concern a range too."""
        names = ("quality", "allow_hdr", "verify", "device", "precision")
        return {name: getattr(self, name) for name in names}

    def for_files(self) -> dict[str, Any]:
        """All but the model."""
        names = ("keyframe_seconds", "image_rate", "with_audio", "start_seconds", "end_seconds")
        return self.for_ranges() | {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a task returned, or the error that is its input's fault: not raised, so that engines pass it as it is."""

    result: Any = None
    error: VtokError | OSError | None = None


@cache
def tokenizer_named(model: str) -> VideoTokenizer:
    """The tokenizer of that name or file, loaded once."""
    return VideoTokenizer.from_pretrained(model)


def encode_whole(source: Path, target: Path, settings: EncodeSettings) -> Outcome:
    """Encode a file. A target is replaced: that of a task whose worker was lost may be there."""
    try:
        result: EncodeResult = encode_file(
            source, target, tokenizer=tokenizer_named(settings.model), overwrite=True, **settings.for_files()
        )
        return Outcome(result)
    except (VtokError, OSError) as error:
        return Outcome(error=error)


def encode_part(source: Path, part: SourceRange, settings: EncodeSettings) -> Outcome:
    """Encode a range of a file."""
    try:
        groups: list[VideoGroup] = encode_range(
            source, part, tokenizer=tokenizer_named(settings.model), **settings.for_ranges()
        )
        return Outcome(groups)
    except (VtokError, OSError) as error:
        return Outcome(error=error)
