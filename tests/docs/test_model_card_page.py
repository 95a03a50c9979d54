"""docs/model_card.md is of the weights in the package, and its generator measures what it says."""

import copy
import re

import generate_model_card as generator
import hard_clips
import motion_edges
import numpy as np
import pytest
import weaknesses
from PIL import Image

from support.videos import ROOT
from vtok.files.encode import encode_file
from vtok.media.reader import VideoReader
from vtok.model.registry import DEFAULT_MODEL, model_card
from vtok.video.frame import Frame

CARD = model_card(DEFAULT_MODEL)
PICTURES = re.compile(r"\]\((images/[^)]*)\)")


def flat_frames(count, level=100, size=(128, 192)):
    """Gray frames; each has planes of its own."""
    chroma = (size[0] // 2, size[1] // 2)
    return [Frame(*(np.full(s, level, np.uint8) for s in (size, chroma, chroma)), pts=n) for n in range(count)]


def test_the_committed_page_is_of_the_weights_in_the_package():
    text = (ROOT / "docs" / "model_card.md").read_text(encoding="utf-8")
    assert re.findall(r"`([0-9a-f]{64})`", text) == [CARD.tensors_sha256], "run make model-card"
    for quality in range(1, CARD.card["configuration"]["num_qualities"] + 1):
        figures = CARD.card["figures"][f"vtok {quality}"]
        assert f"| vtok | {quality} | {figures['bpp']:.4f} | {figures['psnr_yuv']:.2f} |" in text
    named = PICTURES.findall(text)
    there = sorted((ROOT / "docs" / "images").glob("model_card_*.jpg"))
    assert sorted(ROOT / "docs" / name for name in named) == there
    assert sum(path.stat().st_size for path in there) <= 270_000


def test_the_page_says_what_was_measured(tiny_tokenizer, tmp_path):
    titles = ("Gravel that pans", "A hard cut", "Something small and fast")
    subjects = [subject for subject in weaknesses.SUBJECTS if subject.title in titles]
    card = copy.deepcopy(CARD.card) | {"tensors_sha256": "0" * 64}
    options = {"subjects": subjects, "qualities": (2, 5), "num_frames": 32}
    generator.generate(card, CARD.path, tmp_path, tokenizer=tiny_tokenizer, **options)
    text = (tmp_path / "model_card.md").read_text(encoding="utf-8")
    assert "0" * 64 in text
    hard_clips.write_clip(tmp_path / "gravel.mkv", hard_clips.panning_texture(32))
    for quality in (2, 5):
        coded = encode_file(
            tmp_path / "gravel.mkv", tmp_path / f"{quality}.vtok", quality=quality, tokenizer=tiny_tokenizer
        )
        assert f"| Gravel that pans | {quality} | {coded.bits_per_pixel:.4f} |" in text
        assert f"| A hard cut | {quality} | " in text
    pictures = PICTURES.findall(text)
    assert len(pictures) == 3
    assert text.count("| Gravel that pans | 5 | ") == 2  # among the edges of motion too
    for name in pictures:
        assert 1000 < (tmp_path / name).stat().st_size <= generator.MAX_PICTURE_BYTES
        with Image.open(tmp_path / name) as image:
            assert image.width == 3 * 2 * weaknesses.WINDOW[0] + 12


def test_an_error_at_an_edge_of_motion_is_told_from_one_elsewhere():
    source = np.full((8, 48, 96), 100, np.uint8)
    motion = np.zeros((1, 8, 2, 3, 6), np.int16)
    motion[0, 3, 0, 1, 2:] = 8  # an edge between columns 31 and 32, in the second row of blocks, and two level ones
    noise = np.random.default_rng(0).integers(-3, 4, source.shape)
    decoded = (source + noise).astype(np.uint8)
    edges = motion_edges.measure_edges(source, decoded, motion, [0])
    assert edges.share == pytest.approx((1 + 2 * 4) / (3 * 5 + 2 * 6))
    assert edges.ratio == pytest.approx(1, abs=0.2)
    decoded[:, 16:32, 32:] += 50
    assert motion_edges.measure_edges(source, decoded, motion, [0]).ratio > 5
    still = motion_edges.measure_edges(source, decoded, np.zeros_like(motion), [0])
    assert (still.share, still.ratio) == (0, None)


def test_the_busiest_window_is_where_vectors_differ():
    motion = np.zeros((2, 8, 2, 10, 20), np.int16)
    motion[1, 0, 0, 6, 12] = 30
    chunk, left, top = motion_edges.busiest_window(motion, (160, 320))
    assert chunk == 1
    assert left <= 12 * 16 < left + 128
    assert top <= 6 * 16 < top + 96


def test_the_worst_window_is_where_the_error_is():
    source, coded = flat_frames(4), flat_frames(4)
    coded[1].y[:8, :8] += 20
    coded[2].y[24:120, 56:184] += 3
    assert weaknesses.worst_window(source, coded) == (2, 56, 24)


def test_a_window_is_shown_twice_as_large(tmp_path):
    hard_clips.write_clip(tmp_path / "page.mkv", hard_clips.still_page(1))
    with VideoReader(tmp_path / "page.mkv") as reader:
        info, source = reader.info, list(reader)
    gray = weaknesses.Coded(bpp=0.5, psnr=30.0, frame_psnr=[30.0], frames=flat_frames(1, size=source[0].y.shape))
    same = weaknesses.Coded(bpp=0.5, psnr=100.0, frame_psnr=[100.0], frames=source)
    measured = weaknesses.Measured(subject=weaknesses.SUBJECTS[0], quality=2, vtok=gray, x264=same)
    assert measured.behind == 70
    sheet = np.asarray(weaknesses.picture(measured, info, source))
    width, height = 2 * weaknesses.WINDOW[0], 2 * weaknesses.WINDOW[1]
    original, ours, theirs = (sheet[:height, left : left + width] for left in (0, width + 6, 2 * width + 12))
    assert (original[0::2, 0::2] == original[1::2, 1::2]).all()
    assert original.std() > 10
    assert (original == theirs).all()
    assert (ours == ours[0, 0]).all()


@pytest.mark.parametrize(
    "clip",
    ["scrolling_page", "still_page", "panning_texture", "film_grain", "hard_cut", "dark_gradient", "moving_ball"],
)
def test_clips_are_the_same_in_every_run(clip):
    first, second = (list(getattr(hard_clips, clip)(4)) for _ in range(2))
    assert all(picture.shape == (hard_clips.HEIGHT, hard_clips.WIDTH, 3) for picture in first)
    assert np.array_equal(first, second)
    assert np.array_equal(first[0], first[3]) == (clip in ("still_page", "hard_cut"))


def test_the_cut_is_within_a_chunk():
    pictures = list(hard_clips.hard_cut(40))
    changes = [n for n in range(1, 40) if not np.array_equal(pictures[n], pictures[n - 1])]
    assert changes == [hard_clips.CUT_AT]
    assert hard_clips.CUT_AT % 8
