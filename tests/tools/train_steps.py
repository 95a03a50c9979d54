"""Trains one step in this process or, under torchrun, in several: CONFIG CACHES RUN.

Writes its gradients to RUN/gradients.pt, and saves the run.
"""

import sys
from pathlib import Path

import torch

from vtok.networks.arithmetic import choose_arithmetic
from vtok.training.clip_cache import ClipCache
from vtok.training.config import load_config
from vtok.training.loop import TrainingRun
from vtok.training.processes import joined_processes


def main(config, caches, folder):
    with joined_processes() as processes:
        train, validation = ClipCache(caches / "train"), ClipCache(caches / "validation")
        run = TrainingRun(load_config(config), folder, train=train, validation=validation, processes=processes)
        run.arithmetic = choose_arithmetic("cpu", "float32")  # half a batch and a whole one round differently in it
        outcome = run._compute_gradients()
        if processes.is_first:
            gradients = {name: parameter.grad for name, parameter in run.model.named_parameters()}
            torch.save(gradients, folder / "gradients.pt")
        run._update(outcome, 0.1)
        run.save()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
