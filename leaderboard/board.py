"""From entries to a board: a row for each game of a suite, a column for each agent, and what the table and the page
show of each cell."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lmgym.env import contract_of
from lmgym.errors import UsageError, unknown
from lmgym.evaluate import evaluation_starts
from lmgym.leaderboard import published, stats
from lmgym.leaderboard.entries import KINDS, Entry, same_recipe, task_name
from lmgym.leaderboard.gaps import Gap
from lmgym.leaderboard.published import Published
from lmgym.leaderboard.references import EVALUATION_SEED, TaskReference, stored_reference
from lmgym.leaderboard.suites import AGENT_KINDS, BESIDE, EXPECTED, METHODS, START, SUITES, TAKEN, TITLES
from lmgym.scores import Interval, Reference

# Of the bootstrap. Fixed, so that the same entries give the same board.
SEED = 0


@dataclass(frozen=True)
class Cell:
    """What one agent did on one game, over its training seeds.

    `episodes` is the number of games of each seed, `errors` how many of all games failed. Return, IQM and turns are
    over the games that came to their end; where some failed there is neither score nor improvement, because leaving
    games out must not improve a result, and the cell is not among the best. `improvement` is the probability that a
    game returns more than one of the clone. `invalid_rate` and `turns` (agent's actions of a game) are means of the
    seeds. `best`: the highest mean return of the row; `tied`: not the best, but not told apart from it.
    """

    task: str
    agent: str
    entries: tuple[Entry, ...]
    mean_return: Interval
    iqm: Interval
    score: Interval | None
    success: Interval | None
    improvement: Interval | None
    invalid_rate: float
    turns: float
    errors: int
    episodes: int
    best: bool = False
    tied: bool = False
    published: Published | None = None

    @property
    def num_seeds(self) -> int:
        """How many trainings went in. With one, intervals are of games only."""
        return len(self.entries)

    @property
    def kind(self) -> str:
        """As in the recipes."""
        return str(self.entries[0].recipe["kind"])

    @property
    def competes(self) -> bool:
        """Whether it may be the best: it learned to play, or was sent in."""
        return self.kind in ("method", "submitted")

    @property
    def title(self) -> str:
        """What people call the agent."""
        return agent_title(self.entries[0])

    @cached_property
    def returns(self) -> list[np.ndarray]:
        """The returns [games] of each seed."""
        return [entry.returns for entry in self.entries]


@dataclass(frozen=True)
class Row:
    """A game. `cells` has an agent only where there are entries. `kendall` is tau-b between the order of our methods by
    mean return and the published order (`published.standing`), over `num_ranked` methods; None where it is not defined.
    `published` is by column, GPT-4's (`gpt4`) included; empty for a game that was not published."""

    task: str
    title: str
    reference: TaskReference
    cells: Mapping[str, Cell]
    published: Mapping[str, Published]
    kendall: float | None
    num_ranked: int

    @property
    def env_id(self) -> str:
        """The id of the game."""
        return self.reference.env_id

    @property
    def scale(self) -> Reference:
        """What scores are normalised with."""
        return self.reference.reference


@dataclass(frozen=True)
class Board:
    """A suite. `columns` are agents: methods, submitted agents, scripted players; `titles` what people call them.
    `gaps`: by task, why cells of its row are empty, where cells are and somebody has said why."""

    suite: str
    rows: tuple[Row, ...]
    columns: tuple[str, ...]
    titles: Mapping[str, str]
    gaps: Mapping[str, Gap]

    @property
    def missing(self) -> list[tuple[str, str]]:
        """Task and agent of the cells that are empty though everybody expects them; submitted agents may choose."""
        return [(row.task, agent) for row in self.rows for agent in EXPECTED if agent not in row.cells]


def agent_title(entry: Entry) -> str:
    """Return what people call an agent: ours by the names of `suites`, others by the names they gave themselves."""
    return {**METHODS, **BESIDE}.get(entry.agent, str(entry.recipe["title"]))


def board(entries: Iterable[Entry], suite: str) -> Board:
    """Make the board of one suite, `full` or `mini`, as `boards`. Raises UsageError for another, too."""
    if suite not in SUITES:
        raise unknown("suite", suite, SUITES)
    return _boards(entries, [suite], {})[suite]


def boards(entries: Iterable[Entry], gaps: Mapping[str, Gap] | None = None) -> dict[str, Board]:
    """Make the boards of all suites from all entries; those of games that are in no suite are left out.

    Raises UsageError, with the folders, where an entry was made with another version of its game, where the entries of
    a cell differ in more than their seed, and where an agent takes the name of another kind of agent. What `gaps` say
    of a row without empty cells is left out.
    """
    return _boards(entries, list(SUITES), gaps or {})


def _boards(entries: Iterable[Entry], suites: Sequence[str], gaps: Mapping[str, Gap]) -> dict[str, Board]:
    found: dict[str, dict[str, list[Entry]]] = {task: {} for suite in suites for task in SUITES[suite]}
    for entry in entries:
        if entry.task in found:
            _require_same_game(entry, stored_reference(entry.task))
            _require_official_games(entry)
            _require_own_name(entry)
            found[entry.task].setdefault(entry.agent, []).append(entry)
    rows = {task: _row(task, agents) for task, agents in found.items()}
    return {suite: _board(suite, [rows[task] for task in SUITES[suite]], gaps) for suite in suites}


def _board(suite: str, rows: Sequence[Row], gaps: Mapping[str, Gap]) -> Board:
    others: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
    for cell in (cell for row in rows for cell in row.cells.values()):
        others[cell.kind].setdefault(cell.agent, cell.title)
    found = {kind: {name: titles[name] for name in sorted(titles)} for kind, titles in others.items()}
    titles = {**METHODS, **found["method"], **found["submitted"], **BESIDE}
    own = {row.task: gaps[row.task] for row in rows if row.task in gaps and not row.cells.keys() >= set(EXPECTED)}
    return Board(suite, tuple(rows), tuple(titles), titles, own)


def _require_same_game(entry: Entry, reference: TaskReference) -> None:
    game = entry.recipe["game"]
    if entry.task != task_name(game["env_id"], game["env_kwargs"]) or game["env_id"] != reference.env_id:
        raise UsageError(f"{entry.folder} says of itself that it is {entry.task}, and its game is {game['env_id']}")
    if game["fingerprint"] != reference.fingerprint:
        raise UsageError(
            f"{entry.folder} is stale: it was made with another {game['env_id']} than that of leaderboard/"
            f"references.json; remove it and make it again: {entry.recipe['command']}"
        )


def _require_official_games(entry: Entry) -> None:
    game = entry.recipe["game"]
    starts = evaluation_starts(contract_of(game["env_id"], game["env_kwargs"]), len(entry.episodes), EVALUATION_SEED)
    official = [(start.seed, json.loads(json.dumps(start.options))) for start in starts]
    if [(line.seed, line.options) for line in entry.episodes] != official:
        raise UsageError(
            f"{entry.folder} holds other games than the official ones of series {EVALUATION_SEED}, in order"
        )


def _require_own_name(entry: Entry) -> None:
    kind = entry.recipe["kind"]
    if kind == "submitted" and not TAKEN.isdisjoint({entry.agent.lower(), str(entry.recipe["title"]).strip().lower()}):
        raise UsageError(f"{entry.folder} is a submitted agent with the name of one of lmgym's; choose another name")
    reserved = AGENT_KINDS.get(entry.agent, kind)
    if kind != reserved:
        raise UsageError(f"{entry.folder} is a {kind} agent with the name of a {reserved} one; choose another name")


def _row(task: str, agents: Mapping[str, Sequence[Entry]]) -> Row:
    reference, name = stored_reference(task), task.removesuffix("-v0")
    printed = published.published_row(task)
    alone = {agent: _cell(reference.reference, sorted(found, key=_seed)) for agent, found in agents.items()}
    tied = _tied(alone)
    highest = max((alone[agent].mean_return.mean for agent in tied), default=0.0)
    cells = {
        agent: replace(
            cell,
            improvement=_improvement(cell, alone.get(START)),
            best=agent in tied and cell.mean_return.mean == highest,
            tied=agent in tied and cell.mean_return.mean < highest,
            published=printed.get(agent),
        )
        for agent, cell in alone.items()
    }
    ours = {agent: cell.mean_return.mean for agent, cell in cells.items() if agent in METHODS and not cell.errors}
    theirs = published.standing(name) if printed else {}
    kendall = stats.kendall_tau_b(ours, theirs)
    return Row(task, TITLES[task], reference, cells, printed, kendall, len(ours.keys() & theirs.keys()))


def _seed(entry: Entry) -> int:
    return entry.seed


def _cell(scale: Reference, entries: Sequence[Entry]) -> Cell:
    first = entries[0]
    for other in entries[1:]:
        difference = same_recipe(first.recipe, other.recipe)
        if difference is not None:
            raise UsageError(
                f"{first.folder} and {other.folder} share a cell and were made with different {difference}; "
                f"remove one and make it again as the other was made"
            )
    policies = [entry.recipe["policy"] for entry in entries if entry.recipe["policy"] is not None]
    if len(set(policies)) < len(policies):
        raise UsageError(f"two seeds of {first.folder.parent} are the same policy: one training counts once")
    ended = [[line for line in entry.episodes if line.error is None] for entry in entries]
    for entry, lines in zip(entries, ended, strict=True):
        if not lines:
            raise UsageError(f"{entry.folder} has no game that came to its end; remove it and make it again")
    summary = stats.summarise([entry.returns for entry in entries], seed=SEED)
    errors = sum(entry.num_errors for entry in entries)
    successes = [entry.successes for entry in entries]
    known = [success for success in successes if success is not None]
    return Cell(
        task=first.task,
        agent=first.agent,
        entries=tuple(entries),
        mean_return=_interval(summary.mean),
        iqm=_interval(summary.iqm),
        score=None if errors else _interval(stats.score(summary.mean, scale)),
        success=_interval(stats.share(known, seed=SEED)) if len(known) == len(successes) else None,
        improvement=None,
        invalid_rate=float(np.mean([entry.invalid_rate for entry in entries])),
        turns=float(np.mean([np.mean([line.turns for line in lines]) for lines in ended])),
        errors=errors,
        episodes=int(first.recipe["evaluation"]["episodes"]),
    )


def _interval(estimate: stats.Estimate) -> Interval:
    return Interval(*estimate[:3])


def _tied(cells: Mapping[str, Cell]) -> set[str]:
    """Return the best agents of a row that learned something, or were sent in; empty where there is no competition."""
    competing = {agent: cell.returns for agent, cell in cells.items() if cell.competes and not cell.errors}
    return stats.tied_with_best(competing, seed=SEED) if len(competing) > 1 else set()


def _improvement(cell: Cell, start: Cell | None) -> Interval | None:
    if start is None or cell.agent == START or cell.errors or start.errors:
        return None
    return _interval(stats.improvement(cell.returns, start.returns, seed=SEED))
