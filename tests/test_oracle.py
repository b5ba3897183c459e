"""A language model as the other side of a game: servers that fail end single games, repeats cost nothing."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmgym import chat
from lmgym.__main__ import main
from lmgym.agents import load_agent
from lmgym.chat import ChatError, Completion, Message, Sampling
from lmgym.episode import Episode
from lmgym.errors import UsageError
from lmgym.evaluate import collect, evaluate
from lmgym.oracle import MAX_UTTERANCE, Answer, Bill, ChatOracle, OracleError, OtherSide, load_oracle
from tests.chats import Behaviour, build_chat_model, hangs_up, replies, said, sends, serving
from tests.games import PARLEY

HELLO = [{"role": "user", "content": "Is it red?"}]


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [*os.environ]:
        if name.startswith(("LMGYM_CHAT_", "OPENAI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LMGYM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LMGYM_CHAT_RETRIES", "1")
    monkeypatch.setattr(chat, "FIRST_PAUSE", 0.01)


class Echoing:
    """A chat model that says what it is told to say, or fails."""

    name = "echo"

    def __init__(self, text: str = "", error: str = "") -> None:
        self.text, self.error, self.asked = text, error, list[Sampling]()

    def request(self, messages: Sequence[Message], sampling: Sampling) -> dict[str, Any]:
        return {}

    def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        self.asked.append(sampling)
        if self.error:
            raise ChatError(self.error)
        return Completion(self.text)


def test_specs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_oracle("embedded") is None
    for spec in ("", "embeded", "openai", "openai:", "hf:", "gpt-4o", "?temperature=1"):
        with pytest.raises(UsageError, match="unknown oracle"):
            load_oracle(spec)
    with pytest.raises(UsageError, match="did you mean 'embedded'"):
        load_oracle("embeded")
    oracle = load_oracle("openai:small@http://127.0.0.1:1/v1")
    assert oracle is not None
    assert oracle.name == "openai:small@http://127.0.0.1:1/v1"


@pytest.mark.parametrize(
    ("options", "expected"),
    [("", 0.3), ("?temperature=0", 0.0), ("?temperature=0.7", 0.7), ("?temperature=default", None)],
)
def test_the_temperature_is_the_games_unless_the_spec_says_another(
    options: str, expected: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Echoing("Yes.")
    monkeypatch.setattr("lmgym.oracle.load_chat", {"openai:small@http://x.org/v1": model}.__getitem__)
    oracle = load_oracle(f"openai:small@http://x.org/v1{options}", temperature=0.3)
    assert oracle is not None
    oracle.reply(HELLO, max_tokens=7, seed=5)
    assert model.asked == [Sampling(7, expected, 5)]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("?temperatur=1", "unknown option of a model 'temperatur'; did you mean 'temperature'?"),
        ("?", "unknown option of a model ''"),
        ("?temperature=-1", "a temperature is 0 .* not '-1'"),
        ("?temperature=nan", "not 'nan'"),
        ("?temperature=inf", "not 'inf'"),
        ("?temperature=warm", "not 'warm'"),
    ],
)
def test_options_out_of_place(options: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        load_oracle(f"openai:small@http://127.0.0.1:1/v1{options}")


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        (" Yes.\n", "Yes."),
        ("<think>It is a cat, I must not say so.</think>\n\nYes.", "Yes."),
        ("It is a cat.</think> No.", "No."),  # templates open the thought themselves
        ("<think>a</think><think>cat</think>No.", "No."),
        ("", ""),
    ],
)
def test_only_words_are_heard(text: str, spoken: str) -> None:
    assert ChatOracle("x", Echoing(text), 0.0).reply(HELLO).text == spoken


def test_no_answer_is_an_oracle_error() -> None:
    with pytest.raises(OracleError, match=r"^the line is dead$"):
        ChatOracle("x", Echoing(error="the line is dead"), 0.0).reply(HELLO)
    with pytest.raises(OracleError, match="x: the model was still thinking"):
        ChatOracle("x", Echoing("<think>It is a cat, so that"), 0.0).reply(HELLO)


def test_a_bill_adds_up() -> None:
    bill = Bill()
    bill.add(Answer("Yes.", 30, 4, 0.25))
    bill.add(Answer("No.", 31, 3, 0.5, cached=True))
    assert bill.info() == {
        "oracle_calls": 2,
        "oracle_prompt_tokens": 61,
        "oracle_completion_tokens": 7,
        "oracle_cost": 0.75,
    }


class Listening:
    """An oracle that keeps what it is asked; it fails where it is asked for nothing."""

    name = "listening"

    def __init__(self) -> None:
        self.asked: list[tuple[list[dict[str, str]], int, int]] = []

    def reply(self, messages: Sequence[Message], *, max_tokens: int = 64, seed: int = 0) -> Answer:
        self.asked.append(([dict(message) for message in messages], max_tokens, seed))
        if not messages[0]["content"]:
            raise OracleError("nobody is at home")
        return Answer("Yes.", 30, 4, 0.25)


def test_the_other_side_hears_the_conversation_and_keeps_the_bill() -> None:
    oracle = Listening()
    other = OtherSide(oracle, np.random.default_rng(5))
    assert other.info() == Bill().info()
    assert other.reply("You are Ann.", [("Who?", "Ann.")], "a\n b \ud800" + "x" * 1000, max_tokens=9) == "Yes."
    assert other.reply("You are Ann.", (), " \n", max_tokens=9) == "Yes."
    (first, max_tokens, seed), (second, _, same_seed) = oracle.asked
    assert first[:3] == [
        {"role": "system", "content": "You are Ann."},
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "Ann."},
    ]
    assert first[3]["content"] == "a b \ufffd" + "x" * (MAX_UTTERANCE - 6)
    assert second[1:] == [{"role": "user", "content": "..."}]
    assert (max_tokens, seed) == (9, same_seed)
    assert seed == int(np.random.default_rng(5).integers(2**31))
    assert other.info() == Bill(2, 60, 8, 0.5).info()


def test_the_other_side_cuts_a_game_off() -> None:
    other = OtherSide(Listening(), np.random.default_rng(0))
    with pytest.raises(OracleError) as failed:
        other.reply("", (), "Who?", max_tokens=9)
    cut = other.cut_off(failed.value, -1.0, {"success": False, "city": "Lima"})
    outcome = {"success": False, "city": "Lima", **Bill().info(), "oracle_error": "nobody is at home"}
    assert cut == ("", -1.0, False, True, outcome)


def knows_no_cats(trouble: Behaviour) -> Behaviour:
    """A server that answers truly, but has trouble with games about cats."""

    def behave(handler: Any, body: dict[str, Any]) -> None:
        thing = body["messages"][0]["content"].removeprefix("You think of a ").removesuffix(".")
        question = body["messages"][1]["content"]
        (trouble if thing == "cat" else replies("Yes." if thing in question else "No."))(handler, body)

    return behave


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (sends({"error": "out of order"}, 500), "status 500"),
        (sends({"error": "slow down"}, 429), "status 429"),
        (sends({"error": "who are you?"}, 401), "status 401"),
        (hangs_up, "no connection"),
        (sends(b"<html>", kind="text/html"), "the answer is no JSON"),
        (sends({"choices": []}), "the answer has no choices"),
        (sends(said(None)), "the answer has no text"),
    ],
)
def test_a_server_that_fails_ends_single_games(trouble: Behaviour, reason: str) -> None:
    embedded = list(collect(load_agent("random", PARLEY), PARLEY, episodes=24))
    with serving(knows_no_cats(trouble)) as server:
        kwargs = {"oracle": f"openai:small@{server.url}"}
        played = list(collect(load_agent("random", PARLEY), PARLEY, env_kwargs=kwargs, episodes=24, num_envs=5))
    failed = [episode for episode in played if episode.error]
    assert 0 < len(failed) < 12
    for episode in failed:
        assert episode.truncated
        assert not episode.terminated
        assert reason in episode.outcome["oracle_error"]
        assert episode.error == f"other side: {episode.outcome['oracle_error']}"
    # The others went as they go with an embedded other side that says the same.
    for episode, other in zip(played, embedded, strict=True):
        if not episode.error:
            assert episode.turns == other.turns
            assert episode.outcome["oracle_calls"] == len(episode.actions)


def test_an_evaluation_goes_on_and_says_how_many_failed() -> None:
    with serving(knows_no_cats(sends({}, 500))) as server:
        kwargs = {"oracle": f"openai:small@{server.url}"}
        result = evaluate(load_agent("random", PARLEY), PARLEY, env_kwargs=kwargs, episodes=24)
    assert 0 < result.errors < 12
    assert result.episodes == 24
    assert result.score is None
    assert (result.first_error or "").startswith("other side: openai:small@http://127.0.0.1:")
    kwargs = {"oracle": f"openai:another@{server.url}"}  # it is down, and nothing is known of this model
    with pytest.raises(UsageError, match=r"all 4 games failed, the first with other side: .*no connection"):
        evaluate(load_agent("random", PARLEY), PARLEY, env_kwargs=kwargs, episodes=4, seed=1)


def test_a_run_is_repeated_for_nothing_and_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMGYM_CHAT_PRICES", "1,2")

    def run() -> list[Episode]:
        return list(collect(load_agent("random", PARLEY), PARLEY, env_kwargs=kwargs, episodes=12, num_envs=4))

    with serving(knows_no_cats(replies("Perhaps."))) as server:
        kwargs = {"oracle": f"openai:small@{server.url}"}
        first = run()
        asked = len(server.requests)
        # As many calls as there are things and questions at most: what is known is not asked again.
        assert 4 <= asked <= 12
        assert run() == first
        assert len(server.requests) == asked
    assert run() == first  # the server is down
    monkeypatch.setenv("LMGYM_CHAT_OFFLINE", "1")
    assert run() == first
    for episode in first:
        assert episode.outcome["oracle_cost"] == pytest.approx(len(episode.actions) * 38e-6)


def test_a_game_with_a_model_keeps_every_rule(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(knows_no_cats(replies("No."))) as server:
        assert main(["check", PARLEY, "--env-args", f"oracle=openai:small@{server.url}?temperature=0.7"]) == 0
    assert "fidelity" not in capsys.readouterr().out


def test_the_check_prints_how_right_the_people_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", PARLEY]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3:] == [
        "      fidelity, answered: 0.900",
        "      fidelity, correct among answered: 0.988",
        f"{PARLEY}: all rules kept",
    ]


def test_a_local_model_is_the_other_side(tmp_path: Path) -> None:
    kwargs = {"oracle": f"hf:{build_chat_model(tmp_path / 'model')}?temperature=1"}
    agent = load_agent("random", PARLEY)
    together = list(collect(agent, PARLEY, env_kwargs=kwargs, episodes=6, num_envs=6))
    assert not any(episode.error for episode in together)
    assert together == list(collect(agent, PARLEY, env_kwargs=kwargs, episodes=6, num_envs=1))
    assert len({turn.text for episode in together for turn in episode.observations}) > 3


def test_a_game_with_a_wrong_spec_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "random", "--env", PARLEY, "--env-args", "oracle=openai:small"]) == 2
    assert "OPENAI_API_KEY is not set" in capsys.readouterr().err
