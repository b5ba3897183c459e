"""The official evaluation of an agent, and what a recipe says of it."""

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lmgym import provenance
from lmgym.env import contract_of
from lmgym.episode import Episode
from lmgym.evaluate import default_episodes, evaluate
from lmgym.journal import Journal
from lmgym.leaderboard.entries import EpisodeLine, Replay, three_games
from lmgym.leaderboard.presets import Task
from lmgym.leaderboard.references import EVALUATION_SEED, fingerprint
from lmgym.progress import progress
from lmgym.rollout import Agent

if TYPE_CHECKING:
    from lmgym.inspection import SeenGame


@dataclass(frozen=True)
class Played:
    """An official evaluation: its games, three of them recorded, and how long it took."""

    lines: list[EpisodeLine]
    replays: list[Replay]
    seconds: float
    usage: Mapping[str, float]


def play(agent: Agent, task: Task, episodes: int | None, journal: Journal | None = None) -> Played:
    """Play the official evaluation games, `episodes` of them (the game's own number if None), but those that are in
    the journal already."""
    count = default_episodes(contract_of(task.env_id, task.env_kwargs), episodes, task.env_id)
    games: list[Episode] = []
    begun = time.perf_counter()
    with progress("evaluate", count) as bar:

        def seen(episode: Episode) -> None:
            games.append(episode)
            bar.advance()

        result = evaluate(
            agent,
            task.env_id,
            env_kwargs=task.env_kwargs,
            episodes=count,
            seed=EVALUATION_SEED,
            watch=seen,
            journal=journal,
        )
    seconds = time.perf_counter() - begun
    lines = [EpisodeLine.of(game) for game in games]
    replays = [
        Replay.of(rank, place, games[place], _thoughts(agent, games[place])) for rank, place in three_games(lines)
    ]
    return Played(lines, replays, seconds, result.usage)


def _thoughts(agent: Agent, game: Episode) -> "SeenGame | None":
    """Return what a policy thought of each token of its game, None for an agent without one, who needs no torch."""
    if getattr(agent, "policy", None) is None:
        return None
    from lmgym.inspection import look
    from lmgym.play import PolicyAgent

    return look(agent, game) if isinstance(agent, PolicyAgent) else None


def described(task: Task, agent: Agent, played: Played, *, title: str) -> dict[str, Any]:
    """Return what a recipe says of an evaluation, with nothing about a training."""
    decoding = getattr(agent, "decoding", None)
    policy = getattr(agent, "policy", None)
    return {
        "task": task.name,
        "game": {
            "env_id": task.env_id,
            "env_kwargs": task.env_kwargs,
            "fingerprint": fingerprint(task.env_id, task.env_kwargs),
        },
        "title": title,
        "preset": None,
        "settings": {},
        "decoding": None if decoding is None else dataclasses.asdict(decoding),
        "trials": [],
        "evaluation": {"episodes": len(played.lines), "seed": EVALUATION_SEED},
        "parameters": None if policy is None else policy.num_parameters,
        "policy": None,
        "tokens": 0,
        "games": 0,
        "made": made(played.seconds),
    }


def made(evaluating: float) -> dict[str, Any]:
    """Return what varies between repeats of the same work."""
    return {
        **provenance.code(),
        **provenance.environment(),
        **provenance.computing(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "seconds": {"evaluate": round(evaluating, 1)},
        "peak_memory_mib": provenance.peak_memory_mib(),
    }
