"""Whether an entry's numbers hold: its games are played again, from the policy it was made with or from a new one."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lmgym.agents import load_agent
from lmgym.chat_agent import ChatOptions
from lmgym.commands import policy_checksum
from lmgym.errors import UsageError
from lmgym.leaderboard.entries import Entry, EpisodeLine, read_entry, same_recipe
from lmgym.leaderboard.making import Plan, make, play
from lmgym.leaderboard.presets import Job, Preset, Task
from lmgym.leaderboard.references import fingerprint
from lmgym.leaderboard.suites import START
from lmgym.rollout import Agent


@dataclass(frozen=True)
class Comparison:
    """An entry's games beside the same games played again."""

    old: list[EpisodeLine]
    new: list[EpisodeLine]

    @property
    def differing(self) -> list[int]:
        """The places of the games that are not the same to the letter."""
        pairs = enumerate(zip(self.old, self.new, strict=True))
        return [place for place, (old, new) in pairs if old != new]

    @property
    def means(self) -> tuple[float, float]:
        """The mean returns, the entry's first."""
        return _mean(self.old), _mean(self.new)


def _mean(lines: Sequence[EpisodeLine]) -> float:
    returns = [line.total for line in lines if line.error is None]
    return sum(returns) / max(1, len(returns))


def verify(folder: Path, *, run: Path | None, agent: str | None, retrain: Path | None) -> Comparison:
    """Play an entry's evaluation again and return the comparison.

    A trained agent is taken from `run`, whose policy must be the one that the entry names, or trained once more, as the
    recipe says, in the folder `retrain`. A submitted one is `agent`, the name that the recipe holds if left out.
    Raises UsageError where the entry is damaged, the game has changed since, or the policy is not there.
    """
    entry = read_entry(folder)
    task = task_of(entry)
    if entry.recipe["game"]["fingerprint"] != fingerprint(task.env_id, task.env_kwargs):
        raise UsageError(f"{task.env_id} does something else than when {folder} was made: the entry is out of date")
    if entry.recipe["kind"] == "method" and retrain is not None:
        return Comparison(entry.episodes, _made_again(entry, task, retrain).episodes)
    if retrain is not None:
        raise UsageError(f"{entry.agent} was not trained by the leaderboard: leave --retrain out")
    player = _player(entry, task, run, agent)
    return Comparison(entry.episodes, play(player, task, entry.recipe["evaluation"]["episodes"]).lines)


def task_of(entry: Entry) -> Task:
    """Return an entry's game."""
    return Task(entry.recipe["game"]["env_id"], entry.recipe["game"]["env_kwargs"])


def _player(entry: Entry, task: Task, run: Path | None, agent: str | None) -> Agent:
    recipe = entry.recipe
    if recipe["kind"] == "scripted":
        return load_agent(entry.agent, task.env_id, task.env_kwargs)
    name = agent or recipe["settings"]["agent"] if recipe["kind"] == "submitted" else str(run or _usual_run(entry))
    found = policy_checksum(name)
    if recipe["policy"] is not None and found is None:
        raise UsageError(
            f"there is no policy in {name}: name its run by --run-folder, or train it again by --retrain DIR"
        )
    if recipe["policy"] != found:
        raise UsageError(f"{name} holds another policy than the one that {entry.folder} was made with")
    chat = ChatOptions(**recipe["settings"].get("options", {}))
    return load_agent(name, task.env_id, task.env_kwargs, settings=recipe["decoding"], chat=chat)


def _usual_run(entry: Entry) -> Path:
    """Return where `leaderboard run` leaves the run of an entry: beside the entries, or where its preset works."""
    work = Path("runs") / f"leaderboard-{entry.recipe['preset']}"
    name = Path("runs") / entry.task / f"{entry.agent}-seed-{entry.seed}"
    beside = entry.folder.absolute().parents[3] / name
    return beside if beside.is_dir() else work / name


def preset_of(entry: Entry) -> Preset:
    """Return a preset that makes a trained entry once more: its game and its settings, nothing else."""
    settings = entry.recipe["settings"]
    own = {entry.agent: settings["method"], "data": settings["data"]}
    clone = {} if settings["start"] is None else {START: settings["start"]}
    game = task_of(entry)
    return Preset(
        name=entry.recipe["preset"],
        tasks=(game.argument,),
        seeds=1,
        tuning_episodes=settings["tuning_episodes"],
        evaluation_episodes=entry.recipe["evaluation"]["episodes"],
        settings={game.argument: {**own, **clone}},
    )


def _made_again(entry: Entry, task: Task, out: Path) -> Entry:
    plan = Plan(preset_of(entry), out, out / "entries", threads=entry.recipe["settings"]["threads"])
    job = Job(task, entry.agent, entry.seed)
    make(job, plan)
    again = read_entry(plan.entry(job))
    odd = same_recipe(entry.recipe, again.recipe)
    if odd is not None:
        raise UsageError(f"the entry made again in {plan.entry(job)} has other {odd}: give --retrain a new folder")
    return again


def verdict(comparison: Comparison) -> str:
    """Return in words what came out."""
    count, odd = len(comparison.old), comparison.differing
    old, new = comparison.means
    if not odd:
        return f"verified: {count:,} of {count:,} games are the same to the letter, mean return {old:.3f}"
    place = odd[0]
    first = f"the first is game {place}: return {comparison.old[place].total:g}, now {comparison.new[place].total:g}"
    return (
        f"NOT verified: {len(odd):,} of {count:,} games differ, {first}; mean return {old:.3f}, now {new:.3f}. "
        "Other processors and versions may round otherwise (see `made` in the recipe)"
    )


def as_dict(comparison: Comparison) -> dict[str, object]:
    """Return the comparison as plain values, a line for each differing game."""
    return {
        "games": len(comparison.old),
        "means": comparison.means,
        "differing": [
            {
                "place": place,
                "old": dataclasses.asdict(comparison.old[place]),
                "new": dataclasses.asdict(comparison.new[place]),
            }
            for place in comparison.differing
        ],
    }
