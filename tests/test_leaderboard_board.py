"""The board: what goes into a cell, what is refused, and which cells are marked."""

from pathlib import Path
from typing import Any

import pytest

from lmgym.errors import UsageError
from lmgym.leaderboard import published
from lmgym.leaderboard.board import Cell, board, boards
from lmgym.leaderboard.entries import Entry, find_entries, write_entry
from lmgym.leaderboard.suites import BESIDE, METHODS, SUITES, TITLES
from lmgym.methods import methods
from tests.entries import line, written

MAZE = "FOMaze-v0"  # scores: -100 is 0, -81.99 is 50, -6.84 is 100


def cell(entries: list[Entry], agent: str) -> Cell:
    (row,) = (row for row in board(entries, "full").rows if row.task == entries[0].task)
    return row.cells[agent]


def test_a_cell_by_hand(tmp_path: Path) -> None:
    clone = [
        written(tmp_path, MAZE, "bc", 0, [line(-90.0, success=False, turns=90, invalid=9), line(-40.0, success=True)]),
        written(tmp_path, MAZE, "bc", 1, [line(-100.0, success=False, turns=100), line(-50.0, success=True)]),
    ]
    better = written(tmp_path, MAZE, "ilql", 0, [line(-40.0, success=True), line(-60.0, success=True)])
    found = cell([*clone, better], "bc")
    assert found.mean_return.mean == -70.0  # of -65 and -75
    assert found.mean_return.low >= -100
    assert found.mean_return.high <= -40
    assert found.iqm.mean == -70.0  # of -90 and -50
    assert found.score is not None
    assert found.score.mean == pytest.approx(50 + 50 * (81.99 - 70) / (81.99 - 6.84))
    assert found.score.low == pytest.approx(50 * (100 + found.mean_return.low) / 18.01)  # below the mean of the data
    assert found.success is not None
    assert found.success.mean == 0.5
    assert found.invalid_rate == pytest.approx((9 / 100 + 0) / 2)
    assert found.turns == pytest.approx((50 + 55) / 2)
    assert (found.num_seeds, found.episodes, found.errors) == (2, 2, 0)
    assert [entry.seed for entry in found.entries] == [0, 1]
    assert found.improvement is None
    best = cell([*clone, better], "ilql")
    assert best.improvement is not None
    assert best.improvement.mean == 5.5 / 8  # of all pairs, one of which is a draw


def test_the_order_of_entries_has_no_effect(tmp_path: Path) -> None:
    entries = [written(tmp_path, MAZE, agent, seed, [-50.0 - seed, -9.0]) for agent in METHODS for seed in (2, 0, 1)]
    assert boards(entries) == boards(entries[::-1])


def test_failed_games_leave_no_score(tmp_path: Path) -> None:
    failing = [line(-7.0, success=True), line(0.0, success=True, turns=1, error="agent: out of memory")]
    entries = [
        written(tmp_path, MAZE, "bc", 0, [line(-90.0, success=False)] * 2),
        written(tmp_path, MAZE, "ppo", 0, [line(-80.0, success=False), line(-81.0, success=False)]),
        written(tmp_path, MAZE, "ilql", 0, failing),
    ]
    found = cell(entries, "ilql")
    assert (found.errors, found.mean_return.mean, found.turns) == (1, -7.0, 10.0)
    assert found.score is None
    assert found.improvement is None
    assert not found.best
    assert found.success is not None
    assert found.success.mean == 0.5  # a failed game is none that was solved
    assert cell(entries, "ppo").best
    with pytest.raises(UsageError, match="mc_returns/seed-0 has no game that came to its end"):
        board([*entries, written(tmp_path, MAZE, "mc_returns", 0, [line(0.0, error="broken")])], "full")


def test_best_and_tied(tmp_path: Path) -> None:
    spread = [-20.0, -40.0] * 50
    entries = [
        written(tmp_path, MAZE, "bc", 0, [-80.0] * 100),
        written(tmp_path, MAZE, "ilql", 0, [total + 0.1 for total in spread]),
        written(tmp_path, MAZE, "ppo", 0, spread),
        written(tmp_path, MAZE, "mine", 0, [-33.0] * 100, kind="submitted", title="Mine"),
        written(tmp_path, MAZE, "expert", 0, [-6.84] * 100),
    ]
    marks = {agent: (cell(entries, agent).best, cell(entries, agent).tied) for agent in ("bc", "ilql", "ppo", "mine")}
    assert marks == {"bc": (False, False), "ilql": (True, False), "ppo": (False, True), "mine": (False, False)}
    assert (cell(entries, "expert").best, cell(entries, "expert").tied) == (False, False)
    assert not cell(entries[:1], "bc").best  # nobody to be better than


def test_equal_means_are_all_the_best(tmp_path: Path) -> None:
    entries = [written(tmp_path, MAZE, agent, 0, [-10.0, -30.0]) for agent in ("bc", "ilql")]
    assert [(cell(entries, agent).best, cell(entries, agent).tied) for agent in ("bc", "ilql")] == [(True, False)] * 2


def test_columns_and_missing_cells(tmp_path: Path) -> None:
    entries = [
        written(tmp_path, MAZE, "zebra", 0, [-9.0], kind="submitted", title="Zebra 7B"),
        written(tmp_path, MAZE, "my_pkg.method", 0, [-9.0]),
        written(tmp_path, MAZE, "bc", 0, [-9.0]),
        written(tmp_path, "WordleMini-v0", "ant", 0, [-2.0], kind="submitted", title="Ant"),
    ]
    full, mini = boards(entries).values()
    assert full.columns == (*METHODS, "my_pkg.method", "zebra", *BESIDE)
    assert mini.columns == (*METHODS, "my_pkg.method", "ant", "zebra", *BESIDE)
    assert (full.titles["zebra"], full.titles["behaviour"]) == ("Zebra 7B", "data")
    assert len(full.missing) == 10 * 10 - 1
    assert (MAZE, "bc") not in full.missing
    assert ("Chess-v0", "expert") in full.missing
    assert full.rows[0] == mini.rows[0]
    assert full.rows[0].cells["bc"].published == published.published("FOMaze")["bc"]
    assert mini.rows[4].published == {}


def test_agreement_with_the_published_order(tmp_path: Path) -> None:
    order = ["bc", "online_filtered_bc", "filtered_bc", "mc_returns", "ppo", "ilql"]  # by published return
    entries = [written(tmp_path / "a", MAZE, agent, 0, [-90.0 + place]) for place, agent in enumerate(order)]
    row = board(entries, "full").rows[0]
    assert (row.kendall, row.num_ranked) == (1.0, 6)
    entries = [written(tmp_path / "b", MAZE, agent, 0, [-90.0 - place]) for place, agent in enumerate(order[:3])]
    row = board(entries, "full").rows[0]
    assert (row.kendall, row.num_ranked) == (-1.0, 3)
    assert board(entries[:1], "full").rows[0].kendall is None


def test_entries_of_another_version_of_the_game_are_refused(tmp_path: Path) -> None:
    game = {"env_id": f"lmgym/{MAZE}", "env_kwargs": {}, "fingerprint": "0" * 64}
    entry = written(tmp_path, MAZE, "bc", 3, [-9.0], game=game)
    with pytest.raises(UsageError, match=r"bc/seed-3 is stale: .* make it again: lmgym leaderboard run .*--seed 3"):
        board([entry], "full")


@pytest.mark.parametrize(
    ("changes", "games", "difference"),
    [
        ({"settings": {"method": {"steps": 2}}}, [-9.0, -8.0], "settings"),
        ({"preset": "full"}, [-9.0, -8.0], "preset"),
        ({}, [-9.0, -8.0, -7.0, -6.0], "evaluation"),
        ({"kind": "submitted"}, [-9.0, -8.0], "kind"),
    ],
)
def test_seeds_that_were_made_in_different_ways_share_no_cell(
    tmp_path: Path, changes: dict[str, object], games: list[float], difference: str
) -> None:
    entries = [
        written(tmp_path, MAZE, "mine", 0, [-9.0, -8.0]),
        written(tmp_path, MAZE, "mine", 1, games, **changes),
    ]
    with pytest.raises(UsageError, match=rf"mine/seed-0 and .*mine/seed-1 share a cell .* different {difference}"):
        board(entries, "full")


def test_entries_with_other_arguments_join_no_cell(tmp_path: Path) -> None:
    game = {"env_id": f"lmgym/{MAZE}", "env_kwargs": {"maze": "umaze"}, "fingerprint": "0" * 64}
    written(tmp_path, MAZE, "bc", 0, [-9.0], game=game)
    (entry,) = find_entries(tmp_path)
    assert entry.task == "FOMaze-v0,maze=umaze"
    assert all(not row.cells for row in board([entry], "full").rows)
    fooled = Entry(entry.folder, {**entry.recipe, "task": MAZE})
    with pytest.raises(UsageError, match="says of itself that it is FOMaze-v0"):
        board([fooled], "full")


@pytest.mark.parametrize(("agent", "kind"), [("bc", "submitted"), ("expert", "method")])
def test_names_of_columns_are_not_for_others(tmp_path: Path, agent: str, kind: str) -> None:
    entry = written(tmp_path, MAZE, agent, 0, [-9.0], kind=kind)
    with pytest.raises(UsageError, match=f"is a {kind} agent with the name of "):
        board([entry], "full")


@pytest.mark.parametrize(
    ("agent", "title"), [("ILQL", "ILQL"), ("mine", "MC returns"), ("Data", "mine"), ("x", "ppo ")]
)
def test_no_submitted_agent_looks_like_one_of_ours(tmp_path: Path, agent: str, title: str) -> None:
    with pytest.raises(UsageError, match="with the name of one of lmgym's"):
        board([written(tmp_path, MAZE, agent, 0, [-9.0], kind="submitted", title=title)], "full")


@pytest.mark.parametrize("places", [[0, 0], [1, 0], [0, 2]])
def test_only_the_official_games_count_each_once_and_in_order(tmp_path: Path, places: list[int]) -> None:
    three = written(tmp_path / "right", MAZE, "bc", 0, [-9.0, -8.0, -7.0])
    board([three], "full")
    lines = [three.episodes[place] for place in places]
    rest = {key: value for key, value in three.recipe.items() if key not in ("format", "files", "checksum")}
    entry = write_entry(tmp_path / "chosen", {**rest, "evaluation": {"episodes": 2, "seed": 0}}, lines, [], None)
    with pytest.raises(UsageError, match="holds other games than the official ones"):
        board([entry], "full")


def test_one_training_is_not_counted_as_two_seeds(tmp_path: Path) -> None:
    entries = [written(tmp_path, MAZE, "bc", seed, [-9.0, -8.0], policy="a" * 64) for seed in (0, 1)]
    with pytest.raises(UsageError, match="bc are the same policy"):
        board(entries, "full")


def test_seeds_of_a_submitted_policy_may_stand_in_different_folders(tmp_path: Path) -> None:
    def mine(seed: int, **changes: Any) -> Entry:
        settings = {"agent": f"runs/mine-{seed}", "options": {}, "usage": {"agent_calls": seed}}
        facts = {"kind": "submitted", "settings": settings, "policy": str(seed) * 64, **changes}
        return written(tmp_path, MAZE, "mine", seed, [-9.0, -8.0], **facts)

    first = mine(0)
    assert cell([first, mine(1)], "mine").num_seeds == 2
    others: list[dict[str, Any]] = [{"policy": None}, {"decoding": {"temperature": 0.0}}, {"parameters": 3}]
    for seed, changes in enumerate(others, 2):
        with pytest.raises(UsageError, match=r"made with different (settings|decoding|parameters)"):
            board([first, mine(seed, **changes)], "full")


def test_suites() -> None:
    assert set(METHODS) == set(methods())
    assert [task.removesuffix("-v0") for task in SUITES["full"]] == published.tasks()
    assert len(SUITES["mini"]) == 10
    assert set(SUITES["full"]) & set(SUITES["mini"]) == {"FOMaze-v0", "POMaze-v0", "FOTextNav-v0", "POTextNav-v0"}
    assert set(SUITES["full"]) | set(SUITES["mini"]) == set(TITLES)
    with pytest.raises(UsageError, match="unknown suite 'ful'; did you mean 'full'"):
        board([], "ful")


def test_settings_that_came_later_are_as_if_left_out(tmp_path: Path) -> None:
    def settings(**model: object) -> dict[str, object]:
        return {"method": {"lm": {"model": None, **model}, "steps": 600}, "start": None}

    old = written(tmp_path, MAZE, "bc", 0, [-50.0], settings=settings())
    new = written(tmp_path, MAZE, "bc", 1, [-60.0], settings=settings(lora_rank=None))
    assert cell([old, new], "bc").num_seeds == 2
    other = written(tmp_path, MAZE, "bc", 2, [-60.0], settings=settings(lora_rank=4))
    with pytest.raises(UsageError, match="share a cell and were made with different settings"):
        cell([old, other], "bc")
