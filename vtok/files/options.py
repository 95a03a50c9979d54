"""The options of `encode_file` and `decode_file`, checked; they can be pickled and sent to workers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from vtok.codec.effort import Effort
from vtok.files.goals import KINDS, Goal, goal_of
from vtok.model.registry import DEFAULT_MODEL
from vtok.video.filters import Filters, filters_of
from vtok.video.times import MAX_RATE, exact_seconds
from vtok.video.values import require_real


@dataclass(frozen=True, slots=True, kw_only=True)
class _PartOptions:
    """The part of a video to take, and how to compute.

    Attributes:
        start_seconds: Leave out frames that begin earlier than this after the first frame.
        end_seconds: Leave out frames that begin at this time after the first frame or later; None for the end.
        with_audio: Copy all audio tracks, as far as the target can hold them.
        with_subtitles: Copy all tracks of subtitles, likewise.
        device: The device that the networks run on, one of `vtok.networks.arithmetic.DEVICES`.
        precision: The number format of the networks' products, one of `vtok.networks.arithmetic.PRECISIONS`.
    """

    start_seconds: Fraction | float = 0
    end_seconds: Fraction | float | None = None
    with_audio: bool = True
    with_subtitles: bool = True
    device: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        require_real("start_seconds", self.start_seconds, "seconds, 0 or more", lambda x: 0 <= x < math.inf)
        if self.end_seconds is not None:
            start = exact_seconds(self.start_seconds)
            expected = f"seconds after start_seconds, {float(start):g}, or None"
            require_real(
                "end_seconds", self.end_seconds, expected, lambda x: 0 <= x < math.inf and exact_seconds(x) > start
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeOptions(_PartOptions):
    """The options of encoding; see `vtok.encode_file`.

    Attributes:
        model: Name or file of the model, used if no tokenizer is given.
        quality: 1 (smallest) to 9 (best).
        effort: How much time the encoder takes.
        goal: What the file should come to, in place of the quality; see `vtok.files.goals`.
        keyframe_seconds: Length in seconds of the groups that can be decoded on their own, at most; infinity for the
            longest.
        scene_cuts: End groups at scene cuts too.
        allow_hdr: Accept HDR video; its colours are cut to 8 bits without conversion.
        image_rate: Frames per second of a sequence of images; None for 25.
        filters: What is done to the pictures first; None for nothing.
        verify: Decode the codes of each group before it is written, and check the written file on the disk.

    Raises:
        ConfigError: An option is outside its allowed range.
    """

    model: str = DEFAULT_MODEL
    quality: float = 5.0
    effort: Effort = Effort.NORMAL
    goal: Goal | None = None
    keyframe_seconds: float = 4.0
    scene_cuts: bool = True
    allow_hdr: bool = False
    image_rate: Fraction | None = None
    filters: Filters | None = None
    verify: bool = False

    def __post_init__(self) -> None:
        _PartOptions.__post_init__(self)
        require_real("quality", self.quality, "1 (smallest) to 9 (best)", lambda x: 1 <= x <= 9)
        object.__setattr__(self, "quality", float(self.quality))  # a number of NumPy could not be written into a header
        object.__setattr__(self, "effort", Effort(self.effort))
        require_real("keyframe_seconds", self.keyframe_seconds, "seconds, more than 0", lambda x: x > 0)
        if self.image_rate is not None:
            expected = f"frames per second, above 0 and at most {MAX_RATE}, or None"
            require_real("image_rate", self.image_rate, expected, lambda x: 0 < x <= MAX_RATE)


def encode_options(**arguments: Any) -> EncodeOptions:
    """Return the options that arguments of `encode_file` make: those of a goal make one, and so do those of filters."""
    goal = goal_of(**{kind: arguments.pop(kind, None) for kind in KINDS})
    filters = filters_of(**{name: arguments.pop(name, None) for name in ("scale", "fps", "crop")})
    return EncodeOptions(goal=goal, filters=filters, **arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeOptions(_PartOptions):
    """The options of decoding; see `vtok.decode_file`.

    Attributes:
        codec: Codec of a video; None for the default of the target's container.
        codec_options: FFmpeg options of the codec.
        output_format: Format for standard output, one of `vtok.media.outputs.FORMATS`.
        recover: Write the intact part of a damaged source.

    Raises:
        ConfigError: An option is outside its allowed range.
    """

    codec: str | None = None
    codec_options: Mapping[str, str] | None = None
    output_format: str | None = None
    recover: bool = False
