"""Speed and cost of `magvit2-pytorch`, random weights, same 8x8x8 down-sampling, in an environment of its own.

It needs torchvision for a loss that is not used here. Where no torchvision imports beside the installed PyTorch, an
empty module takes its place. Prints one JSON object.

Example: python benchmarks/magvit2.py --runs 5
"""

import json
import sys
import types
from importlib.metadata import version
from statistics import median
from time import perf_counter
from typing import Any
from unittest import mock

import torch
from torch.utils.flop_counter import FlopCounterMode

SIZE = 128
NUM_FRAMES = 17  # the first is a latent frame of its own, then eight each
LAYERS = (
    "residual",
    ("compress_space", 128),
    ("compress_time", 128),
    "residual",
    ("compress_space", 256),
    ("compress_time", 256),
    "residual",
    ("compress_space", 256),
    ("compress_time", 256),
    "residual",
)


def tokenizer_class() -> tuple[Any, bool]:
    """`magvit2_pytorch.VideoTokenizer`, and whether torchvision was really there."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        models = types.ModuleType("torchvision.models")
        models.VGG16_Weights = type("VGG16_Weights", (), {"DEFAULT": None})  # type: ignore[attr-defined]
        empty = types.ModuleType("torchvision")
        empty.models = models  # type: ignore[attr-defined]
        unused = {f"magvit2_pytorch.{name}": mock.MagicMock() for name in ("trainer", "data")}
        sys.modules.update({"torchvision": empty, "torchvision.models": models, **unused})
        from magvit2_pytorch import VideoTokenizer

        return VideoTokenizer, False
    from magvit2_pytorch import VideoTokenizer

    return VideoTokenizer, True


@torch.inference_mode()
def measure(runs: int) -> dict[str, Any]:
    """Frames per second and thousand multiplications per pixel of both directions."""
    torch.manual_seed(0)
    kind, has_torchvision = tokenizer_class()
    tokenizer = kind(
        image_size=SIZE, init_dim=64, codebook_size=1024, layers=LAYERS, use_gan=False, perceptual_loss_weight=0.0
    ).eval()
    video = torch.rand(1, 3, NUM_FRAMES, SIZE, SIZE)
    codes = tokenizer.tokenize(video)
    result: dict[str, Any] = {
        "version": version("magvit2-pytorch"),
        "torch": torch.__version__,
        "has_torchvision": has_torchvision,
        "parameters": sum(parameter.numel() for parameter in tokenizer.parameters()),
        "latent_shape": list(codes.shape),
    }
    pixels = NUM_FRAMES * SIZE * SIZE
    for name, step in (
        ("encode", lambda: tokenizer.tokenize(video)),
        ("decode", lambda: tokenizer.decode_from_code_indices(codes)),
    ):
        with FlopCounterMode(display=False) as counter:
            step()  # type: ignore[no-untyped-call]
        seconds = []
        for _ in range(runs):
            start = perf_counter()
            step()  # type: ignore[no-untyped-call]
            seconds.append(perf_counter() - start)
        result[name] = {
            "thousand_multiplications_per_pixel": counter.get_total_flops() / 2 / pixels / 1000,
            "frames_per_second": NUM_FRAMES / median(seconds),
            "slowest_frames_per_second": NUM_FRAMES / max(seconds),
            "fastest_frames_per_second": NUM_FRAMES / min(seconds),
        }
    return result


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[2]) if sys.argv[1:2] == ["--runs"] else 5)))
