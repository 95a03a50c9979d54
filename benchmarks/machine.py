"""What the machine is, and what its processor reaches in the arithmetic that the networks are made of."""

import os
import platform
from pathlib import Path
from statistics import median
from time import perf_counter

import torch

from vtok.networks.arithmetic import has_fast_bfloat16, has_int8_dot_products

PEAK_CHANNELS, PEAK_SIZE = 256, (45, 80)  # what most of the networks' convolutions are at 640 x 360


def describe() -> dict[str, str | int | float | bool]:
    """Processor, memory, and versions."""
    return {
        "processor": _processor_name(),
        "processors": os.cpu_count() or 0,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "bfloat16_in_hardware": has_fast_bfloat16(),
        "int8_dot_products": has_int8_dot_products(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


@torch.inference_mode()
def peak_gflops(dtype: torch.dtype, runs: int = 9) -> float:
    """10^9 floating-point operations a second of a plain 3x3 convolution, channels last, all processors; median."""
    convolution = torch.nn.Conv2d(PEAK_CHANNELS, PEAK_CHANNELS, 3, padding=1).to(dtype=dtype)
    convolution = convolution.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = torch.randn(1, PEAK_CHANNELS, *PEAK_SIZE, dtype=dtype).contiguous(memory_format=torch.channels_last)
    seconds = []
    for _ in range(runs + 2):
        start = perf_counter()
        convolution(image)
        seconds.append(perf_counter() - start)
    operations = 2 * convolution.weight.numel() * PEAK_SIZE[0] * PEAK_SIZE[1]
    return operations / median(seconds[2:]) / 1e9


def _processor_name() -> str:
    names = [line.partition(":")[2].strip() for line in _read("/proc/cpuinfo").splitlines() if "model name" in line]
    return names[0] if names else platform.processor() or "unknown"


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
