"""`vtok compare`: the right frames at the right places, labels, videos, and what is refused."""

import json
import sys
from fractions import Fraction

import numpy as np
import pytest

from support.videos import write_video
from vtok.errors import ConfigError, MediaError
from vtok.files.encode import encode_file
from vtok.measure.comparison import compare_files
from vtok.measure.psnr_ssim import QualityMeter
from vtok.measure.stats import file_stats
from vtok.media.reader import VideoReader

SIZE = (64, 48)


@pytest.fixture
def files(tmp_path, tiny_tokenizer):
    source = write_video(tmp_path / "source.mkv", num_frames=16, size=SIZE, codec="ffv1")
    encode_file(source, tmp_path / "coded.vtok", tokenizer=tiny_tokenizer, keyframe_seconds=0.3)
    write_video(tmp_path / "rough.mp4", num_frames=16, size=SIZE, options={"crf": "45"})
    return tmp_path


def frames_of(path):
    with VideoReader(path) as reader:
        return list(reader)


def test_a_video_holds_both_whole_beside_each_other(files, tmp_path, tiny_tokenizer):
    source, target = files / "source.mkv", tmp_path / "both.mkv"
    result = compare_files(source, files / "coded.vtok", target, reference=source, tokenizer=tiny_tokenizer)
    measured = file_stats(source, files / "coded.vtok", tokenizer=tiny_tokenizer)
    assert result.num_frames == 16
    assert result.psnr_yuv == [100, pytest.approx(measured.quality.psnr_yuv)]
    assert result.kbit_per_second[1] == pytest.approx(measured.kbit_per_second)
    sheets, originals = frames_of(target), frames_of(source)
    assert [frame.pts for frame in sheets] == [frame.pts for frame in originals]
    w, h = SIZE
    assert sheets[0].y.shape[1] == 2 * w + 4
    for sheet, original in zip(sheets, originals, strict=True):
        difference = sheet.y[-h:, :w].astype(int) - original.y
        assert np.abs(difference).mean() < 4, "the left half is the first video, but for the coding of the target"
    bar = sheets[0].y[:-h]
    assert bar[:, :w].max() > 150, "it has a label"
    assert bar[:, -w:].max() > 150


@pytest.mark.parametrize(("at", "index"), [("0", 0), ("0.12", 3), ("0.159", 3), ("0.6", 15), ("0.63", 15)])
@pytest.mark.parametrize("name", ["coded.vtok", "rough.mp4"])
def test_an_image_shows_the_frame_of_its_time(at, index, name, files, tmp_path, tiny_tokenizer):
    source = files / "source.mkv"
    options = {"reference": source, "tokenizer": tiny_tokenizer, "at_seconds": Fraction(at)}
    result = compare_files(files / name, source, tmp_path / "one.png", **options)
    meter = QualityMeter()
    if name == "rough.mp4":
        meter.add(frames_of(source)[index], frames_of(files / name)[index])
        expected = meter.result().psnr_yuv
    else:
        expected = file_stats(source, files / name, tokenizer=tiny_tokenizer).frames.psnr_yuv[index]
    assert result.psnr_yuv == [pytest.approx(expected), 100]
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


def test_split_shows_a_half_of_each(files, tmp_path):
    for name, split in (("split.png", True), ("whole.png", False)):
        compare_files(files / "source.mkv", files / "rough.mp4", tmp_path / name, split=split)
    (split,), (whole,) = frames_of(tmp_path / "split.png"), frames_of(tmp_path / "whole.png")
    w, h = SIZE
    assert split.y.shape[1] == w
    assert np.abs(split.y[-h:, : w // 2 - 2].astype(int) - whole.y[-h:, : w // 2 - 2]).max() <= 2
    right = whole.y[-h:, -w // 2 + 2 :].astype(int)
    assert np.abs(split.y[-h:, -w // 2 + 2 :] - right).max() <= 2
    assert (split.y[-h:, w // 2] > 220).all(), "a white line between them"


def test_what_is_refused(files, tmp_path, monkeypatch):
    source, rough = files / "source.mkv", files / "rough.mp4"
    small = write_video(tmp_path / "small.mp4", size=(32, 48))
    short = write_video(tmp_path / "short.mp4", num_frames=3, size=SIZE)
    before = sorted(tmp_path.iterdir())
    for arguments, options, error, message in [
        ((source, small, "a.png"), {}, MediaError, "small.mp4: is 32x48"),
        ((source, short, "a.mp4"), {}, MediaError, "short.mp4: has 3 frames"),
        ((source, rough, "a.mp4"), {"reference": short}, MediaError, "short.mp4: has 3 frames"),
        ((source, rough, "a.png"), {"at_seconds": Fraction(9)}, ConfigError, "source.mkv: no frame is shown at 9 s"),
        ((source, rough, "a.mp4"), {"at_seconds": Fraction(0)}, ConfigError, "at_seconds=... is for images"),
        ((source, rough, "a.txt"), {}, ConfigError, "unknown suffix"),
        ((source, rough, "rough.mp4"), {}, ConfigError, "is the input too"),
    ]:
        first, second, target = arguments
        with pytest.raises(error, match=message):
            compare_files(first, second, tmp_path / target, **options)
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setattr("vtok.measure.comparison._pillow", sys.modules["vtok.measure.comparison"]._pillow.__wrapped__)
    with pytest.raises(ConfigError, match="labels need Pillow"):
        compare_files(source, rough, tmp_path / "a.png")
    assert sorted(tmp_path.iterdir()) == before


def test_on_the_command_line(files, vtok):
    arguments = ("compare", files / "source.mkv", files / "rough.mp4", "out.png", "--at", "0:00.2")
    outcome = vtok(*arguments, "--json", "--reference", files / "source.mkv")
    result = json.loads(outcome.out)
    assert (outcome.code, outcome.err, result["target"], result["num_frames"]) == (0, "", "out.png", 1)
    assert vtok(*arguments).err == "vtok: error: out.png: exists already. Overwrite it with --force\n"
    assert vtok(*arguments, "-f").out.endswith("rough.mp4, 1 frame\n")
