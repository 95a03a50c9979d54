"""Sources whose clock starts over, or that lack timestamps: one timeline for pictures and sound, and even times."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from av.video.frame import VideoFrame

from support.videos import sound_of, write_video, write_video_with_sound
from vtok.files.decode import decode_file
from vtok.files.encode import encode_file
from vtok.media.clock import Clock
from vtok.media.reader import VideoReader
from vtok.media.timeline import begun_evenly
from vtok.video.frame import VideoInfo

AAC, MP2 = ("aac", 48000, "stereo"), ("mp2", 48000, "stereo")


class Sink:
    """Collects the packets of a reader."""

    def start(self, tracks, time_base):
        self.tracks, self.packets = tracks, []

    def push(self, packet):
        self.packets.append(packet)


def read_times(path):
    """Reader, times of the frames and of the packets of sound, in seconds."""
    sink = Sink()
    with VideoReader(path, sink=sink) as reader:
        frames = np.array([float(frame.pts * reader.info.time_base) for frame in reader])
    return reader, frames, np.array([float(packet.seconds(sink.tracks)) for packet in sink.packets])


def joined(folder, suffix, offsets, *, codec="libx264", sound=AAC, seconds=1.6, num_frames=40):
    """Parts of one second or so whose clocks begin at `offsets`, one after the other."""
    parts = []
    for offset in offsets:
        options = {"output_ts_offset": str(offset)}
        part = write_video_with_sound(
            folder / f"part.{suffix}", [sound], video_codec=codec, seconds=seconds, num_frames=num_frames,
            container_options=options,
        )  # fmt: skip
        parts.append(part.read_bytes())
    (folder / f"whole.{suffix}").write_bytes(b"".join(parts))
    return folder / f"whole.{suffix}"


@pytest.mark.parametrize(
    ("suffix", "codec", "sound"),
    [("ts", "libx264", AAC), ("ts", "mpeg2video", MP2), ("vob", "mpeg2video", MP2), ("mpg", "mpeg1video", MP2)],
)
@pytest.mark.parametrize(
    "offsets",
    [(0, 0), (0, 0, 0), (0, 0.8), (0, 1.56), (100, 0), (100, 30, 80), (0, 60), (95000, 10)],
)
def test_pictures_and_sound_go_on_together_where_the_clock_starts_over(suffix, codec, sound, offsets, tmp_path):
    if suffix != "ts" and offsets[-1] == 1.56:
        pytest.skip("a frame is too little for FFmpeg's guesses")
    path = joined(tmp_path, suffix, offsets, codec=codec, sound=sound)
    _, part, alone = read_times(tmp_path / f"part.{suffix}")
    reader, frames, packets = read_times(path)
    assert len(frames) == 40 * len(offsets)
    # Of a program stream's last frame before a joint, FFmpeg guesses the time; sometimes half a frame early.
    np.testing.assert_allclose(np.diff(frames), 0.04, atol=1e-6 if suffix == "ts" else 0.021)
    assert len(packets) == len(alone) * len(offsets)
    for number in range(len(offsets)):  # as far from its pictures as in each part
        lag = packets[number * len(alone) : (number + 1) * len(alone)] - frames[40 * number]
        np.testing.assert_allclose(lag, alone - part[0], atol=0.03)
    assert any(f"clock starts over {len(offsets) - 1} time" in notice for notice in reader.notices)


def test_long_sound_before_a_joint_keeps_its_place(tmp_path):
    parts = []
    for seconds in (2.4, 1.6):
        parts.append(write_video_with_sound(tmp_path / "part.ts", [AAC], seconds=seconds).read_bytes())
    (tmp_path / "whole.ts").write_bytes(b"".join(parts))
    _, frames, packets = read_times(tmp_path / "whole.ts")
    assert np.diff(packets).min() > 0
    assert np.count_nonzero(np.diff(frames) > 0.05) == 1  # the pictures wait for the sound
    assert frames[40] - frames[39] == pytest.approx(0.84, abs=0.05)
    assert frames[-1] == pytest.approx(packets[-1], abs=0.05)


def test_a_leap_of_the_clock_is_joined_and_a_pause_is_kept(tmp_path):
    def write(name, times):
        return write_video_with_sound(tmp_path / name, [], num_frames=20, times=times)

    reader, frames, _ = read_times(write("a.ts", [t if t < 10 else 15 * t for t in range(20)]))
    assert reader.notices == []  # less than ten seconds
    assert np.diff(frames).max() == pytest.approx((150 - 9) / 25)
    reader, frames, _ = read_times(write("b.ts", [t if t < 10 else 500 + t for t in range(20)]))
    assert "clock starts over 1 time" in reader.notices[0]
    np.testing.assert_allclose(np.diff(frames), 0.04, atol=1e-6)
    reader, frames, _ = read_times(write("c.mkv", [t if t < 10 else 25 * 3601 + t for t in range(20)]))
    assert reader.notices == ["a gap of 3601 s in the timestamps is kept"]
    assert np.diff(frames).max() == pytest.approx(3601.04)


def test_joined_sources_stay_in_step_through_whole_commands(tiny_tokenizer, tmp_path):
    path, coded, decoded = joined(tmp_path, "ts", (0, 0)), tmp_path / "a.vtok", tmp_path / "out.mkv"
    (part,) = sound_of(tmp_path / "part.ts")
    result = encode_file(path, coded, tokenizer=tiny_tokenizer)
    assert result.notices == ["the source's clock starts over 1 time: joined"]
    decode_file(coded, decoded, tokenizer=tiny_tokenizer, codec="ffv1")
    (sound,) = sound_of(decoded)
    assert [data for data, _ in sound] == [data[7:] for data, _ in part + part]  # without the headers of ADTS
    for number in range(2):
        for (_, seconds), (_, expected) in zip(sound[number * len(part) :], part, strict=False):
            assert float(seconds) == pytest.approx(float(expected + number * Fraction(40, 25)), abs=0.03)


def test_subtitles_out_of_order_are_no_joint():
    def packet(kind, index, time):
        stream = SimpleNamespace(index=index, type=kind)
        return SimpleNamespace(stream=stream, pts=time, dts=time, duration=40, time_base=Fraction(1, 1000))

    pictures = [packet("video", 0, time) for time in range(0, 40_000, 40)]
    cues = [packet("subtitle", 1, time) for time in (30_000, 2000, 39_000, 100)]
    mixed = [*cues[:2], *pictures[:500], *cues[2:], *pictures[500:]]
    times, notices = [packet.pts for packet in mixed], {}
    assert [packet.pts for packet in Clock("matroska,webm", 0, notices).joined(iter(mixed))] == times
    assert notices == {}


def test_sound_that_pauses_while_the_pictures_go_on_is_no_joint():
    def packets(stream, seconds):
        unit = Fraction(1, 1000)
        return [
            SimpleNamespace(
                stream=SimpleNamespace(index=stream, type="audio"), pts=t, dts=t, duration=step, time_base=unit
            )
            for begin, end, step in seconds
            for t in range(begin, end, step)
        ]

    both = packets(0, [(0, 40_000, 40)]) + packets(1, [(0, 5_000, 20), (30_000, 40_000, 20)])
    both.sort(key=lambda packet: packet.dts)
    notices = {}
    clock = Clock("mpegts", 0, notices)
    assert [packet.dts for packet in clock.joined(iter(both))] == sorted(packet.dts for packet in both)
    assert notices == {}


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.264", "libx264", Fraction(30)),
        ("a.264", "libx264", Fraction(24000, 1001)),
        ("a.hevc", "libx265", Fraction(25, 2)),
        ("a.m4v", "mpeg4", Fraction(50)),
        ("a.m2v", "mpeg2video", Fraction(30000, 1001)),
    ],
)
@pytest.mark.parametrize("options", [{}, {"flags": "+ildct+ilme"}])
def test_streams_without_timestamps_have_the_rate_that_is_coded_in_them(name, codec, rate, options, tmp_path):
    if options and codec == "libx265":
        pytest.skip("not for interlaced video")
    path = write_video(tmp_path / name, codec=codec, rate=rate, options=options)
    reader, frames, _ = read_times(path)
    assert reader.info.average_rate == rate
    np.testing.assert_allclose(np.diff(frames), float(1 / rate), atol=1e-6)


@pytest.mark.parametrize(
    ("codec", "options"),
    [("libx264", {"x264-params": "bframes=3:b-adapt=0:b-pyramid=normal:open-gop=1:keyint=10"}), ("mpeg4", {"bf": "2"}),
     ("mpeg4", {}), ("libx264", {"tune": "zerolatency"}), ("mjpeg", {})],
)  # fmt: skip
def test_avi_has_decoding_times_only_and_its_pictures_come_evenly(codec, options, tmp_path):
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = write_video(tmp_path / "a.avi", codec=codec, options=options, num_frames=30, pixel_format=pixel_format)
    reader, frames, _ = read_times(path)
    assert (reader.notices, reader.decode_error) == ([], None)
    np.testing.assert_allclose(frames, np.arange(30) / 25, atol=1e-9)


def test_a_pause_in_an_avi_file_is_kept(tmp_path):
    times = [t + 8 * (t > 9) for t in range(24)]
    path = write_video_with_sound(tmp_path / "a.avi", [], video_codec="mpeg4", num_frames=24, times=times)
    np.testing.assert_allclose(read_times(path)[1], np.array(times) / 25, atol=1e-9)


def test_timestamps_that_are_missing_at_the_beginning_are_filled_in_from_the_first_known_one():
    pictures = [VideoFrame(16, 16, "yuv420p") for _ in range(6)]
    for picture, pts in zip(pictures, [None, None, None, 20, 60, 100], strict=True):
        picture.pts = pts
    info = VideoInfo(width=16, height=16, time_base=Fraction(1, 1000), average_rate=Fraction(25))
    notices = {}
    assert [picture.pts for picture in begun_evenly(iter(pictures), info, notices)] == [-100, -60, -20, 20, 60, 100]
    assert list(notices.values()) == ["timestamps missing at the beginning: filled in at 25 frames/s"]


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mpg", "mpeg1video"), ("mpg", "mpeg2video"), ("vob", "mpeg2video"), ("ts", "mpeg2video")]
)
@pytest.mark.parametrize("options", [{"g": "12", "bf": "2"}, {"g": "15", "bf": "1"}, {}])
@pytest.mark.parametrize("num_frames", [50, 101, 152])
def test_a_clock_that_does_not_start_over_is_left_alone(suffix, codec, options, num_frames, tmp_path):
    path = write_video(tmp_path / f"a.{suffix}", codec=codec, num_frames=num_frames, options=options)
    reader, frames, _ = read_times(path)
    assert not any("clock" in notice for notice in reader.notices)
    steps = np.diff(frames)
    np.testing.assert_allclose(steps[steps < 0.0799], 0.04, atol=1e-6)
    # FFmpeg guesses times of a program stream; with MPEG-1 sometimes by a frame too late, but none is squeezed.
    assert np.count_nonzero(steps > 0.0799) <= (codec == "mpeg1video")
    assert frames[-1] - frames[0] == pytest.approx((num_frames - 1) / 25, abs=0.041)
