"""Parts of a file: by frame and by time, equal to the same frames of a whole decode, reading only what is needed."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from av.video.reformatter import VideoReformatter

import vtok
from support.sources import make_frames, read, write_source
from vtok.codec.chunk_coder import ChunkDecoder
from vtok.codec.compressed_video import CompressedVideo
from vtok.container.reader import ContainerReader
from vtok.errors import ChecksumError, ConfigError
from vtok.files.cut import cut_file
from vtok.files.decode import decode_file
from vtok.files.encode import encode_file
from vtok.media.pixels import rgb_from_planes
from vtok.video.frame import Frame, VideoInfo

NUM_FRAMES = 85
PTS = [40 * t + 13 * (t % 3) + 100 for t in range(NUM_FRAMES)]  # uneven, and not from zero


@pytest.fixture
def tokenizer(tiny_tokenizer):
    return tiny_tokenizer


@pytest.fixture
def encoded(tokenizer, tmp_path):
    frames = make_frames(NUM_FRAMES, 24, 40, pts=PTS)
    source = write_source(tmp_path / "in.mp4", frames, time_base=Fraction(1, 1000), average_rate=Fraction(25))
    encode_file(source, tmp_path / "in.vtok", tokenizer=tokenizer, keyframe_seconds=0.6)  # groups of 16 frames
    return tmp_path / "in.vtok"


@pytest.fixture
def whole(encoded, tokenizer):
    with CompressedVideo(encoded, tokenizer=tokenizer) as video:
        return list(video)


def assert_equal(frames, expected):
    assert len(frames) == len(expected)
    for a, b in zip(frames, expected, strict=True):
        assert a.pts == b.pts
        assert all(np.array_equal(getattr(a, plane), getattr(b, plane)) for plane in "yuv")


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (0, 1),
        (0, 85),
        (7, 9),
        (15, 17),
        (16, 32),
        (33, 34),
        (47, 81),
        (80, 85),
        (84, 85),
        (84, 999),
        (40, 40),
        (90, 95),
    ],
)
def test_a_range_equals_the_same_frames_of_a_whole_decode(start, stop, encoded, tokenizer, whole):
    with CompressedVideo(encoded, tokenizer=tokenizer) as video:
        assert_equal(list(video.frames(start, stop)), whole[start:stop])


def test_ranges_begin_at_zero_or_later(encoded, tokenizer):
    with CompressedVideo(encoded, tokenizer=tokenizer) as video, pytest.raises(ConfigError, match="from -1 on"):
        list(video.frames(-1, 3))


def decoded_from(path, tokenizer, start, stop, monkeypatch):
    """The first frames of the groups that are read, and of the chunks that are decoded."""
    read_groups, decoded = [], []
    read_group, decode = ContainerReader.read_group, ChunkDecoder.decode
    monkeypatch.setattr(
        ContainerReader, "read_group", lambda self, at: read_groups.append(at.first_frame) or read_group(self, at)
    )
    monkeypatch.setattr(
        ChunkDecoder,
        "decode",
        lambda self, *chunk: decoded.append(chunk[1][0]) or decode(self, *chunk),
    )
    with CompressedVideo(path, tokenizer=tokenizer) as video:
        assert len(list(video.frames(start, stop))) == stop - start
    return read_groups, [PTS.index(pts) for pts in decoded]


def test_only_what_is_needed_is_read_and_decoded(encoded, tokenizer, monkeypatch):
    assert decoded_from(encoded, tokenizer, 66, 70, monkeypatch) == ([64], [64])
    assert decoded_from(encoded, tokenizer, 60, 66, monkeypatch) == ([48, 64], [48, 56, 64])
    assert decoded_from(encoded, tokenizer, 50, 53, monkeypatch) == ([48], [48])


def test_no_more_than_the_chunk_before_is_decoded(tokenizer, tmp_path, monkeypatch):
    source = write_source(tmp_path / "in.mp4", make_frames(40, 24, 40))
    encode_file(source, tmp_path / "a.vtok", tokenizer=tokenizer)
    with CompressedVideo(tmp_path / "a.vtok", tokenizer=tokenizer) as video:
        whole = list(video)
        decoded, decode = [], ChunkDecoder.decode
        monkeypatch.setattr(ChunkDecoder, "decode", lambda self, *chunk: decoded.append(chunk) or decode(self, *chunk))
        assert_equal(list(video.frames(25, 31)), whole[25:31])
        assert len(decoded) == 2


def test_groups_stand_alone(encoded, tokenizer, whole):
    """A file without the groups before gives the same frames."""
    for number, start in enumerate((0.0, 0.7, 1.35)):
        path = encoded.with_name(f"{number}.vtok")
        result = cut_file(encoded, path, start_seconds=start)
        with CompressedVideo(path, tokenizer=tokenizer) as video:
            frames = list(video)
        assert result.num_frames == NUM_FRAMES - 16 * number
        for a, b in zip(frames, whole[16 * number :], strict=True):
            assert all(np.array_equal(getattr(a, plane), getattr(b, plane)) for plane in "yuv")


def test_damage_elsewhere_does_not_matter(encoded, tokenizer, whole):
    with encoded.open("rb") as file:
        location = ContainerReader(file).read_index().locations[1]
    data = bytearray(encoded.read_bytes())
    data[location.byte_offset + 70] ^= 1
    encoded.write_bytes(data)
    with CompressedVideo(encoded, tokenizer=tokenizer) as video:
        assert_equal(list(video.frames(64)), whole[64:])
        with pytest.raises(ChecksumError, match=r"chunk 2 at byte offset .* frames 16 to 31 are lost"):
            list(video.frames(20, 30))


def test_times_are_counted_from_the_first_frame(encoded, tokenizer):
    with CompressedVideo(encoded, tokenizer=tokenizer) as video:
        times = [Fraction(pts - PTS[0], 1000) for pts in PTS]
        assert [video.index.first_frame_at(time) for time in times] == list(range(NUM_FRAMES))
        after = [video.index.first_frame_at(time + Fraction(1, 10**6)) for time in times]
        assert after == list(range(1, NUM_FRAMES + 1))
        assert video.index.frame_range(Fraction(0), None) == range(NUM_FRAMES)
        assert video.index.frame_range(times[3], times[9]) == range(3, 9)
        for start, end in [
            (times[-1] + 1, None),
            (times[3] + Fraction(1, 1000), times[4]),
            (Fraction(99), Fraction(100)),
        ]:
            with pytest.raises(ConfigError, match=r"no frame begins from .* its 85 frames last 3.4"):
                video.index.frame_range(start, end)


def test_decoding_a_part_of_a_file(encoded, tokenizer, whole, tmp_path):
    start = Fraction(PTS[30] - PTS[0], 1000)
    result = decode_file(
        encoded, tmp_path / "out.mp4", codec="ffv1", tokenizer=tokenizer, start_seconds=start, end_seconds=start + 1
    )
    part = read(tmp_path / "out.mp4")
    assert (result.first_frame, result.num_frames, len(part)) == (30, 25, 25)
    assert [frame.pts for frame in part] == [pts - PTS[30] + PTS[0] for pts in PTS[30:55]]
    assert all(np.array_equal(a.y, b.y) for a, b in zip(part, whole[30:55], strict=True))


# -- vtok.open


def rgb(frame):
    """BT.601, limited range, in floating point; chroma of constant planes needs no interpolation."""
    y, u, v = (float(x) for x in (frame.y[0, 0], frame.u[0, 0], frame.v[0, 0]))
    luma, b, r = (y - 16) * 255 / 219, (u - 128) * 255 / 224, (v - 128) * 255 / 224
    return [luma + 1.402 * r, luma - 0.344136 * b - 0.714136 * r, luma + 1.772 * b]


def test_pictures_by_number(encoded, tokenizer):
    with vtok.open(encoded, tokenizer=tokenizer) as video:
        assert len(video) == NUM_FRAMES
        everything = torch.stack(list(video))
        assert (everything.dtype, everything.shape) == (torch.uint8, (NUM_FRAMES, 3, 24, 40))
        assert torch.equal(video[50], everything[50])
        assert torch.equal(video[-1], everything[84])
        assert torch.equal(video[torch.tensor(3)], everything[3])
        for key in [slice(30, 34), slice(None, 5), slice(80, 2, -37), slice(10, 10), slice(-3, None)]:
            assert torch.equal(video[key], everything[torch.arange(NUM_FRAMES)[list(range(NUM_FRAMES))[key]]])
        batch = video.get_frames_at([70, -85, 70])
        assert torch.equal(batch.data, everything[[70, 0, 70]])
        assert batch.pts_seconds.tolist() == pytest.approx([(PTS[70] - 100) / 1000, 0, (PTS[70] - 100) / 1000])
        for wrong in (85, -86):
            with pytest.raises(IndexError, match=f"frame {wrong} of a video of 85"):
                video[wrong]
        with pytest.raises(TypeError):
            video[1.0]


def test_pictures_by_time(encoded, tokenizer):
    with vtok.open(encoded, tokenizer=tokenizer) as video:
        times = [(pts - PTS[0]) / 1000 for pts in PTS]
        assert video.get_frames_played_at(times).pts_seconds.tolist() == pytest.approx(times)
        batch = video.get_frames_played_at([times[20] + 0.013, times[84] + 0.03, times[44] - 0.001])
        assert batch.pts_seconds.tolist() == pytest.approx([times[20], times[84], times[43]])
        with pytest.raises(IndexError, match=r"outside the video, which lasts 3.4"):
            video.get_frames_played_at([times[84] + 0.041])


def test_metadata(encoded, tokenizer):
    with vtok.open(encoded, tokenizer=tokenizer) as video:
        metadata = video.metadata
    assert (metadata.width, metadata.height, metadata.num_frames) == (40, 24, NUM_FRAMES)
    assert metadata.duration_seconds == pytest.approx((PTS[84] - PTS[0]) / 1000 + 0.04)
    assert (metadata.average_fps, metadata.quality, metadata.model_name) == (25, 5, "tiny")
    assert metadata.num_bytes == encoded.stat().st_size


def test_colours_of_rgb():
    info = VideoInfo(width=32, height=32, time_base=Fraction(1, 25))
    for y, u, v in [(16, 128, 128), (235, 128, 128), (81, 90, 180), (145, 54, 90), (120, 140, 100)]:
        planes = (
            np.full(size, value, np.uint8)
            for size, value in zip([(32, 32), (16, 16), (16, 16)], (y, u, v), strict=True)
        )
        frame = Frame(*planes, pts=0)
        picture = rgb_from_planes(frame, info, VideoReformatter())
        assert picture.shape == (32, 32, 3)
        assert picture[9, 9] == pytest.approx(np.clip(rgb(frame), 0, 255), abs=1.5)
