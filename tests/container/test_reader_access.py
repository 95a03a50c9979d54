"""The byte format in use: pipes, single groups by the index, finding chunks behind damage, and random damage."""

import io
import os
import random
import struct
import subprocess
import sys
import threading

import pytest

from support import independent_reader
from support.containers import FILE, GROUPS, HEADER, as_ours, chunk_offsets, groups_of, joined, read, split, written
from vtok.container import chunks
from vtok.container.reader import ContainerReader, GroupLocation, Totals, find_next_chunk
from vtok.container.writer import ContainerWriter
from vtok.errors import ChecksumError, ConfigError, FormatError

LOCATIONS = [
    GroupLocation(sequence, offset, group.first_frame, group.num_frames)
    for sequence, (offset, group) in enumerate(zip(chunk_offsets(FILE)[1:4], GROUPS, strict=True), start=1)
]


class Trickle(io.RawIOBase):
    """A source that cannot seek and gives up to 7 bytes at a time."""

    def __init__(self, data):
        self._file = io.BytesIO(data)

    def readable(self):
        return True

    def read(self, size=-1):
        return self._file.read(min(size, 7))


def test_neither_side_needs_to_seek():
    assert list(ContainerReader(Trickle(FILE))) == GROUPS
    reading, writing = os.pipe()

    def write():
        with os.fdopen(writing, "wb") as file:
            writer = ContainerWriter(file, HEADER)
            for group in GROUPS:
                writer.write_group(group)
            writer.finish()

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(reading, "rb") as file:
        assert list(ContainerReader(file)) == GROUPS
    thread.join()


def test_the_index_and_the_walk_agree():
    head, *body = split(FILE)
    index_offset = chunk_offsets(FILE)[4]
    assert independent_reader.read(FILE).index == LOCATIONS
    damaged = bytearray(FILE)
    damaged[index_offset + 25] ^= 1
    without_index = joined([head, *body[:3], body[-1]])
    for data in [FILE, bytes(damaged), without_index, FILE + b"trailing"]:
        reader = ContainerReader(io.BytesIO(data))
        index = reader.read_index()
        assert index.locations == LOCATIONS
        assert index.end.totals == Totals(14, 3, 4)


def test_an_index_that_lies_is_not_believed():
    head, *body = split(FILE)

    true_offset = chunk_offsets(FILE)[4]

    def indexed(locations, offset=true_offset):
        payload = b"".join(struct.pack("<IQQI", *location) for location in locations)
        done = body[-1][1][:20] + struct.pack("<Q", offset)
        return ContainerReader(io.BytesIO(joined([head, *body[:3], (b"indx", payload), (b"DONE", done)])))

    gap = [LOCATIONS[0], LOCATIONS[2]._replace(first_frame=10, num_frames=4)]
    for reader in [indexed(gap), indexed(LOCATIONS[:2]), indexed(LOCATIONS, offset=2**64 - 1), indexed(LOCATIONS, 16)]:
        assert reader.read_index().locations == LOCATIONS
    for wrong in [
        LOCATIONS[0]._replace(byte_offset=2**64 - 1),
        LOCATIONS[0]._replace(byte_offset=len(FILE) - 1),
        LOCATIONS[0]._replace(byte_offset=LOCATIONS[0].byte_offset + 1),
        LOCATIONS[0]._replace(byte_offset=LOCATIONS[1].byte_offset),
        LOCATIONS[0]._replace(byte_offset=chunk_offsets(FILE)[4], sequence=4),
        LOCATIONS[1]._replace(sequence=1),
        LOCATIONS[1]._replace(num_frames=5),
    ]:
        with pytest.raises(FormatError):
            ContainerReader(io.BytesIO(FILE)).read_group(wrong)


def test_the_head_of_a_group_is_checked_by_itself():
    reader = ContainerReader(io.BytesIO(FILE))
    heads = [reader.read_group_head(location) for location in LOCATIONS]
    assert [(head.first_frame, head.first_pts) for head in heads] == [(g.first_frame, g.pts[0]) for g in GROUPS]
    with pytest.raises(FormatError, match="where the index promises a group"):
        reader.read_group_head(LOCATIONS[0]._replace(byte_offset=chunk_offsets(FILE)[4], sequence=4))
    damaged = bytearray(FILE)
    damaged[LOCATIONS[1].byte_offset + 20] ^= 1
    with pytest.raises(ChecksumError, match="description of the group"):
        ContainerReader(io.BytesIO(damaged)).read_group_head(LOCATIONS[1])


def test_single_groups_in_any_order_do_not_disturb_iterating():
    reader = ContainerReader(io.BytesIO(FILE))
    groups = iter(reader)
    assert next(groups) == GROUPS[0]
    for i in (2, 0, 1):
        assert reader.read_group(reader.read_index().locations[i]) == GROUPS[i]
    assert list(groups) == GROUPS[1:]


def test_the_index_of_a_file_that_was_cut_off():
    ends = [*chunk_offsets(FILE), len(FILE)]
    for size in range(ends[1], len(FILE)):
        index = ContainerReader(io.BytesIO(FILE[:size])).read_index()
        assert index == (LOCATIONS[: sum(size >= end for end in ends[2:5])], None, None)


def test_single_groups_beside_damage():
    damaged = bytearray(FILE)
    damaged[LOCATIONS[1].byte_offset] ^= 1
    reader = ContainerReader(io.BytesIO(damaged))
    assert reader.read_index().locations == LOCATIONS
    assert [reader.read_group(LOCATIONS[i]) for i in (0, 2)] == [GROUPS[0], GROUPS[2]]
    with pytest.raises(ChecksumError):
        reader.read_group(LOCATIONS[1])
    # Without the index too, the walk cannot pass the damaged header.
    with pytest.raises(ChecksumError):
        ContainerReader(io.BytesIO(damaged[:-1])).read_index()


@pytest.mark.parametrize("step", [21, 64, 1 << 20])
def test_chunks_are_found_behind_damage(step, monkeypatch):
    monkeypatch.setattr(chunks, "_READ_STEP", step)
    noise = random.Random(1).randbytes(500)
    offsets = chunk_offsets(FILE)
    damaged = FILE[: offsets[1] + 10] + b"VGRP" + noise + FILE[offsets[1] + 30 :]
    shift = len(damaged) - len(FILE)
    found, offset = [], offsets[1]
    while (head := find_next_chunk(io.BytesIO(damaged), offset)) is not None:
        found.append((head.kind, head.sequence, head.byte_offset - shift))
        offset = head.byte_offset + 1
    assert found == [(kind, i, offsets[i]) for i, kind in enumerate([b"VGRP", b"VGRP", b"indx", b"DONE"], start=2)]


def test_a_search_through_text_tries_no_letters_in_vain(monkeypatch):
    tried = []
    parse_head = chunks.parse_head
    monkeypatch.setattr(chunks, "parse_head", lambda *arguments: tried.append(arguments) or parse_head(*arguments))
    text = bytes(random.Random(0).choices(b"abcdefgh ABCDEFGH\n\0", k=1 << 16))
    head = find_next_chunk(io.BytesIO(text + FILE[chunk_offsets(FILE)[1] :]), 0)
    assert (head.kind, head.byte_offset) == (b"VGRP", len(text))
    assert len(tried) < len(text) / 500


def test_the_writer_refuses_what_the_reader_would():
    def refused(message, **changes):
        values = {name: getattr(GROUPS[0], name) for name in GROUPS[0].__slots__}
        group = type(GROUPS[0])(**(values | changes))
        file = io.BytesIO()
        writer = ContainerWriter(file, HEADER)
        size = len(file.getvalue())
        with pytest.raises(ConfigError, match=message):
            writer.write_group(group)
        assert len(file.getvalue()) == size

    refused("begins with frame 1", first_frame=1)
    refused("must be 2", num_latent_frames=3)
    refused("1 to 256", pts=(), num_latent_frames=0)
    refused("1 to 256", pts=tuple(range(257)), num_latent_frames=33)
    refused("64 bits", pts=(2**63,), num_latent_frames=1)
    refused("CRC of a group", tokens_crc32=-1)
    refused("make the groups shorter", coded=bytes(64 << 20))


def test_long_files_keep_their_index():
    groups = groups_of([[i] for i in range(2000)])
    data = written(groups)
    reader = ContainerReader(io.BytesIO(data))
    locations = reader.read_index().locations
    assert [reader.read_group(location) for location in locations[::97]] == groups[::97]


def mutated(data, rng):
    """`data` with one to four small changes: bytes flipped, set, deleted, inserted, doubled."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(data) + 1)
        stop = min(len(data), start + rng.choice([1, 1, 2, 4, 8, 40]))
        noise = rng.randbytes(stop - start)
        data[start:stop] = rng.choice([noise, noise, b"", bytes(stop - start), noise + data[start:stop], b"\xff" * 4])
    return bytes(data)


def test_random_damage_gives_format_errors_and_the_second_reader_agrees():
    rng = random.Random(20)
    outcomes = set()
    for i in range(3000):
        if i % 3:
            # Damage inside a payload with its CRCs made right again: what a hostile writer would send.
            parts = split(FILE)
            number = rng.randrange(len(parts))
            kind, payload = parts[number]
            payload = mutated(payload, rng)
            if kind == b"VGRP" and i % 3 == 1:
                payload = chunks.with_crc(payload[:32].ljust(32, b"\0")) + payload[36:]
            parts[number] = kind, payload
            data = joined(parts)
        else:
            data = mutated(FILE, rng)
        outcomes.add(_compare(data))
    assert {"FormatError", "ChecksumError", "TruncatedError", "LimitError", "header", "sound"} <= outcomes


def _compare(data):
    """Read with both readers, which must agree; what came of it."""
    try:
        parsed = independent_reader.read(data)
    except (ValueError, LookupError, TypeError, AttributeError, struct.error):
        parsed = None
    try:
        reader = ContainerReader(io.BytesIO(data))
    except FormatError:
        assert parsed is None
        return "header"
    assert parsed is not None
    groups, error = read(data)
    assert "\n" not in str(error)
    assert groups == as_ours(parsed.groups)
    assert (error is None) == (parsed.fault is None)
    try:
        locations = reader.read_index().locations
        assert error is not None or [reader.read_group(location) for location in locations] == groups
    except FormatError:
        # An index may lie although every chunk is sound, but iterating needs none.
        assert error is not None or parsed.index != LOCATIONS
    return type(error).__name__ if error else "sound"


def test_no_heavy_imports():
    code = "import sys, vtok.container.reader; print({'torch', 'av', 'numpy', 'constriction'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
