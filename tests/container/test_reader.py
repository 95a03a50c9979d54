"""The byte format: round trips, damage of every kind, and a second reader as oracle."""

import hashlib
import io
import struct
import tracemalloc
import zlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support import independent_reader
from support.containers import (
    FILE,
    GROUPS,
    HEADER,
    LISTS_OF_PTS,
    as_ours,
    chunk_offsets,
    groups_of,
    header_as_theirs,
    joined,
    read,
    split,
    written,
)
from vtok.container import chunks
from vtok.container.groups import encode_pts, stored_quality
from vtok.container.reader import ContainerReader, Totals
from vtok.errors import (
    ChecksumError,
    ConfigError,
    FormatError,
    LimitError,
    TruncatedError,
    UnsupportedVersionError,
)


def test_everything_comes_back_and_the_second_reader_agrees():
    reader = ContainerReader(io.BytesIO(FILE))
    assert reader.header == HEADER
    assert list(reader) == GROUPS
    assert reader.totals == reader.progress == Totals(num_frames=14, num_groups=3, num_latent_frames=4)
    parsed = independent_reader.read(FILE)
    assert parsed.fault is None
    assert parsed.header == header_as_theirs(HEADER)
    assert as_ours(parsed.groups) == GROUPS
    assert parsed.totals == reader.totals


def test_bytes_of_version_1_do_not_change():
    assert hashlib.sha256(FILE).hexdigest() == "a097ec7f9cf238cd2d1f364b5163cf2f46a211b1bb9368afe458d147eec54279"
    assert encode_pts([7, 1008, 2009, 3010]) == bytes.fromhex("d2 0f 00 01")


def test_a_video_without_frames():
    data = written([])
    assert read(data) == ([], None)
    assert ContainerReader(io.BytesIO(data)).read_index().locations == []
    assert independent_reader.read(data).totals == (0, 0, 0)


int64 = st.integers(-(2**63), 2**63 - 1)
any_pts = st.lists(int64, min_size=1, max_size=256)
steady_pts = st.builds(
    lambda first, steps: [first + sum(steps[:i]) for i in range(len(steps))],
    st.integers(-(2**40), 2**40),
    st.lists(st.sampled_from([0, 1000, 1001, -5]), min_size=1, max_size=60),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(any_pts | steady_pts, max_size=4))
def test_any_timestamps_come_back(lists_of_pts):
    groups = groups_of(lists_of_pts)
    data = written(groups)
    assert read(data) == (groups, None)
    assert [g.pts for g in independent_reader.read(data).groups] == lists_of_pts


def test_a_constant_rate_costs_five_bytes():
    assert len(encode_pts(range(0, 256 * 1001, 1001))) <= 5


def test_every_prefix_gives_its_complete_groups():
    ends = [*chunk_offsets(FILE), len(FILE)]
    for size in range(len(FILE)):
        if size < ends[1]:
            with pytest.raises(TruncatedError):
                ContainerReader(io.BytesIO(FILE[:size]))
            continue
        complete = sum(size >= end for end in ends[2:5])
        groups, error = read(FILE[:size])
        assert groups == GROUPS[:complete]
        assert isinstance(error, TruncatedError)
        assert f"{complete} groups with {sum(len(pts) for pts in LISTS_OF_PTS[:complete])} frames" in str(error)


@pytest.mark.parametrize("change", [0x01, 0x20, 0xFF])
def test_every_changed_byte_is_noticed_and_costs_nothing_before_it(change):
    ends = [*chunk_offsets(FILE), len(FILE)]
    for position in range(len(FILE)):
        damaged = bytearray(FILE)
        damaged[position] ^= change
        if position < ends[1]:
            with pytest.raises(FormatError):
                ContainerReader(io.BytesIO(damaged))
            continue
        groups, error = read(damaged)
        assert groups == GROUPS[: sum(position >= end for end in ends[2:5])]
        assert isinstance(error, ChecksumError)


def test_a_damaged_group_is_told_by_number_frames_and_place():
    offset = chunk_offsets(FILE)[2]
    damaged = bytearray(FILE)
    damaged[offset + 20 + 40] ^= 1
    assert str(read(damaged)[1]) == f"VGRP chunk 2 at byte offset {offset} is damaged: frames 9 to 12 are lost"
    damaged[offset + 20] ^= 1  # now the frame numbers cannot be trusted
    assert str(read(damaged)[1]) == f"VGRP chunk 2 at byte offset {offset} is damaged"
    damaged[offset + 9] ^= 1
    assert str(read(damaged)[1]) == f"the header of chunk 2 at byte offset {offset} is damaged"


def test_decoded_codes_are_checked():
    GROUPS[1].check_tokens(GROUPS[1].tokens_crc32)
    with pytest.raises(ChecksumError, match="frames 9 to 12"):
        GROUPS[1].check_tokens(GROUPS[1].tokens_crc32 ^ 1)


def test_lost_repeated_and_swapped_chunks():
    starts = [*chunk_offsets(FILE), len(FILE)]
    pieces = [FILE[a:b] for a, b in zip([0, *starts], starts, strict=False)]  # preamble, HEAD, 3 VGRP, indx, DONE
    for order, num_groups, message in [
        ([0, 1, 2, 4, 5, 6], 1, "sequence numbers 2 are missing before VGRP chunk 3"),
        ([0, 1, 5, 6], 0, "sequence numbers 1 to 3 are missing before indx chunk 4"),
        ([0, 1, 2, 2, 3, 4, 5, 6], 1, "VGRP chunk 1 at byte offset"),
        ([0, 1, 3, 2, 4, 5, 6], 0, "sequence numbers 1 are missing"),
        ([0, 1, 2, 3, 4, 5, 6, 6], 3, "data follows DONE chunk 5"),
    ]:
        data = b"".join(pieces[i] for i in order)
        groups, error = read(data)
        assert groups == GROUPS[:num_groups]
        assert message in str(error)
        assert independent_reader.read(data).fault is not None


def test_chunks_in_wrong_places():
    head, *body, index, done = split(FILE)
    for parts, message in [
        ([head, *body[1:], index, done], "begins with frame 9: expected 0"),
        ([head, head, *body, index, done], "second header"),
        ([head, *body[:2], index, done], "promises"),
        ([head, *body, index, (b"DONE", done[1][:27])], "must be at least 28"),
    ]:
        assert message in str(read(joined(parts))[1])
        assert independent_reader.read(joined(parts)).fault is not None
    with pytest.raises(FormatError, match="must be HEAD"):
        ContainerReader(io.BytesIO(joined([*body, index, done])))


def test_unknown_chunks_are_skipped_or_refused_by_case():
    head, *body = split(FILE)
    assert read(joined([head, (b"note", b"?"), *body[:2], (b"nOTE", b""), *body[2:]])) == (GROUPS, None)
    groups, error = read(joined([head, body[0], (b"NOTE", b"?"), *body[1:]]))
    assert groups == GROUPS[:1]
    assert isinstance(error, UnsupportedVersionError)
    assert "NOTE chunk 2" in str(error)
    assert read(joined([head, *body[:-1], (b"DONE", body[-1][1] + b"of a later version")])) == (GROUPS, None)


def test_the_end_tells_how_long_the_last_frame_is_shown():
    for ticks, told in [(0, 0), (77, 77), (2**32 - 1, 2**32 - 1), (2**32, 0), (-1, 0)]:
        data = written(last_frame_ticks=ticks)
        assert independent_reader.read(data).last_frame_ticks == told
        reader, indexed = ContainerReader(io.BytesIO(data)), ContainerReader(io.BytesIO(data)).read_index()
        assert (len(list(reader)), len(indexed.locations)) == (len(GROUPS), len(GROUPS))
        assert (reader.last_frame_ticks, indexed.last_frame_ticks) == (told, told)
        assert len(data) - len(FILE) == (4 if told else 0)  # what is not known is left out


def test_flags():
    def flagged(number, flags):
        data = bytearray(FILE)
        offset = chunk_offsets(FILE)[number]
        data[offset + 4 : offset + 8] = struct.pack("<I", flags)
        data[offset + 16 : offset + 20] = struct.pack("<I", zlib.crc32(data[offset : offset + 16]))
        return bytes(data)

    assert read(flagged(2, 0x80020000)) == (GROUPS, None)
    assert as_ours(independent_reader.read(flagged(2, 0x80020000)).groups) == GROUPS
    assert isinstance(read(flagged(2, 0x8000))[1], UnsupportedVersionError)
    # An index with such a flag is none that this version knows, so the walk over the chunks must answer.
    assert read(flagged(4, 1)) == (GROUPS, None)
    later, ours = (ContainerReader(io.BytesIO(data)).read_index() for data in (flagged(4, 1), FILE))
    assert later.locations == ours.locations


def test_versions():
    def versions(writer, oldest_reader):
        return chunks.with_crc(chunks.SIGNATURE + struct.pack("<HH", writer, oldest_reader)) + FILE[16:]

    assert read(versions(9, 1)) == (GROUPS, None)
    with pytest.raises(UnsupportedVersionError, match=r"format 2.*install a newer vtok"):
        ContainerReader(io.BytesIO(versions(2, 2)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a .vtok file"),
        (b"hello", "not a .vtok file"),
        (FILE.replace(b"\r\n", b"\n"), "binary mode"),
        (bytes(byte & 0x7F for byte in FILE), "binary mode"),
    ],
)
def test_foreign_files(data, message):
    with pytest.raises(FormatError, match=message):
        ContainerReader(io.BytesIO(data))


def test_declared_lengths_allocate_nothing():
    head_end = chunk_offsets(FILE)[1]

    def declaring(kind, sequence, length):
        return chunks.with_crc(struct.pack("<4sIII", kind, 0, sequence, length)) + bytes(1000)

    tracemalloc.start()
    for data, expected in [
        (FILE[:16] + declaring(b"HEAD", 0, 0xFFFFFFFF), LimitError),
        (FILE[:16] + declaring(b"HEAD", 0, (1 << 20) + 1), LimitError),
        (FILE[:head_end] + declaring(b"VGRP", 1, (64 << 20) + 1), LimitError),
        (FILE[:head_end] + declaring(b"VGRP", 1, 64 << 20), TruncatedError),
        (FILE[:head_end] + declaring(b"note", 1, 0xFFFFFFFF), LimitError),
    ]:
        with pytest.raises(expected):
            list(ContainerReader(io.BytesIO(data)))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 1 << 20


@pytest.mark.parametrize("quality", [-1 / 256, 5.001, 256.0, float("nan")])
def test_qualities_that_cannot_be_stated_are_not_written(quality):
    with pytest.raises(ConfigError, match=r"quality of a group is .*must be a multiple of 1/256"):
        replace(GROUPS[0], quality=quality).to_bytes()
    assert stored_quality(5.001) == 5


def test_group_limits():
    head, group, *rest = split(FILE)

    def declaring(first_frame, frames, latents, pts_length):
        fields = chunks.with_crc(struct.pack("<QHHIIIq", first_frame, frames, 1280, latents, 0, pts_length, 0))
        return joined([head, (group[0], fields + group[1][36:]), *rest])

    length = struct.unpack_from("<I", group[1], 20)[0]
    for values, kind, message in [
        ((0, 2**16 - 1, 2**29, length), LimitError, "the limit is 256"),
        ((0, 0, 0, length), FormatError, "no frames"),
        ((0, 9, 3, length), FormatError, "must be 2"),
        ((0, 9, 2, 2**32 - 1), FormatError, "bytes of timestamps declared"),
        ((0, 8, 1, length), FormatError, "7 equal steps for 6 frames"),
        ((0, 10, 2, length), FormatError, "has no end"),
        ((5, 9, 2, length), FormatError, "expected 0"),
    ]:
        groups, error = read(declaring(*values))
        assert groups == []
        assert isinstance(error, kind)
        assert message in str(error)
        assert independent_reader.read(declaring(*values)).fault is not None
