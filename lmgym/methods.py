"""The methods by name: those of `lmgym.algorithms`, and modules of the user by dotted name."""

import dataclasses
import pkgutil
from importlib import import_module
from typing import Any

from lmgym.env import imported
from lmgym.errors import UsageError, unknown


def methods() -> list[str]:
    """Return the names of the methods in `lmgym.algorithms`."""
    found = pkgutil.iter_modules(import_module("lmgym.algorithms").__path__)
    return [module.name for module in found if not module.name.startswith("_")]


def method_module(name: str) -> Any:
    """Import a method by its name, or by dotted name one outside lmgym. Raises UsageError for an unknown one."""
    if "." not in name and name not in methods():
        raise unknown("method", name, [*methods(), "my_pkg.my_method"])
    module = imported(name if "." in name else f"lmgym.algorithms.{name}", name)
    if not (dataclasses.is_dataclass(getattr(module, "Config", None)) and callable(getattr(module, "train", None))):
        raise UsageError(f"{name} is no method: it needs a dataclass Config and a function train(run, config)")
    return module
