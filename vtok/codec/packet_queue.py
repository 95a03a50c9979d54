"""A queue for the packets of sound and subtitles of a source that is written into a `.vtok` file."""

from collections.abc import Iterator, Sequence
from fractions import Fraction

from vtok.container.packets import PacketChunk, PacketChunks
from vtok.video.times import Span
from vtok.video.tracks import Track, TrackPacket


class PacketQueue:
    """Takes packets from a reader and returns them as chunks when they are due; a `PacketSink`."""

    def __init__(self) -> None:
        self._tracks: Sequence[Track] = ()
        self._chunks: PacketChunks | None = None
        self._span, self._shift = Span(), Fraction(0)

    def start(self, tracks: Sequence[Track], time_base: Fraction) -> None:
        """Set the tracks of the packets, and the time base of the pictures."""
        self._tracks, self._chunks = tracks, PacketChunks(tracks, time_base)

    def push(self, packet: TrackPacket) -> None:
        """Append a packet, unless it begins outside the span that is kept.

        Raises:
            ConfigError: The packet is too large for a chunk, or one of its times is out of range.
        """
        if self._chunks is not None and self._span.has(packet.seconds(self._tracks)):
            self._chunks.push(packet.moved(self._shift, self._tracks))

    def keep(self, span: Span, shift: Fraction) -> None:
        """Keep only packets that begin in `span`, past and future ones, and move them by `shift` seconds."""
        early = list(self.take())
        self._span, self._shift = span, shift
        for payload in early:
            for packet in PacketChunk.from_bytes(payload, len(self._tracks)).packets:
                self.push(packet)

    @property
    def is_due(self) -> bool:
        """Whether a whole chunk is waiting."""
        return self._chunks is not None and self._chunks.is_due

    def take(self) -> Iterator[bytes]:
        """Return the payloads of all chunks so far; afterwards the queue is empty."""
        return iter(()) if self._chunks is None else self._chunks.take()
