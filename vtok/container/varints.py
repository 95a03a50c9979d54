"""Whole numbers in as few bytes as they need (LEB128), and signed ones mapped to unsigned (zigzag)."""

from vtok.errors import FormatError

MAX_VARINT_BYTES = 10  # steps between 64-bit numbers differ by up to 66 bits


def varint(value: int) -> bytes:
    """A number from 0 as groups of 7 bits, lowest first; the high bit of a byte says that more follow."""
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """The number at `position`, and the position after it; FormatError if the number has no end."""
    value = 0
    for count, byte in enumerate(data[position : position + MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, position + count + 1
    raise FormatError(f"the number at byte {position} of {len(data)} has no end")


def zigzag(value: int) -> int:
    """Map 0, -1, 1, -2, 2 to 0, 1, 2, 3, 4, and so on."""
    return 2 * value if value >= 0 else -2 * value - 1


def unzigzag(value: int) -> int:
    """The inverse of `zigzag`."""
    return value // 2 if value % 2 == 0 else -(value + 1) // 2
