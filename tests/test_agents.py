"""Agents of users, alone and in batches, and evaluations that are interrupted."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lmgym.__main__ import main
from lmgym.agents import load_agent
from lmgym.episode import Turn
from lmgym.errors import UsageError
from lmgym.evaluate import evaluate
from lmgym.files import locked
from lmgym.journal import journal
from lmgym.store import read_episodes
from tests.games import ECHO

MINE = "tests.test_agents"


class Repeating:
    """Repeats the last observation of each game; remembers how many games it was asked for at a time."""

    sizes: list[int] = []  # noqa: RUF012

    def act_batch(self, conversations: list[list[Turn]]) -> list[str]:
        self.sizes.append(len(conversations))
        return [conversation[-1].text for conversation in conversations]


class Troubled(Repeating):
    """Cannot bear blue, and says a number instead of green."""

    def act_batch(self, conversations: list[list[Turn]]) -> list[Any]:
        if any(conversation[-1].text == "blue" for conversation in conversations):
            raise LookupError("no blue")
        return [3 if conversation[-1].text == "green" else "red" for conversation in conversations]


class Forgetful(Repeating):
    """Forgets a game, unless it is asked for one alone."""

    def act_batch(self, conversations: list[list[Turn]]) -> list[str]:
        return super().act_batch(conversations)[: max(1, len(conversations) - 1)]


class Unmade:
    """Cannot be made."""

    def __init__(self) -> None:
        raise OSError("no disk")

    def act_batch(self, conversations: list[list[Turn]]) -> list[str]:
        return []


class Interrupted:
    """Writes down each game that it begins, and interrupts everything when it has begun as many as LIMIT says."""

    def reset(self, seed: int) -> None:
        with Path("begun.txt").open("a") as file:
            file.write(f"{seed}\n")
        if len(Path("begun.txt").read_text().split()) == int(os.environ.get("LIMIT", "0")):
            raise KeyboardInterrupt

    def act(self, conversation: list[Turn]) -> str:
        time.sleep(float(os.environ.get("PAUSE", "0")))
        return conversation[-1].text


class Flaky:
    """Fails in every game whose seed is odd while the file `down` is there."""

    def reset(self, seed: int) -> None:
        self.down = seed % 2 and Path("down").exists()

    def act(self, conversation: list[Turn]) -> str:
        if self.down:
            raise OSError("the line is dead")
        return "red"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def evaluated(name: str, **kwargs: Any) -> Any:
    return evaluate(load_agent(f"{MINE}:{name}", ECHO), ECHO, **kwargs)


def test_a_batch_agent_plays_all_games_at_once() -> None:
    Repeating.sizes.clear()
    result = evaluated("Repeating", episodes=30, num_envs=20)
    assert (result.mean_return.mean, result.errors) == (3.0, 0)
    assert Repeating.sizes == [20] * 3 + [10] * 3


def test_the_trouble_of_one_game_ends_that_game_alone() -> None:
    episodes: list[Any] = []
    result = evaluated("Troubled", episodes=60, watch=episodes.append)
    reasons = {"blue": "agent: LookupError: no blue", "green": "agent: TypeError: act_batch() returned int, not str"}
    for episode in episodes:
        shown = [turn.text for turn in episode.observations]
        first = next((colour for colour in shown[:3] if colour != "red"), None)
        assert episode.error == reasons.get(first or "")
        assert len(episode.actions) == (3 if first is None else shown.index(first))
    assert 0 < result.errors == sum(episode.error is not None for episode in episodes) < 60
    assert result.score is None


def test_too_few_actions_are_asked_for_again_one_by_one() -> None:
    Repeating.sizes.clear()
    assert evaluated("Forgetful", episodes=4).mean_return.mean == 3.0
    assert Repeating.sizes == [4, 1, 1, 1, 1] * 3


def test_a_batch_agent_that_cannot_be_made() -> None:
    with pytest.raises(UsageError, match="Unmade cannot be made: OSError: no disk"):
        load_agent(f"{MINE}:Unmade", ECHO)


COMMAND = ["eval", f"{MINE}:Interrupted", "--env", ECHO, "--episodes", "20", "--batch", "3", "--json"]


def result_of(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main([*COMMAND, *words]) == 0
    return json.loads(capsys.readouterr().out)


def begun() -> list[str]:
    return Path("begun.txt").read_text().split()


@pytest.mark.parametrize("damage", ["", '{"place": 3, "texts"', "nonsense\n", "\x00\x00"])
def test_an_interrupted_evaluation_goes_on(
    damage: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = result_of(capsys, "--save", "whole.parquet")
    Path("begun.txt").unlink()
    monkeypatch.setenv("LIMIT", "14")
    assert main([*COMMAND, "--save", "games.parquet"]) == 130
    assert "the same command goes on with the other games" in capsys.readouterr().err
    assert not Path("games.parquet").exists()
    kept = Path("games.parquet.journal/games.jsonl")
    lines = kept.read_text().splitlines()
    finished = {json.loads(line)["place"] for line in lines[1:]}
    assert len(finished) >= 9
    with kept.open("a") as file:
        file.write(damage)
    before = len(begun())
    monkeypatch.delenv("LIMIT")
    assert result_of(capsys, "--save", "games.parquet") == whole
    assert len(begun()) - before == 20 - len(finished)
    assert read_episodes("games.parquet") == read_episodes("whole.parquet")
    assert sorted(path.name for path in Path().iterdir()) == ["begun.txt", "games.parquet", "whole.parquet"]


@pytest.mark.slow
def test_an_evaluation_that_is_killed_goes_on() -> None:
    command = [sys.executable, "-m", "lmgym", *COMMAND, "--save", "games.parquet"]
    root = str(Path(__file__).parent.parent)
    environment = {**os.environ, "PAUSE": "0.05", "PYTHONPATH": root}
    finished: list[int] = []
    for number in (4, 11):  # games that are over when it is killed
        with Path("log.txt").open("w") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        kept = Path("games.parquet.journal/games.jsonl")
        while process.poll() is None and not (kept.exists() and len(kept.read_text().splitlines()) > number):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, Path("log.txt").read_text()
        finished.append(len(kept.read_text().splitlines()) - 1)
        assert not Path("games.parquet").exists()
    before = len(begun())
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["episodes"] == 20
    assert len(begun()) - before <= 20 - finished[-1]
    whole = [sys.executable, "-m", "lmgym", *COMMAND, "--save", "whole.parquet"]
    assert subprocess.run(whole, env=environment, capture_output=True, text=True, check=True).stdout == done.stdout
    assert read_episodes("games.parquet") == read_episodes("whole.parquet")


def test_games_that_failed_are_played_again() -> None:
    agent = load_agent(f"{MINE}:Flaky", ECHO)
    played = {"env_id": ECHO, "env_kwargs": {}, "agent": agent.name}

    def interrupted() -> None:
        with journal(Path("x"), played) as kept:
            assert evaluate(agent, ECHO, episodes=10, journal=kept).errors == 5
            raise KeyboardInterrupt

    Path("down").touch()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    Path("down").unlink()
    with journal(Path("x"), played) as kept:
        assert sorted(kept.games) == [0, 2, 4, 6, 8]
        second = evaluate(agent, ECHO, episodes=12, journal=kept)
    assert (second.errors, second.episodes) == (0, 12)
    assert second == evaluate(agent, ECHO, episodes=12)


def test_games_of_another_command_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIMIT", "8")
    assert main([*COMMAND, "--save", "games.parquet"]) == 130
    monkeypatch.delenv("LIMIT")
    assert main([*COMMAND, "--save", "games.parquet", "--seed", "1"]) == 2
    said = capsys.readouterr().err
    assert "games.parquet.journal keeps games of another command (seed=0, now 1)" in said
    assert main(["eval", "random", "--env", ECHO, "--save", "games.parquet"]) == 2
    assert "now 'random'" in capsys.readouterr().err
    with locked(Path("games.parquet.journal")):
        assert main([*COMMAND, "--save", "games.parquet"]) == 2
    assert "another process is at work" in capsys.readouterr().err
    kept = Path("games.parquet.journal/games.jsonl")
    sound = kept.read_text()
    kept.write_text(sound + '{"place": 3}\n')
    assert main([*COMMAND, "--save", "games.parquet"]) == 2
    assert "was changed by somebody else (KeyError('texts')); remove it" in capsys.readouterr().err
    kept.write_text(sound)
    assert main([*COMMAND, "--save", "games.parquet"]) == 0


def test_nothing_is_left_of_an_evaluation_that_never_began(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "tests.games:NeverAgent", "--env", ECHO, "--episodes", "3", "--save", "g.parquet"]) == 2
    assert "all 3 games failed" in capsys.readouterr().err
    assert not list(Path().iterdir())
