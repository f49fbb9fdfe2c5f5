"""Heads on features as one module for all members."""
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

_NORM_EPS = 1e-6


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x [B, in] or [M, B, in], weight [M, out, in], bias [M, out] -> [M, B, out]."""
    return torch.matmul(x, weight.transpose(1, 2)) + bias.unsqueeze(1)


def _norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=_NORM_EPS) * weight.unsqueeze(1) + bias.unsqueeze(1)


def _block_head(p: Mapping[str, Tensor], x: Tensor) -> Tensor:
    hidden = F.gelu(_linear(_norm(x, p["norm2.weight"], p["norm2.bias"]), p["mlp.fc1.weight"], p["mlp.fc1.bias"]))
    y = x + p["gamma_2"].unsqueeze(1) * _linear(hidden, p["mlp.fc2.weight"], p["mlp.fc2.bias"])
    return _linear(_norm(y, p["norm.weight"], p["norm.bias"]), p["head.weight"], p["head.bias"])


def _mlp(p: Mapping[str, Tensor], x: Tensor) -> Tensor:
    return _linear(_linear(x, p["fc1.weight"], p["fc1.bias"]).relu(), p["fc2.weight"], p["fc2.bias"])


def _linear_head(p: Mapping[str, Tensor], x: Tensor) -> Tensor:
    return _linear(x, p["head.weight"], p["head.bias"])


_FORWARD = {"block_head": _block_head, "mlp": _mlp, "linear": _linear_head}


class Heads(torch.nn.Module):
    """M heads of one kind, block_head, mlp or linear: features [B, D] -> logits [M, B, C].

    Parameters are stacked, [M, ...], under the names of the checkpoint: state_dict() and load_state_dict() take the same dictionaries.
    """

    def __init__(self, model: str, parameters: Mapping[str, Tensor]):
        super().__init__()
        if model not in _FORWARD:
            raise ValueError(f"Heads: model: expected one of {', '.join(_FORWARD)}, found '{model}'")
        self.model = model
        self._names = list(parameters)
        for name, values in parameters.items():
            *folders, last = name.split(".")
            place: torch.nn.Module = self
            for folder in folders:
                if not hasattr(place, folder):
                    place.add_module(folder, torch.nn.Module())
                place = getattr(place, folder)
            place.register_parameter(last, torch.nn.Parameter(values.clone()))

    def forward(self, x: Tensor) -> Tensor:
        stacked = {name: self.get_parameter(name) for name in self._names}
        dim = stacked["norm2.weight" if self.model == "block_head" else "fc1.weight" if self.model == "mlp" else "head.weight"].shape[-1]
        if x.dim() != 2 or x.shape[1] != dim:
            raise ValueError(f"Heads: x: expected features [B, {dim}], found {list(x.shape)}")
        return _FORWARD[self.model](stacked, x)
