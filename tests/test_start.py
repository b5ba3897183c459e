"""What runs start from: data and first policies that are made once, shared, and made anew where they would be wrong."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmgym.__main__ import main
from lmgym.agents import load_agent
from lmgym.algorithms import filtered_bc, online_filtered_bc
from lmgym.episode import Episode, Turn
from lmgym.errors import UsageError
from lmgym.evaluate import collect
from lmgym.files import sha256
from lmgym.run import Recipe, Run, opened
from lmgym.selection import best_episodes
from lmgym.start import ModelConfig, offline_episodes, trained_policy
from lmgym.store import read_episodes, write_episodes
from tests import quick_bc
from tests.games import ECHO, Echo

FAILING = "tests.games:test/Failing-v0"


def start(folder: Path, seed: int = 0, data: str | None = None, init: str | None = None) -> tuple[Run, Path]:
    """Open a run, get its data and first policy, and return it with the folder of that policy."""
    recipe = Recipe("filtered_bc", ECHO, {}, seed, data, {})
    with opened(folder, recipe) as run:
        offline_episodes(run)
        trained_policy(run, init, ModelConfig(), "tests.quick_bc")
    (found,) = {p.parent for p in folder.parent.glob("shared/*/lmgym.json")} if init is None else {Path(init)}
    return run, found


def test_a_first_policy_is_trained_once_for_all_who_start_from_it(tmp_path: Path) -> None:
    quick_bc.trainings.clear()
    run, found = start(tmp_path / "a")
    start(tmp_path / "b")
    assert len(quick_bc.trainings) == 1
    assert run.record["init_checksum"] == sha256(found / "lmgym.json")
    assert len(list((tmp_path / "shared").glob("*.parquet"))) == 1


def test_another_seed_or_other_data_start_from_a_policy_of_their_own(tmp_path: Path) -> None:
    quick_bc.trainings.clear()
    start(tmp_path / "a")
    recipe = Recipe("filtered_bc", ECHO, {}, 1, None, {})
    with opened(tmp_path / "b", recipe) as run:
        offline_episodes(run)
        trained_policy(run, None, ModelConfig(), "tests.quick_bc")
    assert len(quick_bc.trainings) == 2
    data = next((tmp_path / "shared").glob("*.parquet"))
    # The same episodes under another name are the same data.
    copy = tmp_path / "copy.parquet"
    copy.write_bytes(data.read_bytes())
    with opened(tmp_path / "c", dataclasses.replace(recipe, data=str(copy))) as run:
        offline_episodes(run)
        trained_policy(run, None, ModelConfig(), "tests.quick_bc")
    assert len(quick_bc.trainings) == 2
    write_episodes(tmp_path / "half.parquet", read_episodes(data)[:500])
    with opened(tmp_path / "d", dataclasses.replace(recipe, data=str(tmp_path / "half.parquet"))) as run:
        offline_episodes(run)
        trained_policy(run, None, ModelConfig(), "tests.quick_bc")
    assert len(quick_bc.trainings) == 3


def test_kept_data_of_a_game_that_has_changed_are_collected_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = start(tmp_path / "a")
    before = run.record["data_checksum"]
    monkeypatch.setattr(Echo, "behaviour", Echo.expert)
    recipe = Recipe("bc", ECHO, {}, 0, None, {})
    with opened(tmp_path / "b", recipe) as fresh:
        episodes = offline_episodes(fresh)
    assert fresh.record["data_checksum"] != before
    assert {episode.total_reward for episode in episodes} == {Echo.optimum}
    with (
        opened(tmp_path / "a", dataclasses.replace(recipe, method="filtered_bc")) as old,
        pytest.raises(UsageError, match=r"the data of .* has changed since it was started"),
    ):
        offline_episodes(old)


def test_a_named_start_is_taken_and_must_stay_what_it_was(tmp_path: Path) -> None:
    _, found = start(tmp_path / "a")
    start(tmp_path / "b", init=str(found))
    record = json.loads((found / "lmgym.json").read_text())
    record["view"]["max_reply_tokens"] = 7
    (found / "lmgym.json").write_text(json.dumps(record))
    with pytest.raises(UsageError, match=r"the init of .* has changed since it was started"):
        start(tmp_path / "b", init=str(found))


def test_a_named_start_brings_its_own_model(tmp_path: Path) -> None:
    _, found = start(tmp_path / "a")
    with (
        opened(tmp_path / "b", Recipe("bc", ECHO, {}, 0, None, {})) as run,
        pytest.raises(UsageError, match="--init names a trained policy"),
    ):
        trained_policy(run, str(found), ModelConfig(model="0.3M"), "bc")
    with (
        opened(tmp_path / "c", Recipe("bc", ECHO, {}, 0, None, {})) as run,
        pytest.raises(UsageError, match="no policy is here"),
    ):
        trained_policy(run, str(tmp_path / "nowhere"), ModelConfig(), "bc")


def episodes_of(returns: list[float], success: list[bool | None]) -> list[Episode]:
    return [
        Episode(
            (Turn("a", by_agent=False), Turn("b", by_agent=True, reward=value), Turn("c", by_agent=False)),
            terminated=True,
            truncated=False,
            env_id="x",
            seed=index,
            agent="a",
            outcome={} if solved is None else {"success": solved},
        )
        for index, (value, solved) in enumerate(zip(returns, success, strict=True))
    ]


def test_exactly_the_best_share_is_kept() -> None:
    games = episodes_of([0.0, 5.0, 1.0, 5.0, 5.0, 2.0, 5.0, 5.0, 3.0, 5.0], [None] * 10)
    kept = best_episodes(games, "0.3", seed=0)
    assert [game.total_reward for game in kept] == [5.0, 5.0, 5.0]
    assert kept == best_episodes(games, "0.3", seed=0)
    draws = {tuple(game.seed for game in best_episodes(games, "0.3", seed=seed)) for seed in range(20)}
    assert len(draws) > 5, "chance decides among equals"
    assert [game.total_reward for game in best_episodes(games, "0.8", 0)].count(0.0) == 0
    assert best_episodes(games, "1", 0) == games
    assert len(best_episodes(games, "0.01", 0)) == 1


def test_successes_are_kept() -> None:
    games = episodes_of([0.0, 1.0, 2.0], [True, False, True])
    assert [game.seed for game in best_episodes(games, "success", 0)] == [0, 2]
    with pytest.raises(UsageError, match="no episode of the data reports success"):
        best_episodes(episodes_of([1.0], [None]), "success", 0)


def test_games_that_broke_down_are_no_data(tmp_path: Path) -> None:
    agent = load_agent("behaviour", FAILING)
    played = list(collect(agent, FAILING, episodes=40))
    failed = sum(episode.error is not None for episode in played)
    assert 0 < failed < 40
    write_episodes(tmp_path / "d.parquet", played)
    with opened(tmp_path / "run", Recipe("bc", FAILING, {}, 0, str(tmp_path / "d.parquet"), {})) as run:
        assert offline_episodes(run) == [episode for episode in played if episode.error is None]
        assert run.record["failed_games_left_out"] == failed


def test_a_command_that_was_refused_can_be_put_right(tmp_path: Path) -> None:
    """Nothing was learned yet: the folder is not lost to a slip of the pen."""
    train = ["train", "filtered_bc", "--env", ECHO, "--out", str(tmp_path / "run"), "--steps", "10"]
    assert main([*train, "--checkpoint-every", "10", "--init", str(tmp_path / "nowhere")]) == 2
    _, found = start(tmp_path / "a")
    assert main([*train, "--checkpoint-every", "10", "--init", str(found)]) == 0
    assert main([*train, "--checkpoint-every", "10", "--init", str(found), "--keep", "0.5"]) == 2


def test_a_start_of_another_game_is_refused(tmp_path: Path) -> None:
    _, found = start(tmp_path / "a")
    with (
        opened(tmp_path / "b", Recipe("bc", FAILING, {}, 0, None, {})) as run,
        pytest.raises(UsageError, match=r"was trained on tests\.games:test/Echo-v0, not on"),
    ):
        trained_policy(run, str(found), ModelConfig(), "bc")


@pytest.mark.parametrize("method", [filtered_bc, online_filtered_bc])
def test_a_share_is_refused_before_anything_is_done(method: Any) -> None:
    with pytest.raises(UsageError, match="--keep is success or a share"):
        method.Config(keep="sucess")


@pytest.mark.parametrize("keep", ["0", "1.5", "best", "nan"])
def test_other_shares_are_refused(keep: str) -> None:
    with pytest.raises(UsageError, match="--keep is success or a share"):
        best_episodes(episodes_of(list(np.zeros(3)), [None] * 3), keep, 0)
