"""Training end to end on videos made here: cache, KLT, a falling loss, resuming, weights that load and code."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import av
import numpy as np
import pytest
import torch

from support.models import new_tiny_tokenizer
from support.motions import no_motion
from support.training_runs import TINY, events, new_run, write_video
from vtok.cli.app import app
from vtok.errors import ConfigError, MediaError
from vtok.model.tokenizer import VideoTokenizer
from vtok.networks.objective import Objective
from vtok.networks.planes import Planes
from vtok.training import clip_cache
from vtok.training.clip_cache import build_clip_cache, find_videos, unpack_i420
from vtok.training.config import ClipCacheConfig, load_config
from vtok.training.loop import TrainingRun
from vtok.training.optimizers import Muon, orthogonalize


def test_clips_are_the_pixels_of_the_video(folders):
    _root, _, caches = folders
    cache = caches["train"]
    # 40 frames make two windows of 16 and a tail of 8, played back and forth; 4 crops each, 2 videos.
    assert cache.clips.shape == (2 * 3 * 4, 16, 32 * 32 * 3 // 2)
    planes = unpack_i420(cache.clips[:4], 32)
    assert planes.y.shape == (4, 16, 32, 32)
    assert planes.u.shape == (4, 16, 16, 16)
    assert -1.1 < planes.y.min() < -0.5
    assert 0.5 < planes.y.max() < 1.1
    tail = cache.clips[8]
    assert np.array_equal(tail[8], tail[6])
    assert not np.array_equal(tail[8], tail[7])


def test_unscaled_clip_is_cut_out_of_the_frame(tmp_path):
    write_video(tmp_path / "a.mp4", size=(48, 40), num_frames=16)
    config = ClipCacheConfig(num_frames=16, size=32, max_downscale=1.0, scales_per_window=1, crops_per_scale=1)
    clip = build_clip_cache([tmp_path / "a.mp4"], tmp_path / "cache", config, quiet=True).clips[0]
    with av.open(str(tmp_path / "a.mp4")) as container:
        luma = next(container.decode(video=0)).to_ndarray()[:40]
    crops = [luma[i : i + 32, j : j + 32].reshape(-1) for i in range(9) for j in range(17)]
    assert any(np.array_equal(clip[0, : 32 * 32], crop) for crop in crops)


def test_cache_is_reused_until_its_sources_change(folders, tmp_path):
    root, config, _ = folders
    videos = find_videos(root / "train")
    build_clip_cache(videos, tmp_path, config.cache, quiet=True)
    stamp = (tmp_path / "clips.bin").stat().st_mtime_ns
    build_clip_cache(videos, tmp_path, config.cache, quiet=True)
    assert (tmp_path / "clips.bin").stat().st_mtime_ns == stamp
    smaller = build_clip_cache(videos[:1], tmp_path, config.cache, quiet=True)
    assert len(smaller) == 12


def test_clips_are_in_the_order_of_their_videos(folders, tmp_path, monkeypatch):
    root, config, caches = folders
    videos = find_videos(root / "train")
    backwards = build_clip_cache(videos[::-1], tmp_path, config.cache, quiet=True)
    assert [name for name, _ in backwards.clips_per_video] == [video.name for video in videos[::-1]]
    assert np.array_equal(backwards.clips, np.concatenate([caches["train"].clips[12:], caches["train"].clips[:12]]))

    def cut(path, config):
        time.sleep(0.05 if path == 0 else 0)  # the first is the slowest
        begun.append(path)
        return path

    begun, taken = [], []
    monkeypatch.setattr(clip_cache, "cut_video", cut)
    with ThreadPoolExecutor(3) as pool:
        for path, clips in clip_cache._cut_in_order(pool, list(range(20)), config.cache, num_ahead=3):
            assert path == clips
            taken.append(path)
            assert len(begun) <= len(taken) + 3
    assert taken == list(range(20))


def test_a_few_steps_lower_the_loss_and_the_rate(folders, tmp_path):
    run = new_run(folders, tmp_path)
    run._validate()
    for _ in range(90):
        run._train_step(0.5)
    run._validate()
    first, last = events(tmp_path, "validation")
    assert last["mean_log_cost"] < first["mean_log_cost"] - 0.05
    best = [event["points"][-1] for event in (first, last)]
    assert best[1]["bits_per_pixel"] < 0.95 * best[0]["bits_per_pixel"]
    assert best[1]["psnr_yuv"] > best[0]["psnr_yuv"]


def test_command_trains_logs_and_writes_weights_that_code(folders, tmp_path, cli_runner):
    root, _, _ = folders
    arguments = ["train", root / "train", "--validation", root / "validation", "-o", tmp_path / "run"]
    options = ["--minutes", "0.05", "--config", root / "tiny.toml", "--cache", root / "cache"]
    result = cli_runner.invoke(app, [str(x) for x in arguments + options])
    assert result.exit_code == 0, result.output
    validations = events(tmp_path / "run", "validation")
    assert len(validations) == 2
    assert [point["quality"] for point in validations[0]["points"]] == [1, 3, 5, 7, 9]
    rates = [point["bits_per_pixel"] for point in validations[-1]["points"]]
    psnrs = [point["psnr_yuv"] for point in validations[-1]["points"]]
    assert rates == sorted(rates)
    assert psnrs == sorted(psnrs)
    assert validations[-1]["mean_log_cost"] < validations[0]["mean_log_cost"]
    assert events(tmp_path / "run", "train")
    assert (tmp_path / "run" / "curves.png").stat().st_size > 1000
    tokenizer = VideoTokenizer.from_pretrained(tmp_path / "run" / "weights.safetensors")
    video = torch.rand(1, 3, 8, 32, 32) * 2 - 1
    codes = tokenizer.encode(video, quantize=True, quality=9)
    assert codes.shape == (1, 24, 1, 4, 4)
    assert tokenizer.pretrained.exact_prior.num_channels == 24


def test_a_run_resumes_where_it_stopped(folders, tmp_path):
    run = new_run(folders, tmp_path)
    for _ in range(3):
        run._train_step(0.1)
    run.elapsed_seconds = 7.0
    run.save()
    resumed = new_run(folders, tmp_path)
    assert (resumed.step, resumed.elapsed_seconds) == (3, 7.0)
    outcomes = [each._train_step(0.2) for each in (run, resumed)]
    assert torch.equal(outcomes[0].cost, outcomes[1].cost)
    states = [each.model.state_dict() for each in (run, resumed)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_run_starts_from_given_weights(folders, tmp_path):
    run = new_run(folders, tmp_path / "a")
    run._train_step(0.0)
    run.save()
    weights = tmp_path / "a" / "weights.safetensors"
    other = new_run(folders, tmp_path / "b", weights=weights)
    torch.testing.assert_close(
        other.model.synthesis.enter.weight, run.average.tensors["synthesis.enter.weight"], atol=1e-3, rtol=1e-3
    )


@pytest.mark.parametrize("prior_only", [False, True])
def test_a_run_can_leave_all_but_the_prior_alone(folders, tmp_path, prior_only):
    config = replace(folders[1], schedule=replace(folders[1].schedule, prior_only=prior_only))
    run = new_run((folders[0], config, folders[2]), tmp_path)
    before = {name: x.clone() for name, x in run.model.state_dict().items()}
    run._train_step(0.1)
    changed = {name for name, x in run.model.state_dict().items() if not torch.equal(x, before[name])}
    assert any(name.startswith("prior.") for name in changed)
    assert all(name.startswith("prior.") for name in changed) == prior_only


def test_weights_of_other_sizes_are_refused(folders, tmp_path):
    run = new_run(folders, tmp_path / "a")
    run.save()
    wider = replace(folders[1], model=replace(folders[1].model, dim=24))
    with pytest.raises(ConfigError, match="weights of other sizes"):
        new_run((folders[0], wider, folders[2]), tmp_path / "b", weights=tmp_path / "a" / "weights.safetensors")


def test_muon_update_is_orthogonal_and_follows_the_gradient():
    torch.manual_seed(0)
    gradient = torch.randn(12, 30)
    update = orthogonalize(gradient)
    singular = torch.linalg.svdvals(update)
    assert 0.6 < singular.min() <= singular.max() < 1.3
    assert (update * gradient).sum() > 0
    torch.testing.assert_close(orthogonalize(gradient.T), update.T, atol=1e-6, rtol=0)
    weight = torch.nn.Parameter(torch.zeros(12, 5, 2, 3))
    weight.grad = gradient.reshape(weight.shape)
    Muon([weight], lr=0.1).step()
    assert (weight * weight.grad).sum() < 0
    # The root mean square of an update is about 0.2 lr, as of Adam's.
    assert weight.square().mean().sqrt().item() == pytest.approx(0.02, rel=0.25)


def test_configuration_errors_name_what_is_allowed(folders, tmp_path):
    _root, _config, caches = folders
    bad = tmp_path / "bad.toml"
    for text, message in (
        ("[modle]\ndim = 1", "'modle' is not a table; expected one of model, cache"),
        ("[model]\nwidth = 1", "'width' is not a key of .model.; expected one of num_channels"),
        ("[model", "cannot be read as a configuration"),
    ):
        bad.write_text(text)
        with pytest.raises(ConfigError, match=message):
            load_config(bad)
    bad.write_text(TINY.replace("num_frames = 16\nsize = 32\n[optimizer]", "num_frames = 12\nsize = 32\n[optimizer]"))
    with pytest.raises(ConfigError, match=r"data.num_frames is 12; expected a multiple of 8 up to the cache's 16"):
        TrainingRun(load_config(bad), tmp_path, train=caches["train"], validation=caches["validation"])
    with pytest.raises(MediaError, match="no videos found"):
        find_videos(tmp_path)


def test_training_without_a_video_decoder_error_skips_what_breaks_off(tmp_path):
    write_video(tmp_path / "whole.mp4", num_frames=48)
    data = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "broken.mp4").write_bytes(data[:100])
    config = ClipCacheConfig(num_frames=16, size=32, scales_per_window=1, crops_per_scale=1)
    with pytest.raises(MediaError, match=r"broken.mp4"):
        build_clip_cache(find_videos(tmp_path), tmp_path / "cache", config, quiet=True)


def test_the_loss_counts_errors_that_change_at_the_ends_of_chunks():
    config = load_config().objective
    model = new_tiny_tokenizer().networks
    planes = Planes(torch.rand(1, 24, 16, 16), torch.rand(1, 24, 8, 8), torch.rand(1, 24, 8, 8))
    errors = Planes(*(torch.zeros_like(plane) for plane in planes))
    errors.y[:, 8:16] = 0.25
    quality = torch.tensor([5.0])
    decoded = Planes(*(a + b for a, b in zip(planes, errors, strict=True)))
    chunks = Planes(*(plane.view(3, 8, *plane.shape[2:]) for plane in decoded))
    model.decode_chunk = lambda *_: (chunks, None)
    with torch.no_grad():
        outcome = Objective(model, config)(planes, quality, no_motion(1, 3, 16, 16))
        without = Objective(model, replace(config, jump_weight=0.0))(planes, quality, no_motion(1, 3, 16, 16))
    assert torch.equal(outcome.cost, without.cost)
    scale = outcome.cost + config.balance_floor * model.lagrangian(quality).sqrt()
    jumps = config.jump_weight * config.distortion_weight * 0.5 * 0.25**2  # at both borders
    torch.testing.assert_close(outcome.loss - without.loss, jumps / scale, rtol=1e-3, atol=0)
