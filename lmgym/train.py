"""The training loop that the methods share, and what surrounds it: devices, precision, checkpoints."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType

from lmgym.errors import UsageError, require_number, unknown
from lmgym.progress import progress
from lmgym.run import Metrics, Run, load_checkpoint, save_checkpoint
from lmgym.tokens import TokenBatch, TokenDataset
from lmgym.weights import base_weights

# What a model says of a batch -> the loss and the metrics to log.
Loss = Callable[[TokenBatch, Any], tuple[torch.Tensor, Mapping[str, torch.Tensor]]]

# Measured: autocast on processors with AMX costs more than it saves below this size.
BFLOAT16_MIN_PARAMETERS = 4_000_000


@dataclass(frozen=True)
class UpdateConfig:
    """AdamW, and how a step is computed."""

    batch_tokens: int = 2048
    """Tokens per step, filling not counted; a step holds as many rows as make this on average."""
    learning_rate: float = 2e-3
    """Highest learning rate."""
    final_lr_fraction: float = 0.1
    """Learning rate of the last step as a fraction of the highest."""
    weight_decay: float = 0.0
    """Decoupled weight decay."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this global norm."""
    accumulate: int = 1
    """Parts that a step's rows are computed in, each of rows of about one length, to save memory and, where lengths
    differ, time; the result is the same."""
    precision: str = "auto"
    """`float32`, `bfloat16` (autocast), or `auto`: bfloat16 on a GPU, and with AMX from 4M parameters up."""

    def __post_init__(self) -> None:
        for name in ("batch_tokens", "accumulate"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is 1 or more, not {getattr(self, name)}")
        for name in ("learning_rate", "max_grad_norm"):
            require_number(name, getattr(self, name), above=True)
        for name in ("weight_decay", "final_lr_fraction"):
            require_number(name, getattr(self, name))
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise unknown("precision", self.precision, ("auto", "float32", "bfloat16"))


@dataclass(frozen=True)
class OptimConfig(UpdateConfig):
    """AdamW with linear warm-up and cosine decay, and how often a run is logged and saved."""

    steps: int = 600
    """Optimizer steps."""
    warmup_steps: int = 50
    """Steps until the learning rate is highest."""
    log_every: int = 10
    """Steps between two lines of metrics.jsonl."""
    checkpoint_every: int = 100
    """Steps between two checkpoints, a multiple of `log_every`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("steps", "log_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is 1 or more, not {getattr(self, name)}")
        if self.warmup_steps < 0:
            raise UsageError(f"warmup_steps is 0 or more, not {self.warmup_steps}")
        if self.checkpoint_every % self.log_every:
            raise UsageError(
                f"checkpoint_every ({self.checkpoint_every}) must be a multiple of log_every ({self.log_every})"
            )


class RowSampler:
    """Which rows each step learns from: permutation after permutation, a function of seed and step alone."""

    def __init__(self, rows: np.ndarray, rows_per_step: int, seed: int) -> None:
        self.rows, self.rows_per_step, self._seed = rows, rows_per_step, seed
        self._orders: dict[int, np.ndarray] = {}

    def rows_of(self, step: int) -> np.ndarray:
        """Return the row indices of a step, counted from 0."""
        count = len(self.rows)
        places = np.arange(step * self.rows_per_step, (step + 1) * self.rows_per_step)
        epochs = range(int(places[0] // count), int(places[-1] // count) + 1)
        self._orders = {epoch: order for epoch, order in self._orders.items() if epoch in epochs}
        for epoch in epochs:
            if epoch not in self._orders:
                self._orders[epoch] = np.random.default_rng([self._seed, epoch]).permutation(self.rows)
        return np.concatenate([self._orders[epoch][places[places // count == epoch] % count] for epoch in epochs])


class Stage(NamedTuple):
    """What a training learns from in its first `steps`, before it learns from all its data."""

    data: TokenDataset
    steps: int


class Curriculum:
    """The batch of each step: of `first`, where there is one, for its steps, then of `data`."""

    def __init__(self, learner: "Learner", data: TokenDataset, first: Stage | None, seed: int) -> None:
        stages = [(0, data)] if first is None else [(0, first.data), (first.steps, data)]
        self._stages: list[tuple[int, TokenDataset, RowSampler]] = []
        for begin, source in stages:
            rows = source.rows_with_actions()
            if len(rows) == 0:
                raise UsageError("the data hold no action to learn from")
            self._stages.append((begin, source, RowSampler(rows, learner.rows_per_step(source, rows), seed)))

    def batch(self, step: int) -> TokenBatch:
        """Return the batch of a step, counted from 0."""
        begin, source, sampler = next(stage for stage in reversed(self._stages) if stage[0] <= step)
        return source.batch(sampler.rows_of(step - begin))


def learning_rate(step: int, config: OptimConfig) -> float:
    """Return the learning rate of a step, counted from 0.

    >>> config = OptimConfig(steps=100, warmup_steps=10, learning_rate=1.0)
    >>> [round(learning_rate(step, config), 2) for step in (0, 9, 10, 55, 99)]
    [0.1, 1.0, 1.0, 0.55, 0.1]
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return config.learning_rate * (config.final_lr_fraction + (1 - config.final_lr_fraction) * cosine)


def chosen_precision(precision: str, num_parameters: int) -> str:
    """Return the precision to compute in: `float32` or `bfloat16`."""
    if precision == "auto":
        pays = torch.cuda.is_available() or (num_parameters >= BFLOAT16_MIN_PARAMETERS and _has_amx())
        return "bfloat16" if pays else "float32"
    return precision


def _has_amx() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and "amx_bf16" in cpuinfo.read_text(encoding="utf-8", errors="replace")


class Learner:
    """A module with its optimizer, on whatever devices and processes there are: takes gradients and steps.

    The loss of a part of a batch is a sum divided by the whole batch's `num_actions`, so that parts add up, whether
    they are computed one after the other (`accumulate`) or by several processes. Parameters that require no gradient
    stay as they are.
    """

    def __init__(self, run: Run, module: torch.nn.Module, config: UpdateConfig) -> None:
        learned = [parameter for parameter in module.parameters() if parameter.requires_grad]
        computed = [*learned, *base_weights(module).values()]
        precision = chosen_precision(config.precision, sum(parameter.numel() for parameter in computed))
        self.accelerator = Accelerator(cpu=not torch.cuda.is_available())
        run.note(processes=self.accelerator.num_processes, precision=precision)
        # Not accelerate's own mixed precision, which is one for all models of a process.
        self.precision = precision
        self.autocast = partial(
            torch.autocast, self.accelerator.device.type, torch.bfloat16, enabled=precision == "bfloat16"
        )
        if self.accelerator.distributed_type not in (
            DistributedType.NO,
            DistributedType.MULTI_CPU,
            DistributedType.MULTI_GPU,
        ):
            raise UsageError(f"training by {self.accelerator.distributed_type.value} is not supported; DDP is")
        self._run, self._config, self.module = run, config, module
        optimizer = torch.optim.AdamW(
            learned, lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=config.weight_decay, fused=True
        )
        module.to(self.accelerator.device)
        self.state = load_checkpoint(run.folder, module, optimizer)
        module.train()
        self._model, self._optimizer = self.accelerator.prepare(module, optimizer)

    @property
    def parts(self) -> int:
        """How many parts a batch is computed in."""
        return self._config.accumulate * self.accelerator.num_processes

    def rows_per_step(self, data: TokenDataset, rows: np.ndarray) -> int:
        """Return how many of these rows make `batch_tokens` on average."""
        return max(self.parts, round(self._config.batch_tokens / float(data.lengths[rows].mean())))

    def backward(self, batch: TokenBatch, loss: Loss) -> dict[str, torch.Tensor]:
        """Add the gradients of a batch and return its metrics, summed over the parts of this process."""
        sums: dict[str, torch.Tensor] = {}
        processes = self.accelerator.num_processes
        parts = batch.parts(self.parts)
        for turn in range(self._config.accumulate):
            index = turn * processes + self.accelerator.process_index
            part = parts[index].to(self.accelerator.device)
            last = turn == self._config.accumulate - 1
            with nullcontext() if last else self.accelerator.no_sync(self._model):
                with self.autocast():
                    outputs = self._model(part)
                value, metrics = loss(part, outputs)
                # Gradients of several processes are averaged, but the parts add up.
                self.accelerator.backward(value * processes)
            for name, metric in metrics.items():
                sums[name] = sums.get(name, torch.zeros((), device=self.accelerator.device)) + metric.detach()
        return sums

    def update(self, rate: float) -> dict[str, torch.Tensor]:
        """Take an optimizer step with the gradients added since the last one; return the metrics of the step."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        learned = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        norm = self.accelerator.clip_grad_norm_(learned, self._config.max_grad_norm)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return {} if norm is None else {"grad_norm": norm.detach() / self.accelerator.num_processes}

    def save(self, step: int, state: Mapping[str, Any]) -> None:
        """Write a checkpoint; the main process does it."""
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            module = self.accelerator.unwrap_model(self._model)
            save_checkpoint(self._run.folder, step, module, self._optimizer, state)


def fit(
    run: Run,
    module: torch.nn.Module,
    data: TokenDataset,
    loss: Loss,
    config: OptimConfig,
    after_step: Callable[[], None] | None = None,
    first: Stage | None = None,
) -> None:
    """Minimise `loss(batch, module(batch))` over the rows of `data`, from the latest checkpoint on. `after_step` is
    called after each step; the first steps learn from `first` instead, where it is given."""
    learner = Learner(run, module, config)
    curriculum = Curriculum(learner, data, first, run.recipe.seed)
    begin = learner.state["step"]
    if begin > config.steps:
        raise UsageError(f"{run.folder / 'checkpoints'} is at step {begin}, beyond the last, {config.steps}")
    accelerator = learner.accelerator
    bars = progress(run.recipe.method, config.steps, begin, show=accelerator.is_main_process)
    with bars as bar, closing(StepLog(run, begin, accelerator)) as log:
        for step in range(begin, config.steps):
            batch, rate = curriculum.batch(step), learning_rate(step, config)
            with seeded(run.recipe.seed, step, accelerator.process_index):
                sums = learner.backward(batch, loss)
            sums |= learner.update(rate)
            if after_step is not None:
                after_step()
            log.add(sums, int(batch.attention_mask.sum()))
            if (step + 1) % config.log_every == 0 or step + 1 == config.steps:
                bar.describe(**log.write(step + 1, learning_rate=rate))
            if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps:
                learner.save(step + 1, {})
            bar.advance()


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Within the block, PyTorch draws (dropout) as `numbers` say; afterwards its generators are as before."""
    entropy = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(entropy)
        yield


class StepLog:
    """Averages metrics between two lines of metrics.jsonl; the main process writes."""

    def __init__(self, run: Run, first: int, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._metrics = None
        if accelerator.is_main_process:
            self._metrics = Metrics(run.folder, first, tensorboard=run.tensorboard)
        self._sums: dict[str, torch.Tensor] = {}
        self._steps = self._tokens = 0
        self._since = time.perf_counter()

    def add(self, sums: Mapping[str, torch.Tensor], tokens: int) -> None:
        """Count one more step."""
        for name, value in sums.items():
            self._sums[name] = self._sums.get(name, 0) + value
        self._steps += 1
        self._tokens += tokens

    def write(self, step: int, **facts: Any) -> dict[str, float]:
        """Write a line and return what a progress bar shows."""
        totals = self._accelerator.reduce(self._sums, reduction="sum") if self._sums else {}
        means = {name: float(value) / self._steps for name, value in totals.items()}
        if not math.isfinite(means.get("loss", 0.0)):
            raise UsageError(f"the loss at step {step} is {means['loss']}: lower --learning-rate, or look at the data")
        seconds = time.perf_counter() - self._since
        if self._metrics is not None:
            pace = {"seconds": round(seconds, 3), "tokens_per_second": round(self._tokens / seconds)}
            self._metrics.log(step=step, **means, **facts, tokens=self._tokens, **pace)
        shown = {"loss": means.get("loss", math.nan), "tokens/s": self._tokens / seconds}
        self._sums, self._steps, self._tokens, self._since = {}, 0, 0, time.perf_counter()
        return shown

    def close(self) -> None:
        """Close the file."""
        if self._metrics is not None:
            self._metrics.close()
