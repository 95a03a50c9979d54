"""The scripts of `benchmarks/`: that they run, and that what they take for a measure is one."""

import json
import subprocess
import sys

import commands
import goals
import numpy as np
import performance
import pytest
import stages
import temporal
import typer

from support.videos import ROOT, write_video
from vtok.media.reader import VideoReader
from vtok.video.frame import Frame


def test_every_step_is_counted_once(tiny_tokenizer, tmp_path):
    video, clock = write_video(tmp_path / "in.mp4", num_frames=24), stages.Clock()
    tokens, num_bytes = stages.through_files(tiny_tokenizer, video, 5, tmp_path, 20, clock)
    assert len(tokens) == 3
    assert num_bytes > 0
    for command, steps in stages.STEPS.items():
        assert all(clock.wall[step] > 0 for step in steps)
        shares = clock.shares(command)
        assert sum(shares.values()) == pytest.approx(1)
        assert clock.entropy_coding_share(command) == sum(
            shares[step] for step in steps if step in stages.ENTROPY_CODING
        )
    with VideoReader(tmp_path / "decoded.mp4") as reader:
        assert len(list(reader)) == 20


def test_codes_are_those_of_one_video_and_reading_is_timed_of_another(tiny_tokenizer, tmp_path, monkeypatch):
    videos = [write_video(tmp_path / f"{crf}.mp4", options={"crf": crf}) for crf in ("5", "45")]
    read, clock = stages.read_video, stages.Clock()
    monkeypatch.setattr("stages.perf_counter", lambda: now[0])
    now = [0.0]

    def slowly(video, num_frames):
        now[0] += 1 + videos.index(video)
        return read(video, num_frames)

    alone, _ = stages.through_files(tiny_tokenizer, videos[0], 5, tmp_path, 16, stages.Clock())
    monkeypatch.setattr("stages.read_video", slowly)
    tokens, _ = stages.through_files(tiny_tokenizer, videos[0], 5, tmp_path, 16, clock, timed_video=videos[1])
    assert clock.wall["read video"] == 2
    for a, b in zip(tokens, alone, strict=True):
        assert np.array_equal(a.codes, b.codes)


def test_a_step_within_another_is_taken_from_it(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("stages.perf_counter", lambda: now[0])
    clock = stages.Clock()

    class Owner:
        def work(self):
            now[0] += 3
            return "done"

    with clock.counting("outer"), clock.splitting(Owner, "work", "inner", within="outer"):
        now[0] += 1
        assert Owner().work() == "done"
    assert clock.wall == {"outer": 1, "inner": 3}
    assert Owner.work.__name__ == "work"


def test_still_scenes_cost_less_after_the_first_chunk(tiny_tokenizer, tmp_path):
    with VideoReader(write_video(tmp_path / "in.mp4", num_frames=1)) as reader:
        info, first = reader.info, next(iter(reader))
    decoded, (first_bytes, all_bytes) = temporal.coded(tiny_tokenizer, info, list(temporal.still(first, 0.0)), 5)
    assert len(decoded) == temporal.NUM_STILL_FRAMES
    assert 0 < first_bytes < all_bytes < 2 * first_bytes
    assert temporal.cost_of_repeats(80, 80 + 7 * 30) == 3 / 8


def test_the_measures_of_chunk_borders():
    def flat(level, pts):
        return Frame(*(np.full(size, level, np.uint8) for size in ((4, 4), (2, 2), (2, 2))), pts=pts)

    frames = [flat(10 * (t // 8) + t, t) for t in range(24)]
    assert temporal.change_at_borders(frames) == 11
    decoded = [flat(10 * (t // 8) + t + (t % 8 == 0), t) for t in range(24)]
    psnr = temporal.psnr_by_position(frames, decoded)
    assert psnr[0] == pytest.approx(20 * np.log10(255))
    assert min(psnr[1:]) > psnr[0] + 20


def test_a_clip_is_played_to_and_fro_and_a_run_is_measured(tmp_path):
    source = write_video(tmp_path / "in.mp4", num_frames=5)
    commands.make_clip(source, tmp_path / "clip.mp4", width=32, height=16, num_frames=12)
    with VideoReader(tmp_path / "clip.mp4") as reader:
        frames = list(reader)
        assert (reader.info.width, reader.info.height, len(frames)) == (32, 16, 12)
        assert float(reader.info.average_rate) == 25
    assert np.abs(frames[1].y.astype(int) - frames[7].y).mean() < np.abs(frames[1].y.astype(int) - frames[4].y).mean()
    run = commands.run_vtok(["--help"])
    assert 0 < run.processor < 10
    assert 5 < run.peak_mb < 200, "torch is not loaded, and the memory of this process is not counted"
    with pytest.raises(SystemExit):
        commands.run_vtok(["no-such-command"])


def test_costs_are_counted_from_the_layers(tiny_tokenizer):
    counts = performance.multiplications_per_pixel(tiny_tokenizer)
    transform = 12 * 768
    block = 8 * 8 * 9 + 8 * 8
    assert counts["encoder"] == pytest.approx((transform + 2 * 12 * 8 + 2 * block) / 512 / 1000)


def test_goals_are_measured_against_a_plain_encode(tiny_tokenizer, tmp_path):
    clip = write_video(tmp_path / "in.mp4", num_frames=24, size=(128, 96))
    asked = goals.parse_goals("psnr=20,ssim=0.9999")
    assert [goal.kind for goal in asked] == ["psnr", "ssim"]
    rows = list(goals.measured(clip, asked, tiny_tokenizer, tmp_path))
    assert len(rows) == len(goals.SHARES) + 2
    assert all(row.seconds > 0 and row.plain_seconds == rows[0].plain_seconds for row in rows)
    assert all(row.reached is None or row.reached[0].isdigit() for row in rows[:2])
    assert rows[2].reached is None or rows[2].reached.startswith("PSNR-YUV 20.")
    assert rows[-1].reached is None
    lines = goals.table(rows).splitlines()
    assert len(lines) == 2 + len(rows)
    assert {line.count("|") for line in lines} == {len(goals.TITLES) + 1}
    assert "cannot be reached" in lines[-1]
    for text in ("loudness=3", "psnr=loud", "psnr"):
        with pytest.raises(typer.BadParameter):
            goals.parse_goals(text)


@pytest.mark.parametrize(
    "script", ["performance.py", "temporal.py", "entropy_coding.py", "tokens.py", "goals.py", "effort.py"]
)
def test_scripts_explain_themselves(script):
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / script, "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "Usage" in done.stdout


def test_the_page_on_performance_is_written_from_results(tmp_path):
    from generate_performance import page

    speed = {"frames_per_second": 40.0, "slowest_frames_per_second": 39.0, "fastest_frames_per_second": 41.0}
    whole = speed | {"frames": 8, "wall_seconds": 1.5, "processor_seconds": 2.5, "peak_mb": 123.4}
    step = {"quality": 5, "precision": "bfloat16", "wall_ms": 1.0, "processor_ms": 2.0}
    results = {
        "machine": performance.describe() | {"peak_gflops": {"bfloat16": 400.0, "float32": 200.0}},
        "thousand_multiplications_per_pixel": {"encoder": 5.0, "decoder": 9.0, "prior": 4.0},
        "commands": [
            {"what": f"vtok {command}", "size": "640x360", "precision": precision} | whole
            for command in ("encode", "decode")
            for precision in ("bfloat16", "float32")
        ],
        "codecs": [{"what": "x264 medium encode"} | speed, {"what": "SVT-AV1 preset 8", "not_run": "no such codec"}],
        "networks": {"vtok": {"encode": speed, "decode": speed}, "magvit2-pytorch": {"not_run": "no environment"}},
        "start": [{"what": "vtok info"} | whole],
        "lengths": [{"what": "vtok encode", "size": "160x96"} | whole],
        "stages": [
            step | {"what": "encode", "step": "analysis", "share": 0.75, "gflops": 100.0, "peak_gflops": 400.0},
            step | {"what": "encode", "step": "range encoding", "share": 0.25},
            step | {"what": "decode", "step": "range decoding", "share": 0.125},
        ],
    }
    text = page(json.loads(json.dumps(results)))
    for part in (
        "| 100 | 25% |",
        "not run: no such codec",
        "not run: no environment",
        "| 25.0% | 12.5% |",
        "100% of it",
    ):
        assert part in text
    results["commands"] = [r for r in results["commands"] if r["precision"] == "float32"]
    assert "All in float32" in page(results)
