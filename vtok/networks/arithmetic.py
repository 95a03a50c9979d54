"""Where the networks compute, and in which arithmetic: decided by what the machine can do, or by the user.

This concerns pixels and the encoder's choice of codes only. Codes become bytes in exact arithmetic, always on the
processor, so a file decodes to the same codes everywhere.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from vtok.errors import ConfigError

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Where and how networks compute.

    Attributes:
        device: The device.
        bfloat16: Whether convolutions multiply in bfloat16 (and sum in float32).
    """

    device: torch.device
    bfloat16: bool

    def autocast(self) -> AbstractContextManager[object]:
        """Inside, networks compute like this."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)


def choose_arithmetic(device: str = "auto", precision: str = "auto") -> Arithmetic:
    """The arithmetic that is asked for; `auto` takes a GPU if there is one, and bfloat16 where hardware multiplies it.

    Raises:
        ConfigError: There is no such device or precision, or this machine does not have it.
    """
    for name, value, allowed in (("device", device, DEVICES), ("precision", precision, PRECISIONS)):
        if value not in allowed:
            raise ConfigError(f"{name} is {value!r}; expected one of {', '.join(allowed)}")
    has_cuda = torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise ConfigError("device is 'cuda', and PyTorch finds no CUDA device here. Use 'cpu' or 'auto'")
    chosen = torch.device("cuda" if has_cuda and device != "cpu" else "cpu")
    fast = torch.cuda.is_bf16_supported() if chosen.type == "cuda" else has_fast_bfloat16()
    return Arithmetic(chosen, fast if precision == "auto" else precision == "bfloat16")


def has_fast_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 in hardware (AVX-512 BF16 or AMX); elsewhere float32 is faster.

    Not where `ATEN_CPU_CAPABILITY` keeps PyTorch to less than AVX-512.
    """
    if torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2"):
        return False
    # The public function is newer than the oldest torch that vtok runs on; those have the private one.
    if hasattr(torch.cpu, "get_capabilities"):
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe and probe())


def has_int8_dot_products() -> bool:
    """Whether the processor sums products of bytes in 32 bits (VNNI or AMX); false where PyTorch does not tell."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if capabilities:
        return any(bool(capabilities.get(name)) for name in ("avx512_vnni", "avx_vnni", "amx_int8"))
    probe = getattr(torch.cpu, "_is_vnni_supported", None)
    return bool(probe and probe())
