"""Videos encoded in ranges: the file is the one that a single encoder writes, to the last byte."""

import os
from concurrent.futures import Future
from dataclasses import replace
from fractions import Fraction

import pytest

from support.sources import scenes, write_source
from support.videos import truncated, write_video, write_video_with_sound, write_video_with_subtitles
from vtok.batch import ranges as range_encoding
from vtok.batch.ranges import encode_range
from vtok.batch.split import encode_split, is_long
from vtok.errors import MediaError
from vtok.files.encode import encode_file
from vtok.files.options import EncodeOptions
from vtok.media.reader import VideoReader
from vtok.video.filters import filters_of

KEYFRAME_SECONDS = 0.64  # two chunks
RANGE_SECONDS = 1.28
SOUND = [("aac", 44100, "stereo"), ("flac", 48000, "mono")]


def encode_in_ranges(source, target, tokenizer, *, change=lambda part: part, **options):
    """As `encode_split`, one range after the other in this process; `change` may tamper with them."""
    parts, settings = [], EncodeOptions(keyframe_seconds=KEYFRAME_SECONDS, **options)

    def submit(part):
        parts.append(part)
        groups = Future()
        try:
            groups.set_result(encode_range(source, change(part), settings, model=tokenizer.pretrained))
        except MediaError as error:
            groups.set_exception(error)
        return groups

    result = encode_split(
        source,
        target,
        submit,
        settings,
        model=tokenizer.pretrained,
        split_seconds=RANGE_SECONDS,
        max_in_flight=2,
    )
    return result, parts


def encode_whole(source, target, tokenizer, **options):
    return encode_file(
        source, target, tokenizer=tokenizer, quality=5.0, keyframe_seconds=KEYFRAME_SECONDS, overwrite=True, **options
    )


@pytest.fixture
def attempts(monkeypatch):
    """How ranges were read, one entry per attempt: True from a keyframe, False from the beginning."""
    attempts = []
    read = range_encoding._chunks

    def chunks(reader, part, *, seeks):
        attempts.append(seeks)
        yield from read(reader, part, seeks=seeks)

    monkeypatch.setattr(range_encoding, "_chunks", chunks)
    return attempts


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        (".mp4", "libx264", {"g": "12", "bf": "3"}),
        (".mp4", "libx264", {"g": "250"}),
        (".mp4", "libx264", {"x264-params": "open-gop=1:keyint=12:bframes=3"}),
        (".mp4", "libx264", {"x264-params": "intra-refresh=1:keyint=12"}),
        (".ts", "libx264", {"g": "12"}),
        (".avi", "mpeg4", {"g": "12", "bf": "2"}),
        (".mpg", "mpeg2video", {"g": "12", "bf": "2"}),
        (".webm", "libvpx-vp9", {"g": "12", "deadline": "realtime", "cpu-used": "8"}),
        (".y4m", "wrapped_avframe", {}),
    ],
)
def test_ranges_make_the_file_of_one_encoder(tmp_path, tiny_tokenizer, attempts, suffix, codec, options):
    source = write_video(tmp_path / f"in{suffix}", num_frames=101, codec=codec, options=options)
    expected = encode_whole(source, tmp_path / "whole.vtok", tiny_tokenizer)
    result, parts = encode_in_ranges(source, tmp_path / "ranges.vtok", tiny_tokenizer)
    assert (tmp_path / "ranges.vtok").read_bytes() == (tmp_path / "whole.vtok").read_bytes()
    assert replace(result, target=expected.target) == expected
    assert [part.num_frames for part in parts] == [32, 32, 32, 5]
    assert [part.first_frame for part in parts] == [0, 32, 64, 96]
    # FFmpeg guesses times of a program stream from those before: then a range is decoded again from the beginning.
    assert sorted(attempts) == [False] * (2 if suffix == ".mpg" else 1) + [True] * 3


@pytest.mark.parametrize("scene_cuts", [True, False])
def test_ranges_know_the_scene_cuts(tmp_path, tiny_tokenizer, attempts, scene_cuts):
    source = write_source(tmp_path / "in.mp4", scenes(48, 64, (11, 29, 16, 5, 24)), codec="libx264")
    encode_whole(source, tmp_path / "whole.vtok", tiny_tokenizer, scene_cuts=scene_cuts)
    _, parts = encode_in_ranges(source, tmp_path / "ranges.vtok", tiny_tokenizer, scene_cuts=scene_cuts)
    assert (tmp_path / "ranges.vtok").read_bytes() == (tmp_path / "whole.vtok").read_bytes()
    assert [part.num_frames for part in parts] == ([40, 37, 8] if scene_cuts else [32, 32, 21])
    assert attempts == [False, True, True]


@pytest.mark.parametrize("effort", ["fast", "high"])
def test_ranges_take_as_much_effort_as_one_encoder(tmp_path, tiny_tokenizer, effort):
    source = write_video(tmp_path / "in.mkv", num_frames=65)
    encode_whole(source, tmp_path / "whole.vtok", tiny_tokenizer, effort=effort)
    encode_in_ranges(source, tmp_path / "ranges.vtok", tiny_tokenizer, effort=effort)
    assert (tmp_path / "ranges.vtok").read_bytes() == (tmp_path / "whole.vtok").read_bytes()
    encode_whole(source, tmp_path / "whole.vtok", tiny_tokenizer)
    is_other = (tmp_path / "ranges.vtok").read_bytes() != (tmp_path / "whole.vtok").read_bytes()
    assert is_other or effort == "fast"  # which may find the same motion


def test_ranges_of_filtered_frames(tmp_path, tiny_tokenizer, attempts):
    source = write_video(tmp_path / "in.mp4", num_frames=200, options={"g": "12", "bf": "2"}, rate=Fraction(50))
    values = {"scale": "32:-2", "fps": "24000/1001", "crop": "48:48"}
    expected = encode_whole(source, tmp_path / "whole.vtok", tiny_tokenizer, **values)
    result, parts = encode_in_ranges(source, tmp_path / "ranges.vtok", tiny_tokenizer, filters=filters_of(**values))
    assert (tmp_path / "ranges.vtok").read_bytes() == (tmp_path / "whole.vtok").read_bytes()
    assert replace(result, target=expected.target) == expected
    assert [part.num_frames for part in parts] == [32, 32, 32]
    assert sorted(attempts) == [False, True, True]


@pytest.mark.parametrize("num_frames", [31, 32, 33, 40, 48, 64, 96])
def test_any_length_with_sound_tags_and_chapters(tmp_path, tiny_tokenizer, num_frames):
    chapter = {"id": 1, "start": 0, "end": 1000, "time_base": Fraction(1, 1000), "metadata": {"title": "One"}}
    source = write_video_with_sound(
        tmp_path / "in.mkv",
        SOUND,
        num_frames=num_frames,
        seconds=num_frames / 25 + 0.5,
        tags={"title": "Noise"},
        chapters=[chapter],
    )
    encode_whole(source, tmp_path / "whole.vtok", tiny_tokenizer)
    result, _ = encode_in_ranges(source, tmp_path / "ranges.vtok", tiny_tokenizer, verify=True)
    assert result.num_track_bytes > 1000
    assert (tmp_path / "ranges.vtok").read_bytes() == (tmp_path / "whole.vtok").read_bytes()


def test_subtitles(tmp_path, tiny_tokenizer):
    cues = [(100, 300, b"one"), (1500, 2000, b"two"), (3500, 100, b"three")]
    source = write_video_with_subtitles(tmp_path / "in.mkv", [("subrip", cues)], num_frames=101, sound=SOUND[1])
    encode_whole(source, tmp_path / "whole.vtok", tiny_tokenizer)
    encode_in_ranges(source, tmp_path / "ranges.vtok", tiny_tokenizer, verify=True)
    assert b"three" in (tmp_path / "ranges.vtok").read_bytes()
    assert (tmp_path / "ranges.vtok").read_bytes() == (tmp_path / "whole.vtok").read_bytes()


def test_the_place_of_sound_does_not_depend_on_the_number_of_processors(tmp_path, tiny_tokenizer):
    processors = os.sched_getaffinity(0)
    if len(processors) < 2:
        pytest.skip("this machine has one processor")
    source = write_video_with_sound(tmp_path / "in.mkv", SOUND, num_frames=80, seconds=3.2)
    encode_whole(source, tmp_path / "all.vtok", tiny_tokenizer)
    os.sched_setaffinity(0, {min(processors)})
    try:
        encode_whole(source, tmp_path / "one.vtok", tiny_tokenizer)
    finally:
        os.sched_setaffinity(0, processors)
    assert (tmp_path / "one.vtok").read_bytes() == (tmp_path / "all.vtok").read_bytes()


def test_a_damaged_source_is_incomplete_in_the_same_way(tmp_path, tiny_tokenizer):
    whole = write_video(tmp_path / "whole.mkv", num_frames=101, codec="mpeg2video", options={"g": "30"})
    data = bytearray(whole.read_bytes())
    for offset in range(len(data) // 3, len(data) * 2 // 3, 251):
        data[offset] ^= 0x55
    (tmp_path / "flipped.mkv").write_bytes(data)
    for source in (tmp_path / "flipped.mkv", truncated(whole, tmp_path / "cut.mkv", share=0.7)):
        expected = encode_whole(source, tmp_path / "whole.vtok", tiny_tokenizer)
        result, _ = encode_in_ranges(source, tmp_path / "ranges.vtok", tiny_tokenizer)
        assert (tmp_path / "ranges.vtok").read_bytes() == (tmp_path / "whole.vtok").read_bytes()
        assert result.incomplete == expected.incomplete is not None


def test_a_range_that_a_keyframe_does_not_lead_to_is_read_from_the_beginning(
    tmp_path, tiny_tokenizer, attempts, monkeypatch
):
    source = write_video(tmp_path / "in.mp4", num_frames=64, options={"g": "12"})
    encode_whole(source, tmp_path / "whole.vtok", tiny_tokenizer)
    for seek in (
        lambda self, pts: None,  # goes on behind the first frame: never decodes what was asked for
        lambda self, pts: (_ for _ in ()).throw(MediaError("cannot seek")),
        lambda self, pts: VideoReader.__iter__(self).__next__(),  # and loses frames
    ):
        monkeypatch.setattr(VideoReader, "seek", seek)
        attempts.clear()
        encode_in_ranges(source, tmp_path / "ranges.vtok", tiny_tokenizer)
        assert (tmp_path / "ranges.vtok").read_bytes() == (tmp_path / "whole.vtok").read_bytes()


def test_frames_that_are_not_those_of_the_scan_are_refused(tmp_path, tiny_tokenizer, attempts):
    def other(part):
        *marks, last = part.marks
        return replace(part, marks=(*marks, last._replace(crc32=last.crc32 ^ 1)))

    source = write_video(tmp_path / "in.mp4", num_frames=64)
    target = tmp_path / "out.vtok"
    target.write_text("old")
    with pytest.raises(MediaError, match=r"in\.mp4: gives other frames each time it is decoded"):
        encode_in_ranges(source, target, tiny_tokenizer, change=lambda part: other(part) if part.first_frame else part)
    assert attempts == [False, True, False]
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.vtok"]


def test_only_long_videos_are_split(tmp_path):
    with VideoReader(write_video(tmp_path / "in.mp4", num_frames=50)) as reader:  # two seconds
        assert is_long(reader.info, 1.3)
        assert not is_long(reader.info, 1.4)
        assert not is_long(reader.info, 0)
        assert not is_long(replace(reader.info, duration_seconds_from_header=None), 1)
