"""What goes out: durations, GIFs, images, raw frames, and that all of them appear complete or not at all."""

import errno
import os
import re
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from support.media_files import assert_same, color_bars, make_frames, read, write
from support.videos import ROOT
from vtok.errors import ConfigError, MediaError
from vtok.media.images import IMAGE_NAMES
from vtok.media.outputs import FORMATS, open_output
from vtok.media.raw import RAW_SUFFIXES
from vtok.media.reader import VideoReader
from vtok.media.writer import SUFFIXES, container_codecs
from vtok.video.frame import Frame, VideoInfo

INFO = VideoInfo(width=32, height=16, time_base=Fraction(1, 25), average_rate=Fraction(25))


def smooth_frames(pts, width=64, height=48):
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    chroma = np.full((height // 2, width // 2), 120, np.uint8)
    return [Frame((16 + 2 * x + y + 3 * i).astype(np.uint8), chroma, chroma, p) for i, p in enumerate(pts)]


def output(path, info, frames, *, last_frame_ticks=0, **options):
    with open_output(path, info, **options) as writer:
        for frame in frames:
            writer.write(frame)
        writer.last_frame_ticks = last_frame_ticks
    return writer


def track_seconds(path):
    """How long the video is, according to its container."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if stream.duration:
            return stream.duration * stream.time_base
        return Fraction(container.duration, 1_000_000)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm"])
@pytest.mark.parametrize("pts", [[0, 40, 80, 120, 160], [0, 40, 41, 100, 200, 333], [5]])
@pytest.mark.parametrize("last_frame_ticks", [77, 0])
def test_a_video_ends_when_its_last_frame_does(suffix, pts, last_frame_ticks, tmp_path):
    info = VideoInfo(width=64, height=48, time_base=Fraction(1, 1000), average_rate=Fraction(25))
    for codec in container_codecs(f".{suffix}"):
        path = tmp_path / f"{codec}.{suffix}"
        output(path, info, smooth_frames(pts), codec=codec, last_frame_ticks=last_frame_ticks)
        end = pts[-1] + (last_frame_ticks or 40)
        start = 0 if suffix in ("mkv", "webm") else pts[0]  # in MP4 a track begins with its first frame
        assert track_seconds(path) == Fraction(end - start, 1000)
        reader, frames = read(path)
        assert [frame.pts * reader.info.time_base for frame in frames] == [Fraction(p, 1000) for p in pts]


@pytest.mark.parametrize("seed", range(8))
def test_b_frames_and_a_variable_frame_rate_do_not_change_the_duration(seed, tmp_path):
    """Decoding times have to be made up for that; every player would see if they did not increase, or came too late."""
    rng = np.random.default_rng(seed)
    steps = rng.choice([1, 20, 40, 1000], rng.integers(2, 30)) if seed else np.array([1000, 1000, 1000, *[40] * 9])
    pts = [int(p) for p in np.cumsum(steps)]
    info = VideoInfo(width=64, height=48, time_base=Fraction(1, 1000), average_rate=Fraction(25))
    options = {"x264-params": "bframes=3:b-adapt=0:scenecut=0", "preset": "medium"}
    output(tmp_path / "a.mp4", info, smooth_frames(pts), options=options, last_frame_ticks=77)
    assert track_seconds(tmp_path / "a.mp4") == Fraction(pts[-1] + 77 - pts[0], 1000)
    with av.open(str(tmp_path / "a.mp4")) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert all(packet.dts <= packet.pts for packet in packets)
    assert all(packet.dts < after.dts for packet, after in pairwise(packets))
    reader, frames = read(tmp_path / "a.mp4")
    assert [frame.pts * reader.info.time_base for frame in frames] == [Fraction(p, 1000) for p in pts]
    assert reader.last_frame_ticks * reader.info.time_base == Fraction(77, 1000)


# -- GIF


def test_a_gif_has_the_times_and_nearly_the_colours(tmp_path):
    info = VideoInfo(width=64, height=48, time_base=Fraction(1, 1000), color_range=1, color_matrix=6)
    frames = smooth_frames([100, 140, 147, 300])
    writer = output(tmp_path / "a.gif", info, frames, last_frame_ticks=250)
    assert writer.notices == []
    reader, back = read(tmp_path / "a.gif")
    assert [frame.pts * reader.info.time_base * 100 for frame in back] == [0, 4, 5, 20]
    assert track_seconds(tmp_path / "a.gif") == Fraction(45, 100)
    for frame, other in zip(frames, back, strict=True):
        assert np.abs(frame.y.astype(int) - other.y).mean() < 4


def test_a_gif_leaves_out_what_comes_too_fast_and_says_so(tmp_path):
    info = VideoInfo(width=64, height=48, time_base=Fraction(1, 240), average_rate=Fraction(240))
    writer = output(tmp_path / "a.gif", info, smooth_frames(range(24)))
    assert writer.notices == ["13 frames are left out: a GIF shows at most 100 a second"]
    assert len(read(tmp_path / "a.gif")[1]) == 11
    assert track_seconds(tmp_path / "a.gif") == Fraction(11, 100)


# -- images


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "bmp", "tif", "tiff"])
@pytest.mark.parametrize("color_range", [1, 2])
@pytest.mark.parametrize("color_matrix", [1, 6])
def test_images_have_the_colours_of_the_frames(suffix, color_range, color_matrix, tmp_path):
    info = VideoInfo(width=64, height=32, time_base=Fraction(1, 25), color_range=color_range, color_matrix=color_matrix)
    bars, rgb = color_bars(info)
    output(tmp_path / f"a.{suffix}", info, bars)
    with av.open(str(tmp_path / f"a.{suffix}")) as container:
        picture = next(container.decode(video=0))
        got = picture.to_ndarray(format="rgb24")[8, 4::8].astype(float)
    assert np.abs(got - rgb).max() <= 5  # by the quick way to RGB that viewers take


def test_numbered_images_appear_together(tmp_path):
    frames = make_frames(INFO, range(12))
    pattern = tmp_path / "out" / "%02d.png"
    with open_output(pattern, INFO) as writer:
        for frame in frames:
            writer.write(frame)
        assert not pattern.parent.exists()
    assert writer.notices == []
    assert sorted(path.name for path in pattern.parent.iterdir()) == [f"{i:02d}.png" for i in range(1, 13)]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(ConfigError, match=r"%02d.png: 01.png exists already. Overwrite it with overwrite=True"):
        output(pattern, INFO, frames)
    writer = output(pattern, INFO, frames[:10], overwrite=True)
    assert writer.notices == ["2 older images of that name were left, first 11.png"]
    (tmp_path / "out" / "unrelated.txt").write_text("stays")
    output(tmp_path / "out" / "b%d.jpg", INFO, frames[:2])
    assert len(list(pattern.parent.iterdir())) == 15


@pytest.mark.parametrize("name", ["out/%04d.png", "new/%04d.png", "one.png", "a.gif", "a.y4m", "a.yuv"])
def test_a_failure_leaves_nothing_of_any_output(name, tmp_path):
    (tmp_path / "out").mkdir()

    def fail():
        with open_output(tmp_path / name, INFO) as writer:
            writer.write(*make_frames(INFO, [0]))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [path.name for path in tmp_path.rglob("*")] == ["out"]


def test_lost_times_and_shapes_are_said(tmp_path):
    info = VideoInfo(width=32, height=16, time_base=Fraction(1, 1000), average_rate=Fraction(25))
    for name in ("%d.png", "a.y4m", "a.yuv"):
        even = output(tmp_path / name, info, make_frames(info, [7, 47, 86, 127]), overwrite=True)
        uneven = output(tmp_path / name, info, make_frames(info, [0, 40, 90]), overwrite=True)
        assert not any("times are lost" in notice for notice in even.notices)
        assert any("times are lost" in notice and "25/s" in notice for notice in uneven.notices)
    wide = VideoInfo(width=32, height=16, time_base=Fraction(1, 25), sample_aspect_ratio=Fraction(4, 3))
    for name in ("b.png", "b.gif"):
        assert "aspect ratio 4/3 is lost" in output(tmp_path / name, wide, make_frames(wide, [0])).notices[0]


# -- raw


@pytest.mark.parametrize("size", [(1, 1), (33, 17), (64, 48)])
@pytest.mark.parametrize("color_range", [1, 2])
def test_y4m_holds_the_very_samples(size, color_range, tmp_path):
    info = VideoInfo(
        width=size[0], height=size[1], time_base=Fraction(1001, 30000), average_rate=Fraction(30000, 1001),
        sample_aspect_ratio=Fraction(8, 9), color_range=color_range,
    )  # fmt: skip
    frames = make_frames(info, range(3))
    assert output(tmp_path / "a.y4m", info, frames).notices == []
    reader, back = read(tmp_path / "a.y4m")
    assert_same(back, frames)
    assert (reader.info.sample_aspect_ratio, reader.info.color_range) == (Fraction(8, 9), color_range)
    assert reader.info.time_base == Fraction(1001, 30000)
    raw = output(tmp_path / "a.yuv", info, frames)
    assert f"raw {size[0]}x{size[1]} yuv420p at 30000/1001/s" in raw.notices[0]
    planes = b"".join(plane.tobytes() for frame in frames for plane in (frame.y, frame.u, frame.v))
    assert (tmp_path / "a.yuv").read_bytes() == planes


def test_what_does_not_fit_is_refused_in_one_line(tmp_path):
    for name, options, cause in [
        ("a.avi", {}, r"unknown suffix '.avi'. Choose one of .mp4, .mov, .mkv, .webm, .gif, .png, .*.y4m, .yuv"),
        ("a.gif", {"codec": "gif"}, "codec, crf and preset are for .mp4, .mov, .mkv, .webm only"),
        ("a.mov", {"codec": "ffv1"}, "unknown codec 'ffv1' in .mov. Choose one of libx264"),
        ("a.mp4", {"codec": "libsvtav1", "options": {"preset": "99"}}, "unknown preset '99' of libsvtav1. .*13"),
        ("a.webm", {"options": {"crf": "64"}}, "crf 64 is out of the range of libvpx-vp9: 0 to 63"),
        ("a.mkv", {"options": {"crf": "good"}}, "crf good is out of the range of libx264: 0 to 51"),
        ("a/%d.png", {}, None),
        ("missing/deep/%d.png", {}, r"the folder \S+missing does not exist. Create it first"),
        ("a.png", {"output_format": "png"}, "its suffix says the format"),
    ]:
        if cause is None:
            (tmp_path / "a").write_text("a file")
            cause = r"the folder \S+a is not a folder"
        with pytest.raises((MediaError, ConfigError), match=cause) as caught:
            output(tmp_path / name, INFO, make_frames(INFO, [0]), **options)
        assert str(caught.value).startswith(f"{tmp_path / name}: ")
    with pytest.raises(ConfigError, match=r"b.png: is one image, .*b-%04d.png"):
        output(tmp_path / "b.png", INFO, make_frames(INFO, [0, 1]))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_images_are_replaced_only_if_all_can_be(tmp_path):
    pattern = tmp_path / "%02d.png"
    output(pattern, INFO, make_frames(INFO, range(4)))
    (tmp_path / "03.png").unlink()
    (tmp_path / "03.png").mkdir()
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(MediaError, match=r"%02d.png: 03.png is not a regular file"):
        output(pattern, INFO, make_frames(INFO, range(4), seed=1), overwrite=True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_older_images_stay_if_one_cannot_be_replaced(tmp_path, monkeypatch):
    pattern = tmp_path / "%02d.png"
    output(pattern, INFO, make_frames(INFO, range(4)))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    replace = os.replace

    def failing(source, target):
        if Path(target).name == "03.png" and Path(source).name == "03.png":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(MediaError, match="cannot be written: Input/output error"):
        output(pattern, INFO, make_frames(INFO, range(4), seed=1), overwrite=True)
    monkeypatch.undo()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    output(pattern, INFO, make_frames(INFO, range(4), seed=1), overwrite=True)
    assert all(path.read_bytes() != data for path, data in before.items())
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.gif", "a.y4m", "a.png", "%02d.png", "new/%02d.png"])
def test_of_two_runs_at_once_one_makes_the_output(name, tmp_path):
    first, second = make_frames(INFO, [0]), make_frames(INFO, [0], seed=1)

    def run(frames, meanwhile=lambda: None):
        with open_output(tmp_path / name, INFO) as writer:
            for frame in frames:
                writer.write(frame)
            meanwhile()

    with pytest.raises((ConfigError, MediaError), match=r"exists by now, .*overwrite=True|Directory not empty"):
        run(second, meanwhile=lambda: run(first))
    made = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(made) == 1
    data = made[0].read_bytes()
    output(tmp_path / name, INFO, first, overwrite=True)
    if not name.endswith("mkv"):  # FFmpeg gives each Matroska file a number of its own
        assert made[0].read_bytes() == data
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == made


def test_an_image_of_a_frame_is_that_frame_again(tmp_path):
    info = VideoInfo(width=64, height=32, time_base=Fraction(1, 25), color_range=1, color_matrix=6)
    bars, _ = color_bars(info)
    write(tmp_path / "a.mkv", info, bars, codec="ffv1")
    output(tmp_path / "a.png", info, bars)
    with VideoReader(tmp_path / "a.png") as reader:
        (back,) = reader
    for name, middles in (("y", slice(4, None, 8)), ("u", slice(1, None, 4)), ("v", slice(1, None, 4))):
        assert np.abs(getattr(back, name).astype(int) - getattr(bars[0], name))[:, middles].max() <= 2


def test_the_page_on_formats_names_what_there_is():
    page = (ROOT / "docs" / "formats.md").read_text()
    outputs = page[page.index("## Outputs") :]
    assert [suffix for suffix in (*SUFFIXES, ".gif", *IMAGE_NAMES, *RAW_SUFFIXES) if suffix not in outputs] == []
    (named,) = re.findall(r"standard output: (.*?) \|", outputs)
    assert set(named.split(", ")) == set(FORMATS)
    codecs = outputs[outputs.index("| container |") : outputs.index("These are available")]
    rows = re.findall(r"^\| (\.[^|]*) \| ([^|]*) \|$", codecs, re.MULTILINE)
    assert {suffix for suffixes, _ in rows for suffix in suffixes.split(", ")} == set(SUFFIXES)
    for suffixes, names in rows:
        for suffix in suffixes.split(", "):
            assert set(re.findall(r"lib[\w-]+|ffv1", names)) == set(container_codecs(suffix))
