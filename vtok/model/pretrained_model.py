"""`PretrainedModel`: networks, exact prior, and the name and hash that files are written under."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vtok.entropy.exact_prior import ExactPrior
from vtok.model.rgb_model import RgbModel
from vtok.model.weights import EXACT_PRIOR, tensors_sha256

_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True, eq=False)
class PretrainedModel:
    """A model that codes files. It may be shared, so nothing of it is to be changed; see `as_it_is`.

    Attributes:
        networks: Analysis, synthesis and the float prior.
        exact_prior: What codes are coded with.
        name: The model's name.
        tensors_sha256: Hash of its tensors; see `vtok.model.weights.tensors_sha256`.
        stored_types: The types that networks' tensors were hashed in, where that was not the type they have here.
    """

    networks: RgbModel
    exact_prior: ExactPrior
    name: str
    tensors_sha256: str
    stored_types: Mapping[str, torch.dtype] = field(default_factory=dict)
    _sums: list[int] = field(init=False, repr=False)
    _copies: dict[torch.device, RgbModel] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_sums", _bit_sums(self.networks))

    def __reduce__(self) -> tuple[Any, ...]:
        model = self.as_it_is()
        arguments = (model.networks, model.exact_prior, model.name, model.tensors_sha256, model.stored_types)
        return PretrainedModel, arguments  # without copies on other devices, which the receiver may not have

    def on(self, device: torch.device) -> RgbModel:
        """The networks on a device: a copy, made once, if they are on another."""
        if all(parameter.device.type == device.type for parameter in self.networks.parameters()):
            return self.networks
        if device not in self._copies:
            self._copies[device] = copy.deepcopy(self.networks).to(device)
        return self._copies[device]

    def as_it_is(self) -> "PretrainedModel":
        """This model, or if its networks were changed since it was made, another with a name and hash of its own.

        Who trains networks changes them in place. Files that were then written under the old hash would be decoded
        with other networks than they were made for, and nobody would notice.
        """
        if _bit_sums(self.networks) == self._sums:
            return self
        if self._hash(self.exact_prior, self.stored_types) == self.tensors_sha256:
            return self  # of another type
        prior = ExactPrior.quantize(copy.deepcopy(self.networks.prior).cpu().float())
        name = f"{self.name.removesuffix('-changed')}-changed"
        return PretrainedModel(self.networks, prior, name, self._hash(prior, {}))

    def _hash(self, prior: ExactPrior, types: Mapping[str, torch.dtype]) -> str:
        tensors = {
            name: _stored(tensor, types.get(name, tensor.dtype)) for name, tensor in self.networks.state_dict().items()
        }
        return tensors_sha256(tensors | {EXACT_PRIOR + name: tensor for name, tensor in prior.tensors().items()})


def _stored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """`tensor` in another type if that loses nothing."""
    stored = tensor.to(dtype)
    return stored if torch.equal(stored.to(tensor.dtype), tensor) else tensor


def _bit_sums(networks: RgbModel) -> list[int]:
    """The sum of each tensor's values, taken as integers: a few milliseconds, where a hash takes a hundred.

    PyTorch counts changes of a tensor too, but not those by way of `tensor.data`.
    """
    tensors = networks.state_dict().values()
    return torch.stack([tensor.view(_INTEGERS[tensor.element_size()]).sum() for tensor in tensors]).tolist()
