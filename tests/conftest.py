"""Fixtures that several test modules share."""

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from vtok.code_tables import CodeTables
from vtok.entropy import FrequencyTables, quantize_probabilities
from vtok.tokenizer import VideoTokenizer


def new_tiny_tokenizer() -> VideoTokenizer:
    """The pretrained kind of tokenizer, too small to be good, with random weights throughout."""
    torch.manual_seed(1)
    tokenizer = VideoTokenizer(
        layers=(("klt", 12), ("latent_residual", 8), ("latent_residual", 8)),
        num_codebooks=12,
        codebook_size=256,
        latent_options={
            "refine_dim": 8,
            "guide_dim": 4,
            "prior_groups": (4, 12),
            "prior_context_dim": 8,
            "prior_group_dim": 8,
        },
    )
    # Last layers start at zero; a test of anything after them needs them to matter.
    for parameter in tokenizer.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return tokenizer.eval()


def tiny_tables_of(tokenizer: VideoTokenizer) -> CodeTables:
    """Code tables of four widths, in turn."""
    distance = np.abs(np.arange(256) - 128)
    shapes = [np.exp(-distance / width) for width in (0.5, 2, 8, 32)]
    index = np.arange(9 * tokenizer.num_codebooks, dtype=np.uint8).reshape(9, -1) % 4
    return CodeTables(FrequencyTables(quantize_probabilities(shapes)), index)


@pytest.fixture
def tiny_tokenizer() -> VideoTokenizer:
    return new_tiny_tokenizer()


@pytest.fixture
def tiny_tables(tiny_tokenizer) -> CodeTables:
    return tiny_tables_of(tiny_tokenizer)


@pytest.fixture
def cli_runner() -> CliRunner:
    """Runs the command line in this process."""
    return CliRunner()
