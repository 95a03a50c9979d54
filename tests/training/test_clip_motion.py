"""Training with motion: motion in the cache and its crops, a falling loss, packs with motion."""

import clip_pack
import numpy as np
import pytest
import torch

from support.training_runs import events
from vtok.networks.latent_model import LatentModel
from vtok.training.clip_cache import build_clip_cache, find_videos
from vtok.training.clip_motion import motion_shape
from vtok.training.config import load_config
from vtok.training.loop import TrainingRun
from vtok.training.motion import motion_at


@pytest.fixture(scope="module")
def moving(folders, tmp_path_factory):
    """A configuration with motion, and its caches."""
    root, folder = folders[0], tmp_path_factory.mktemp("moving")
    text = (root / "tiny.toml").read_text().replace("num_frames = 16", "num_frames = 24")
    text = text.replace("[cache]\n", "[cache]\nmotion_lagrangians = [4.0, 40.0]\n")
    text = text.replace("[validation_cache]\n", "[validation_cache]\nmotion_lagrangians = [4.0, 40.0]\n")
    (folder / "moving.toml").write_text(text)
    config = load_config(folder / "moving.toml")
    caches = {
        split: build_clip_cache(find_videos(root / split), folder / split, config.cache, quiet=True)
        for split in ("train", "validation")
    }
    return folder / "moving.toml", config, caches


def test_clips_have_their_motion(moving):
    _, config, caches = moving
    fields = caches["train"].fields(0, len(caches["train"]))
    assert fields.shape[1:] == motion_shape(config.cache) == (2, 3, 8, 2, 2, 2)
    assert fields.dtype == torch.int16
    assert fields.any()
    assert not fields[:, :, 0, -1].any()  # nothing comes before the first chunk


def test_motion_is_cropped_and_mirrored_with_the_pixels(moving):
    cache = moving[2]["train"]
    batch = cache.batch(np.random.default_rng(0), batch_size=32, num_frames=8, size=16)
    clips, fields = cache.planes(0, len(cache)).y, cache.fields(0, len(cache))
    seen = set()
    for luma, motion in zip(batch.planes.y, batch.fields, strict=True):
        # The end of a video is played back and forth, so several places may have the same pixels.
        candidates = []
        for clip, chunk, row, column in np.ndindex(len(cache), 3, 2, 2):
            rows, columns = slice(16 * row, 16 * row + 16), slice(16 * column, 16 * column + 16)
            pixels = clips[clip, 8 * chunk : 8 * chunk + 8, rows, columns]
            expected = fields[clip, :, chunk : chunk + 1, :, :, row : row + 1, column : column + 1]
            if torch.equal(luma, pixels):
                candidates.append((1, expected))
            elif torch.equal(luma, pixels.flip(-1)):
                candidates.append((-1, expected * torch.tensor([-1, 1]).view(2, 1, 1)))
        signs = {sign for sign, expected in candidates if torch.equal(motion, expected)}
        assert signs
        seen |= signs
    assert seen == {1, -1}


def test_the_loss_falls_and_the_weights_go_on(moving, tmp_path):
    _, config, caches = moving
    run = TrainingRun(config, tmp_path / "run", train=caches["train"], validation=caches["validation"])
    run._validate()
    for _ in range(40):
        run._train_step(0.1)
    run._validate()
    before, after = (event["mean_log_cost"] for event in events(tmp_path / "run", "validation"))
    assert after < before
    run.save()
    weights = tmp_path / "run" / "weights.safetensors"
    again = TrainingRun(
        config, tmp_path / "again", train=caches["train"], validation=caches["validation"], weights=weights
    )
    saved, loaded = run.average.tensors, again.model.state_dict()
    assert all(torch.equal(loaded[name].half(), tensor.half()) for name, tensor in saved.items())


def test_other_vectors_for_other_qualities(moving):
    model = LatentModel(moving[1].model)
    fields = torch.arange(2).view(1, 2, 1, 1, 1, 1, 1).expand(2, 2, 3, 8, 2, 2, 2)
    motion = motion_at(model, (20.0, 400.0), fields, torch.tensor([9.0, 1.0]))
    assert motion[0].eq(0).all()
    assert motion[1].eq(1).all()


def test_packs_carry_motion(moving, tmp_path):
    config, _, caches = moving
    clip_pack.pack(
        {split: config.parent / split for split in clip_pack.SPLITS}, tmp_path / "pack", crf=8, num_bytes=10**9
    )
    unpacked = clip_pack.unpack(tmp_path / "pack", tmp_path / "caches", num_workers=2)
    for split, cache in unpacked.items():
        assert torch.equal(cache.fields(0, len(cache)), caches[split].fields(0, len(caches[split])))
