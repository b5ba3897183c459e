"""The leaderboard as a static site: an index with the tables and figures of both suites, and a page for every entry.

The same entries give the same bytes, so that a stale site shows. The index is one file that needs nothing else; the
pages of entries share a style sheet and two scripts. Nothing is fetched from anywhere, and a policy in each page tells
the browser to refuse what a game's text might try. Templates escape whatever they are given.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from lmgym.errors import UsageError
from lmgym.files import replacing
from lmgym.leaderboard import figures
from lmgym.leaderboard.board import Board, Cell, Row, agent_title, boards
from lmgym.leaderboard.entries import Entry, find_entries
from lmgym.leaderboard.entry_page import learning_panel, values_of
from lmgym.leaderboard.gaps import Gap, find_gaps
from lmgym.scores import Interval, Reference

ASSETS = Path(__file__).with_name("site_assets")
SHARED = ("style.css", "theme.js", "entry.js")  # what the pages of entries load
PAGES = "results"  # the folder of those pages

# Characters that HTML does not allow, and halves of characters that no file can hold.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def page(entries_dir: Path, out_dir: Path) -> list[Path]:
    """Write the site of all entries below `entries_dir`, remove the pages of entries that are no more, and return the
    written files. Raises UsageError as `find_entries` and `board`; nothing is written then."""
    files = _files(entries_dir, out_dir)
    if out_dir.exists() and not out_dir.is_dir():
        raise UsageError(f"{out_dir} is a file; name a folder for the site")
    for path, text in files.items():
        with replacing(path) as partial:
            partial.write_text(text, encoding="utf-8", newline="\n")
    for path in _pages(out_dir):
        if path not in files:
            path.unlink()
    return list(files)


def check(entries_dir: Path, out_dir: Path) -> list[str]:
    """Return the names of the files of a site that are missing, differ from what `page` would write, or are left from
    entries that are no more; none if the site is what it should be. Raises UsageError as `page`."""
    files = _files(entries_dir, out_dir)
    stale = [path for path, text in files.items() if not path.is_file() or path.read_bytes() != text.encode()]
    stale += [path for path in _pages(out_dir) if path not in files]
    return sorted(str(path) for path in stale)


def _files(entries_dir: Path, out_dir: Path) -> dict[Path, str]:
    texts = site(_entries(entries_dir), find_gaps(entries_dir))
    return {out_dir / name: text for name, text in texts.items()}


def site(entries: Sequence[Entry], gaps: Mapping[str, Gap]) -> dict[str, str]:
    """Return the text of every file of the site, by its name below the site's folder."""
    suites = list(boards(entries, gaps).values())
    templates = _templates()
    files = {"index.html": _index(templates, suites, entries)}
    files |= {f"assets/{name}": _asset(name) for name in SHARED}
    template = templates.get_template("entry.html.j2")
    places = {row.task: (one, row) for one in suites for row in one.rows if row.cells}
    for entry in entries:
        one, row = places.get(entry.task, (None, None))
        files[link(entry)] = template.render(
            root="../../../",
            policy="style-src 'self' file: 'unsafe-inline'; script-src 'self' file:; img-src data:",
            title=agent_title(entry),
            task_title=row.title if row else entry.task,
            anchor=f"{one.suite}-{row.task}" if one and row else "others",
            siblings=[other for other in entries if _same_agent(entry, other) and other is not entry],
            **values_of(entry, row.scale if row else None),
        )
    return {name: _FORBIDDEN.sub("\ufffd", text) for name, text in files.items()}


def link(entry: Entry) -> str:
    """Return the name of an entry's page below the site's folder."""
    return f"{PAGES}/{entry.task}/{entry.agent}/seed-{entry.seed}.html"


def _entries(folder: Path) -> list[Entry]:
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; make entries first: lmgym leaderboard run")
    return list(find_entries(folder))


def _pages(out_dir: Path) -> Iterator[Path]:
    yield from sorted((out_dir / PAGES).glob("*/*/seed-*.html"))


def _same_agent(one: Entry, other: Entry) -> bool:
    return (one.task, one.agent) == (other.task, other.agent)


def _templates() -> jinja2.Environment:
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= {
        "number": figures.number,
        "percent": _percent,
        "link": lambda entry: jinja2.filters.do_urlencode(link(entry)),
        "wins": _wins,
        "summary": _summary,
        "in_order": _in_order,
        "score_plot": _score_plot,
        "learning_panels": _learning_panels,
    }
    return templates


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _index(templates: jinja2.Environment, suites: Sequence[Board], entries: Sequence[Entry]) -> str:
    theme, script = _asset("theme.js"), _asset("index.js")
    hashes = " ".join(f"'sha256-{_digest(text)}'" for text in (theme, script))
    fullest = max(suites, key=lambda one: sum(len(row.cells) for row in one.rows))
    tasks = {row.task for one in suites for row in one.rows}
    return templates.get_template("index.html.j2").render(
        policy=f"style-src 'unsafe-inline'; script-src {hashes}; img-src data:",
        style=Markup(_asset("style.css")),
        theme=Markup(theme),
        script=Markup(script),
        boards=suites,
        first=fullest.suite,
        others=[entry for entry in entries if entry.task not in tasks],
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _percent(share: Interval | None) -> Interval | None:
    return None if share is None else Interval(*(100 * bound for bound in share))


def _wins(one: Board, agent: str) -> tuple[int, int] | None:
    """Return in how many tasks an agent is best or tied, and of how many; None for one that does not compete."""
    cells = [row.cells[agent] for row in one.rows if agent in row.cells]
    competing = [cell for cell in cells if cell.competes]
    return (sum(cell.best or cell.tied for cell in competing), len(competing)) if competing else None


def _summary(one: Board) -> str:
    """Say what the tables of a suite hold, and what is not there yet."""
    cells = [cell for row in one.rows for cell in row.cells.values()]
    if not cells:
        return "There are no entries of this suite yet. Make some with: lmgym leaderboard run"
    games = sum(len(entry.episodes) for cell in cells for entry in cell.entries)
    missing = len(one.missing)
    explained = all(task in one.gaps for task, _ in one.missing)
    reason = "the list below says why." if explained else "nobody has made them yet."
    empty = f" {missing} {'cells are' if missing > 1 else 'cell is'} empty: {reason}" if missing else ""
    few = sum(cell.num_seeds < 3 for cell in cells if cell.competes)
    seeds = f" {few} {'cells have' if few > 1 else 'cell has'} fewer than three training seeds." if few else ""
    return f"{len(cells)} cells from {games:,} evaluation games.{empty}{seeds}"


def _in_order(cells: Mapping[str, Cell]) -> list[tuple[str, Cell]]:
    """Return cells from the highest mean return to the lowest."""
    return sorted(cells.items(), key=lambda pair: (-pair[1].mean_return.mean, pair[0]))


def _score_plot(row: Row) -> Markup:
    bars = [
        figures.Bar(
            label=cell.title,
            interval=_score(row.scale, cell.mean_return),
            seeds=[row.scale.normalise(float(returns.mean())) for returns in cell.returns],
            published=_published_score(row, agent),
            best=cell.best,
        )
        for agent, cell in _in_order(row.cells)
    ]
    marks = [(0, "worst"), (50, "data"), (100, "best known")]
    label = f"Scores of {len(bars)} agents at {row.title} with intervals; the table below has the numbers"
    return figures.scores(bars, unit="normalised score", marks=marks, label=label)


def _score(scale: Reference, mean: Interval) -> Interval:
    return Interval(*map(scale.normalise, mean))


def _published_score(row: Row, agent: str) -> float | None:
    found = row.published.get(agent)
    return None if found is None else found.score


def _learning_panels(row: Row, one: Board) -> list[tuple[str, Markup]]:
    panels = []
    for cell in (row.cells[agent] for agent in one.columns if agent in row.cells):
        curve = figures.learning([entry.curve for entry in cell.entries if entry.curve])
        if curve is not None:
            panels.append((cell.title, learning_panel(curve, cell.title, row.scale)))
    return panels
