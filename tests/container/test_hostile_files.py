"""What fuzzing found: files that once led to something else than frames or one clear line."""

import struct
from fractions import Fraction
from io import BytesIO

import numpy as np
import pytest
from make_golden import FOLDER, WEIGHTS

from support.chunk_assembly import edited_group, edited_header, ended, joined, split
from vtok.codec.compressed_video import CompressedVideo
from vtok.codec.decoder import VideoDecoder
from vtok.codec.recovery import RecoveredVideo
from vtok.container.reader import ContainerReader, FileHeader, VideoGroup
from vtok.container.verification import verify_file
from vtok.container.writer import ContainerWriter
from vtok.errors import ConfigError, FormatError, MediaError
from vtok.files.decode import decode_file
from vtok.files.inspection import file_info
from vtok.model.tokenizer import VideoTokenizer

HEAD, FIRST, SECOND = range(3)


@pytest.fixture(scope="module")
def tiny():
    return VideoTokenizer.from_pretrained(WEIGHTS)


@pytest.fixture
def write(tmp_path):
    """Writes a file of chunks, edited ones in place of those of a sound file of 8 and 4 frames."""

    def run(*parts):
        path = tmp_path / "hostile.vtok"
        path.write_bytes(ended(parts))
        return path

    return run


@pytest.fixture(scope="module")
def sound():
    parts = split((FOLDER / "header_copy.vtok").read_bytes())[:3]
    assert [part.kind for part in parts] == [b"HEAD", b"VGRP", b"VGRP"]
    return parts


def test_an_index_that_lies_does_not_mislead_recovery(tiny):
    path = FOLDER / "bad" / "index_wrong.vtok"
    with RecoveredVideo(path, tokenizer=tiny) as video, CompressedVideo(path, tokenizer=tiny) as strict:
        assert [frame.pts for frame in video] == [frame.pts for frame in strict] == list(range(12))
        assert (len(video.faults), video.num_held_frames) == (1, 0)
        assert "index" in video.faults[0]


def test_an_index_of_groups_that_cannot_be_counts_as_none(sound):
    *parts, index, done = split(ended(sound))
    first, second = struct.iter_unpack("<IQQI", index.payload)
    for frames in (0, 2**32 - 1):
        other = struct.pack("<IQQI", *first[:3], frames) + struct.pack("<IQQI", *second[:2], frames, second[3])
        totals = struct.pack("<Q", frames + second[3]) + done.payload[8:]
        data = joined([*parts, index._replace(payload=other), done._replace(payload=totals)])
        assert ContainerReader(BytesIO(data)).read_index().locations == [first, second]


def test_a_file_that_does_not_begin_with_frame_0_is_refused_by_random_access_too(write, sound, tiny):
    path = write(sound[HEAD], sound[SECOND])
    with (
        VideoDecoder(path, tokenizer=tiny) as video,
        pytest.raises(FormatError, match="begins with frame 8: expected 0"),
    ):
        video[0]


def test_a_color_range_that_nobody_knows_is_taken_as_limited(write, sound, tiny):
    with VideoDecoder(write(*sound), tokenizer=tiny) as video:
        expected = video[0].numpy()
    with VideoDecoder(write(edited_header(sound[HEAD], color_range=87), *sound[FIRST:]), tokenizer=tiny) as video:
        assert np.array_equal(video[0].numpy(), expected)


def test_timestamps_beyond_those_of_video_files(write, sound, tiny, tmp_path):
    far = edited_group(sound[SECOND], first_pts=2**63 - 10)
    path = write(sound[HEAD], edited_group(sound[FIRST], first_pts=-100), far)
    with pytest.raises(MediaError, match=r"out.mkv: timestamp 9223372036854775898 of frame 8 is too large"):
        decode_file(path, tmp_path / "out.mkv", codec="ffv1", tokenizer=tiny)
    assert not (tmp_path / "out.mkv").exists()


def test_a_group_with_a_wrong_number_of_latent_frames_is_not_recovered(write, sound, tiny):
    # So many latent frames that their codes, all zero, would take the memory of hundreds of videos.
    many = edited_group(sound[SECOND], num_latent_frames=1 << 20, coded=bytes(2 << 20))
    with RecoveredVideo(write(sound[HEAD], sound[FIRST], many), tokenizer=tiny) as video:
        assert [frame.pts for frame in video] == list(range(12))
        assert video.num_held_frames == 4
        assert video.faults[-1] == "1048576 latent frames for 4 frames: must be 1"


def test_groups_of_too_many_codes_are_not_written_either(tmp_path):
    header = FileHeader(
        model_name="large",
        model_sha256="0" * 64,
        width=16384,
        height=16384,
        num_codebooks=384,
        frames_per_latent=8,
        patch_size=8,
        entropy_coder="prior-1",
        time_base=Fraction(1, 25),
    )
    group = VideoGroup(first_frame=0, pts=(0,), num_latent_frames=1, quality=5.0, tokens_crc32=0, coded=bytes(6))
    with (
        (tmp_path / "large.vtok").open("wb") as file,
        pytest.raises(ConfigError, match="1610612736 codes: the limit is"),
    ):
        ContainerWriter(file, header).write_group(group)


def test_tags_cannot_write_to_the_terminal(write, sound):
    path = write(
        edited_header(sound[HEAD], tags={"\x1b]0;x\x07": "\x1b[2J\n\x9b1m", "title": "Größe 🎬"}), *sound[FIRST:]
    )
    summary = file_info(path).summary()
    assert all(line.isprintable() for line in summary.splitlines())
    assert r"tag       '\x1b]0;x\x07': '\x1b[2J\n\x9b1m'" in summary
    assert "tag       title: Größe 🎬" in summary
    assert verify_file(path).is_sound
