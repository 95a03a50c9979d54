"""What can be recovered of damaged files: every chunk that was not touched, wherever it is."""

import dataclasses
import io
import random
from itertools import pairwise

import pytest
from test_container import FILE, GROUPS, HEADER, chunk_offsets, groups_of, joined, split, written

from vtok.container import chunks
from vtok.container.survey import MAX_FAULTS, read_surveyed_group, survey
from vtok.errors import ChecksumError, FormatError, TruncatedError, UnsupportedVersionError

# Groups large enough that the file has a copy of its header.
LONG_GROUPS = [
    dataclasses.replace(group, coded=random.Random(i).randbytes(6000 + 997 * i))
    for i, group in enumerate(groups_of([[40 * t for t in range(12 * i, 12 * i + 12)] for i in range(12)]))
]
LONG_FILE = written(LONG_GROUPS)


def salvaged(data):
    """The survey and the groups that it found."""
    file = io.BytesIO(data)
    found = survey(file)
    return found, [read_surveyed_group(file, location) for location in found.groups]


def chunk_bytes(data):
    offsets = [*chunk_offsets(data), len(data)]
    return [data[begin:end] for begin, end in pairwise(offsets)]


def messages(data):
    return [fault.message for fault in survey(io.BytesIO(data)).faults]


@pytest.mark.parametrize(("data", "groups"), [(FILE, GROUPS), (LONG_FILE, LONG_GROUPS), (written([]), [])])
def test_a_sound_file_has_no_faults(data, groups):
    found, recovered = salvaged(data)
    assert recovered == groups
    assert found.header == HEADER
    assert found.num_frames == sum(group.num_frames for group in groups)
    assert found.faults == []


def test_long_files_have_a_copy_of_their_header():
    parts = split(LONG_FILE)
    assert [kind for kind, _ in parts] == [b"HEAD", *[b"VGRP"] * 12, b"head", b"indx", b"DONE"]
    assert parts[13][1] == parts[0][1]
    assert b"head" not in [kind for kind, _ in split(FILE)]
    without_beginning = LONG_FILE[100:]
    found, recovered = salvaged(without_beginning)
    assert found.header == HEADER
    assert recovered == LONG_GROUPS
    assert len(found.faults) == 1


def injured(data, rng):
    """`data` with one range of bytes flipped, zeroed, overwritten, deleted, inserted, doubled or moved."""
    longest = rng.choice([1, 1, 2, 8, 100, 5000, len(data)])
    begin = rng.randrange(len(data))
    end = min(len(data), begin + rng.randint(1, longest))
    part = data[begin:end]
    noise = rng.randbytes(end - begin)
    elsewhere = rng.randrange(len(data))
    return rng.choice([
        lambda: data[:begin] + bytes(b ^ rng.randint(1, 255) for b in part) + data[end:],
        lambda: data[:begin] + bytes(len(part)) + data[end:],
        lambda: data[:begin] + noise + data[end:],
        lambda: data[:begin] + data[end:],
        lambda: data[:begin] + noise + data[begin:],
        lambda: data[:end] + part + data[end:],
        lambda: data[:elsewhere] + part + data[elsewhere:],
    ])()  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_chunks_that_an_injury_did_not_touch_come_back(seed):
    rng = random.Random(seed)
    pieces = chunk_bytes(LONG_FILE)
    num_lost = num_whole = 0
    for _ in range(500):
        data = LONG_FILE
        for _ in range(rng.choice([1, 1, 1, 2, 5])):
            data = injured(data, rng) or data
        if not any(piece in data for piece in pieces):
            continue
        found, recovered = salvaged(data)
        untouched = [group for group, piece in zip(LONG_GROUPS, pieces[1:], strict=False) if piece in data]
        assert recovered == untouched
        if pieces[0] in data or pieces[13] in data:
            assert found.header == HEADER
        num_lost += len(LONG_GROUPS) - len(untouched)
        # A lost group is told by its frames, or as damaged bytes where nothing tells whose they were.
        assert bool(found.faults) == (data != LONG_FILE)
        num_whole += data == LONG_FILE
    assert num_lost > 500
    assert num_whole < 100


def test_every_prefix_gives_its_complete_groups():
    ends = chunk_offsets(FILE)[2:5]
    for length in range(chunk_offsets(FILE)[1], len(FILE)):
        found, recovered = salvaged(FILE[:length])
        assert recovered == GROUPS[: sum(end <= length for end in ends)]
        assert found.faults[-1].message == "the end chunk is missing: the file was cut off"
    with pytest.raises(TruncatedError):
        survey(io.BytesIO(FILE[: chunk_offsets(FILE)[1] - 1]))


def test_faults_name_chunk_frames_and_place():
    offsets = chunk_offsets(FILE)
    flipped = bytearray(FILE)
    flipped[offsets[3] - 1] ^= 1
    assert messages(flipped) == [f"VGRP chunk 2 at byte offset {offsets[2]} is damaged: frames 9 to 12 are lost"]
    without_header = FILE[: offsets[2]] + bytes(20) + FILE[offsets[2] + 20 :]
    size = offsets[3] - offsets[2]
    assert messages(without_header) == [
        "frames 9 to 12 are lost",
        f"{size} bytes from byte offset {offsets[2]} on are damaged",
    ]
    assert messages(FILE[: offsets[2] + 60]) == [
        f"VGRP chunk 2 at byte offset {offsets[2]} is cut off: frames 9 to 12 are lost",
        "the end chunk is missing: the file was cut off",
    ]
    assert messages(FILE[: offsets[2]] + FILE[offsets[3] :]) == ["frames 9 to 12 are lost"]
    assert messages(FILE + b"!") == [f"1 bytes from byte offset {len(FILE)} on are damaged"]


def test_order_repetition_and_claims_do_not_confuse():
    head, first, second, third, *rest = split(FILE)
    swapped = joined([head, second, first, third, *rest])
    assert salvaged(swapped)[1] == GROUPS
    (fault,) = messages(swapped)
    assert "begins with frame 9: expected 0" in fault
    assert salvaged(joined([head, first, first, second, second, third, *rest]))[1] == GROUPS
    overlapping = (b"VGRP", dataclasses.replace(GROUPS[1], first_frame=8).to_bytes())
    beyond = (b"VGRP", dataclasses.replace(GROUPS[1], first_frame=2**40).to_bytes())
    assert salvaged(joined([head, first, overlapping, beyond, second, third, *rest]))[1] == GROUPS


def test_a_file_within_a_chunk_is_not_mistaken_for_chunks():
    inner = dataclasses.replace(GROUPS[0], coded=b"other")
    outer = dataclasses.replace(GROUPS[0], coded=written([inner]))
    data = bytearray(written([outer, *GROUPS[1:]]))
    data[chunk_offsets(data)[1] + 60] ^= 1
    assert salvaged(data)[1] == GROUPS[1:]


def test_an_index_that_is_wrong_is_a_fault():
    head, *groups, index, done = split(FILE)
    swapped = index[1][24:48] + index[1][:24] + index[1][48:]
    assert len(messages(joined([head, *groups, (b"indx", swapped), done]))) == 1
    moved = index[1][:4] + bytes(8) + index[1][12:]
    assert messages(joined([head, *groups, (b"indx", moved), done])) == ["the index does not agree with the groups"]


def test_nothing_to_recover():
    for data in (b"", b"no vtok file", random.Random(0).randbytes(5000), FILE[:40]):
        with pytest.raises(FormatError):
            survey(io.BytesIO(data))
    newer = chunks.with_crc(chunks.SIGNATURE + b"\x02\x00\x02\x00") + FILE[16:]
    with pytest.raises(UnsupportedVersionError, match="needs a reader of format 2"):
        survey(io.BytesIO(newer))


class CountingFile(io.BytesIO):
    num_bytes = 0

    def read(self, size=-1):
        data = super().read(size)
        self.num_bytes += len(data)
        return data


def test_false_chunks_do_not_cost_more_than_a_multiple_of_the_file():
    false = chunks.pack_chunk(b"VGRP", 1, b"")[: chunks.CHUNK_HEAD_BYTES]
    long = chunks.with_crc(b"VGRP" + bytes(8) + (30_000).to_bytes(4, "little"))
    data = FILE[: chunk_offsets(FILE)[1]] + false * 5000 + long * 50_000
    file = CountingFile(data)
    found = survey(file)
    assert "the rest was not searched" in found.faults[-2].message
    assert file.num_bytes < 30 * len(data) + 8 * chunks.MAX_CHUNK_BYTES
    assert len(found.faults) <= MAX_FAULTS


def test_groups_that_change_meanwhile_are_noticed():
    file = io.BytesIO(FILE)
    location = survey(file).groups[1]
    file.getbuffer()[location.byte_offset + 50] ^= 1
    with pytest.raises(ChecksumError, match="changed while the file was read"):
        read_surveyed_group(file, location)
