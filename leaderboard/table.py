"""The tables of the leaderboard, made from its entries: `README.md` for people, `table.csv` for programs, `table.tex`
for papers, and one for the terminal.

The same entries give the same bytes: nothing of today and of this machine is in them.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from lmgym.errors import UsageError
from lmgym.files import replacing
from lmgym.leaderboard.board import Board, Cell, Row, boards
from lmgym.leaderboard.entries import Entry, find_entries
from lmgym.leaderboard.gaps import find_gaps
from lmgym.leaderboard.latex import latex
from lmgym.leaderboard.readme import failed, published_score, readme
from lmgym.leaderboard.suites import BESIDE
from lmgym.scores import Interval
from lmgym.tasks import output_console

ENTRIES, OUT = Path("leaderboard/entries"), Path("leaderboard")


def table(entries: Path = ENTRIES, out: Path = OUT) -> int:
    """Write the tables of all entries and print them. Returns the exit status. Raises UsageError where an entry is
    damaged, edited or stale, and where a cell's entries do not belong together."""
    found = _entries(entries, out)
    made = boards(found, find_gaps(entries))
    for name, text in rendered(made, found).items():
        with replacing(out / name) as partial:
            partial.write_text(text, encoding="utf-8", newline="")
    print_boards(made.values())
    if not found:
        print(f"There are no entries in {entries}.")
    print(out / "README.md")
    return 0


def check(entries: Path = ENTRIES, out: Path = OUT) -> list[str]:
    """Return the names of the files that `table` would change."""
    found = _entries(entries, out)
    files = {out / name: text for name, text in rendered(boards(found, find_gaps(entries)), found).items()}
    return [str(path) for path, text in files.items() if not path.is_file() or path.read_bytes() != text.encode()]


def rendered(made: Mapping[str, Board], entries: Sequence[Entry]) -> dict[str, str]:
    """Return the content of each file by name, for the boards of these entries."""
    return {"README.md": readme(made, entries), "table.csv": as_csv(made.values()), "table.tex": latex(made)}


def _entries(folder: Path, out: Path) -> list[Entry]:
    # Beside the tables, no folder means no entries yet; elsewhere it is a slip.
    if not folder.is_dir() and folder.parent != out:
        raise UsageError(f"there is no folder {folder}")
    return list(find_entries(folder))


def as_csv(made: Iterable[Board]) -> str:
    """Return every figure of every cell, one cell a line; what is not known is empty."""
    lines = [
        _figures(board, row, row.cells[agent])
        for board in made
        for row in board.rows
        for agent in board.columns
        if agent in row.cells
    ]
    file = io.StringIO()
    writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue()


INTERVALS = ("score", "mean_return", "iqm", "success", "improvement")
FIELDS = (
    *("suite", "task", "env_id", "agent", "title", "kind", "seeds", "episodes", "errors"),
    *(f"{name}{end}" for name in INTERVALS for end in ("", "_low", "_high")),
    *("invalid_rate", "turns", "best", "tied"),
    *("published_score", "published_return", "published_recomputable"),
    *("reference_min", "reference_data", "reference_best", "kendall", "fingerprint"),
)


def _figures(board: Board, row: Row, cell: Cell) -> dict[str, Any]:
    published = cell.published
    return {
        "suite": board.suite,
        "task": row.task,
        "env_id": row.env_id,
        "agent": cell.agent,
        "title": cell.title,
        "kind": cell.kind,
        "seeds": " ".join(str(entry.seed) for entry in cell.entries),
        "episodes": cell.episodes,
        "errors": cell.errors,
        **{key: value for name in INTERVALS for key, value in _bounds(name, getattr(cell, name)).items()},
        "invalid_rate": _digits(cell.invalid_rate),
        "turns": _digits(cell.turns),
        "best": int(cell.best),
        "tied": int(cell.tied),
        "published_score": "" if published is None else _digits(published.score),
        "published_return": "" if published is None else _digits(published.raw_return),
        "published_recomputable": "" if published is None else int(published.recomputable),
        "reference_min": _digits(row.scale.min.value),
        "reference_data": _digits(row.scale.data.value),
        "reference_best": _digits(row.scale.best.value),
        "kendall": _digits(row.kendall),
        "fingerprint": row.reference.fingerprint,
    }


def _bounds(name: str, interval: Interval | None) -> dict[str, str]:
    values: Sequence[float | None] = (None, None, None) if interval is None else interval
    return {f"{name}{end}": _digits(value) for end, value in zip(("", "_low", "_high"), values, strict=True)}


def _digits(value: float | None) -> str:
    """Return six digits: fewer than a float has, so that no machine's last digit makes the file another."""
    return "" if value is None else f"{value:.6g}"


def print_boards(made: Iterable[Board]) -> None:
    """Print the scores of the suites that have any, games without entries left out."""
    for board in made:
        rows = [row for row in board.rows if row.cells]
        if rows:
            output_console().print(_printed(board, rows))


def _printed(board: Board, rows: Sequence[Row]) -> Table:
    columns = [agent for agent in board.columns if any(agent in row.cells for row in rows)]
    empty = len(board.rows) - len(rows)
    title = f"{board.suite} suite" + (f", {empty} of {len(board.rows)} games without entries" if empty else "")
    caption = (
        "score, 95 % interval, (published); * best, = tied with it; + cannot be recomputed from what was published"
    )
    found = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 1, 0), pad_edge=False)
    found.add_column("game", no_wrap=True)
    for agent in columns:
        heading = escape(board.titles[agent])
        found.add_column(heading, justify="right", overflow="fold", min_width=5 if agent in BESIDE else 10)
    for row in rows:
        found.add_row(row.title, *(_shown(row, agent) for agent in columns))
    return found


def _shown(row: Row, agent: str) -> str:
    cell, published = row.cells.get(agent), row.published.get(agent)
    lines = []
    if cell is not None and cell.score is None:
        lines.append(failed(cell))
    elif cell is not None and cell.score is not None:
        lines.append(f"{cell.score.mean:.1f}{'*' if cell.best else '=' if cell.tied else ''}")
        if agent not in BESIDE:
            lines.append(f"{cell.score.low:.1f}..{cell.score.high:.1f}")
    if published is not None:
        lines.append(f"({published_score(published, '+')})")
    return "\n".join(lines)
