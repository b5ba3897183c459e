"""What the leaderboard's commands print."""

from collections.abc import Mapping, Sequence

from rich.table import Table

from lmgym.env import contract_of
from lmgym.leaderboard.entries import Entry
from lmgym.leaderboard.presets import Job, Plan
from lmgym.leaderboard.published import published_row
from lmgym.leaderboard.stats import summarise
from lmgym.leaderboard.suites import BESIDE, METHODS
from lmgym.tasks import output_console


def print_plan(
    plan: Plan, jobs: Sequence[Job], workers: int, estimates: Mapping[Job, float], errors: Mapping[Job, str]
) -> None:
    """Print the matrix: a line per game and agent, with the state of its seeds and how long the missing ones take."""
    table = Table(title=f"preset {plan.preset.name}: {len(jobs)} entries in {plan.entries}")
    for heading in ("game", "agent", "seeds", "there", "failed", "to do", "seconds each"):
        table.add_column(heading, justify="left" if heading in ("game", "agent") else "right")
    rows: dict[tuple[str, str], list[Job]] = {}
    for job in jobs:
        rows.setdefault((job.task.name, job.agent), []).append(job)
    for (task, agent), row in rows.items():
        there = sum(plan.entry(job).exists() for job in row)
        failed = sum(job in errors for job in row)
        seconds = estimates.get(row[0])
        counts = (str(count or "") for count in (len(row), there, failed, len(row) - there))
        table.add_row(task, agent, *counts, "?" if seconds is None else f"{seconds:,.0f}")
    console = output_console()
    console.print(table)
    left = [job for job in jobs if not plan.entry(job).exists()]
    known = sum(estimates.get(job, 0.0) for job in left)
    unknown = sum(job not in estimates for job in left)
    console.print(
        f"{len(left)} to do, {workers} at a time: about {duration(known / workers)}"
        + (f" and {unknown} of unknown length (none like them has been made yet)" if unknown else ""),
        highlight=False,
    )


def print_results(entries: Sequence[Entry]) -> None:
    """Print a table for each game: a line per agent, over its seeds, beside what was published."""
    games: dict[str, dict[str, list[Entry]]] = {}
    for entry in entries:
        games.setdefault(entry.task, {}).setdefault(entry.agent, []).append(entry)
    for task, agents in games.items():
        table = Table(title=task)
        for heading in HEADINGS:
            table.add_column(heading, justify="left" if heading == "agent" else "right")
        order = [*BESIDE, *METHODS]
        for agent in sorted(agents, key=lambda name: order.index(name) if name in order else len(order)):
            table.add_row(*_result(agents[agent]))
        output_console().print(table)
    print("score: 0 worst possible return, 50 mean of the offline data, 100 best known return; published: LMRL-Gym's")


HEADINGS = ("agent", "return", "95 % interval", "score", "published", "success", "invalid", "seeds x games", "seconds")


def _result(entries: Sequence[Entry]) -> tuple[str, ...]:
    first = entries[0]
    mean = summarise([entry.returns for entry in entries], seed=0).mean
    game = first.recipe["game"]
    scale = contract_of(game["env_id"], game["env_kwargs"]).reference
    success = [entry.successes for entry in entries]
    shares = [float(known.mean()) for known in success if known is not None]
    published = published_score(first)
    seconds = sum(value or 0.0 for entry in entries for value in entry.recipe["made"]["seconds"].values())
    whole = scale is not None and not any(entry.num_errors for entry in entries)
    return (
        first.agent,
        f"{mean.value:.2f}",
        f"{mean.low:.2f} to {mean.high:.2f}",
        f"{scale.normalise(mean.value):.1f}" if scale is not None and whole else "-",
        "-" if published is None else f"{published:.1f}",
        f"{sum(shares) / len(shares):.3f}" if len(shares) == len(entries) else "-",
        f"{sum(entry.invalid_rate for entry in entries) / len(entries):.2%}",
        f"{len(entries)} x {len(first.episodes):,}",
        f"{seconds / len(entries):.0f}",
    )


def published_score(entry: Entry) -> float | None:
    """Return what LMRL-Gym published for an entry's game and method, None where it did not."""
    found = published_row(entry.task).get(entry.agent)
    return None if found is None else found.score


def duration(seconds: float) -> str:
    """Return a length of time in words.

    >>> duration(42), duration(600), duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
