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
    base = base_weights(module)
    if not base:
        save_model(module, str(path))
        return
    # By identity, so that weights that are tied to each other are written once.
    kept = {id(weight): name for name, weight in reversed(module.state_dict(keep_vars=True).items())}
    state = module.state_dict()
    save_file({name: state[name].contiguous() for key, name in kept.items() if key not in base}, str(path))


def load_weights(module: nn.Module, path: Path) -> None:
    """Load what `save_weights` wrote. Raises an error where the file is not of such a module."""
    base = base_weights(module)
    missing, unexpected = load_model(module, str(path), strict=not base)
    shared = {name for name, weight in module.named_parameters(remove_duplicate=False) if id(weight) in base}
    if wrong := sorted({*missing} - shared | {*unexpected}):
        raise ValueError(f"{path} and the model differ in {wrong[0]}")
