"""What comes in: turned and interlaced pictures, images and their sequences, colours, damage that hides."""

import random
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import av
import numpy as np
import pytest

from support.media_files import assert_one_line, color_bars, encode, filtered, make_frames, ramp, read, video_420, write
from support.videos import truncated, write_video
from vtok.errors import MediaError
from vtok.media.pixels import rgb_from_planes
from vtok.media.reader import VideoReader
from vtok.media.rotation import Turn
from vtok.video.frame import VideoInfo


def stored_turned(path, degrees, *, size=(33, 17), flips=(False, False), **tags):
    """A lossless file whose pictures players turn, counterclockwise, and the planes that are stored in it."""
    width, height = size
    rng = np.random.default_rng(0)
    chroma = (-(-height // 2), -(-width // 2))
    planes = [rng.integers(0, 256, shape, np.uint8) for shape in ((height, width), chroma, chroma)]
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", rate=25, options={"slices": "1"} if height < 64 else {})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        stream.set_display_rotation(degrees, hflip=flips[0], vflip=flips[1])
        picture = av.VideoFrame(width, height, "yuv420p")
        for target, source in zip(picture.planes, planes, strict=True):
            np.frombuffer(target, np.uint8).reshape(target.height, -1)[:, : source.shape[1]] = source
        output.mux([*stream.encode(picture), *stream.encode(None)])
    return planes


@pytest.mark.parametrize(
    ("degrees", "said"),
    [
        (0, None),
        (90, "rotated by 90 degrees counterclockwise"),
        (180, "by 180 degrees"),
        (270, "by 90 degrees clockwise"),
    ],
)
def test_turned_pictures_come_upright_to_the_last_sample(degrees, said, tmp_path):
    planes = stored_turned(tmp_path / "a.mp4", degrees, sample_aspect_ratio=Fraction(4, 3))
    reader, (frame,) = read(tmp_path / "a.mp4")
    for got, plane in zip((frame.y, frame.u, frame.v), planes, strict=True):
        np.testing.assert_array_equal(got, np.rot90(plane, degrees // 90))  # counterclockwise too
    is_upright = degrees % 180 == 0
    info = reader.info
    assert (info.width, info.height) == ((33, 17) if is_upright else (17, 33))
    assert info.sample_aspect_ratio == (Fraction(4, 3) if is_upright else Fraction(3, 4))
    assert [said in notice for notice in reader.notices] == ([True] if said else [])


@pytest.mark.parametrize("turn", [Turn(t, r, c) for t in (0, 1) for r in (0, 1) for c in (0, 1)])
def test_all_eight_turns_are_those_of_the_display_matrix(turn):
    """Column x and row y of the matrix' picture are where it says, after moving what is negative into the picture."""
    plane = np.arange(12, dtype=np.uint8).reshape(3, 4)
    a, d = (0, 0) if turn.transposes else (-1 if turn.flips_columns else 1, -1 if turn.flips_rows else 1)
    b, c = (-1 if turn.flips_rows else 1, -1 if turn.flips_columns else 1) if turn.transposes else (0, 0)
    places = {(a * x + c * y, b * x + d * y): plane[y, x] for x in range(4) for y in range(3)}
    columns, rows = sorted({x for x, _ in places}), sorted({y for _, y in places})
    assert turn(plane).tolist() == [[places[x, y] for x in columns] for y in rows]


def test_what_is_not_a_quarter_turn_is_left_and_said(tmp_path):
    planes = stored_turned(tmp_path / "a.mp4", 45)
    reader, (frame,) = read(tmp_path / "a.mp4")
    np.testing.assert_array_equal(frame.y, planes[0])
    assert "45 degrees is not applied" in reader.notices[0]


def test_a_turn_does_not_change_the_matrix_that_players_guess(tmp_path):
    stored_turned(tmp_path / "wide.mp4", 90, size=(720, 64))
    assert read(tmp_path / "wide.mp4")[0].info.color_matrix == 6  # by its 64 rows, though there are 720 now
    stored_turned(tmp_path / "small.mp4", 90)
    assert read(tmp_path / "small.mp4")[0].info.color_matrix == 2


def test_interlaced_video_is_said_to_be(tmp_path):
    path = encode(tmp_path / "a.mp4", "libx264", "yuv420p", video_420(3), options={"x264-params": "tff=1"})
    assert any("interlaced" in notice for notice in read(path)[0].notices)


def test_how_long_the_last_frame_is_shown_is_read(tmp_path):
    info = VideoInfo(width=16, height=16, time_base=Fraction(1, 600), average_rate=Fraction(25))
    for name in ("a.mp4", "a.mov", "a.mkv"):
        with_last = make_frames(info, [0, 24, 60])
        write(tmp_path / name, info, with_last, codec="libx264", last_frame_ticks=90)
        reader, _ = read(tmp_path / name)
        assert reader.last_frame_ticks * reader.info.time_base == Fraction(90, 600)


# -- images


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.264", "a.hevc"])
@pytest.mark.parametrize("edges", [(8, 4, 16, 8), (8, 0, 0, 0), (2, 2, 0, 0), (40, 30, 6, 2), (0, 0, 0, 8)])
def test_pictures_are_cropped_as_the_stream_says_to_the_last_sample(name, edges, tmp_path):
    left, top, right, bottom = edges
    codec = "libx265" if name == "a.hevc" else "libx264"
    source = write_video(tmp_path / f"whole{name[1:]}", size=(96, 64), codec=codec, options={"qp": "20"})
    names = zip(("left", "top", "right", "bottom"), edges, strict=True)
    arguments = ":".join(f"crop_{edge}={samples}" for edge, samples in names)
    kind = "hevc" if codec == "libx265" else "h264"
    reader, frames = read(filtered(tmp_path / name, source, f"{kind}_metadata={arguments}"))
    _, whole = read(source)
    assert (reader.info.width, reader.info.height) == (96 - left - right, 64 - top - bottom)
    assert len(frames) == len(whole) == 16
    for frame, uncropped in zip(frames, whole, strict=True):
        np.testing.assert_array_equal(frame.y, uncropped.y[top : 64 - bottom, left : 96 - right])
        for got, plane in ((frame.u, uncropped.u), (frame.v, uncropped.v)):
            np.testing.assert_array_equal(got, plane[top // 2 : 32 - bottom // 2, left // 2 : 48 - right // 2])


def numbered(folder, numbers, name="%04d.png", size=(32, 16)):
    folder.mkdir(exist_ok=True)
    for number in numbers:
        picture = np.tile(np.array([2 * number, 2 * number, 50], np.uint8), (size[1], size[0]))
        encode(folder / (name % number), "png", "rgb24", [[picture]], size=size, container={"update": "1"})
    return folder / name


@pytest.mark.parametrize("numbers", [range(3), range(1, 4), range(98, 103)])
@pytest.mark.parametrize("name", ["%04d.png", "shot %d (100).png"])
def test_numbered_images_are_a_video(numbers, name, tmp_path):
    pattern = numbered(tmp_path / "in", numbers, name)
    (tmp_path / "in" / "other.png").write_bytes(b"not of the sequence")
    reader, frames = read(pattern)
    assert [frame.pts * reader.info.time_base for frame in frames] == [Fraction(i, 25) for i in range(len(numbers))]
    assert [int(frame.y[0, 0]) for frame in frames] == sorted({int(frame.y[0, 0]) for frame in frames})
    assert reader.num_bytes == sum((tmp_path / "in" / (name % number)).stat().st_size for number in numbers)
    reader, frames = read(pattern, image_rate=Fraction(30000, 1001))
    assert [f.pts * reader.info.time_base for f in frames] == [Fraction(i * 1001, 30000) for i in range(len(numbers))]
    assert reader.info.average_rate == Fraction(30000, 1001)


def test_a_folder_of_images_may_have_a_percent_sign_in_its_name(tmp_path):
    numbered(tmp_path / "in", range(3))
    (tmp_path / "in").rename(tmp_path / "100% %d")
    _, frames = read(tmp_path / "100% %d" / "%04d.png")
    assert len(frames) == 3


def test_images_that_are_no_sequence_are_refused_in_one_line(tmp_path):
    for path, cause in [
        (numbered(tmp_path / "gap", [1, 2, 4]), "0003.png is missing"),
        (tmp_path / "gap" / "%03d.png", "no images of that name"),
        (tmp_path / "missing" / "%d.png", "no images of that name"),
        (tmp_path / "gap", r"is a folder.*gap/%04d.png"),
    ]:
        with pytest.raises(MediaError, match=cause) as caught:
            read(path)
        assert_one_line(caught, path)
    pattern = numbered(tmp_path / "sizes", [1, 2])
    numbered(tmp_path / "sizes", [3], size=(16, 16))
    with pytest.raises(MediaError, match=r"frame 2 is 16x16.*32x16"):
        read(pattern)


@pytest.mark.parametrize("fault", ["empty", "folder"])
def test_a_sequence_with_a_file_that_cannot_be_an_image_is_refused(fault, tmp_path):
    pattern = numbered(tmp_path / "in", range(5), "%02d.png")
    path = tmp_path / "in" / "03.png"
    path.write_bytes(b"") if fault == "empty" else (path.unlink(), path.mkdir())
    with pytest.raises(MediaError, match=rf"%02d\.png: 03\.png.*{fault}") as caught:
        read(pattern)
    assert_one_line(caught, pattern)


@pytest.mark.parametrize("fault", ["junk", "cut"])
@pytest.mark.parametrize("number", [2, 4])
def test_an_image_that_does_not_decode_is_named_and_the_others_are_read(fault, number, tmp_path):
    pattern = numbered(tmp_path / "in", range(5), "%02d.png")
    path = tmp_path / "in" / f"0{number}.png"
    path.write_bytes(b"no image at all" * 9 if fault == "junk" else path.read_bytes()[:60])
    reader, frames = read(pattern)
    assert [frame.pts for frame in frames] == [i for i in range(5) if i != number]
    assert f"0{number}.png" in reader.decode_error


@pytest.mark.parametrize(
    ("suffix", "codec", "pixel_format"),
    [("png", "png", "rgb24"), ("png", "png", "rgba"), ("png", "png", "gray"), ("jpg", "mjpeg", "yuvj420p"),
     ("bmp", "bmp", "bgr24"), ("tiff", "tiff", "rgb24"), ("webp", "libwebp", "yuv420p")],
)  # fmt: skip
def test_a_single_image_is_a_video_of_one_frame(suffix, codec, pixel_format, tmp_path):
    pixels = np.full((16, 32, 3), (200, 100, 50), np.uint8)
    picture = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format=pixel_format)
    with av.open(str(tmp_path / f"a.{suffix}"), "w") as output:
        stream = output.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 16, pixel_format
        output.mux([*stream.encode(picture), *stream.encode(None)])
    reader, (frame,) = read(tmp_path / f"a.{suffix}")
    rgb = rgb_from_planes(frame, reader.info, reader._reformatter)
    expected = [picture.to_ndarray()[0, 0]] * 3 if pixel_format == "gray" else [200, 100, 50]
    assert np.abs(rgb.astype(int) - expected).max() <= 5
    assert any("alpha channel dropped" in notice for notice in reader.notices) == (pixel_format == "rgba")


# -- colours


@pytest.mark.parametrize("color_range", [0, 1, 2])
@pytest.mark.parametrize("color_matrix", [1, 2, 5, 6])
def test_colour_bars_are_the_colours_they_should_be(color_range, color_matrix, tmp_path):
    """Bars by the definition of matrix and range, through a lossless file, to RGB: at most rounding is left."""
    info = VideoInfo(width=64, height=32, time_base=Fraction(1, 25), color_range=color_range, color_matrix=color_matrix)
    (bars,), rgb = color_bars(info)
    write(tmp_path / "a.mkv", info, [bars], codec="ffv1")
    reader, (frame,) = read(tmp_path / "a.mkv")
    for name in "yuv":
        np.testing.assert_array_equal(getattr(frame, name), getattr(bars, name))
    got = rgb_from_planes(frame, reader.info, reader._reformatter)[8, 4::8].astype(float)
    assert np.abs(got - rgb).max() <= 2


def test_notices_name_what_is_converted(tmp_path):
    for pixel_format, said in [
        ("yuv422p10le", "10 bits to 8, chroma 4:2:2 to 4:2:0"),
        ("yuv444p", "chroma 4:4:4 to 4:2:0"),
        ("yuv420p10le", "yuv420p: 10 bits to 8"),
        ("yuva420p", "its alpha channel dropped"),
        ("bgra", "RGB to YCbCr, chroma 4:4:4 to 4:2:0, its alpha channel dropped"),
    ]:
        path = tmp_path / "a.mkv"
        with av.open(str(path), "w") as output:
            stream = output.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 64, pixel_format
            output.mux([*stream.encode(av.VideoFrame(64, 64, pixel_format)), *stream.encode(None)])
        (notice,) = read(path)[0].notices
        assert notice.endswith(said)
        assert pixel_format in notice


# -- damage


CONTAINERS = [
    ("mp4", "libx264", "yuv420p", {"movflags": "faststart"}),
    ("mkv", "libx264", "yuv420p", {}),
    ("webm", "libvpx-vp9", "yuv420p", {}),
    ("avi", "mpeg4", "yuv420p", {}),
    ("ts", "libx264", "yuv420p", {}),
    ("wmv", "wmv2", "yuv420p", {}),
    ("asf", "mpeg4", "yuv420p", {}),
    ("ogv", "libvpx", "yuv420p", {}),
    ("flv", "libx264", "yuv420p", {}),
    ("gif", "gif", "rgb8", {}),
    ("y4m", "wrapped_avframe", "yuv420p", {}),
]


@pytest.mark.parametrize(("suffix", "codec", "pixel_format", "container"), CONTAINERS)
@pytest.mark.parametrize("share", [0.55, 0.75, 0.95])
def test_every_container_shows_that_its_end_is_missing(suffix, codec, pixel_format, container, share, tmp_path):
    pictures = video_420(40)
    if pixel_format == "rgb8":
        pictures = [[ramp(48, 64, i)] for i in range(40)]
    whole = encode(tmp_path / f"whole.{suffix}", codec, pixel_format, pictures, container=container)
    reader, frames = read(whole)
    assert (len(frames), reader.decode_error) == (40, None)
    cut = truncated(whole, tmp_path / f"cut.{suffix}", share=share)
    assert cut.stat().st_size % 188
    reader, frames = read(cut)
    assert 0 < len(frames) < 40 or share == 0.95
    assert reader.decode_error


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mpg", "mpeg1video"), ("mpg", "mpeg2video"), ("vob", "mpeg2video"), ("mxf", "mpeg2video")]
)
@pytest.mark.parametrize("share", [0.6, 0.93, 0.96, 0.975])
def test_program_streams_and_mxf_files_show_that_their_end_is_missing(suffix, codec, share, tmp_path):
    whole = write_video(tmp_path / f"whole.{suffix}", codec=codec, num_frames=100, size=(160, 128))
    reader, frames = read(whole)
    assert (len(frames), reader.decode_error) == (100, None)
    data = whole.read_bytes()
    num_bytes = int(share * len(data))
    num_bytes += 100 * (num_bytes % 2048 in (0, 1))  # a cut between two packets shows nowhere
    (tmp_path / f"cut.{suffix}").write_bytes(data[:num_bytes])
    reader, frames = read(tmp_path / f"cut.{suffix}")
    assert frames
    assert "cut short: " + ("its footer is missing" if suffix == "mxf" else "the last packet") in reader.decode_error


@pytest.mark.parametrize("num_pages", [1, 2, 3])
def test_an_ogg_file_cut_between_two_pages_has_no_end(num_pages, tmp_path):
    path = write_video(tmp_path / "a.ogv", codec="libvpx", container_options={"page_duration": "100000"})
    pages = path.read_bytes().split(b"OggS")
    path.write_bytes(b"OggS".join(pages[:-num_pages]))
    assert "the last page of its stream is missing" in read(path)[0].decode_error


@pytest.mark.parametrize(("suffix", "codec", "pixel_format"), [("mkv", "ffv1", "yuv420p"), ("gif", "gif", "rgb8")])
def test_damage_that_only_the_log_tells_is_found(suffix, codec, pixel_format, tmp_path):
    rng = np.random.default_rng(0)
    sizes = [(48, 64)] if pixel_format == "rgb8" else [(48, 64), (24, 32), (24, 32)]
    pictures = [[rng.integers(0, 256, size, np.uint8) for size in sizes] for _ in range(20)]
    path = encode(
        tmp_path / f"a.{suffix}", codec, pixel_format, pictures, options={"slicecrc": "1"} if codec == "ffv1" else {}
    )
    assert read(path)[0].decode_error is None
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 40] = random.Random(0).randbytes(40)
    path.write_bytes(data)
    reader, frames = read(path)
    assert len(frames) >= 19
    assert "1 decoded frames are damaged" in reader.decode_error
    assert av.logging.get_level() is None


def test_damage_is_counted_in_the_file_that_has_it(tmp_path):
    pictures = video_420(30, height=96, width=128)
    good = encode(tmp_path / "good.mkv", "ffv1", "yuv420p", pictures, options={"slicecrc": "1"})
    h264 = encode(tmp_path / "h264.mp4", "libx264", "yuv420p", pictures)
    data = bytearray(good.read_bytes())
    for share in (0.3, 0.5, 0.7):
        data[int(share * len(data))] ^= 1
    bad = tmp_path / "bad.mkv"
    bad.write_bytes(data)
    alone = read(bad)[0].decode_error
    assert str(alone).startswith("3 decoded frames are damaged")
    with ThreadPoolExecutor(6) as executor:
        errors = list(executor.map(lambda path: read(path)[0].decode_error, [good, bad, h264] * 6))
    assert errors == [None, alone, None] * 6
    assert av.logging.get_level() is None


def test_a_file_that_may_not_be_read_is_one_line(tmp_path, monkeypatch):
    path = encode(tmp_path / "a.mkv", "ffv1", "yuv420p", video_420(1))
    monkeypatch.setattr("os.access", lambda *_: False)  # the tests may run as root, who may read everything
    with pytest.raises(MediaError, match="permission denied") as caught:
        VideoReader(path)
    assert_one_line(caught, path)
