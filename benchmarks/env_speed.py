"""Steps per second of every registered game, beside an empty text environment in the same run.

Games are played once at random to note the actions, and then replayed with the clock on, so that only `reset` and
`step` through `gymnasium.make` are timed; peers (peers.py) are timed in the same run where they are
installed. Read the ratios: absolute figures are those of one machine on one day.
"""

import argparse
import time
from typing import Any

import gymnasium
from gymnasium import spaces
from peers import peers
from rich.console import Console
from rich.table import Table

import lmgym  # noqa: F401 (registers the games)
from lmgym.agents import choose_at_random
from lmgym.errors import UsageError
from lmgym.rollout import Game, Start
from lmgym.tasks import game_ids


class Empty(gymnasium.Env[str, str]):
    """Says the same thing for ever: what Gymnasium itself costs."""

    observation_space = spaces.Text(5, charset="a")
    action_space = spaces.Text(5, charset="a")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        return "a", {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return "a", 0.0, False, False, {}


gymnasium.register("benchmark/Empty-v0", entry_point=Empty, max_episode_steps=100)


Kwargs = dict[str, Any]

# Settings that cost something else than the default ones.
VARIANTS: dict[str, list[Kwargs]] = {"lmgym/Chess-v0": [{"engine": "random"}, {"engine": "stockfish"}]}


def noted_actions(env_id: str, kwargs: Kwargs, num_steps: int) -> list[str]:
    """Play at random from seed 0 on and return the actions."""
    env = gymnasium.make(env_id, **kwargs)
    env.reset(seed=0)
    game = Game(env, Start(0, {}))
    actions = []
    for _ in range(num_steps):
        actions.append(choose_at_random(game))
        _, _, terminated, truncated, _ = env.step(actions[-1])
        if terminated or truncated:
            env.reset()
    env.close()
    return actions


def steps_per_second(env_id: str, kwargs: Kwargs, seconds: float) -> float:
    """Replay noted actions, as many as take a tenth of the time at least; return the best of the stretches."""
    num_steps = 500
    while True:
        actions = noted_actions(env_id, kwargs, num_steps)
        spent = replay_seconds(env_id, kwargs, actions)
        if spent > seconds / 10 or num_steps >= 512_000:
            break
        num_steps *= 4
    stretches = max(2, min(10, round(seconds / spent)))
    return num_steps / min(spent, *(replay_seconds(env_id, kwargs, actions) for _ in range(stretches)))


def replay_seconds(env_id: str, kwargs: Kwargs, actions: list[str]) -> float:
    """Return the seconds that the noted actions take."""
    env = gymnasium.make(env_id, **kwargs)
    env.reset(seed=0)
    started = time.perf_counter()
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    spent = time.perf_counter() - started
    env.close()
    return spent


def main() -> None:
    """Time every game and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="about how long to time a game")
    options = parser.parse_args()
    empty = steps_per_second("benchmark/Empty-v0", {}, options.seconds)
    table = Table("game", "steps/s", "of an empty game", title="Speed of the games, one process")

    def add(name: str, speed: float) -> None:
        table.add_row(name, f"{speed:,.0f}", f"{speed / empty:.3g}")

    add("an empty text environment", empty)
    for env_id in game_ids():
        for kwargs in [{}, *VARIANTS.get(env_id, [])]:
            name = " ".join([env_id, *(f"{key}={value}" for key, value in kwargs.items())])
            try:
                add(name, steps_per_second(env_id, kwargs, options.seconds))
            except UsageError as error:
                table.add_row(name, f"not timed: {error}", "-")
    for name, seconds_of in peers():
        add(f"peer: {name}", max(3000 / seconds_of(3000) for _ in range(5)))
    Console().print(table)


if __name__ == "__main__":
    main()
