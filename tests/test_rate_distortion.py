"""The benchmark runs, resumes, counts the bytes that it says, and its BD-rate is right where the answer is known."""

import json
import math
import sys
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from vtok.media import Frame, VideoInfo, VideoReader, VideoWriter
from vtok.metrics import MAX_PSNR_DB

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import measured_codecs
import rate_distortion
import rate_distortion_report as report

CRFS = (20, 30, 40, 50)
ARGUMENTS = ("--codecs", "x264-veryfast,x264-ultrafast", "--frames", "6", "--max-width", "96")

app = typer.Typer()
app.command()(rate_distortion.benchmark)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    for n, (w, h) in enumerate(((97, 65), (192, 120))):
        rng = np.random.default_rng(n)
        base = np.linspace(30, 220, w) + rng.normal(0, 20, (h, w))
        chroma = np.full((-(-h // 2), -(-w // 2)), 110, np.uint8)
        info = VideoInfo(width=w, height=h, time_base=Fraction(1, 1000))
        with VideoWriter(folder / f"clip{n}.mkv", info, codec="ffv1") as writer:
            for t in range(8):
                y = np.roll(base, 2 * t, axis=1).clip(0, 255).astype(np.uint8)
                writer.write(Frame(y, chroma, chroma, 40 * t))
    return folder


def run(*arguments: object, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == exit_code, result.output
    return result.output


def test_measures_and_resumes(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, plot = tmp_path / "rd.json", tmp_path / "rd.png"
    arguments = (clips, *ARGUMENTS, "--json", results)
    output = run(*arguments, "--crfs", "20,30,40")
    assert "Mean over 2 clips" in output
    run(*arguments, "--crfs", "20,30,40,50", "--plot", plot)
    assert plot.read_bytes().startswith(b"\x89PNG")
    records = json.loads(results.read_text())["results"]
    assert len(records) == 2 * 2 * 4, "the second run must add to the first, not repeat or replace it"
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

    def refuse(*_: object) -> None:
        raise AssertionError("everything is measured already")

    monkeypatch.setattr(rate_distortion, "measure", refuse)
    lines = run(*arguments, "--crfs", "20-20,30,40,50", "--csv").splitlines()
    assert lines[-16].split(",")[:2] == [records[0]["clip"], records[0]["clip_sha256"]]


def test_x264_counts_the_raw_stream_without_the_text_of_the_encoder(clips: Path, tmp_path: Path) -> None:
    reference = tmp_path / "reference.mp4"
    measured_codecs.make_reference(clips / "clip1.mkv", reference, num_frames=8, max_width=640)
    coding = measured_codecs.code_with_x264("medium", 30, reference, tmp_path)
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


def test_vtok_counts_every_byte_of_its_file(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = tmp_path / "reference.mp4"
    measured_codecs.make_reference(clips / "clip0.mkv", reference, num_frames=3, max_width=640)
    qualities = []

    class LosslessCodec(ModuleType):
        @staticmethod
        def encode_file(source: Path, target: Path, *, quality: int) -> None:
            qualities.append(quality)
            target.write_bytes(source.read_bytes() + bytes(1000))

        @staticmethod
        def decode_file(source: Path, target: Path, *, codec: str) -> None:
            with VideoReader(reference) as reader, VideoWriter(target, reader.info, codec=codec) as writer:
                for frame in reader:
                    writer.write(frame)

    monkeypatch.setitem(sys.modules, "vtok.codec", LosslessCodec("vtok.codec"))
    record = measured_codecs.measure("vtok", 7, reference, tmp_path)
    assert qualities == [7]
    assert record["num_bytes"] == reference.stat().st_size + 1000
    assert (record["psnr_yuv"], record["num_frames"]) == (MAX_PSNR_DB, 3)
    assert record["ms_ssim_y"] is None, "97x65 is too small"


def test_measures_that_some_clips_lack_have_no_mean() -> None:
    plain = dict.fromkeys((*report.MEANS, "num_frames", "encode_seconds", "decode_seconds", "setting"), 1.0)
    records = [
        plain | {"codec": "a", "clip_sha256": str(n), "ms_ssim_y": value, "vmaf": 80.0 + n}
        for n, value in enumerate((0.9, None))
    ]
    (mean,) = report.mean_over_clips(records)
    assert (mean["ms_ssim_y"], mean["vmaf"], mean["vmaf_neg"]) == (None, 80.5, None)


def curve(codec: str, *points: tuple[float, float]) -> list[report.Record]:
    return [{"codec": codec, "bpp": bpp, "psnr_yuv": psnr} for bpp, psnr in points]


def test_bd_rate_where_the_answer_is_known() -> None:
    pytest.importorskip("bjontegaard")
    anchor = curve("a", (0.02, 25), (0.04, 28), (0.08, 31), (0.16, 34))
    dearer = curve("b", *((r["bpp"] * 1.2, r["psnr_yuv"]) for r in reversed(anchor)))
    bd = report.bd_rate(anchor, dearer)
    assert bd.percent == pytest.approx(20)
    assert (bd.overlap, bd.low_db, bd.high_db) == (1, 25, 34)
    assert report.bd_rate(anchor, dearer[:3]).overlap == pytest.approx(6 / 9)
    useless = curve("b", (0.5, 30), (0.6, 34))
    assert report.bd_rate(anchor, dearer + useless) == bd, "settings that others beat must not bend the curve"
    better = curve("b", *((r["bpp"], r["psnr_yuv"] + 20) for r in anchor))
    assert math.isnan(report.bd_rate(anchor, better).percent)


def test_a_clip_that_fails_is_left_out_and_said(clips: Path) -> None:
    (clips / "broken.mp4").write_bytes(b"no video")
    output = run(clips, "--codecs", "x264-ultrafast", "--crfs", "30,40", "--frames", 2, exit_code=3)
    assert "broken.mp4" in output
    assert "Mean over 2 clips" in output


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("--codecs", "x265"), "no codec 'x265'"),
        (("--crfs", "1,two"), "whole numbers"),
    ],
)
def test_bad_options_exit_with_2(clips: Path, arguments: tuple[str, ...], hint: str) -> None:
    assert hint in run(clips, "--codecs", "x264-ultrafast", *arguments, exit_code=2)


def test_lists_of_settings() -> None:
    assert rate_distortion.parse_integers("1-3,7, 9,7") == [1, 2, 3, 7, 9]
