"""The published numbers of LMRL-Gym (arXiv 2311.18232), and which of its scores follow from its own raw returns.

`published.json` holds what was printed: scores (table 2), raw returns (table 4) and the constants of normalisation.
Which scores can be recomputed is computed here, never typed in; notes say what may explain one that cannot.
"""

import json
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from lmgym.errors import unknown
from lmgym.scores import Reference, Score

TOLERANCE = 0.6
"""Points of score between printed and recomputed that rounding of the printed numbers is allowed to make."""


class Published(NamedTuple):
    """A cell of the published table. `reason` is a sentence where the score is not `recomputable` from the raw return
    with the published constants, else empty; `raw_return` is None where none was published.
    """

    score: float
    raw_return: float | None
    recomputable: bool
    reason: str


def tasks() -> list[str]:
    """Return the names of the ten rows in the published order; `FOMaze` is the game `lmgym/FOMaze-v0`."""
    return list(_tables())


def published(task: str) -> dict[str, Published]:
    """Return the cells of a row by method, and of `gpt4`. Raises UsageError on an unknown task.

    >>> published("POMaze")["ppo"]  # doctest: +NORMALIZE_WHITESPACE
    Published(score=42.4, raw_return=-91.7, recomputable=False,
        reason='the raw return -91.7 gives 25.8 with the published constants, not 42.4')
    """
    table, scale = _table(task), constants(task)
    return {
        column: _cell(score, table["returns"][column], scale, table["notes"].get(column))
        for column, score in table["scores"].items()
    }


def published_row(task: str) -> dict[str, Published]:
    """Return the published cells of a game by its full name, `FOMaze-v0`; empty where nothing was published."""
    name = task.removesuffix("-v0")
    return published(name) if name in tasks() else {}


def constants(task: str) -> Reference | None:
    """Return the published scale of a row, None where none was published. Raises UsageError on an unknown task."""
    printed = _table(task)["constants"]
    if printed is None:
        return None
    scores = {name: Score(value, "published constant of normalisation") for name, value in printed.items()}
    return Reference(min=scores["min"], data=scores["data"], best=scores["best"])


def standing(task: str) -> dict[str, float]:
    """Return the numbers that order the columns of a row: raw returns where all are published, else scores.

    Returns come first because the scores of some rows were normalised with more than one set of constants.
    """
    row = published(task)
    returns = {column: cell.raw_return for column, cell in row.items() if cell.raw_return is not None}
    return returns if len(returns) == len(row) else {column: cell.score for column, cell in row.items()}


def _cell(score: float, raw_return: float | None, scale: Reference | None, note: str | None) -> Published:
    if raw_return is None or scale is None:
        missing = "raw return of this cell" if raw_return is None else "constants of this game"
        return Published(
            score, raw_return, False, f"the {missing} {'is' if raw_return is None else 'are'} not published"
        )
    recomputed = scale.normalise(raw_return)
    if abs(recomputed - score) <= TOLERANCE:
        return Published(score, raw_return, True, "")
    reason = f"the raw return {raw_return:g} gives {recomputed:.1f} with the published constants, not {score:g}"
    return Published(score, raw_return, False, f"{reason}; {note}" if note else reason)


def _table(task: str) -> dict[str, Any]:
    if task not in _tables():
        raise unknown("published task", task, _tables())
    return _tables()[task]


@cache
def _tables() -> dict[str, dict[str, Any]]:
    return json.loads((resources.files("lmgym.leaderboard") / "published.json").read_text(encoding="utf-8"))["tasks"]
