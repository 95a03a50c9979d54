"""Fits the frozen code tables of a trained model: the palette from its prior's shapes, the choice from its codes."""

import numpy as np
import torch
from torch import Tensor

from vtok.code_tables import CodeTables
from vtok.entropy import FREQUENCY_TOTAL, FrequencyTables, quantize_probabilities
from vtok.latent_model import LatentModel
from vtok.prior import LOG2_SCALE_RANGE, Distribution
from vtok.training.clip_cache import ClipCache

NUM_TABLES = 96
BATCH_SIZE = 8


@torch.no_grad()
def fit_code_tables(model: LatentModel, cache: ClipCache, *, num_clips: int, seed: int = 0) -> CodeTables:
    """Choose for each quality and channel the table that codes the model's codes of `num_clips` clips best."""
    low, high = LOG2_SCALE_RANGE
    scales = torch.linspace(low, high, NUM_TABLES)[:, None].expand(-1, 2**model.config.num_stages)
    values = torch.arange(model.quantizer.min_code, model.quantizer.max_code + 1).float().expand(NUM_TABLES, -1)
    bits = model.prior.bits(values, Distribution(torch.zeros_like(values), scales))
    tables = FrequencyTables(quantize_probabilities(torch.exp2(-bits.double()).numpy()))
    lengths = torch.from_numpy(np.log2(FREQUENCY_TOTAL / tables.frequencies.astype(np.float64)))
    index = [
        (lengths @ _histograms(model, cache, quality, num_clips, seed).double()).argmin(0)
        for quality in range(1, model.config.num_qualities + 1)
    ]
    return CodeTables(tables, torch.stack(index).to(torch.uint8).numpy(), model.quantizer.zero_code)


def _histograms(model: LatentModel, cache: ClipCache, quality: int, num_clips: int, seed: int) -> Tensor:
    """How often each channel takes each code, `[codes, n]`, on the same random clips for every quality."""
    rng = np.random.default_rng(seed)
    size, n = 2**model.config.num_stages, model.config.num_channels
    counts = torch.zeros(size * n, dtype=torch.int64)
    for _ in range(-(-num_clips // BATCH_SIZE)):
        planes = cache.batch(rng, batch_size=BATCH_SIZE, num_frames=cache.num_frames // 8 * 8, size=cache.size // 8 * 8)
        latents, _ = model.encode(planes, torch.full((BATCH_SIZE,), float(quality)))
        codes = model.quantizer.to_uint8(model.quantizer(latents)).long()
        channel = torch.arange(n).view(1, n, 1, 1, 1)
        counts += torch.bincount((codes * n + channel).flatten(), minlength=size * n)
    return counts.view(size, n)
