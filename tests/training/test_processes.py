"""Training on two processes: the gradients of one, one set of files, and a run that goes on with any number."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import train_steps

from support.training_runs import events
from support.videos import ROOT
from vtok.errors import ConfigError
from vtok.training.processes import Processes


def run_in(num_processes, *arguments):
    """Run a Python program, under torchrun if in several processes, and return what it prints."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_processes)]
    command = [sys.executable, *(torchrun if num_processes > 1 else []), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def first_gradients(num_processes, root, folder):
    """The gradients of the next step of the run in `folder`, after which it is saved."""
    folder.mkdir(exist_ok=True)
    arguments = root / "tiny.toml", root / "cache", folder
    if num_processes == 1:
        train_steps.main(*arguments)
    else:
        run_in(num_processes, ROOT / "tests" / "tools" / "train_steps.py", *arguments)
    return torch.load(folder / "gradients.pt", weights_only=True)


def test_two_processes_with_half_the_batch_have_the_gradients_of_one(folders, tmp_path):
    root, _, _ = folders
    one, two = (first_gradients(number, root, tmp_path / str(number)) for number in (1, 2))
    assert_same(one, two)
    written = ["checkpoint.pt", "gradients.pt", "weights.json", "weights.safetensors"]
    assert sorted(path.name for path in (tmp_path / "2").iterdir()) == written

    # A run of two processes goes on as one of one, or of two again.
    shutil.copytree(tmp_path / "2", tmp_path / "again")
    resumed = [first_gradients(1, root, tmp_path / "2"), first_gradients(2, root, tmp_path / "again")]
    assert_same(*resumed)
    assert any((resumed[0][name] - one[name]).abs().max() > 1e-3 for name in one)
    for folder in ("2", "again"):
        assert torch.load(tmp_path / folder / "checkpoint.pt", weights_only=True)["step"] == 2


def assert_same(gradients, others):
    assert max(gradient.abs().max() for gradient in gradients.values()) > 1e-2
    for name, gradient in gradients.items():
        torch.testing.assert_close(others[name], gradient, rtol=1e-3, atol=1e-6)


def test_the_command_trains_in_two_processes_and_tells_of_it_once(folders, tmp_path):
    root, _, _ = folders
    arguments = ["train", root / "train", "--validation", root / "validation", "-o", tmp_path / "run", "--json"]
    options = ["--minutes", "0.1", "--config", root / "tiny.toml", "--cache", tmp_path / "cache"]
    (line,) = run_in(2, "-m", "vtok", *arguments, *options).splitlines()
    assert json.loads(line)["event"] == "validation"
    assert len(events(tmp_path / "run", "start")) == 1
    assert len(events(tmp_path / "run", "validation")) == 2
    steps = [event["step"] for event in events(tmp_path / "run", "train")]
    assert steps == [*range(5, 5 * len(steps) + 1, 5)]
    checkpoint = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert checkpoint["step"] >= steps[-1]


def test_shares_are_parts_of_one_batch(folders):
    _, _, caches = folders

    def batch(share):
        rng = np.random.default_rng(3)
        planes, _ = caches["train"].batch(rng, batch_size=6, num_frames=8, size=16, share=share)
        return planes, rng.random()

    (whole, after), *parts = [batch(share) for share in (None, *(Processes(rank, 3).share(6) for rank in range(3)))]
    assert all(after == after_part for _, after_part in parts)
    for plane, *shares in zip(whole, *(planes for planes, _ in parts), strict=True):
        assert torch.equal(plane, torch.cat(shares))
    with pytest.raises(ConfigError, match=r"data.batch_size is 6; expected a multiple of the 4 processes"):
        Processes(0, 4).share(6)
