"""What is committed of the leaderboard is whole and current: this is what checks the entries of a pull request."""

from pathlib import Path

import pytest

from lmgym.leaderboard import page, references, table
from lmgym.leaderboard.entries import find_entries


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


@pytest.mark.slow
def test_the_games_are_those_of_the_references() -> None:
    assert references.stale() == []
