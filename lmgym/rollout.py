"""Many games at once: whoever acts, wherever the games come from, the same loop plays them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple, Protocol

import gymnasium
import numpy as np

from lmgym.env import jsonable, make_env
from lmgym.episode import Episode, Turn
from lmgym.errors import UsageError


class Start(NamedTuple):
    """What a game starts from: its seed and its reset options."""

    seed: int
    options: Mapping[str, Any]


class Reply(NamedTuple):
    """An agent's action; `error` says why there is none, which ends the game."""

    text: str
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    error: str | None = None


@dataclass
class Game:
    """A running game as its agent sees it. `memory` is the agent's own."""

    env: gymnasium.Env[str, str]
    start: Start
    turns: list[Turn] = field(default_factory=list)
    memory: Any = None

    @cached_property
    def random(self) -> np.random.Generator:
        """The agent's generator for this game, apart from the game's own chance."""
        return np.random.default_rng([self.start.seed, 1])


class Agent(Protocol):
    """Acts in many games at a time. `name` goes into the record; `tokenizer` where its replies are tokens."""

    name: str
    tokenizer: str | None

    def begin(self, game: Game) -> None:
        """Hear of a new game before its first observation is answered."""

    def act(self, games: Sequence[Game]) -> Sequence[Reply]:
        """Return one reply for each game, all of which wait for one."""


def rollout(
    agent: Agent,
    env_id: str,
    starts: Iterable[Start],
    *,
    env_kwargs: Mapping[str, Any] | None = None,
    num_envs: int = 64,
    max_turns: int = 10_000,
) -> Iterator[Episode]:
    """Play a game from each start and yield the episodes in the order of the starts.

    A finished game makes room for the next one. An exception of the game or of the agent ends that game alone:
    it is recorded as `Episode.error`. `max_turns` cuts games that know no limit of their own.
    """
    if num_envs < 1:
        raise UsageError(f"the number of games at a time is 1 or more, not {num_envs}")
    table = _Table(agent, env_id, dict(env_kwargs or {}), max_turns)
    waiting = enumerate(starts)
    done: dict[int, Episode] = {}
    next_index = 0
    try:
        while True:
            fresh = list(islice(waiting, num_envs - len(table.games)))
            for index, start in fresh:
                table.open(index, start, done)
            if not (fresh or table.games):
                break
            if table.games:
                table.play_turn(done)
            while next_index in done:
                yield done.pop(next_index)
                next_index += 1
    finally:
        table.close()


class _Table:
    """The running games of a rollout, by index, and the environments they are played in."""

    def __init__(self, agent: Agent, env_id: str, env_kwargs: dict[str, Any], max_turns: int) -> None:
        self.agent, self.env_id, self.env_kwargs, self.max_turns = agent, env_id, env_kwargs, max_turns
        self.games: dict[int, Game] = {}
        self._idle: list[gymnasium.Env] = []
        self._info: dict[int, Mapping[str, Any]] = {}

    def open(self, index: int, start: Start, done: dict[int, Episode]) -> None:
        env = self._idle.pop() if self._idle else make_env(self.env_id, self.env_kwargs)
        game = Game(env, start)
        self.games[index] = game
        self._info[index] = {}
        try:
            observation, info = env.reset(seed=start.seed, options=dict(start.options))
            seen = _seen(observation)
            self._info[index] = dict(info)
        except Exception as error:
            game.turns.append(Turn("", by_agent=False))
            self._end(index, done, error=f"environment: {described(error)}")
            return
        game.turns.append(seen)
        self.agent.begin(game)

    def play_turn(self, done: dict[int, Episode]) -> None:
        running = list(self.games.items())
        replies = self.agent.act([game for _, game in running])
        for (index, game), reply in zip(running, replies, strict=True):
            if reply.error is not None:
                self._end(index, done, error=f"agent: {reply.error}")
            else:
                self._step(index, game, reply, done)

    def _step(self, index: int, game: Game, reply: Reply, done: dict[int, Episode]) -> None:
        action = Turn(_storable(reply.text), by_agent=True, token_ids=reply.token_ids, logprobs=reply.logprobs)
        try:
            observation, reward, terminated, truncated, info = game.env.step(reply.text)
            seen = _seen(observation)
            rewarded = action._replace(reward=float(reward), invalid=bool(info.get("invalid")))
        except Exception as error:
            game.turns.append(action)
            self._end(index, done, error=f"environment: {described(error)}")
            return
        self._info[index] = info
        game.turns += (rewarded, seen)
        # Gymnasium's TimeLimit may report both: a task that ended was not cut off.
        if terminated:
            self._end(index, done, terminated=True)
        elif truncated or len(game.turns) > 2 * self.max_turns:
            self._end(index, done)

    def _end(self, index: int, done: dict[int, Episode], *, terminated: bool = False, error: str | None = None) -> None:
        game = self.games.pop(index)
        if error is None:
            self._idle.append(game.env)
        else:
            game.env.close()
        done[index] = Episode(
            turns=tuple(game.turns),
            terminated=terminated,
            truncated=not terminated,
            env_id=self.env_id,
            env_kwargs=self.env_kwargs,
            seed=game.start.seed,
            options=jsonable(game.start.options),
            agent=self.agent.name,
            outcome=jsonable(self._info.pop(index)),
            error=None if error is None else _storable(error),
            tokenizer=self.agent.tokenizer,
        )

    def close(self) -> None:
        for env in [*self._idle, *(game.env for game in self.games.values())]:
            env.close()


def described(error: Exception) -> str:
    """Return an exception as one short line."""
    return f"{type(error).__name__}: {error}".rstrip(": ").partition("\n")[0][:500]


def _seen(observation: object) -> Turn:
    if not isinstance(observation, str):
        raise TypeError(f"an observation is {type(observation).__name__}, not str")
    return Turn(_storable(observation), by_agent=False)


def _storable(text: str) -> str:
    """Lone surrogates have no place in a file: what is recorded has replacement characters for them."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
