"""Fixtures of training runs."""

import pytest

from support.training_runs import TINY, write_video
from vtok.training.clip_cache import build_clip_cache, find_videos
from vtok.training.config import load_config


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    for split, seeds in (("train", (0, 1)), ("validation", (2,))):
        (root / split).mkdir()
        for seed in seeds:
            write_video(root / split / f"{seed}.mp4", seed=seed)
    (root / "tiny.toml").write_text(TINY)
    config = load_config(root / "tiny.toml")
    caches = {
        split: build_clip_cache(find_videos(root / split), root / "cache" / split, config.cache, quiet=True)
        for split in ("train", "validation")
    }
    return root, config, caches
