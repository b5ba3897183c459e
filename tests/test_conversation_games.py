"""The games with simulated people, with a language model as the other side: whole games through a real server."""

import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lmgym import chat
from lmgym.__main__ import main
from lmgym.agents import load_agent
from lmgym.env import contract_of, make_env
from lmgym.episode import Episode
from lmgym.evaluate import collect, evaluate
from lmgym.oracle import Bill
from tests.chats import build_chat_model, replies, sends, serving


class Talk(NamedTuple):
    """A game, a person to play it with, what its outcome says of what was hidden, and what the person is told."""

    env_id: str
    person: Callable[[dict[str, Any]], str]
    hidden: str
    told: Callable[[Any], str]


def says_no(body: dict[str, Any]) -> str:
    """Somebody who thinks of something else."""
    return "No."


def likes_it(body: dict[str, Any]) -> str:
    """Somebody from a city by the sea, who names the turn of the talk."""
    return f"Yes, I like it. That was question {len(body['messages']) // 2}."


def pays(body: dict[str, Any]) -> str:
    """Somebody who says what car it is about, hesitates, then takes the price that the seller named last."""
    rules, *talk = [message["content"] for message in body["messages"]]
    wish = re.search(r"You want (an? .*?), preferably", rules)
    named = re.findall(r"\$\d[\d,]*", " ".join(talk[::2]))
    if len(talk) > 4 and named:
        return f"Fine. [accept {named[-1]}]"
    return f"I am looking for {wish[1] if wish else 'a car'}."


TALKS = (
    Talk("lmgym/TwentyQuestions-v0", says_no, "object", lambda hidden: f"hidden object is: {hidden}"),
    Talk("lmgym/GuessMyCity-v0", likes_it, "city", lambda hidden: f"City: {hidden}"),
    Talk("lmgym/CarDealer-v0", pays, "buyer", lambda hidden: f"{hidden['brand']} {hidden['type']}"),
)
each_talk = pytest.mark.parametrize("talk", TALKS, ids=[talk.env_id for talk in TALKS])
each_size = pytest.mark.parametrize(
    "env_id", [talk.env_id.replace("-v0", f"{size}-v0") for talk in TALKS for size in ("", "Mini")]
)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("LMGYM_CHAT_OFFLINE", "LMGYM_CHAT_PRICES", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LMGYM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LMGYM_CHAT_RETRIES", "1")
    monkeypatch.setattr(chat, "FIRST_PAUSE", 0.01)


def played(talk: Talk, oracle: str, *, episodes: int = 6, num_envs: int = 4) -> list[Episode]:
    agent = load_agent("behaviour", talk.env_id, {"oracle": oracle})
    return list(collect(agent, talk.env_id, env_kwargs={"oracle": oracle}, episodes=episodes, num_envs=num_envs))


def behaves(talk: Talk) -> Callable[[Any, dict[str, Any]], None]:
    return lambda handler, body: replies(talk.person(body))(handler, body)


@each_talk
def test_whole_games_through_a_server_are_played_again_from_the_cache(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(behaves(talk)) as server:
        oracle = f"openai:small@{server.url}"
        first = played(talk, oracle)
    asked = len(server.requests)
    assert all(episode.terminated and episode.error is None for episode in first)
    # Guesses are judged by the game; all else went to the server, and nothing went twice.
    assert asked == sum(episode.outcome["oracle_calls"] for episode in first) > 12
    told = {request["messages"][0]["content"] for request in server.requests}
    for episode, embedded in zip(first, played(talk, "embedded"), strict=True):
        assert set(Bill().info()) <= set(episode.outcome)
        assert "cached" not in episode.outcome
        assert episode.outcome["oracle_prompt_tokens"] == 30 * episode.outcome["oracle_calls"]
        # The same is hidden under a seed, whoever answers.
        assert episode.outcome[talk.hidden] == embedded.outcome[talk.hidden]
        assert any(talk.told(episode.outcome[talk.hidden]) in text for text in told)
    monkeypatch.setenv("LMGYM_CHAT_OFFLINE", "1")
    assert played(talk, oracle, num_envs=1) == first  # the server is down


def test_a_model_buys_a_car() -> None:
    with serving(behaves(TALKS[2])) as server:
        episodes = played(TALKS[2], f"openai:small@{server.url}")
    sold = [episode for episode in episodes if episode.outcome["success"]]
    assert sold
    assert all(episode.total_reward == episode.outcome["price"] / 1000 for episode in sold)


@each_talk
def test_a_server_that_fails_ends_single_games(talk: Talk) -> None:
    def fails_now_and_then(handler: Any, body: dict[str, Any]) -> None:
        # Whose game fails depends on what is hidden, and only after a few turns.
        fails = len(body["messages"]) > 5 and zlib.crc32(body["messages"][0]["content"].encode()) % 3 == 0
        (sends({"error": "out of order"}, 500) if fails else behaves(talk))(handler, body)

    with serving(fails_now_and_then) as server:
        oracle = f"openai:small@{server.url}"
        episodes = played(talk, oracle)
        agent = load_agent("behaviour", talk.env_id, {"oracle": oracle})
        result = evaluate(agent, talk.env_id, env_kwargs={"oracle": oracle}, episodes=12)
    failed = [episode for episode in episodes if episode.error]
    assert 0 < len(failed) < len(episodes)
    for episode in failed:
        assert (episode.terminated, episode.truncated) == (False, True)
        assert episode.error == f"other side: {episode.outcome['oracle_error']}"
        assert "status 500" in episode.outcome["oracle_error"]
        assert (episode.outcome["success"], episode.observations[-1].text) == (False, "")
        assert "" in make_env(talk.env_id).observation_space
        assert talk.told(episode.outcome[talk.hidden])
        assert episode.outcome["oracle_calls"] >= 2
    assert 0 < result.errors < 12
    assert result.score is None
    assert "out of order" in (result.first_error or "")


@each_talk
def test_the_gibberish_of_a_local_model_is_heard_out(talk: Talk, tmp_path: Path) -> None:
    oracle = f"hf:{build_chat_model(tmp_path / 'model', max_positions=20_000)}?temperature=1"
    talk = talk._replace(env_id=talk.env_id.replace("-v0", "Mini-v0"))
    episodes = played(talk, oracle, episodes=3)
    env = make_env(talk.env_id, {"oracle": oracle})
    assert all(episode.terminated and episode.error is None for episode in episodes)
    assert all(turn.text in env.observation_space for episode in episodes for turn in episode.observations)
    assert any(episode.outcome["oracle_completion_tokens"] for episode in episodes)
    if talk.hidden == "object":
        assert any(episode.outcome["unclear_replies"] for episode in episodes)
    else:
        assert len({turn.text for episode in episodes for turn in episode.observations}) > 12


@each_size
def test_a_game_waits_for_a_model_and_claims_nothing_of_it(env_id: str) -> None:
    embedded, remote = make_env(env_id), make_env(env_id, {"oracle": "openai:small@http://127.0.0.1:1/v1"})
    for env, waits in ((embedded, False), (remote, True)):
        game: Any = env.unwrapped
        assert game.remote == waits
        assert (game.reference is None) == waits
        assert bool(game.fidelity()) == (not waits and env_id != "lmgym/GuessMyCityMini-v0")
        _, info = env.reset(seed=0)
        assert (set(Bill().info()) <= set(info)) == waits


@each_size
def test_what_is_declared_suits_the_data(env_id: str) -> None:
    rules = contract_of(env_id)
    assert rules.keep == "0.1"  # as published for filtered cloning of the dialogue games
    assert rules.preset == ("0.1M" if "Mini" in env_id else "5M")
    for role in ("behaviour", "expert"):
        said = [
            turn.text for episode in collect(load_agent(role, env_id), env_id, episodes=200) for turn in episode.actions
        ]
        assert rules.max_reply_chars / 3 < max(map(len, said)) <= rules.max_reply_chars


@each_talk
def test_the_check_prints_how_right_the_people_are(talk: Talk, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", talk.env_id]) == 0
    lines = capsys.readouterr().out.splitlines()
    figures = [line.removeprefix("      fidelity, ").rsplit(": ", 1) for line in lines if "fidelity" in line]
    assert figures[0][0].startswith("held-out ")
    for name, value in figures:
        assert re.fullmatch(
            r"\d{2,}" if "held-out" in name or name.startswith("questions beyond") else r"[01]\.\d{3}", value
        )
    assert len(figures) >= 3
