"""Whole ways through the program, from what people have to what they want: times, colours, images, pipes."""

import io
import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from support.media_files import color_bars, encode, make_frames, read, write
from support.videos import truncated, write_video
from vtok.container.reader import ContainerReader
from vtok.files.concat import concat_files
from vtok.files.cut import cut_file
from vtok.files.decode import decode_file
from vtok.files.encode import encode_file
from vtok.files.inspection import file_info
from vtok.media.reader import VideoReader
from vtok.video.frame import VideoInfo

PROGRAM = Path(sys.executable).with_name("vtok")


@pytest.fixture
def tokenizer(tiny_tokenizer):
    return tiny_tokenizer


def ticks_of(path):
    with path.open("rb") as file:
        reader = ContainerReader(file)
        list(reader)
    return reader.last_frame_ticks


# -- times


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm"])
def test_a_variable_frame_rate_and_its_end_come_back(suffix, tokenizer, tmp_path):
    info = VideoInfo(width=24, height=16, time_base=Fraction(1, 1000), average_rate=Fraction(25))
    pts = [0, 33, 100, 133, 167, 400, 433, 434, 500, 900]
    write(tmp_path / "in.mp4", info, make_frames(info, pts), codec="ffv1", last_frame_ticks=217)
    encode_file(tmp_path / "in.mp4", tmp_path / "a.vtok", tokenizer=tokenizer)
    assert ticks_of(tmp_path / "a.vtok") == 217
    assert file_info(tmp_path / "a.vtok").duration_seconds == 1.117
    decode_file(tmp_path / "a.vtok", tmp_path / f"out.{suffix}", tokenizer=tokenizer)
    reader, frames = read(tmp_path / f"out.{suffix}")
    assert [frame.pts * reader.info.time_base for frame in frames] == [Fraction(p, 1000) for p in pts]
    assert reader.last_frame_ticks * reader.info.time_base == Fraction(217, 1000)
    # Of a part, the last frame is shown until the next one would have been.
    decode_file(
        tmp_path / "a.vtok", tmp_path / f"part.{suffix}", tokenizer=tokenizer, start_seconds=0.1, end_seconds=0.4
    )
    reader, frames = read(tmp_path / f"part.{suffix}")
    assert len(frames) == 3
    assert reader.last_frame_ticks * reader.info.time_base == Fraction(233, 1000)


def test_cut_and_joined_files_end_when_their_last_frame_does(tokenizer, tmp_path):
    info = VideoInfo(width=24, height=16, time_base=Fraction(1, 1000), average_rate=Fraction(25))
    pts = [*range(0, 320, 40), 350, 700]
    write(tmp_path / "in.mp4", info, make_frames(info, pts), codec="ffv1", last_frame_ticks=217)
    paths = [tmp_path / name for name in ("a.vtok", "cut.vtok", "end.vtok", "joined.vtok")]
    encode_file(tmp_path / "in.mp4", paths[0], tokenizer=tokenizer, keyframe_seconds=0.3)
    cut_file(paths[0], paths[1], end_seconds=0.3)
    assert ticks_of(paths[1]) == 350 - 280
    cut_file(paths[0], paths[2], start_seconds=0.4)
    assert ticks_of(paths[2]) == 217
    assert concat_files([paths[2], paths[1]], paths[3]).duration_seconds == pytest.approx(0.35 + 0.217 + 0.28 + 0.07)
    assert ticks_of(paths[3]) == 70
    with paths[3].open("rb") as file:
        joined = [p for group in ContainerReader(file) for p in group.pts]
    assert joined == [0, 350, *range(567, 567 + 320, 40)]


def test_damage_behind_what_was_asked_for_does_not_matter(tokenizer, tmp_path):
    info = VideoInfo(width=24, height=16, time_base=Fraction(1, 25), average_rate=Fraction(25))
    write(tmp_path / "in.mp4", info, make_frames(info, range(16)), codec="ffv1")
    encode_file(tmp_path / "in.mp4", tmp_path / "a.vtok", tokenizer=tokenizer, keyframe_seconds=0.3)
    data = bytearray((tmp_path / "a.vtok").read_bytes())
    with (tmp_path / "a.vtok").open("rb") as file:
        second = ContainerReader(file).read_index().locations[1]
    data[second.byte_offset + 60] ^= 1
    (tmp_path / "a.vtok").write_bytes(data)
    decode_file(tmp_path / "a.vtok", tmp_path / "out.mkv", tokenizer=tokenizer, end_seconds=0.32)
    assert len(read(tmp_path / "out.mkv")[1]) == 8


# -- colours


@pytest.mark.parametrize("color_range", [1, 2])
def test_flat_colours_survive_the_best_quality(color_range, tmp_path):
    # Bars of 32 pixels, of whose edges the flat middle is one block away: nearer than that it is not flat for a codec.
    info = VideoInfo(
        width=256, height=64, time_base=Fraction(1, 25), average_rate=Fraction(25),
        color_range=color_range, color_matrix=1, color_primaries=1, color_transfer=1,
    )  # fmt: skip
    bars, _ = color_bars(info, num_frames=8)
    write(tmp_path / "in.mkv", info, bars, codec="ffv1")
    encode_file(tmp_path / "in.mkv", tmp_path / "a.vtok", quality=9)
    decode_file(tmp_path / "a.vtok", tmp_path / "out.mkv", codec="ffv1")
    reader, frames = read(tmp_path / "out.mkv")
    assert (reader.info.color_range, reader.info.color_matrix) == (color_range, 1)
    for name, bar in (("y", 32), ("u", 16), ("v", 16)):
        error = np.abs(getattr(frames[4], name).astype(int) - getattr(bars[4], name))
        flat = [error[:, start + bar // 4 : start + 3 * bar // 4] for start in range(0, 8 * bar, bar)]
        assert np.mean(flat) < 1.0


# -- images


def test_images_in_images_out(tmp_path, tokenizer):
    picture = np.tile(np.array([200, 100, 50], np.uint8), (18, 35))
    photo = encode(tmp_path / "photo.png", "png", "rgb24", [[picture]], size=(35, 18), container={"update": "1"})
    result = encode_file(photo, tmp_path / "photo.vtok", tokenizer=tokenizer, quality=9)
    assert (result.num_frames, result.incomplete) == (1, None)
    for suffix in ("png", "jpg"):
        decode_file(tmp_path / "photo.vtok", tmp_path / f"back.{suffix}", tokenizer=tokenizer)
        with VideoReader(tmp_path / f"back.{suffix}") as reader:
            assert (reader.info.width, reader.info.height, len(list(reader))) == (35, 18, 1)
    decode_file(tmp_path / "photo.vtok", tmp_path / "all" / "%d.png", tokenizer=tokenizer)
    result = encode_file(
        tmp_path / "all" / "%d.png", tmp_path / "all.vtok", tokenizer=tokenizer, image_rate=Fraction(24)
    )
    assert file_info(tmp_path / "all.vtok").average_rate == "24"


# -- pipes, by whole processes


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    source = write_video(folder / "good.mp4", num_frames=9)  # its index is at the end
    encode_file(source, folder / "good.vtok", quality=4)
    return folder


def program(*arguments, data=b""):
    return subprocess.run([PROGRAM, *map(str, arguments)], input=data, capture_output=True, timeout=120)


def test_pipes_both_ways(made):
    encoded = program("encode", "-", "-", "--quality", "4", data=(made / "good.mp4").read_bytes())
    assert encoded.returncode == 0
    assert encoded.stdout == (made / "good.vtok").read_bytes()
    assert b"-: 9 frames, " in encoded.stderr  # stdout is for the data
    decoded = program("decode", "-", "-", "--format", "y4m", "--json", data=encoded.stdout)
    assert decoded.returncode == 0
    assert decoded.stdout.startswith(b"YUV4MPEG2 W64 H48 F25:1 ")
    assert json.loads(decoded.stderr)["num_frames"] == 9
    with av.open(io.BytesIO(decoded.stdout)) as container:
        assert len(list(container.decode(video=0))) == 9


def test_whole_files_go_through_standard_output_too(made, tmp_path, capfdbinary, tokenizer, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("mp4", "webm", "gif", "raw"):
        capfdbinary.readouterr()
        decode_file(made / "good.vtok", "-", output_format=name)
        data = capfdbinary.readouterr().out
        if name == "raw":
            assert len(data) == 9 * 64 * 48 * 3 // 2
        else:
            with av.open(io.BytesIO(data)) as container:
                assert len(list(container.decode(video=0))) == 9
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "name", "code", "message"),
    [
        (["encode", "-", "out.vtok"], None, 1, "vtok: error: -: standard input is empty"),
        (["encode", "-", "out.vtok"], "junk", 1, "vtok: error: -: Invalid data"),
        (["decode", "-", "out.mp4"], "junk", 1, "vtok: error: -: not a .vtok file"),
        (["encode", "-", "out.vtok"], "cut.mkv", 3, "vtok: warning: -: the file is cut short"),
    ],
)
def test_what_is_wrong_in_a_pipe_is_one_line(arguments, name, code, message, vtok, tmp_path, monkeypatch):
    data = {None: b"", "junk": bytes(range(256)) * 40}.get(name)
    if data is None:
        whole = write_video(tmp_path / "whole.mkv", num_frames=16, codec="ffv1")
        data = truncated(whole, tmp_path / "cut.mkv", share=0.7).read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    done = vtok(*arguments)
    assert done.code == code
    assert done.err.splitlines()[-1].startswith(message)
    assert "Traceback" not in done.err
    assert Path("out.vtok").exists() == (code == 3)
    assert not Path("out.mp4").exists()


def test_a_pipe_that_nobody_reads_is_one_line(made):
    with subprocess.Popen(
        [PROGRAM, "decode", made / "good.vtok", "-", "--format", "raw", "--quiet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        assert process.stderr.read().decode() == "vtok: error: -: cannot be written: Broken pipe\n"
    assert process.returncode == 1
