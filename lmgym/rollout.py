"""Many games at once: whoever acts, wherever the games come from, the same loop plays them."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice
from typing import Any, NamedTuple, Protocol

import gymnasium
import numpy as np

from lmgym.env import is_remote, jsonable, make_env
from lmgym.episode import Episode, Turn, storable
from lmgym.errors import UsageError


class Start(NamedTuple):
    """What a game starts from: its seed and its reset options."""

    seed: int
    options: Mapping[str, Any]


class Reply(NamedTuple):
    """An agent's action; `error` says why there is none, which ends the game. `info`: facts about the agent so far
    (what it has cost), for the game's record; those of the last reply count."""

    text: str
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    error: str | None = None
    info: Mapping[str, Any] | None = None


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
    finished: Callable[[int, Episode], None] | None = None,
) -> Iterator[Episode]:
    """Play a game from each start and yield the episodes in the order of the starts.

    A finished game makes room for the next one. An exception of the game or of the agent ends that game alone:
    it is recorded as `Episode.error`, and so is an `oracle_error` that a game reports in its info, because a game
    whose other side failed says nothing about the agent. `max_turns` cuts games that know no limit of their own.
    Games that declare themselves `remote` are reset and stepped side by side, which changes nothing but the time.
    `finished`, if given, hears of every game as soon as it is over, with the place of its start; games that began
    earlier may still be running.
    """
    if num_envs < 1:
        raise UsageError(f"the number of games at a time is 1 or more, not {num_envs}")
    table = _Table(agent, env_id, dict(env_kwargs or {}), max_turns, finished)
    waiting = enumerate(starts)
    done: dict[int, Episode] = {}
    next_index = 0
    try:
        while True:
            fresh = list(islice(waiting, num_envs - len(table.games)))
            table.open(fresh, done)
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

    def __init__(
        self,
        agent: Agent,
        env_id: str,
        env_kwargs: dict[str, Any],
        max_turns: int,
        finished: Callable[[int, Episode], None] | None,
    ) -> None:
        self.agent, self.env_id, self.env_kwargs, self.max_turns = agent, env_id, env_kwargs, max_turns
        self.games: dict[int, Game] = {}
        self._finished = finished
        self._idle: list[gymnasium.Env] = []
        self._info: dict[int, Mapping[str, Any]] = {}
        self._agent_info: dict[int, Mapping[str, Any]] = {}

    def open(self, fresh: Sequence[tuple[int, Start]], done: dict[int, Episode]) -> None:
        for index, start in fresh:
            self.games[index] = Game(self._environment(), start)
        resets = for_each(_reset, [self.games[index] for index, _ in fresh])
        for (index, _), (turn, info, error) in zip(fresh, resets, strict=True):
            game = self.games[index]
            self._info[index] = info
            game.turns.append(turn)
            if error is None:
                self.agent.begin(game)
            else:
                self._end(index, done, error=error)

    def _environment(self) -> gymnasium.Env:
        return self._idle.pop() if self._idle else make_env(self.env_id, self.env_kwargs)

    def play_turn(self, done: dict[int, Episode]) -> None:
        running = list(self.games.items())
        replies = self.agent.act([game for _, game in running])
        acting = []
        for (index, game), reply in zip(running, replies, strict=True):
            if reply.info is not None:
                self._agent_info[index] = reply.info
            if reply.error is not None:
                self._end(index, done, error=f"agent: {reply.error}")
            else:
                acting.append((index, game, reply))
        steps = for_each(_step, [game for _, game, _ in acting], [reply for _, _, reply in acting])
        for (index, game, _), step in zip(acting, steps, strict=True):
            self._take(index, game, step, done)

    def _take(self, index: int, game: Game, step: "_Step", done: dict[int, Episode]) -> None:
        game.turns += step.turns
        if step.error is not None:
            self._end(index, done, error=step.error)
            return
        self._info[index] = step.info
        # Gymnasium's TimeLimit may report both: a task that ended was not cut off.
        if step.terminated:
            self._end(index, done, terminated=True)
        elif step.truncated or len(game.turns) > 2 * self.max_turns:
            reason = step.info.get("oracle_error")
            self._end(index, done, error=None if reason is None else f"other side: {reason}")

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
            outcome=jsonable({**self._info.pop(index), **self._agent_info.pop(index, {})}),
            error=None if error is None else storable(error),
            tokenizer=self.agent.tokenizer,
        )
        if self._finished is not None:
            self._finished(index, done[index])

    def close(self) -> None:
        for env in [*self._idle, *(game.env for game in self.games.values())]:
            env.close()


class _Step(NamedTuple):
    """What came of an action: the new pieces of text and how the game goes on."""

    turns: tuple[Turn, ...]
    info: Mapping[str, Any]
    terminated: bool = False
    truncated: bool = False
    error: str | None = None


def _reset(game: Game) -> tuple[Turn, Mapping[str, Any], str | None]:
    try:
        observation, info = game.env.reset(seed=game.start.seed, options=dict(game.start.options))
        return _seen(observation), dict(info), None
    except Exception as error:
        return Turn("", by_agent=False), {}, f"environment: {described(error)}"


def _step(game: Game, reply: Reply) -> _Step:
    action = Turn(storable(reply.text), by_agent=True, token_ids=reply.token_ids, logprobs=reply.logprobs)
    try:
        observation, reward, terminated, truncated, info = game.env.step(reply.text)
        rewarded = action._replace(reward=float(reward), invalid=bool(info.get("invalid")))
        return _Step((rewarded, _seen(observation)), info, bool(terminated), bool(truncated))
    except Exception as error:
        return _Step((action,), {}, error=f"environment: {described(error)}")


def for_each(call: Callable[..., Any], games: Sequence[Game], *more: Sequence[Any]) -> list[Any]:
    """Return what `call` makes of each game (and what goes with it), side by side where games wait for something
    outside."""
    calls = [partial(call, *given) for given in zip(games, *more, strict=True)]
    return side_by_side(calls) if games and is_remote(games[0].env) else [each() for each in calls]


def side_by_side(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Make all calls at the same time, each in a thread, and return their results in order.

    The first exception in that order is raised again once all calls are over.
    """
    if len(calls) < 2:
        return [call() for call in calls]
    outcomes: list[tuple[Any, BaseException | None]] = [(None, None)] * len(calls)

    def run(place: int) -> None:
        try:
            outcomes[place] = calls[place](), None
        except BaseException as error:
            outcomes[place] = None, error

    # Daemons, so that a process that is interrupted does not wait for servers that hang.
    threads = [threading.Thread(target=run, args=(place,), daemon=True) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _, error in outcomes:
        if error is not None:
            raise error
    return [result for result, _ in outcomes]


def described(error: BaseException) -> str:
    """Return an exception as one short line."""
    return f"{type(error).__name__}: {error}".rstrip(": ").partition("\n")[0][:500]


def _seen(observation: object) -> Turn:
    if not isinstance(observation, str):
        raise TypeError(f"an observation is {type(observation).__name__}, not str")
    return Turn(storable(observation), by_agent=False)
