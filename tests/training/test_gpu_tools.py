"""Packs of clips: what comes out of one is near what went in, and a run on it leaves weights that load."""

import json
import os
import subprocess
import sys
import time

import clip_pack
import numpy as np
import pytest
import train_pack

from support.training_runs import events
from support.videos import ROOT
from vtok.errors import ConfigError, MediaError
from vtok.model.tokenizer import VideoTokenizer

TOOLS = ROOT / "tools" / "gpu"


def program(name, *arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, TOOLS / name, *arguments]
    return subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def packed(folders, tmp_path_factory):
    """A pack of the caches of `folders`, made by the command."""
    root, pack = folders[0], tmp_path_factory.mktemp("pack")
    arguments = root / "train", root / "validation", "-o", pack, "--config", root / "tiny.toml", "--crf", 8
    result = program("pack_clips.py", *arguments)
    assert result.returncode == 0, result.stderr
    assert "train: 24 of 24 clips" in result.stdout
    assert "did not fit" not in result.stdout
    assert sorted(path.name for path in pack.iterdir()) == [
        "pack.json",
        "train.av1",
        "train.motion.xz",
        "validation.av1",
        "validation.motion.xz",
    ]
    return pack


def psnr(clip, other):
    return 10 * np.log10(255**2 / np.mean((clip.astype(float) - other) ** 2))


def test_clips_of_a_pack_are_near_those_of_the_videos(folders, packed, tmp_path):
    caches, original = clip_pack.unpack(packed, tmp_path, num_workers=2), folders[2]["train"]
    assert [(len(cache), cache.num_frames, cache.size) for cache in caches.values()] == [(24, 16, 32), (3, 16, 32)]
    assert sorted(caches["train"].clips_per_video) == [("0.mp4", 12), ("1.mp4", 12)]
    # Caches may have their videos in any order, so a clip's original is the one that it is nearest to.
    nearest = [max(psnr(clip, other) for other in original.clips) for clip in caches["train"].clips]
    assert np.mean(nearest) > 42
    assert min(nearest) > 38


def test_a_pack_is_no_larger_than_asked_for(folders, tmp_path):
    root = folders[0]
    caches = {split: root / "cache" / split for split in clip_pack.SPLITS}
    whole = clip_pack.pack(caches, tmp_path / "whole", crf=20, num_bytes=10**9)
    limit = whole["train"].num_bytes // 2
    half = clip_pack.pack(caches, tmp_path / "half", crf=20, num_bytes=limit)
    assert sum(path.stat().st_size for path in (tmp_path / "half").glob("*.av1")) <= limit
    assert 4 <= half["train"].count < half["train"].available == 24
    assert len(json.loads((tmp_path / "half" / "pack.json").read_text())["train"]["clips_per_video"]) == 2
    with pytest.raises(ConfigError, match="not one clip fits into 25 bytes at crf 20"):
        clip_pack.pack(caches, tmp_path / "none", crf=20, num_bytes=100)


def test_a_broken_pack_is_said(packed, tmp_path):
    with pytest.raises(MediaError, match=r"pack\.json: cannot be read"):
        clip_pack.unpack(tmp_path, tmp_path / "caches")
    for path in packed.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "train.av1").write_bytes((packed / "train.av1").read_bytes()[:-1])
    with pytest.raises(MediaError, match=r"train\.av1: is not the file that pack\.json describes"):
        clip_pack.unpack(tmp_path, tmp_path / "caches")


def test_a_run_on_a_pack_leaves_weights_in_time(folders, packed, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train_pack, "BEGUN", time.monotonic())
    options = {"config": folders[0] / "tiny.toml", "weights": None, "device": "cpu", "compile_prior": False}
    train_pack.train_pack(packed, tmp_path, seconds=8, reserve=3, **options)
    written = ["curves.png", "log.jsonl", "weights.json", "weights.safetensors"]
    assert sorted(path.name for path in tmp_path.iterdir()) == written
    assert len(events(tmp_path, "validation")) == 2
    assert "per second, validation included" in capsys.readouterr().out
    assert VideoTokenizer.from_pretrained(tmp_path / "weights.safetensors").pretrained.exact_prior.num_channels == 24
    with pytest.raises(ConfigError, match=r"seconds is 0, of which \d+ are gone; expected 3 more"):
        train_pack.train_pack(packed, tmp_path / "late", seconds=0, reserve=3, **options)
