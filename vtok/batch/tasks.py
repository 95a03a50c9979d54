"""The tasks of a batch's workers: encode a video, or a range of one, with a model that each process loads once."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtok.batch.ranges import SourceRange, encode_range
from vtok.errors import VtokError
from vtok.files.encode import encode_with
from vtok.files.options import EncodeOptions
from vtok.files.survey import Survey, surveyed
from vtok.files.trials import Trial
from vtok.model.loading import shared_model


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a task, or an error of its input. The error is not raised, so that engines pass it on unchanged."""

    result: Any = None
    error: VtokError | OSError | None = None


def encode_whole(source: Path, target: Path, options: EncodeOptions, survey: Survey | None = None) -> Outcome:
    """Encode a file. An existing target is replaced: it may come from a task whose worker was lost."""
    return _outcome(lambda: encode_with(options, source, target, overwrite=True, survey=survey))


def price(source: Path, options: EncodeOptions, survey: Survey | None, quality: float, every: bool) -> Outcome:
    """Return the survey of a file, with one more quality, by some of its groups or by every one."""
    return _outcome(lambda: surveyed(source, options, shared_model(options.model), survey, quality, every=every))


def code_group(source: Path, trial: Trial, options: EncodeOptions) -> Outcome:
    """Code a group of the frames of a file, which are given."""
    return _outcome(lambda: trial.coded(options, shared_model(options.model)))


def encode_part(source: Path, part: SourceRange, options: EncodeOptions) -> Outcome:
    """Encode a range of a file."""
    return _outcome(lambda: encode_range(source, part, options, model=shared_model(options.model)))


def _outcome(task: Callable[[], Any]) -> Outcome:
    try:
        return Outcome(task())
    except (VtokError, OSError) as error:
        return Outcome(error=error)
