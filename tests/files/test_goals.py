"""Files that come to a size, a bitrate, a ratio, a PSNR, an SSIM or a VMAF."""

import json
from dataclasses import replace

import numpy as np
import pytest

from support.sources import panned, write_source
from vtok.codec.compressed_video import CompressedVideo
from vtok.errors import ConfigError
from vtok.files.encode import encode_file
from vtok.files.goals import Goal, goal_of
from vtok.files.inspection import file_info
from vtok.files.options import EncodeOptions
from vtok.files.passes import Passes
from vtok.files.trials import Coder, Forecast, solved
from vtok.measure.stats import file_stats
from vtok.measure.vmaf import MISSING, VmafMeter, find_ffmpeg
from vtok.model.tokenizer import VideoTokenizer

GROUP_SECONDS = 0.64  # two latent frames


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Ten seconds, of which the second half moves faster and is another scene."""
    frames = panned(48, 64, 125, speed=1) + panned(48, 64, 125, speed=4, seed=1)
    for t, frame in enumerate(frames):
        object.__setattr__(frame, "pts", t)
    return write_source(tmp_path_factory.mktemp("goals") / "in.mkv", frames)


@pytest.fixture(scope="module")
def pretrained():
    return VideoTokenizer.from_pretrained()


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({"size": "25MB"}, 25e6), ({"size": "24 MiB"}, 24 * 2**20), ({"size": "1.5kB"}, 1500), ({"size": 4000}, 4000),
        ({"size": "123"}, 123), ({"bitrate": "800k"}, 8e5), ({"bitrate": "1.5M"}, 1.5e6), ({"psnr": "36"}, 36),
        ({"psnr": np.float32(36)}, 36), ({"ssim": ".97"}, 0.97), ({"ratio": 20}, 20),
    ],
)  # fmt: skip
def test_goals_are_numbers_or_text(given, value):
    assert goal_of(**given, **({"size": None} if "size" not in given else {})) == Goal(*given, value)
    assert goal_of(psnr=None, size=None) is None


def test_a_goal_is_reached_with_less_error_by_more_effort(tmp_path, pretrained):
    frames = panned(64, 96, 16, speed=2.25)
    path, reached = write_source(tmp_path / "in.mkv", frames), []
    for effort in ("normal", "high"):
        encode_file(path, tmp_path / "out.vtok", psnr=38, effort=effort, tokenizer=pretrained, overwrite=True)
        reached.append((tmp_path / "out.vtok").stat().st_size)
    assert reached[1] < reached[0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": "25XB"}, "size is '25XB'; expected bytes, such as 25MB"), ({"size": 0}, "size is 0; expected"),
        ({"size": "-3MB"}, "size is '-3MB'"), ({"size": float("nan")}, "size is nan"), ({"size": []}, r"size is \[\]"),
        ({"bitrate": "fast"}, "expected bits per second"), ({"ssim": 1.0}, "above 0 and below 1"),
        ({"psnr": "36dB"}, "expected dB, such as 36"), ({"psnr": 120}, "psnr is 120"), ({"ratio": "20k"}, "ratio is"),
        ({"size": 1, "psnr": 30}, "size and psnr are given: give one of size, bitrate"),
    ],
)  # fmt: skip
def test_goals_that_make_no_sense_are_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        goal_of(**given)


def encode(source, target, tokenizer, **options):
    options = {"keyframe_seconds": GROUP_SECONDS, **options}
    # Goals work alike with every effort; the least takes half the time.
    result = encode_file(source, target, tokenizer=tokenizer, overwrite=True, effort="fast", **options)
    assert result.num_bytes == target.stat().st_size
    if result.goal:
        assert result.goal.qualities == [group["quality"] for group in file_info(target).groups]
    return result


@pytest.mark.parametrize("share", [0.5, 1.3])
def test_a_size_is_used_and_never_exceeded(share, source, tiny_tokenizer, tmp_path):
    size = round(share * encode(source, tmp_path / "a.vtok", tiny_tokenizer).num_bytes)
    result = encode(source, tmp_path / "a.vtok", tiny_tokenizer, size=size)
    assert 0.97 * size <= result.num_bytes <= size
    assert (result.goal.kind, result.goal.wanted) == ("size", size)
    assert result.goal.reached == result.num_bytes


def test_a_bitrate_and_a_ratio_are_kept(source, tiny_tokenizer, tmp_path):
    path, part = tmp_path / "a.vtok", {"end_seconds": 4}
    size = round(0.7 * encode(source, path, tiny_tokenizer, **part).num_bytes)
    bitrate = encode(source, path, tiny_tokenizer, bitrate=8 * size / 4, **part)
    assert 0.97 * size <= bitrate.num_bytes <= size
    assert bitrate.kbit_per_second <= 8e-3 * size / 4
    ratio = 100 * 48 * 64 * 1.5 / size
    assert 0.97 * size <= encode(source, path, tiny_tokenizer, ratio=ratio, **part).num_bytes <= size


def test_a_psnr_and_an_ssim_are_met(source, pretrained, tmp_path):
    path = tmp_path / "a.vtok"
    part = {"start_seconds": 3, "end_seconds": 7}  # of both scenes
    result = encode(source, path, pretrained, psnr=31, **part)
    stats = file_stats_of(path, pretrained, tmp_path, first=75).quality
    assert stats.psnr_yuv == pytest.approx(31, abs=0.1)
    assert result.goal.reached == pytest.approx(stats.psnr_yuv, abs=0.001)
    result = encode(source, path, pretrained, ssim=0.93, **part)
    stats = file_stats_of(path, pretrained, tmp_path, first=75).quality
    assert stats.ssim_y == pytest.approx(0.93, abs=0.002)
    assert result.goal.reached == pytest.approx(stats.ssim_y, abs=0.0001)


@pytest.mark.skipif(find_ffmpeg() is None, reason=MISSING)
def test_a_vmaf_is_met(source, pretrained, tmp_path):
    path = tmp_path / "a.vtok"
    result = encode(source, path, pretrained, vmaf=60, end_seconds=3, keyframe_seconds=1.28)
    stats = file_stats_of(path, pretrained, tmp_path, with_vmaf=True)
    assert stats.vmaf == pytest.approx(60, abs=0.5)
    assert result.goal.reached == pytest.approx(60, abs=0.5)


def test_without_libvmaf_there_is_no_vmaf(source, tiny_tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr("vtok.files.steering.find_ffmpeg", lambda: None)
    with pytest.raises(ConfigError, match="a VMAF cannot be reached: no ffmpeg with libvmaf"):
        encode(source, tmp_path / "a.vtok", tiny_tokenizer, vmaf=60)


def file_stats_of(path, tokenizer, folder, *, first=0, with_vmaf=False):
    """The measures over the frames that the file has, from the first one on."""
    with CompressedVideo(path, tokenizer=tokenizer) as video:
        num_frames = video.index.num_frames
    frames = panned(48, 64, 125, speed=1) + panned(48, 64, 125, speed=4, seed=1)
    reference = write_source(
        folder / "part.mkv", [replace(frame, pts=t) for t, frame in enumerate(frames[first : first + num_frames])]
    )
    return file_stats(reference, path, tokenizer=tokenizer, with_vmaf=with_vmaf)


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        ({"size": 500}, r"500 bytes cannot be reached: its qualities come to about \d+ bytes to \d+ bytes"),
        ({"size": "1GB"}, r"1000000000 bytes cannot be reached: its qualities come to about \d+ bytes to \d+ bytes"),
        ({"ratio": 5000}, r"ratio 5000.0 cannot be reached: its qualities come to about ratio [\d.]+ to ratio [\d.]+"),
        ({"psnr": 90}, r"PSNR-YUV 90.00 dB cannot be reached: .* about PSNR-YUV [\d.]+ dB to PSNR-YUV [\d.]+ dB"),
    ],
)
def test_what_cannot_be_reached_is_refused_with_what_can(goal, message, source, tiny_tokenizer, tmp_path):
    with pytest.raises(ConfigError, match=message):
        encode(source, tmp_path / "a.vtok", tiny_tokenizer, end_seconds=2, **goal)
    assert list(tmp_path.iterdir()) == []


def test_a_goal_that_falls_between_two_files_is_told(tiny_tokenizer, tmp_path):
    one = write_source(tmp_path / "one.mkv", panned(16, 16, 1, speed=1))
    smallest = encode(one, tmp_path / "a.vtok", tiny_tokenizer, quality=1)
    result = encode(one, tmp_path / "a.vtok", tiny_tokenizer, size=smallest.num_bytes + 1)
    assert result.num_bytes <= smallest.num_bytes + 1
    below = encode(one, tmp_path / "a.vtok", tiny_tokenizer, size=round(smallest.num_bytes * 1.02))
    assert below.num_bytes >= 0.97 * below.goal.wanted or "the goal is not met exactly" in below.notices[-1]


def test_progress_names_the_passes(source, tiny_tokenizer, tmp_path):
    passes = []

    def progress(info, activity=""):
        passes.append([activity, 0])

        def advance(frames):
            passes[-1][1] += frames

        return advance

    size = encode(source, tmp_path / "a.vtok", tiny_tokenizer, end_seconds=2, quality=5.5).num_bytes
    result = encode(source, tmp_path / "a.vtok", tiny_tokenizer, end_seconds=2, size=size, progress=progress)
    assert len(passes) == result.goal.num_passes
    assert passes[0] == ["look", 50]
    assert all(each == ["price", 50] for each in passes[1:-2])
    assert passes[-2:] == [["encode", 50], ["write", 50]]


def test_the_command_line_takes_goals(source, vtok, tmp_path):
    encoded = vtok("encode", source, tmp_path / "a.vtok", "--end", "1", "--size", "3kB", "--json", "--quiet")
    assert encoded.code == 0, encoded.err
    goal = json.loads(encoded.out)["goal"]
    assert (goal["kind"], goal["wanted"], len(goal["qualities"])) == ("size", 3000, 1)
    assert 2910 <= goal["reached"] <= 3000
    both = vtok("encode", source, tmp_path / "b.vtok", "--size", "8kB", "--quality", "5")
    assert both.code == 2
    assert "--quality and --size are given" in " ".join(both.err.replace("│", " ").split())


def test_forecasts_interpolate_logarithms_and_take_the_nearest_group():
    forecast = Forecast([8, 8, 16])
    forecast.add(0, 3.0, 8 * np.array([100.0, 4, 4, 4, 0.1, 40]))
    forecast.add(0, 5.0, 8 * np.array([400.0, 1, 1, 1, 0.025, 10]))
    np.testing.assert_allclose(forecast.costs([0], 4.0), 8 * np.array([200.0, 2, 2, 2, 0.05, 20]))
    np.testing.assert_allclose(forecast.costs([1, 2], 4.0), 24 * np.array([200.0, 2, 2, 2, 0.05, 20]))
    forecast.know({2: (4.0, 16 * np.array([50.0, 2, 2, 2, 0.05, 20]))})
    assert forecast.costs([2], 5.0)[0] == pytest.approx(16 * 100)
    assert solved(lambda q: float(forecast.costs([0], q)[0]), 8 * 200.01, 1, 9) == 4
    assert solved(lambda q: q, 0.5, 1, 9) == 1
    assert solved(lambda q: q, 20, 1, 9) == 9


@pytest.fixture
def skewed(monkeypatch):
    """Makes each pass over all groups find other costs than the one before, so that no forecast holds."""
    passes = []

    def skew(factor):
        costs_of, groups_of = Coder.costs, Passes.groups

        def costs(self, *arguments):
            costs = costs_of(self, *arguments)
            costs[0] *= factor ** passes.count("encode")
            return costs

        def groups(self, activity, wanted=None):
            passes.append(activity)
            return groups_of(self, activity, wanted)

        monkeypatch.setattr(Coder, "costs", costs)
        monkeypatch.setattr(Passes, "groups", groups)

    yield skew
    assert passes.count("encode") == 3


def test_a_size_that_is_not_kept_is_refused_and_nothing_is_left(source, tiny_tokenizer, tmp_path, skewed):
    skewed(3)
    with pytest.raises(
        ConfigError, match=r"comes to \d+ bytes in place of 1700 bytes, after 3 attempts. Give a quality"
    ):
        encode(source, tmp_path / "a.vtok", tiny_tokenizer, end_seconds=2, size=1_700)
    assert list(tmp_path.iterdir()) == []


def test_a_size_that_is_not_used_up_is_told(source, tiny_tokenizer, tmp_path, skewed):
    skewed(0.3)
    result = encode(source, tmp_path / "a.vtok", tiny_tokenizer, end_seconds=2, size=1_700)
    assert result.goal.reached < 0.97 * 1_700
    assert result.notices == [f"the goal is not met exactly: {result.goal.summary()}"]


@pytest.mark.skipif(find_ffmpeg() is None, reason=MISSING)
def test_the_vmaf_of_groups_is_that_of_the_whole(source, pretrained):
    """Each group sees the frames around it, so its frames have the motion that they have in the video."""
    options = EncodeOptions(keyframe_seconds=0.32, end_seconds=2)
    passes = Passes(source, source, options, pretrained.pretrained, None)
    scores, alone, pairs = [], [], []
    for group, info, _ in passes.groups("price"):
        coder = passes.coder(info, sees=True, vmaf_program=find_ffmpeg())
        coded = coder.encode(group.chunks, 5, 0)
        scores.append(coder.costs(group.chunks, coded, group.around)[5])
        alone.append(coder.costs(group.chunks, coded)[5])
        pairs += coder.pairs(group.chunks, coded)
    with VmafMeter(find_ffmpeg(), width=64, height=48) as meter:
        for pair in pairs:
            meter.add(*pair)
        whole = 100 - np.mean(meter.finish().default)
    assert sum(scores) / len(pairs) == pytest.approx(whole, abs=0.01)
    assert abs(sum(alone) / len(pairs) - whole) > 0.3
