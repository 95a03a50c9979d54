"""Sources that change in the middle: what no header can say of them is refused, converted or said."""

from fractions import Fraction

import numpy as np
import pytest

from support.media_files import assert_one_line, encode, filtered, read, video_420
from vtok.errors import MediaError
from vtok.files.decode import decode_file
from vtok.files.encode import encode_file


def changing(folder, *tags):
    """A stream of eight frames with each of some tags."""
    data = b""
    for part in tags:
        data += encode(
            folder / "part.264", "libx264", "yuv420p", video_420(8), options={"x264-params": "crf=4:bframes=0"}, **part
        ).read_bytes()
    (folder / "whole.264").write_bytes(data)
    return folder / "whole.264"


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_that_begins_later_is_refused_too(transfer, name, tmp_path):
    path = changing(tmp_path, {"color_trc": 1}, {"color_trc": transfer})
    with pytest.raises(MediaError, match=rf"HDR video \({name}\) from frame 8 on") as caught:
        read(path)
    assert_one_line(caught, path)
    reader, frames = read(path, allow_hdr=True)
    assert len(frames) == 16
    assert f"transfer changes from 1 to {transfer} at frame 8: shown as those before" in reader.notices


@pytest.mark.parametrize(
    ("first", "second", "notice"),
    [
        ({"colorspace": 1}, {"colorspace": 5}, "colour matrix changes from 1 to 5"),
        ({}, {"colorspace": 1}, "colour matrix changes from 6 to 1"),
        ({"color_trc": 1}, {"color_trc": 8}, "transfer changes from 1 to 8"),
        ({"color_primaries": 1}, {"color_primaries": 5}, "colour primaries changes from 1 to 5"),
        ({}, {"sample_aspect_ratio": Fraction(16, 11)}, "sample aspect ratio changes from 1 to 16/11"),
    ],
)
def test_changes_are_said_once(first, second, notice, tmp_path):
    reader, frames = read(changing(tmp_path, first, second, second, first))
    assert len(frames) == 32
    assert [line for line in reader.notices if "changes" in line] == [f"{notice} at frame 8: shown as those before"]


@pytest.mark.parametrize("ranges", [(1, 2), (2, 1), (0, 2)])
def test_another_range_is_converted_to_the_first(ranges, tmp_path):
    reader, frames = read(
        changing(tmp_path, *({"color_range": color_range, "colorspace": 6} for color_range in ranges))
    )
    words = ["full" if color_range == 2 else "limited" for color_range in ranges]
    assert f"colour range changes from {words[0]} to {words[1]} at frame 8: converted" in reader.notices
    for frame, other in zip(frames[:8], frames[8:], strict=True):  # the same numbers before they are converted
        luma, chroma = frame.y.astype(float), frame.u.astype(float)
        if words[0] == "limited":
            luma, chroma = 16 + luma * 219 / 255, 128 + (chroma - 128) * 224 / 255
        else:
            luma, chroma = (luma - 16) * 255 / 219, 128 + (chroma - 128) * 255 / 224
        assert np.abs(luma.clip(0, 255) - other.y).max() <= 4
        assert np.abs(chroma.clip(0, 255) - other.u).max() <= 4


@pytest.mark.parametrize("pixel_format", ["gray", "gray16be"])
@pytest.mark.parametrize("suffix", ["webm", "mp4"])
def test_gray_images_have_no_tags_of_rgb(pixel_format, suffix, tiny_tokenizer, tmp_path):
    plane = np.full((48, 64), 77 if pixel_format == "gray" else 77 * 257, np.uint8 if pixel_format == "gray" else ">u2")
    path = encode(tmp_path / "a.png", "png", pixel_format, [[plane]], container={"update": "1"})
    assert read(path)[0].info.color_matrix == 6
    encode_file(path, tmp_path / "a.vtok", tokenizer=tiny_tokenizer)
    out = tmp_path / f"out.{suffix}"
    decode_file(tmp_path / "a.vtok", out, tokenizer=tiny_tokenizer)
    assert read(out)[0].info.color_matrix == 6


@pytest.mark.parametrize("num_b_frames", [0, 1, 3])
def test_a_change_of_the_range_alone_concerns_no_picture_before_it(num_b_frames, tmp_path):
    """The same pictures again, of which only the parameters say something else; decoders still hold earlier ones."""
    options = {"x264-params": f"crf=20:bframes={num_b_frames}:b-adapt=0:keyint=8:min-keyint=8:scenecut=0"}
    tags = {"color_range": 1, "colorspace": 6}
    path = encode(tmp_path / "a.264", "libx264", "yuv420p", video_420(24), options=options, **tags)
    full = filtered(tmp_path / "b.264", path, "h264_metadata=video_full_range_flag=1")
    parts = [data.split(b"\0\0\1\x67") for data in (path.read_bytes(), full.read_bytes())]  # sequence parameter sets
    assert len(parts[0]) == len(parts[1]) == 4
    _, before = read(path)
    path.write_bytes(b"\0\0\1\x67".join([*parts[0][:2], *parts[1][2:]]))
    reader, frames = read(path)
    assert [line for line in reader.notices if "range" in line] == [
        "colour range changes from limited to full at frame 8: converted"
    ]
    same = [np.array_equal(frame.y, other.y) for frame, other in zip(frames, before, strict=True)]
    assert same == [True] * 8 + [False] * 16
