"""Packets of sound and subtitles as bytes: the payload of an apkt chunk.

    payload   when the first packet begins i64 and the last one ends i64, packets u32, CRC-32 of these 20 bytes u32
              packets, one after the other, to the end of the payload
    packet    track, flags, [change of pts, dts less pts, duration], size: varints; [side data]; its bytes

A packet is copied bit for bit from the source. Usually it begins when the packet before it on its track ends, and is as
long. Then a flag says so, and the packet's overhead is four bytes.
"""

import struct
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from math import ceil, floor
from typing import NamedTuple, TypeAlias

from vtok.container.chunks import CRC_BYTES, MAX_CHUNK_BYTES, with_crc, without_crc
from vtok.container.varints import read_varint, unzigzag, varint, zigzag
from vtok.errors import ChecksumError, ConfigError, FormatError, LimitError
from vtok.video.tracks import Track, TrackPacket, kinds_of
from vtok.video.values import MAX_TIME, MIN_TIME

CHUNK_BYTES = 256 << 10
"""A chunk is closed before a packet that would make it longer than this."""

MAX_PACKET_BYTES = MAX_CHUNK_BYTES - (1 << 16)  # with its side data
MAX_PACKETS = 16384  # per chunk, so that a list of packets takes little more memory than their bytes
_MAX_SIDE_DATA = 16  # pieces per packet
_KEY, _CORRUPT, _SIDE_DATA, _FOLLOWS = 1, 2, 4, 8
_FIELDS = struct.Struct("<qqI")
HEAD_BYTES = _FIELDS.size + CRC_BYTES
# For each track of a chunk so far: the expected begin of its next packet, and the duration of the last one.
_Expected: TypeAlias = dict[int, tuple[int, int]]


class PacketHead(NamedTuple):
    """The fixed part of the payload. Its own CRC allows readers to find a time, and to report damage, from it alone.

    Times are in units of the header's time base: `begin` is rounded down, `end` up.
    """

    begin: int
    end: int
    num_packets: int

    @classmethod
    def from_bytes(cls, payload: bytes) -> "PacketHead":
        """The fixed part at the beginning of `payload`, or FormatError."""
        body = without_crc(payload[:HEAD_BYTES])
        if len(payload) < HEAD_BYTES or body is None:
            raise ChecksumError("the description of its packets is damaged")
        return cls(*_FIELDS.unpack(body))

    def loss(self, tracks: Sequence[Track], time_base: Fraction) -> str:
        """What is missing without the packets, in words, for messages."""
        kinds, begin, end = kinds_of(tracks), float(self.begin * time_base), float(self.end * time_base)
        return f"{kinds} from {begin:.3f} s to {end:.3f} s {'is' if kinds == 'sound' else 'are'} lost"


@dataclass(frozen=True, slots=True)
class PacketChunk:
    """Packets that are stored together in a file, in the order of the source."""

    packets: list[TrackPacket]

    @classmethod
    def from_bytes(cls, payload: bytes, num_tracks: int) -> "PacketChunk":
        """The packets in the payload of an apkt chunk.

        Raises:
            LimitError: More than 16384 packets are declared.
            FormatError: A number has no end or is out of range, a length does not fit the payload, or there are more or
                fewer packets than declared.
        """
        head = PacketHead.from_bytes(payload)
        if head.num_packets > MAX_PACKETS:
            raise LimitError(f"{head.num_packets} packets declared: the limit is {MAX_PACKETS}")
        position = HEAD_BYTES
        packets: list[TrackPacket] = []
        expected: _Expected = {}
        while position < len(payload) and len(packets) <= head.num_packets:
            packet, position = _read_packet(payload, position, expected)
            if packet.track >= num_tracks:
                raise FormatError(f"packet of track {packet.track}: the header has {num_tracks}")
            packets.append(packet)
        if len(packets) != head.num_packets:
            raise FormatError(f"{head.num_packets} packets declared: there are others")
        return cls(packets)


class PacketChunks:
    """Collects packets into chunks.

    The packets wait, whole chunks of them on the disk, until the writer of the file reaches their place. So memory does
    not depend on how a source interleaves sound and pictures.

    Args:
        tracks: The tracks that the packets belong to.
        time_base: Time base of the header.
    """

    def __init__(self, tracks: Sequence[Track], time_base: Fraction) -> None:
        self._tracks, self._time_base = tracks, time_base
        self._full = tempfile.SpooledTemporaryFile(max_size=4 * CHUNK_BYTES)  # noqa: SIM115 (lives as long as this)
        weakref.finalize(self, self._full.close)
        self._sizes: list[int] = []
        self._records, self._num_packets = bytearray(), 0  # the chunk that is being filled
        self._begin = self._end = Fraction(0)  # of its packets, in seconds
        self._expected: _Expected = {}

    @property
    def is_due(self) -> bool:
        """Whether a whole chunk is waiting."""
        return bool(self._sizes)

    def push(self, packet: TrackPacket) -> None:
        """Append a packet.

        Raises:
            ConfigError: The packet is too large for a chunk, or a time is out of range.
        """
        record = _packed(packet, self._expected)
        is_full = HEAD_BYTES + len(self._records) + len(record) > CHUNK_BYTES or self._num_packets == MAX_PACKETS
        if self._num_packets and is_full:
            self._end_chunk()
            record = _packed(packet, self._expected)
        begin = packet.seconds(self._tracks)
        end = begin + packet.duration * self._tracks[packet.track].time_base
        self._begin = min(self._begin, begin) if self._num_packets else begin
        self._end = max(self._end, end) if self._num_packets else end
        self._records += record
        self._num_packets += 1

    def take(self) -> Iterator[bytes]:
        """Yield the payloads of all chunks so far, the last perhaps a short one; after that nothing is waiting."""
        if self._num_packets:
            self._end_chunk()
        self._full.seek(0)
        for size in self._sizes:
            yield self._full.read(size)
        self._sizes.clear()
        self._full.seek(0)
        self._full.truncate()

    def _end_chunk(self) -> None:
        begin, end = floor(self._begin / self._time_base), ceil(self._end / self._time_base)
        span = (max(MIN_TIME, min(MAX_TIME, time)) for time in (begin, end))
        payload = with_crc(_FIELDS.pack(*span, self._num_packets)) + self._records
        self._full.seek(0, 2)
        self._full.write(payload)
        self._sizes.append(len(payload))
        self._records, self._num_packets, self._expected = bytearray(), 0, {}


def _packed(packet: TrackPacket, expected: _Expected) -> bytes:
    """A packet as bytes; updates `expected`."""
    times = packet.pts, packet.dts, packet.pts + packet.duration
    if min(times) < MIN_TIME or max(times) > MAX_TIME or packet.duration < 0:
        raise ConfigError(f"packet at {packet.pts} for {packet.duration}: times must fit signed 64 bits")
    next_pts, duration = expected.get(packet.track, (0, 0))
    follows = (packet.pts, packet.dts, packet.duration) == (next_pts, next_pts, duration)
    flags = _KEY * packet.is_key + _CORRUPT * packet.is_corrupt + _SIDE_DATA * bool(packet.side_data)
    data = bytearray(varint(packet.track) + varint(flags + _FOLLOWS * follows))
    if not follows:
        data += varint(zigzag(packet.pts - next_pts)) + varint(zigzag(packet.dts - packet.pts))
        data += varint(packet.duration)
    data += varint(len(packet.data))
    if packet.side_data:
        data += varint(len(packet.side_data))
        for part in chain.from_iterable((kind.encode(), value) for kind, value in packet.side_data):
            data += varint(len(part)) + part
    data += packet.data
    if len(packet.side_data) > _MAX_SIDE_DATA:
        raise ConfigError(f"packet with {len(packet.side_data)} pieces of side data, of at most {_MAX_SIDE_DATA}")
    if len(data) > MAX_PACKET_BYTES:
        raise ConfigError(f"packet of {len(data)} bytes, of at most {MAX_PACKET_BYTES}")
    expected[packet.track] = packet.pts + packet.duration, packet.duration
    return bytes(data)


def _read_packet(payload: bytes, position: int, expected: _Expected) -> tuple[TrackPacket, int]:
    """The packet at `position`, and the position after it; updates `expected`."""
    track, position = read_varint(payload, position)
    flags, position = read_varint(payload, position)
    if flags & ~(_KEY | _CORRUPT | _SIDE_DATA | _FOLLOWS):
        raise FormatError(f"packet with flags {flags:#x}, which are unknown")
    pts, duration = expected.get(track, (0, 0))
    dts = pts
    if not flags & _FOLLOWS:
        change, position = read_varint(payload, position)
        delay, position = read_varint(payload, position)
        duration, position = read_varint(payload, position)
        pts += unzigzag(change)
        dts = pts + unzigzag(delay)
    if min(pts, dts) < MIN_TIME or max(pts + duration, dts) > MAX_TIME:
        raise FormatError("packet: a time exceeds 64 bits")
    size, position = read_varint(payload, position)
    side_data = []
    if flags & _SIDE_DATA:
        count, position = read_varint(payload, position)
        if not 1 <= count <= _MAX_SIDE_DATA:
            raise FormatError(f"packet with {count} pieces of side data: must be 1 to {_MAX_SIDE_DATA}")
        for _ in range(count):
            kind, position = _read_bytes(payload, *read_varint(payload, position))
            value, position = _read_bytes(payload, *read_varint(payload, position))
            if not kind.isascii():
                raise FormatError("packet: the kind of a piece of side data is not ASCII")
            side_data.append((kind.decode(), value))
    data, position = _read_bytes(payload, size, position)
    expected[track] = pts + duration, duration
    packet = TrackPacket(track, pts, dts, duration, data, bool(flags & _KEY), bool(flags & _CORRUPT), tuple(side_data))
    return packet, position


def _read_bytes(payload: bytes, size: int, position: int) -> tuple[bytes, int]:
    """The `size` bytes at `position`, and the position after them."""
    end = position + size
    if end > len(payload):
        raise FormatError(f"packet: {size} bytes declared where {len(payload) - position} are left")
    return payload[position:end], end
