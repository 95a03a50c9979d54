"""Parts of a file that FFmpeg passes over: a second video appended to the first, or under other identifiers in it."""

import json
import re

import pytest

from support.videos import write_video, write_video_with_sound
from vtok.media.reader import VideoReader

AAC, MP3 = ("aac", 48000, "stereo"), ("mp3", 44100, "stereo")


def error_of(path):
    with VideoReader(path) as reader:
        assert len(list(reader)) == 40
    return reader.decode_error


@pytest.mark.parametrize(
    ("suffix", "codec", "sound"),
    [("flv", "flv1", MP3), ("mp4", "libx264", AAC), ("mov", "mpeg4", AAC), ("wmv", "mpeg4", MP3)],
)
def test_a_video_appended_to_another_is_said_not_to_be_read(suffix, codec, sound, tmp_path):
    parts = [
        write_video_with_sound(tmp_path / f"{name}.{suffix}", [sound], video_codec=codec).read_bytes() for name in "ab"
    ]
    assert error_of(tmp_path / f"a.{suffix}") is None
    (tmp_path / f"whole.{suffix}").write_bytes(b"".join(parts))
    message = f"not all of it can be read: another video, appended to it, begins at byte offset {len(parts[0])}"
    assert error_of(tmp_path / f"whole.{suffix}") == message


def test_a_fragmented_file_whose_beginning_is_repeated_is_read_whole(tmp_path):
    path = write_video(
        tmp_path / "a.mp4", num_frames=40, container_options={"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    )
    data = path.read_bytes()
    begin = data.find(b"moof") - 4
    path.write_bytes(data[:begin] * 2 + data[begin:])
    assert error_of(path) is None


def transport_stream(folder, name, pid, **options):
    path = folder / f"{name}.ts"
    return write_video_with_sound(
        path, [AAC], container_options={"mpegts_start_pid": str(pid), "mpegts_service_id": str(pid)}, **options
    ).read_bytes()


@pytest.mark.parametrize("num_before", [1, 150])  # FFmpeg knows of what begins within the first megabytes
def test_a_part_of_a_transport_stream_with_other_identifiers_is_said_not_to_be_read(num_before, tmp_path):
    first, second = (transport_stream(tmp_path, name, pid) for name, pid in (("a", 0x100), ("b", 0x200)))
    assert error_of(tmp_path / "a.ts") is None
    path = tmp_path / "whole.ts"
    path.write_bytes(first * num_before + second)
    with VideoReader(path) as reader:
        assert len(list(reader)) == 40 * num_before
    message = r"not all of it can be read: 40 pictures from byte offset \d+ on are of a part that has other identifiers"
    assert re.match(message, reader.decode_error or "")


def interleaved(first, second):
    """Two programmes in one stream, a picture of each in turn."""
    packets = [[data[at : at + 188] for at in range(0, len(data), 188)] for data in (first, second)]
    return b"".join(packet for pair in zip(*packets, strict=False) for packet in pair)


def test_another_programme_is_no_part(tmp_path):
    first, second = (transport_stream(tmp_path, name, pid) for name, pid in (("a", 0x100), ("b", 0x200)))
    (tmp_path / "both.ts").write_bytes(interleaved(first, second))
    with VideoReader(tmp_path / "both.ts") as reader:
        list(reader)
    assert "not all of it" not in (reader.decode_error or "")


def test_a_part_that_is_not_read_makes_the_exit_code_3(vtok, tmp_path):
    data = write_video(tmp_path / "a.mp4", num_frames=8).read_bytes()
    (tmp_path / "a.mp4").write_bytes(data * 2)
    outcome = vtok("encode", "a.mp4", "a.vtok", "--json")
    assert outcome.code == 3
    assert "another video, appended to it" in json.loads(outcome.out)["incomplete"]
    assert outcome.err.startswith("vtok: warning: a.mp4: not all of it can be read")
