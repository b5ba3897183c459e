"""Other people's games: any Gymnasium environment of text, and those of TextArena and GEM through the example."""

import importlib.util
import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmgym.__main__ import main
from lmgym.agents import load_agent
from lmgym.check import RULES, check
from lmgym.env import make_env
from lmgym.errors import UsageError
from lmgym.evaluate import collect
from lmgym.store import read_episodes, read_metadata
from tests.games import FOREIGN

pytestmark = pytest.mark.filterwarnings("ignore")  # of their packages

TEXTARENA = "examples.foreign_games:foreign/TextArena-v0"
GEM = "examples.foreign_games:foreign/Gem-v0"
SHORT = ["--steps", "20", "--checkpoint-every", "20", "--model", "0.1M"]
needs_textarena = pytest.mark.skipif(
    importlib.util.find_spec("textarena") is None, reason="textarena is not installed (pip install textarena==0.7.4)"
)
needs_gem = pytest.mark.skipif(
    importlib.util.find_spec("gem") is None, reason="gem is not installed (pip install gem-llm==0.1.0)"
)


@pytest.fixture(autouse=True)
def no_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Word lists are not fetched."""
    if importlib.util.find_spec("nltk"):
        monkeypatch.setattr("nltk.download", lambda *_, **__: False)


def play(env_id: str, game: str, agent: str, num_envs: int) -> list[object]:
    kwargs = {"game": game}
    return list(collect(load_agent(agent, env_id, kwargs), env_id, env_kwargs=kwargs, episodes=6, num_envs=num_envs))


def a_session(env_id: str, agent: str, capsys: pytest.CaptureFixture[str], *env_args: str) -> dict[str, Any]:
    """Collect, train and evaluate by the command line; return the evaluation."""
    args = ["--env-args", *env_args] if env_args else []
    assert main(["collect", env_id, "--agent", agent, "--episodes", "20", "--out", "d.parquet", *args]) == 0
    assert all(episode.error is None for episode in read_episodes("d.parquet"))
    assert main(["train", "bc", "--env", env_id, "--data", "d.parquet", "--out", "runs/x", *SHORT, *args]) == 0
    capsys.readouterr()
    assert main(["eval", "runs/x", "--episodes", "5", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_any_gymnasium_environment_of_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that knows nothing of lmgym, with Gymnasium's own spaces."""
    monkeypatch.chdir(tmp_path)
    result = a_session(FOREIGN, "random", capsys)
    assert (result["env_id"], result["episodes"], result["errors"]) == (FOREIGN, 5, 0)


@needs_textarena
@pytest.mark.slow
@pytest.mark.parametrize("game", ["GuessTheNumber-v0", "Mastermind-v0", "FrozenLake-v0"])
def test_games_of_textarena_keep_every_rule(game: str) -> None:
    assert {verdict.rule: verdict.problem for verdict in check(TEXTARENA, {"game": game})} == dict.fromkeys(RULES)


@needs_gem
@pytest.mark.slow
@pytest.mark.parametrize("game", ["game:GuessTheNumber-v0-easy", "game:Mastermind-v0-easy"])
def test_games_of_gem_keep_every_rule(game: str) -> None:
    assert {verdict.rule: verdict.problem for verdict in check(GEM, {"game": game})} == dict.fromkeys(RULES)


@needs_textarena
@pytest.mark.slow
def test_textarena_from_data_to_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = a_session(TEXTARENA, "examples.foreign_games.players:Guesser", capsys)
    assert (result["env_id"], result["episodes"], result["errors"]) == (TEXTARENA, 5, 0)
    assert read_metadata("d.parquet").statistics.success_rate == 1.0
    episode = read_episodes("d.parquet")[0]
    assert "between 1 and 20" in episode.observations[0].text
    assert all("between 1 and 20" not in turn.text for turn in episode.observations[1:]), "only what is new is shown"
    assert episode.observations[-1].text == "Congratulations! You guessed the correct number."
    assert [turn.reward for turn in episode.actions] == [0.0] * (len(episode.actions) - 1) + [1.0]


@needs_gem
@pytest.mark.slow
def test_gem_from_data_to_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = a_session(GEM, "behaviour", capsys, "game=game:Minesweeper-v0-easy")
    assert (result["env_id"], result["episodes"], result["errors"]) == (GEM, 5, 0)


@needs_gem
def test_a_turn_limit_of_gem_truncates_and_boards_are_shown() -> None:
    env = make_env(GEM, {"game": "game:Sudoku-v0-easy"})
    observation, _ = env.reset(seed=1)
    assert "R1  " in observation, "the board, which GEM keeps in its suffix"
    env = make_env(GEM)
    env.reset(seed=0)
    number = env.unwrapped._game.game_number  # type: ignore[attr-defined]
    wrong = [guess for guess in range(1, 11) if guess != number]
    ends = [env.step(f"\\boxed{{{guess}}}")[2:4] for guess in wrong[:4]]
    assert ends == [(False, False)] * 3 + [(False, True)]
    env.reset(seed=0)
    *_, terminated, truncated, info = env.step(f"\\boxed{{{number}}}")
    assert (terminated, truncated, info) == (True, False, {"success": True})


@pytest.mark.parametrize(
    ("env_id", "game", "agent"),
    [
        pytest.param(TEXTARENA, "FrozenLake-v0", "random", marks=needs_textarena),
        pytest.param(GEM, "game:Minesweeper-v0-easy", "behaviour", marks=needs_gem),
    ],
)
def test_chance_is_each_game_s_own(env_id: str, game: str, agent: str) -> None:
    one_by_one = play(env_id, game, agent, 1)
    assert len({str(episode) for episode in one_by_one}) > 1
    random.seed(7)
    np.random.seed(7)  # noqa: NPY002 (the state that must stay)
    expected = random.Random(7).random(), np.random.RandomState(7).random()
    assert play(env_id, game, agent, 6) == one_by_one
    assert (random.random(), np.random.random()) == expected  # noqa: NPY002


@needs_textarena
def test_textarena_says_what_was_wrong_with_an_action() -> None:
    env = make_env(TEXTARENA)
    env.reset(seed=0)
    said, reward, terminated, _, info = env.step("what is this?")
    assert "did not respond with valid '[number]'" in info["invalid"]
    assert info["invalid"] == said
    assert (reward, terminated) == (0.0, False)
    _, _, terminated, _, info = env.step("what is this?")
    assert terminated
    assert info["invalid"].startswith("Invalid Move")
    assert not info["success"]


@pytest.mark.parametrize(
    ("env_id", "game", "sentence"),
    [
        pytest.param(TEXTARENA, "Mastermnd-v0", "did you mean 'Mastermind-v0'", marks=needs_textarena),
        pytest.param(TEXTARENA, "TicTacToe-v0", "cannot play TicTacToe-v0 with one player", marks=needs_textarena),
        pytest.param(TEXTARENA, "PublicGoodsGame-v0", "it is played with a FFAMultiPlayerState", marks=needs_textarena),
        pytest.param(GEM, "game:Mastermind-v0-eesy", "did you mean 'game:Mastermind-v0-easy'", marks=needs_gem),
    ],
)
def test_games_that_cannot_be_played(env_id: str, game: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        make_env(env_id, {"game": game})


@pytest.mark.parametrize(("env_id", "package"), [(TEXTARENA, "textarena"), (GEM, "gem-llm")])
def test_a_missing_package_is_named(env_id: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package.partition("-")[0], None)
    with pytest.raises(UsageError, match=f"pip install {package}=="):
        make_env(env_id)
