"""What the leaderboard's commands print."""

from collections.abc import Mapping, Sequence

from rich.table import Table

from lmgym.leaderboard.making import Plan
from lmgym.leaderboard.presets import Job
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


def duration(seconds: float) -> str:
    """Return a length of time in words.

    >>> duration(42), duration(600), duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
