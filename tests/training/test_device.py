"""Training on a device: the same draws and planes everywhere, checkpoints that move, and what cannot be asked for."""

import copy

import numpy as np
import pytest
import torch

from support.devices import needs_cuda
from support.training_runs import events, new_run
from vtok.cli.app import app
from vtok.errors import ConfigError
from vtok.model.weights import load_weights
from vtok.networks.planes import Planes
from vtok.training.clip_cache import ClipCache, split_i420, unpack_i420
from vtok.training.optimizers import orthogonalize
from vtok.training.processes import arithmetic_of


def batch_clip_by_clip(cache, rng, *, batch_size, num_frames, size):
    """What `ClipCache.batch` returns, cut out of the memory map of one clip after the other."""
    samples = []
    for _ in range(batch_size):
        clip = cache.clips[rng.integers(len(cache))]
        start = 8 * int(rng.integers(0, (cache.num_frames - num_frames) // 8 + 1))
        top, left = (16 * int(rng.integers(0, (cache.size - size) // 16 + 1)) for _ in range(2))
        whole = unpack_i420(clip[None, start : start + num_frames], cache.size)
        cropped = Planes(whole.y[..., top:, left:], *(p[..., top // 2 :, left // 2 :] for p in whole[1:]))
        sample = cropped.crop(size, size)
        samples.append(sample.flip_horizontally() if rng.random() < 0.5 else sample)
    return Planes(*(torch.cat(parts) for parts in zip(*samples, strict=True)))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_cuda)])
def test_a_device_cuts_the_batch_that_the_memory_map_has(folders, device):
    cache = ClipCache(folders[0] / "cache" / "train")
    wanted = {"batch_size": 6, "num_frames": 8, "size": 16}
    rngs = [np.random.default_rng(3) for _ in range(2)]
    expected = batch_clip_by_clip(cache, rngs[0], **wanted)
    cache = cache.on(torch.device(device))
    planes, _ = cache.batch(rngs[1], **wanted)
    assert rngs[0].random() == rngs[1].random()
    for plane, other in zip(planes, expected, strict=True):
        assert plane.device.type == device
        assert torch.equal(plane.cpu(), other)
    assert torch.equal(cache.planes(2, 4).y.cpu(), unpack_i420(cache.clips[2:4], cache.size).y)


def test_planes_are_views_of_what_is_packed():
    packed = torch.arange(2 * 24, dtype=torch.uint8).view(2, 24)
    y, u, v = split_i420(packed, 4)
    assert [plane.shape for plane in (y, u, v)] == [(2, 4, 4), (2, 2, 2), (2, 2, 2)]
    assert torch.equal(torch.cat([plane.flatten(1) for plane in (y, u, v)], dim=1), packed)
    assert y.data_ptr() == packed.data_ptr()


def test_stacked_matrices_are_orthogonalized_each_by_itself():
    torch.manual_seed(0)
    for shape in ((12, 30), (30, 12)):
        matrices = torch.randn(3, *shape) * torch.tensor([0.1, 1.0, 10.0])[:, None, None]
        one_by_one = torch.stack([orthogonalize(matrix) for matrix in matrices])
        torch.testing.assert_close(orthogonalize(matrices), one_by_one, atol=2e-2, rtol=0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_the_device_is_a_processor_where_there_is_no_other(folders, tmp_path):
    states = []
    for number, options in enumerate(({}, {"device": "cpu"}, {"device": "auto"})):
        run = new_run(folders, tmp_path / str(number), **options)
        for _ in range(2):
            run._train_step(0.1)
        states.append(run.model.state_dict())
    assert all(torch.equal(x, states[0][name]) for state in states for name, x in state.items())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_gpu_is_said_before_clips_are_cut(folders, tmp_path, cli_runner):
    root, _, _ = folders
    arguments = ["train", root / "train", "--validation", root / "validation", "-o", tmp_path, "--device", "cuda"]
    result = cli_runner.invoke(app, [str(x) for x in arguments])
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception) == "device is 'cuda', and PyTorch finds no CUDA device here. Use 'cpu' or 'auto'"
    assert not list(tmp_path.iterdir())


def test_several_processes_share_processors_only():
    with pytest.raises(ConfigError, match=r"device is 'cuda' for 2 processes; expected auto or cpu"):
        arithmetic_of("cuda", 2)
    with pytest.raises(ConfigError, match="device is 'tpu'; expected one of auto, cpu, cuda"):
        arithmetic_of("tpu", 2)
    assert arithmetic_of("auto", 2).device.type == "cpu"


def train(run, num_steps):
    outcomes = [run._train_step(0.1) for _ in range(num_steps)]
    return torch.stack([outcome.loss.mean() for outcome in outcomes]).cpu()


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_cuda)])
def test_a_checkpoint_goes_on_on_another_device(folders, tmp_path, device):
    run = new_run(folders, tmp_path, device=device)
    train(run, 3)
    run.save()
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    momenta = [each for saved in state["optimizers"] for each in saved["state"].values()]
    tensors = [x for part in (state["model"], state["average"], *momenta) for x in part.values()]
    assert {x.device.type for x in tensors} == {"cpu"}
    assert {x.device.type for x in load_weights(tmp_path / "weights.safetensors")[0].values()} == {"cpu"}
    resumed = [new_run(folders, tmp_path, device=name) for name in (device, "cpu")]
    assert [each.step for each in resumed] == [3, 3]
    before = copy.deepcopy([each.model.state_dict() for each in resumed])
    losses = [train(each, 1) for each in resumed]
    torch.testing.assert_close(losses[0], losses[1], rtol=0.02, atol=0)
    assert all(torch.equal(x.cpu(), before[1][name]) for name, x in before[0].items())


@needs_cuda
@pytest.mark.parametrize("compile_prior", [False, True])
def test_a_gpu_learns_what_a_processor_learns(folders, tmp_path, compile_prior):
    runs = [
        new_run(folders, tmp_path / name, device=name, compile_prior=compile_prior and name == "cuda")
        for name in ("cpu", "cuda")
    ]
    # Of the same clips and qualities, but with other noise: losses agree, if not to the last digit.
    losses = [train(run, 10) for run in runs]
    torch.testing.assert_close(losses[0], losses[1], rtol=0.1, atol=0)
    for run in runs:
        run._validate()
    costs = [events(tmp_path / name, "validation")[0]["mean_log_cost"] for name in ("cpu", "cuda")]
    assert costs[0] == pytest.approx(costs[1], abs=0.1)
