"""A prior cut down to smaller sizes is what it was, but for what was cut off."""

import json
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from smaller_prior import cut_down, smaller_prior

from support.models import new_tiny_tokenizer
from vtok.errors import ConfigError
from vtok.model.weights import load_weights, save_weights, split_tensors
from vtok.networks.latent_model import LatentModel, LatentModelConfig
from vtok.networks.prior_group import NUM_GATES


@pytest.fixture
def model():
    return new_tiny_tokenizer().networks


def smaller(model, **sizes):
    """A model with another prior, whose weights are those of `model` as far as there is room."""
    new = LatentModel(replace(model.config, **sizes))
    cut_down(deepcopy(model.prior), new.prior)
    return new.prior


def distribution(prior):
    codes = torch.randint(-9, 10, (2, 12, 3, 5, 6), generator=torch.Generator().manual_seed(3)).float()
    with torch.no_grad():
        return torch.stack(prior(codes, torch.tensor([2.0, 6.5])))


def test_nothing_changes_where_nothing_is_cut(model):
    assert torch.equal(distribution(smaller(model)), distribution(model.prior))


def test_what_has_no_weight_can_be_cut(model):
    prior = model.prior
    with torch.no_grad():
        for kernel, start in ((prior.from_previous.weight, 3), (prior.group_networks[1].from_lower.weight, 3)):
            centre = kernel[:, start:, 1, 1].clone()
            kernel[:, start:] = 0
            kernel[:, start:, 1, 1] = centre
        units = torch.tensor([1, 4, 6])  # they are sorted behind the others
        kernel = prior.context_hidden.weight
        centre = kernel[:, units, 1, 1].clone()
        kernel[:, units] = 0
        kernel[:, units, 1, 1] = centre
    cut = smaller(model, prior_near_channels=3, prior_near_context=5)
    torch.testing.assert_close(distribution(cut), distribution(prior))
    assert sum(x.numel() for x in cut.parameters()) < sum(x.numel() for x in prior.parameters())


def test_a_second_pass_that_changes_nothing_can_be_cut(model):
    prior, network = model.prior, model.prior.group_networks[1]
    with torch.no_grad():
        network.from_own.weight.zero_()
        network.from_own.bias.zero_()
        network.second_pass.zero_()
        for of_gate in (network.out.weight, network.out.bias):
            of_gate.view(NUM_GATES, 8, -1)[1] = 0
        network.hidden.weight[:, 2:4] = 0  # two units of each layer are of no use
        network.out.weight[:, 5:7] = 0
        # Of the scale only the constant, and the size at the position, are there in both.
        prior.magnitude_weights[:, 4:, [1, 2, 4, 5]] = -60
        prior.magnitude_weights[1, 4:] = prior.magnitude_weights[0, 4:]
    cut = smaller(model, prior_num_single_pass=1, prior_single_pass_dim=6)
    assert cut.first_single_pass == 4
    torch.testing.assert_close(distribution(cut), distribution(prior))


def test_weights_are_cut_and_the_rest_is_theirs(model, tmp_path):
    source, config, output = tmp_path / "source.safetensors", tmp_path / "run.toml", tmp_path / "cut.safetensors"
    sizes = {name: getattr(model.config, name) for name in LatentModelConfig.__slots__}
    save_weights(source, {name: x.half() for name, x in model.state_dict().items()}, sizes)
    new = sizes | {"prior_num_single_pass": 1, "prior_single_pass_dim": 6, "prior_near_channels": 3}
    lines = (f"{name} = {json.dumps(value)}" for name, value in new.items())
    config.write_text("[model]\n" + "\n".join(lines))
    smaller_prior(source, output, config)
    tensors, written = load_weights(output)
    assert written["prior_num_single_pass"] == 1
    loaded = LatentModel(LatentModelConfig.from_json(written))
    loaded.load_state_dict(split_tensors(tensors)[0])
    assert loaded.prior.first_single_pass == 4
    expected = {name: x.half() for name, x in model.state_dict().items() if not name.startswith("prior.")}
    assert all(torch.equal(loaded.state_dict()[name].half(), x) for name, x in expected.items())
    config.write_text(config.read_text().replace("prior_single_pass_dim = 6", "prior_single_pass_dim = 9"))
    with pytest.raises(ConfigError, match=r"source.safetensors: its prior is not larger than the configuration's"):
        smaller_prior(source, output, config)
