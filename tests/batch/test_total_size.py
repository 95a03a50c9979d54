"""A size for a whole batch: divided so that all files have about the same quality, and never exceeded."""

from dataclasses import replace

import numpy as np
import pytest

from support.batches import SETTINGS, EngineHere, jobs_of
from support.sources import panned, write_source
from vtok.batch.plan import Status
from vtok.batch.workers import BatchSettings, encode_batch
from vtok.container.verification import is_sound
from vtok.errors import ConfigError
from vtok.files.encode import encode_with
from vtok.files.inspection import file_info
from vtok.model.registry import DEFAULT_MODEL

NAMES = ("a.mkv", "b.mkv", "c.mkv")
OPTIONS = replace(SETTINGS, verify=False)
# Groups of one length; the tiny model spends no bits on noise at the lowest quality.
PLAIN = replace(OPTIONS, scene_cuts=False, model=DEFAULT_MODEL)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Three videos of other lengths and speeds, and what they come to at quality 6."""
    folder = tmp_path_factory.mktemp("sources")
    total = 0
    for name, num_frames, speed in zip(NAMES, (48, 80, 112), (0, 2, 5), strict=True):
        write_source(folder / name, panned(48, 64, num_frames, speed=speed, seed=speed))
        total += encode_with(replace(OPTIONS, quality=6), folder / name, folder / "a.vtok", overwrite=True).num_bytes
    return folder, total


def test_the_size_is_kept_and_qualities_are_alike(sources, tmp_path):
    folder, total = sources
    (folder / "broken.mkv").write_text("not a video")
    jobs = jobs_of(folder, tmp_path, ("broken.mkv", *NAMES))
    engine = EngineHere()
    batch = encode_batch(jobs, engine, OPTIONS, BatchSettings(total_size=total, split_seconds=0.5))
    assert [file.status for file in batch.files] == [Status.FAILED, Status.DONE, Status.DONE, Status.DONE]
    assert "broken.mkv: " in batch.files[0].error
    paths = [job.target for job in jobs[1:]]
    assert 0.97 * total <= sum(path.stat().st_size for path in paths) <= total
    qualities = [group["quality"] for path in paths for group in file_info(path).groups]
    assert max(abs(quality - 6) for quality in qualities) < 1.6  # the last group of a file takes up what is left
    for file, path in zip(batch.files[1:], paths, strict=True):
        assert file.result["goal"]["wanted"] >= path.stat().st_size
        of_file = [group["quality"] for group in file_info(path).groups][:-1]
        assert of_file == pytest.approx([6] * len(of_file), abs=0.7)
    looked = [name for function, name in engine.tasks if function == "price"]
    assert len(looked) <= 4 * len(NAMES) + 1, "a file that cannot be read is asked once"


def test_what_is_there_already_counts(sources, tmp_path):
    folder, total = sources
    jobs = jobs_of(folder, tmp_path, NAMES)
    encode_with(replace(OPTIONS, quality=8), jobs[0].source, jobs[0].target)
    batch = encode_batch(jobs, EngineHere(), OPTIONS, BatchSettings(total_size=total), skip=is_sound)
    assert [file.status for file in batch.files] == [Status.SKIPPED, Status.DONE, Status.DONE]
    assert 0.97 * total <= sum(job.target.stat().st_size for job in jobs) <= total


@pytest.mark.parametrize("total", [2000, 1e9])
def test_a_size_that_cannot_be_reached_is_refused_before_anything_is_written(total, sources, tmp_path):
    folder, _ = sources
    message = rf"{total:.0f} bytes for all files cannot be reached: the qualities of 3 files come to about \d+ to \d+"
    with pytest.raises(ConfigError, match=message):
        encode_batch(jobs_of(folder, tmp_path, NAMES), EngineHere(), OPTIONS, BatchSettings(total_size=total))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def deceptive(tmp_path_factory):
    """A video of ten groups, of which the two that samples miss take most of the bytes, and one of a single group.

    Also what the two come to at the lowest quality.
    """
    folder = tmp_path_factory.mktemp("deceptive")
    still, noise = panned(48, 64, 1, speed=0)[0], np.random.default_rng(0)
    frames = [
        replace(still, pts=t, y=noise.integers(16, 235, still.y.shape, np.uint8) if t // 16 in (2, 7) else still.y)
        for t in range(160)
    ]
    write_source(folder / "a.mkv", frames)
    write_source(folder / "b.mkv", panned(48, 64, 16, speed=2))
    least = [
        encode_with(replace(PLAIN, quality=1), folder / name, folder / f"{name}.vtok").num_bytes for name in NAMES[:2]
    ]
    return folder, sum(least)


def test_each_file_gets_what_its_lowest_quality_needs(deceptive, tmp_path):
    folder, least = deceptive
    for total in (least, round(1.1 * least)):
        jobs = jobs_of(folder, tmp_path / str(total), NAMES[:2])
        batch = encode_batch(jobs, EngineHere(), PLAIN, BatchSettings(total_size=total))
        assert [file.status for file in batch.files] == [Status.DONE, Status.DONE], batch.files
        assert 0.97 * total <= sum(job.target.stat().st_size for job in jobs) <= total


def test_what_is_less_than_all_files_need_is_refused_with_exactly_that(deceptive, tmp_path):
    folder, least = deceptive
    with pytest.raises(ConfigError, match=rf"the qualities of 2 files come to about {least} to \d+ bytes"):
        encode_batch(jobs_of(folder, tmp_path, NAMES[:2]), EngineHere(), PLAIN, BatchSettings(total_size=least - 1))
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_takes_a_total(sources, vtok, tmp_path):
    folder, total = sources
    options = ("--model", OPTIONS.model, "--keyframe-seconds", "0.64", "--quiet")
    arguments = [*(folder / name for name in NAMES[:2]), "-o", "out", *options]
    assert vtok("encode", *arguments, "--total-size", str(total // 2)).code == 0
    assert sum(path.stat().st_size for path in (tmp_path / "out").iterdir()) <= total // 2
    both = vtok("encode", *arguments, "--total-size", "1MB", "--psnr", "30")
    assert both.code == 2
    assert "--psnr and --total-size are given" in " ".join(both.err.replace("│", " ").split())
