"""What commands load when they run, and not before: torch alone takes seconds."""

from functools import cache
from typing import Any


def set_threads(threads: int | None) -> None:
    """Set the number of processor threads of PyTorch; None leaves it as it is."""
    if threads:
        import torch

        torch.set_num_threads(threads)


@cache
def load(model: str) -> Any:
    """The tokenizer of that name or file, once."""
    from vtok.model.tokenizer import VideoTokenizer

    return VideoTokenizer.from_pretrained(model)
