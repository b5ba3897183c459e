"""A training run on disk: what was asked for, its data, its metrics, its checkpoints, its policy.

run.json         the recipe, its status, what it was made with, and `continued_by`, where that was other code: commits
tuned.json       the settings to play with, where they were tuned
metrics.jsonl    one line per logged step; `seconds` and `tokens_per_second` alone vary between repeats
checkpoints/     the latest state of an unfinished run; best/: its best weights, where it plays itself
games/           the games of the last rounds, where a method remembers them
config.json, model.safetensors, tokenizer.json, lmgym.json, ...   the policy, once finished

Data sets and policies that several runs start from stand in `shared` beside them; see `start.py`.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from safetensors import safe_open
from safetensors.torch import save_file

from lmgym import provenance
from lmgym.errors import UsageError
from lmgym.files import locked, read_json, replacing, replacing_folder, write_json
from lmgym.policy import Policy
from lmgym.weights import load_weights, save_weights

FORMAT = 1


def processes() -> PartialState:
    """Return which of how many processes of one training this is; joins the others at the first call."""
    return PartialState(cpu=not torch.cuda.is_available())


@dataclass(frozen=True)
class Recipe:
    """What determines a run's numbers. `data` is None where the default data set is collected."""

    method: str
    env_id: str
    env_kwargs: dict[str, Any]
    seed: int
    data: str | None
    config: dict[str, Any]


class Run:
    """An open run folder; see `opened`."""

    def __init__(self, folder: Path, recipe: Recipe, *, is_main: bool = True) -> None:
        self.folder = folder
        self.recipe = recipe
        self.is_main = is_main
        self.record: dict[str, Any] = {}
        self.tensorboard = False

    @property
    def finished(self) -> bool:
        """Whether the policy is complete."""
        return self.record.get("status") == "finished"

    def note(self, **facts: Any) -> None:
        """Add facts to run.json, which the main process writes."""
        self.record.update(facts)
        if self.is_main:
            write_json(self.folder / "run.json", self.record)

    def finish(self, policy: Policy, **facts: Any) -> None:
        """Save the policy, mark the run as finished and drop what it needed to go on; the main process does it."""
        if self.is_main:
            policy.save_pretrained(self.folder)
            self.note(status="finished", parameters=policy.num_parameters, **facts)
            for unneeded in ("checkpoints", "best"):
                shutil.rmtree(self.folder / unneeded, ignore_errors=True)

    def require_same(self, name: str, checksum: str) -> None:
        """Record a checksum of what the run is made from; raises UsageError where it is not that of the first start."""
        if self.record.setdefault(f"{name}_checksum", checksum) != checksum:
            raise UsageError(f"the {name} of {self.folder} has changed since it was started; choose another --out")
        self.note()


@contextmanager
def opened(folder: Path, recipe: Recipe, *, wait: bool = False) -> Iterator[Run]:
    """Create or reopen a run folder, held by this command alone; of several processes the main one does it.

    Raises UsageError where the folder belongs to something else, to another command, or to another process; `wait`
    waits for the other process.
    """
    state = processes()
    with ExitStack() as held:
        with state.main_process_first():
            run = held.enter_context(_opened_by_main(folder, recipe, wait)) if state.is_main_process else None
        if run is None:
            run = Run(folder, recipe, is_main=False)
            run.record = read_record(folder)
        yield run


@contextmanager
def _opened_by_main(folder: Path, recipe: Recipe, wait: bool) -> Iterator[Run]:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; --out names a folder")
    path = folder / "run.json"
    # The list first: another process that is about to begin the same run writes run.json before all else.
    if folder.exists() and any(not item.name.startswith(".") for item in folder.iterdir()) and not path.exists():
        raise UsageError(f"{folder} is not empty and holds no run.json; choose another --out")
    with locked(folder, wait=wait):
        run = Run(folder, recipe)
        if path.exists():
            run.record = read_record(folder)
            if (folder / "metrics.jsonl").exists() or run.finished:
                _require_same(folder, run.record["recipe"], json.loads(json.dumps(asdict(recipe))))
            elif run.record["recipe"] != json.loads(json.dumps(asdict(recipe))):
                run.record = {}  # Nothing was learned yet: a command that was refused is put right.
        if not run.record:
            made_with = {**provenance.code(), **provenance.environment()}
            run.note(format=FORMAT, status="started", recipe=asdict(recipe), made_with=made_with)
        elif not run.finished and provenance.commit() != (commits := commits_of(run.record))[-1]:
            run.note(continued_by=[*commits[1:], provenance.commit()])
        yield run


def commits_of(record: Mapping[str, Any]) -> list[str | None]:
    """Return the commits of the code that a run was trained by: that of its start, and those that it went on with."""
    return [record["made_with"]["commit"], *record.get("continued_by", [])]


def read_record(folder: Path) -> dict[str, Any]:
    """Return the content of run.json. Raises UsageError where it is missing, damaged or of another format."""
    path = folder / "run.json"
    record = read_json(path)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise UsageError(f"{path} is not a run of format {FORMAT}, which is what this lmgym reads")
    if not isinstance(record.get("recipe"), dict) or set(record["recipe"]) != set(Recipe.__dataclass_fields__):
        raise UsageError(f"{path} is damaged: it holds no whole recipe")
    return record


def _require_same(folder: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    # The method first: the settings of another one are others.
    for name in sorted({**old, **new}, key=lambda name: name != "method"):
        before, now = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(now, dict):
            _require_same(folder, before, now)
        elif before != now:
            raise UsageError(
                f"{folder} was started with {name}={before!r} and this command says {now!r}; "
                "repeat the first command to go on, or choose another --out"
            )


class Metrics:
    """Appends to metrics.jsonl, after cutting what came later than the step it goes on from."""

    def __init__(self, folder: Path, from_step: int, *, tensorboard: bool = False) -> None:
        path = folder / "metrics.jsonl"
        kept = [line for line in _complete_lines(path) if _step_of(line, path) <= from_step]
        with replacing(path) as partial:
            partial.write_text("".join(kept), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")
        self._board = _summary_writer(folder / "tensorboard", from_step) if tensorboard else None

    def log(self, **values: Any) -> None:
        """Write one line at once."""
        self._file.write(json.dumps(values) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, values["step"])

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def _summary_writer(folder: Path, from_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UsageError("--tensorboard needs a package: pip install 'lmgym[tensorboard]'") from None
    return SummaryWriter(str(folder), purge_step=from_step)


def _step_of(line: str, path: Path) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{path} is damaged: {line.strip()[:60]!r} is no line of metrics") from error


def _complete_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    return [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]


def save_checkpoint(
    folder: Path,
    step: int,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    state: Mapping[str, Any],
) -> None:
    """Write the state after `step` to `checkpoints/step-<n>`, whole or not at all, then drop older ones."""
    name = f"step-{step:08d}"
    if (folder / "checkpoints" / name).exists():
        return
    moments = optimizer.state_dict()["state"]
    tensors = {
        f"{index}.{key}": torch.as_tensor(value).contiguous()
        for index, values in moments.items()
        for key, value in values.items()
    }
    with replacing_folder(folder / "checkpoints" / name) as partial:
        save_weights(model, partial / "model.safetensors")
        save_file(tensors, str(partial / "optimizer.safetensors"))
        write_json(partial / "state.json", {"step": step, **state})
    for old in (folder / "checkpoints").iterdir():
        if old.name != name:
            shutil.rmtree(old)


def load_checkpoint(folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Load the latest checkpoint into model and optimizer and return its state; `{"step": 0}` without one."""
    latest = max((folder / "checkpoints").glob("step-*"), default=None)
    if latest is None:
        return {"step": 0}
    try:
        load_weights(model, latest / "model.safetensors")
        moments: dict[int, dict[str, torch.Tensor]] = {}
        with safe_open(latest / "optimizer.safetensors", framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (not a mapping)
                index, key = name.split(".", 1)
                moments.setdefault(int(index), {})[key] = tensors.get_tensor(name)
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        state = json.loads((latest / "state.json").read_text(encoding="utf-8"))
        if state["step"] != int(latest.name.removeprefix("step-")):
            raise ValueError(f"state.json speaks of step {state['step']}")
        return state
    except Exception as error:
        raise UsageError(f"the checkpoint {latest} cannot be read: {error}; remove it to start over") from error
