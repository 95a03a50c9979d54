"""Plays a `.vtok` file in a program for videos, as it is decoded."""

from dataclasses import dataclass
from fractions import Fraction

from vtok.codec.compressed_video import CompressedVideo
from vtok.codec.output_part import output_part
from vtok.media.player import PlayerWriter, play
from vtok.model.tokenizer import VideoTokenizer
from vtok.networks.arithmetic import choose_arithmetic
from vtok.system.sources import Readable
from vtok.system.standard_streams import local_source


@dataclass(frozen=True, slots=True, kw_only=True)
class Playback:
    """The outcome of `play_file`.

    Attributes:
        source: The file.
        num_frames: Number of frames that the player was given.
        is_complete: Whether that is all of them; else the player was closed before.
        notices: What could not be played, one line each.
    """

    source: str
    num_frames: int
    is_complete: bool
    notices: list[str]


def play_file(
    source: Readable,
    *,
    start_seconds: Fraction | float = 0,
    with_audio: bool = True,
    with_subtitles: bool = True,
    tokenizer: VideoTokenizer | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> Playback:
    """Play a `.vtok` file in ffplay or else mpv, with sound; return when the player ends, or is closed.

    Args:
        source: The file, as `decode_file` takes it.
        start_seconds: Leave out frames that begin earlier than this after the first frame.
        with_audio: Play the sound too.
        with_subtitles: Show the subtitles too.
        tokenizer: The tokenizer that decodes; default: the one in this package that the file names.
        device: The device that the networks run on, one of `vtok.networks.arithmetic.DEVICES`.
        precision: The number format of the networks' products, one of `vtok.networks.arithmetic.PRECISIONS`.

    Raises:
        VtokError: There is no player, it fails, or the file cannot be decoded.
    """
    arithmetic = choose_arithmetic(device, precision)
    with (
        local_source(source) as local,
        CompressedVideo(local, tokenizer=tokenizer, arithmetic=arithmetic) as video,
    ):
        part = output_part(video, start_seconds, None, with_audio=with_audio, with_subtitles=with_subtitles)
        num_given, notices = 0, list[str]()

        def write(writer: PlayerWriter) -> None:
            nonlocal notices
            notices = list(writer.notices)  # what comes later is of timestamps, and no loss
            part.write(writer, count)

        def count(frames: int) -> None:
            nonlocal num_given
            num_given += frames

        is_complete = play(local.name, part.info, part.extras, write)
    return Playback(source=local.name, num_frames=num_given, is_complete=is_complete, notices=notices)
