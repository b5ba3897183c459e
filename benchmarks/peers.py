"""Games of other packages that resemble ours, timed where they are installed (`pip install gem-llm textarena`).

The nearest peer of Wordle is GEM's, of the mazes TextArena's Frozen Lake. GEM's word list is a download, so that ours
stands in for it. TextArena 0.7.4 has a chess file that Python 3.11 cannot read and a Wordle that wants a download.
"""

import importlib.util
import random
import time
import types
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any


def peers() -> Iterator[tuple[str, Callable[[int], float]]]:
    """Yield the name of each peer that is installed, with a function that returns the seconds of so many steps."""
    if importlib.util.find_spec("gem"):
        yield "GEM Wordle", gem_wordle
    if importlib.util.find_spec("textarena"):
        yield "TextArena FrozenLake-v0-raw", textarena_frozen_lake


def gem_wordle(num_steps: int) -> float:
    """Guess words of the list at random."""
    import gem
    from gem.envs.game_env import wordle

    folder = resources.files("lmgym.envs") / "data"
    listed = (folder / "wordle_431.txt").read_text(encoding="ascii").split()
    wordle.words = types.SimpleNamespace(words=lambda *_: listed)
    env = gem.make("game:Wordle-v0-hard")
    guesses = [f"\\boxed{{{word}}}" for word in random.Random(0).choices(listed, k=num_steps)]
    env.reset(seed=0)
    started = time.perf_counter()
    for guess in guesses:
        _, _, terminated, truncated, _ = env.step(guess)
        if terminated or truncated:
            env.reset()
    return time.perf_counter() - started


def textarena_frozen_lake(num_steps: int) -> float:
    """Walk at random."""
    import textarena

    moves = [f"[{move}]" for move in random.Random(0).choices(["up", "down", "left", "right"], k=num_steps)]
    env: Any = textarena.make("FrozenLake-v0-raw")
    env.reset(num_players=1, seed=0)
    started = time.perf_counter()
    for move in moves:
        env.get_observation()
        done, _ = env.step(move)
        if done:
            env.close()
            env.reset(num_players=1)
    return time.perf_counter() - started
