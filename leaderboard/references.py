"""What scores are measured against: worst, data mean and best known return of each game of the suites, how they were
found, and a fingerprint of the game that they belong to.

The values are the games' own. `write` measures them again and refuses to write what the measurement contradicts;
`stale` says what of the stored file no longer holds.
"""

import hashlib
import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lmgym import provenance
from lmgym.agents import load_agent
from lmgym.env import Contract, contract_of, make_env, plays_itself
from lmgym.episode import Episode, Tally
from lmgym.errors import UsageError
from lmgym.evaluate import collect, default_episodes, evaluation_starts
from lmgym.files import write_json
from lmgym.leaderboard.suites import TITLES
from lmgym.leaderboard.suites import env_id as id_of
from lmgym.progress import progress
from lmgym.rollout import Start, rollout
from lmgym.scores import Reference, Score
from lmgym.seeds import Stream, game_seed

FILE = Path(__file__).with_name("references.json")
FORMAT = 1

# Games that fingerprints are taken of, by who plays them. Not the expert: on some machines it asks other programs.
FINGERPRINT_GAMES = {"behaviour": 6, "random": 4}
FINGERPRINT_SERIES = (1 << 28) - 1  # of the validation stream; nobody else plays it
EVALUATION_SEED = 0  # the official evaluation games are of this series, for every agent

# How far a measurement may be from a stored value, in standard errors.
TOLERANCE = 4.0


@dataclass(frozen=True)
class TaskReference:
    """The stored reference of a game. `commands` and `measured` (mean, standard_error, episodes) are by `data` and
    `best`; a measurement is None where there is none."""

    env_id: str
    env_kwargs: Mapping[str, Any]
    fingerprint: str
    reference: Reference
    commands: Mapping[str, str | None]
    measured: Mapping[str, Mapping[str, float] | None]


def stored_reference(task: str) -> TaskReference:
    """Return the stored reference of a game of the suites. Raises UsageError where there is none."""
    if task not in stored():
        raise UsageError(f"{FILE} has no reference of {task}; lmgym leaderboard references --tasks {task}")
    return stored()[task]


@cache
def stored(path: Path = FILE) -> dict[str, TaskReference]:
    """Return the stored references by task. Raises UsageError where the file is of another format."""
    return {task: _task_reference(found) for task, found in _content(path)["tasks"].items()}


def _task_reference(found: Mapping[str, Any]) -> TaskReference:
    least, data, best = (Score(found[name]["value"], found[name]["how"]) for name in ("min", "data", "best"))
    return TaskReference(
        env_id=found["env_id"],
        env_kwargs=found["env_kwargs"],
        fingerprint=found["fingerprint"],
        reference=Reference(least, data, best),
        commands={name: found[name]["command"] for name in ("data", "best")},
        measured={name: found[name]["measured"] for name in ("data", "best")},
    )


def fingerprint(env_id: str, env_kwargs: Mapping[str, Any] | None = None) -> str:
    """Return the SHA-256 of what a game declares and of some games of it, to the letter: it changes when the game does
    something else to agents or when scores are measured against something else.

    A game whose other side is outside (a language model) is not played for it: what it declares has to do. Raises
    UsageError as `make_env`.
    """
    return _fingerprint(env_id, json.dumps(dict(env_kwargs or {}), sort_keys=True))


@cache
def _fingerprint(env_id: str, arguments: str) -> str:
    env_kwargs = json.loads(arguments)
    rules = contract_of(env_id, env_kwargs)
    digest = hashlib.sha256(json.dumps([env_id, env_kwargs, _declared(rules)], sort_keys=True).encode())
    for episode in _games(env_id, env_kwargs, rules):
        text = [(turn.text, turn.reward, turn.invalid) for turn in episode.turns]
        facts = [episode.agent, text, episode.terminated, episode.outcome]
        if episode.error is not None:
            facts.append("failed")  # not how: messages may hold addresses and names of folders
        digest.update(json.dumps(facts, sort_keys=True).encode())
    return digest.hexdigest()


def _declared(rules: Contract) -> dict[str, Any]:
    """Return what decides what agents see, what they are evaluated on and what their scores are."""
    scale = rules.reference
    return {
        "history": rules.history,
        "max_reply_chars": rules.max_reply_chars,
        "evaluation_episodes": rules.evaluation_episodes,
        "official_starts": rules.official_starts,
        "reference": None if scale is None else [getattr(scale, name).value for name in ("min", "data", "best")],
    }


def _games(env_id: str, env_kwargs: dict[str, Any], rules: Contract) -> Iterator[Episode]:
    if rules.remote:
        return
    env = make_env(env_id, env_kwargs)
    env.close()
    first = 0
    for role, count in FINGERPRINT_GAMES.items():
        if role == "random" or plays_itself(env, role):
            seeds = [game_seed(Stream.VALIDATE, FINGERPRINT_SERIES, first + index) for index in range(count)]
            starts = [Start(seed, {}) for seed in seeds]
            yield from rollout(load_agent(role, env_id, env_kwargs), env_id, starts, env_kwargs=env_kwargs)
        first += count


def references(tasks: Sequence[str] = (), *, check: bool = False, path: Path = FILE) -> int:
    """Measure the references of some games of the suites again (of all if none is named) and write them, or with
    `check` say what of the stored ones no longer holds. Returns the exit status: 1 where something does not."""
    if check:
        complaints = stale(tasks, path)
        count = len(tasks or TITLES)
        for line in complaints or [f"{count} reference{'s hold' if count > 1 else ' holds'}"]:
            print(line)
        return 1 if complaints else 0
    write(tasks, path)
    print(path)
    return 0


def stale(tasks: Sequence[str] = (), path: Path = FILE) -> list[str]:
    """Return what of the stored references no longer holds, a sentence each. Measures nothing: it compares what the
    games declare, and their fingerprints."""
    content = _content(path)
    complaints = []
    for task in tasks or TITLES:
        env_id, found = id_of(task), content["tasks"].get(task)
        if found is None:
            complaints.append(f"{task} has no reference; lmgym leaderboard references --tasks {task}")
            continue
        scores = _scores(env_id).items()
        odd = [name for name, score in scores if (found[name]["value"], found[name]["how"]) != tuple(score)]
        odd += [] if found["fingerprint"] == fingerprint(env_id, found["env_kwargs"]) else ["fingerprint"]
        if odd:
            complaints.append(
                f"{task} has changed ({', '.join(odd)}): its entries no longer count; "
                f"lmgym leaderboard references --tasks {task}, then make them again"
            )
    return complaints + [f"{task} is no game of the suites" for task in content["tasks"] if task not in TITLES]


def write(tasks: Sequence[str] = (), path: Path = FILE) -> None:
    """Measure and store the references of some games (of all if none is named); a game at a time, so that an
    interrupted call keeps what it has. Raises UsageError where a game's own value is contradicted."""
    for task in tasks or TITLES:
        found = measured(id_of(task))
        content = _content(path)
        content["tasks"][task] = found
        write_json(path, content)
    stored.cache_clear()


def measured(env_id: str) -> dict[str, Any]:
    """Return what is stored of a game: what it declares, and what its default data and its expert's official evaluation
    have just shown. Raises UsageError where they contradict what it declares."""
    from lmgym.start import DATA_SEED  # not above: it imports torch

    rules, scores = contract_of(env_id), _scores(env_id)
    players = load_agent("behaviour", env_id)
    data = collect(players, env_id, episodes=rules.data_episodes, seed=DATA_SEED)
    count = default_episodes(rules, None, env_id)
    best = rollout(load_agent("expert", env_id), env_id, evaluation_starts(rules, count, EVALUATION_SEED))
    facts: dict[str, Any] = {
        "min": {**scores["min"]._asdict(), "command": None, "measured": None},
        "data": {
            **scores["data"]._asdict(),
            "command": f"lmgym collect {env_id} --seed {DATA_SEED} --out data.parquet",
            "measured": _mean(f"{env_id} data", data, rules.data_episodes),
        },
        "best": {
            **scores["best"]._asdict(),
            "command": f"lmgym eval expert --env {env_id} --seed {EVALUATION_SEED}",
            "measured": _mean(f"{env_id} best", best, count),
        },
    }
    for name in ("data", "best"):
        require_agreement(f"the {name} reference of {env_id}", scores[name].value, facts[name]["measured"])
    made = {"commit": provenance.commit(), "date": time.strftime("%Y-%m-%d", time.gmtime())}
    return {"env_id": env_id, "env_kwargs": {}, "fingerprint": fingerprint(env_id), **facts, **made}


def require_agreement(what: str, value: float, measured: Mapping[str, float]) -> None:
    """Raise UsageError where a measured mean lies more than `TOLERANCE` standard errors from a value."""
    mean, error = measured["mean"], measured["standard_error"]
    if abs(mean - value) > TOLERANCE * error + 1e-9:
        raise UsageError(
            f"{what} is declared as {value:g} and measured as {mean:.4f} (standard error {error:.4f}, "
            f"{measured['episodes']:,} games)"
        )


def _mean(label: str, games: Iterable[Episode], count: int) -> dict[str, float]:
    tally = Tally()
    with progress(label, count) as bar:
        for episode in bar.over(games):
            tally.add(episode)
    if tally.num_errors:
        raise UsageError(f"{label}: {tally.num_errors} games failed")
    found = tally.statistics()
    error = found.std_return / math.sqrt(found.episodes)
    return {"mean": round(found.mean_return, 6), "standard_error": round(error, 6), "episodes": found.episodes}


def _scores(env_id: str) -> dict[str, Score]:
    scale = contract_of(env_id).reference
    if scale is None:
        raise UsageError(f"{env_id} declares no reference")
    return {"min": scale.min, "data": scale.data, "best": scale.best}


def _content(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"format": FORMAT, "tasks": {}}
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path} is damaged: {error}") from error
    if content.get("format") != FORMAT:
        raise UsageError(f"{path} is not of format {FORMAT}, which is what this lmgym reads")
    return content
