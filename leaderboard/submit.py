"""An entry for any agent: a run folder, a hosted model, a class of one's own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmgym.agents import SCRIPTED, load_agent
from lmgym.errors import UsageError
from lmgym.files import sha256
from lmgym.leaderboard.entries import Entry, file_name, write_entry
from lmgym.leaderboard.making import described, play
from lmgym.leaderboard.presets import Task
from lmgym.methods import methods
from lmgym.play import PolicyAgent
from lmgym.policy import RECORD


def submit(
    agent: str,
    task: Task,
    entries: Path,
    name: str,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> Entry:
    """Play the official evaluation games of a task with an agent and write its entry.

    `name` is what the agent is called in the table, `seed` that of its training where there are several. Raises
    UsageError for a name that belongs to the leaderboard's own agents, and where games failed: an entry of some of the
    games would not be comparable.
    """
    slug = file_name(name)
    if slug in (*SCRIPTED, *methods()):
        raise UsageError(f"{name!r} is the name of one of lmgym's own agents; choose another --name")
    folder = entries / task.name / slug / f"seed-{seed}"
    if folder.exists():
        raise UsageError(f"{folder} exists already; remove it to play its games again")
    player = load_agent(agent, task.env_id, task.env_kwargs, settings=settings)
    played = play(player, task, None)
    failed = [line.error for line in played.lines if line.error is not None]
    if failed:
        raise UsageError(f"{len(failed)} of {len(played.lines)} games failed, the first with {failed[0]}")
    recipe = {
        **described(task, player, played, title=name),
        "agent": slug,
        "kind": "submitted",
        "seed": seed,
        "settings": {"agent": agent},
        "command": f"lmgym leaderboard submit {agent} --tasks {task.argument} --name {name!r} --seed {seed}",
    }
    if isinstance(player, PolicyAgent):
        recipe["policy"] = sha256(Path(agent) / RECORD)
    return write_entry(folder, recipe, played.lines, played.replays, None)
