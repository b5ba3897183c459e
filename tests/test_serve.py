"""Games over HTTP: the same games as here, every limit, and a server that outlives what its games and clients do."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from email.message import Message
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from lmgym import remote, serve
from lmgym.__main__ import main
from lmgym.agents import load_agent
from lmgym.check import check, odd_actions
from lmgym.env import contract, fidelity, jsonable, make_env, plays_itself, turn_limit
from lmgym.episode import Episode
from lmgym.errors import UsageError
from lmgym.policy import Policy
from lmgym.remote import RemoteError
from lmgym.rollout import Start, rollout
from lmgym.serve import ServeSettings, Service, serving
from lmgym.sessions import Refusal, Sessions
from lmgym.store import read_episodes
from lmgym.tasks import game_ids
from lmgym.wire import decode, encode
from tests.games import ECHO, FOREIGN, Held, Waiting

REMOTE = "lmgym/Remote-v0"
MIRROR, HELD, RUDE = (f"tests.games:test/{name}-v0" for name in ("Mirror", "Held", "Rude"))
Serve = Callable[..., str]


@pytest.fixture
def start() -> Iterator[Serve]:
    """Serve a game until the end of the test: `start(env_id, env_kwargs, clock=..., **settings) -> address`."""
    with ExitStack() as stack:

        def begin(env_id: str, env_kwargs: Mapping[str, Any] | None = None, clock: Any = None, **settings: Any) -> str:
            settings = {"port": 0, **settings}
            service = Service(env_id, env_kwargs or {}, ServeSettings(**settings), clock or time.monotonic)
            return stack.enter_context(serving(service))

        yield begin


def ask(url: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Message]:
    """Send a request as any program might, and return status, JSON and headers."""
    data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    request = urllib.request.Request(url + path, data, sent, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return answer.status, json.load(answer), answer.headers
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json.load(refusal), refusal.headers


def code_of(answer: tuple[int, Any, Message]) -> tuple[int, str]:
    status, body, _ = answer
    assert body["error"]["message"]
    return status, body["error"]["code"]


def played(agent: Any, env_id: str, env_kwargs: dict[str, Any], starts: Sequence[Start], turns: int) -> list[Episode]:
    """Play games and hide where."""
    found = rollout(agent, env_id, starts, env_kwargs=env_kwargs, num_envs=4, max_turns=turns)
    return [replace(episode, env_id="", env_kwargs={}) for episode in found]


# ---- The same games ---------------------------------------------------------------------------------------


# Endgames build tables that take most of a minute, once in a run of the tests.
SERVED = [pytest.param(env_id, marks=[pytest.mark.slow] * (env_id == "lmgym/Endgames-v0")) for env_id in game_ids()]


@pytest.mark.parametrize("env_id", [*SERVED, ECHO, FOREIGN])
def test_a_served_game_declares_and_plays_the_same(env_id: str, start: Serve) -> None:
    here, there = make_env(env_id), {"url": start(env_id)}
    far = make_env(REMOTE, there)
    rules = contract(here)
    starts = tuple(jsonable(options) for options in rules.official_starts)
    assert contract(far) == replace(rules, official_starts=starts, remote=True)
    assert (far.action_space, far.observation_space) == (here.action_space, here.observation_space)
    assert getattr(far.action_space, "examples", None) == getattr(here.action_space, "examples", None)
    assert (turn_limit(far), fidelity(far)) == (turn_limit(here), fidelity(here))
    roles = [role for role in ("behaviour", "expert") if plays_itself(here, role)]
    assert [role for role in ("behaviour", "expert") if plays_itself(far, role)] == roles
    begin = [Start(seed, {}) for seed in range(2)] + [Start(7, options) for options in rules.official_starts[:1]]
    for role in ("random", *roles):
        expected = played(load_agent(role, env_id), env_id, {}, begin, 8)
        assert all(episode.error is None for episode in expected)
        assert played(load_agent(role, REMOTE, there), REMOTE, there, begin, 8) == expected
    here.close()
    far.close()


@pytest.mark.parametrize("env_id", [MIRROR, "lmgym/TwentyQuestionsMini-v0"])
def test_odd_and_long_replies_arrive_as_they_were_said(env_id: str, start: Serve) -> None:
    kwargs = {"max_episode_steps": 2000}
    replies = [*odd_actions(), "\ud83d\ude00", "\udc00\ud800\udc00", "x\ud83d😀\ude00"]
    assert max(map(len, replies)) == 100_000

    def through(env: gymnasium.Env) -> list[Any]:
        seen: list[Any] = [env.reset(seed=1)]
        for reply in replies:
            observation, reward, terminated, truncated, info = env.step(reply)
            seen.append((observation, reward, terminated, truncated, jsonable(info)))
            if terminated or truncated:
                seen.append(env.reset())  # goes on with the generator of the game
        env.close()
        return seen

    far = through(make_env(REMOTE, {"url": start(env_id, kwargs)}))
    assert far == through(make_env(env_id, kwargs))
    assert env_id != MIRROR or [step[0] for step in far[1:]] == replies


def test_json_loses_nothing_and_is_plain_where_it_can_be() -> None:
    for text in ("", "é😀", "\ud800", "\ude00\ud83d", "\\\ud83d\ude00\\u0041", '"\x00\u2028'):
        assert decode(encode([text])) == [text]
    for text in ("é😀", "\ud800", "\ude00\ud83d"):
        assert json.loads(encode([text]).decode("utf-8")) == [text]
    for bad, reason in [
        (b"\xff", "can't decode"),
        (b"NaN", "NaN is no JSON"),
        (b"{", "Expecting property name"),
        (b"[" * 100_000, "nested too deeply"),
        (b"1" * 5000, "Exceeds the limit"),
    ]:
        with pytest.raises(ValueError, match=reason):
            decode(bad)


def test_many_clients_play_side_by_side(start: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Waiting, "company", threading.Barrier(3))  # no game goes on without two others
    there = {"url": start("tests.games:test/Waiting-v0")}
    begin = [Start(seed, {}) for seed in range(3)]
    far = played(load_agent("expert", REMOTE, there), REMOTE, there, begin, 10)
    assert [(episode.error, episode.total_reward) for episode in far] == [(None, 3.0)] * 3


def test_a_turn_that_takes_its_time_stops_nobody_else(start: Serve) -> None:
    Held.entered.clear()
    Held.let_go.clear()
    url = start(HELD, threads=3)
    names = [ask(url, "POST", "/v1/sessions", {"seed": 0})[1]["session"] for _ in range(3)]
    answers: list[Any] = []
    slow = threading.Thread(
        target=lambda: answers.append(ask(url, "POST", f"/v1/sessions/{names[0]}/step", {"action": "hold"}))
    )
    slow.start()
    assert Held.entered.wait(10)
    assert ask(url, "POST", f"/v1/sessions/{names[1]}/step", {"action": "red"})[0] == 200
    assert code_of(ask(url, "POST", f"/v1/sessions/{names[0]}/step", {"action": "red"})) == (409, "busy")
    assert ask(url, "DELETE", f"/v1/sessions/{names[0]}")[0] == 200  # its last turn still comes to its end
    Held.let_go.set()
    slow.join()
    assert answers[0][0] == 200
    assert code_of(ask(url, "POST", f"/v1/sessions/{names[0]}/step", {"action": "red"})) == (404, "no_session")


# ---- Limits -----------------------------------------------------------------------------------------------


def test_requests_that_make_no_sense(start: Serve) -> None:
    url = start(RUDE)
    name = ask(url, "POST", "/v1/sessions", {"seed": 0})[1]["session"]
    step = f"/v1/sessions/{name}/step"
    for path, body, expected in [
        ("/v1/sessions", b"{", (400, "bad_json")),
        ("/v1/sessions", b"[" * 100_000, (400, "bad_json")),
        ("/v1/sessions", b"\xff\xfe", (400, "bad_json")),
        ("/v1/sessions", [], (400, "bad_json")),
        ("/v1/sessions", {"sed": 3}, (400, "bad_value")),
        ("/v1/sessions", {"seed": -1}, (400, "bad_value")),
        ("/v1/sessions", {"seed": True}, (400, "bad_value")),
        ("/v1/sessions", {"options": [1]}, (400, "bad_value")),
        ("/v1/sessions", {"render": True}, (400, "bad_value")),
        ("/v1/sessions", {"options": {"color": "red"}}, (400, "bad_options")),
        (step, {}, (400, "bad_value")),
        (step, {"action": 3}, (400, "bad_value")),
        (step, {"action": "red", "number": "1"}, (400, "bad_value")),
        (f"/v1/sessions/{name}x/step", {"action": "red"}, (404, "no_session")),
        (f"/v1/sessions/{name}/fly", {}, (404, "no_path")),
        ("/v2/sessions", {}, (404, "no_path")),
        ("/v1/game", {}, (405, "no_path")),
    ]:
        assert code_of(ask(url, "POST", path, body)) == expected, (path, body)
    assert code_of(ask(url, "POST", step, {"action": "red"}, Content_Type="text/plain")) == (415, "not_json")
    assert code_of(ask(url, "GET", f"/v1/sessions/{name}/frame")) == (409, "not_rendered")
    for _ in range(3):
        assert ask(url, "POST", step, {"action": "red"})[0] == 200
    assert code_of(ask(url, "POST", step, {"action": "red"})) == (409, "game_over")
    assert code_of(ask(url, "POST", f"/v1/sessions/{name}/expert", {})) == (409, "game_over")
    assert ask(url, "POST", f"/v1/sessions/{name}/reset", {})[0] == 200
    assert ask(url, "POST", step, {"action": "red"})[0] == 200


def test_a_role_that_the_game_does_not_play(start: Serve) -> None:
    url = start(FOREIGN)
    name = ask(url, "POST", "/v1/sessions")[1]["session"]
    assert code_of(ask(url, "POST", f"/v1/sessions/{name}/expert")) == (404, "no_role")
    assert ask(url, "GET", f"/v1/sessions/{name}/choices")[1] == {"choices": None}
    with pytest.raises(UsageError, match=r"has no expert\(\) of its own"):
        load_agent("expert", REMOTE, {"url": url})


def raw(url: str, request: bytes) -> bytes:
    """Send bytes and return all that comes back until the server ends the connection."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        found = b""
        with contextlib.suppress(ConnectionError):  # it need not read what is too much
            line.sendall(request)
            while piece := line.recv(65536):
                found += piece
        return found


def test_a_request_is_not_too_large(start: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    url = start(MIRROR, max_request_bytes=1000)
    head = b"POST /v1/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    declared = raw(url, head + b"Content-Length: 1001\r\n\r\n" + b" " * 1001)
    assert declared.startswith(b"HTTP/1.1 413")
    chunk = b"100\r\n" + b" " * 256 + b"\r\n"
    chunked = raw(url, head + b"Transfer-Encoding: chunked\r\n\r\n" + 4 * chunk)  # and the server waits for no more
    assert chunked.startswith(b"HTTP/1.1 413")
    assert b'"code":"too_large"' in chunked
    fine = raw(url, head + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
    assert fine.startswith(b"HTTP/1.1 201")
    monkeypatch.setattr(serve, "BODY_TIMEOUT", 0.05)
    assert raw(url, head + b"Content-Length: 10\r\n\r\n{").startswith(b"HTTP/1.1 408")
    env = make_env(REMOTE, {"url": url})
    env.reset(seed=0)
    with pytest.raises(RemoteError, match="more than the 1000 that the server takes"):
        env.step("x" * 1000)
    assert env.step("x" * 900)[0] == "x" * 900
    env.close()


def test_the_number_of_sessions_is_limited(start: Serve) -> None:
    url = start(ECHO, max_sessions=2)
    names = [ask(url, "POST", "/v1/sessions")[1]["session"] for _ in range(2)]
    refused = ask(url, "POST", "/v1/sessions")
    assert code_of(refused) == (429, "too_many_sessions")
    assert refused[2]["Retry-After"] == "10"
    assert ask(url, "DELETE", f"/v1/sessions/{names[0]}")[0] == 200
    assert ask(url, "POST", "/v1/sessions")[0] == 201
    there = {"url": url}
    episodes = played(load_agent("expert", REMOTE, there), REMOTE, there, [Start(0, {})], 10)
    assert "there are 2 sessions already" in (episodes[0].error or "")


def test_nothing_free_in_time(start: Serve) -> None:
    Held.entered.clear()
    Held.let_go.clear()
    url = start(HELD, threads=1, queue_seconds=0.05)
    names = [ask(url, "POST", "/v1/sessions")[1]["session"] for _ in range(2)]
    slow = threading.Thread(target=ask, args=(url, "POST", f"/v1/sessions/{names[0]}/step", {"action": "hold"}))
    slow.start()
    assert Held.entered.wait(10)
    refused = ask(url, "POST", f"/v1/sessions/{names[1]}/step", {"action": "red"})
    assert code_of(refused) == (503, "overloaded")
    Held.let_go.set()
    slow.join()
    assert ask(url, "POST", f"/v1/sessions/{names[1]}/step", {"action": "red"})[0] == 200


class Clock:
    """Time as the test wants it."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_idle_sessions_expire(start: Serve) -> None:
    clock = Clock()
    url = start(ECHO, clock=clock, idle_seconds=60.0, max_sessions=1)
    env = make_env(REMOTE, {"url": url})
    first, _ = env.reset(seed=3)
    clock.now = 60.0
    env.step("red")
    clock.now = 120.0
    env.step("red")
    clock.now = 180.1
    with pytest.raises(RemoteError, match=r"nobody used it for 60 s") as failed:
        env.step("red")
    assert (failed.value.status, failed.value.code) == (404, "no_session")
    assert env.reset(seed=3)[0] == first  # there is room again
    clock.now = 300.0
    other = make_env(REMOTE, {"url": url})
    other.reset(seed=0)
    other.close()
    env.close()


def test_nobody_has_to_ask_for_sessions_to_expire() -> None:
    service = Service(ECHO, {}, ServeSettings(port=0, idle_seconds=0.2))
    with serving(service) as url:
        assert ask(url, "POST", "/v1/sessions")[0] == 201
        deadline = time.monotonic() + 10
        while len(service.sessions) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(service.sessions) == 0


def test_sessions_by_themselves() -> None:
    made: list[gymnasium.Env] = []
    closed: list[gymnasium.Env] = []

    def make(render: bool) -> gymnasium.Env:
        env = make_env(RUDE).unwrapped
        env.close = lambda: closed.append(env)  # type: ignore[method-assign]
        made.append(env)
        return env

    clock = Clock()
    sessions = Sessions(make, limit=3, idle_seconds=10, clock=clock)
    with pytest.raises(Refusal, match="unknown reset option"):
        sessions.open(seed=0, options={"color": 1})
    assert (len(sessions), closed) == (0, made)
    names = [sessions.open(seed=0, options={})["session"] for _ in range(3)]
    assert len(set(names)) == 3
    clock.now = 8
    sessions.step(names[1], "red")
    clock.now = 11
    assert sessions.expire() == 2
    assert closed == [made[0], made[1], made[3]]
    with pytest.raises(Refusal, match="SystemExit: 3"):
        sessions.step(names[1], "exit")
    assert (len(sessions), closed) == (0, [made[0], made[1], made[3], made[2]])
    name = sessions.open(seed=0, options={})["session"]
    with pytest.raises(Refusal, match="the reward is inf"):
        sessions.step(name, "more")
    sessions.open(seed=0, options={})
    assert (sessions.close_all(), len(sessions)) == (1, 0)
    assert sorted(map(id, closed)) == sorted(map(id, made))


# ---- Who may ask ------------------------------------------------------------------------------------------


def test_a_token(start: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LMGYM_TOKEN", raising=False)
    url = start(ECHO, token="open sesame")
    for headers in ({}, {"Authorization": "Bearer open"}, {"Authorization": "Basic open sesame"}):
        for path in ("/v1/game", "/v2"):
            refused = ask(url, "GET", path, **headers)
            assert code_of(refused) == (401, "no_token")
            assert refused[2]["WWW-Authenticate"] == "Bearer"
    assert ask(url, "GET", "/v1/game", Authorization="bearer open sesame")[0] == 200
    with pytest.raises(UsageError, match="Bearer TOKEN is missing or wrong"):
        make_env(REMOTE, {"url": url})
    gymnasium.make(REMOTE, url=url, token="open sesame").close()  # for who keeps no records
    with pytest.raises(UsageError, match="token of lmgym/Remote-v0 would end in the records of games; set the env"):
        make_env(REMOTE, {"url": url, "token": "open sesame"})
    monkeypatch.setenv("LMGYM_TOKEN", "open sesame")
    file = tmp_path / "games.parquet"
    assert main(["collect", REMOTE, "--env-args", f"url={url}", "--out", str(file), "--episodes", "3"]) == 0
    here = tmp_path / "here.parquet"
    assert main(["collect", ECHO, "--out", str(here), "--episodes", "3"]) == 0
    assert b"sesame" not in file.read_bytes()
    assert [episode.turns for episode in read_episodes(file)] == [episode.turns for episode in read_episodes(here)]


def test_without_a_token_only_this_machine_by_its_own_name(start: Serve) -> None:
    url = start(ECHO)
    for host, status in [
        ("localhost:80", 200),
        ("127.0.0.1", 200),
        ("[::1]:5", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example:80", 403),
        ("", 403),
    ]:
        request = f"GET /v1/game HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        assert raw(url, request).startswith(f"HTTP/1.1 {status}".encode()), host
    with pytest.raises(UsageError, match="can be reached from other machines, which takes a token"):
        ServeSettings(host="0.0.0.0")
    assert "sesame" not in repr(ServeSettings(host="0.0.0.0", token="sesame"))


# ---- What goes wrong --------------------------------------------------------------------------------------


def test_a_game_that_fails_ends_alone(start: Serve) -> None:
    game = "tests.games:test/FailingFarAway-v0"
    there = {"url": start(game)}
    begin = [Start(seed, {}) for seed in range(12)]
    here = played(load_agent("expert", game), game, {}, begin, 10)
    far = played(load_agent("expert", REMOTE, there), REMOTE, there, begin, 10)
    failed = sum(episode.error is not None for episode in here)
    assert 0 < failed < 12
    assert [episode.turns for episode in far] == [episode.turns for episode in here]
    assert [episode.error for episode in far] == [
        episode.error and episode.error.replace("environment: ", "environment: RemoteError: ") for episode in here
    ]


@pytest.mark.filterwarnings("ignore:.*reward is a")  # of Gymnasium, about the infinite one
@pytest.mark.parametrize(("action", "reason"), [("exit", "SystemExit: 3"), ("more", "the reward is inf")])
def test_the_server_outlives_its_games(action: str, reason: str, start: Serve) -> None:
    url = start(RUDE, max_sessions=1)
    env = make_env(REMOTE, {"url": url})
    first, _ = env.reset(seed=5)
    with pytest.raises(RemoteError, match=reason) as failed:
        env.step(action)
    assert (failed.value.status, failed.value.code) == (500, "game_failed")
    assert env.reset(seed=5)[0] == first
    with pytest.raises(UsageError, match="unknown reset option of the rude game 'color'; did you mean 'colour'"):
        env.reset(options={"color": "red"})
    with pytest.raises(UsageError, match="cannot be sent"):
        env.reset(options={"colour": object()})
    env.reset(seed=5)
    env.step("red")
    env.close()
    assert ask(url, "POST", "/v1/sessions")[0] == 201


def test_a_lost_answer_is_asked_for_again_and_nothing_happens_twice(
    start: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = remote.Connection._exchange
    lost: list[str] = []

    def unlucky(connection: remote.Connection, method: str, path: str, *more: Any) -> Any:
        answer = exchange(connection, method, path, *more)
        if method == "POST" and path not in lost[-1:]:
            lost.append(path)
            connection.close()
            raise ConnectionResetError("the line broke after the answer")
        lost.append("")
        return answer

    here = played(load_agent("behaviour", ECHO), ECHO, {}, [Start(4, {}), Start(5, {})], 10)
    there = {"url": start(ECHO)}
    monkeypatch.setattr(remote.Connection, "_exchange", unlucky)
    assert played(load_agent("behaviour", REMOTE, there), REMOTE, there, [Start(4, {})], 10) == here[:1]
    assert sum(path.endswith("/step") for path in lost) == 3
    monkeypatch.undo()
    env = make_env(REMOTE, there)
    env.reset(seed=5)
    game: Any = env.unwrapped
    game._connection._http.sock.shutdown(socket.SHUT_RDWR)  # as when the server ends an idle connection
    assert env.step("red")[0] == here[1].turns[2].text
    env.close()


def test_a_server_that_is_gone(start: Serve) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(serving(Service(ECHO, {}, ServeSettings(port=0))))
        env = make_env(REMOTE, {"url": url})
        env.reset(seed=0)
    with pytest.raises(RemoteError, match="no connection to http"):
        env.step("red")
    env.close()
    with pytest.raises(UsageError, match="there is no game to play: no connection to"):
        make_env(REMOTE, {"url": url})


def test_a_turn_takes_too_long(start: Serve) -> None:
    Held.let_go.clear()
    env = make_env(REMOTE, {"url": start(HELD), "timeout": 0.3})
    first, _ = env.reset(seed=1)
    with pytest.raises(RemoteError, match=r"gave no answer within 0\.3 s"):
        env.step("hold")
    assert env.reset(seed=1)[0] == first
    Held.let_go.set()
    env.close()


def test_strange_servers(start: Serve) -> None:
    for answer, sentence in [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "what is no answer of lmgym serve"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "speaks protocol None, this lmgym 1"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"protocol":1}', "describes no game"),
        (b"SSH-2.0-x\r\n", "no connection to"),
    ]:
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def reply(listener: socket.socket = listener, answer: bytes = answer) -> None:
                for _ in range(3 if answer.startswith(b"SSH") else 1):
                    line, _ = listener.accept()
                    with line:
                        line.recv(65536)
                        line.sendall(answer)

            thread = threading.Thread(target=reply)
            thread.start()
            with pytest.raises(UsageError, match=sentence):
                make_env(REMOTE, {"url": f"http://127.0.0.1:{listener.getsockname()[1]}"})
            thread.join()


# ---- As a user --------------------------------------------------------------------------------------------


def test_the_game_may_be_named(start: Serve) -> None:
    there = {"url": start("lmgym/POMaze-v0", {"maze": "umaze"}), "game": "lmgym/POMaze-v0"}
    env: Any = make_env(REMOTE, there).unwrapped
    assert env.served == ("lmgym/POMaze-v0", {"maze": "umaze"})
    with pytest.raises(UsageError, match="does not serve lmgym/FOMaze-v0 but lmgym/POMaze-v0"):
        make_env(REMOTE, {**there, "game": "lmgym/FOMaze-v0"})


def test_a_policy_is_evaluated_as_at_home(
    start: Serve, tmp_path: Path, tiny_policy: Callable[..., Policy], capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_policy(ECHO).save_pretrained(tmp_path / "run")
    results = []
    for env, args in ((ECHO, []), (REMOTE, ["--env-args", f"url={start(ECHO)}"])):
        assert main(["eval", str(tmp_path / "run"), "--env", env, "--episodes", "10", "--json", *args]) == 0
        results.append(json.loads(capsys.readouterr().out))
    for name in ("mean_return", "score", "success_rate", "invalid_rate", "turns", "errors", "decoding"):
        assert results[0][name] == results[1][name]
    assert results[1]["score"] is not None


def test_a_game_is_watched(start: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    url = start(HELD)
    assert main(["play", REMOTE, "--agent", "expert", "--render", "--env-args", f"url={url}"]) == 0
    assert len(re.findall(r"^\[(red|blue|green)\]$", capsys.readouterr().out, re.MULTILINE)) == 3
    assert main(["play", REMOTE, "--render", "--env-args", f"url={start(ECHO)}"]) == 2
    assert "cannot be rendered as text" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (f"eval random --env {REMOTE}", "where is the game served? url=http://127.0.0.1:8000"),
        (f"eval random --env {REMOTE} --env-args ulr=x", "argument of lmgym/Remote-v0 'ulr'; did you mean 'url'?"),
        (f"eval random --env {REMOTE} --env-args url=127.0.0.1:80", "is no address of a server"),
        (f"eval random --env {REMOTE} --env-args url=http://me:key@x.org", "the token belongs in LMGYM_TOKEN"),
        (f"eval random --env {REMOTE} --env-args url=http://127.0.0.1:1", "there is no game to play: no connection"),
        (f"eval random --env {REMOTE} --env-args url=http://127.0.0.1:1 timeout=0", "timeout is more than 0, not 0"),
        ("serve lmgym/FOMze-v0", "did you mean 'lmgym/FOMaze-v0'?"),
        (f"serve {ECHO} --port 70000", "a port lies between 0 and 65535, not 70000"),
        (f"serve {ECHO} --host 203.0.113.7 --token x", "of 203.0.113.7: Cannot assign requested address"),
        (f"serve {ECHO} --token é", "a token consists of printable ASCII characters"),
        (f"serve {ECHO} --max-sessions 0", "max_sessions is 1 or more, not 0"),
        (f"serve {ECHO} --idle-minutes 0", "idle_seconds is more than 0, not 0"),
        (f"serve {ECHO} --prot 3", "did you mean '--port'?"),
        ("serve lmgym/FOMaze-v0 --env-args maze=umze", "unknown maze 'umze'; did you mean 'umaze'?"),
    ],
)
def test_mistakes_are_one_sentence(words: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert sentence in said[-1]
    assert len(said) == 1


def test_a_port_that_is_taken_and_packages_that_are_missing(
    start: Serve, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = start(ECHO).rpartition(":")[2]
    assert main(["serve", ECHO, "--port", port]) == 2
    assert f"cannot listen at port {port} of 127.0.0.1: Address already in use" in capsys.readouterr().err
    monkeypatch.delitem(sys.modules, "lmgym.serve")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve", ECHO]) == 2
    assert "pip install 'lmgym[serve]'" in capsys.readouterr().err


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_and_ends_in_good_order(ending: signal.Signals) -> None:
    command = [sys.executable, "-m", "lmgym", "serve", HELD, "--port", "0", "--host", "0.0.0.0"]
    environment = {name: value for name, value in os.environ.items() if name != "LMGYM_TOKEN"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    token = process.stdout.readline().split()[-1]
    url = re.findall(r"http://\S+(?=;)", process.stdout.readline())[0].replace("0.0.0.0", "127.0.0.1")
    assert ask(url, "GET", "/v1/game")[0] == 401
    envs = [gymnasium.make(REMOTE, url=url, token=token) for _ in range(2)]
    for env in envs:
        env.reset(seed=0)
    failures: list[str] = []

    def hang() -> None:
        try:
            envs[0].step("hold")
        except RemoteError as error:
            failures.append(str(error))

    hanging = threading.Thread(target=hang)
    hanging.start()  # Neither a game that is at work nor an open session keeps the server.
    time.sleep(0.2)
    process.send_signal(ending)
    said, complaints = process.communicate(timeout=20)
    hanging.join()
    assert len(failures) == 1
    assert "Traceback" not in complaints
    if ending == signal.SIGINT:
        assert process.returncode == 0
        assert said.splitlines()[-1] == "ended; open sessions closed: 2"
    else:
        assert process.returncode == -ending


@pytest.mark.slow
@pytest.mark.parametrize("env_id", [ECHO, "lmgym/POTextNav-v0"])
def test_a_served_game_keeps_every_rule(env_id: str, start: Serve) -> None:
    verdicts = check(REMOTE, {"url": start(env_id)})
    assert [verdict for verdict in verdicts if verdict.problem is not None] == []
