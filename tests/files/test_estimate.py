"""What a file would come to, without writing it."""

import json

import pytest

from support.commands import documented_attributes, in_folder
from support.sources import panned, write_source
from support.videos import write_video_with_subtitles
from vtok.errors import ConfigError
from vtok.files.encode import encode_file
from vtok.files.estimate import MAX_SAMPLED, Estimate, estimate_file
from vtok.measure.stats import file_stats

GROUP_SECONDS = 0.32  # one latent frame


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Four seconds in thirteen groups, of which the later ones cost more."""
    frames = panned(48, 64, 50, speed=1) + panned(48, 64, 50, speed=4, seed=1)
    for t, frame in enumerate(frames):
        object.__setattr__(frame, "pts", t)
    return write_source(tmp_path_factory.mktemp("estimate") / "in.mkv", frames)


def test_samples_tell_what_the_file_comes_to(source, tiny_tokenizer, tmp_path):
    estimate = estimate_file(source, tokenizer=tiny_tokenizer, quality=6, keyframe_seconds=GROUP_SECONDS)
    path = tmp_path / "a.vtok"
    encoded = encode_file(source, path, tokenizer=tiny_tokenizer, quality=6, keyframe_seconds=GROUP_SECONDS)
    assert (estimate.num_frames, estimate.num_sampled_frames) == (100, 8 * MAX_SAMPLED)
    assert estimate.num_bytes == pytest.approx(encoded.num_bytes, rel=0.05)
    assert estimate.num_bytes != encoded.num_bytes
    assert estimate.kbit_per_second == pytest.approx(8e-3 * estimate.num_bytes / 4)
    stats = file_stats(source, path, tokenizer=tiny_tokenizer, with_vmaf=False).quality
    assert estimate.psnr_yuv == pytest.approx(stats.psnr_yuv, abs=0.5)
    assert estimate.ssim_y == pytest.approx(stats.ssim_y, abs=0.02)
    assert estimate.encode_seconds > 0


def test_of_a_short_video_the_estimate_is_exact(source, tiny_tokenizer, tmp_path):
    options = {"tokenizer": tiny_tokenizer, "keyframe_seconds": GROUP_SECONDS, "start_seconds": 1, "end_seconds": 2}
    estimate = estimate_file(source, **options)
    assert estimate.num_sampled_frames == estimate.num_frames == 25
    assert estimate.num_bytes == encode_file(source, tmp_path / "a.vtok", **options).num_bytes


def test_filters_and_subtitles_count(tiny_tokenizer, tmp_path):
    cues = [(t, 90, b"words " * 40) for t in range(0, 1500, 100)]
    source = write_video_with_subtitles(tmp_path / "in.mkv", [("subrip", cues)])
    options = {"tokenizer": tiny_tokenizer, "scale": "32:-2", "fps": 12, "crop": "48:48"}
    estimate = estimate_file(source, **options)
    encoded = encode_file(source, tmp_path / "a.vtok", **options)
    assert (estimate.num_frames, estimate.num_track_bytes) == (encoded.num_frames, encoded.num_track_bytes)
    assert estimate.num_bytes == encoded.num_bytes
    assert encoded.num_track_bytes > 15 * 240


def test_a_goal_has_an_estimate_too(source, tiny_tokenizer):
    options = {"tokenizer": tiny_tokenizer, "keyframe_seconds": GROUP_SECONDS, "end_seconds": 2}
    size = estimate_file(source, quality=4, **options).num_bytes
    estimate = estimate_file(source, size=size, **options)
    assert estimate.quality == pytest.approx(4, abs=0.3)
    assert 0.95 * size <= estimate.num_bytes <= 1.02 * size
    with pytest.raises(ConfigError, match="500 bytes cannot be reached"):
        estimate_file(source, size=500, **options)
    with pytest.raises(ConfigError, match="give one of"):
        estimate_file(source, size=500, psnr=30)


def test_the_command_line_estimates(source, vtok):
    only = ("--end", "0.5", "--dry-run")
    outcome = vtok("encode", source, *only, "--json", "--quiet")
    assert (outcome.code, outcome.err) == (0, "")
    estimate = json.loads(outcome.out)
    assert list(estimate) == documented_attributes(Estimate)
    assert estimate["num_frames"] == 13
    told = vtok("encode", source, "a.vtok", *only, "--quality", "5")
    assert f"about {estimate['num_bytes']} bytes, " in told.out
    assert in_folder() == []
    assert vtok("encode", source, "a.vtok", "b.vtok", *only).code == 2
    assert vtok("decode", source, "a.mp4", "--dry-run").code == 2
