"""VMAF comes from an ffmpeg that has it; without one, or if it fails, all else is measured and the cause said."""

import numpy as np
import pytest
from made_videos import write_video

from vtok.errors import MediaError
from vtok.measure import stats as stats_module
from vtok.measure import vmaf
from vtok.measure.stats import file_stats
from vtok.video.frame import Frame

program = vmaf.find_ffmpeg()
needs_libvmaf = pytest.mark.skipif(program is None, reason=vmaf.MISSING)


def frames(*, w, h, noise, num=4):
    rng = np.random.default_rng(3)
    for t in range(num):
        rows, columns = np.mgrid[:h, :w]
        base = 128 + 70 * np.sin(columns / 7 + t / 3) * np.cos(rows / 11)
        y = (base + rng.normal(0, noise, (h, w))).clip(0, 255).astype(np.uint8)
        chroma = np.full((-(-h // 2), -(-w // 2)), 128, np.uint8)
        yield Frame(y, chroma, chroma, t)


def scores(first, second, *, w, h):
    with vmaf.VmafMeter(program, width=w, height=h) as meter:
        for pair in zip(first, second, strict=True):
            meter.add(*pair)
        return meter.finish()


@needs_libvmaf
@pytest.mark.parametrize(("w", "h"), [(160, 96), (131, 97)])
def test_falls_with_noise_and_nears_100_without(w, h):
    same, noisy, noisier = (
        scores(frames(w=w, h=h, noise=0), frames(w=w, h=h, noise=noise), w=w, h=h) for noise in (0, 6, 25)
    )
    assert len(same.default) == len(same.neg) == 4
    assert min(same.default) > 90
    assert np.mean(same.default) > np.mean(noisy.default) > np.mean(noisier.default)
    assert np.mean(noisy.neg) <= np.mean(noisy.default) + 1e-6


@needs_libvmaf
def test_the_order_is_reference_then_decoded():
    """Contrast that decoding added is forgiven, contrast that it lost is not."""
    dull = list(frames(w=160, h=96, noise=0))
    stretched = (((f.y.astype(int) - 128) * 5 // 4 + 128).clip(0, 255).astype(np.uint8) for f in dull)
    vivid = [Frame(y, f.u, f.v, f.pts) for y, f in zip(stretched, dull, strict=True)]
    enhanced, weakened = scores(dull, vivid, w=160, h=96), scores(vivid, dull, w=160, h=96)
    assert np.mean(enhanced.default) > np.mean(weakened.default)


@needs_libvmaf
def test_a_program_that_fails_says_why():
    small = list(frames(w=2, h=2, noise=0))
    with pytest.raises(MediaError, match=r"cannot measure VMAF: \w"):
        scores(small, small, w=2, h=2)


def test_everything_else_is_measured_without_a_program(tmp_path, monkeypatch):
    source = write_video(tmp_path / "a.mp4", num_frames=3)
    monkeypatch.setattr(stats_module, "find_ffmpeg", lambda: None)
    stats = file_stats(source, source, with_vmaf=True)
    assert (stats.vmaf, stats.vmaf_neg, stats.frames.vmaf, stats.vmaf_missing) == (None, None, None, vmaf.MISSING)
    assert stats.quality.psnr_yuv == 100


def test_a_program_without_the_filter_is_not_taken(tmp_path):
    fake = tmp_path / "ffmpeg"
    fake.write_text("#!/bin/sh\necho ' .. vmafmotion        V->V       Calculate the VMAF Motion score.'\n")
    fake.chmod(0o755)
    assert not vmaf._has_libvmaf(str(fake))
    fake.write_text("#!/bin/sh\necho ' .. libvmaf           VV->V      Calculate the VMAF.'\n")
    assert vmaf._has_libvmaf(str(fake))
    assert not vmaf._has_libvmaf(str(tmp_path / "missing"))
