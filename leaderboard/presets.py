"""What is to be done: games, methods, seeds and settings, as `presets.toml` or a file of the user says."""

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lmgym.commands import parsed
from lmgym.env import contract_of, make_env, plays_itself
from lmgym.errors import UsageError, unknown
from lmgym.evaluate import default_episodes
from lmgym.leaderboard.entries import task_name
from lmgym.leaderboard.suites import GREEDY, SCRIPTED, START
from lmgym.methods import method_module, methods

FILE = Path(__file__).with_name("presets.toml")


@dataclass(frozen=True)
class Task:
    """A game with its arguments. Written `lmgym/FOMaze-v0`, with arguments `lmgym/FOMaze-v0,maze=umaze`; `lmgym/` may
    be left out."""

    env_id: str
    env_kwargs: dict[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, text: str) -> "Task":
        """Read a task. Raises UsageError for a game that does not exist."""
        name, *arguments = text.split(",")
        env_id = name if "/" in name or ":" in name else f"lmgym/{name}"
        env_kwargs = parsed(tuple(arguments))
        make_env(env_id, env_kwargs).close()
        return cls(env_id, env_kwargs)

    @property
    def name(self) -> str:
        """The name of its folders."""
        return task_name(self.env_id, self.env_kwargs)

    @property
    def argument(self) -> str:
        """How the command line writes it."""
        words = [f",{key}={value}" for key, value in sorted(self.env_kwargs.items())]
        return self.env_id.removeprefix("lmgym/") + "".join(words)


@dataclass(frozen=True)
class Job:
    """One entry to make: an agent, trained with a seed, on a game."""

    task: Task
    agent: str
    seed: int

    @property
    def name(self) -> str:
        """The name of its folders."""
        return f"{self.task.name}/{self.agent}/seed-{self.seed}"

    @property
    def is_trained(self) -> bool:
        """Whether a method makes the agent."""
        return self.agent not in SCRIPTED

    @property
    def learner(self) -> "Job":
        """The job whose training made the policy: this one, but for the clone that is played greedily."""
        return dataclasses.replace(self, agent=START) if self.agent == GREEDY else self

    @property
    def start(self) -> "Job | None":
        """The job that has to be done first: the clone that the policy starts from, or is."""
        return dataclasses.replace(self, agent=START) if self.is_trained and self.agent != START else None


@dataclass(frozen=True)
class Preset:
    """Games, seeds, sizes and settings. `settings` are by game, then by method, then as the fields of its config;
    beside the methods, `data` is the number of offline games."""

    name: str
    tasks: tuple[str, ...]
    seeds: int
    tuning_episodes: int | None = None
    evaluation_episodes: int | None = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def data_episodes(self, task: Task) -> int | None:
        """Return how many offline games a game is given; None: its default data set."""
        count: int | None = self._settings(task).get("data")
        return count

    def config(self, task: Task, method: str) -> Any:
        """Return the config of a method for a game."""
        where = f"settings.{task.argument}.{method}"
        return with_settings(method_module(method).Config(), self._settings(task).get(method, {}), where)

    def _settings(self, task: Task) -> Mapping[str, Any]:
        found = (value for name, value in self.settings.items() if name in (task.env_id, task.argument, task.name))
        return next(found, {})


def with_settings(config: Any, settings: Mapping[str, Any], where: str) -> Any:
    """Return a dataclass with some fields changed, nested ones by nested mappings. Raises UsageError for a field that
    it does not have, and for a value of another type."""
    fields = [entry.name for entry in dataclasses.fields(config)]
    changed = {}
    for name, value in settings.items():
        if name not in fields:
            raise unknown(f"setting in {where}", name, fields)
        old = getattr(config, name)
        if dataclasses.is_dataclass(old) and isinstance(value, Mapping):
            value = with_settings(old, value, f"{where}.{name}")
        elif not _fits(value, old):
            raise UsageError(f"{where}.{name} is like {old!r}, not {value!r}")
        changed[name] = tuple(value) if isinstance(value, list) else value
    return dataclasses.replace(config, **changed)


def _fits(value: Any, old: Any) -> bool:
    if value == old:
        return True
    if old is None:
        return isinstance(value, str | int | float | list)
    if isinstance(old, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(old)


def load_preset(name: str) -> Preset:
    """Return a preset by name, or the one of a TOML file: `tasks`, `seeds`, perhaps `tuning_episodes` and
    `evaluation_episodes`, and `settings`. Raises UsageError where it is wrong."""
    own = name.endswith(".toml")
    path = Path(name) if own else FILE
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} is no TOML: {error}") from error
    if not own and name not in content["presets"]:
        raise unknown("preset", name, [*content["presets"], "a file.toml"])
    found = content if own else {**content["presets"][name], "settings": content.get("settings", {})}
    fields = [entry.name for entry in dataclasses.fields(Preset) if entry.name != "name"]
    for key in found:
        if key not in fields:
            raise unknown(f"name in {path}", key, fields)
    tasks = found.get("tasks")
    if (
        not (isinstance(tasks, list) and all(isinstance(task, str) for task in tasks))
        or type(found.get("seeds")) is not int
    ):
        raise UsageError(f"{path} needs tasks, a list of games, and seeds, a number")
    for key in ("tuning_episodes", "evaluation_episodes"):
        if key in found and type(found[key]) is not int:
            raise UsageError(f"{key} of {path} is a number of games, not {found[key]!r}")
    _require_tables(path, found.get("settings", {}))
    return Preset(name=path.name if own else name, **{**found, "tasks": tuple(found["tasks"])})


def _require_tables(path: Path, settings: Any) -> None:
    """Raise UsageError where settings are not by game, then by method, and where one of these does not exist: settings
    of a game that nobody plays would be left out without a word."""
    if not isinstance(settings, dict) or not all(isinstance(found, dict) for found in settings.values()):
        raise UsageError(f"settings of {path} are tables by game, then by method")
    named: dict[str, str] = {}
    for text, found in settings.items():
        name = Task.of(text).name
        if name in named:
            raise UsageError(f"{path} has settings of one game twice, as {named[name]!r} and as {text!r}")
        named[name] = text
        for key, values in found.items():
            if key != "data":
                _require_method(key)
                if not isinstance(values, dict):
                    raise UsageError(f"{key} of {text} in {path} is a table of settings, not {values!r}")


def jobs_of(preset: Preset, tasks: Sequence[str], agents: Sequence[str], seeds: Sequence[int]) -> list[Job]:
    """Return the matrix, the clones first. Empty `tasks` or `agents` mean all. A game is left out for a scripted agent
    that it does not have. Raises UsageError for a name that does not exist."""
    names = list(dict.fromkeys(agents)) or [*SCRIPTED, GREEDY, *methods()]
    for name in names:
        if name not in (*SCRIPTED, GREEDY):
            _require_method(name)
    jobs = []
    for task in dict.fromkeys(Task.of(text) for text in (tasks or preset.tasks)):
        _require_sizes(preset, task)
        for name in names:
            if name in SCRIPTED:
                jobs += [Job(task, name, 0)] * _has(task, name)
            else:
                row = [Job(task, name, seed) for seed in seeds]
                preset.config(task, row[0].learner.agent)
                jobs += row
    return sorted(jobs, key=lambda job: job.agent != START)


def _require_method(name: str) -> None:
    if "." not in name and name not in methods():
        raise unknown("method", name, [*methods(), *SCRIPTED, GREEDY])
    method_module(name)


def _require_sizes(preset: Preset, task: Task) -> None:
    data = preset.data_episodes(task)
    if data is not None and (not isinstance(data, int) or data < 1):
        raise UsageError(f"data of {task.argument} is a number of games, 1 or more, not {data!r}")
    for count in (preset.tuning_episodes, preset.evaluation_episodes):
        if count is not None:
            default_episodes(contract_of(task.env_id, task.env_kwargs), count, task.env_id)


def _has(task: Task, agent: str) -> bool:
    env = make_env(task.env_id, task.env_kwargs)
    env.close()
    return agent == "random" or plays_itself(env, agent)


@dataclass(frozen=True)
class Plan:
    """Where entries are made, and with what. `out` holds the work, `entries` the results."""

    preset: Preset
    out: Path
    entries: Path
    threads: int

    def entry(self, job: Job) -> Path:
        """Return the folder of the entry that a job makes."""
        return self.entries / job.name

    def run(self, job: Job) -> Path:
        """Return the folder of a job's training. Those of one game lie side by side and share what they can."""
        return run_folder(self.out, job)


def run_folder(out: Path, job: Job) -> Path:
    """Return the folder of a job's training below that of the work."""
    return out / "runs" / job.task.name / f"{job.learner.agent}-seed-{job.seed}"
