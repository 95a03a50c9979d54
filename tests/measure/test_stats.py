"""What `file_stats` and its plot say beyond single numbers: frames, groups, channels."""

import sys
from statistics import fmean

import numpy as np
import pytest
from rich.console import Console

from support.videos import write_video
from vtok.cli.stats_table import print_stats
from vtok.errors import ConfigError, MediaError
from vtok.files.encode import encode_file
from vtok.measure.plot import write_plot
from vtok.measure.psnr_ssim import Spread
from vtok.measure.stats import file_stats


@pytest.fixture
def measured(tmp_path, tiny_tokenizer):
    source = write_video(tmp_path / "a.mp4", num_frames=24)
    encode_file(source, tmp_path / "a.vtok", tokenizer=tiny_tokenizer, keyframe_seconds=0.3)
    return file_stats(source, tmp_path / "a.vtok", tokenizer=tiny_tokenizer)


def test_frames_add_up(measured):
    frames, quality = measured.frames, measured.quality
    assert len(frames.seconds) == len(frames.psnr_yuv) == len(frames.ssim_y) == 24
    assert frames.seconds == pytest.approx(np.arange(24) / 25)
    assert fmean(frames.psnr_y) == pytest.approx(quality.psnr_y_mean)
    assert fmean(frames.psnr_yuv) == pytest.approx(quality.psnr_yuv_mean)
    assert quality.psnr_yuv < quality.psnr_yuv_mean, "the logarithm of a mean is above the mean of logarithms"
    assert fmean(frames.ssim_y) == pytest.approx(quality.ssim_y)
    spread = measured.frame_spread["psnr_yuv"]
    assert spread.minimum == min(frames.psnr_yuv) <= spread.p5 <= spread.p50 <= spread.p95 <= max(frames.psnr_yuv)
    assert set(measured.frame_spread) == {"psnr_yuv", "psnr_y", "ssim_y"}, "too small for MS-SSIM, VMAF not asked for"
    assert measured.decode_seconds > 0
    assert measured.decoded_frames_per_second == pytest.approx(24 / measured.decode_seconds)


def test_percentiles_known_by_hand():
    assert Spread.of([float(n) for n in range(101)][::-1]) == Spread(minimum=0, p5=5, p50=50, p95=95)
    assert Spread.of([1.0, 2.0]).p50 == 1.5


def test_groups_and_channels_account_for_the_bytes(measured):
    codes = measured.codes
    assert [(group.first_frame, group.num_frames) for group in codes.groups] == [(0, 8), (8, 8), (16, 8)]
    num_bytes = codes.num_coded_bytes + codes.num_motion_bytes
    assert num_bytes == sum(group.num_bytes for group in codes.groups) < measured.num_bytes
    assert codes.saved_share == pytest.approx(1 - codes.num_coded_bytes / codes.num_codes)
    assert len(codes.channel_bits) == 12
    assert codes.ideal_bits == pytest.approx(sum(codes.channel_bits), abs=0.1)
    # Each group adds the number of its channels, their flags, and up to two words of the coder.
    assert codes.ideal_bits < 8 * codes.num_coded_bytes < codes.ideal_bits + 3 * 8 * (2 + 2 + 8)


def test_the_table_says_both_kinds_of_psnr_and_why_things_are_missing(measured, capsys):
    print_stats(measured, Console(width=160))
    table = capsys.readouterr().out
    assert f"{measured.quality.psnr_yuv:.2f} dB global, {measured.quality.psnr_yuv_mean:.2f} dB mean" in table
    assert "five scales need 176" in table
    assert "less than raw codes" in table


def test_plots(measured, tmp_path):
    write_plot(measured, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    write_plot(measured, tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "<svg" in page
    assert not any(word in page for word in ("<script", "<link", "src=", "@import")), "it must need no other file"


def test_a_plot_that_cannot_be_drawn_leaves_nothing(measured, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"a\.txt: cannot be plotted to"):
        write_plot(measured, tmp_path / "a.txt")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match=r"a\.png: plots need matplotlib\. pip install"):
        write_plot(measured, tmp_path / "a.png")
    assert not list(tmp_path.glob("a.png"))


def test_videos_of_different_length(tmp_path):
    paths = [write_video(tmp_path / f"{num}.mp4", num_frames=num) for num in (3, 5)]
    with pytest.raises(MediaError, match="has 3 frames"):
        file_stats(*paths)
