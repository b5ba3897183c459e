"""Wrappers for text games: chat messages, history as text, shaped rewards, listed actions only, recording to Parquet.

Each is a `gymnasium.Wrapper` around any environment with text spaces, which it keeps: observations and actions remain
strings, so that a wrapped game plays, trains and evaluates as any other under the id that `register_wrapped` gives it.
"""

import copy
import json
import math
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
from gymnasium.envs.registration import EnvSpec, WrapperSpec
from gymnasium.utils import RecordConstructorArgs

from lmgym.env import AnyText, declared, env_spec, jsonable, listed_choices
from lmgym.episode import Episode, Turn, storable
from lmgym.errors import UsageError
from lmgym.store import append_episodes, require_source

TextWrapper = gymnasium.Wrapper[str, str, str, str]
Step = tuple[str, float, bool, bool, dict[str, Any]]
Started = tuple[str, dict[str, Any]]
Message = dict[str, str]


def register_wrapped(new_id: str, env_id: str, *wrappers: WrapperSpec) -> None:
    """Give the game `env_id` with wrappers around it, the first one innermost, the id `new_id`.

    A wrapper is named with its arguments: `HistoryObservation.wrapper_spec(pieces=5)`. All of them stand outside of
    Gymnasium's time limit, so that they see how a game ends. Raises UsageError for an unknown `env_id`.
    """
    spec = env_spec(env_id)
    gymnasium.register(
        new_id,
        entry_point=spec.entry_point,
        kwargs=spec.kwargs,
        max_episode_steps=spec.max_episode_steps,
        order_enforce=spec.order_enforce,
        disable_env_checker=spec.disable_env_checker,
        nondeterministic=spec.nondeterministic,
        additional_wrappers=(*spec.additional_wrappers, *wrappers),
    )


class _Pieces:
    """The latest pieces of text of a game, the environment's first; see `TextEnv.history` for what is counted."""

    def __init__(self, env: gymnasium.Env, count: int | None) -> None:
        if count is not None and count < 1:
            raise UsageError(f"the number of pieces is 1 or more, not {count}")
        count = declared(env, "history") if count is None else count
        # An even number would begin with an action, which is left out, as policies do.
        self._texts: deque[str] = deque(maxlen=None if count is None else 2 * ((count + 1) // 2) - 1)

    def begin(self, observation: str) -> None:
        self._texts.clear()
        self._texts.append(observation)

    def go_on(self, action: str, observation: str) -> None:
        self._texts.extend((action, observation))

    def by_author(self) -> list[tuple[bool, str]]:
        """Return each piece with whether the agent wrote it; the first and the last are the environment's."""
        return [(index % 2 == 1, text) for index, text in enumerate(self._texts)]


class HistoryObservation(TextWrapper, RecordConstructorArgs):
    """Shows the latest pieces of the conversation as one observation, so that an agent without memory sees them.

    A line each, oldest first, the agent's own behind a mark: `warmer`, `> north`, `colder`. `pieces` counts
    observations and actions; if left out, as many as the game declares as its `history`. Declares a history of 1.
    """

    history = 1

    def __init__(self, env: gymnasium.Env[str, str], pieces: int | None = None, mark: str = "> ") -> None:
        RecordConstructorArgs.__init__(self, pieces=pieces, mark=mark)
        super().__init__(env)
        self.observation_space = AnyText()
        self._pieces, self._mark = _Pieces(env, pieces), mark

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Started:
        """Begin a conversation."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._pieces.begin(observation)
        return self._shown(), info

    def step(self, action: str) -> Step:
        """Add the action and the observation that answers it."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._pieces.go_on(action, observation)
        return self._shown(), float(reward), terminated, truncated, info

    def _shown(self) -> str:
        return "\n".join(f"{self._mark}{text}" if own else text for own, text in self._pieces.by_author())


class ChatObservation(TextWrapper, RecordConstructorArgs):
    """Shows the conversation as chat messages: the environment is the user, the agent the assistant.

    A text space holds text, so that the observation is the list as JSON, `[{"role": "user", "content": "..."}]`, which
    `json.loads` turns into what chat models take; or what `render` makes of the list, such as a tokenizer's chat
    template. The list itself is in `messages`. `system` is the content of a first message; `pieces` as for
    `HistoryObservation`. Declares a history of 1, because every observation holds all there is to see.
    """

    history = 1

    def __init__(
        self,
        env: gymnasium.Env[str, str],
        system: str | None = None,
        pieces: int | None = None,
        render: Callable[[list[Message]], str] | None = None,
    ) -> None:
        # Without a deep copy: what renders may be a method of a large tokenizer.
        RecordConstructorArgs.__init__(self, system=system, pieces=pieces, render=render, _disable_deepcopy=True)
        super().__init__(env)
        self.observation_space = AnyText()
        self._pieces, self._system = _Pieces(env, pieces), system
        self._render = _json if render is None else render

    @property
    def messages(self) -> list[Message]:
        """The conversation as the agent sees it now."""
        first = [] if self._system is None else [{"role": "system", "content": self._system}]
        said = self._pieces.by_author()
        return first + [{"role": "assistant" if own else "user", "content": text} for own, text in said]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Started:
        """Begin a conversation."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._pieces.begin(observation)
        return self._render(self.messages), info

    def step(self, action: str) -> Step:
        """Add the action and the observation that answers it."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._pieces.go_on(action, observation)
        return self._render(self.messages), float(reward), terminated, truncated, info


def _json(messages: list[Message]) -> str:
    return json.dumps(messages, ensure_ascii=False)


class TurnFacts(NamedTuple):
    """What happened in a turn: what the agent saw, what it did, what came of it. `turn` counts from 1."""

    turn: int
    observation: str
    action: str
    reward: float
    next_observation: str
    terminated: bool
    truncated: bool
    info: dict[str, Any]


class ShapeReward(TextWrapper, RecordConstructorArgs):
    """Rewards each turn with what a function of its facts returns, instead of the game's own reward.

    `info["true_reward"]` is the game's own, `info["true_return"]` their sum so far, which is thus among the outcome of
    every episode. Reference scores no longer apply. Returns of evaluations are those of the function: to see the true
    ones, evaluate the run on the plain game (`lmgym eval RUN --env ID`). A reward that is no finite number raises
    ValueError.
    """

    reference = None

    def __init__(self, env: gymnasium.Env[str, str], shape: Callable[[TurnFacts], float]) -> None:
        RecordConstructorArgs.__init__(self, shape=shape, _disable_deepcopy=True)
        super().__init__(env)
        self._shape = shape
        self._turn, self._seen, self._true_return = 0, "", 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Started:
        """Begin to count."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._turn, self._seen, self._true_return = 0, observation, 0.0
        return observation, info

    def step(self, action: str) -> Step:
        """Ask the function for the reward."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        reward = float(reward)
        self._turn += 1
        facts = TurnFacts(self._turn, self._seen, action, reward, observation, terminated, truncated, info)
        shaped = float(self._shape(facts))
        if not math.isfinite(shaped):
            raise ValueError(f"the shaped reward of turn {self._turn} is {shaped}")
        self._seen = observation
        self._true_return += reward
        # Where shaped rewards are shaped again, the true ones are still those of the game.
        told = {"true_reward": reward, "true_return": self._true_return, **info}
        return observation, shaped, terminated, truncated, told


class MaskAction(TextWrapper, RecordConstructorArgs):
    """Lets only listed actions reach the game, and lists them in `info["choices"]` after every reset and step.

    Case and outer spaces do not matter. Any other action is refused: the game does not hear of it, the observation is
    repeated, `info["invalid"]` says so, and it costs `penalty`, which should be no less than a wasted turn does. The
    game's own limit of turns does not count what it does not hear; after `max_refused` refusals a game is truncated.
    Where a game lists no actions, nothing is refused.
    """

    def __init__(self, env: gymnasium.Env[str, str], penalty: float = -1.0, max_refused: int = 100) -> None:
        RecordConstructorArgs.__init__(self, penalty=penalty, max_refused=max_refused)
        super().__init__(env)
        if not math.isfinite(penalty):
            raise UsageError(f"the penalty is a finite number, not {penalty}")
        if max_refused < 1:
            raise UsageError(f"max_refused is 1 or more, not {max_refused}")
        self._penalty, self._max_refused = float(penalty), max_refused
        self._listed: Sequence[str] | None = None  # None as well before a game and after its end
        self._last: Started = ("", {})
        self._num_refused = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Started:
        """List the first actions."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._num_refused = 0
        return self._told(observation, info, over=False)

    def step(self, action: str) -> Step:
        """Pass a listed action on, as it is listed; refuse another."""
        listed = self._listed
        if listed is not None and action not in listed:
            meant = action.strip().casefold()
            same = [choice for choice in listed if choice.casefold() == meant]
            if len(same) != 1:
                return self._refused(len(listed))
            action = same[0]
        observation, reward, terminated, truncated, info = self.env.step(action)
        observation, info = self._told(observation, info, over=terminated or truncated)
        return observation, float(reward), terminated, truncated, info

    def _refused(self, num_listed: int) -> Step:
        self._num_refused += 1
        truncated = self._num_refused >= self._max_refused
        observation, info = copy.deepcopy(self._last)
        info["invalid"] = f"not one of the {num_listed} listed actions"
        if truncated:
            self._listed = None
            info.pop("choices")
        return observation, self._penalty, False, truncated, info

    def _told(self, observation: str, info: dict[str, Any], *, over: bool) -> Started:
        self._listed = None if over else listed_choices(self.env)
        told = info if self._listed is None else {**info, "choices": list(self._listed)}
        self._last = observation, {name: fact for name, fact in told.items() if name != "invalid"}
        return observation, told


class RecordEpisodes(TextWrapper, RecordConstructorArgs):
    """Adds every finished game to a Parquet file, which `lmgym train --data` and `lmgym data info` read.

    The file is replaced as a whole each time, so that it is never half written: at once for the first games, later
    whenever a tenth more have been played; `close()` writes the rest. Many environments may record to one file. A game
    that was left before its end, or whose other side failed, is no data; what is kept is text, not a policy's tokens.
    `agent` is who plays, for the record; `env_id` the id that the data are to be of, if it is another than the
    environment's (`my_pkg:my/Game-v0`). Games that were reset without a seed have the seed -1. Raises UsageError where
    the file holds other games or games of another agent.
    """

    def __init__(
        self, env: gymnasium.Env[str, str], path: str | Path, agent: str = "unknown", env_id: str | None = None
    ) -> None:
        RecordConstructorArgs.__init__(self, path=path, agent=agent, env_id=env_id)
        super().__init__(env)
        spec = env.spec
        recorded_id = env_id or (spec and spec.id)
        if not recorded_id:
            raise UsageError("this game has no id to record: make it with gymnasium.make, or name one by env_id")
        self._path, self._agent, self._env_id = Path(path), agent, recorded_id
        self._env_kwargs = {} if spec is None else jsonable(_own_arguments(spec))
        if self._path.exists():
            require_source(self._path, self._env_id, self._env_kwargs, agent)
        self._turns: list[Turn] | None = None  # None before a game and after its end
        self._start: tuple[int, dict[str, Any]] = (-1, {})
        self._waiting: list[Episode] = []
        self._num_written = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Started:
        """Begin a record; one that was not finished is dropped."""
        self._turns = None
        observation, info = self.env.reset(seed=seed, options=options)
        self._turns = [Turn(storable(observation), by_agent=False)]
        self._start = (-1 if seed is None else seed, jsonable(options or {}))
        return observation, info

    def step(self, action: str) -> Step:
        """Record the turn, and the game where it ends."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        reward = float(reward)
        if self._turns is not None:
            self._turns.append(Turn(storable(action), by_agent=True, reward=reward, invalid=bool(info.get("invalid"))))
            self._turns.append(Turn(storable(observation), by_agent=False))
            if terminated or truncated:
                self._finish(self._turns, terminated, info)
        return observation, reward, terminated, truncated, info

    def _finish(self, turns: list[Turn], terminated: bool, info: dict[str, Any]) -> None:
        self._turns = None
        if info.get("oracle_error") is not None:
            return
        seed, options = self._start
        self._waiting.append(
            Episode(
                turns=tuple(turns),
                terminated=terminated,
                truncated=not terminated,
                env_id=self._env_id,
                env_kwargs=self._env_kwargs,
                seed=seed,
                options=options,
                agent=self._agent,
                outcome=jsonable(info),
            )
        )
        # Each writing costs as much as the file is long: a tenth more each time keeps the sum in proportion.
        if 10 * len(self._waiting) >= self._num_written:
            self._write()

    def _write(self) -> None:
        if self._waiting:
            self._num_written = append_episodes(self._path, self._waiting).statistics.episodes
            self._waiting.clear()

    def close(self) -> None:
        """Write what is left."""
        try:
            self._write()
        finally:
            super().close()


def _own_arguments(spec: EnvSpec) -> dict[str, Any]:
    """Return the arguments that a game was made with beyond those of its registration."""
    registered = gymnasium.registry.get(spec.id)
    usual = {} if registered is None else registered.kwargs
    own = {name: value for name, value in spec.kwargs.items() if name not in usual or usual[name] != value}
    own.pop("render_mode", None)
    if registered is not None and spec.max_episode_steps != registered.max_episode_steps:
        own["max_episode_steps"] = spec.max_episode_steps
    return own
