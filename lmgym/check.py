"""Does a game keep the contract? One rule a function; each plays the game and says in a sentence what is wrong."""

import hashlib
import json
import math
import os
import random
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from lmgym.agents import ScriptedAgent, choose_at_random, load_agent
from lmgym.env import TextEnv, contract, fidelity, listed_choices, make_env, plays_itself
from lmgym.episode import Episode
from lmgym.rollout import Game, Start, rollout

MAX_TURNS = 10_000
NUM_ODD_ACTIONS = 1_000


class Verdict(NamedTuple):
    """One rule and what breaks it; None: nothing does."""

    rule: str
    problem: str | None


class Broken(Exception):
    """A rule is broken; the message says how."""


@dataclass(frozen=True)
class Subject:
    """The game under test."""

    env_id: str
    env_kwargs: Mapping[str, Any]

    def make(self) -> gymnasium.Env:
        """Return a new environment with Gymnasium's wrappers."""
        return make_env(self.env_id, self.env_kwargs)

    def play(self, seed: int, role: str = "random") -> Episode:
        """Play one whole game at random or as the game plays itself."""
        agent = load_agent(role, self.env_id, dict(self.env_kwargs))
        return self.play_with(agent, seed)

    def play_with(self, agent: Any, seed: int) -> Episode:
        """Play one whole game with an agent; an exception of the game breaks the rule that is being tested."""
        starts = [Start(seed, {})]
        game = rollout(agent, self.env_id, starts, env_kwargs=self.env_kwargs, num_envs=1, max_turns=MAX_TURNS)
        episode = next(iter(game))
        if episode.error:
            raise Broken(f"a game with seed {seed} failed: {episode.error}")
        return episode


def check(env_id: str, env_kwargs: Mapping[str, Any] | None = None) -> Iterator[Verdict]:
    """Yield a verdict on each rule. Raises UsageError where the game cannot be made at all."""
    subject = Subject(env_id, dict(env_kwargs or {}))
    subject.make().close()
    for name, rule in RULES.items():
        with _global_random_kept(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                rule(subject)
            except Broken as broken:
                yield Verdict(name, str(broken))
            except Exception as error:
                yield Verdict(name, f"{type(error).__name__}: {error}")
            else:
                yield Verdict(name, None)


def _gymnasium_check(subject: Subject) -> None:
    env = subject.make()
    check_env(env.unwrapped)
    env.close()


def _five_values(subject: Subject) -> None:
    env = subject.make().unwrapped
    started = env.reset(seed=0)
    if not (isinstance(started, tuple) and len(started) == 2):
        raise Broken("reset() returns something other than (observation, info)")
    _require_observation(env, started[0])
    for _ in range(20):
        stepped = env.step(env.action_space.sample())
        if not (isinstance(stepped, tuple) and len(stepped) == 5):
            raise Broken("step() returns something other than five values")
        observation, reward, terminated, truncated, info = stepped
        _require_observation(env, observation)
        if not math.isfinite(float(reward)):
            raise Broken(f"the reward is {reward}")
        for name, flag in (("terminated", terminated), ("truncated", truncated)):
            if not isinstance(flag, bool | np.bool_):
                raise Broken(f"{name} is {type(flag).__name__}, not bool")
        if not isinstance(info, dict):
            raise Broken(f"info is {type(info).__name__}, not dict")
        if terminated or truncated:
            env.reset()
    env.close()


def _require_observation(env: gymnasium.Env, observation: Any) -> None:
    if not isinstance(observation, str):
        raise Broken(f"an observation is {type(observation).__name__}, not str")
    if observation in env.observation_space:
        return
    space = env.observation_space
    if isinstance(space, spaces.Text):
        foreign = sorted(set(observation) - space.character_set)
        if foreign:
            raise Broken(f"the observation space lacks the characters {foreign} of {observation[:60]!r}")
        raise Broken(
            f"an observation has {len(observation)} characters; the space allows {space.min_length} "
            f"to {space.max_length}"
        )
    raise Broken(f"the observation {observation[:60]!r} is not in the observation space")


def _observations_in_space(subject: Subject) -> None:
    env = subject.make().unwrapped
    for seed in range(5):
        for turn in subject.play(seed).observations:
            _require_observation(env, turn.text)
    env.close()


def _any_action_accepted(subject: Subject) -> None:
    env = subject.make()
    for action in ("", "hello there", "naïve ☃", "x" * 5000):
        if action not in env.action_space:
            raise Broken(f"the action space rejects {action[:20]!r}; judging actions is the game's task (AnyText)")
    env.close()


def _one_ending(subject: Subject) -> None:
    env = subject.make()
    limit = env.spec.max_episode_steps if env.spec else None
    game = Game(env.unwrapped, Start(0, {}))
    for seed in range(5):
        env.unwrapped.reset(seed=seed)
        for _ in range(limit or MAX_TURNS):
            _, _, terminated, truncated, _ = env.unwrapped.step(choose_at_random(game))
            if terminated and truncated:
                raise Broken("a game is terminated and truncated at once: it either ended or was cut off")
            if terminated or truncated:
                break
        else:
            if limit is None:
                raise Broken(f"a game went on for {MAX_TURNS} turns; register it with max_episode_steps")
    env.close()


def _same_seed(subject: Subject) -> None:
    for seed in (0, 1, 2):
        _require_equal(subject.play(seed), subject.play(seed), f"two games with seed {seed}")


_PRINT_FINGERPRINT = """
import json, sys
from lmgym.check import fingerprint
print(fingerprint(sys.argv[1], json.loads(sys.argv[2])))
"""


def _second_process(subject: Subject) -> None:
    # Hash seeds decide the order of sets; one of them might by chance give the order of this process.
    here = fingerprint(subject.env_id, subject.env_kwargs)
    if any(_fingerprint_elsewhere(subject, hash_seed) != here for hash_seed in ("1", "2", "3")):
        raise Broken("games with seeds 0 to 2 differ in a second process")


def _fingerprint_elsewhere(subject: Subject, hash_seed: str) -> str:
    command = [sys.executable, "-c", _PRINT_FINGERPRINT, subject.env_id, json.dumps(dict(subject.env_kwargs))]
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
    other = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if other.returncode:
        raise Broken(f"a second process failed: {(other.stderr.strip().splitlines() or ['no message'])[-1]}")
    return other.stdout.split()[-1]


def fingerprint(env_id: str, env_kwargs: Mapping[str, Any]) -> str:
    """Return a hash of the games with seeds 0 to 2, for comparison between processes."""
    subject = Subject(env_id, dict(env_kwargs))
    games = [subject.play(seed) for seed in range(3)]
    return hashlib.sha256(repr([(game.turns, game.terminated) for game in games]).encode()).hexdigest()


def _no_global_random(subject: Subject) -> None:
    states = random.getstate(), _numpy_state()
    first = subject.play(0)
    if random.getstate() != states[0]:
        raise Broken("a game draws from or seeds the global generator of `random`; use self.np_random")
    if _numpy_state() != states[1]:
        raise Broken("a game draws from or seeds the global generator of numpy; use self.np_random")
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 (to see whether a game reads it)
    _require_equal(first, subject.play(0), "two games with one seed under different global generators")


def _step_needs_reset(subject: Subject) -> None:
    # Without Gymnasium's checker, which fails for reasons of its own.
    env = make_env(subject.env_id, subject.env_kwargs, disable_env_checker=True)
    try:
        env.step("anything")
    except Exception:
        return
    finally:
        env.close()
    raise Broken("step() before reset() raises nothing")


def _nothing_stays(subject: Subject) -> None:
    agent = ScriptedAgent("random", choose_at_random)
    starts = [Start(seed, {}) for seed in range(4)]
    kept = list(rollout(agent, subject.env_id, starts, env_kwargs=subject.env_kwargs, num_envs=1))
    for seed, episode in enumerate(kept):
        _require_equal(episode, subject.play(seed), f"game {seed} of one environment and the same game of a new one")


def _odd_actions(subject: Subject) -> None:
    env = subject.make()
    env.reset(seed=0)
    for action in odd_actions():
        try:
            observation, reward, terminated, truncated, _ = env.step(action)
        except Exception as error:
            raise Broken(f"the action {_shown(action)} raises {type(error).__name__}: {error}") from error
        _require_observation(env, observation)
        if not math.isfinite(float(reward)):
            raise Broken(f"the action {_shown(action)} earns {reward}")
        if terminated or truncated:
            env.reset()
    env.close()


def odd_actions() -> Iterator[str]:
    """Yield 1,000 actions that no game expects, always the same."""
    crafted = [
        "",
        " ",
        "\n",
        "\r\n\t",
        "\x00",
        "a\x00b",
        "x" * 100_000,
        "🙂" * 50,
        "é",
        "\u202eright to left",
        "שלום",
    ]
    crafted += [
        "\ud800",
        "a\udfffb",
        "\x1b[31mred",
        "None",
        "null",
        "{}",
        "[]",
        "-1",
        "1e999",
        "%s%n",
        "{0}",
        "\\",
        "'\"",
    ]
    yield from crafted
    generator = np.random.default_rng(0)
    for _ in range(NUM_ODD_ACTIONS - len(crafted)):
        points = generator.integers(
            0, (128, 0x3000, 0x110000)[int(generator.integers(3))], size=generator.integers(1, 40)
        )
        yield "".join(map(chr, points))


def _shown(action: str) -> str:
    return ascii(action) if len(action) <= 40 else f"{action[:40]!a}... of {len(action)} characters"


def _declarations(subject: Subject) -> None:
    env = subject.make()
    rules = contract(env)
    if rules.history is not None and not (isinstance(rules.history, int) and rules.history >= 1):
        raise Broken(f"history is {rules.history!r}; it is None or a number of pieces from 1 up")
    if not (isinstance(rules.max_reply_chars, int) and rules.max_reply_chars >= 1):
        raise Broken(f"max_reply_chars is {rules.max_reply_chars!r}; it is a number from 1 up")
    for options in rules.official_starts:
        observation, _ = env.reset(seed=0, options=dict(options))
        _require_observation(env, observation)
    game = env.unwrapped
    told = game.prompt() if isinstance(game, TextEnv) else None
    if told is not None and not (isinstance(told, str) and told.strip()):
        raise Broken(f"prompt() returns {told!r}; it is a text, or None")
    for name, figure in fidelity(env).items():
        if not (isinstance(name, str) and isinstance(figure, int | float) and math.isfinite(figure)):
            raise Broken(f"fidelity() says {figure!r} of {name!r}; it gives numbers by name")
    env.close()


def _listed_choices(subject: Subject) -> None:
    env = subject.make()
    for seed in range(3):
        env.reset(seed=seed)
        generator = np.random.default_rng(seed)
        for _ in range(50):
            listed = listed_choices(env)
            if listed is None:
                return
            action = listed[int(generator.integers(len(listed)))]
            _, _, terminated, truncated, info = env.step(action)
            if info.get("invalid"):
                raise Broken(f"choices() lists {action!r}, which is invalid: {info['invalid']}")
            if terminated or truncated:
                break
    env.close()


def _plays_itself(subject: Subject) -> None:
    env = subject.make()
    for role in ("behaviour", "expert"):
        if not plays_itself(env, role):
            continue
        episode = subject.play(0, role)
        _require_equal(episode, subject.play(0, role), f"two games of {role}() with seed 0")
        replay = subject.play_with(_replaying(role, episode), 0)
        _require_equal(episode, replay, f"a game of {role}() and the replay of its actions")
    env.close()


def _replaying(name: str, episode: Episode) -> ScriptedAgent:
    actions = iter([turn.text for turn in episode.actions])
    return ScriptedAgent(name, lambda _: next(actions))


def _require_equal(first: Episode, second: Episode, what: str) -> None:
    for index, (one, other) in enumerate(zip(first.turns, second.turns, strict=False)):
        if one != other:
            raise Broken(f"{what} differ at piece {index}: {one.text[:60]!r} and {other.text[:60]!r}")
    if len(first.turns) != len(second.turns) or first.terminated != second.terminated:
        raise Broken(f"{what} end differently, after {len(first.turns)} and {len(second.turns)} pieces")


def _numpy_state() -> str:
    return repr(np.random.get_state())  # noqa: NPY002 (to see whether a game touches it)


@contextmanager
def _global_random_kept() -> Iterator[None]:
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


RULES: dict[str, Callable[[Subject], None]] = {
    "gymnasium's own check_env": _gymnasium_check,
    "reset gives two values and step five, of the right types": _five_values,
    "observations lie in the observation space": _observations_in_space,
    "every string is an action": _any_action_accepted,
    "a game ends, terminated or truncated but not both": _one_ending,
    "same seed, same game": _same_seed,
    "same seed, same game in a second process": _second_process,
    "no global random state": _no_global_random,
    "step before reset raises": _step_needs_reset,
    "nothing of a game stays for the next": _nothing_stays,
    f"{NUM_ODD_ACTIONS:,} odd actions do no harm": _odd_actions,
    "declarations make sense": _declarations,
    "listed choices are valid": _listed_choices,
    "behaviour and expert play, the same under a seed": _plays_itself,
}
