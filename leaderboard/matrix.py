"""Many entries, each made by a process of its own: what is missing is made, in any order that the clones allow.

A job is locked while it is at work, so that commands side by side never do the same one twice; the lock ends with the
process, however that ends. What fails is written down and the rest goes on; the same command tries it again.
"""

import contextlib
import json
import multiprocessing
import os
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from lmgym.errors import UsageError
from lmgym.files import locked, write_json
from lmgym.leaderboard.making import make
from lmgym.leaderboard.presets import Job, Plan
from lmgym.progress import console, reported_to
from lmgym.rollout import described as described_error

# How long to wait before looking again whether another command has finished a job, in seconds.
PATIENCE = 1.0


@dataclass
class Work:
    """A job at work."""

    job: Job
    process: BaseProcess
    connection: Connection
    bar: TaskID
    begun: float = field(default_factory=time.perf_counter)


def failure_file(plan: Plan, job: Job) -> Path:
    """Return where the error of a failed job is written."""
    return plan.out / "failed" / f"{job.name}.json"


def run(plan: Plan, jobs: Sequence[Job], workers: int, estimates: Mapping[Job, float]) -> dict[Job, str]:
    """Make the entries that are missing, `workers` at a time, and return the errors of those that failed.

    `estimates` are seconds, where they are known, and decide the order as well: the longest first.
    """
    return _Matrix(plan, jobs, estimates).run(workers)


class _Matrix:
    def __init__(self, plan: Plan, jobs: Sequence[Job], estimates: Mapping[Job, float]) -> None:
        self.plan, self.estimates = plan, estimates
        self.todo = [job for job in jobs if not plan.entry(job).exists()]
        self.todo.sort(key=lambda job: (job.start is not None, -estimates.get(job, 0.0)))
        self.total, self.found = len(jobs), len(jobs) - len(self.todo)
        self.working: list[Work] = []
        self.elsewhere: dict[Job, float] = {}
        self.errors: dict[Job, str] = {}
        # Processes are forked from one that has imported what all need and has not computed anything yet.
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["lmgym.leaderboard.preloaded", "transformers.models.llama"])

    def run(self, workers: int) -> dict[Job, str]:
        columns = [
            TextColumn("{task.description}"),
            BarColumn(30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[facts]}"),
        ]
        with Progress(*columns, console=console) as self.bars, self._ending():
            self.overall = self.bars.add_task("entries", total=self.total, completed=self.found, facts="")
            while self.todo or self.working:
                while len(self.working) < workers and (job := self._next()) is not None:
                    self._start(job)
                self._listen()
                self.bars.update(self.overall, facts=self._time_left(workers))
        return self.errors

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        """End the processes with the block, also where it is interrupted."""
        try:
            yield
        finally:
            for work in self.working:
                work.process.terminate()
            for work in self.working:
                work.process.join()

    def _next(self) -> Job | None:
        """Take the next job whose clone is there. One that is made elsewhere is looked at again after a while."""
        now = time.perf_counter()
        for job in self.todo:
            if self.plan.entry(job).exists():
                self.todo.remove(job)
                self._done(job, "made by another process")
                return self._next()
            if now - self.elsewhere.get(job, -PATIENCE) >= PATIENCE and not self._waits(job):
                self.todo.remove(job)
                return job
        return None

    def _waits(self, job: Job) -> bool:
        """Return whether a job's clone is one of the entries still to be made."""
        return job.start is not None and (job.start in self.todo or any(work.job == job.start for work in self.working))

    def _start(self, job: Job) -> None:
        mine, its = self.context.Pipe()
        process = self.context.Process(target=_work, args=(job, self.plan, its), daemon=True)
        process.start()
        its.close()
        bar = self.bars.add_task(f"  {job.name}", total=None, facts="")
        self.working.append(Work(job, process, mine, bar))

    def _listen(self) -> None:
        if not self.working:
            time.sleep(0.1)  # everything left is at work elsewhere
            return
        ready = wait([work.connection for work in self.working], timeout=0.5)
        for work in [work for work in self.working if work.connection in ready]:
            try:
                kind, *facts = work.connection.recv()
            except (EOFError, OSError):
                work.process.join()
                kind, facts = "failed", [f"its process ended with status {work.process.exitcode}"]
            if kind == "progress":
                label, done, total = facts
                self.bars.update(work.bar, completed=done, total=total, facts=label)
            else:
                self._end(work, kind, *facts)

    def _end(self, work: Work, kind: str, *facts: str) -> None:
        self.working.remove(work)
        work.connection.close()
        work.process.join()
        self.bars.remove_task(work.bar)
        if kind == "elsewhere":
            self.elsewhere[work.job] = time.perf_counter()
            self.todo.append(work.job)
        elif kind == "found":
            self._done(work.job, "made by another process")
        elif kind == "done":
            failure_file(self.plan, work.job).unlink(missing_ok=True)
            self._done(work.job, f"{time.perf_counter() - work.begun:.0f} s")
        else:
            self._fail(work.job, *facts)

    def _done(self, job: Job, how: str) -> None:
        self.elsewhere.pop(job, None)
        self.bars.advance(self.overall)
        console.print(f"{job.name}: {how}", highlight=False)

    def _fail(self, job: Job, error: str, trace: str = "") -> None:
        self.errors[job] = error
        write_json(failure_file(self.plan, job), {"job": job.name, "error": error, "trace": trace})
        console.print(f"{job.name}: [red]failed[/]: ", end="")
        console.print(error, markup=False, highlight=False)
        for other in [other for other in self.todo if other.start == job]:
            self.todo.remove(other)
            self._fail(other, f"its clone failed: {error}")

    def _time_left(self, workers: int) -> str:
        """Return how long the rest takes, from the jobs whose length is known."""
        if any(job not in self.estimates for job in [*self.todo, *(work.job for work in self.working)]):
            return ""
        left = [self.estimates[job] for job in self.todo]
        for work in self.working:
            known, spent = self.estimates[work.job], time.perf_counter() - work.begun
            left.append(max(known - spent, 0.05 * known))
        return f"about {max(sum(left) / workers, *left) / 60:.0f} min left" if left else ""


def _work(job: Job, plan: Plan, connection: Connection) -> None:
    """Make an entry, in a process of its own."""
    _end_with_parent(connection)
    log = plan.out / "logs" / f"{job.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file, contextlib.suppress(BrokenPipeError):
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        connection.send(_outcome(job, plan, connection))


def _outcome(job: Job, plan: Plan, connection: Connection) -> tuple[Any, ...]:
    last = 0.0

    def tell(label: str, done: int, total: int) -> None:
        nonlocal last
        if time.perf_counter() - last >= 0.2 or done in (0, total):
            last = time.perf_counter()
            connection.send(("progress", label, done, total))

    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked(plan.out / "locks", job.name.replace("/", "-")))
        except UsageError:
            return ("elsewhere",)
        if plan.entry(job).exists():
            return ("found",)
        try:
            with reported_to(tell):
                make(job, plan)
        except BrokenPipeError:
            raise
        except Exception as error:
            return "failed", described_error(error), traceback.format_exc()
    return ("done",)


def _end_with_parent(connection: Connection) -> None:
    """End this process as soon as the one that started it is gone, however that ended: it sends nothing, so that there
    is only the end to read."""

    def watch() -> None:
        wait([connection])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def failures(plan: Plan, jobs: Sequence[Job]) -> dict[Job, str]:
    """Return the errors that earlier commands have written down, of entries that nobody has made since."""
    found = {}
    for job in jobs:
        path = failure_file(plan, job)
        if path.exists() and not plan.entry(job).exists():
            found[job] = str(json.loads(path.read_text(encoding="utf-8"))["error"])
    return found
