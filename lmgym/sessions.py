"""Games that several clients play in one process: each session is one environment, held by an unguessable name."""

import logging
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import gymnasium

from lmgym.env import jsonable, listed_choices, plays_itself
from lmgym.errors import UsageError
from lmgym.rollout import described

logger = logging.getLogger("lmgym.serve")

Answer = dict[str, Any]


class Refusal(Exception):
    """A request that is not granted: HTTP status, a word for programs, a sentence for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(eq=False)
class Session:
    """One environment and who uses it. `playing`: between reset and the end of a game."""

    used: float
    env: gymnasium.Env | None = None
    playing: bool = False
    answered: tuple[int, Answer] | None = None
    gone: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class Sessions:
    """The sessions of a server. Every method may be called by any thread; none waits for another session's game.

    `make(render)` makes an environment, `limit` is how many sessions there may be, and one that nobody used for
    `idle_seconds` is closed. Whatever is not granted raises Refusal. An exception of a game closes its session.
    """

    def __init__(
        self,
        make: Callable[[bool], gymnasium.Env],
        *,
        limit: int,
        idle_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make, self._limit, self._idle_seconds, self._clock = make, limit, idle_seconds, clock
        self._sessions: dict[str, Session] = {}
        self._table = threading.Lock()
        self._making = threading.Lock()

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, *, seed: int | None, options: Mapping[str, Any], render: bool = False) -> Answer:
        """Make an environment and start its first game; the answer is that of `reset` and names the session."""
        self.expire()
        name, session = secrets.token_urlsafe(16), Session(self._clock())
        with self._table:
            if len(self._sessions) >= self._limit:
                raise Refusal(
                    429,
                    "too_many_sessions",
                    f"there are {self._limit} sessions already, which is the limit: play fewer games at a time, close "
                    "sessions, or start the server with a higher --max-sessions",
                )
            self._sessions[name] = session
        try:
            with self._in_use(name) as session:
                session.gone = True  # until it has started, so that nothing is left of a start that fails
                # One at a time: what the games of a process share is often made with the first of them.
                with self._making:
                    session.env = self._make(render)
                answer = _reset(session, seed, options)
                session.gone = name not in self._sessions  # the server may have ended
                return {"session": name, **answer}
        except BaseException:
            with self._table:
                self._sessions.pop(name, None)
            raise

    def reset(self, name: str, *, seed: int | None, options: Mapping[str, Any], number: int | None = None) -> Answer:
        """Start another game: `observation`, `info`. Without a seed it is what chance has next."""
        return self._answer(name, number, lambda session: _reset(session, seed, options))

    def step(self, name: str, action: str, *, number: int | None = None) -> Answer:
        """Take a turn: `observation`, `reward`, `terminated`, `truncated` (never both), `info`."""
        return self._answer(name, number, lambda session: _step(session, action))

    def ask(self, name: str, role: str, *, number: int | None = None) -> Answer:
        """Return, as `action`, what the game's own `behaviour` or `expert` would do."""
        return self._answer(name, number, lambda session: _ask(session, role))

    def choices(self, name: str) -> Answer:
        """Return, as `choices`, the actions that are valid now; None where the game lists none."""
        return self._answer(name, None, _choices)

    def render(self, name: str) -> Answer:
        """Return, as `frame`, the game drawn as text."""
        return self._answer(name, None, _render)

    def close(self, name: str) -> None:
        """Forget a session; a turn that is being computed is the last of it. Raises Refusal for an unknown one."""
        with self._table:
            session = self._sessions.pop(name, None)
        if session is None:
            raise self._unknown(name)
        session.gone = True
        _close_if_gone(session)

    def expire(self) -> int:
        """Close the sessions that nobody used for too long and return how many they were."""
        return self._close_where(self._is_idle)

    def close_all(self) -> int:
        """Close every session and return how many they were."""
        return self._close_where(lambda _: True)

    def _close_where(self, chosen: Callable[[Session], bool]) -> int:
        with self._table:
            names = [name for name, session in self._sessions.items() if chosen(session)]
            sessions = [self._sessions.pop(name) for name in names]
        for session in sessions:
            session.gone = True
            _close_if_gone(session)
        return len(sessions)

    def _is_idle(self, session: Session) -> bool:
        return not session.lock.locked() and self._clock() - session.used > self._idle_seconds

    def _unknown(self, name: str) -> Refusal:
        return Refusal(
            404,
            "no_session",
            f"there is no session {name[:40]!r}: it was closed, its game failed, or nobody used it for "
            f"{self._idle_seconds:g} s",
        )

    def _answer(self, name: str, number: int | None, work: Callable[[Session], Answer]) -> Answer:
        """Do a client's work in its session. The same number twice is one request, repeated because its answer was
        lost on the way: it gets the same answer and nothing happens twice."""
        with self._in_use(name) as session:
            if number is not None and session.answered is not None and session.answered[0] == number:
                return session.answered[1]
            answer = work(session)
            if number is not None:
                session.answered = number, answer
            return answer

    @contextmanager
    def _in_use(self, name: str) -> Iterator[Session]:
        """Hold a session. What its game raises closes it; a Refusal does not."""
        with self._table:
            session = self._sessions.get(name)
            if session is None or self._is_idle(session):
                raise self._unknown(name)
            if not session.lock.acquire(blocking=False):
                raise Refusal(409, "busy", "the session is busy with another request; it takes one at a time")
        try:
            yield session
        except Refusal:
            raise
        except BaseException as error:
            logger.warning("a game failed; its session is closed", exc_info=error)
            with self._table:
                self._sessions.pop(name, None)
            session.gone = True
            raise Refusal(500, "game_failed", described(error)) from error
        finally:
            session.used = self._clock()
            session.lock.release()
            _close_if_gone(session)


def _close_if_gone(session: Session) -> None:
    """Close the environment of a session that is no more, unless it is in use: then its user does that."""
    if not (session.gone and session.lock.acquire(blocking=False)):
        return
    try:
        env, session.env = session.env, None
        if env is not None:
            env.close()
    except Exception as error:
        logger.warning("a game could not be closed", exc_info=error)
    finally:
        session.lock.release()


def _game(session: Session) -> gymnasium.Env:
    assert session.env is not None  # sessions are made with one and lose it only when they are gone
    return session.env


def _reset(session: Session, seed: int | None, options: Mapping[str, Any]) -> Answer:
    session.playing = False
    try:
        observation, info = _game(session).reset(seed=seed, options=dict(options))
    except UsageError as error:
        raise Refusal(400, "bad_options", str(error)) from error
    session.playing = True
    return {"observation": _text(observation), "info": jsonable(info)}


def _step(session: Session, action: str) -> Answer:
    _require_playing(session)
    observation, reward, terminated, truncated, info = _game(session).step(action)
    session.playing = not (terminated or truncated)
    return {
        "observation": _text(observation),
        "reward": _finite(reward),
        "terminated": bool(terminated),
        # Gymnasium's TimeLimit may report both: a task that ended was not cut off.
        "truncated": bool(truncated) and not terminated,
        "info": jsonable(info),
    }


def _text(said: Any) -> str:
    if not isinstance(said, str):
        raise TypeError(f"the game says {type(said).__name__}, not str")
    return said


def _finite(reward: Any) -> float:
    if not math.isfinite(number := float(reward)):
        raise ValueError(f"the reward is {number}, for which JSON has no word")
    return number


def _ask(session: Session, role: str) -> Answer:
    _require_playing(session)
    if not plays_itself(_game(session), role):
        raise Refusal(404, "no_role", f"the game has no {role}() of its own")
    return {"action": _text(getattr(_game(session).unwrapped, role)())}


def _choices(session: Session) -> Answer:
    listed = listed_choices(_game(session))
    return {"choices": None if listed is None else [_text(action) for action in listed]}


def _render(session: Session) -> Answer:
    if _game(session).render_mode is None:
        raise Refusal(409, "not_rendered", 'the session was not opened with "render": true')
    return {"frame": _text(_game(session).render())}


def _require_playing(session: Session) -> None:
    if not session.playing:
        raise Refusal(409, "game_over", "the game is over, or was not started: reset it")
