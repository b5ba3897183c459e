"""How one entry is made: data, clone, training, tuning, evaluation.

What several entries need, the data of a game and the clone of a seed, is made once, by whichever needs it first. Each
stage goes on where an earlier attempt was stopped.
"""

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lmgym.agents import load_agent
from lmgym.commands import set_threads
from lmgym.decoding import Decoding
from lmgym.env import contract_of
from lmgym.errors import UsageError
from lmgym.evaluate import default_episodes
from lmgym.files import read_json, sha256, write_json
from lmgym.leaderboard.entries import read_entry, without_none, write_entry
from lmgym.leaderboard.playing import described, play
from lmgym.leaderboard.presets import Job, Plan, Task
from lmgym.leaderboard.references import fingerprint
from lmgym.leaderboard.suites import AGENT_KINDS, GREEDY
from lmgym.methods import method_module
from lmgym.play import PolicyAgent
from lmgym.policy import RECORD, Policy, best_device
from lmgym.progress import progress
from lmgym.rollout import Agent
from lmgym.run import Recipe, commits_of, opened, read_record
from lmgym.start import collect_once
from lmgym.tune import FILE as TUNED
from lmgym.tune import grid, tune, tuned_decoding, tuning_episodes

# Agents sample as published; what playing greedily is worth, `GREEDY` shows.
TEMPERATURES = (1.0,)


def require_current(job: Job, plan: Plan) -> None:
    """Raise UsageError where a job's entry is there and was made otherwise than the plan would make it."""
    folder = plan.entry(job)
    if not folder.exists():
        return
    recipe, task = read_entry(folder).recipe, job.task
    count = default_episodes(contract_of(task.env_id, task.env_kwargs), plan.preset.evaluation_episodes, task.env_id)
    differences = {
        "another version of its game": recipe["game"]["fingerprint"] != fingerprint(task.env_id, task.env_kwargs),
        "other settings": without_none(recipe["settings"])
        != without_none(json.loads(json.dumps(settings_of(job, plan)))),
        "another number of games": recipe["evaluation"]["episodes"] != count,
    }
    for what, differs in differences.items():
        if differs:
            raise UsageError(f"{folder} was made with {what}; remove it to make it again, or choose another --out")


def make(job: Job, plan: Plan) -> None:
    """Make an entry, unless it is there."""
    set_threads(plan.threads)
    if plan.entry(job).exists():
        return
    folder = None
    if job.is_trained:
        if job.learner.start is not None:
            trained(job.learner.start, plan)
        folder = trained(job.learner, plan)
    write(job, plan, folder)


def trained(job: Job, plan: Plan) -> Path:
    """Train a job's policy, or go on with it, and return its folder."""
    folder, config = plan.run(job), plan.preset.config(job.task, job.agent)
    if job.start is not None:
        config = dataclasses.replace(config, init=str(plan.run(job.start)))
    count = plan.preset.data_episodes(job.task)
    data = None if count is None else str(offline_data(job.task, plan, count))
    recipe = Recipe(job.agent, job.task.env_id, job.task.env_kwargs, job.seed, data, dataclasses.asdict(config))
    with opened(folder, recipe, wait=True) as run:
        run.require_same("game", fingerprint(job.task.env_id, job.task.env_kwargs))
        if not run.finished:
            method_module(job.agent).train(run, config)
    return folder


def offline_data(task: Task, plan: Plan, count: int) -> Path:
    """Return the file of a data set of another size than the game's default, collected once."""
    path = plan.out / "runs" / task.name / f"data-{count}.parquet"
    collect_once(task.env_id, task.env_kwargs, path, count)
    return path


def tuning_episodes_of(job: Job, plan: Plan) -> int:
    """Return how many validation games each setting of play is given."""
    chosen = plan.preset.tuning_episodes
    return tuning_episodes(contract_of(job.task.env_id, job.task.env_kwargs)) if chosen is None else chosen


def player(job: Job, plan: Plan, folder: Path) -> tuple[PolicyAgent, list[dict[str, Any]]]:
    """Return the policy in `folder` as it plays, and what tuning tried.

    Agents sample at temperature 1, as published; the weight of learned values is the one that was best on validation
    games. A policy without values has nothing to tune.
    """
    policy = Policy.from_pretrained(folder).to(best_device())
    decoding = Decoding(temperature=0.0 if job.agent == GREEDY else 1.0, beta=0.0)
    settings, trials = grid(policy, TEMPERATURES), []
    if len(settings) > 1:
        trials = tuned(folder, policy, settings, tuning_episodes_of(job, plan))
        decoding = tuned_decoding(folder)
    return PolicyAgent(policy, name=job.agent, decoding=decoding), trials


def tuned(folder: Path, policy: Policy, settings: list[Decoding], count: int) -> list[dict[str, Any]]:
    """Return what each of the settings earned on `count` validation games, played now unless that was done before."""
    wanted = [dataclasses.asdict(decoding) for decoding in settings]
    known = _trials(folder, count)
    if [trial["decoding"] for trial in known] != wanted:
        with stage(folder, "tune"), progress("tune", count * len(settings)) as bar:
            tune(folder, policy, episodes=count, watch=lambda _: bar.advance(), temperatures=TEMPERATURES)
        known = _trials(folder, count)
    return known


def _trials(folder: Path, count: int) -> list[dict[str, Any]]:
    if not (folder / TUNED).exists():
        return []
    tuned_decoding(folder)  # raises where the file is damaged or belongs to another policy
    record = read_json(folder / TUNED)
    trials: list[dict[str, Any]] = record["trials"] if (record["episodes"], record["seed"]) == (count, 0) else []
    return trials


@contextlib.contextmanager
def stage(folder: Path, name: str) -> Iterator[None]:
    """Note beside a run how many seconds a stage took."""
    begun = time.perf_counter()
    yield
    write_json(folder / "stages.json", {**stages(folder), name: round(time.perf_counter() - begun, 1)})


def stages(folder: Path) -> dict[str, float]:
    """Return the seconds that were noted beside a run."""
    path = folder / "stages.json"
    found: dict[str, float] = read_json(path) if path.exists() else {}
    return found


def write(job: Job, plan: Plan, folder: Path | None) -> None:
    """Evaluate a job's agent, trained in `folder` or scripted, and write its entry."""
    task = job.task
    agent: Agent
    trials: list[dict[str, Any]]
    if folder is None:
        agent, trials = load_agent(job.agent, task.env_id, task.env_kwargs), []
    else:
        agent, trials = player(job, plan, folder)
    played = play(agent, task, plan.preset.evaluation_episodes)
    cost: dict[str, Any] = {} if folder is None else training_cost(job, plan)
    recipe: dict[str, Any] = {
        **described(task, agent, played, title=job.agent),
        "agent": job.agent,
        "kind": AGENT_KINDS.get(job.agent, "method"),
        "seed": job.seed,
        "preset": plan.preset.name if folder is not None else None,
        "settings": settings_of(job, plan),
        "command": f"lmgym leaderboard run --preset {plan.preset.name} --tasks {task.argument} "
        f"--methods {job.agent} --seed {job.seed}",
        "trials": trials,
        **{name: cost[name] for name in ("policy", "tokens", "games") if name in cost},
    }
    recipe["made"]["seconds"] |= cost.get("seconds", {})
    recipe["made"]["trained_by"] = cost.get("trained_by")
    write_entry(plan.entry(job), recipe, played.lines, played.replays, curve_of(folder))


def settings_of(job: Job, plan: Plan) -> dict[str, Any]:
    """Return all settings that determine a trained agent's numbers, free of names of folders."""
    if not job.is_trained:
        return {}
    learner = job.learner
    own = dataclasses.asdict(plan.preset.config(job.task, learner.agent))
    own.pop("init", None)
    start = None if learner.start is None else dataclasses.asdict(plan.preset.config(job.task, learner.start.agent))
    data = plan.preset.data_episodes(job.task)
    if data is None:
        data = contract_of(job.task.env_id, job.task.env_kwargs).data_episodes
    return {
        "data": data,
        "start": start,
        "method": own,
        "tuning_episodes": tuning_episodes_of(job, plan),
    }


def training_cost(job: Job, plan: Plan) -> dict[str, Any]:
    """Return which policy a trained agent has, who trained it, and what that cost, its clone included."""
    folder, start = plan.run(job), job.learner.start
    clones = [] if start is None else [plan.run(start)]
    lines, cloning = metrics(folder), [line for clone in clones for line in metrics(clone)]
    return {
        "policy": sha256(folder / RECORD),
        "tokens": sum(line.get("tokens", 0) for line in [*cloning, *lines]),
        "games": max((line.get("games", 0) for line in lines), default=0),
        "seconds": {
            "clone": round(sum(line["seconds"] for line in cloning), 1),
            "train": round(sum(line["seconds"] for line in lines), 1),
            "tune": stages(folder).get("tune", 0.0),
        },
        "trained_by": trained_by([*clones, folder]),
    }


def trained_by(folders: Sequence[Path]) -> str | None:
    """Return the commit of the code that trained some runs, perhaps older than what evaluates; several with commas."""
    found = dict.fromkeys(commit for folder in folders for commit in commits_of(read_record(folder)))
    return None if None in found else ", ".join(str(commit) for commit in found)


def metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics."""
    path = folder / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def curve_of(folder: Path | None) -> list[dict[str, Any]] | None:
    """Return a run's metrics thinned to about a hundred lines, `tokens` counted from the start, without what varies
    between repeats."""
    if folder is None:
        return None
    lines, tokens = [], 0
    for line in metrics(folder):
        tokens += line.get("tokens", 0)
        kept = {name: value for name, value in line.items() if name not in ("seconds", "tokens_per_second")}
        lines.append({**kept, "tokens": tokens})
    every = max(1, len(lines) // 100)
    return [line for index, line in enumerate(lines) if index % every == every - 1 or index == len(lines) - 1]
