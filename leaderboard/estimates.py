"""How long entries will take, from how long others took."""

import contextlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from lmgym.leaderboard.entries import RECIPE
from lmgym.leaderboard.presets import Job, Plan


def estimates(plan: Plan, jobs: Sequence[Job], folders: Iterable[Path]) -> dict[Job, float]:
    """Return seconds for the jobs whose like was made before: the mean over entries below `folders` of the same game,
    agent and preset (any preset for scripted agents), whatever their seed. Without the clone, which is a job."""
    known = defaultdict(list)
    for folder in folders:
        for path in folder.glob(f"*/*/[!.]*/{RECIPE}"):
            # Whoever reads the entry says what is wrong with it; here it is of no use.
            with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
                recipe = json.loads(path.read_text(encoding="utf-8"))
                seconds = recipe["made"]["seconds"]
                spent = sum(value or 0.0 for name, value in seconds.items() if name != "clone")
                known[recipe["task"], recipe["agent"], recipe["preset"]].append(spent)
    found = {}
    for job in jobs:
        seen = known.get((job.task.name, job.agent, plan.preset.name if job.is_trained else None))
        if seen:
            found[job] = sum(seen) / len(seen)
    return found
