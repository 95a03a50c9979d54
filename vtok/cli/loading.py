"""Functions that import torch and load models only when a command runs: importing torch takes seconds."""

from typing import Any


def set_threads(threads: int | None) -> None:
    """Set the number of processor threads of PyTorch; None leaves it as it is."""
    if threads:
        import torch

        torch.set_num_threads(threads)


def load(model: str) -> Any:
    """Return the tokenizer of that name or file, with shared networks."""
    from vtok.model.loading import shared_model
    from vtok.model.tokenizer import VideoTokenizer

    return VideoTokenizer.of(shared_model(model))
