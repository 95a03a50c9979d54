"""Cuts the prior of weights down to the sizes of another configuration, so that a run can continue from there.

python tools/weights/smaller_prior.py vtok/pretrained/vtok-8x8x8.safetensors runs/start.safetensors

Where the smaller prior looks at a position only, the weights of a channel for its surroundings are cut off. The second
pass is cut off if the smaller prior has one pass only. The most important channels of the codes stay, and the units of
hidden layers with the largest weights.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor, nn

from vtok.errors import ConfigError
from vtok.model.weights import load_weights, save_weights, split_tensors
from vtok.networks.latent_model import LatentModel, LatentModelConfig
from vtok.networks.layers import NearConv2d
from vtok.networks.prior import Prior
from vtok.networks.prior_group import GroupNetwork
from vtok.training.config import load_config


def smaller_prior(
    weights: Annotated[Path, typer.Argument(help="A .safetensors file.")],
    output: Annotated[Path, typer.Argument(help="Where the new one goes.")],
    config: Annotated[
        Path | None, typer.Option(help="Configuration of a run, with the sizes of the new prior.")
    ] = None,
) -> None:
    """Write the weights of WEIGHTS to OUTPUT, with a prior of the sizes in `config`, for training: it has no tables."""
    tensors, sizes = load_weights(weights)
    old = LatentModel(LatentModelConfig.from_json(sizes))
    old.load_state_dict(split_tensors(tensors)[0])
    model = LatentModel(load_config(config).model)
    rest = {name: tensor for name, tensor in old.state_dict().items() if not name.startswith("prior.")}
    model.load_state_dict(model.state_dict() | rest)
    try:
        cut_down(old.prior, model.prior)
    except RuntimeError as error:
        raise ConfigError(f"{weights}: its prior is not larger than the configuration's in every way") from error
    half = {name: tensor.half() for name, tensor in model.state_dict().items()}
    save_weights(output, half, asdict(model.config))


@torch.no_grad()
def cut_down(old: Prior, new: Prior) -> None:
    """Copy the part of `old` that fits into `new`. Sorts the hidden layers of `old`, whose function does not change."""
    if new.context_hidden.num_near < old.context_hidden.num_near:
        kernel = old.context_hidden.weight
        around = kernel.square().sum((0, 2, 3)) - kernel[:, :, 1, 1].square().sum(0)
        order = torch.cat([around.argsort(descending=True), torch.arange(len(around), len(kernel))])
        _sort_outputs(order, old.from_previous, old.from_before, old.from_start, old.from_motion)
        old.context_quality.rows.copy_(old.context_quality.rows[:, order])
        kernel.copy_(kernel[:, order[: kernel.shape[1]]])
    state = old.state_dict()
    for ours, theirs in zip(new.group_networks, old.group_networks, strict=True):
        assert isinstance(ours, GroupNetwork)
        assert isinstance(theirs, GroupNetwork)
        _cut_network(theirs, ours)
    for layer in ("from_previous", "context_hidden"):
        _cut_kernel(getattr(old, layer), getattr(new, layer), slice(None))
    for name, tensor in new.state_dict().items():
        if name.startswith(("group_networks.", "from_previous.", "context_hidden.")):
            continue
        if name == "single_pass_magnitude_weights" and name not in state:
            # The weights of the constant, of the surroundings of the position, and of the position itself.
            tensor.copy_(state["magnitude_weights"][0, -len(tensor) :, [0, 1, 3]])
        elif name == "magnitude_weights":
            tensor.copy_(state[name][:, : tensor.shape[1]])
        else:
            tensor.copy_(state[name])


def _cut_network(old: GroupNetwork, new: GroupNetwork) -> None:
    first = _largest(new.hidden, old.hidden.weight)
    second = _largest(new.hidden, old.out.weight)
    for layer in ("from_context", "from_own"):
        if getattr(new, layer) is not None:
            for ours, theirs in zip(getattr(new, layer).parameters(), getattr(old, layer).parameters(), strict=True):
                ours.copy_(theirs[first])
    if new.from_lower is not None and old.from_lower is not None:
        _cut_kernel(old.from_lower, new.from_lower, first)
    if new.second_pass is not None and old.second_pass is not None:
        new.second_pass.copy_(old.second_pass[first])
    new.quality.rows.copy_(old.quality.rows[:, first])
    new.hidden.weight.copy_(old.hidden.weight[second][:, first])
    _copy_bias(old.hidden, new.hidden, second)
    # The spatial gate is dropped if there is one pass now.
    gates = [0, 2, 3] if new.num_gates < old.num_gates else slice(None)
    for ours, theirs in zip(new.out.parameters(), old.out.parameters(), strict=True):
        kept = theirs.view(old.num_gates, -1, *theirs.shape[1:])[gates].flatten(0, 1)
        ours.copy_(kept[:, second] if kept.dim() > 1 else kept)


def _largest(layer: nn.Conv2d, following: Tensor) -> Tensor:
    """The units with the largest weights in the `following` layer, as many as `layer` has, in their order."""
    sizes = following.square().sum((0, 2, 3))
    return sizes.argsort(descending=True)[: layer.weight.shape[0]].sort().values


def _cut_kernel(old: NearConv2d, new: NearConv2d, outputs: Tensor | slice) -> None:
    """Keep some outputs, the weights of all inputs at the position, and those of the first inputs around it."""
    new.weight.copy_(old.weight[outputs, : new.num_near])
    if new.far is not None:
        at_position = [old.weight[outputs, new.num_near :, 1:2, 1:2]]
        if old.far is not None:
            at_position.append(old.far.weight[outputs])
        new.far.weight.copy_(torch.cat(at_position, dim=1))
    _copy_bias(old, new, outputs)


def _copy_bias(old: nn.Conv2d, new: nn.Conv2d, outputs: Tensor | slice) -> None:
    assert old.bias is not None
    assert new.bias is not None
    new.bias.copy_(old.bias[outputs])


def _sort_outputs(order: Tensor, *layers: nn.Conv2d) -> None:
    for layer in layers:
        for parameter in layer.parameters():
            parameter.copy_(parameter[order])


if __name__ == "__main__":
    typer.run(smaller_prior)
