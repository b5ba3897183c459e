"""What a text game is: a `gymnasium.Env[str, str]`, and what else a learner may want to know of it.

Any Gymnasium environment with text spaces plays, trains and evaluates; `TextEnv` only adds declarations and
the ability of a game to play itself. Observations and actions carry no closing newline.
"""

import importlib
import inspect
import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from lmgym.errors import UsageError, unknown
from lmgym.scores import Reference

PRINTABLE = string.digits + string.ascii_letters + string.punctuation + " \n"


class AnyText(spaces.Text):
    """The action space of a text game: every string is a member, because judging actions is the game's task.

    `examples` are what `sample()` draws from; without them it draws printable characters.
    """

    def __init__(self, examples: Sequence[str] = (), max_length: int = 1_000_000) -> None:
        super().__init__(max_length, min_length=0, charset=PRINTABLE)
        self.examples = tuple(examples)

    def contains(self, x: Any) -> bool:
        """Return whether `x` is a string."""
        return isinstance(x, str)

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """Return one of the examples, or up to 20 printable characters where there are none."""
        if mask is not None or probability is not None:
            raise ValueError("a space of any text takes neither mask nor probability")
        if self.examples:
            return self.examples[int(self.np_random.integers(len(self.examples)))]
        length = int(self.np_random.integers(21))
        return "".join(self.character_list[i] for i in self.np_random.integers(len(PRINTABLE), size=length))


class TextEnv(gymnasium.Env[str, str]):
    """A text game that declares what a learner has to know and can play itself. Every member is optional.

    A subclass writes `reset` and `step` with Gymnasium's five values, draws all chance from `self.np_random`
    and sets `observation_space`. An invalid action never raises: it costs what the class docstring says and
    `info["invalid"]` says why. `info["success"]` says whether the task is solved.
    """

    history: int | None = None
    """How many of the latest pieces of text (observations and actions) the agent sees at most; None: all of
    them, 1: the current observation only, which makes a Markov game."""

    max_reply_chars: int = 200
    """The longest action that makes sense, in characters; a token policy stops there."""

    max_turns: int | None = None
    """After how many actions the game ends by itself, for one that is registered without `max_episode_steps`."""

    tokenizer: str = "word"
    """The kind of tokenizer that suits a model trained from scratch: `char`, `word`, `phrase`, `template` or `rows`,
    with a number of tokens behind it where 512 are too few (`phrase:4096`)."""

    data_episodes: int = 1000
    """Number of episodes of the default offline data set."""

    evaluation_episodes: int = 1000
    """Number of episodes of an official evaluation."""

    preset: str = "1M"
    """The smallest model preset that learns the game from scratch."""

    keep: str = "0.1"
    """Which episodes of the data are worth imitating more than the others: `success`, or the best share by
    return."""

    remote: bool = False
    """Whether `reset` and `step` wait for something outside of this process's own computing, such as a language model
    that plays the other side. Such games are stepped side by side, each in a thread, so that their waits overlap; a
    game sets it on itself when it is made. What its games share has to bear that."""

    roles: Sequence[str] | None = None
    """Which of `behaviour` and `expert` the game plays; None: those that its class defines."""

    secrets: Mapping[str, str] = MappingProxyType({})
    """Arguments that must not end in records of games, so that `make_env` refuses them, and what to do instead."""

    reference: Reference | None = None
    """Worst possible, data mean and best known return of the game with these settings, if known."""

    action_space: spaces.Space[str] = AnyText()

    _behaviour_random: np.random.Generator | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Forget the last game and its player. Subclasses call this first and return `(observation, info)`."""
        self._behaviour_random = None
        return super().reset(seed=seed, options=options)

    @property
    def behaviour_random(self) -> np.random.Generator:
        """The generator of `behaviour()`, apart from the game's own: replaying the actions of a game without
        asking who would play them must give the same game."""
        if self._behaviour_random is None:
            seeds: Any = self.np_random.bit_generator.seed_seq
            self._behaviour_random = np.random.default_rng(seeds.spawn(1)[0])
        return self._behaviour_random

    def choices(self) -> Sequence[str] | None:
        """Return the actions that are valid now, or None where they cannot be listed."""
        return None

    def prompt(self) -> str | None:
        """Return what a player who has seen no data is told before the game: rules, rewards, how an action is worded
        and every action there is. It may not depend on the single game. None: see `lmgym.prompts.prompt_of`."""
        return None

    def behaviour(self) -> str:
        """Return the next action of the policy that generates the offline data."""
        raise NotImplementedError

    def expert(self) -> str:
        """Return the best known action."""
        raise NotImplementedError

    def official_starts(self) -> Sequence[dict[str, Any]]:
        """Return the reset options that an official evaluation plays equally often; empty: chance decides."""
        return ()

    def fidelity(self) -> Mapping[str, float]:
        """Return how right the game's simulated people are, measured on committed held-out questions; empty: it has
        none, or nobody measured."""
        return {}


@dataclass(frozen=True)
class Contract:
    """What an environment declares to learners, with the defaults for one that declares nothing."""

    history: int | None
    max_reply_chars: int
    tokenizer: str
    preset: str
    data_episodes: int
    evaluation_episodes: int
    keep: str
    reference: Reference | None
    official_starts: tuple[dict[str, Any], ...]
    remote: bool


def contract(env: gymnasium.Env) -> Contract:
    """Read what `env`, ours or foreign, declares; what a wrapper declares goes before the game's own."""
    starts = getattr(env.unwrapped, "official_starts", tuple)
    scale = declared(env, "reference")
    if env.spec is not None and env.spec.max_episode_steps != gymnasium.spec(env.spec.id).max_episode_steps:
        scale = None  # It is that of the registered limit.
    return Contract(
        history=declared(env, "history"),
        max_reply_chars=declared(env, "max_reply_chars"),
        tokenizer=declared(env, "tokenizer"),
        preset=declared(env, "preset"),
        data_episodes=declared(env, "data_episodes"),
        evaluation_episodes=declared(env, "evaluation_episodes"),
        keep=declared(env, "keep"),
        reference=scale,
        official_starts=tuple(starts()) if callable(starts) else (),
        remote=is_remote(env),
    )


def is_remote(env: gymnasium.Env) -> bool:
    """Return whether a game, ours or foreign, declares that it waits for something outside."""
    return declared(env, "remote")


def declared(env: gymnasium.Env, name: str) -> Any:
    """Return what a wrapper or the game declares under the name of a member of `TextEnv`, or the default."""
    default = getattr(TextEnv, name)
    if not env.has_wrapper_attr(name):
        return default
    value = env.get_wrapper_attr(name)
    # A foreign game may call something else by such a name.
    kind = Reference if name == "reference" else int if name in ("history", "max_turns") else type(default)
    return value if isinstance(env.unwrapped, TextEnv) or isinstance(value, kind) else default


def fidelity(env: gymnasium.Env) -> dict[str, float]:
    """Return how right a game's simulated people are, by figure; empty for a game that does not say."""
    game = env.unwrapped
    return dict(game.fidelity()) if isinstance(game, TextEnv) else {}


def contract_of(env_id: str, env_kwargs: Mapping[str, Any] | None = None) -> Contract:
    """Read what the game of an id declares. Raises UsageError as `make_env`."""
    env = make_env(env_id, env_kwargs)
    rules = contract(env)
    env.close()
    return rules


def require_options(options: Mapping[str, Any] | None, valid: Sequence[str], game: str) -> dict[str, Any]:
    """Return reset options as a dict. Raises UsageError for a name that `game` does not know."""
    for name in options or {}:
        if name not in valid:
            raise unknown(f"reset option of {game}", name, valid)
    return dict(options or {})


def plays_itself(env: gymnasium.Env, role: str) -> bool:
    """Return whether the game has a `behaviour` or an `expert` of its own."""
    game = env.unwrapped
    if isinstance(game, TextEnv) and game.roles is not None:
        return role in game.roles
    method = getattr(type(game), role, None)
    return method is not None and method is not getattr(TextEnv, role)


def make_env(env_id: str, env_kwargs: Mapping[str, Any] | None = None, **make_kwargs: Any) -> gymnasium.Env:
    """Make a game by id (`lmgym/FOMaze-v0`, `my_pkg:MyGame-v0`).

    Raises UsageError, in one sentence, for an unknown id or argument, a secret among the arguments, and for spaces
    that are not text.
    """
    env_kwargs = dict(env_kwargs or {})
    spec = env_spec(env_id)
    try:
        env = gymnasium.make(spec, **make_kwargs, **env_kwargs)
    except TypeError as error:
        raise _argument_error(spec, env_kwargs, error) from error
    except (ValueError, gymnasium.error.Error) as error:
        raise UsageError(f"{env_id} cannot be made: {error}") from error
    game = env.unwrapped
    for name, instead in game.secrets.items() if isinstance(game, TextEnv) else ():
        if name in env_kwargs:
            env.close()
            raise UsageError(f"the argument {name} of {env_id} would end in the records of games; {instead}")
    for side in ("observation", "action"):
        space = getattr(env, f"{side}_space")
        if not isinstance(space, spaces.Text):
            raise UsageError(f"{env_id} is not a text game: its {side} space is {type(space).__name__}, not Text")
    return env


def imported(module: str, named_in: str) -> Any:
    """Import a module of the user. Raises UsageError, with the reason, where that fails in whatever way."""
    try:
        return importlib.import_module(module)
    except Exception as error:
        raise UsageError(f"cannot import {module!r}, named in {named_in!r}: {error}") from error


def listed_choices(env: gymnasium.Env) -> Sequence[str] | None:
    """Return the actions that a game, ours or foreign, lists as valid now; None where it lists none."""
    choices = getattr(env.unwrapped, "choices", None)
    return choices() if callable(choices) else None


def turn_limit(env: gymnasium.Env) -> int | None:
    """Return after how many actions a game ends at the latest, None where nobody says."""
    registered = env.spec.max_episode_steps if env.spec else None
    return registered or declared(env, "max_turns")


def env_spec(env_id: str) -> Any:
    """Return Gymnasium's record of an id, whose module is imported first. Raises UsageError for an unknown one."""
    module, _, name = env_id.rpartition(":")
    if module:
        imported(module, env_id)
    if name not in gymnasium.registry:
        registered = gymnasium.registry.items()
        ours = [key for key, spec in registered if "/" in key and not str(spec.entry_point).startswith("gymnasium.")]
        raise unknown("environment", name, ours)
    return gymnasium.spec(name)


def _argument_error(spec: Any, env_kwargs: Mapping[str, Any], error: TypeError) -> UsageError:
    entry = spec.entry_point
    if isinstance(entry, str):
        module, _, attribute = entry.partition(":")
        entry = getattr(importlib.import_module(module), attribute)
    valid = [name for name in inspect.signature(entry).parameters if name != "render_mode"]
    for name in env_kwargs:
        if name not in valid:
            return unknown(f"argument of {spec.id}", name, valid)
    return UsageError(f"{spec.id} cannot be made: {error}")


def jsonable(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of an info or of options that JSON can hold; NumPy scalars become plain ones.

    >>> jsonable({"success": np.bool_(True), "cell": (1, 2), "board": object()})
    {'success': True, 'cell': [1, 2]}
    """
    plain = {}
    for name, value in values.items():
        try:
            plain[name] = json.loads(json.dumps(value, default=_plain, allow_nan=False))
        except (TypeError, ValueError):
            continue
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")
