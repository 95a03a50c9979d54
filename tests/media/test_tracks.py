"""Which tracks and tags are read: programmes of a broadcast, encryption, more tags than a header holds."""

import os
from fractions import Fraction

import av
import pytest

from support.media_files import assert_one_line, read
from support.videos import sound_of, write_video, write_video_with_sound
from vtok.codec.packet_queue import PacketQueue
from vtok.errors import MediaError
from vtok.files.decode import decode_file
from vtok.files.encode import encode_file
from vtok.files.inspection import file_info
from vtok.media.reader import VideoReader
from vtok.media.track_reader import TrackReader

MP2, AAC = ("mp2", 48000, "mono"), ("aac", 48000, "mono")
ENCRYPTION = {
    "encryption_scheme": "cenc-aes-ctr",
    "encryption_key": "00112233445566778899aabbccddeeff",
    "encryption_kid": "ffeeddccbbaa99887766554433221100",
}


def section(table, number, body):
    """A section of MPEG-TS's tables (ISO 13818-1, 2.4.4)."""
    length = len(body) + 9
    data = bytes([table, 0xB0 | length >> 8, length & 255, *number.to_bytes(2), 0xC1, 0, 0]) + body
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return data + crc.to_bytes(4)


def in_programmes(path, programmes):
    """Divide the streams of a transport stream, by their PIDs and types."""
    pids = {number: 0x1000 + number for number in range(1, len(programmes) + 1)}
    tables = [(0, section(0, 1, b"".join(n.to_bytes(2) + (0xE000 | pid).to_bytes(2) for n, pid in pids.items())))]
    for number, streams in enumerate(programmes, 1):
        body = (0xE000 | min(streams)).to_bytes(2) + b"\xf0\0"
        for pid, kind in streams.items():
            body += bytes([kind]) + (0xE000 | pid).to_bytes(2) + b"\xf0\0"
        tables.append((pids[number], section(2, number, body)))
    data = path.read_bytes()
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    out = b""
    for packet in packets:
        pid = int.from_bytes(packet[1:3]) & 0x1FFF
        if pid == 0:
            for table_pid, table in tables:
                head = b"\x47" + (0x4000 | table_pid).to_bytes(2) + packet[3:4] + b"\0"
                out += (head + table).ljust(188, b"\xff")
        elif pid >= 0x100 and pid != 0x1000:
            out += packet
    path.write_bytes(out)


VIDEO_TYPE, AUDIO_TYPE = 0x1B, 0x03


@pytest.mark.parametrize(
    ("programmes", "kept"),
    [
        ([{256: VIDEO_TYPE, 257: AUDIO_TYPE}, {258: AUDIO_TYPE, 259: AUDIO_TYPE}], [0]),
        ([{258: AUDIO_TYPE}, {256: VIDEO_TYPE, 257: AUDIO_TYPE, 259: AUDIO_TYPE}], [0, 2]),
        ([{256: VIDEO_TYPE, 257: AUDIO_TYPE, 258: AUDIO_TYPE, 259: AUDIO_TYPE}], [0, 1, 2]),
    ],
)
def test_only_the_sound_of_the_programme_of_the_video_is_read(programmes, kept, tiny_tokenizer, tmp_path):
    path = write_video_with_sound(tmp_path / "a.ts", [MP2, MP2, MP2])
    in_programmes(path, programmes)
    ids = {257 + number for number in kept}
    with av.open(str(path)) as container:
        assert len(container.streams.audio) == 3
        wanted = [len([p for p in container.demux(s) if p.size]) for s in container.streams.audio if s.id in ids]
    result = encode_file(path, tmp_path / "a.vtok", tokenizer=tiny_tokenizer)
    left = 3 - len(kept)
    assert result.notices == ([f"tracks not carried over: {left} audio ({', '.join(['mp2'] * left)})"] if left else [])
    decode_file(tmp_path / "a.vtok", tmp_path / "out.mkv", tokenizer=tiny_tokenizer, codec="ffv1")
    assert [len(track) for track in sound_of(tmp_path / "out.mkv")] == [wanted[0]] * len(kept)


@pytest.mark.parametrize("sound", [[], [AAC]])
def test_encrypted_video_is_refused_in_one_line(sound, tiny_tokenizer, tmp_path):
    path = write_video_with_sound(tmp_path / "a.mp4", sound, container_options=ENCRYPTION)
    with pytest.raises(MediaError, match="is encrypted") as caught:
        encode_file(path, tmp_path / "a.vtok", tokenizer=tiny_tokenizer)
    assert_one_line(caught, path)
    assert not (tmp_path / "a.vtok").exists()


def test_encrypted_sound_is_left_out(tmp_path):
    path = write_video_with_sound(tmp_path / "a.mp4", [AAC], container_options=ENCRYPTION)
    sound, notices = PacketQueue(), {}
    with av.open(str(path)) as container:
        reader = TrackReader(container.streams.audio, sound, notices, Fraction(1, 25))
        assert all(reader.takes(packet) for packet in container.demux(audio=0))
    assert list(sound.take()) == []
    assert list(notices.values()) == ["encrypted sound left out: aac"]


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_the_largest_tags_are_dropped_where_all_together_are_too_many(suffix, tiny_tokenizer, tmp_path):
    tags = {"title": "kept"}
    tags |= {f"tag{number}": "x" * (40000 + number) for number in range(25)} if suffix == "mkv" else {}
    tags |= {"comment": "x" * 60000, "artist": '"' * 60000}
    chapters = [
        {"id": n, "start": 10 * n, "end": 10 * n + 10, "time_base": Fraction(1, 1000),
         "metadata": {"title": f"{n}" + "é" * 9000}}
        for n in range(40)
    ]  # fmt: skip
    path = write_video_with_sound(
        tmp_path / f"a.{suffix}", [], tags=tags, chapters=chapters if suffix == "mkv" else (),
        container_options={} if suffix == "mkv" else {"movflags": "use_metadata_tags"},
    )  # fmt: skip
    result = encode_file(path, tmp_path / "a.vtok", tokenizer=tiny_tokenizer)
    kept = {key.lower(): value for key, value in file_info(tmp_path / "a.vtok").tags.items()}
    assert kept["title"] == "kept"
    if suffix == "mkv":
        (notice,) = result.notices
        assert "of all the largest, are not carried over: " in notice
        assert "tag0" in kept
        assert "artist" not in kept
    else:
        assert (result.notices, len(kept["artist"])) == ([], 60000)


def test_a_name_that_is_not_utf_8_works(tiny_tokenizer, tmp_path):
    source = write_video_with_sound(tmp_path / "a.mp4", [AAC])
    path = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    source.rename(path)
    assert len(read(path)[1]) == 40
    encode_file(path, path.with_suffix(".vtok"), tokenizer=tiny_tokenizer)
    decode_file(path.with_suffix(".vtok"), path.with_suffix(".mkv"), tokenizer=tiny_tokenizer, codec="ffv1")
    assert len(read(path.with_suffix(".mkv"))[1]) == 40


def test_an_animated_webp_is_named_as_such(tmp_path):
    path = tmp_path / "a.webp"
    write_video(path, codec="libwebp_anim", num_frames=4)
    assert b"ANIM" in path.read_bytes()[:64]
    with pytest.raises(MediaError, match=r"no frame can be decoded \(it is an animated WebP, which this build"):
        VideoReader(path)
