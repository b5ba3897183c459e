"""A game that is played elsewhere (`lmgym serve`), as the Gymnasium environment that it is there."""

import contextlib
import http.client
import os
import socket
import urllib.parse
import weakref
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from gymnasium.error import ResetNeeded

from lmgym import wire
from lmgym.env import TextEnv
from lmgym.errors import UsageError, require_address, require_number

MAX_ANSWER_BYTES = 64 << 20
ATTEMPTS = 3
CLOSING_TIMEOUT = 5.0
JSON_HEADERS = MappingProxyType({"Content-Type": "application/json", "Accept": "application/json"})


class RemoteError(Exception):
    """The server did not do what it was asked; the message says why. `status` is HTTP's, 0 where there was none."""

    def __init__(self, message: str, status: int = 0, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Connection:
    """A connection to a server that is opened when it is needed and opened again when it broke."""

    def __init__(self, url: str, token: str | None, timeout: float) -> None:
        require_address(url, "http://127.0.0.1:8000", f"the token belongs in {wire.TOKEN_VARIABLE}")
        parts = urllib.parse.urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.url, self._prefix = url.rstrip("/"), parts.path.rstrip("/")
        self._http = kind(parts.hostname or "", parts.port)
        self._timeout = timeout
        self.max_request_bytes: int | None = None
        self._headers = dict(JSON_HEADERS)
        if token:
            if not (token.isascii() and token.isprintable()):
                raise UsageError("the token holds characters that no token has")
            self._headers["Authorization"] = f"Bearer {token}"

    def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, timeout: float | None = None
    ) -> dict[str, Any]:
        """Return what the server answers. Raises RemoteError, and UsageError for reset options that the game refuses.

        A connection that breaks is opened again and the request is sent again: requests that must not happen twice
        carry a number by which the server knows them.
        """
        data = None if body is None else wire.encode(body)
        if data is not None and self.max_request_bytes is not None and len(data) > self.max_request_bytes:
            raise RemoteError(
                f"{len(data)} bytes are more than the {self.max_request_bytes} that the server takes", 413
            )
        timeout = self._timeout if timeout is None else min(timeout, self._timeout)
        self._http.timeout = timeout
        if self._http.sock is not None:
            self._http.sock.settimeout(timeout)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._exchange(method, path, data)
            except TimeoutError as error:
                self.close()
                raise RemoteError(f"{self.url} gave no answer within {timeout:g} s") from error
            except (http.client.HTTPException, OSError, UnicodeError) as error:
                self.close()
                if attempt == ATTEMPTS or isinstance(error, ConnectionRefusedError | socket.gaierror):
                    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                    raise RemoteError(f"no connection to {self.url}: {reason}") from error
        raise AssertionError("the last attempt returns or raises")

    def _exchange(self, method: str, path: str, data: bytes | None) -> dict[str, Any]:
        self._http.request(method, self._prefix + path, data, self._headers)
        response = self._http.getresponse()
        content = response.read(MAX_ANSWER_BYTES + 1)
        if response.will_close or len(content) > MAX_ANSWER_BYTES:
            self.close()
        if len(content) > MAX_ANSWER_BYTES:
            raise RemoteError(f"the answer of {self.url} is longer than {MAX_ANSWER_BYTES} bytes", response.status)
        return self._read(response.status, content)

    def _read(self, status: int, content: bytes) -> dict[str, Any]:
        try:
            said = wire.decode(content)
        except ValueError:
            said = None
        if status < 300 and isinstance(said, dict):
            return said
        error = said.get("error") if isinstance(said, dict) else None
        if not isinstance(error, dict):
            raise RemoteError(f"{self.url} answers with status {status} what is no answer of lmgym serve", status)
        code, message = str(error.get("code")), str(error.get("message"))[:1000]
        if code == "bad_options":
            raise UsageError(message)
        raise RemoteError(message, status, code)

    def close(self) -> None:
        """Close the connection; the next call opens it again."""
        self._http.close()


class RemoteEnv(TextEnv):
    """A game that `lmgym serve` serves at `url`. It declares what the game there declares, and plays the same games.

    Arguments:
        url: address of the server, http://127.0.0.1:8000.
        token: what the server asks for; the environment variable LMGYM_TOKEN if left out. It is sent to `url`.
        timeout: seconds that a turn may take.
        game: id of the game that has to be served there, which also puts it into the records of games.
    What differs from the game itself:
        `info` holds what JSON can hold, with lists for tuples. A game is truncated only where it is not terminated,
        too. A step after the end of a game raises. What goes wrong raises RemoteError; after that, and where the
        server has closed the session because nobody used it, `reset` opens another session: the same seed gives the
        same game, but without a seed the series of games begins anew.
    """

    metadata = {"render_modes": ["ansi"]}  # noqa: RUF012 (Gymnasium declares it so)
    remote = True
    secrets = MappingProxyType({"token": f"set the environment variable {wire.TOKEN_VARIABLE} instead"})

    def __init__(
        self,
        url: str = "",
        token: str | None = None,
        timeout: float = 300.0,
        game: str | None = None,
        render_mode: str | None = None,
    ) -> None:
        if not url:
            raise UsageError("where is the game served? url=http://127.0.0.1:8000 (lmgym serve ENV)")
        require_number("timeout", timeout, above=True)
        self._session: str | None = None
        self._number = 0
        self._broken = False
        self._connection = Connection(str(url), token or os.environ.get(wire.TOKEN_VARIABLE), timeout)
        weakref.finalize(self, self._connection.close)
        self._described = self._description()
        self._connection.close()  # Many are made only to hear what the game declares.
        if game is not None and game != self._described.get("env_id"):
            raise UsageError(f"{url} does not serve {game} but {self._described.get('env_id')}")
        self._declare(render_mode)

    def _description(self) -> dict[str, Any]:
        try:
            said = self._connection.call("GET", "/v1/game")
        except RemoteError as error:
            raise UsageError(f"there is no game to play: {error}") from error
        if said.get("protocol") != wire.PROTOCOL:
            raise UsageError(
                f"{self._connection.url} speaks protocol {str(said.get('protocol'))[:20]}, this lmgym {wire.PROTOCOL}: "
                "use the same version on both sides"
            )
        return said

    def _declare(self, render_mode: str | None) -> None:
        said = self._described
        try:
            rules = wire.read_contract(said["contract"])
            self.observation_space = wire.read_space(said["observation_space"])
            self.action_space = wire.read_space(said["action_space"])
            self.max_turns, self.roles = said["max_turns"], tuple(said["roles"])
            self._fidelity, self.metadata = dict(said["fidelity"]), dict(said["metadata"])
            modes = list(self.metadata["render_modes"])
            self._connection.max_request_bytes = int(said["limits"]["request_bytes"])
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{self._connection.url} describes no game: {error!r}") from error
        self.history, self.max_reply_chars = rules.history, rules.max_reply_chars
        self.tokenizer, self.preset, self.keep = rules.tokenizer, rules.preset, rules.keep
        self.data_episodes, self.evaluation_episodes = rules.data_episodes, rules.evaluation_episodes
        self.reference, self._starts = rules.reference, rules.official_starts
        if render_mode is not None and render_mode not in modes:
            raise UsageError(f"the game at {self._connection.url} cannot be rendered as text")
        self.render_mode = render_mode

    @property
    def served(self) -> tuple[str, dict[str, Any]]:
        """Id and arguments of the game at the other end."""
        return self._described["env_id"], dict(self._described["env_kwargs"])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        start = {"seed": None if seed is None else int(seed), "options": _plain(options or {})}
        if self._broken:
            self.close()
        if self._session is None:
            said = self._connection.call("POST", "/v1/sessions", {**start, "render": self.render_mode is not None})
            self._session, self._number = _taken(said, "session", str), 0
        else:
            said = self._ask("reset", start)
        return _taken(said, "observation", str), _taken(said, "info", dict)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if not isinstance(action, str):
            raise TypeError(f"an action is str, not {type(action).__name__}")
        said = self._ask("step", {"action": action})
        return (
            _taken(said, "observation", str),
            _taken(said, "reward", float),
            _taken(said, "terminated", bool),
            _taken(said, "truncated", bool),
            _taken(said, "info", dict),
        )

    def choices(self) -> Sequence[str] | None:
        said = self._look("choices")
        return None if said.get("choices") is None else tuple(_taken(said, "choices", list))

    def behaviour(self) -> str:
        return _taken(self._ask("behaviour", {}), "action", str)

    def expert(self) -> str:
        return _taken(self._ask("expert", {}), "action", str)

    def official_starts(self) -> Sequence[dict[str, Any]]:
        return self._starts

    def fidelity(self) -> Mapping[str, float]:
        return self._fidelity

    def render(self) -> Any:
        """Return the game drawn as text where it was made with `render_mode="ansi"`, else None."""
        return None if self.render_mode is None else _taken(self._look("frame"), "frame", str)

    def close(self) -> None:
        """Close the session, if there is one and the server can be reached."""
        if self._session is not None:
            with contextlib.suppress(RemoteError):  # It is gone, or will be when nobody used it for long enough.
                self._connection.call("DELETE", f"/v1/sessions/{self._session}", timeout=CLOSING_TIMEOUT)
            self._session, self._broken = None, False
        self._connection.close()

    def _ask(self, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self._number += 1
        return self._in_session("POST", what, {**body, "number": self._number})

    def _look(self, what: str) -> dict[str, Any]:
        return self._in_session("GET", what, None)

    def _in_session(self, method: str, what: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        if self._session is None:
            raise ResetNeeded("reset the game first")
        try:
            return self._connection.call(method, f"/v1/sessions/{self._session}/{what}", body)
        except RemoteError as error:
            if error.code in ("no_session", "game_failed"):
                self._session = None
            self._broken = self._session is not None and error.status == 0
            raise


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    sent = wire.jsonable(options)
    for name in options:
        if name not in sent:
            raise UsageError(f"the reset option {name!r} cannot be sent: JSON does not know {options[name]!r}")
    return sent


def _taken(said: Mapping[str, Any], name: str, kind: type) -> Any:
    value = said.get(name)
    if kind is float and type(value) is int:
        value = float(value)
    if not isinstance(value, kind):
        raise RemoteError(f"the server's answer has no {name}")
    return value
