"""`vtok bench` measures, resumes and counts the bytes that it says; BD-rates are right where the answer is known."""

import csv
import json
import math
from pathlib import Path
from types import SimpleNamespace

import av
import pytest
from made_videos import write_video

from vtok.benchmark import bd_rate as bd
from vtok.benchmark import codecs, run, viewer
from vtok.benchmark.clips import make_reference
from vtok.benchmark.measurement import measure
from vtok.benchmark.progress import TimeLeft
from vtok.cli.app import app
from vtok.cli.benchmark import parse_integers
from vtok.measure.psnr_ssim import MAX_PSNR_DB
from vtok.media.reader import VideoReader
from vtok.media.writer import VideoWriter
from vtok.training.release import _figures

CRFS = (20, 30, 40, 50)
OPTIONS = ("--codecs", "x264-veryfast,x264-ultrafast", "--frames", "6", "--max-width", "96", "--no-vmaf")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    write_video(folder / "clip0.mkv", num_frames=8, size=(98, 66), codec="ffv1")
    write_video(folder / "clip1.mkv", num_frames=8, size=(192, 120), codec="ffv1")
    (folder / "notes.txt").write_text("not a video")
    return folder


@pytest.fixture
def bench(cli_runner, tmp_path):
    """Runs the command; the result's `report` is what results.json holds."""

    def bench(*arguments, exit_code=0, folder=tmp_path / "report"):
        result = cli_runner.invoke(app, ["bench", *map(str, arguments), "-o", str(folder)])
        assert result.exit_code == exit_code, (result.output, result.exception)
        path = folder / "results.json"
        report = json.loads(path.read_text()) if path.exists() else None
        return SimpleNamespace(output=result.output, stdout=result.stdout, stderr=result.stderr, report=report)

    return bench


def test_measures_and_resumes(clips, bench, monkeypatch, tmp_path):
    first = bench(clips, *OPTIONS, "--crfs", "20,30,40")
    assert "Mean over 2 clips" in first.output
    assert "bench: 12/12" in first.stderr
    second = bench(clips, *OPTIONS, "--crfs", "20,30,40,50")
    assert "bench: 4/4" in second.stderr, "the second run must add to the first, not repeat it"
    records = second.report["results"]
    assert len(records) == 2 * 2 * 4
    assert {(r["width"], r["height"]) for r in records} == {(96, 64), (96, 60)}
    assert {r["num_frames"] for r in records} == {6}
    for clip in ("clip0.mkv", "clip1.mkv"):
        curve = [r for r in records if r["clip"] == clip and r["codec"] == "x264-veryfast"]
        assert [r["setting"] for r in curve] == list(CRFS)
        for name in ("bpp", "psnr_yuv", "ssim_y"):
            values = [r[name] for r in curve]
            assert values == sorted(values, reverse=True), f"{name} must fall with the crf"
        num_pixels = 6 * curve[0]["width"] * curve[0]["height"]
        assert curve[0]["bpp"] == pytest.approx(8 * curve[0]["num_bytes"] / num_pixels)
    (clips / "clip0.mkv").rename(clips / "renamed.mkv")
    monkeypatch.setattr(run, "measure", refuse)
    third = bench(clips, *OPTIONS, "--crfs", "20-20,30,40,50", "--json")
    assert "bench:" not in third.stderr
    assert json.loads(third.stdout) == third.report
    assert {r["clip"] for r in third.report["results"]} == {"renamed.mkv", "clip1.mkv"}


def refuse(*_, **__):
    raise AssertionError("everything is measured already")


def test_goes_on_where_it_was_stopped(clips, bench, monkeypatch):
    measured = []

    def stop_at_the_fourth(*arguments, **options):
        measured.append(arguments[:2])
        if len(measured) == 4:
            raise KeyboardInterrupt
        return measure(*arguments, **options)

    monkeypatch.setattr(run, "measure", stop_at_the_fourth)
    stopped = bench(clips, *OPTIONS, "--crfs", "30,40", exit_code=130)
    assert stopped.report is None, "no report of a part"
    assert "bench: 5/5" in bench(clips, *OPTIONS, "--crfs", "30,40").stderr
    assert len(measured) == 9, "three of eight were kept, the fourth was begun anew"


@pytest.mark.parametrize("other", ["content", "frames", "width", "threads", "again"])
def test_what_was_measured_otherwise_is_not_reused(clips, bench, other):
    one = clips / "clip0.mkv"
    arguments = [one, "--codecs", "x264-ultrafast", "--crfs", "30", "--frames", "4", "--no-vmaf"]
    bench(*arguments)
    options = {
        "frames": ["--frames", "5"],
        "width": ["--max-width", "64"],
        "threads": ["--threads", "1"],
        "again": ["--again"],
    }
    if other == "content":
        write_video(one, num_frames=7, size=(98, 66), codec="ffv1")
    assert "bench: 1/1" in bench(*arguments, *options.get(other, [])).stderr


def test_other_weights_are_measured_anew():
    settings = run.Settings(settings={"vtok": [5]}, num_pictures=1)
    keys = set()
    clip = Path(__file__)
    for sha256 in ("0" * 64, "1" * 64):
        tokenizer = SimpleNamespace(name="tiny", weights_sha256=sha256)
        for job in run.list_jobs([clip], settings, tokenizer):
            keys.add(tuple(job[name] for name in ("codec", "build", "setting", "pictures")))
    assert len(keys) == 2 * (1 + 2), "a measurement, and the pictures of qualities 3 and 6, of each"


def test_csv_and_json_have_the_documented_keys(clips, bench, tmp_path):
    report = bench(clips / "clip1.mkv", *OPTIONS, "--crfs", "20,30,40").report
    assert set(report) == {
        "made", "settings", "results", "means", "bd_rates", "mean_bd_rates", "viewer", "left_out",
    }  # fmt: skip
    assert {"date", "vtok", "pyav", "model", "weights_sha256", "threads", "num_processors"} == set(report["made"])
    with (tmp_path / "report" / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(report["results"][0])
    assert {"clip", "clip_sha256", "codec", "setting", "bpp", "psnr_yuv", "ms_ssim_y", "vmaf"} <= set(rows[0])
    assert [float(row["bpp"]) for row in rows] == [r["bpp"] for r in report["results"]]
    (rate,) = report["bd_rates"]
    assert (rate["test"], rate["anchor"], rate["measure"]) == ("x264-veryfast", "x264-ultrafast", "psnr_yuv")
    assert report["mean_bd_rates"][0]["percent"] == rate["percent"]
    curves = bd.grouped(report["results"], lambda r: r["codec"])
    assert rate["percent"] == bd.bd_rate(curves["x264-ultrafast"], curves["x264-veryfast"]).percent


@pytest.mark.parametrize("codec", ["x265-ultrafast", "svtav1-12"])
def test_other_codecs_run_with_all_that_makes_them_good(clips, tmp_path, codec):
    reference = tmp_path / "reference.mp4"
    make_reference(clips / "clip1.mkv", reference, num_frames=8, max_width=640)
    fine, coarse = (
        measure(codec, crf, reference, tmp_path, tokenizer=None, threads=1, with_vmaf=False) for crf in (20, 45)
    )
    assert fine["num_frames"] == 8
    assert fine["num_bytes"] > coarse["num_bytes"]
    assert fine["psnr_yuv"] > coarse["psnr_yuv"] > 15
    assert coarse["num_bytes"] < coarse["num_file_bytes"]
    assert b"x265 (build" not in (tmp_path / f"{codec.partition('-')[0]}.mp4").read_bytes(), "its text would count"


def test_x264_counts_the_raw_stream_without_the_text_of_the_encoder(clips, tmp_path):
    reference = tmp_path / "reference.mp4"
    make_reference(clips / "clip1.mkv", reference, num_frames=8, max_width=640)
    coding = codecs.code_with_ffmpeg("x264", "medium", 30, reference, tmp_path, threads=2)
    raw = tmp_path / "raw.h264"
    with av.open(str(coding.decoded)) as source, av.open(str(raw), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    stream_bytes = raw.read_bytes()
    assert b"sliced_threads=0" in stream_bytes, "slices would cost x264 bits that its users do not pay"
    text = stream_bytes.index(b"x264 - core")
    num_text_bytes = stream_bytes.index(b"\0\0\1", text) - text
    assert num_text_bytes > 500
    # The framing differs by a few bytes: start codes there, lengths here.
    assert coding.num_bytes == pytest.approx(len(stream_bytes) - num_text_bytes, abs=60)
    assert coding.num_bytes < coding.num_file_bytes == coding.decoded.stat().st_size


def test_vtok_counts_every_byte_of_its_file(clips, tmp_path, monkeypatch):
    reference = tmp_path / "reference.mp4"
    make_reference(clips / "clip0.mkv", reference, num_frames=3, max_width=640)
    qualities = []

    def encode(source, target, *, quality, **_):
        qualities.append(quality)
        target.write_bytes(source.read_bytes() + bytes(1000))

    def decode(source, target, *, codec, **_):
        with VideoReader(reference) as reader, VideoWriter(target, reader.info, codec=codec) as writer:
            for frame in reader:
                writer.write(frame)

    monkeypatch.setattr(codecs, "encode_file", encode)
    monkeypatch.setattr(codecs, "decode_file", decode)
    record = measure("vtok", 7, reference, tmp_path, tokenizer=None, threads=1, with_vmaf=False)
    assert qualities == [7]
    assert record["num_bytes"] == reference.stat().st_size + 1000
    assert (record["psnr_yuv"], record["num_frames"]) == (MAX_PSNR_DB, 3)
    assert record["ms_ssim_y"] is None, "98x66 is too small"


def test_x264_is_fitted_to_a_number_of_bytes(clips, tmp_path):
    reference = tmp_path / "reference.mp4"
    make_reference(clips / "clip1.mkv", reference, num_frames=8, max_width=640)
    sizes = {
        crf: codecs.code_with_ffmpeg("x264", "veryfast", crf, reference, tmp_path, threads=1).num_bytes
        for crf in (0, 23.5, 51)
    }
    coding, crf = viewer.fit_x264(sizes[23.5], reference, tmp_path, preset="veryfast", threads=1)
    assert coding.num_bytes == pytest.approx(sizes[23.5], rel=0.03)  # of so few bytes not all can be had
    assert crf == pytest.approx(23.5, abs=1)
    # Beyond what it can do, the nearest that it can.
    assert viewer.fit_x264(10 * sizes[0], reference, tmp_path, preset="veryfast", threads=1)[1] == 0
    coding, crf = viewer.fit_x264(10, reference, tmp_path, preset="veryfast", threads=1)
    assert (coding.num_bytes, crf) == (sizes[51], 51)
    assert coding.decoded.stat().st_size == coding.num_file_bytes, "the file is that of the crf that is returned"


def test_frames_to_look_at_are_the_worst_and_the_median():
    psnr = [30.0] * 40
    psnr[10], psnr[11], psnr[30] = 20.0, 20.5, 21.0
    psnr[39] = 40.0
    median = viewer.median_frame(psnr)
    assert psnr[median] == 30
    assert viewer.choose_frames(psnr, 3) == [10, 30, median], "11 is too close to 10 to show anything new"
    assert viewer.choose_frames(psnr, 1) == [10]
    assert viewer.choose_frames([30.0], 4) == [0]


def test_measures_that_some_clips_lack_have_no_mean():
    plain = dict.fromkeys((*bd.MEANS, "num_frames", "encode_seconds", "decode_seconds", "setting"), 1.0)
    records = [
        plain | {"codec": "a", "clip_sha256": str(n), "ms_ssim_y": value, "vmaf": 80.0 + n}
        for n, value in enumerate((0.9, None))
    ]
    (mean,) = bd.mean_over_clips(records)
    assert (mean["ms_ssim_y"], mean["vmaf"], mean["vmaf_neg"]) == (None, 80.5, None)


def curve(codec, *points):
    return [{"codec": codec, "bpp": bpp, "psnr_yuv": psnr} for bpp, psnr in points]


def test_bd_rate_where_the_answer_is_known():
    anchor = curve("a", (0.02, 25), (0.04, 28), (0.08, 31), (0.16, 34))
    dearer = curve("b", *((r["bpp"] * 1.2, r["psnr_yuv"]) for r in reversed(anchor)))
    rate = bd.bd_rate(anchor, dearer)
    assert rate.percent == pytest.approx(20)
    assert (rate.overlap, rate.low, rate.high) == (1, 25, 34)
    assert bd.bd_rate(anchor, dearer[:3]).overlap == pytest.approx(6 / 9)
    useless = curve("b", (0.5, 30), (0.6, 34))
    assert bd.bd_rate(anchor, dearer + useless) == rate, "settings that others beat must not bend the curve"
    better = curve("b", *((r["bpp"], r["psnr_yuv"] + 20) for r in anchor))
    assert math.isnan(bd.bd_rate(anchor, better).percent)
    assert math.isnan(bd.bd_rate(anchor, dearer[:1]).percent), "one point is no curve"
    assert bd.bd_rate(anchor, dearer, "vmaf") is None


def test_bd_rate_over_ms_ssim_is_in_decibels():
    values = (0.9, 0.95, 0.98, 0.99)
    anchor = [{"bpp": 0.02 * 2**n, "ms_ssim_y": value} for n, value in enumerate(values)]
    dearer = [record | {"bpp": 1.5 * record["bpp"]} for record in anchor]
    rate = bd.bd_rate(anchor, dearer, "ms_ssim_y")
    assert rate.percent == pytest.approx(50)
    assert (rate.low, rate.high) == pytest.approx((10, 20))


def test_time_left_knows_that_kinds_of_jobs_differ():
    now = 0.0
    jobs = [{"codec": codec, "pictures": None} for codec in ("vtok", "x264", "vtok", "x264", "x265")]
    left = TimeLeft(jobs, clock=lambda: now)
    for seconds, job in zip((8, 2), jobs, strict=False):
        now += seconds
        left.done(job)
    assert left.seconds == 8 + 2 + 5
    for job in jobs[2:]:
        left.done(job)
    assert left.seconds == 0


def test_a_clip_that_fails_is_left_out_and_said(clips, bench):
    (clips / "broken.mp4").write_bytes(b"no video")
    arguments = (clips, "--codecs", "x264-ultrafast", "--crfs", "30,40", "--frames", 2, "--no-vmaf")
    result = bench(*arguments, exit_code=3)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("vtok: warning: left out: broken.mp4")]
    assert result.report["left_out"] == [line.removeprefix("vtok: warning: left out: ")]
    assert "Mean over 2 clips" in result.output


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("--codecs", "x262-fast"), "no codec 'x262-fast'"),
        (("--codecs", "x264"), "x264-PRESET"),
        (("--codecs", "svtav1-medium"), "no codec 'svtav1-medium'"),
        (("--crfs", "1,two"), "whole numbers"),
        (("--crfs", "52"), "0 to 51"),
        (("--av1-crfs", "64"), "0 to 63"),
        (("--qualities", "0-9"), "1 to 9"),
        (("--viewer-qualities", "10"), "1 to 9"),
        (("--qualities", "5-3"), "whole numbers"),
    ],
)
def test_bad_options_exit_with_2(clips, bench, arguments, hint):
    output = bench(clips, "--codecs", "x264-ultrafast", *arguments, exit_code=2).output
    assert hint in " ".join(output.replace("│", " ").split())


def test_a_missing_package_is_said_in_one_line(clips, cli_runner, tmp_path, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "bjontegaard" else find(name))
    result = cli_runner.invoke(app, ["bench", str(clips), "-o", str(tmp_path / "report")])
    assert str(result.exception) == ("bench: needs bjontegaard. pip install 'vtok[bench]' brings what is needed")
    assert not (tmp_path / "report").exists()


def test_a_folder_with_other_things_in_it_is_left_alone(clips, cli_runner, tmp_path):
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "index.html").write_text("mine")
    arguments = ["bench", str(clips), "-o", str(folder), "--codecs", "x264-ultrafast", "--crfs", "30"]
    result = cli_runner.invoke(app, arguments)
    assert f"{folder}: is there and holds no measured.json" in str(result.exception)
    assert (folder / "index.html").read_text() == "mine"
    (folder / "measured.json").write_text('{"records": [{"clip": 1}]}')
    assert "was not written by this version" in str(cli_runner.invoke(app, arguments).exception)


@pytest.mark.parametrize(("names", "cause"), [(["missing.mp4"], "does not exist"), (["."], "no videos")])
def test_clips_that_are_not_there(cli_runner, tmp_path, monkeypatch, names, cause):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    result = cli_runner.invoke(app, ["bench", *names, "-o", "report", "--codecs", "x264-ultrafast"])
    assert cause in str(result.exception)


def test_model_cards_take_their_figures_from_the_results(clips, bench, tmp_path):
    """`python -m vtok.training.release --figures report/results.json` puts them into a card."""
    report = bench(clips, "--codecs", "x264-ultrafast", "--crfs", "30,40", "--frames", 3, "--no-vmaf").report
    figures = _figures(tmp_path / "report" / "results.json")
    assert list(figures) == ["x264-ultrafast 30", "x264-ultrafast 40"]
    for mean, figure in zip(report["means"], figures.values(), strict=True):
        expected = {name: round(mean[name], 5) for name in ("bpp", "psnr_yuv", "ssim_y")}
        assert figure == {"num_clips": 2, **expected}


def test_lists_of_settings():
    assert parse_integers("1-3,7, 9,7", 1, 9) == [1, 2, 3, 7, 9]
