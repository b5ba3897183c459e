"""Entries: what one agent did on one task, on disk, so that anyone can check it.

An entry is a folder `<task>/<agent>/seed-<n>/`:

recipe.json          what was done, and under `made` what varies between repeats: time, memory, machine, versions
episodes.jsonl.gz    one line per evaluation game, in order (`EpisodeLine`)
games.jsonl.gz       three of the games turn by turn: best, middle and worst by return (`Replay`)
curve.jsonl.gz       the training's metrics, thinned, without its speed; absent for agents that were not trained here

The recipe holds the checksums of the other files and one of itself, so that an entry that was edited by hand is
refused. Two entries share a cell of a table only if they were made on the same game: the same arguments and the same
`fingerprint`, which changes with what the game does.
"""

import dataclasses
import gzip
import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lmgym.episode import Episode
from lmgym.errors import UsageError
from lmgym.files import read_json, replacing_folder, sha256, write_json

if TYPE_CHECKING:  # it imports torch, which nobody needs to read entries
    from lmgym.inspection import SeenGame

FORMAT = 1
RECIPE, EPISODES, GAMES, CURVE = "recipe.json", "episodes.jsonl.gz", "games.jsonl.gz", "curve.jsonl.gz"

# What a recipe says, and the type of each. `made` alone differs between repeats of the same command.
FIELDS: dict[str, type | tuple[type, ...]] = {
    "format": int,
    "task": str,  # the folder's name for the game: `task_name`
    "game": dict,  # env_id, env_kwargs, fingerprint
    "agent": str,  # the folder's name for the agent
    "kind": str,  # one of KINDS
    "title": str,  # what people call the agent
    "seed": int,  # of the training
    "preset": (str, type(None)),
    "settings": dict,  # method: its whole config; start: that of its clone; data: how many games; tuning_episodes
    "decoding": (dict, type(None)),  # how a policy chose tokens
    "trials": list,  # what tuning tried: decoding, mean_return, ... of each
    "evaluation": dict,  # episodes, seed
    "parameters": (int, type(None)),
    "policy": (str, type(None)),  # checksum of the evaluated policy
    "tokens": int,  # that training read, the clone's included
    "games": int,  # that training played
    "command": str,  # that makes this entry
    "made": dict,  # lmgym, commit, packages, hardware, threads, instructions, date, seconds by stage, peak_memory_mib
    "files": dict,  # checksums by name
    "checksum": str,
}
KINDS = ("method", "control", "scripted", "submitted")


@dataclass(frozen=True)
class EpisodeLine:
    """One evaluation game. `total` is the return; `digest` tells whether two games were the same to the letter."""

    seed: int
    options: dict[str, Any]
    total: float
    turns: int
    invalid: int
    success: bool | None
    ended: str
    digest: str
    error: str | None = None

    @classmethod
    def of(cls, episode: Episode) -> "EpisodeLine":
        """Sum up a game."""
        text = json.dumps([(turn.text, turn.reward, turn.invalid) for turn in episode.turns])
        return cls(
            seed=episode.seed,
            options=dict(episode.options),
            total=episode.total_reward,
            turns=len(episode.actions),
            invalid=sum(turn.invalid for turn in episode.actions),
            success=episode.success,
            ended="terminated" if episode.terminated else "truncated",
            digest=hashlib.sha256(text.encode()).hexdigest()[:16],
            error=episode.error,
        )


@dataclass(frozen=True)
class ReplayTurn:
    """An observation, the action on it and what it earned. `tokens` holds [text, probability, q, v] of each token of
    the action where a policy played (q and v None without learned values), else nothing."""

    observation: str
    action: str
    reward: float
    invalid: bool
    tokens: list[list[Any]]


@dataclass(frozen=True)
class Replay:
    """A recorded game. `rank` says which: best, middle or worst of the evaluation by return."""

    rank: str
    index: int
    total: float
    success: bool | None
    ended: str
    turns: list[ReplayTurn]
    last: str | None

    @classmethod
    def of(cls, rank: str, index: int, episode: Episode, seen: "SeenGame | None") -> "Replay":
        """Record a game; `seen` is what the policy that played it thought of its tokens."""
        turns = [
            ReplayTurn(observed.text, said.text, said.reward, said.invalid, [])
            for observed, said in zip(episode.observations, episode.actions, strict=False)
        ]
        if seen is not None:
            turns = [
                dataclasses.replace(
                    turn, tokens=[[t.text, _short(t.probability), _short(t.q), _short(t.v)] for t in its.tokens]
                )
                for turn, its in zip(turns, seen.turns, strict=True)
            ]
        return cls(
            rank=rank,
            index=index,
            total=episode.total_reward,
            success=episode.success,
            ended="terminated" if episode.terminated else "truncated",
            turns=turns,
            last=episode.turns[-1].text if len(episode.turns) % 2 == 1 else None,
        )


def _short(value: float | None) -> float | None:
    """Return five digits: enough for a reader, and few enough for a file."""
    return None if value is None else float(f"{value:.5g}")


@dataclass(frozen=True)
class Entry:
    """A whole, unchanged entry."""

    folder: Path
    recipe: dict[str, Any]

    @property
    def task(self) -> str:
        """The folder's name for the game."""
        return str(self.recipe["task"])

    @property
    def agent(self) -> str:
        """The folder's name for the agent."""
        return str(self.recipe["agent"])

    @property
    def seed(self) -> int:
        """The seed of the training."""
        return int(self.recipe["seed"])

    @cached_property
    def episodes(self) -> list[EpisodeLine]:
        """The evaluation games."""
        return [EpisodeLine(**line) for line in _lines(self.folder / EPISODES)]

    @cached_property
    def replays(self) -> list[Replay]:
        """The recorded games."""
        games = _lines(self.folder / GAMES)
        return [Replay(**{**game, "turns": [ReplayTurn(**turn) for turn in game["turns"]]}) for game in games]

    @cached_property
    def curve(self) -> list[dict[str, Any]]:
        """Lines of the training's metrics, in order, `tokens` counted from its start; empty for an agent that was not
        trained here."""
        return _lines(self.folder / CURVE) if CURVE in self.recipe["files"] else []

    @property
    def returns(self) -> np.ndarray:
        """The returns [N] of the games that came to their end."""
        return np.array([line.total for line in self.episodes if line.error is None], dtype=np.float64)

    @property
    def successes(self) -> np.ndarray | None:
        """Whether each game was solved, 0 or 1 [N], a failed one being none; None where the game does not say."""
        known = [line.success for line in self.episodes if line.error is None]
        if any(success is None for success in known):
            return None
        return np.array([bool(line.success) and line.error is None for line in self.episodes], dtype=np.float64)

    @property
    def invalid_rate(self) -> float:
        """The share of actions that the game refused."""
        ended = [line for line in self.episodes if line.error is None]
        return sum(line.invalid for line in ended) / max(1, sum(line.turns for line in ended))

    @property
    def num_errors(self) -> int:
        """How many games failed because the agent or the game did."""
        return sum(line.error is not None for line in self.episodes)


def task_name(env_id: str, env_kwargs: Mapping[str, Any]) -> str:
    """Return the folder's name for a game and its arguments.

    >>> task_name("lmgym/FOMaze-v0", {}), task_name("my_pkg:Shop-v0", {"size": 3})
    ('FOMaze-v0', 'my_pkg-Shop-v0,size=3')
    """
    arguments = [f",{name}={env_kwargs[name]}" for name in sorted(env_kwargs)]
    return file_name(env_id.removeprefix("lmgym/") + "".join(arguments))


def file_name(text: str) -> str:
    """Return text as a name of a file: what is not a letter, digit or one of `.,=_+-` becomes a hyphen."""
    return re.sub(r"[^A-Za-z0-9.,=_+-]+", "-", text).strip("-.") or "unnamed"


def three_games(episodes: Sequence[EpisodeLine]) -> list[tuple[str, int]]:
    """Return rank and place of the best, the middle and the worst game by return, the first of equals."""
    ended = [place for place, line in enumerate(episodes) if line.error is None]
    if not ended:
        return []
    order = sorted(ended, key=lambda place: (-episodes[place].total, place))
    found = dict.fromkeys((order[0], order[len(order) // 2], min(order, key=lambda place: episodes[place].total)))
    ranks = {1: ["middle"], 2: ["best", "worst"], 3: ["best", "middle", "worst"]}[len(found)]
    return list(zip(ranks, found, strict=True))


def write_entry(
    folder: Path,
    recipe: Mapping[str, Any],
    episodes: Sequence[EpisodeLine],
    replays: Sequence[Replay],
    curve: Sequence[Mapping[str, Any]] | None,
) -> Entry:
    """Write an entry, whole or not at all, and return it. `recipe` has every field but `format`, `files` and
    `checksum`. Raises UsageError where the folder exists already."""
    if folder.exists():
        raise UsageError(f"{folder} exists already; remove it to make the entry again")
    with replacing_folder(folder) as partial:
        _write_lines(partial / EPISODES, (dataclasses.asdict(line) for line in episodes))
        _write_lines(partial / GAMES, (dataclasses.asdict(game) for game in replays))
        if curve is not None:
            _write_lines(partial / CURVE, curve)
        files = {path.name: sha256(path) for path in sorted(partial.iterdir())}
        whole = json.loads(json.dumps({**recipe, "format": FORMAT, "files": files}))
        write_json(partial / RECIPE, {**whole, "checksum": checksum(whole)})
        _require_valid(partial, json.loads((partial / RECIPE).read_text(encoding="utf-8")))
    return read_entry(folder)


def checksum(recipe: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a recipe without its own checksum."""
    rest = {name: value for name, value in recipe.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def read_entry(folder: Path) -> Entry:
    """Return a whole entry. Raises UsageError where it is missing, of another format, damaged or edited."""
    path = folder / RECIPE
    recipe = read_json(path)
    _require_valid(folder, recipe)
    entry = Entry(folder, recipe)
    try:
        count = len(entry.episodes)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{folder / EPISODES} is damaged: {error}") from error
    if count != recipe["evaluation"].get("episodes"):
        raise UsageError(f"{folder} holds {count} games and its recipe says {recipe['evaluation'].get('episodes')}")
    for place, line in enumerate(entry.episodes):
        if not _is_sound(line):
            raise UsageError(f"game {place} in {folder / EPISODES} does not keep the schema: {line}")
    return entry


def _is_sound(line: EpisodeLine) -> bool:
    """Return whether a game's facts are of their types, finite, and possible."""
    return (
        all(type(number) is int and number >= 0 for number in (line.seed, line.turns, line.invalid))
        and line.invalid <= line.turns
        and isinstance(line.options, dict)
        and type(line.total) in (int, float)
        and math.isfinite(line.total)
        and line.success in (None, False, True)
        and line.ended in ("terminated", "truncated")
        and isinstance(line.digest, str)
        and (line.error is None or isinstance(line.error, str))
    )


def _require_valid(folder: Path, recipe: Any) -> None:
    path = folder / RECIPE
    if not isinstance(recipe, dict) or recipe.get("format") != FORMAT:
        raise UsageError(f"{path} is not of format {FORMAT}, which is what this lmgym reads")
    wrong = [name for name, kind in FIELDS.items() if not isinstance(recipe.get(name), kind) or name not in recipe]
    if wrong or set(recipe) != set(FIELDS):
        odd = wrong or sorted(set(recipe) - set(FIELDS))
        raise UsageError(f"{path} does not keep the schema: {', '.join(odd)}")
    if recipe["kind"] not in KINDS or set(recipe["game"]) != {"env_id", "env_kwargs", "fingerprint"}:
        raise UsageError(f"{path} does not keep the schema: kind or game")
    if recipe["checksum"] != checksum(recipe):
        raise UsageError(f"{path} was edited: its checksum is another")
    named = set(recipe["files"])
    if not {EPISODES, GAMES} <= named <= {EPISODES, GAMES, CURVE}:
        raise UsageError(f"{path} does not keep the schema: files")
    for name, digest in recipe["files"].items():
        file = folder / name
        if not file.is_file() or sha256(file) != digest:
            raise UsageError(f"{file} is missing or was edited: its checksum is another")


def find_entries(folder: Path) -> Iterator[Entry]:
    """Yield the entries below a folder, in the order of their names. Raises UsageError at a damaged one, and where an
    entry lies at another place than its recipe says."""
    for path in sorted(folder.glob(f"*/*/[!.]*/{RECIPE}")):  # one with a dot was not finished
        entry = read_entry(path.parent)
        place = (entry.task, entry.agent, f"seed-{entry.seed}")
        if path.parent.parts[-3:] != place:
            raise UsageError(f"{path.parent} says of itself that it is {'/'.join(place)}")
        yield entry


def same_recipe(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """Return what differs between two recipes that should be the same but for their seed, None if nothing does."""
    names = ["game", "kind", "preset", "evaluation", "parameters"]
    if one["kind"] == "submitted":
        names += ["decoding"]  # nobody tuned it for each seed
    for name in names:
        if without_none(one[name]) != without_none(other[name]):
            return name
    return None if without_none(_comparable_settings(one)) == without_none(_comparable_settings(other)) else "settings"


def _comparable_settings(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that seeds of one agent share: not what its games cost, and of a policy, which is known by
    its checksum, not where it stood."""
    settings = dict(recipe["settings"])
    if recipe["kind"] == "submitted":
        settings.pop("usage", None)
        if recipe["policy"] is not None:
            settings.pop("agent", None)
    return settings


def without_none(value: Any) -> Any:
    """Return a value without what is None in it: older recipes do not name settings that came later."""
    if not isinstance(value, Mapping):
        return value
    return {name: without_none(inner) for name, inner in value.items() if inner is not None}


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return [json.loads(line) for line in file]
    except (OSError, EOFError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


def _write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    # No name and no time in the header, so that the same lines are the same bytes.
    with path.open("wb") as raw, gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as file:
        for line in lines:
            file.write(json.dumps(line, sort_keys=True).encode() + b"\n")
