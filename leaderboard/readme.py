"""The leaderboard as Markdown that reads well as it is, too."""

from collections.abc import Callable, Mapping, Sequence

from rich.cells import cell_len

from lmgym.leaderboard.board import Board, Cell, Row
from lmgym.leaderboard.entries import Entry
from lmgym.leaderboard.published import Published
from lmgym.leaderboard.suites import BESIDE, EXPECTED, METHODS, TITLES
from lmgym.scores import Interval, Score

SUITES = {
    "full": "The ten games with the settings of the publication.",
    "mini": "The mazes, the houses, and small versions of the other six games, for a laptop. Published values stand\n"
    "beside the four games that are the same.",
}
COMMANDS = {"full": "lmgym leaderboard run --preset full", "mini": "lmgym leaderboard run --preset standard"}
GPT4 = "gpt4"
MIN_RANKED = 3  # methods; the order of two says nothing

HEAD = """\
# Leaderboard

What six methods, scripted players and agents that were sent in earn in the games of lmgym. This file is made from the
entries in `entries/` by `lmgym leaderboard table`; do not edit it. Every figure is in [table.csv](table.csv); the
scores are in [table.tex](table.tex) for papers.
"""

FOOT = """\
## How to read it

- **Score.** 0 is the worst possible return of a game, 50 the mean return of its default offline data, 100 the best
  known return; linear between them, not clipped. [references.json](references.json) has the three values of each game,
  how they were found, and what was measured again, by which command. Where a game of an evaluation failed there is no
  score: leaving games out must not improve a result.
- **Intervals** in brackets are of 95 %, by bootstrap: training seeds are drawn with replacement, then games within each
  drawn seed. With three seeds they cover 95 % where trainings hardly differ, and 75 to 80 % where training matters much
  more than the games that were played; `stats.py` says how that was measured.
- **¹** One training seed only: the interval covers the chance of games and nothing of training anew. Scripted players
  are not trained, and their intervals are always of games only.
- **Bold** is the best trained or submitted agent of a row, **≈** marks those that cannot be told from it: the interval
  of the difference contains 0. Nothing corrects for the number of comparisons. What stands out of competition is
  there for comparison: experts may know what agents do not see (in PO Maze the position, which is worth more than 100).
- *published* are the scores of LMRL-Gym ([arXiv 2311.18232](https://arxiv.org/abs/2311.18232), table 2): of another
  model, of one training each, without intervals, with settings chosen on the games that were reported. **†** This score
  cannot be recomputed from the return and the constants that were published with it; compare returns.
- **Order** is Kendall's tau-b between our order of the methods by mean return and the published one: 1 the same, -1
  the reverse.
- **IQM** is the mean of the middle half of the returns. **Invalid** is the share of actions that the game refused.
  **Better than BC** is the probability that a game returns more than a game of the clone that all methods start from,
  equal returns counting half. **Games** are training seeds times evaluation games of each.
- **Play.** Trained agents sample at temperature 1, as published. The weight of learned values (beta: 1, 4, 16, 64 or
  256) is chosen on validation games, never on these. **Greedy BC** is the same clone, taking the likeliest token: where
  it is near 100, the most frequent action of the data is the right one, and sampling is all that BC lacks.

## How to make it again

```sh
{commands}
lmgym leaderboard table --entries runs/leaderboard-full/entries --out runs/leaderboard-full
```

A run makes entries and page of its own below `runs/`. `lmgym leaderboard verify ENTRY` plays the evaluation of an entry
again and says, game by game, whether its numbers hold.

## How to send an agent in

```sh
lmgym leaderboard submit AGENT --tasks FOMaze-v0 --name "My agent"
```

AGENT is a run folder, a hosted model or my_pkg:MyAgent. It plays the official games and writes an entry for a pull
request; [CONTRIBUTING.md](../CONTRIBUTING.md) says how.
"""


def readme(boards: Mapping[str, Board], entries: Sequence[Entry]) -> str:
    """Return the page of all suites."""
    parts = [HEAD]
    for suite, board in boards.items():
        parts += [f"## The {suite} suite\n", SUITES[suite] + "\n", *_suite(board)]
    rows = {row.task: row for board in boards.values() for row in board.rows}
    details = [row for row in rows.values() if row.cells]
    if details:
        parts.append("## Game by game\n")
        parts += [part for row in details for part in _details(row, boards)]
    parts += _not_recomputable(boards)
    parts += _elsewhere(entries)
    parts.append(FOOT.format(commands="\n".join(f"{COMMANDS[suite]:<44}# the {suite} suite" for suite in boards)))
    return "\n".join(parts)


def _suite(board: Board) -> list[str]:
    if not any(row.cells for row in board.rows):
        return ["There are no entries of this suite yet.\n"]
    agents = [agent for agent in board.columns if agent not in BESIDE]
    parts = [_scores(board, agents, published=True), "", "For comparison, out of competition:\n"]
    parts += [_scores(board, [agent for agent in board.columns if agent in BESIDE], published=False), ""]
    orders = [
        f"{row.title} {row.kendall:.2f} ({row.num_ranked} methods)"
        for row in board.rows
        if row.kendall is not None and row.num_ranked >= MIN_RANKED
    ]
    if orders:
        parts.append(f"Order, against the published one: {', '.join(orders)}.\n")
    parts.append(_missing(board) + "\n")
    if board.gaps:
        parts += [f"- **{TITLES[task]}.** {gap.why} To fill it: {gap.takes}" for task, gap in board.gaps.items()]
        parts.append("")
    return parts


def _scores(board: Board, agents: Sequence[str], *, published: bool) -> str:
    shows_gpt4 = published and GPT4 not in agents and any(GPT4 in row.published for row in board.rows)
    head = ["game", *(escaped(board.titles[agent]) for agent in agents), *(["GPT-4"] if shows_gpt4 else [])]
    lines = []
    for row in board.rows:
        filler = [""] * shows_gpt4
        lines.append([row.title, *(_score(row.cells.get(agent)) for agent in agents), *filler])
        if published and row.published:
            shown = [row.published.get(agent) for agent in [*agents, *([GPT4] if shows_gpt4 else [])]]
            lines.append(["*published*", *("" if one is None else published_score(one) for one in shown)])
    return markdown_table(head, lines)


def _score(cell: Cell | None) -> str:
    if cell is None:
        return ""
    if cell.score is None:
        return failed(cell)
    return _emphasis(cell, f"{cell.score.mean:.1f}") + " " + bracketed(cell.score, 1) + _one_seed(cell)


def failed(cell: Cell) -> str:
    """Return why a cell has no score."""
    return f"{cell.errors} game{'s' if cell.errors > 1 else ''} failed"


def _emphasis(cell: Cell, text: str) -> str:
    return f"**{text}**" if cell.best else f"{text}\u00a0≈" if cell.tied else text


def _one_seed(cell: Cell) -> str:
    return "¹" if cell.num_seeds == 1 and cell.kind in ("method", "control") else ""


def bracketed(interval: Interval, digits: int) -> str:
    """Return the bounds of an interval, with a space at which no line is broken."""
    return f"[{interval.low:.{digits}f},\u00a0{interval.high:.{digits}f}]"


def published_score(published: Published, mark: str = "†") -> str:
    """Return a published score, marked where it cannot be recomputed from what was published with it."""
    return f"{published.score:.1f}{'' if published.recomputable else mark}"


def _missing(board: Board) -> str:
    """Return in words which cells are empty: whole rows first, then by agent."""
    total = len(board.rows) * len(EXPECTED)
    if not board.missing:
        return f"All {total} cells are filled."
    bare = [row.task for row in board.rows if not row.cells]
    by_agent: dict[str, list[str]] = {}
    for task, agent in board.missing:
        if task not in bare:
            by_agent.setdefault(board.titles[agent], []).append(TITLES[task])
    listed = [f"all of {', '.join(TITLES[task] for task in bare)}"] if bare else []
    listed += [f"{agent} on {', '.join(tasks)}" for agent, tasks in by_agent.items()]
    return f"{len(board.missing)} of {total} cells are empty because their entries are not made: {'; '.join(listed)}."


def _details(row: Row, boards: Mapping[str, Board]) -> list[str]:
    columns = dict.fromkeys(agent for board in boards.values() for agent in board.columns if row in board.rows)
    digits = 3 if row.scale.best.value - row.scale.min.value <= 10 else 2
    head = ["agent", "return", "IQM", "success", "invalid", "better than BC", "games"]
    head += ["published return"] if row.published else []
    lines = [_detail(row, row.cells[agent], digits) for agent in columns if agent in row.cells]
    scale = {"worst": row.scale.min, "data": row.scale.data, "best known": row.scale.best}
    known = "; ".join(f"{name} {_reference(score)}" for name, score in scale.items())
    return [f"### {row.title}\n", f"`{row.env_id}`. Return: {known}.\n", markdown_table(head, lines), ""]


def _reference(score: Score) -> str:
    return f"{score.value:g} ({score.how})"


def _detail(row: Row, cell: Cell, digits: int) -> list[str]:
    one_seed = _one_seed(cell)

    def shown(interval: Interval | None, digits: int) -> str:
        if interval is None:
            return ""
        return f"{interval.mean:.{digits}f} {bracketed(interval, digits)}{one_seed}"

    mean = _emphasis(cell, f"{cell.mean_return.mean:.{digits}f}")
    lost = f", {cell.errors} failed" if cell.errors else ""
    published = row.published.get(cell.agent)
    theirs = "" if published is None or published.raw_return is None else f"{published.raw_return:g}"
    return [
        escaped(cell.title),
        f"{mean} {bracketed(cell.mean_return, digits)}{one_seed}",
        shown(cell.iqm, digits),
        shown(cell.success, 3),
        f"{cell.invalid_rate:.2%}",
        shown(cell.improvement, 2),
        f"{cell.num_seeds}\u00a0x\u00a0{cell.episodes:,}{lost}",
        *([theirs] if row.published else []),
    ]


def _not_recomputable(boards: Mapping[str, Board]) -> list[str]:
    shown = [board for board in boards.values() if any(row.cells for row in board.rows)]
    lines = []
    for row in {row.task: row for board in shown for row in board.rows}.values():
        for agent, published in row.published.items():
            if not published.recomputable:
                lines.append(f"- {row.title}, {METHODS.get(agent, 'GPT-4')}: {published.reason}.")
    summary = "<summary>Published scores that cannot be recomputed (†), and why</summary>"
    return ["<details>", summary, "", *lines, "", "</details>\n"] if lines else []


def _elsewhere(entries: Sequence[Entry]) -> list[str]:
    counts: dict[str, int] = {}
    for entry in entries:
        if entry.task not in TITLES:
            counts[entry.task] = counts.get(entry.task, 0) + 1
    listed = ", ".join(f"{escaped(task)} ({count})" for task, count in sorted(counts.items()))
    return [f"Entries of games that are in no suite: {listed}.\n"] if counts else []


def escaped(text: str) -> str:
    r"""Return text of a user as Markdown that shows it as it is, in a table, too.

    >>> print(escaped("a|b <script> *x*"))
    a\|b &lt;script&gt; \*x\*
    """
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{character}" if character in "\\`*_[]|~" else character for character in plain)


def markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table whose columns line up as text: the first to the left, the others to the right."""
    widths = [max(3, *(cell_len(line[place]) for line in [head, *lines])) for place in range(len(head))]

    def joined(line: Sequence[str], pad: Callable[[int, str], str]) -> str:
        return "| " + " | ".join(pad(place, text) for place, text in enumerate(line)) + " |"

    def padded(place: int, text: str) -> str:
        filler = " " * (widths[place] - cell_len(text))
        return filler + text if place else text + filler

    rules = ["-" * (width + 1) + ":" if place else ":" + "-" * (width + 1) for place, width in enumerate(widths)]
    return "\n".join([joined(head, padded), f"|{'|'.join(rules)}|", *(joined(line, padded) for line in lines)])
