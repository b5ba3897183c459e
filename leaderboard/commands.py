"""The commands `lmgym leaderboard ...`, one dataclass each: its fields are the options, `run` does the work."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from lmgym.commands import require_positive
from lmgym.errors import UsageError

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
    """Methods, and random, behaviour, expert; all if left out."""
    seeds: int | None = None
    """How many training seeds, counted from 0; as the preset says if left out."""
    seed: int | None = None
    """One training seed alone."""
    jobs: int | None = None
    """Entries at a time, each in a process of its own; the processor's cores are divided among them. One for each two
    GiB of memory and each core if left out, one on a GPU."""
    out: Path | None = None
    """Folder of the work; runs/leaderboard-PRESET if left out. The same command goes on where it stopped."""
    entries: Path | None = None
    """Folder of the entries; OUT/entries if left out."""
    dry_run: bool = False
    """Only print what would be done, and how long it takes where that is known."""

    def run(self) -> int:
        from lmgym.leaderboard.estimates import estimates
        from lmgym.leaderboard.making import Plan
        from lmgym.leaderboard.matrix import failures
        from lmgym.leaderboard.matrix import run as run_matrix
        from lmgym.leaderboard.presets import jobs_of, load_preset
        from lmgym.progress import console

        preset = load_preset(self.preset)
        jobs = jobs_of(preset, self.tasks, self.methods, self._seeds(preset.seeds))
        workers = min(len(jobs), default_jobs() if self.jobs is None else self.jobs)
        require_positive("jobs", workers)
        out = self.out or Path("runs") / f"leaderboard-{preset.name}"
        plan = Plan(preset, out, self.entries or out / "entries", threads=max(1, (os.cpu_count() or 1) // workers))
        known = estimates(plan, jobs, {plan.entries, PUBLISHED / "entries"})
        if self.dry_run:
            from lmgym.leaderboard.shown import print_plan

            print_plan(plan, jobs, workers, known, failures(plan, jobs))
            return 0
        errors = run_matrix(plan, jobs, workers, known)
        for job, error in errors.items():
            console.print(f"{job.name} failed: {error}", markup=False, highlight=False)
        return 1 if errors else 0

    def _seeds(self, usual: int) -> Sequence[int]:
        if self.seed is not None and self.seeds is not None:
            raise UsageError("--seed names one seed and --seeds says how many: give one of the two")
        if self.seed is not None:
            return [self.seed]
        count = usual if self.seeds is None else self.seeds
        require_positive("seeds", count)
        return range(count)


def default_jobs() -> int:
    """Return how many entries to make at a time: as cores and memory bear, one where a GPU does the work."""
    import torch

    if torch.cuda.is_available():
        return 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(os.cpu_count() or 1, memory // (2 << 30)))


COMMANDS: dict[str, type] = {"leaderboard run": Run}
