"""Chooses the tracks of a file that are read, and names those that are left."""

from collections.abc import Iterable
from typing import Any

from av.audio.stream import AudioStream
from av.codec.context import Flags
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition, Stream
from av.subtitles.stream import SubtitleStream
from av.video.stream import VideoStream

from vtok.errors import MediaError
from vtok.video.values import printable

_TEXT_CODEC = "ansi"  # FFmpeg plays any text file as terminal output, which is no video
_ENCRYPTED = ("encv", "drmi")  # sample entries of MP4, where FFmpeg does not know the codec inside


def pick_video(container: InputContainer, name: str) -> VideoStream:
    """The video track that players choose.

    Raises:
        MediaError: There is none, or FFmpeg cannot decode it; it begins with `name`.
    """
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
        raise MediaError(f"{name}: has no video track")
    if stream.codec_context is None or stream.codec_context.name == _TEXT_CODEC:
        raise MediaError(f"{name}: is not a video in a format that this build of FFmpeg decodes")
    # With threads, decoders decode damaged video differently each time, and lose whole frames of it. Also, a thread
    # that logs something waits for Python, which may be waiting for that thread.
    stream.thread_count = 1
    # Otherwise the decoder cuts off less on the left than the stream says, so that rows begin at round addresses.
    stream.codec_context.flags |= Flags.unaligned
    return stream


def sound_of(container: InputContainer, video: VideoStream) -> list[AudioStream]:
    """The audio tracks, without those of other programmes than that of the video.

    PyAV has no list of programmes. But FFmpeg chooses a track to go with another one within its programme.
    """
    best = container.streams.best
    chosen = best("audio", related=video)
    return [sound for sound in container.streams.audio if best("audio", related=sound) is chosen]


def subtitles_of(container: InputContainer, video: VideoStream) -> list[SubtitleStream]:
    """The tracks of subtitles, likewise."""
    best = container.streams.best
    chosen = best("subtitle", related=video)
    return [text for text in container.streams.subtitles if best("subtitle", related=text) is chosen]


def is_encrypted(stream: VideoStream, packet: "Packet[Any]") -> bool:
    """Whether nobody without a key can decode a packet."""
    return packet.has_sidedata("encryption_info") or stream.codec_tag in _ENCRYPTED


def tracks_left(streams: Iterable[Stream], taken: Iterable[Stream]) -> str | None:
    """The tracks that are not carried over, by kind, codec and language; None if there are none."""
    numbers = {stream.index for stream in taken}
    left: dict[str, list[str]] = {}
    for stream in streams:
        is_chapters = stream.type == "data" and stream.discard == Discard.all  # repeats the chapters
        if stream.index not in numbers and not is_chapters:
            language = stream.language if stream.language != "und" else None
            name = stream.codec_context.codec.canonical_name if stream.codec_context else getattr(stream, "name", None)
            left.setdefault(stream.type, []).append(" ".join(filter(None, (name, language))))
    if not left:
        return None
    kinds = (
        f"{len(names)} {kind}" + (f" ({', '.join(filter(None, names))})" if any(names) else "")
        for kind, names in sorted(left.items())
    )
    return printable(f"tracks not carried over: {', '.join(kinds)}")
