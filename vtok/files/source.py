"""Opens a source as the options of encoding say: filters, range of time, tracks, groups."""

from collections.abc import Iterator
from contextlib import contextmanager

from vtok.codec.packet_queue import PacketQueue
from vtok.codec.source import SourceChunk, SourcePart
from vtok.files.options import EncodeOptions
from vtok.media.reader import VideoReader
from vtok.system.paths import StrPath


def source_reader(
    path: StrPath, options: EncodeOptions, *, name: StrPath | None = None, packets: PacketQueue | None = None
) -> VideoReader:
    """Open the whole of a source.

    Args:
        path: A local file, or a pattern of images.
        options: The options of encoding.
        name: Its name in messages; default: `path`.
        packets: Receives the packets of sound and subtitles that are wanted; None leaves them out.

    Raises:
        MediaError: It cannot be read as a video.
    """
    return VideoReader(
        path,
        name=name,
        allow_hdr=options.allow_hdr,
        image_rate=options.image_rate,
        filters=options.filters,
        sink=packets,
        with_audio=options.with_audio,
        with_subtitles=options.with_subtitles,
    )


@contextmanager
def opened_part(
    path: StrPath, options: EncodeOptions, *, name: StrPath | None = None, with_packets: bool = True
) -> Iterator[tuple[VideoReader, SourcePart]]:
    """Open the range of a source that is to be encoded; `source_reader` explains the other arguments and errors.

    Args:
        path: The source.
        options: The options of encoding.
        name: Its name in messages.
        with_packets: Whether packets of sound and subtitles are read too.

    Yields:
        The reader of the whole source, which knows notices and errors, and the part.
    """
    packets = PacketQueue() if with_packets else None
    with source_reader(path, options, name=name, packets=packets) as reader:
        yield reader, SourcePart(reader, packets, options.start_seconds, options.end_seconds)


def chunks_of(part: SourcePart, options: EncodeOptions) -> Iterator[SourceChunk]:
    """Yield the chunks of a part, in the groups that the options make."""
    return part.chunks(options.keyframe_seconds, scene_cuts=options.scene_cuts)
