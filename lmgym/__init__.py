"""lmgym: the gym for multi-turn reinforcement learning with language models.

Importing this registers the games with Gymnasium, by name only: it imports no game, neither torch nor
transformers.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from gymnasium import register

__version__ = "0.1.0"

# The folders beside the core are known by name alone; see tests/test_imports.py.
import_module("lmgym.envs")
register("lmgym/Remote-v0", entry_point="lmgym.remote:RemoteEnv")

_PUBLIC = {
    "Episode": "lmgym.episode",
    "Policy": "lmgym.policy",
    "Reference": "lmgym.scores",
    "Score": "lmgym.scores",
    "TextEnv": "lmgym.env",
    "Turn": "lmgym.episode",
    "UsageError": "lmgym.errors",
    "evaluate": "lmgym.evaluate",
    "load_agent": "lmgym.agents",
    "make_env": "lmgym.env",
    "read_episodes": "lmgym.store",
    "rollout": "lmgym.rollout",
    "write_episodes": "lmgym.store",
}
__all__ = [*_PUBLIC, "__version__"]


class _Package(ModuleType):
    """Keeps `lmgym.evaluate` and `lmgym.rollout` functions, although importing the modules that hold them binds these
    names to the modules."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _PUBLIC and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'lmgym' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
