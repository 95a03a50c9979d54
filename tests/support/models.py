"""Tokenizers for tests."""

from dataclasses import replace
from typing import Any

import torch

from vtok.entropy.exact_prior import ExactPrior
from vtok.model.pretrained_model import PretrainedModel
from vtok.model.tokenizer import VideoTokenizer


def new_tiny_tokenizer(*, refine_dim: int = 8, **latent_options: Any) -> VideoTokenizer:
    """The pretrained kind of tokenizer, too small to be good, with random weights throughout."""
    torch.manual_seed(1)
    tokenizer = VideoTokenizer(
        layers=(("klt", 12), ("latent_residual", 8), ("latent_residual", 8)),
        num_codebooks=12,
        codebook_size=256,
        latent_options={
            "refine_dim": refine_dim,
            "guide_dim": 4,
            "prior_groups": (4, 12),
            "prior_context_dim": 8,
            "prior_group_dim": 8,
            **latent_options,
        },
    )
    # Last layers start at zero; a test of anything after them needs them to matter.
    for parameter in tokenizer.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    prior = ExactPrior.quantize(tokenizer.networks)
    return VideoTokenizer.of(PretrainedModel(tokenizer.networks, prior, "tiny", "0" * 64))


def set_hash(tokenizer: VideoTokenizer, sha256: str) -> None:
    """Let the weights of a tokenizer pass for others."""
    tokenizer._pretrained = replace(tokenizer.pretrained, tensors_sha256=sha256)
