"""Weights that are trained, told from those of a base model that stays as it is beside its adapters (`lora.py`).

Frozen weights are never copied and never written: copies of a module share them, and checkpoints leave them out.
Modules without adapters have none.
"""

import copy
from pathlib import Path
from typing import TypeVar

from safetensors.torch import load_model, save_file, save_model
from torch import nn
from transformers import PreTrainedModel

M = TypeVar("M", bound=nn.Module)


def is_adapter(name: str) -> bool:
    """Return whether a parameter of this name belongs to an adapter.

    >>> is_adapter("layers.0.self_attn.q_proj.lora_A.default.weight")
    True
    """
    return ".lora_" in name


def base_weights(module: nn.Module) -> dict[int, nn.Parameter]:
    """Return the frozen parameters of all adapted models in a module, by their `id`."""
    found: dict[int, nn.Parameter] = {}
    for part in module.modules():
        if isinstance(part, PreTrainedModel):
            named = dict(part.named_parameters())
            if any(is_adapter(name) for name in named):
                found |= {id(weight): weight for name, weight in named.items() if not is_adapter(name)}
    return found


def trained_weights(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that training may change: all but those of an adapted base."""
    base = base_weights(module)
    return [weight for weight in module.parameters() if id(weight) not in base]


def copied(module: M) -> M:
    """Return a copy that shares the frozen weights of the original."""
    # What a copy is to share, it believes to have copied already.
    return copy.deepcopy(module, dict(base_weights(module)))


def save_weights(module: nn.Module, path: Path) -> None:
    """Write a module's weights, without the frozen ones, as safetensors."""
    frozen = _frozen_names(module)
    if not frozen:
        save_model(module, str(path))
        return
    state = {name: tensor.contiguous() for name, tensor in module.state_dict().items() if not _is_of(name, frozen)}
    save_file(state, str(path))


def load_weights(module: nn.Module, path: Path) -> None:
    """Load what `save_weights` wrote. Raises an error where the file is not of such a module."""
    frozen = _frozen_names(module)
    missing, unexpected = load_model(module, str(path), strict=not frozen)
    if wrong := sorted(name for name in {*missing, *unexpected} if not _is_of(name, frozen)):
        raise ValueError(f"{path} and the model differ in {wrong[0]}")


def _frozen_names(module: nn.Module) -> set[str]:
    base = base_weights(module)
    return {name for name, weight in module.named_parameters(remove_duplicate=False) if id(weight) in base}


def _is_of(name: str, weights: set[str]) -> bool:
    """Return whether an entry of a module's state is one of these weights, or what belongs to one: a weight of few
    bits has entries of its own below its name."""
    parts = name.split(".")
    return any(".".join(parts[:count]) in weights for count in range(1, len(parts) + 1))
