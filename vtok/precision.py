"""Which arithmetic this processor is fast in."""

import torch


def has_fast_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 in hardware (AVX-512 BF16 or AMX); elsewhere float32 is faster."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
