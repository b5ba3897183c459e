"""The commands `lmgym leaderboard ...`, one dataclass each: its fields are the options, `run` does the work."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from lmgym.chat_agent import ChatOptions
from lmgym.commands import DecodingOptions, require_positive
from lmgym.errors import UsageError

if TYPE_CHECKING:
    from lmgym.leaderboard.presets import Task

# Where this repository keeps what has been published.
PUBLISHED = Path("leaderboard")


@dataclass(frozen=True)
class Run:
    """Make the entries of a matrix of games, methods and seeds, those that are not there yet; then table and page."""

    preset: str = "quick"
    """quick (one game, minutes), standard (ten small games), full (the ten games), or a TOML file like presets.toml."""
    tasks: tuple[str, ...] = ()
    """Games: FOMaze-v0 my_pkg:Shop-v0,size=3 ...; those of the preset if left out."""
    methods: tuple[str, ...] = ()
    """Methods, and random, behaviour, expert, bc_greedy; all if left out."""
    seeds: int | None = None
    """How many training seeds, counted from 0; as the preset says if left out."""
    seed: int | None = None
    """One training seed alone."""
    jobs: int | None = None
    """Entries at a time, each in a process of its own; the processor's cores are divided among them. One for each two
    GiB of memory and each core if left out, one on a GPU."""
    threads: int | None = None
    """Processor threads of each entry, on which the last digits of its numbers depend; cores divided by --jobs if left
    out."""
    out: Path | None = None
    """Folder of the work; runs/leaderboard-PRESET if left out. The same command goes on where it stopped."""
    entries: Path | None = None
    """Folder of the entries; OUT/entries if left out."""
    dry_run: bool = False
    """Only print what would be done, and how long it takes where that is known."""

    def run(self) -> int:
        from lmgym.leaderboard.entries import read_entry
        from lmgym.leaderboard.estimates import estimates
        from lmgym.leaderboard.making import require_current
        from lmgym.leaderboard.matrix import failures
        from lmgym.leaderboard.matrix import run as run_matrix
        from lmgym.leaderboard.presets import Plan, jobs_of, load_preset
        from lmgym.leaderboard.shown import print_plan, print_results
        from lmgym.progress import console

        preset = load_preset(self.preset)
        jobs = jobs_of(preset, self.tasks, self.methods, self._seeds(preset.seeds))
        if not jobs:
            raise UsageError(
                f"there is nothing to make: the games have no {' and no '.join(self.methods)} of their own"
            )
        workers = default_jobs() if self.jobs is None else self.jobs
        require_positive("jobs", workers)
        # Not by the number of entries to make: one made alone is to be as those that were made side by side.
        threads = max(1, (os.cpu_count() or 1) // workers) if self.threads is None else self.threads
        require_positive("threads", threads)
        workers = min(len(jobs), workers)
        out = self.out or Path("runs") / f"leaderboard-{preset.name}"
        plan = Plan(preset, out, self.entries or out / "entries", threads)
        known = estimates(plan, jobs, {plan.entries, PUBLISHED / "entries"})
        for job in jobs:
            require_current(job, plan)
        if self.dry_run:
            print_plan(plan, jobs, workers, known, failures(plan, jobs))
            return 0
        errors = run_matrix(plan, jobs, workers, known)
        entries = [read_entry(plan.entry(job)) for job in jobs if plan.entry(job).exists()]
        if entries:
            from lmgym.leaderboard.page import page

            print_results(entries)
            print(page(plan.entries, out / "site")[0])
        for job, error in errors.items():
            console.print(f"{job.name} failed: {error}", markup=False, highlight=False)
        return 1 if errors else 0

    def _seeds(self, usual: int) -> Sequence[int]:
        if self.seed is not None and self.seeds is not None:
            raise UsageError("--seed names one seed and --seeds says how many: give one of the two")
        if self.seed is not None:
            require_seed(self.seed)
            return [self.seed]
        count = usual if self.seeds is None else self.seeds
        require_positive("seeds", count)
        return range(count)


def require_seed(seed: int) -> None:
    """Raise UsageError for a seed below 0."""
    if seed < 0:
        raise UsageError(f"--seed is 0 or more, not {seed}")


def default_jobs() -> int:
    """Return how many entries to make at a time: as cores and memory bear, one where a GPU does the work."""
    import torch

    if torch.cuda.is_available():
        return 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(os.cpu_count() or 1, memory // (2 << 30)))


@dataclass(frozen=True)
class Table:
    """Make the tables, README.md, table.csv and table.tex, from the entries, and print the scores."""

    entries: Path = PUBLISHED / "entries"
    """Folder of the entries."""
    out: Path = PUBLISHED
    """Folder of the tables."""
    check: bool = False
    """Only say which files are stale; exit status 1 if any is."""

    def run(self) -> int:
        from lmgym.leaderboard.table import check, table

        return report_stale(check(self.entries, self.out)) if self.check else table(self.entries, self.out)


@dataclass(frozen=True)
class Page:
    """Make the static site from the entries: tables, plots, a page for each entry with games to step through."""

    entries: Path = PUBLISHED / "entries"
    """Folder of the entries."""
    out: Path = PUBLISHED / "site"
    """Folder of the site."""
    check: bool = False
    """Only say which files are stale; exit status 1 if any is."""

    def run(self) -> int:
        from lmgym.leaderboard.page import check, page

        if self.check:
            return report_stale(check(self.entries, self.out))
        print(page(self.entries, self.out)[0])
        return 0


def report_stale(files: Sequence[str]) -> int:
    """Print the names of stale files and return the exit status."""
    for name in files:
        print(f"stale: {name}")
    return 1 if files else 0


@dataclass(frozen=True)
class Verify:
    """Play the evaluation of an entry again and say whether its numbers hold, game by game; exit status 1 if not."""

    entry: tyro.conf.Positional[Path]
    """Folder of an entry."""
    run_folder: Path | None = None
    """The training run that the entry was made with; where `leaderboard run` leaves it if left out."""
    retrain: Path | None = None
    """Train the agent once more, as the recipe says, in this folder."""
    agent: str | None = None
    """A submitted agent; its recipe says what it was submitted as."""
    json: bool = False
    """Print JSON, with every game that differs."""

    def run(self) -> int:
        import json

        from lmgym.leaderboard.verify import as_dict, verdict, verify

        comparison = verify(self.entry, run=self.run_folder, agent=self.agent, retrain=self.retrain)
        print(json.dumps(as_dict(comparison), indent=2) if self.json else f"{self.entry} {verdict(comparison)}")
        return 1 if comparison.differing else 0


@dataclass(frozen=True)
class Submit:
    """Play the official evaluation games with an agent and write its entries, ready for a pull request.

    Interrupted, the same command goes on where it was."""

    agent: tyro.conf.Positional[str]
    """A run folder, openai:MODEL[@BASE_URL], hf:MODEL, my_pkg:MyAgent."""
    tasks: tuple[str, ...]
    """Games: FOMaze-v0 Wordle-v0 ..."""
    name: str
    """What the agent is called in the table."""
    seed: int = 0
    """Seed of its training, where it was trained with several."""
    entries: Path = PUBLISHED / "entries"
    """Folder of the entries."""
    decoding: DecodingOptions = field(default_factory=DecodingOptions)
    """How a policy chooses tokens."""
    chat: ChatOptions = field(default_factory=ChatOptions)
    """How a chat model plays."""

    def run(self) -> int:
        from lmgym.leaderboard.presets import Task
        from lmgym.leaderboard.shown import print_results
        from lmgym.leaderboard.submit import submit

        require_seed(self.seed)
        tasks = [Task.of(text) for text in self.tasks]
        todo = [task for task in tasks if not self._is_there(task)]
        tasks = todo or tasks  # where all are there, say so
        settings = self.decoding.given()
        made = [
            submit(self.agent, task, self.entries, self.name, self.seed, settings=settings, chat=self.chat)
            for task in tasks
        ]
        print_results(made)
        for entry in made:
            print(entry.folder)
        return 0

    def _is_there(self, task: "Task") -> bool:
        """Return whether an interrupted command has made a game's entry. Raises UsageError for one of another agent."""
        from lmgym.leaderboard.entries import read_entry
        from lmgym.leaderboard.submit import entry_folder

        folder = entry_folder(self.entries, task, self.name, self.seed)
        if not folder.exists():
            return False
        if (found := read_entry(folder).recipe["settings"].get("agent")) != self.agent:
            raise UsageError(f"{folder} is of {found!r}, not of {self.agent!r}: choose another --name")
        return True


@dataclass(frozen=True)
class References:
    """Measure again what scores are measured against, and write leaderboard/references.json."""

    tasks: tuple[str, ...] = ()
    """Games of the suites; all if left out."""
    check: bool = False
    """Only say what of the file no longer holds; exit status 1 if anything does not."""

    def run(self) -> int:
        from lmgym.leaderboard.references import references

        return references(self.tasks, check=self.check)


COMMANDS: dict[str, type] = {
    "leaderboard run": Run,
    "leaderboard table": Table,
    "leaderboard page": Page,
    "leaderboard verify": Verify,
    "leaderboard submit": Submit,
    "leaderboard references": References,
}
