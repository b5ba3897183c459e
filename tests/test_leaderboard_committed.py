"""What is committed of the leaderboard is whole and current: this is what checks the entries of a pull request."""

import subprocess
from pathlib import Path

import pytest

from lmgym.env import contract_of
from lmgym.leaderboard import page, references, table
from lmgym.leaderboard.board import boards
from lmgym.leaderboard.entries import RECIPE, find_entries
from lmgym.leaderboard.gaps import find_gaps
from lmgym.leaderboard.making import require_current
from lmgym.leaderboard.presets import Job, Plan, load_preset
from lmgym.leaderboard.verify import task_of

CODE = ("lmgym", "algorithms", "envs")


def test_every_entry_is_whole_and_nothing_made_from_them_is_stale(root: Path) -> None:
    folder = root / "leaderboard"
    entries = list(find_entries(folder / "entries"))
    assert entries
    assert table.check(folder / "entries", folder) == [], "lmgym leaderboard table"
    assert page.check(folder / "entries", folder / "site") == [], "lmgym leaderboard page"
    for entry in entries:
        made = entry.recipe["made"]
        assert entry.num_errors == 0
        assert made["commit"] is not None
        assert not made["commit"].endswith("+"), f"{entry.folder} was made with uncommitted changes"
        if entry.recipe["kind"] in ("method", "control"):
            # A run that was begun with other code is another method, though its settings are the same.
            for commit in made["trained_by"].split(", "):
                assert is_same_code(root, commit, made["commit"]), f"{entry.folder} was trained by other code"


def test_of_every_row_that_is_not_complete_it_is_said_why(root: Path) -> None:
    folder = root / "leaderboard" / "entries"
    missing = {task for board in boards(find_entries(folder)).values() for task, _ in board.missing}
    assert set(find_gaps(folder)) == missing


def is_same_code(root: Path, one: str, other: str) -> bool:
    """Return whether nothing that trains or plays changed between two commits; presets and pages may have."""
    if one == other:
        return True
    if not (root / ".git").exists() or (root / ".git" / "shallow").exists():
        pytest.skip(
            "an entry was trained and played by different commits, which this copy without history cannot compare"
        )
    return subprocess.run(["git", "diff", "--quiet", one, other, "--", *CODE], cwd=root, check=False).returncode == 0


def test_nothing_lies_among_the_entries_that_is_in_none(root: Path) -> None:
    folder = root / "leaderboard" / "entries"
    known = {entry.folder / name for entry in find_entries(folder) for name in (RECIPE, *entry.recipe["files"])}
    assert {path for path in folder.rglob("*") if path.is_file()} == known


def test_the_methods_were_trained_with_the_settings_of_their_preset(root: Path) -> None:
    """Defaults of methods and presets change; what the table shows is what the command makes now."""
    folder = root / "leaderboard" / "entries"
    for entry in find_entries(folder):
        recipe, task = entry.recipe, task_of(entry)
        if recipe["kind"] in ("method", "control"):
            assert recipe["preset"] in ("standard", "full"), f"{entry.folder} is of no preset of the leaderboard"
            plan = Plan(load_preset(recipe["preset"]), Path(), folder, 1)
            require_current(Job(task, entry.agent, entry.seed), plan)
        rules = contract_of(task.env_id, task.env_kwargs)
        assert recipe["evaluation"]["episodes"] == rules.evaluation_episodes, f"{entry.folder} holds too few games"


@pytest.mark.slow
def test_the_games_are_those_of_the_references() -> None:
    assert references.stale() == []
