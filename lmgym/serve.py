"""`lmgym serve`: a game as a small HTTP service, for agents and trainers in other processes, languages and machines.

    GET    /v1/game                       what the game declares: spaces, history, longest reply, starts, limits
    POST   /v1/sessions                   {"seed", "options", "render"}; starts a game: "session" and as reset
    POST   /v1/sessions/NAME/reset        {"seed", "options"}: "observation", "info"
    POST   /v1/sessions/NAME/step         {"action"}: "observation", "reward", "terminated", "truncated", "info"
    POST   /v1/sessions/NAME/behaviour    "action" of the player of the offline data; /expert: of the best known one
    GET    /v1/sessions/NAME/choices      "choices": the valid actions, null where they cannot be listed
    GET    /v1/sessions/NAME/frame        "frame": the game drawn as text
    DELETE /v1/sessions/NAME              closes it

Bodies are JSON objects; every field of a request may be left out but "action". A "number" in a request within a
session says which one it is: sent again with the same number, it gets the same answer and nothing happens twice.
Errors are {"error": {"code", "message"}}: 400 what is no request, 401 without the token, 403 under a foreign name,
404 no such session, 405, 408 a body that does not come, 409 busy or over, 413 too large, 415 no JSON, 429 too many
sessions, 500 the game failed (its session is closed), 503 nothing free in time.
"""

import asyncio
import contextlib
import hmac
import ipaddress
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from lmgym import wire
from lmgym.env import make_env
from lmgym.errors import UsageError, require_number
from lmgym.sessions import Answer, Refusal, Sessions

logger = logging.getLogger("lmgym.serve")

BODY_TIMEOUT = 30.0
KEEP_ALIVE_SECONDS = 120
SHUTDOWN_SECONDS = 3
REFUSAL_HEADERS = {
    401: {"WWW-Authenticate": "Bearer", "Connection": "close"},
    403: {"Connection": "close"},
    408: {"Connection": "close"},
    413: {"Connection": "close"},
    429: {"Retry-After": "10"},
    503: {"Retry-After": "5"},
}
"""Who sends what is not read is not listened to any longer."""


@dataclass(frozen=True)
class ServeSettings:
    """How a game is served. `queue_seconds`: how long a request waits for one of the `threads` before it gets 503."""

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    max_sessions: int = 256
    idle_seconds: float = 1800.0
    max_request_bytes: int = 4 << 20
    threads: int = 64
    queue_seconds: float = 60.0

    def __post_init__(self) -> None:
        for name, least in (("port", 0), ("max_sessions", 1), ("max_request_bytes", 1), ("threads", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} is {least} or more, not {getattr(self, name)}")
        if self.port > 65535:
            raise UsageError(f"a port lies between 0 and 65535, not {self.port}")
        require_number("idle_seconds", self.idle_seconds, above=True)
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and self.token.strip()):
            raise UsageError("a token consists of printable ASCII characters")
        if self.token is None and not is_loopback(self.host):
            raise UsageError(f"{self.host} can be reached from other machines, which takes a token")


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine only.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.2", "::1", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def new_token() -> str:
    """Return a token that nobody can guess."""
    return secrets.token_urlsafe(24)


class Workers:
    """Threads for calls that take their time: `limit` at once, each further one waits up to `patience` seconds.

    They are daemons, so that a server that is ended does not wait for a game that hangs.
    """

    def __init__(self, limit: int, patience: float) -> None:
        self._slots, self._patience = asyncio.Semaphore(limit), patience

    async def run(self, call: Callable[[], Answer]) -> Answer:
        """Make the call in a thread and return its result. Raises Refusal where no thread becomes free."""
        try:
            async with asyncio.timeout(self._patience):
                await self._slots.acquire()
        except TimeoutError:
            raise Refusal(503, "overloaded", "all threads of the server are busy; try again later") from None
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()

        def deliver(result: Answer | None, error: BaseException | None) -> None:
            self._slots.release()
            if future.cancelled():
                return
            if error is None:
                assert result is not None
                future.set_result(result)
            else:
                future.set_exception(error)

        def work() -> None:
            try:
                outcome: tuple[Answer | None, BaseException | None] = call(), None
            except BaseException as error:
                outcome = None, error
            with contextlib.suppress(RuntimeError):  # the server ended meanwhile
                loop.call_soon_threadsafe(deliver, *outcome)

        threading.Thread(target=work, daemon=True).start()
        try:
            return await future
        except asyncio.CancelledError:  # uvicorn's last word to those who are still at work when the server ends
            raise Refusal(503, "ending", "the server has ended") from None


class Service:
    """The web application of one game."""

    def __init__(
        self,
        env_id: str,
        env_kwargs: Mapping[str, Any],
        settings: ServeSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises UsageError where the game cannot be made."""
        self.settings, kwargs = settings, dict(env_kwargs)

        def make(render: bool) -> Any:
            return make_env(env_id, {**kwargs, "render_mode": "ansi"} if render else kwargs)

        env = make(False)
        limits = {
            "sessions": settings.max_sessions,
            "idle_seconds": settings.idle_seconds,
            "request_bytes": settings.max_request_bytes,
        }
        self.description = {**wire.description(env, env_id, kwargs), "limits": limits}
        env.close()
        self.sessions = Sessions(make, limit=settings.max_sessions, idle_seconds=settings.idle_seconds, clock=clock)
        self.left_open = 0
        self._workers = Workers(settings.threads, settings.queue_seconds)

    def app(self) -> ASGIApp:
        """Return the application, with its guard."""
        within = "/v1/sessions/{name}"
        routes = [
            Route("/v1/game", self._game, methods=["GET"]),
            Route("/v1/sessions", self._open, methods=["POST"]),
            Route(f"{within}/reset", self._reset, methods=["POST"]),
            Route(f"{within}/step", self._step, methods=["POST"]),
            Route(f"{within}/{{role}}", self._role, methods=["POST"]),
            Route(f"{within}/choices", self._choices, methods=["GET"]),
            Route(f"{within}/frame", self._frame, methods=["GET"]),
            Route(within, self._close, methods=["DELETE"]),
        ]
        handlers: Any = {Refusal: _refused, HTTPException: _not_found, Exception: _broken}
        application = Starlette(routes=routes, lifespan=self._lifespan, exception_handlers=handlers)
        return Guard(application, self.settings)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(self._sweep())
        try:
            yield
        finally:
            sweeper.cancel()
            self.left_open = await asyncio.to_thread(self.sessions.close_all)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(30.0, self.settings.idle_seconds / 4))
            await asyncio.to_thread(self.sessions.expire)

    async def _game(self, _: Request) -> Response:
        return answered(self.description)

    async def _open(self, request: Request) -> Response:
        body = await self._body(request, "seed", "options", "render")
        render = _flag(body, "render")
        if render and not self.description["metadata"]["render_modes"]:
            raise Refusal(400, "bad_value", "the game cannot be rendered as text")
        call = partial(self.sessions.open, seed=_whole(body, "seed"), options=_options(body), render=render)
        return answered(await self._workers.run(call), 201)

    async def _reset(self, request: Request) -> Response:
        body = await self._body(request, "seed", "options", "number")
        seed, number = _whole(body, "seed"), _whole(body, "number")
        call = partial(self.sessions.reset, seed=seed, options=_options(body), number=number)
        return await self._in_session(request, call)

    async def _step(self, request: Request) -> Response:
        body = await self._body(request, "action", "number")
        action = body.get("action")
        if not isinstance(action, str):
            raise Refusal(400, "bad_value", '"action" is missing or no string')
        call = partial(self.sessions.step, action=action, number=_whole(body, "number"))
        return await self._in_session(request, call)

    async def _role(self, request: Request) -> Response:
        role = request.path_params["role"]
        if role not in wire.ROLES:
            raise HTTPException(404)
        number = _whole(await self._body(request, "number"), "number")
        return await self._in_session(request, partial(self.sessions.ask, role=role, number=number))

    async def _choices(self, request: Request) -> Response:
        return await self._in_session(request, self.sessions.choices)

    async def _frame(self, request: Request) -> Response:
        return await self._in_session(request, self.sessions.render)

    async def _close(self, request: Request) -> Response:
        def close(name: str) -> Answer:
            self.sessions.close(name)
            return {}

        return await self._in_session(request, close)

    async def _in_session(self, request: Request, call: Callable[[str], Answer]) -> Response:
        return answered(await self._workers.run(partial(call, request.path_params["name"])))

    async def _body(self, request: Request, *known: str) -> dict[str, Any]:
        """Return the JSON object of a request; an empty body is an empty object."""
        # A page in a browser may send forms and plain text to anybody, but JSON only where it is allowed to.
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refusal(415, "not_json", "send JSON, with the header Content-Type: application/json")
        data = await self._received(request)
        try:
            body = wire.decode(data) if data else {}
        except ValueError as error:
            raise Refusal(400, "bad_json", f"the body is no JSON: {error}") from None
        if not isinstance(body, dict):
            raise Refusal(400, "bad_json", "the body is no JSON object")
        for name in body:
            if name not in known:
                raise Refusal(400, "bad_value", f"unknown field {name[:40]!r}; valid: {', '.join(known)}")
        return body

    async def _received(self, request: Request) -> bytes:
        """Read a body, whatever its header says of its length, and no more of it than is allowed."""
        limit = self.settings.max_request_bytes
        too_large = Refusal(413, "too_large", f"a request has {limit} bytes at most")
        declared = request.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared[:20]) > limit:
            raise too_large
        data = bytearray()
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                async for chunk in request.stream():
                    data += chunk
                    if len(data) > limit:
                        raise too_large
        except TimeoutError:
            raise Refusal(408, "too_slow", f"the body did not come within {BODY_TIMEOUT:g} s") from None
        return bytes(data)


class Guard:
    """Lets through who knows the token. Where there is none, only requests to this machine by one of its own names:
    a page in a browser could else reach the server under a name that it has pointed here."""

    def __init__(self, app: ASGIApp, settings: ServeSettings) -> None:
        self._app, self._token = app, settings.token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        refusal = self._refusal(dict(scope["headers"])) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await refused(refusal)(scope, receive, send)

    def _refusal(self, headers: Mapping[bytes, bytes]) -> Refusal | None:
        if self._token is None:
            host = headers.get(b"host", b"").decode("latin-1")
            name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
            own = is_loopback(name.lower())
            return None if own else Refusal(403, "foreign_name", "without a token the server is reached as 127.0.0.1")
        kind, _, token = headers.get(b"authorization", b"").partition(b" ")
        if kind.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token.encode()):
            return None
        return Refusal(401, "no_token", "the header Authorization: Bearer TOKEN is missing or wrong")


def answered(content: Answer, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer of the server."""
    return Response(wire.encode(content), status, headers, media_type="application/json")


def refused(refusal: Refusal) -> Response:
    """Return the answer that says why there is none."""
    error = {"code": refusal.code, "message": refusal.message}
    return answered({"error": error}, refusal.status, REFUSAL_HEADERS.get(refusal.status))


async def _refused(_: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    return refused(refusal)


async def _not_found(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = {404: "there is nothing", 405: f"there is no {request.method}"}.get(error.status_code, str(error.detail))
    return refused(Refusal(error.status_code, "no_path", f"{what} at {request.url.path[:100]}"))


async def _broken(_: Request, error: Exception) -> Response:
    return refused(Refusal(500, "server_error", f"the server failed: {type(error).__name__}"))


def _whole(body: Mapping[str, Any], name: str) -> int | None:
    value = body.get(name)
    if value is not None and not (type(value) is int and value >= 0):
        raise Refusal(400, "bad_value", f'"{name}" is a whole number of 0 or more, or null')
    return value


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise Refusal(400, "bad_value", f'"{name}" is true or false')
    return value


def _options(body: Mapping[str, Any]) -> dict[str, Any]:
    value = body.get("options") or {}
    if not isinstance(value, dict):
        raise Refusal(400, "bad_value", '"options" is an object')
    return value


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one. Raises UsageError where that is not possible."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends small pieces at once only over a socket that was made for TCP by name; else each takes 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except (OSError, UnicodeError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot listen at port {port} of {host}: {reason}; --port 0 takes a free one") from error
    return listener


def address_of(listener: socket.socket) -> str:
    """Return the address under which a socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def server_of(service: Service) -> uvicorn.Server:
    """Return the web server of a service, not yet running."""
    config = uvicorn.Config(
        service.app(),
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    return uvicorn.Server(config)


def run(service: Service, say: Callable[[str], None]) -> int:
    """Serve until Ctrl-C and return how many sessions were still open then. `say` hears the address, once it works."""
    with listening(service.settings.host, service.settings.port) as listener:
        game, address = service.description["env_id"], address_of(listener)
        server = server_of(service)
        say(f"{game} is served at {address}; Ctrl-C ends it")
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn ends in good order and then raises it again
            server.run(sockets=[listener])
    return service.left_open


@contextlib.contextmanager
def serving(service: Service) -> Iterator[str]:
    """Serve in a thread of this process for as long as the block lasts; yields the address."""
    with listening(service.settings.host, service.settings.port) as listener:
        server = server_of(service)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        address = address_of(listener)
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.005)
            if not server.started:
                raise RuntimeError("the server did not start; the log says why")
            yield address
        finally:
            server.should_exit = True
            thread.join()
