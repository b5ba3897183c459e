"""Imported by the process that those of entries are forked from: games, methods and the commit are those of when a
command began, though somebody may change the checkout while it is at work."""

from importlib import import_module

import gymnasium

import lmgym.inspection  # imported late elsewhere: agents without a model need no torch
import lmgym.leaderboard.making  # noqa: F401
from lmgym import provenance
from lmgym.methods import method_module, methods

provenance.commit()
for name in methods():
    method_module(name)
for spec in gymnasium.registry.values():
    if spec.id.startswith("lmgym/") and isinstance(spec.entry_point, str):
        import_module(spec.entry_point.partition(":")[0])
