"""Chat models as agents: what they are told, what they cost, and that a served policy plays the games it plays here."""

import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lmgym.__main__ import main
from lmgym.agents import load_agent
from lmgym.chat_agent import HOW_TO_REPLY, ChatOptions, load_chat_agent
from lmgym.env import make_env
from lmgym.errors import UsageError
from lmgym.evaluate import collect, collect_starts, evaluate, play_one
from lmgym.policy import Policy
from lmgym.prompts import prompt_of
from lmgym.replies import read_action
from lmgym.rollout import rollout
from lmgym.store import read_episodes, read_metadata, write_episodes
from tests.chats import Misbehaving, build_chat_model, replies, said, sends, serving, transformers_serve
from tests.games import ECHO, FOREIGN, PARLEY

FO, PO = "lmgym/FOMaze-v0", "lmgym/POMaze-v0"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [*os.environ]:
        if name.startswith(("LMGYM_CHAT_", "OPENAI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LMGYM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def repeats(handler: Any, body: dict[str, Any]) -> None:
    """Thinks aloud, then repeats the last message."""
    replies(f"<think>Hm.</think>I see a colour.\n\nAction: `{body['messages'][-1]['content']}`")(handler, body)


def agent(server: Misbehaving, env_id: str, name: str = "small", options: Any = None, **settings: Any) -> Any:
    return load_chat_agent(f"openai:{name}@{server.url}", env_id, settings=settings, options=options)


def result_of(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_whole_conversation_is_a_chat() -> None:
    with serving(repeats) as server:
        episode = play_one(agent(server, ECHO), ECHO)
    assert episode.total_reward == 3.0
    env = make_env(ECHO)
    env.reset(seed=0)
    system = {"role": "system", "content": f"{prompt_of(env)}\n\n{HOW_TO_REPLY}"}
    shown = [turn.text for turn in episode.observations]
    for number, request in enumerate(sorted(server.requests, key=lambda request: len(request["messages"]))):
        said_so_far = [
            message
            for colour in shown[:number]
            for message in ({"role": "user", "content": colour}, {"role": "assistant", "content": colour})
        ]
        assert request["messages"] == [system, *said_so_far, {"role": "user", "content": shown[number]}]
        assert (request["temperature"], request["max_tokens"]) == (0, 512)
    assert len(server.requests) == 3


def test_a_markov_game_shows_the_current_state_alone() -> None:
    with serving(replies("move up")) as server:
        play_one(agent(server, FO), FO)
    for request in server.requests:
        assert [message["role"] for message in request["messages"]] == ["system", "user"]
        assert request["messages"][1]["content"].startswith("The goal is at position 8, 6.")


def test_a_longer_history_is_a_window_over_turns() -> None:
    with serving(replies("move up")) as server:
        # Warm, because the same messages are not sent twice to a cold model.
        episode = play_one(agent(server, PO, options=ChatOptions(prompt="none"), temperature=1.0), PO)
    assert len(episode.actions) == 100
    # 20 turns at most; when there is one more, ten of them are left.
    turns_in_view = [*range(1, 21), *[*range(10, 21)] * 8][:100]
    assert [len(request["messages"]) for request in server.requests] == [2 * count - 1 for count in turns_in_view]
    for request in server.requests:
        assert [message["role"] for message in request["messages"][:2]] == ["user", "assistant"][
            : len(request["messages"])
        ]


def test_bare_pieces_without_a_prompt() -> None:
    with serving(replies("")) as server:
        play_one(agent(server, "lmgym/WordleMini-v0", options=ChatOptions(prompt="none")), "lmgym/WordleMini-v0")
        bare = [request["messages"] for request in server.requests]
        play_one(agent(server, "lmgym/WordleMini-v0"), "lmgym/WordleMini-v0")
        told = [request["messages"] for request in server.requests[len(bare) :]]
    assert server.requests[0]["max_tokens"] == 10
    assert bare[1] == [
        {"role": "user", "content": "Wordle:"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": ""},
    ]
    assert told[1][1:] == [
        {"role": "user", "content": "Wordle:"},
        {"role": "assistant", "content": "..."},
        {"role": "user", "content": "..."},
    ]


def test_a_prompt_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("Say the colour.\n")
    with serving(repeats) as server:
        play_one(agent(server, ECHO, options=ChatOptions(prompt="mine.txt")), ECHO)
    assert server.requests[0]["messages"][0] == {"role": "system", "content": "Say the colour."}


def test_tokens_cost_and_a_second_run_offline(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("LMGYM_CHAT_PRICES", "2,10")
    with serving(repeats) as server:
        words = ["eval", f"openai:small@{server.url}", "--env", ECHO, "--episodes", "20", "--batch", "7"]
        first = result_of(capsys, *words, "--save", "first.parquet")
        asked = len(server.requests)
        assert first["mean_return"]["mean"] == 3.0
        assert first["usage"] == {
            "agent_calls": 60,
            "agent_prompt_tokens": 60 * 30,
            "agent_completion_tokens": 60 * 4,
            "agent_cost": pytest.approx(60 * 100e-6),
        }
        assert asked < 60  # the same messages are sent once
        assert first["chat"]["model"] == f"openai:small@{server.url}"
    monkeypatch.setenv("LMGYM_CHAT_OFFLINE", "1")
    assert result_of(capsys, *words, "--save", "second.parquet") == first
    assert read_episodes("second.parquet") == read_episodes("first.parquet")
    assert read_episodes("first.parquet")[3].outcome["agent_calls"] == 3
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "agent: 60 calls, 1,800 tokens of prompt and 240 of answer, cost 0.0060" in shown
    assert "asked this time, the others were known: 0 calls, cost 0.0000" in shown
    assert len(server.requests) == asked


def test_a_call_that_fails_ends_its_own_game(capsys: pytest.CaptureFixture[str]) -> None:
    def refuses_blue(handler: Any, body: dict[str, Any]) -> None:
        (sends({"error": "no blue"}, 400) if body["messages"][-1]["content"] == "blue" else repeats)(handler, body)

    with serving(refuses_blue) as server:
        words = ["eval", f"openai:small@{server.url}", "--env", ECHO, "--episodes", "30", "--save", "games.parquet"]
        result = result_of(capsys, *words)
    games = read_episodes("games.parquet")
    for game in games:
        blue = "blue" in [turn.text for turn in game.observations[:3]]
        assert (game.error is not None) == blue
        assert game.outcome["agent_calls"] == len(game.actions)
    assert 0 < result["errors"] < 30
    assert "agent: ChatError: openai:small@" in result["first_error"]
    assert "status 400" in result["first_error"]


@pytest.mark.parametrize("answer", ["<think>The colour is", None])
def test_a_model_that_says_nothing(answer: str | None) -> None:
    with serving(sends(said(answer))) as server:
        episode = play_one(agent(server, ECHO), ECHO)
    assert episode.error is not None
    assert ("still thinking" if answer else "the answer has no text") in episode.error


def test_what_cannot_be_read_is_for_the_game_to_judge() -> None:
    with serving(replies("I would rather not say.\nWhat do you think?")) as server:
        episode = play_one(agent(server, ECHO), ECHO)
    assert episode.error is None
    assert all(turn.invalid and turn.text == "What do you think?" for turn in episode.actions)


def test_games_wait_side_by_side() -> None:
    company = threading.Barrier(4)

    def waits(handler: Any, body: dict[str, Any]) -> None:
        company.wait(10)  # nobody is served alone
        repeats(handler, body)

    with serving(waits) as server:
        # Warm, because the same messages at the same time are sent once to a cold model.
        warm = agent(server, ECHO, options=ChatOptions(concurrency=4), temperature=1.0)
        games = list(rollout(warm, ECHO, collect_starts(8, 0), num_envs=8))
    assert [game.error for game in games] == [None] * 8
    assert len(server.requests) == 24


def test_chance_differs_from_turn_to_turn_and_is_repeated() -> None:
    def seeded(handler: Any, body: dict[str, Any]) -> None:
        replies(f"move {('up', 'down', 'left', 'right')[body['seed'] % 4]}")(handler, body)

    with serving(seeded) as server:
        episodes = [play_one(agent(server, FO, temperature=0.7), FO) for _ in range(2)]
    assert episodes[0] == episodes[1]
    assert len({turn.text for turn in episodes[0].actions}) == 4
    assert len(server.requests) == len(episodes[0].actions)


def test_temperatures() -> None:
    with serving(repeats) as server:
        for name, settings, expected in (
            ("", {}, 0),
            ("", {"temperature": 0.3}, 0.3),
            ("?temperature=0.5", {}, 0.5),
            ("?temperature=default", {}, None),
        ):
            played = load_chat_agent(f"openai:small@{server.url}{name}", ECHO, settings=settings)
            assert played.settings["temperature"] == expected
            play_one(played, ECHO)
            assert server.requests[-1].get("temperature") == expected


def test_examples_of_the_expert() -> None:
    with serving(repeats) as server:
        play_one(agent(server, ECHO, options=ChatOptions(shots=2)), ECHO)
    system = server.requests[0]["messages"][0]["content"]
    games = list(collect(load_agent("expert", ECHO), ECHO, episodes=2))
    for number, game in enumerate(games, 1):
        a, b, c, last = (turn.text for turn in game.observations)
        shown = f"Example {number}:\n{a}\n> {a}\n{b}\n> {b}\n{c}\n> {c}\n{last}\n(rewards in all: 3)"
        assert shown in system
    assert system.endswith("Now your own game begins.")


def test_the_best_games_of_a_file_are_the_examples(tmp_path: Path) -> None:
    write_episodes("games.parquet", collect(load_agent("behaviour", ECHO), ECHO, episodes=30))
    best = sorted(read_episodes("games.parquet"), key=lambda game: -game.total_reward)[:3]
    with serving(repeats) as server:
        options = ChatOptions(shots=3, shots_from=Path("games.parquet"), prompt="none")
        play_one(agent(server, ECHO, options=options), ECHO)
    system = server.requests[0]["messages"][0]["content"]
    assert system.count("> ") == 9
    places = [
        system.index("\n".join(f"> {turn.text}" if turn.by_agent else turn.text for turn in game.turns))
        for game in best
    ]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("openai:m@http://x:1/v1 --beta 2", "of these settings it takes --temperature alone, not 'beta'"),
        ("openai:m@http://x:1/v1?temperature=1 --temperature 1", "the temperature is said twice"),
        ("openai:m@http://x:1/v1?temperatur=1", "did you mean 'temperature'?"),
        ("openai:m@http://x:1/v1 --temperature -1", "temperature is 0 or more, not -1"),
        ("openai:m@http://x:1/v1 --prompt nowhere.txt", "--prompt is game, none or a text file; 'nowhere.txt'"),
        ("openai:m@http://x:1/v1 --shots -1", "--shots is 0 or more, not -1"),
        ("openai:m@http://x:1/v1 --max-tokens 0", "--max-tokens is 1 or more, not 0"),
        ("openai:m@http://x:1/v1 --concurrency 0", "--concurrency is 1 or more, not 0"),
        ("openai:m@http://x:1/v1 --shots-from x.parquet", "--shots says how many"),
        ("openai:m@http://x:1/v1 --shots 2 --shots-from none.parquet", "none.parquet does not exist"),
        ("openai:m@http://x:1/v1 --shots 31 --shots-from games.parquet", "fewer than --shots 31"),
        ("openai:m@http://x:1/v1 --shots 3 --shots-from other.parquet", "holds games of tests.games:test/Parley-v0"),
        ("openai:", "did you mean 'openai:MODEL'?"),
        ("openai:m", "OPENAI_API_KEY is not set"),
        ("hf:nobody/nothing", "cannot load the model 'nobody/nothing'"),
        ("random --shots 2", "--shots is for chat models (openai:MODEL, hf:MODEL), not for 'random'"),
        ("tests.games:RightAgent --prompt none", "--prompt is for chat models"),
    ],
)
def test_mistakes(words: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    if ".parquet" in words:
        write_episodes("games.parquet", collect(load_agent("behaviour", ECHO), ECHO, episodes=30))
        write_episodes("other.parquet", collect(load_agent("random", PARLEY), PARLEY, episodes=5))
    assert main(["eval", *words.split(), "--env", ECHO]) == 2
    assert sentence in capsys.readouterr().err


def test_a_game_without_an_expert_has_no_examples_of_its_own() -> None:
    with serving(repeats) as server, pytest.raises(UsageError, match=r"has no expert\(\).*--shots-from"):
        agent(server, FOREIGN, options=ChatOptions(shots=1))


def test_play_and_collect_take_chat_models(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(repeats) as server:
        name = f"openai:small@{server.url}"
        assert main(["play", ECHO, "--agent", name, "--prompt", "none"]) == 0
        assert "return 3 in 3 turns" in capsys.readouterr().out
        assert main(["collect", ECHO, "--agent", name, "--out", "d.parquet", "--episodes", "5"]) == 0
    assert read_metadata("d.parquet").agent == name


# Local models.


def trained(folder: Path, env_id: str, *words: str) -> Path:
    assert main(["train", "bc", "--env", env_id, "--out", str(folder), "--checkpoint-every", "100", *words]) == 0
    return folder


def turns(games: Any) -> list[Any]:
    return [[(turn.text, turn.reward, turn.invalid) for turn in game.turns] for game in games]


@pytest.fixture(scope="module")
def echo_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    write_episodes(folder / "expert.parquet", collect(load_agent("expert", ECHO), ECHO, episodes=300))
    return trained(folder / "echo", ECHO, "--data", str(folder / "expert.parquet"), "--steps", "30")


@pytest.mark.parametrize("has_template", [True, False])
def test_a_trained_policy_plays_the_same_as_a_chat_model(has_template: bool, echo_run: Path, tmp_path: Path) -> None:
    """With the template that the run holds, and, as a base model, without any."""
    folder = tmp_path / "copy"
    shutil.copytree(echo_run, folder)
    if not has_template:
        (folder / "chat_template.jinja").unlink()
    here = load_agent(str(echo_run), ECHO, settings={"temperature": 0.0})
    there = load_agent(f"hf:{folder}", ECHO, chat=ChatOptions(prompt="none"))
    games = [list(collect(player, ECHO, episodes=40)) for player in (here, there)]
    assert turns(games[0]) == turns(games[1])
    assert len({turn.text for game in games[0] for turn in game.actions}) > 1


def test_the_template_of_a_run_is_what_its_policy_reads(echo_run: Path) -> None:
    policy = Policy.from_pretrained(echo_run)
    tokenizer = policy.codec.tokenizer
    words = ["red", "blue", "", "green", "red"]
    messages = [{"role": ("user", "assistant")[index % 2], "content": word} for index, word in enumerate(words)]
    read: list[int] = []
    for index, word in enumerate(words):
        read += policy.codec.encode(word)
        ids = tokenizer.apply_chat_template(messages[: index + 1], add_generation_prompt=True, return_dict=False)
        assert ids == read  # and so each conversation is the beginning of the next
    assert policy.lm.generation_config.eos_token_id == sorted(policy.codec.stops)


def test_a_base_model_reads_plain_text_and_says_a_line(tmp_path: Path) -> None:
    """With a prompt actions are marked; what it says ends with its line."""
    folder = build_chat_model(tmp_path / "base", template=None, max_positions=4096, newline=True)
    player = load_chat_agent(f"hf:{folder}", ECHO, options=ChatOptions(max_tokens=40))
    episode = play_one(player, ECHO)
    assert episode.error is None
    assert all("\n" not in turn.text for turn in episode.actions)
    lm, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    system = player._system
    text = f"{system}\n\n"
    for shown, action in zip(episode.observations, episode.actions, strict=False):
        text += f"{shown.text}\n>"
        ids = tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids
        newline = tokenizer.encode("\n", add_special_tokens=False)[-1]
        with torch.no_grad():
            said = lm.generate(
                ids, max_new_tokens=40, do_sample=False, pad_token_id=0, eos_token_id=[tokenizer.eos_token_id, newline]
            )[0, ids.shape[1] :]
        assert action.text == read_action(tokenizer.decode(said, skip_special_tokens=True))
        text += f" {action.text or '...'}\n"


@pytest.mark.slow
def test_a_served_policy_plays_the_same_games(tmp_path: Path) -> None:
    """Trained here, served by `transformers serve`, played through the openai package: move for move the local one."""
    write_episodes("expert.parquet", collect(load_agent("expert", FO), FO, episodes=200))
    run = trained(tmp_path / "run", FO, "--data", "expert.parquet", "--steps", "40")
    words = ["--env", FO, "--temperature", "0", "--episodes", "50"]
    assert main(["eval", str(run), *words, "--save", "local.parquet"]) == 0
    with transformers_serve(run) as url:
        name = f"openai:{run}@{url}"
        assert main(["eval", name, *words, "--prompt", "none", "--save", "served.parquet"]) == 0
        player = load_chat_agent(name, FO, options=ChatOptions(prompt="none"))
        again = evaluate(player, FO, episodes=50)
    local, served = read_episodes("local.parquet"), read_episodes("served.parquet")
    assert turns(served) == turns(local)
    assert len(served) == 50
    assert sum(game.outcome["agent_calls"] for game in served) == sum(len(game.actions) for game in served)
    assert len({turn.text for game in served for turn in game.actions}) > 1
    assert player.asked.calls == 0  # all of it was in the cache by now
    assert again.mean_return.mean == sum(game.total_reward for game in local) / 50
