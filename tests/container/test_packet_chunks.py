"""Packets, tracks and chapters as bytes: all comes back, and the second reader agrees whatever is wrong."""

import dataclasses
import io
import json
import random
import struct
from fractions import Fraction
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import independent_reader
from support.containers import GROUPS, HEADER, header_as_theirs, joined, packets_as_ours, split
from vtok.container import chunks
from vtok.container.packet_index import bytes_around, locate_packets, read_packets
from vtok.container.packets import CHUNK_BYTES, HEAD_BYTES, PacketChunk, PacketChunks, PacketHead
from vtok.container.reader import ContainerReader, VideoGroup
from vtok.container.survey import survey
from vtok.container.writer import ContainerWriter
from vtok.errors import ChecksumError, ConfigError, FormatError
from vtok.video.chapters import Chapter, shifted_chapters
from vtok.video.times import Span
from vtok.video.tracks import AudioTrack, SubtitleTrack, TrackPacket

TRACKS = (
    AudioTrack(
        codec="aac",
        time_base=Fraction(1, 48000),
        sample_rate=48000,
        channel_layout="5.1(side)",
        extradata=b"\x11\x90",
        bit_rate=128000,
        codec_delay=1024,
        disposition=("default", "comment"),
        tags={"language": "deu", "title": "Ton \U0001f3ac"},
    ),
    AudioTrack(codec="opus", time_base=Fraction(1, 1000), sample_rate=48000, channel_layout="mono"),
)
CHAPTERS = (
    Chapter(start=-500, end=1500, time_base=Fraction(1, 1000), tags={"title": "Eins"}),
    Chapter(start=1500, end=4000, time_base=Fraction(1, 1000)),
)
SUBTITLES = (
    SubtitleTrack(codec="subrip", time_base=Fraction(1, 1000), disposition=("forced",), tags={"language": "deu"}),
    SubtitleTrack(codec="ass", time_base=Fraction(1, 100), extradata=b"[Script Info]\n"),
)
SOUNDING = dataclasses.replace(HEADER, audio=TRACKS, subtitles=SUBTITLES, chapters=CHAPTERS)


def packets_of(count, *, track=0, first_pts=-1024, seed=0):
    rng = random.Random(seed)
    return [
        TrackPacket(track, first_pts + 1024 * i, first_pts + 1024 * i, 1024, rng.randbytes(rng.randrange(1, 40)))
        for i in range(count)
    ]


PACKETS = [
    packets_of(5),
    [
        TrackPacket(1, 7, 7, 20, b"x"),
        TrackPacket(3, 5, 5, 200, b"0,0,,a"),
        TrackPacket(2, 9, 9, 9, b"b"),
        *packets_of(3, first_pts=4096, seed=1),
    ],
    [TrackPacket(1, 27, 20, 0, b"", False, True, (("skip_samples", bytes(10)), ("new", b""))), *packets_of(2, seed=2)],
]


ALL_PACKETS = list(chain.from_iterable(PACKETS))


def payloads_of(packets, header=SOUNDING):
    waiting = PacketChunks(header.tracks, header.time_base)
    for packet in packets:
        waiting.push(packet)
    return list(waiting.take())


def written(packets=PACKETS, header=SOUNDING):
    file = io.BytesIO()
    writer = ContainerWriter(file, header)
    for group, before in zip(GROUPS, packets, strict=True):
        writer.write_packets(payloads_of(before, header))
        writer.write_group(group)
    writer.finish()
    return file.getvalue()


FILE = written()
BODY = ContainerReader(io.BytesIO(FILE)).body_byte_offset


def read(data):
    """Groups, packets, and the fault."""
    groups, packets = [], []
    try:
        for item in ContainerReader(io.BytesIO(data)).items():
            groups += [item] if isinstance(item, VideoGroup) else []
            packets += item.packets if isinstance(item, PacketChunk) else []
    except FormatError as error:
        return groups, packets, error
    return groups, packets, None


def with_count(payload, count):
    return chunks.with_crc(payload[:16] + struct.pack("<I", count)) + payload[24:]


def test_everything_comes_back_and_the_second_reader_agrees():
    reader = ContainerReader(io.BytesIO(FILE))
    assert reader.header == SOUNDING
    assert list(reader) == GROUPS
    assert read(FILE) == (GROUPS, ALL_PACKETS, None)
    parsed = independent_reader.read(FILE)
    assert parsed.fault is None
    assert packets_as_ours(parsed.packets) == ALL_PACKETS
    assert parsed.header == header_as_theirs(SOUNDING)
    found = survey(io.BytesIO(FILE))
    assert (found.faults, len(found.packets)) == ([], 3)


def test_a_packet_that_follows_takes_little():
    (payload,) = payloads_of(packets_of(100))
    assert len(payload) < HEAD_BYTES + sum(len(packet.data) + 3 for packet in packets_of(100)) + 10
    head = PacketHead.from_bytes(payload)
    assert head == (-1920, (99 * 1024 * 90000) // 48000, 100)


def test_the_example_of_the_specification():
    (payload,) = payloads_of([TrackPacket(0, -1024, -1024, 1024, b"ab"), TrackPacket(0, 0, 0, 1024, b"abc")])
    assert payload[24:] == bytes.fromhex("00 01 FF 0F 00 80 08 02") + b"ab" + bytes.fromhex("00 09 03") + b"abc"


int64 = st.integers(-(2**63), 2**63 - 1)
any_packets = st.lists(
    st.builds(
        TrackPacket,
        st.integers(0, 1),
        int64,
        int64,
        st.integers(0, 2**63 - 1),
        st.binary(max_size=50),
        st.booleans(),
        st.booleans(),
        st.lists(st.tuples(st.sampled_from(["skip_samples", "a"]), st.binary(max_size=20)), max_size=3).map(tuple),
    ).filter(lambda packet: packet.pts + packet.duration < 2**63),
    max_size=20,
)


@given(any_packets)
def test_any_packets_come_back(packets):
    data = written([[], packets, []])
    assert read(data)[1] == packets
    assert packets_as_ours(independent_reader.read(data).packets) == packets


def test_chunks_are_of_bounded_size_and_wait_on_the_disk():
    packets = [TrackPacket(0, 1000 * i, 1000 * i, 1000, bytes([i]) * 60_000) for i in range(60)]
    waiting = PacketChunks(TRACKS, HEADER.time_base)
    for packet in packets:
        waiting.push(packet)
        assert len(waiting._records) <= CHUNK_BYTES
    assert waiting.is_due
    assert waiting._full._rolled  # 3.6 MB are not held in memory
    payloads = list(waiting.take())
    assert [len(PacketChunk.from_bytes(payload, 1).packets) for payload in payloads] == [4] * 15
    assert [p for payload in payloads for p in PacketChunk.from_bytes(payload, 1).packets] == packets
    assert (waiting.is_due, list(waiting.take())) == (False, [])
    large = TrackPacket(0, 0, 0, 1, bytes(CHUNK_BYTES + 1))
    for packet in (packets[0], large, packets[1], *[TrackPacket(0, 0, 0, 0, b"")] * 20_000):
        waiting.push(packet)
    assert [len(PacketChunk.from_bytes(payload, 1).packets) for payload in waiting.take()] == [1, 1, 16384, 3617]
    for packet, message in [
        (TrackPacket(0, 2**63, 0, 1, b""), "64 bits"),
        (TrackPacket(0, 2**63 - 1, 0, 1, b""), "64 bits"),
        (TrackPacket(0, 0, 0, -1, b""), "64 bits"),
        (TrackPacket(0, 0, 0, 1, bytes(chunks.MAX_CHUNK_BYTES)), "of at most"),
        (TrackPacket(0, 0, 0, 1, b"", side_data=(("a", b""),) * 17), "of at most"),
    ]:
        with pytest.raises(ConfigError, match=message):
            waiting.push(packet)


def test_damage_costs_the_packets_of_one_chunk():
    offsets = [chunk.offset for chunk in independent_reader.read_chunks(FILE) if chunk.kind == "apkt"]
    for number, offset in enumerate(offsets):
        data = bytearray(FILE)
        data[offset + 50] ^= 1
        found = survey(io.BytesIO(data))
        assert [location.first_frame for location in found.groups] == [group.first_frame for group in GROUPS]
        (fault,) = found.faults
        kept = [packets for i, packets in enumerate(PACKETS) if i != number]
        file = io.BytesIO(data)
        assert list(read_packets(file, found.header, found.packets, Span())) == list(chain.from_iterable(kept))
        assert fault.message.startswith(
            f"apkt chunk {1 + 2 * number} at byte offset {offset} is damaged: sound and subtitles from "
        )
        groups, _, error = read(data)
        assert (groups, str(error)) == (GROUPS[:number], fault.message)
        with pytest.raises(ChecksumError, match="are lost"):
            list(read_packets(file, SOUNDING, locate_packets(file, BODY, range(len(data))), Span()))


def test_only_what_is_needed_has_to_be_sound():
    groups = ContainerReader(io.BytesIO(FILE)).read_index().locations
    around = bytes_around(groups, range(groups[1].first_frame, groups[1].end_frame))
    expected = list(locate_packets(io.BytesIO(FILE), BODY, around))
    assert [location.chunk.byte_offset in around for location in expected] == [False, True, True]
    for offset in range(BODY, len(FILE)):
        data = bytearray(FILE)
        data[offset] ^= 1
        try:
            found = list(locate_packets(io.BytesIO(data), BODY, around))
        except ChecksumError:
            assert around.start - 24 <= offset < around.stop + 24
            continue
        for location in expected[1:2]:
            assert location in found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda payload: payload[:20], "description of its packets"),
        (lambda payload: with_count(payload, 6), "6 packets declared: there are others"),
        (lambda payload: with_count(payload, 4), "4 packets declared: there are others"),
        (lambda payload: with_count(payload, 16385), "16385 packets declared: the limit is 16384"),
        (lambda payload: payload + b"\x02\x00", "has no end"),
        (lambda payload: payload + b"\x05\x09\x00", "packet of track 5"),
        (lambda payload: payload + b"\x00\x19\x00", "flags 0x19"),
        (lambda payload: payload + b"\x00\x09\x09abc", "9 bytes declared where 3 are left"),
        (lambda payload: payload + b"\x00\x0d\x00\x00", "0 pieces of side data"),
        (lambda payload: payload + b"\x00\x0d\x00\x01\x01\xff\x00", "not ASCII"),
        (lambda payload: payload + b"\x00\x01" + b"\xff" * 9 + b"\x7f\x00\x00\x00", "exceeds 64 bits"),
    ],
)
def test_what_makes_no_sense_is_refused(change, message):
    parts = split(FILE)
    data = joined([parts[0], (b"apkt", change(parts[1][1])), *parts[2:]])
    groups, packets, error = read(data)
    assert (groups, packets) == ([], [])
    assert message in str(error)
    assert "apkt chunk 1" in str(error)
    assert independent_reader.read(data).fault
    assert survey(io.BytesIO(data)).faults


def test_both_readers_agree_on_whatever_is_wrong():
    rng, outcomes = random.Random(4), set()
    for i in range(600):
        parts = split(FILE)
        number = rng.choice([1, 3, 5])
        payload = bytearray(parts[number][1])
        for _ in range(rng.randrange(1, 4)):
            payload[rng.randrange(len(payload))] = rng.choice([0, 1, 4, 8, 12, 127, 128, 255, rng.randrange(256)])
        if i % 2:
            payload[:24] = chunks.with_crc(bytes(payload[:20]))
        parts[number] = b"apkt", bytes(payload)
        data = joined(parts)
        groups, packets, error = read(data)
        try:
            parsed = independent_reader.read(data)
        except (ValueError, LookupError, struct.error):
            raise AssertionError("the header is sound") from None
        assert (error is None) == (parsed.fault is None), (error, parsed.fault)
        assert (len(groups), packets) == (len(parsed.groups), packets_as_ours(parsed.packets))
        outcomes.add(type(error).__name__)
    assert {"NoneType", "FormatError", "ChecksumError"} <= outcomes


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("audio", 5), ("audio", [5]), ("audio", None), ("audio", [{}]), ("chapters", {"a": 1}), ("chapters", [{}]),
        *(
            ("audio", [TRACKS[0].to_json() | {name: value}])
            for name, value in [
                ("codec", "../x"), ("codec", 5), ("time_base", [0, 1]), ("sample_rate", 0), ("sample_rate", 1.0),
                ("channel_layout", ""), ("extradata", "?"), ("extradata", 5), ("extradata", "AAA"), ("bit_rate", -1),
                ("codec_delay", 2**31), ("disposition", "default"), ("disposition", [1]), ("tags", {"a": 1}),
            ]
        ),
        *(
            ("chapters", [CHAPTERS[0].to_json() | {name: value}])
            for name, value in [("start", 2**63), ("end", 1.5), ("time_base", 1), ("tags", [])]
        ),
        ("audio", [TRACKS[0].to_json()] * 257),
        ("subtitles", 5), ("subtitles", [{}]), ("subtitles", [SUBTITLES[0].to_json()] * 257),
        *(
            ("subtitles", [SUBTITLES[0].to_json() | {name: value}])
            for name, value in [("codec", "../x"), ("extradata", "?"), ("time_base", [1, 0]), ("tags", {"a": 1})]
        ),
    ],
)  # fmt: skip
def test_bad_descriptions_are_refused(key, value):
    payload = json.dumps(json.loads(SOUNDING.to_bytes()) | {key: value}).encode()
    data = joined([(b"HEAD", payload), *split(FILE)[1:]])
    with pytest.raises(FormatError, match=f"header: {key}"):
        ContainerReader(io.BytesIO(data))
    with pytest.raises((ValueError, LookupError, TypeError, AttributeError)):
        independent_reader.read(data)


def test_chapters_are_cut_and_moved():
    one, two = CHAPTERS
    assert shifted_chapters(CHAPTERS, None, None, Fraction(1)) == (
        dataclasses.replace(one, start=500, end=2500),
        dataclasses.replace(two, start=2500, end=5000),
    )
    assert shifted_chapters(CHAPTERS, Fraction(2), Fraction(3), Fraction(-2)) == (
        dataclasses.replace(two, start=0, end=1000),
    )
