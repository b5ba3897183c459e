"""Entries for tests of the leaderboard: written by the real writer, played by nobody."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lmgym.env import contract_of
from lmgym.evaluate import evaluation_starts
from lmgym.leaderboard.entries import Entry, EpisodeLine, task_name, write_entry
from lmgym.leaderboard.references import EVALUATION_SEED, stored_reference
from lmgym.leaderboard.suites import AGENT_KINDS


def line(total: float, *, success: bool | None = None, error: str | None = None, **facts: Any) -> EpisodeLine:
    """A game with this return."""
    known = {"seed": 0, "options": {}, "turns": 10, "invalid": 0, "ended": "terminated", "digest": "0" * 16, **facts}
    return EpisodeLine(total=total, success=success, error=error, **known)


def official(lines: Sequence[EpisodeLine], env_id: str, env_kwargs: Mapping[str, Any]) -> list[EpisodeLine]:
    """Let games have been played from the starts of the official evaluation."""
    starts = evaluation_starts(contract_of(env_id, env_kwargs), len(lines), EVALUATION_SEED)
    pairs = zip(lines, starts, strict=True)
    return [replace(one, seed=start.seed, options=dict(start.options)) for one, start in pairs]


def written(
    root: Path,
    task: str,
    agent: str,
    seed: int,
    games: Sequence[EpisodeLine | float],
    **changes: Any,
) -> Entry:
    """Write an entry of games (or of their returns) below `root`; `changes` are fields of the recipe."""
    lines = [game if isinstance(game, EpisodeLine) else line(game) for game in games]
    game = changes.pop("game", None) or {
        "env_id": f"lmgym/{task}",
        "env_kwargs": {},
        "fingerprint": stored_reference(task).fingerprint,
    }
    lines = official(lines, game["env_id"], game["env_kwargs"])
    recipe = {
        "task": task_name(game["env_id"], game["env_kwargs"]),
        "game": game,
        "agent": agent,
        "kind": AGENT_KINDS.get(agent, "method"),
        "title": agent,
        "seed": seed,
        "preset": None,
        "settings": {},
        "decoding": None,
        "trials": [],
        "evaluation": {"episodes": len(lines), "seed": 0},
        "parameters": None,
        "policy": None,
        "tokens": 0,
        "games": 0,
        "command": f"lmgym leaderboard run --tasks {task} --methods {agent} --seed {seed}",
        "made": {"lmgym": "0.1.0", "commit": None, "seconds": {"train": float(seed)}},
        **changes,
    }
    folder = root / recipe["task"] / agent / f"seed-{seed}"
    return write_entry(folder, recipe, lines, [], None)
