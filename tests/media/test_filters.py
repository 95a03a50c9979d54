"""Crop, scale and rate: what FFmpeg's filters give, at exact times, whatever reads the source."""

import json
from fractions import Fraction

import av
import numpy as np
import pytest

from support.batches import MODEL
from support.commands import assert_failed
from support.media_files import assert_same, encode, make_frames, read, video_420, write
from support.videos import sound_of, write_video, write_video_with_sound
from vtok.codec.compressed_video import CompressedVideo
from vtok.errors import ConfigError, MediaError
from vtok.files.decode import decode_file
from vtok.files.encode import encode_file
from vtok.measure.stats import file_stats
from vtok.media.reader import VideoReader
from vtok.video.filters import filters_of
from vtok.video.frame import VideoInfo


def filtered(path, **values):
    return read(path, filters=filters_of(**values))


def by_ffmpeg(path, chain):
    """Planes and times in seconds of all pictures, by a chain of filters that PyAV runs on its own."""
    graph = av.filter.Graph()
    pictures = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        last = graph.add_buffer(template=stream)
        for name, arguments in [*chain, ("buffersink", None)]:
            step = graph.add(name, arguments)
            last.link_to(step)
            last = step
        graph.configure()
        for picture in [*container.decode(stream), None]:
            graph.vpush(picture)
            while True:
                try:
                    pictures.append(graph.vpull())
                except (BlockingIOError, EOFError):
                    break
    return [(picture.to_ndarray(), picture.pts * picture.time_base) for picture in pictures]


@pytest.mark.parametrize(
    ("values", "chain", "size"),
    [
        ({"scale": "40:-2"}, [("scale", "40:-2:flags=bicubic+accurate_rnd+bitexact")], (40, 30)),
        ({"scale": "-1:96"}, [("scale", "-1:96:flags=bicubic+accurate_rnd+bitexact")], (128, 96)),
        ({"crop": "32:16:10:20"}, [("crop", "32:16:10:20")], (32, 16)),
        ({"crop": "32:16"}, [("crop", "32:16")], (32, 16)),
        ({"fps": 10}, [("fps", "10")], (64, 48)),
        (
            {"fps": "24000/1001", "crop": "40:48:0:0", "scale": "20:24"},
            [("fps", "24000/1001"), ("crop", "40:48:0:0"), ("scale", "20:24:flags=bicubic+accurate_rnd+bitexact")],
            (20, 24),
        ),
    ],
)
def test_frames_are_those_of_ffmpeg(values, chain, size, tmp_path):
    path = write_video(tmp_path / "a.mp4", num_frames=30)
    reader, frames = filtered(path, **values)
    expected = by_ffmpeg(path, chain)
    assert (reader.info.width, reader.info.height) == size
    assert [frame.pts * reader.info.time_base for frame in frames] == [time for _, time in expected]
    for frame, (planes, _) in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(
            np.concatenate([x.reshape(-1) for x in (frame.y, frame.u, frame.v)]), planes.reshape(-1)
        )


@pytest.mark.parametrize(
    ("rate", "num_frames"), [("24", 24), ("24000/1001", 24), ("120", 120), ("0.5", 1), ("59.94", 60)]
)
def test_a_new_rate_gives_exact_times(rate, num_frames, tmp_path):
    path = write_video(tmp_path / "a.mp4", num_frames=60, rate=Fraction(60))
    reader, frames = filtered(path, fps=rate)
    assert reader.info.average_rate == 1 / reader.info.time_base == Fraction(rate)
    assert [frame.pts for frame in frames] == list(range(num_frames))
    assert reader.last_frame_ticks == 1
    assert reader.info.num_frames_from_header in (num_frames, 0)


def test_without_a_rate_all_times_are_kept(tmp_path):
    pts, unit = [7, 8, 40, 41, 1000], Fraction(1, 90_000)
    info = VideoInfo(width=32, height=32, time_base=unit)
    write(tmp_path / "a.mp4", info, make_frames(info, pts), codec="ffv1", last_frame_ticks=123)
    reader, frames = filtered(tmp_path / "a.mp4", scale="16:16")
    assert ([frame.pts for frame in frames], reader.info.time_base, reader.last_frame_ticks) == (pts, unit, 123)


def test_a_constant_rate_shows_the_frame_that_is_nearest(tmp_path):
    pictures = [[np.full((64, 64), 50, np.uint8), *[np.full((32, 32), n, np.uint8)] * 2] for n in range(4)]
    encode(tmp_path / "a.mkv", "ffv1", "yuv420p", pictures, [100, 200, 900, 1000], time_base=Fraction(1, 1000))
    reader, frames = filtered(tmp_path / "a.mkv", fps=10)
    shown = [(int(frame.pts), int(frame.u[0, 0])) for frame in frames]
    assert shown == [(1, 0), *((n, 1) for n in range(2, 9)), (9, 2)], "the last is over before half of its time"
    assert reader.info.time_base == Fraction(1, 10)


def test_turned_pictures_are_filtered_upright(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(90)
        planes = np.concatenate([plane.reshape(-1) for plane in video_420(1)[0]]).reshape(72, 64)
        output.mux([*stream.encode(av.VideoFrame.from_ndarray(planes, "yuv420p")), *stream.encode(None)])
    _, (upright,) = read(tmp_path / "a.mp4")
    reader, (frame,) = filtered(tmp_path / "a.mp4", crop="20:64:4:0")
    assert (reader.info.width, reader.info.height) == (20, 64)
    np.testing.assert_array_equal(frame.y, upright.y[:, 4:24])
    np.testing.assert_array_equal(frame.u, upright.u[:, 2:12])


def test_shape_and_colours_stay_those_of_the_source(tmp_path):
    hd = write_video(tmp_path / "a.mp4", num_frames=1, size=(1280, 720))
    reader, _ = filtered(hd, scale="640:720")
    assert (reader.info.sample_aspect_ratio, reader.info.color_matrix) == (2, 2), (
        "720 rows: BT.709 is guessed as before"
    )
    reader, _ = filtered(hd, scale="854:-2")
    assert reader.info.sample_aspect_ratio == Fraction(1280 * 480, 720 * 854)
    assert reader.info.color_matrix == 1, "players would guess BT.601 from 480 rows"
    reader, _ = filtered(hd, crop="33:21")
    assert (reader.info.width, reader.info.height, reader.info.sample_aspect_ratio) == (33, 21, 1)


@pytest.mark.parametrize(
    "values",
    [
        *({"scale": text} for text in ("", "1280", "-2:-2", "0:720", "1280x720", "16385:1", "1280:-99999", "iw:ih")),
        *({"crop": text} for text in ("", "64", "64:48:1:0", "64:48:0:3", "64:48:2", "0:48:0:0", "-1:48", "a:b:c:d")),
        *({"fps": value} for value in ("", "0", "-1", "1001", "24/0", "nan", "1/9999999999")),
        *({"fps": value} for value in (float("nan"), float("inf"), -1, 0)),
    ],
)  # fmt: skip
def test_wrong_values_are_one_line(values):
    (name,) = values
    with pytest.raises(ConfigError, match=rf"^{name} is [^\n]*; expected [^\n]*$"):
        filters_of(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"crop": "64:50"}, "crop 64x50 is not within its pictures of 64x48"),
        ({"crop": "60:40:6:0"}, "crop 60x40 at 6,0 is not within"),
        ({"scale": "1:-64"}, "scale 1:-64 of 64x48 gives no size"),
        ({"crop": "64:2:0:0", "scale": "-1:2000"}, "scale -1:2000 of 64x2 gives no size"),
    ],
)
def test_values_that_do_not_fit_the_source_are_one_line(values, message, tmp_path):
    path = write_video(tmp_path / "a.mp4", num_frames=2)
    with pytest.raises(MediaError, match=message) as caught:
        filtered(path, **values)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_long_gap_is_not_filled(tmp_path):
    info = VideoInfo(width=32, height=32, time_base=Fraction(1, 10))
    write(tmp_path / "a.mkv", info, make_frames(info, [0, 1, 10 * 10**6]), codec="ffv1")
    with pytest.raises(MediaError, match=r"a gap of 1000000 s in the timestamps is not filled at 25 frames/s"):
        filtered(tmp_path / "a.mkv", fps=25)
    _, frames = filtered(tmp_path / "a.mkv", scale="16:16")
    assert len(frames) == 3


def test_images_and_gifs(tmp_path):
    gif = tmp_path / "a.gif"
    encode(gif, "gif", "rgb8", [[np.full((16, 16), 37 * n, np.uint8)] for n in range(4)], [0, 10, 50, 60])
    _, frames = filtered(gif, fps=10, scale="8:8")
    assert [frame.pts for frame in frames] == list(range(len(frames)))
    assert len(frames) == 6
    assert frames[0].y.shape == (8, 8)
    (tmp_path / "frames").mkdir()
    write_images = tmp_path / "frames" / "%04d.png"
    write_pngs(write_images, 10)
    assert len(read(write_images, image_rate=Fraction(50), filters=filters_of(fps=25))[1]) == 5
    assert filtered(tmp_path / "frames" / "0001.png", scale="8:6")[1][0].y.shape == (6, 8)
    with pytest.raises(MediaError, match=r"0001\.png: is one image"):
        filtered(tmp_path / "frames" / "0001.png", fps=24)


def write_pngs(pattern, num_images):
    with av.open(str(pattern), "w", format="image2") as output:
        stream = output.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 12, "rgb24"
        for n in range(num_images):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((12, 16, 3), 20 * n, np.uint8), "rgb24")))


def test_frames_after_a_seek_are_those_of_the_whole(tmp_path):
    path = write_video(tmp_path / "a.mp4", num_frames=100, options={"g": "12", "bf": "2"})
    with VideoReader(path, filters=filters_of(fps="24000/1001", scale="32:-2")) as reader:
        frames = list(reader)
        reader.seek(frames[60].pts)
        again = list(reader)
    assert again[0].pts > frames[20].pts
    assert_same([frame for frame in again if frame.pts >= frames[60].pts], frames[60:])


def test_a_part_keeps_pictures_and_sound_in_step(tiny_tokenizer, tmp_path):
    source = write_video_with_sound(tmp_path / "a.mkv", [("flac", 48000, "mono")], num_frames=50, seconds=2)
    (sound,) = sound_of(source)
    options = {"fps": 10, "scale": "32:-2", "start_seconds": 0.5, "end_seconds": 1.5}
    encode_file(source, tmp_path / "a.vtok", tokenizer=tiny_tokenizer, **options)
    with CompressedVideo(tmp_path / "a.vtok", tokenizer=tiny_tokenizer) as video:
        assert (video.info.width, video.info.height) == (32, 24)
        assert [frame.pts * video.info.time_base for frame in video] == [Fraction(n, 10) for n in range(10)]
    decode_file(tmp_path / "a.vtok", tmp_path / "b.mp4", tokenizer=tiny_tokenizer)
    (kept,) = sound_of(tmp_path / "b.mp4")
    expected = [(data, time - Fraction(1, 2)) for data, time in sound if Fraction(1, 2) <= time < Fraction(3, 2)]
    assert [data for data, _ in kept] == [data for data, _ in expected]
    assert max(abs(a[1] - b[1]) for a, b in zip(kept, expected, strict=True)) < Fraction(1, 1000)


def test_figures_and_goals_are_of_the_filtered_frames(tmp_path):
    source, target = write_video(tmp_path / "a.mp4", num_frames=50, size=(128, 96)), tmp_path / "a.vtok"
    options = {"scale": "64:-2", "fps": 12, "crop": "96:96"}
    result = encode_file(source, target, psnr=33, keyframe_seconds=0.7, **options)
    stats = file_stats(source, target, **options)
    assert stats.quality.psnr_yuv == pytest.approx(result.goal.reached, abs=0.05)
    assert stats.quality.psnr_yuv == pytest.approx(33, abs=0.1)
    assert (stats.width, stats.height, stats.num_frames) == (64, 64, 24)
    with pytest.raises(
        MediaError, match=r"a\.vtok: is 64x64, [^\n]*a\.mp4 is 128x96: compare .* scale=\.\.\. and crop"
    ):
        file_stats(source, target)
    with pytest.raises(
        MediaError, match=r"24 frames, .* has more: is it of the same video, all of it, at the same rate"
    ):
        file_stats(source, target, scale="64:-2", crop="96:96")


def test_the_command(vtok, tmp_path):
    write_video(tmp_path / "a.mp4", num_frames=50)
    options = ("--scale", "32:-2", "--fps", "10", "--crop", "64:32:0:8")
    outcome = vtok("encode", "a.mp4", "a.vtok", *options, "--model", MODEL, "--json")
    assert outcome.code == 0
    assert json.loads(outcome.out)["num_frames"] == 20
    info = json.loads(vtok("info", "a.vtok", "--json").out)
    assert (info["width"], info["height"]) == (32, 16)
    assert vtok("stats", "a.mp4", "a.vtok", *options, "--model", MODEL, "--no-vmaf", "--json").code == 0
    wrong = vtok("stats", "a.mp4", "a.vtok", "--model", MODEL, "--no-vmaf")
    assert_failed(wrong, r"a\.vtok: is 32x16, a\.mp4 is 64x48: .* --scale and --crop")
    for option, value in (("--scale", "32"), ("--fps", "no"), ("--crop", "9:9:1:1")):
        assert_failed(
            vtok("encode", "a.mp4", "b.vtok", option, value, "--model", MODEL), f"{option[2:]} is '{value}'; "
        )
    assert_failed(
        vtok("encode", "a.mp4", "b.vtok", "--crop", "99:9", "--model", MODEL), r"a\.mp4: crop 99x9 is not within"
    )
    assert not (tmp_path / "b.vtok").exists()
