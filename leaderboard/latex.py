"""The scores of the leaderboard as LaTeX tables, for the package booktabs."""

from collections.abc import Mapping, Sequence

from lmgym.leaderboard.board import Board, Cell
from lmgym.leaderboard.published import Published
from lmgym.leaderboard.suites import BESIDE

HEAD = "% Made by `lmgym leaderboard table`; do not edit. \\usepackage{booktabs}\n"

CAPTION = (
    "Normalised scores of the {suite} suite of lmgym: 0 worst possible return, 50 mean of the offline data, 100 best "
    "known return. Brackets: 95\\,\\% bootstrap intervals over training seeds and games; $^{{1}}$ one training seed, "
    "games only. Bold: best of the row; $\\approx$: not told apart from it. Published: LMRL-Gym (arXiv 2311.18232); "
    "$^{{\\dagger}}$ cannot be recomputed from the published return."
)

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def latex(boards: Mapping[str, Board]) -> str:
    """Return one table for each suite that has entries."""
    tables = [_table(board) for board in boards.values() if any(row.cells for row in board.rows)]
    return "\n".join([HEAD, *(tables or ["% There are no entries yet.\n"])])


def _table(board: Board) -> str:
    agents = [agent for agent in board.columns if agent not in BESIDE or any(agent in r.cells for r in board.rows)]
    lines = []
    for row in board.rows:
        lines.append(_line([escaped(row.title), *(_score(row.cells.get(agent)) for agent in agents)]))
        if row.published:
            shown = [row.published.get(agent) for agent in agents]
            lines.append(_line([r"\quad\emph{published}", *("" if one is None else _published(one) for one in shown)]))
    return "\n".join(
        [
            r"\begin{table*}",
            r"\centering\scriptsize",
            rf"\caption{{{CAPTION.format(suite=board.suite)}}}",
            rf"\label{{tab:lmgym-{board.suite}}}",
            rf"\begin{{tabular}}{{l{'r' * len(agents)}}}",
            r"\toprule",
            _line(["Game", *(escaped(board.titles[agent]) for agent in agents)]),
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table*}",
            "",
        ]
    )


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _score(cell: Cell | None) -> str:
    if cell is None or cell.score is None:
        return ""
    score = cell.score
    mean = rf"\textbf{{{_number(score.mean)}}}" if cell.best else _number(score.mean)
    one_seed = "$^{1}$" if cell.num_seeds == 1 and cell.kind in ("method", "control") else ""
    tie = r" $\approx$" if cell.tied else ""
    return f"{mean}{tie} [{_number(score.low)}, {_number(score.high)}]{one_seed}"


def _published(published: Published) -> str:
    return _number(published.score) + ("" if published.recomputable else r"$^{\dagger}$")


def _number(value: float) -> str:
    """Return a number with a minus sign that is one."""
    return f"{value:.1f}" if value >= 0 else f"$-${-value:.1f}"


def escaped(text: str) -> str:
    r"""Return text of a user as LaTeX that shows it as it is.

    >>> print(escaped("50% of a_b\\"))
    50\% of a\_b\textbackslash{}
    """
    return "".join(_SPECIAL.get(character, character) for character in " ".join(text.split()))
