"""Data for other people's tools: what comes out is what went in."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq
import pytest

from lmgym.__main__ import main
from lmgym.agents import load_agent
from lmgym.episode import Episode, Turn
from lmgym.errors import UsageError
from lmgym.evaluate import collect
from lmgym.export import TARGETS, export
from lmgym.store import read_episodes, write_episodes
from tests.games import ECHO

FO = "lmgym/FOMaze-v0"


def odd_episode() -> Episode:
    """A game of Echo with whatever a text may hold, and no last observation."""
    turns = (
        Turn("☃ \u2028 \x85 \x00 \r\n é", by_agent=False),
        Turn("'\"\\ \x1c 🙂", by_agent=True, reward=-0.1, invalid=True, token_ids=(3,), logprobs=(-0.5,)),
        Turn("", by_agent=False),
        Turn("", by_agent=True, reward=1e-9),
    )
    outcome = {"success": False, "cell": [1, 2], "who": {"name": "é"}}
    return Episode(
        turns,
        terminated=False,
        truncated=True,
        env_id=ECHO,
        seed=2**62,
        agent="me",
        options={"a": [1]},
        outcome=outcome,
    )


@pytest.fixture
def games(tmp_path: Path) -> tuple[Path, list[Episode]]:
    """A file with games of two endings, one odd, and one that broke down; the games without the last."""
    played = [replace(game, agent="me") for game in collect(load_agent("behaviour", ECHO), ECHO, episodes=12)]
    played += [odd_episode()]
    failed = replace(odd_episode(), error="agent: it left", seed=7)
    write_episodes(tmp_path / "games.parquet", [failed, *played])
    return tmp_path / "games.parquet", played


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def from_chat(row: dict[str, Any]) -> Episode:
    """Read a game back, apart from its tokens."""
    facts = iter(zip(row["rewards"], row["invalid"], strict=True))
    turns = [
        Turn(message["content"], True, *next(facts))
        if message["role"] == "assistant"
        else Turn(message["content"], by_agent=False)
        for message in row["messages"]
    ]
    assert next(facts, None) is None
    plain = {name: row[name] for name in ("terminated", "truncated", "env_id", "seed", "agent")}
    mappings = {name: json.loads(row[name]) for name in ("env_kwargs", "options", "outcome")}
    return Episode(tuple(turns), **plain, **mappings)


def without_tokens(episode: Episode) -> Episode:
    turns = [turn._replace(token_ids=None, logprobs=None) for turn in episode.turns]
    return replace(episode, turns=tuple(turns), tokenizer=None)


def test_chats_hold_the_games(games: tuple[Path, list[Episode]], tmp_path: Path) -> None:
    source, played = games
    done = export(source, "chat", tmp_path / "chat.jsonl")
    assert (done.games, done.rows, done.left_out) == (13, 13, 1)
    rows = lines(tmp_path / "chat.jsonl")
    assert [from_chat(row) for row in rows] == [without_tokens(game) for game in played]
    assert [row["return"] for row in rows] == [game.total_reward for game in played]
    assert [row["success"] for row in rows] == [game.success for game in played]


def test_json_lines_are_a_table(games: tuple[Path, list[Episode]], tmp_path: Path) -> None:
    """Arrow's reader, which that of Hugging Face is made of, finds columns of one type each."""
    source, played = games
    for target in ("chat", "trl"):
        export(source, target, tmp_path / target)
        table = pa.json.read_json(tmp_path / target, read_options=pa.json.ReadOptions(block_size=2000))
        assert table.column("seed").type == pa.int64()
        assert table.column("return").type == pa.float64()
    assert sorted(set(table.column("seed").to_pylist())) == sorted(game.seed for game in played)


def test_rows_for_trl_show_all_of_the_conversation(games: tuple[Path, list[Episode]], tmp_path: Path) -> None:
    source, played = games
    done = export(source, "trl", tmp_path / "rows.jsonl")
    rows = lines(tmp_path / "rows.jsonl")
    assert done.rows == len(rows) == sum(len(game.actions) for game in played)
    expected = []
    for game in played:
        for place in range(1, len(game.turns), 2):
            texts = [turn.text for turn in game.turns[: place + 1]]
            expected.append((texts, game.turns[place].reward, game.total_reward, game.success, game.seed))
    found = []
    for row in rows:
        messages = [*row["prompt"], *row["completion"]]
        assert [message["role"] for message in messages] == ["user", "assistant"] * (len(messages) // 2)
        assert len(row["completion"]) == 1
        texts = [message["content"] for message in messages]
        found.append((texts, row["reward"], row["return"], row["success"], row["seed"]))
    assert found == expected


def test_rows_for_trl_show_what_the_agent_of_a_markov_game_sees(tmp_path: Path) -> None:
    played = list(collect(load_agent("expert", FO), FO, episodes=3))
    write_episodes(tmp_path / "games.parquet", played)
    export(tmp_path / "games.parquet", "trl", tmp_path / "rows.jsonl")
    found = [(row["prompt"], row["completion"]) for row in lines(tmp_path / "rows.jsonl")]
    assert found == [
        ([{"role": "user", "content": seen.text}], [{"role": "assistant", "content": done.text}])
        for game in played
        for seen, done in zip(game.turns[0:-1:2], game.turns[1::2], strict=True)
    ]


@pytest.mark.parametrize(("history", "seen"), [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5), (None, 7)])
def test_rows_for_trl_begin_with_an_observation(history: int | None, seen: int) -> None:
    from lmgym.export import trl_rows

    turns = tuple(Turn(str(place), by_agent=place % 2 == 1) for place in range(9))
    game = Episode(turns, terminated=True, truncated=False, env_id="x", seed=0, agent="a")
    *_, last = trl_rows(game, history)
    assert [message["content"] for message in last["prompt"]] == [str(place) for place in range(7 - seen, 7)]


@pytest.fixture
def minari(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package, with its data sets in the folder of the test."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "sets"))
    return pytest.importorskip("minari", reason="minari is not installed")


def test_minari_loads_the_games(
    games: tuple[Path, list[Episode]], tmp_path: Path, minari: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, played = games
    monkeypatch.chdir(tmp_path)
    done = export(source, "minari", "sets/echo-v0")
    data = minari.load_dataset("echo-v0")
    assert (data.total_episodes, data.total_steps) == (13, done.rows)
    assert list(minari.list_local_datasets()) == ["echo-v0"]
    for found, stored, game in zip(data, data.storage.get_episode_metadata(range(13)), played, strict=True):
        assert found.actions == [turn.text for turn in game.actions]
        shown = [turn.text for turn in game.observations]
        assert found.observations == shown + [""] * (len(found.actions) + 1 - len(shown))
        assert found.rewards.tolist() == [turn.reward for turn in game.actions]
        assert found.infos["invalid"].tolist() == [False, *(turn.invalid for turn in game.actions)]
        last = len(game.actions) - 1
        assert np.flatnonzero(found.terminations).tolist() == [last] * game.terminated
        assert np.flatnonzero(found.truncations).tolist() == [last] * game.truncated
        assert (stored["seed"], stored["options"], stored["outcome"]) == (game.seed, game.options, game.outcome)
        assert all(text in data.observation_space for text in found.observations)
        assert all(text in data.action_space for text in found.actions)


def test_minari_makes_the_game_again(tmp_path: Path, minari: Any) -> None:
    agent = load_agent("expert", FO, {"maze": "umaze"})
    played = list(collect(agent, FO, env_kwargs={"maze": "umaze"}, episodes=2))
    write_episodes(tmp_path / "games.parquet", played)
    export(tmp_path / "games.parquet", "minari", tmp_path / "sets" / "umaze-v3")
    data = minari.load_dataset("umaze-v3")
    env = data.recover_environment()
    for found, game in zip(data, played, strict=True):
        assert env.reset(seed=game.seed)[0] == found.observations[0]
        for action, seen, reward in zip(found.actions, found.observations[1:], found.rewards, strict=True):
            observation, earned, *_ = env.step(action)
            assert (observation, earned) == (seen, reward)
    env.close()


@pytest.mark.parametrize("target", TARGETS)
def test_the_same_file_gives_the_same_bytes(
    games: tuple[Path, list[Episode]], tmp_path: Path, target: str, request: pytest.FixtureRequest
) -> None:
    if target == "minari":
        request.getfixturevalue("minari")
    contents = []
    for place in ("a", "b"):
        out = tmp_path / place / "echo-v0"
        export(games[0], target, out)
        files = [out] if out.is_file() else sorted(path for path in out.rglob("*") if path.is_file())
        contents.append([path.read_bytes() for path in files])
    assert contents[0] == contents[1]


@pytest.mark.parametrize("target", TARGETS)
def test_a_damaged_file_leaves_nothing(
    games: tuple[Path, list[Episode]], tmp_path: Path, target: str, request: pytest.FixtureRequest
) -> None:
    if target == "minari":
        request.getfixturevalue("minari")
    table = pq.read_table(games[0])
    keep = pq.ParquetFile(games[0]).metadata.metadata
    pq.write_table(table.slice(0, 10).replace_schema_metadata(keep), games[0])
    with pytest.raises(UsageError, match="changed after it was written"):
        export(games[0], target, tmp_path / "out" / "echo-v0")
    assert list((tmp_path / "out").rglob("*")) == []


def test_an_interrupted_export_leaves_nothing(games: tuple[Path, list[Episode]], tmp_path: Path) -> None:
    left = iter(range(5))

    def interrupting() -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    for target in ("chat", "trl"):
        with pytest.raises(KeyboardInterrupt):
            export(games[0], target, tmp_path / "out" / "x", watch=interrupting)
        assert list((tmp_path / "out").rglob("*")) == []


def test_games_are_not_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a stream of games the first is written before the last is read."""
    from lmgym import export as module

    write_episodes(tmp_path / "games.parquet", [without_tokens(odd_episode())])
    game, written = read_episodes(tmp_path / "games.parquet")[0], []

    def long_file(path: Path) -> Iterator[Episode]:
        for _ in range(2000):
            yield game
        (partial,) = (tmp_path / "out").iterdir()
        written.append(partial.stat().st_size)

    monkeypatch.setattr(module, "iterate_episodes", long_file)
    export(tmp_path / "games.parquet", "chat", tmp_path / "out" / "x")
    assert written[0] > 0.9 * (tmp_path / "out" / "x").stat().st_size


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--to chta --out x", "unknown export format 'chta'; did you mean 'chat'?"),
        ("--to chat --out there", "there exists already; choose another name or remove it"),
        ("--to trl --out there", "there exists already"),
        ("--to minari --out folder-v0", "folder-v0 exists already"),
        ("--to minari --out sets/echo", "a folder with a version, like sets/fo-maze-v0, not sets/echo"),
        ("--to chat", "Missing from lmgym data export: --out"),
    ],
)  # fmt: skip
def test_mistakes(
    words: str,
    sentence: str,
    games: tuple[Path, list[Episode]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").write_text("mine")
    (tmp_path / "folder-v0").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert main(["data", "export", str(games[0]), *words.split()]) == 2
    assert sentence in capsys.readouterr().err.strip().splitlines()[-1]
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "there").read_text() == "mine"


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # NumPy's, in the file's statistics
def test_a_reward_that_is_no_number_is_no_json(tmp_path: Path) -> None:
    turns = (Turn("o", by_agent=False), Turn("a", by_agent=True, reward=float("inf")))
    game = Episode(turns, terminated=True, truncated=False, env_id=ECHO, seed=3, agent="a")
    write_episodes(tmp_path / "games.parquet", [game])
    for target in ("chat", "trl"):
        with pytest.raises(UsageError, match="the game with seed 3 has a reward that is no finite number"):
            export(tmp_path / "games.parquet", target, tmp_path / "x")
    assert [path.name for path in tmp_path.iterdir()] == ["games.parquet"]


def test_the_command_says_what_it_wrote(
    games: tuple[Path, list[Episode]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", "export", "games.parquet", "--to", "trl", "--out", "rows.jsonl"]) == 0
    assert capsys.readouterr().out == "rows.jsonl: 13 games, 38 rows, 1 left out because they broke down\n"
