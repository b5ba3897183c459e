"""Whether an entry's numbers hold: its games are played again, from the policy it was made with or from a new one."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lmgym.agents import load_agent
from lmgym.chat_agent import ChatOptions
from lmgym.commands import policy_checksum
from lmgym.errors import UsageError
from lmgym.files import write_json
from lmgym.leaderboard.entries import Entry, EpisodeLine, read_entry, same_recipe
from lmgym.leaderboard.playing import play
from lmgym.leaderboard.presets import Job, Plan, Preset, Task, run_folder
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
    recipe says, in the folder `retrain`. A submitted one is `agent`, which is never taken from the entry itself.
    Raises UsageError where the entry is damaged, the game has changed since, or the policy is not there.
    """
    entry = read_entry(folder)
    task = task_of(entry)
    if entry.recipe["game"]["fingerprint"] != fingerprint(task.env_id, task.env_kwargs):
        raise UsageError(f"{task.env_id} does something else than when {folder} was made: the entry is out of date")
    if entry.recipe["kind"] in ("method", "control") and retrain is not None:
        return Comparison(entry.episodes, _made_again(entry, retrain).episodes)
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
    if recipe["kind"] == "submitted":
        if agent is None:
            # An entry of a stranger must not choose what is imported here, and which server is sent a key and files.
            raise UsageError(
                f"{entry.folder} was submitted as {recipe['settings'].get('agent')!r}: "
                "if you trust that, name it by --agent"
            )
        name = agent
    else:
        name = str(run or _usual_run(entry))
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
    """Return where `leaderboard run` leaves the training: beside the folder of the entries, unless they were moved."""
    outs = [*entry.folder.absolute().parents[3:4], Path("runs") / f"leaderboard-{entry.recipe['preset']}"]
    folders = [run_folder(out, _job(entry)) for out in outs]
    return next((folder for folder in folders if folder.is_dir()), folders[-1])


def _job(entry: Entry) -> Job:
    return Job(task_of(entry), entry.agent, entry.seed)


def preset_of(entry: Entry) -> Preset:
    """Return a preset that makes a trained entry once more: its game and its settings, nothing else."""
    settings = entry.recipe["settings"]
    own = {_job(entry).learner.agent: settings["method"], "data": settings["data"]}
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


def _made_again(entry: Entry, out: Path) -> Entry:
    from lmgym.leaderboard.making import make

    _require_own_folder(entry, out)
    plan = Plan(preset_of(entry), out, out / "entries", threads=entry.recipe["made"]["threads"])
    job = _job(entry)
    make(job, plan)
    again = read_entry(plan.entry(job))
    odd = same_recipe(entry.recipe, again.recipe)
    if odd is not None:
        raise UsageError(f"the entry made again in {plan.entry(job)} has other {odd}: give --retrain a new folder")
    return again


def _require_own_folder(entry: Entry, out: Path) -> None:
    """Raise UsageError where a folder holds anything but an interrupted retraining of this entry: what lies there would
    be taken for the new training, the entry itself included."""
    note = out / "retrains.json"
    known = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else None
    if known != {"entry": entry.recipe["checksum"]}:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UsageError(f"{out} is not empty: --retrain names a new folder")
        write_json(note, {"entry": entry.recipe["checksum"]})


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
