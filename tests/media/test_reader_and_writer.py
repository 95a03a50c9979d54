import resource
import signal
from fractions import Fraction

import av
import numpy as np
import pytest

from support.media_files import assert_one_line, assert_same, encode, make_frames, ramp, read, video_420, write
from vtok.errors import ConfigError, MediaError
from vtok.media.reader import VideoReader
from vtok.video.frame import Frame, VideoInfo

IRREGULAR = [1234, 1235, 2000, 2001, 2500, 4000, 4001, 9000]


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 1), (1, 9), (5, 3), (33, 17), (64, 48), (321, 241)])
def test_ffv1_returns_every_bit(tmp_path, size):
    info = VideoInfo(
        width=size[0],
        height=size[1],
        time_base=Fraction(1, 90000),
        average_rate=Fraction(30000, 1001),
        sample_aspect_ratio=Fraction(4, 3),
        color_range=2,
        color_matrix=9,
        color_primaries=9,
        color_transfer=13,
    )
    frames = make_frames(info, IRREGULAR)
    write(tmp_path / "a.mp4", info, frames, codec="ffv1")
    reader, back = read(tmp_path / "a.mp4")
    assert_same(back, frames)
    assert (reader.decode_error, reader.notices) == (None, [])
    for name in ("width", "height", "time_base", "color_range", "color_matrix", "color_primaries", "color_transfer"):
        assert getattr(reader.info, name) == getattr(info, name)
    if min(size) > 1:  # FFmpeg's MP4 reader takes the ratio as unknown for lines of a single pixel
        assert reader.info.sample_aspect_ratio == Fraction(4, 3)
    assert reader.info.is_full_range
    assert reader.info.num_frames_from_header == len(frames)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_irregular_times_with_an_offset_survive_b_frames(tmp_path, suffix):
    info = VideoInfo(width=64, height=48, time_base=Fraction(1, 1000), average_rate=Fraction(25))
    path = tmp_path / f"a.{suffix}"
    frames = [Frame(*planes, pts=p) for planes, p in zip(video_420(len(IRREGULAR)), IRREGULAR, strict=True)]
    write(path, info, frames, options={"x264-params": "bframes=3:b-adapt=0:scenecut=0"})
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    assert [p.pts for p in packets] != sorted(p.pts for p in packets)  # there are B-frames indeed
    reader, back = read(path)
    assert [f.pts * reader.info.time_base for f in back] == [Fraction(p, 1000) for p in IRREGULAR]


@pytest.mark.parametrize("time_base", [Fraction(1, 25), Fraction(1001, 30000), Fraction(1, 1_000_000)])
def test_mp4_keeps_any_time_base_exactly(tmp_path, time_base):
    info = VideoInfo(width=16, height=16, time_base=time_base)
    write(tmp_path / "a.mp4", info, make_frames(info, [7, 8, 10, 30]))
    reader, back = read(tmp_path / "a.mp4")
    assert [f.pts * reader.info.time_base for f in back] == [p * time_base for p in (7, 8, 10, 30)]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_times_below_zero_are_moved_and_no_frame_is_lost(tmp_path, suffix):
    info = VideoInfo(width=64, height=48, time_base=Fraction(1, 1000))
    writer = write(tmp_path / f"a.{suffix}", info, make_frames(info, [-80, -40, 0, 50]))
    _, back = read(tmp_path / f"a.{suffix}")
    assert [f.pts for f in back] == [0, 40, 80, 130]
    assert "0.08 s" in writer.notices[0]


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1", "libvpx-vp9"])
@pytest.mark.parametrize("size", [(64, 64), (67, 65)])
def test_lossy_codecs_keep_size_times_and_colours(tmp_path, codec, size):
    info = VideoInfo(
        width=size[0],
        height=size[1],
        time_base=Fraction(1, 1000),
        average_rate=Fraction(25),
        sample_aspect_ratio=Fraction(8, 9),
        color_range=1,
        color_matrix=1,
        color_primaries=1,
        color_transfer=1,
    )
    half = ((size[1] + 1) // 2, (size[0] + 1) // 2)
    frames = [
        Frame(ramp(size[1], size[0]), np.full(half, 90, np.uint8), np.full(half, 200, np.uint8), p)
        for p in (0, 40, 100)
    ]
    write(tmp_path / "a.mp4", info, frames, codec=codec)
    reader, back = read(tmp_path / "a.mp4")
    assert [f.pts for f in back] == [0, 40, 100]
    assert (reader.info.width, reader.info.height, reader.info.sample_aspect_ratio) == (*size, Fraction(8, 9))
    colors = [getattr(reader.info, f"color_{name}") for name in ("range", "matrix", "primaries", "transfer")]
    assert colors == [1, 1, 1, 1]
    for frame, other in zip(frames, back, strict=True):
        assert np.abs(frame.y.astype(int) - other.y).mean() < 3
        assert np.abs(frame.u.astype(int) - other.u).mean() < 2
        assert np.abs(frame.v.astype(int) - other.v).mean() < 2


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1"])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("tags", [{"color_range": 2}, {"color_range": 1, "color_matrix": 6, "color_transfer": 1}])
def test_colours_that_are_half_known_stay_half_known(tmp_path, codec, suffix, tags):
    info = VideoInfo(width=64, height=64, time_base=Fraction(1, 25), **tags)
    write(tmp_path / f"a.{suffix}", info, make_frames(info, [0]), codec=codec)
    back = read(tmp_path / f"a.{suffix}")[0].info
    for name in ("color_range", "color_matrix", "color_primaries", "color_transfer"):
        assert getattr(back, name) == getattr(info, name)


def test_odd_sizes_through_444_lose_no_chroma(tmp_path):
    info = VideoInfo(width=33, height=17, time_base=Fraction(1, 25))
    frames = make_frames(info, range(4))
    write(tmp_path / "a.mp4", info, frames, options={"qp": "0", "crf": "-1"})
    reader, back = read(tmp_path / "a.mp4")
    assert "yuv444p" in reader.notices[0]
    assert_same(back, frames)


def test_matroska_says_when_it_loses_the_aspect_ratio(tmp_path):
    info = VideoInfo(width=16, height=16, time_base=Fraction(1, 25), sample_aspect_ratio=Fraction(4, 3))
    frames = make_frames(info, range(2))
    assert "4/3" in write(tmp_path / "a.mkv", info, frames, codec="ffv1").notices[0]
    assert write(tmp_path / "b.mkv", info, frames, codec="libx264").notices == []
    assert read(tmp_path / "b.mkv")[0].info.sample_aspect_ratio == Fraction(4, 3)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 7), (48, 64)])
@pytest.mark.parametrize(("name", "rows", "columns"), [("yuv422p", 1, 2), ("yuv444p", 1, 1), ("yuv420p", 2, 2)])
@pytest.mark.parametrize("depth", [8, 10])
def test_other_chroma_grids_and_depths_become_420_with_8_bits(tmp_path, height, width, name, rows, columns, depth):
    rng = np.random.default_rng(1)
    dtype = np.uint8 if depth == 8 else np.dtype("<u2")
    chroma = (-(-height // rows), -(-width // columns))
    planes = [rng.integers(16, 235 << (depth - 8), size).astype(dtype) for size in ((height, width), chroma, chroma)]
    pixel_format = name if depth == 8 else f"{name}10le"
    path = encode(tmp_path / "a.mkv", "ffv1", pixel_format, [planes], options={"slices": "1"})
    reader, (frame,) = read(path)

    def halve(plane):  # the mean of each 2x2 square, or of what is left of it at an odd edge
        tall, wide = -(-height // 2), -(-width // 2)
        step_y, step_x = 2 // rows, 2 // columns
        return np.array(
            [
                [plane[i * step_y : (i + 1) * step_y, j * step_x : (j + 1) * step_x].mean() for j in range(wide)]
                for i in range(tall)
            ]
        )

    tolerance = 0.5 if depth == 8 else 1.5  # 10 bits are dithered on their way to 8
    expected = [planes[0], halve(planes[1]), halve(planes[2])]
    for got, plane in zip((frame.y, frame.u, frame.v), expected, strict=True):
        assert got.shape == plane.shape
        assert np.abs(got - plane / 2 ** (depth - 8)).max() <= tolerance
    assert len(reader.notices) == (pixel_format != "yuv420p")


@pytest.mark.parametrize(("height", "matrix", "red"), [(33, 6, (81, 90, 240)), (720, 1, (63, 102, 240))])
def test_rgb_gets_the_matrix_that_the_header_names(tmp_path, height, matrix, red):
    picture = np.tile(np.array([255, 0, 0], np.uint8), (height, 35))
    path = encode(tmp_path / "a.png", "png", "rgb24", [[picture]], size=(35, height), container={"update": "1"})
    reader, (frame,) = read(path)
    assert (reader.info.color_range, reader.info.color_matrix) == (1, matrix)
    assert [np.unique(plane).tolist() for plane in (frame.y, frame.u, frame.v)] == [[value] for value in red]
    assert "rgb24" in reader.notices[0]


def test_gif(tmp_path):
    pictures = [[np.full((17, 33), value, np.uint8)] for value in (0, 255, 0)]  # black and (nearly) white
    path = encode(tmp_path / "a.gif", "gif", "rgb8", pictures, pts=[0, 7, 30])
    reader, frames = read(path)
    assert [f.pts * reader.info.time_base for f in frames] == [0, Fraction(7, 100), Fraction(30, 100)]
    assert [int(f.y[0, 0]) for f in frames] == [16, 233, 16]
    assert "alpha" in reader.notices[0]


def test_gray_is_full_range_luma(tmp_path):
    luma = np.arange(256, dtype=np.uint8).reshape(8, 32)
    reader, (frame,) = read(encode(tmp_path / "a.mkv", "ffv1", "gray", [[luma]]))
    np.testing.assert_array_equal(frame.y, luma)
    assert set(np.unique(frame.u)) | set(np.unique(frame.v)) == {128}
    assert reader.info.is_full_range


def test_full_range_jpeg_formats_keep_their_values(tmp_path):
    planes = [np.full(size, value, np.uint8) for size, value in (((48, 64), 255), ((48, 32), 128), ((48, 32), 128))]
    reader, (frame,) = read(encode(tmp_path / "a.mkv", "mjpeg", "yuvj422p", [planes], color_range=2))
    assert reader.info.is_full_range
    assert np.abs(frame.y.astype(int) - 255).max() <= 1


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused_unless_allowed(tmp_path, transfer, name):
    path = encode(tmp_path / "a.mkv", "ffv1", "yuv420p", video_420(2), color_trc=transfer)
    with pytest.raises(MediaError, match=f"HDR.*{name}") as caught:
        VideoReader(path)
    assert_one_line(caught, path)
    reader, frames = read(path, allow_hdr=True)
    assert (len(frames), reader.info.color_transfer) == (2, transfer)


def test_missing_times_are_filled_in(tmp_path):
    path = encode(tmp_path / "a.h264", "libx264", "yuv420p", video_420(5), range(5), time_base=Fraction(1, 25))
    reader, frames = read(path)
    assert [f.pts * reader.info.time_base for f in frames] == [Fraction(i, 25) for i in range(5)]
    assert "missing" in reader.notices[0]


def test_times_that_jump_back_go_on_instead(tmp_path):
    part = encode(
        tmp_path / "a.ts", "libx264", "yuv420p", video_420(50), range(50), time_base=Fraction(1, 25)
    ).read_bytes()
    (tmp_path / "b.ts").write_bytes(part + part)
    reader, frames = read(tmp_path / "b.ts")
    times = [float((f.pts - frames[0].pts) * reader.info.time_base) for f in frames]
    np.testing.assert_allclose(times, np.arange(100) / 25, atol=1e-9)
    assert reader.notices == ["the source's clock starts over 1 time: joined"]


def test_repeated_times_move_by_one_tick(tmp_path):
    info = VideoInfo(width=16, height=16, time_base=Fraction(1, 10000))
    path = tmp_path / "a.mkv"  # rounds to milliseconds, so that two frames fall together
    write(path, info, make_frames(info, [0, 400, 401, 800]), codec="ffv1")
    reader, frames = read(path)
    assert [f.pts for f in frames] == [0, 40, 41, 80]
    assert "repeat" in reader.notices[0]


def test_a_change_of_size_is_refused_with_both_sizes_and_the_frame(tmp_path):
    first = encode(tmp_path / "a.ts", "libx264", "yuv420p", video_420(20)).read_bytes()
    second = encode(tmp_path / "b.ts", "libx264", "yuv420p", video_420(20, height=80, width=96)).read_bytes()
    (tmp_path / "c.ts").write_bytes(first + second)
    frames = []
    expected = pytest.raises(MediaError, match=r"frame (\d+) is 96x80.*64x48")
    with VideoReader(tmp_path / "c.ts") as reader, expected as caught:
        frames.extend(reader)
    assert f"frame {len(frames)} " in str(caught.value)
    assert len(frames) >= 19


@pytest.mark.parametrize(
    ("suffix", "codec", "container"),
    [("mkv", "ffv1", {}), ("mkv", "libx264", {}), ("mp4", "libx264", {"movflags": "faststart"})],
)
def test_a_file_cut_short_gives_what_is_there_and_says_so(tmp_path, suffix, codec, container):
    rng = np.random.default_rng(0)
    pictures = [[rng.integers(0, 256, s, np.uint8) for s in ((48, 64), (24, 32), (24, 32))] for _ in range(40)]
    path = encode(tmp_path / f"a.{suffix}", codec, "yuv420p", pictures, container=container)
    whole, frames = read(path)
    assert (len(frames), whole.decode_error) == (40, None)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    reader, part = read(path)
    assert 10 < len(part) < 30
    assert_same(part[:10], frames[:10])
    assert "cut short" in reader.decode_error


def test_damage_in_the_middle_is_reported_and_the_rest_is_read(tmp_path):
    info = VideoInfo(width=64, height=48, time_base=Fraction(1, 1000))
    path = tmp_path / "a.mp4"
    written = [Frame(*planes, pts=40 * i) for i, planes in enumerate(video_420(20))]
    write(path, info, written, options={"g": "1"})  # every frame stands alone
    _, frames = read(path)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = np.random.default_rng(0).bytes(2000)
    path.write_bytes(data)
    reader, back = read(path)
    assert "failed" in reader.decode_error or "damaged" in reader.decode_error
    assert 10 < len(back) <= 20
    assert_same([*back[:5], *back[-3:]], [*frames[:5], *frames[-3:]])


def test_tracks_that_are_not_carried_are_named(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", rate=25)
        stream.width, stream.height = 16, 16
        output.add_attachment("a.ttf", "font/ttf", b"letters")
        output.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        output.mux(stream.encode(None))
    reader, frames = read(path)
    assert len(frames) == 1
    assert reader.notices == ["tracks not carried over: 1 attachment (a.ttf)"]


def not_videos(folder):
    """Return files that no reader can make sense of, by what is wrong with them."""
    files = {
        name: folder / name
        for name in ("missing.mp4", "folder", "empty.mp4", "noise.mp4", "text.txt", "sound.wav", "cut.mp4")
    }
    files["folder"].mkdir()
    files["empty.mp4"].touch()
    files["noise.mp4"].write_bytes(np.random.default_rng(0).bytes(20000))
    files["text.txt"].write_text("no video at all\n" * 100)
    with av.open(str(files["sound.wav"]), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=8000, layout="mono")
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        tone.sample_rate = 8000
        output.mux([*stream.encode(tone), *stream.encode(None)])
    cut = encode(files["cut.mp4"], "libx264", "yuv420p", video_420(5))
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])  # its index is at the end
    return files


def test_what_is_not_a_video_is_refused_in_one_line(tmp_path):
    causes = {
        "missing.mp4": "no such file",
        "folder": "is a folder",
        "empty.mp4": "is empty",
        "noise.mp4": "Invalid data",
        "text.txt": "is not a video",
        "sound.wav": "no video track",
        "cut.mp4": "Invalid data",
    }
    for name, path in not_videos(tmp_path).items():
        with pytest.raises(MediaError, match=causes[name]) as caught:
            VideoReader(path)
        assert_one_line(caught, path)


@pytest.mark.parametrize(
    ("name", "options", "cause"),
    [
        ("a.mp4", {"codec": "h263p"}, "libx264.*ffv1"),
        ("a.gif", {}, r"\.mp4.*\.mkv"),
        ("a.webm", {"codec": "libx264"}, "libx264"),
        ("a.mp4", {"options": {"crff": "3"}}, "crff"),
        ("a.mp4", {"options": {"preset": "quickest"}}, "quickest"),
        ("missing/a.mp4", {}, "does not exist"),
    ],
)
def test_what_cannot_be_written_is_refused_in_one_line(tmp_path, name, options, cause):
    info = VideoInfo(width=16, height=16, time_base=Fraction(1, 25))
    with pytest.raises(MediaError, match=cause) as caught:
        write(tmp_path / name, info, make_frames(info, [0]), **options)
    assert_one_line(caught, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_while_writing_leaves_the_old_file(tmp_path):
    info = VideoInfo(width=16, height=16, time_base=Fraction(1, 25))
    path = tmp_path / "a.mkv"
    path.write_bytes(b"old")
    for pts, error in (([0, 1, 1], ConfigError), ([], MediaError)):
        with pytest.raises(error):
            write(path, info, make_frames(info, pts))
    other = VideoInfo(width=18, height=16, time_base=Fraction(1, 25))
    with pytest.raises(ConfigError, match="16x16"):
        write(path, info, make_frames(other, [0]))
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == [b"old"]


def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path):
    info = VideoInfo(width=64, height=48, time_base=Fraction(1, 25))
    path = tmp_path / "a.mkv"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that writing beyond the limit fails, as on a full disk
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
        with pytest.raises(MediaError, match=r": cannot be written: File too large$") as caught:
            write(path, info, make_frames(info, range(60)), codec="ffv1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert_one_line(caught, path)
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == [b"old"]


def test_reading_is_lazy_and_a_reader_can_be_left_early(tmp_path):
    info = VideoInfo(width=64, height=48, time_base=Fraction(1, 1000))
    frames = make_frames(info, range(0, 4000, 40))
    write(tmp_path / "a.mkv", info, frames, codec="ffv1")
    with VideoReader(tmp_path / "a.mkv") as reader:
        first = next(iter(reader))
    assert_same([first], frames[:1])
    assert next(iter(reader), None) is None
