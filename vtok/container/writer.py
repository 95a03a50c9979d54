"""Writes a `.vtok` file; `vtok/container/reader.py` draws the contents of a file, and reads them."""

from collections.abc import Iterable

from vtok.container import chunks
from vtok.container.chunks import pack_chunk, pack_preamble
from vtok.container.footer import LOCATION, End, GroupLocation, Totals, pack_done
from vtok.container.groups import VideoGroup
from vtok.container.header import FileHeader
from vtok.errors import ConfigError, FormatError
from vtok.system.sources import Writable

_COPY_SHARE = 128  # the copy of the header may take at most one in this many bytes of the file


class ContainerWriter:
    """Writes a file from front to back; it never seeks, so a pipe will do.

    Attributes:
        totals: Totals of the groups written so far.
        num_bytes: Number of bytes written so far.
        num_track_bytes: Number of bytes written so far in chunks of packets of sound and subtitles.
    """

    def __init__(self, file: Writable, header: FileHeader) -> None:
        """Write the header to `file`; its `write` must take all bytes at once, and the caller has to close it."""
        self.totals = Totals()
        self.num_track_bytes = 0
        self._file = file
        self._header = header
        self._sequence = 0
        self._locations = bytearray()
        preamble = pack_preamble()
        self.num_bytes = len(preamble)
        file.write(preamble)
        self._write_chunk(chunks.HEAD, header.to_bytes())

    def write_group(self, group: VideoGroup) -> None:
        """Append a group.

        Raises:
            ConfigError: The group does not begin with the frame after the last one, its counts do not fit each other or
                their limits, or it is longer than 64 MiB.
        """
        if group.first_frame != self.totals.num_frames:
            raise ConfigError(f"group begins with frame {group.first_frame}: must be {self.totals.num_frames}")
        try:
            self._header.check_group(group.num_frames, group.num_latent_frames)
        except FormatError as error:
            raise ConfigError(f"group: {error}") from None
        location = GroupLocation(self._sequence, self.num_bytes, group.first_frame, group.num_frames)
        self._write_chunk(chunks.GROUP, group.to_bytes())
        self._locations += LOCATION.pack(*location)
        self.totals = self.totals.plus(group)

    def write_packets(self, payloads: Iterable[bytes]) -> None:
        """Append chunks of packets; `payloads` are from `PacketChunks.take`."""
        begin = self.num_bytes
        for payload in payloads:
            self._write_chunk(chunks.PACKETS, payload)
        self.num_track_bytes += self.num_bytes - begin

    def finish(self, *, last_frame_ticks: int = 0) -> Totals:
        """Write the header's copy (for recovery), the index (for seeking), and the end chunk; return the totals.

        A file without an end chunk counts as cut off.

        Args:
            last_frame_ticks: Duration of the last frame, in units of the time base; 0 if it is not known.
        """
        if self.num_copy_bytes(self.num_bytes):
            self._write_chunk(chunks.HEAD_COPY, self._header.to_bytes())
        index_offset = 0
        if len(self._locations) <= chunks.MAX_CHUNK_BYTES:  # true up to 129 days in groups of 4 seconds
            index_offset = self.num_bytes
            self._write_chunk(chunks.INDEX, bytes(self._locations))
        self._write_chunk(chunks.DONE, pack_done(End(self.totals, index_offset, last_frame_ticks)))
        return self.totals

    def num_copy_bytes(self, num_bytes: int) -> int:
        """Return the bytes that the copy of the header takes in a file with `num_bytes` before it; it may have none."""
        length = len(self._header.to_bytes())
        return chunks.CHUNK_HEAD_BYTES + length + chunks.CRC_BYTES if num_bytes >= _COPY_SHARE * length else 0

    def _write_chunk(self, kind: bytes, payload: bytes) -> None:
        data = pack_chunk(kind, self._sequence, payload)
        self._file.write(data)
        self._sequence += 1
        self.num_bytes += len(data)
