"""`PretrainedModel`: networks, exact prior, and the name and hash that are written into files."""

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
    """A model that codes files. It may be shared, so it must not be changed; `as_it_is` says what happens if it is.

    Attributes:
        networks: Analysis, synthesis and the float prior.
        exact_prior: The prior in integers, used for entropy coding.
        name: Name of the model.
        tensors_sha256: Hash of the model's tensors; see `vtok.model.weights.tensors_sha256`.
        stored_types: The types in which the networks' tensors were hashed, where these differ from their types here.
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
        return PretrainedModel, arguments  # no copies on other devices: the receiver may not have these devices

    def on(self, device: torch.device) -> RgbModel:
        """Return the networks on a device: a copy, made once, if they are on another one."""
        if all(parameter.device.type == device.type for parameter in self.networks.parameters()):
            return self.networks
        if device not in self._copies:
            self._copies[device] = copy.deepcopy(self.networks).to(device)
        return self._copies[device]

    def as_it_is(self) -> "PretrainedModel":
        """Return this model, or, if its networks were changed after it was made, a new one with its own name and hash.

        Training changes networks in place. Files then written under the old hash would be decoded with networks other
        than those they were made for, without an error.
        """
        if _bit_sums(self.networks) == self._sums:
            return self
        if self._hash(self.exact_prior, self.stored_types) == self.tensors_sha256:
            return self  # only the type of the tensors was changed
        prior = ExactPrior.quantize(copy.deepcopy(self.networks).cpu().float())
        name = f"{self.name.removesuffix('-changed')}-changed"
        return PretrainedModel(self.networks, prior, name, self._hash(prior, {}))

    def _hash(self, prior: ExactPrior, types: Mapping[str, torch.dtype]) -> str:
        tensors = {
            name: _stored(tensor, types.get(name, tensor.dtype)) for name, tensor in self.networks.state_dict().items()
        }
        return tensors_sha256(tensors | {EXACT_PRIOR + name: tensor for name, tensor in prior.tensors().items()})


def _stored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return `tensor` in type `dtype` if that loses nothing, else unchanged."""
    stored = tensor.to(dtype)
    return stored if torch.equal(stored.to(tensor.dtype), tensor) else tensor


def _bit_sums(networks: RgbModel) -> list[int]:
    """Return the sum of each tensor's bits read as integers. This takes a few milliseconds, a hash takes a hundred.

    PyTorch also counts the changes of a tensor, but not changes through `tensor.data`.
    """
    tensors = networks.state_dict().values()
    return torch.stack([tensor.view(_INTEGERS[tensor.element_size()]).sum() for tensor in tensors]).tolist()
