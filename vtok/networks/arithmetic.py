"""The device and the arithmetic of the networks, chosen by the machine's abilities or by the user.

They affect only pixels and the encoder's choice of codes. Codes become bytes in exact arithmetic, always on the
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
    """The device and the arithmetic of networks.

    Attributes:
        device: The device that runs the networks.
        bfloat16: Whether convolutions multiply in bfloat16 (and sum in float32).
    """

    device: torch.device
    bfloat16: bool

    def autocast(self) -> AbstractContextManager[object]:
        """A context in which networks compute in this arithmetic."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)


def choose_arithmetic(device: str = "auto", precision: str = "auto") -> Arithmetic:
    """Choose the arithmetic; `auto` means a GPU if there is one, and bfloat16 if the hardware multiplies it.

    Raises:
        ConfigError: The device or precision is unknown, or this machine does not have the device.
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

    False if `ATEN_CPU_CAPABILITY` limits PyTorch to less than AVX-512.
    """
    if torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2"):
        return False
    # The oldest versions of torch that vtok supports lack the public function and have the private one.
    if hasattr(torch.cpu, "get_capabilities"):
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe and probe())


def has_int8_dot_products() -> bool:
    """Whether the processor sums products of bytes in 32 bits (VNNI or AMX); false if PyTorch cannot tell."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if capabilities:
        return any(bool(capabilities.get(name)) for name in ("avx512_vnni", "avx_vnni", "amx_int8"))
    probe = getattr(torch.cpu, "_is_vnni_supported", None)
    return bool(probe and probe())
