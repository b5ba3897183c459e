"""Why cells of a table are empty and what filling them would take, as the file beside the entries says."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lmgym.errors import UsageError, unknown
from lmgym.leaderboard.suites import TITLES

FILE = "gaps.toml"


@dataclass(frozen=True)
class Gap:
    """A game's empty cells. `why`: what was measured that keeps them empty; `takes`: what would fill them."""

    why: str
    takes: str


def find_gaps(entries: Path) -> dict[str, Gap]:
    """Return by task what stands in gaps.toml beside a folder of entries; nothing without such a file.

    Raises UsageError where it cannot be read, names a game that is in no suite, or says something else of it than
    `why` and `takes`.
    """
    path = entries.parent / FILE
    if not path.is_file():
        return {}
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    return {task: _gap(path, task, said) for task, said in found.items()}


def _gap(path: Path, task: str, said: object) -> Gap:
    if task not in TITLES:
        raise unknown(f"game in {path}", task, TITLES)
    if not isinstance(said, Mapping) or set(said) != {"why", "takes"} or not all(map(_is_text, said.values())):
        raise UsageError(f"{path} says of {task} something else than why (a sentence) and takes (a sentence)")
    return Gap(**{name: " ".join(text.split()) for name, text in said.items()})


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
