"""The framing of a `.vtok` file: signature, versions, and checked chunks of any content.

    file      signature (8)  89 56 54 4B 0D 0A 1A 0A
              writer's format version u16, oldest reader's format version u16, CRC-32 of these 12 bytes u32
              chunks, without a gap
    chunk     type (4 letters), flags u32, sequence number u32, payload length u32, CRC-32 of these 16 bytes u32
              payload
              CRC-32 of the payload u32

All numbers are little-endian. As in PNG, a type whose first letter is lower-case is ancillary: readers that do not know
it skip it. The chunk header has its own CRC, so that its length can be trusted before anything is allocated for it.
"""

import re
import struct
import zlib
from typing import BinaryIO, NamedTuple

from vtok.container.header import MAX_HEADER_BYTES
from vtok.errors import ChecksumError, ConfigError, FormatError, LimitError, TruncatedError, UnsupportedVersionError
from vtok.version import __version__

SIGNATURE = b"\x89VTK\r\n\x1a\n"
FORMAT_VERSION = 1
OLDEST_READER_VERSION = 1
MAX_CHUNK_BYTES = 64 << 20

HEAD, GROUP, PACKETS, HEAD_COPY, INDEX, DONE = b"HEAD", b"VGRP", b"apkt", b"head", b"indx", b"DONE"
_KINDS = (HEAD, GROUP, PACKETS, HEAD_COPY, INDEX, DONE)

CHUNK_HEAD_BYTES = 20
CRC_BYTES = 4
_VERSIONS = struct.Struct("<HH")
_CHUNK_FIELDS = struct.Struct("<4sIII")
_CRC = struct.Struct("<I")
_LETTERS = re.compile(rb"[A-Za-z]{4}")
_MAYBE_HEAD = re.compile(rb"[A-Za-z]{4}(?=\0\0)")  # flags that must be zero come after the letters
_FLAGS_MUST_BE_ZERO = 0x0000FFFF  # readers ignore unknown flags in the upper half
_READ_STEP = 1 << 20
_SEARCH_STEP = 1 << 12  # small at first: after damage the next chunk is usually near


class ChunkHead(NamedTuple):
    """The header of a chunk, and the byte offset at which it begins."""

    kind: bytes
    flags: int
    sequence: int
    length: int
    byte_offset: int

    @property
    def place(self) -> str:
        """The chunk in words, for messages."""
        return f"{self.kind.decode()} chunk {self.sequence} at byte offset {self.byte_offset}"

    @property
    def end_offset(self) -> int:
        """Byte offset one past the end of the chunk."""
        return self.byte_offset + CHUNK_HEAD_BYTES + self.length + CRC_BYTES

    @property
    def limit(self) -> int:
        """Largest number of bytes that the payload may have."""
        return MAX_HEADER_BYTES if self.kind == HEAD else MAX_CHUNK_BYTES

    @property
    def is_ancillary(self) -> bool:
        """Whether a reader may skip the chunk."""
        return self.kind[:1].islower()

    @property
    def is_known(self) -> bool:
        """Whether this version of the format defines the chunk."""
        return self.kind in _KINDS and not self.flags & _FLAGS_MUST_BE_ZERO


def with_crc(data: bytes) -> bytes:
    """`data` and its CRC-32 (the one of zlib, PNG and Ethernet)."""
    return data + _CRC.pack(zlib.crc32(data))


def without_crc(data: bytes) -> bytes | None:
    """`data` without the CRC-32 at its end, or None if the CRC-32 is wrong."""
    body = data[:-CRC_BYTES]
    return body if data == with_crc(body) else None


def pack_preamble() -> bytes:
    """The 16 bytes before the first chunk."""
    return with_crc(SIGNATURE + _VERSIONS.pack(FORMAT_VERSION, OLDEST_READER_VERSION))


def pack_chunk(kind: bytes, sequence: int, payload: bytes) -> bytes:
    """The bytes of a whole chunk.

    Raises:
        ConfigError: The payload is longer than 64 MiB.
    """
    if len(payload) > MAX_CHUNK_BYTES:
        raise ConfigError(f"chunk of {len(payload)} bytes, of at most {MAX_CHUNK_BYTES}: make the groups shorter")
    return with_crc(_CHUNK_FIELDS.pack(kind, 0, sequence, len(payload))) + with_crc(payload)


class ChunkReader:
    """Reads chunks one after the other and checks their framing and order; never seeks."""

    def __init__(self, file: BinaryIO, *, byte_offset: int = 0, sequence: int = 0) -> None:
        """Expect chunk `sequence` at the position of `file`, which is `byte_offset`."""
        self.byte_offset = byte_offset
        self._file = file
        self._sequence = sequence

    def read_preamble(self) -> None:
        """Check signature and versions.

        Raises:
            UnsupportedVersionError: A newer reader is needed.
            FormatError: The file is not a `.vtok` file, or its first bytes are damaged.
        """
        signature = self._read(len(SIGNATURE))
        if not signature:
            raise TruncatedError("the file is empty")
        if signature != SIGNATURE[: len(signature)]:
            hint = ": it was changed in transfer, copy it in binary mode" if b"VTK" in signature else ""
            raise FormatError(f"not a .vtok file (begins with {signature.hex(' ')}){hint}")
        data = signature + self._read(_VERSIONS.size + CRC_BYTES)
        if len(data) < len(SIGNATURE) + _VERSIONS.size + CRC_BYTES:
            raise TruncatedError(f"the file ends after {len(data)} bytes, before its header")
        if (body := without_crc(data)) is None:
            raise ChecksumError(f"the version numbers at byte offset {len(SIGNATURE)} are damaged")
        _, needed = _VERSIONS.unpack(body[len(SIGNATURE) :])
        if needed > FORMAT_VERSION:
            raise UnsupportedVersionError(
                f"the file needs a reader of format {needed}, and vtok {__version__} reads formats up to "
                f"{FORMAT_VERSION}: install a newer vtok"
            )

    def read_head(self) -> ChunkHead:
        """Read the header of the next chunk; check that it is the expected one and can be read or skipped.

        Raises:
            TruncatedError: The data ends here.
            ChecksumError: The header is damaged.
            LimitError: The payload is declared longer than its limit.
            UnsupportedVersionError: The chunk must not be skipped, and its kind or its flags are unknown.
            FormatError: Chunks are missing, repeated or out of order.
        """
        start = self.byte_offset
        data = self._read(CHUNK_HEAD_BYTES)
        if len(data) < CHUNK_HEAD_BYTES:
            where = f"inside the header of chunk {self._sequence}" if data else "without an end chunk"
            raise TruncatedError(f"the file ends {where}, at byte offset {self.byte_offset}")
        head = parse_head(data, start)
        if head is None:
            raise ChecksumError(f"the header of chunk {self._sequence} at byte offset {start} is damaged")
        self._check_sequence(head)
        if not (head.is_known or head.is_ancillary):
            raise UnsupportedVersionError(
                f"{head.place} with flags {head.flags:#010x} is unknown to vtok {__version__}: install a newer vtok"
            )
        if head.length > head.limit:
            raise LimitError(f"{head.place} declares {head.length} bytes: the limit is {head.limit}")
        return head

    def read_payload(self, head: ChunkHead) -> tuple[bytes, bool]:
        """Read the payload of the chunk whose header was read last; return it, and whether its CRC is right.

        Raises:
            TruncatedError: The data ends inside the chunk.
        """
        data = self._read(head.length + CRC_BYTES)
        if len(data) < head.length + CRC_BYTES:
            raise TruncatedError(f"the file ends inside {head.place}, at byte offset {self.byte_offset}")
        return data[: head.length], without_crc(data) is not None

    def is_at_end(self) -> bool:
        """Whether no data follows; reads one byte to find out."""
        return not self._read(1)

    def _check_sequence(self, head: ChunkHead) -> None:
        if head.sequence > self._sequence:
            last = f" to {head.sequence - 1}" if head.sequence - 1 > self._sequence else ""
            raise FormatError(f"sequence numbers {self._sequence}{last} are missing before {head.place}")
        if head.sequence < self._sequence:
            raise FormatError(f"{head.place} is repeated or out of order: expected sequence number {self._sequence}")
        self._sequence += 1

    def _read(self, size: int) -> bytes:
        """Read `size` bytes, or fewer at the end of the data; a pipe may need several calls.

        Reading in steps keeps memory within the file's real size, even if the file declares more.
        """
        parts = []
        while size and (part := self._file.read(min(size, _READ_STEP))):
            parts.append(part)
            size -= len(part)
            self.byte_offset += len(part)
        return b"".join(parts)


def find_next_chunk(file: BinaryIO, byte_offset: int) -> ChunkHead | None:
    """Find the first chunk header at or after `byte_offset` in a file that can seek; None if there is none.

    This is for recovery: after damage, the letters and the CRC of its header identify the next chunk. About one in
    10^12 random bytes begins a false header, which the CRC of its payload exposes.
    """
    carried, step = b"", _SEARCH_STEP
    file.seek(byte_offset)
    while block := file.read(step):
        data = carried + block
        position = 0
        while letters := _MAYBE_HEAD.search(data, position):
            position = letters.start()
            head = parse_head(data[position : position + CHUNK_HEAD_BYTES], byte_offset + position)
            if head is not None:
                return head
            position += 1
        # A header may lie across two blocks.
        carried = data[-CHUNK_HEAD_BYTES + 1 :]
        byte_offset += len(data) - len(carried)
        step = min(2 * step, _READ_STEP)
    return None


def parse_head(data: bytes, byte_offset: int) -> ChunkHead | None:
    """The chunk header in exactly these 20 bytes, or None if they are not a chunk header."""
    body = without_crc(data) if len(data) == CHUNK_HEAD_BYTES else None
    if body is None or not _LETTERS.match(body):
        return None
    kind, flags, sequence, length = _CHUNK_FIELDS.unpack(body)
    return ChunkHead(kind, flags, sequence, length, byte_offset)
