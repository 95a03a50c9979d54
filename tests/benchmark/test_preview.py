"""One frame at five qualities, as an image and as a page, and what the whole file would come to."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image

import vtok
from support.batches import MODEL
from support.commands import assert_failed, documented_attributes, in_folder
from support.models import new_tiny_tokenizer
from support.sources import panned, write_source
from vtok.benchmark.preview import QUALITIES, Preview, PreviewPoint
from vtok.errors import ConfigError
from vtok.measure.stats import file_stats

GROUP_SECONDS = 0.32  # one latent frame
NAME = "a <b> & c.mkv"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Five groups of eight frames, of which the last three move faster and are another scene."""
    frames = panned(48, 96, 16, speed=1) + panned(48, 96, 24, speed=4, seed=1)
    for t, frame in enumerate(frames):
        object.__setattr__(frame, "pts", t)
    return write_source(tmp_path_factory.mktemp("preview") / NAME, frames)


@pytest.fixture(scope="module")
def tokenizer():
    return new_tiny_tokenizer()


def data_of(html, name):
    return json.loads(re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', html, re.DOTALL)[1])


def test_figures_are_those_of_the_whole_file(source, tokenizer, tmp_path):
    options = {"tokenizer": tokenizer, "keyframe_seconds": GROUP_SECONDS}
    preview = vtok.preview_file(source, tmp_path / "p.png", **options)
    assert [point.quality for point in preview.points] == list(QUALITIES)
    for point in preview.points:
        path = tmp_path / f"{point.quality}.vtok"
        encoded = vtok.encode_file(source, path, quality=point.quality, **options)
        quality = file_stats(source, path, tokenizer=tokenizer, with_vmaf=False).quality
        assert point.num_bytes == pytest.approx(encoded.num_bytes, rel=0.1)
        assert point.kbit_per_second == pytest.approx(8e-3 * point.num_bytes / 1.6)
        assert point.psnr_yuv == pytest.approx(quality.psnr_yuv, abs=1)
    sizes = [point.num_bytes for point in preview.points]
    assert sizes == sorted(set(sizes))


def test_the_image_shows_pixels_as_they_are(source, tokenizer, tmp_path):
    target = tmp_path / "p.png"
    preview = vtok.preview_file(source, target, at_seconds=0.5, tokenizer=tokenizer, keyframe_seconds=GROUP_SECONDS)
    assert preview.seconds == pytest.approx(0.48)
    sheet = np.asarray(Image.open(target))
    assert sheet.shape == (2 * (26 + 48), 3 * (96 + 4) - 4, 3)
    path = tmp_path / "a.vtok"
    vtok.encode_file(source, path, quality=5, tokenizer=tokenizer, keyframe_seconds=GROUP_SECONDS)
    decoded = vtok.open(path, tokenizer=tokenizer)[12]
    assert np.array_equal(sheet[26 + 48 + 26 :, :96], np.moveaxis(np.asarray(decoded), 0, 2))
    labels = [sheet[top : top + 26, left : left + 96] for top in (0, 74) for left in (0, 100, 200)]
    assert all(label.max() > 80 and label.min() < 30 for label in labels)


def test_the_page_holds_everything(source, tokenizer, tmp_path):
    target = tmp_path / "p.html"
    preview = vtok.preview_file(source, target, tokenizer=tokenizer, keyframe_seconds=GROUP_SECONDS)
    html = target.read_text()
    assert "<b>" not in html
    assert "http" not in html.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    data, pictures = data_of(html, "data"), data_of(html, "pictures")
    (frame,) = data["frames"]
    assert data["names"] == ["original", *(f"quality {quality}" for quality in QUALITIES)]
    assert data["names"][data["right"]] == "quality 5"
    assert frame["psnr"] == [point.frame_psnr_yuv for point in preview.points]
    assert set(pictures) == {*frame["pictures"], *frame["maps"]}
    assert len(frame["pictures"]) == 6
    assert len(frame["maps"]) == 5
    for point in preview.points:
        assert f"<td>{point.psnr_yuv:.2f}</td><td>{point.frame_psnr_yuv:.2f}</td>" in html


def test_the_effort_is_that_of_the_file(source, vtok, tmp_path):
    model, sizes = ("--model", MODEL, "--quiet"), {}
    for effort in ("normal", "fast"):
        assert vtok("encode", source, "a.vtok", "--effort", effort, "--force", *model).code == 0
        sizes[effort] = (tmp_path / "a.vtok").stat().st_size
    outcome = vtok("preview", source, "--effort", "fast", "--json", *model)
    assert (outcome.code, outcome.err) == (0, "")
    assert json.loads(outcome.out)["points"][QUALITIES.index(5)]["num_bytes"] == sizes["fast"] != sizes["normal"]


def test_the_command_draws_and_tells(source, vtok):
    outcome = vtok("preview", source, "--json", "--quiet", "--keyframe-seconds", "0.64")
    assert (outcome.code, outcome.err) == (0, "")
    result = json.loads(outcome.out)
    assert list(result) == documented_attributes(Preview)
    assert list(result["points"][0]) == documented_attributes(PreviewPoint)
    assert result["target"] == "preview.png"
    assert in_folder() == ["preview.png"]
    assert_failed(vtok("preview", source), "preview.png: exists already. Overwrite it with --force")


@pytest.mark.parametrize(
    ("target", "at", "message"),
    [
        ("p.jpg", None, r"unknown suffix. Choose one of .png, .html"),
        ("p.png", 1.6, r"no frame is shown at 1.6 s; it lasts 1.6 s"),
        ("p.png", -1, r"no frame is shown at -1 s"),
    ],
)
def test_what_cannot_be_drawn_is_refused(target, at, message, source, tokenizer, tmp_path):
    with pytest.raises(ConfigError, match=message):
        vtok.preview_file(source, tmp_path / target, at_seconds=at, tokenizer=tokenizer)
    assert list(tmp_path.iterdir()) == []


def test_a_single_image_has_a_preview(tokenizer, tmp_path):
    Image.fromarray(np.full((16, 24, 3), 90, np.uint8)).save(tmp_path / "in.png")
    preview = vtok.preview_file(tmp_path / "in.png", tmp_path / "p.png", tokenizer=tokenizer)
    assert preview.points[0].label().startswith("quality 1: ")
    assert Image.open(io.BytesIO((tmp_path / "p.png").read_bytes())).size == (3 * 28 - 4, 2 * 42)
