"""The training loop that the methods share, and what surrounds it: data, policy, devices, checkpoints."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType

from lmgym.agents import load_agent
from lmgym.env import contract, contract_of, make_env, plays_itself
from lmgym.episode import Episode
from lmgym.errors import UsageError, unknown
from lmgym.evaluate import collect
from lmgym.policy import MAX_TOKENS, PRESETS, Outputs, Policy
from lmgym.progress import progress
from lmgym.run import Metrics, Recipe, Run, load_checkpoint, processes, save_checkpoint
from lmgym.store import read_episodes, read_metadata, write_episodes
from lmgym.tokens import TokenBatch, TokenDataset, View
from lmgym.vocabulary import build_tokenizer

Loss = Callable[[TokenBatch, Outputs], tuple[torch.Tensor, Mapping[str, torch.Tensor]]]

# A game's default data set is one and the same, whatever the seed of the training on it.
DATA_SEED = 0

# Measured: autocast on processors with AMX costs more than it saves below this size.
BFLOAT16_MIN_PARAMETERS = 4_000_000


@dataclass(frozen=True)
class OptimConfig:
    """AdamW with linear warm-up and cosine decay, and how often a run is logged and saved."""

    steps: int = 600
    """Optimizer steps."""
    batch_tokens: int = 2048
    """Tokens per step, filling not counted; a step holds as many rows as make this on average."""
    learning_rate: float = 2e-3
    """Highest learning rate."""
    warmup_steps: int = 50
    """Steps until the learning rate is highest."""
    final_lr_fraction: float = 0.1
    """Learning rate of the last step as a fraction of the highest."""
    weight_decay: float = 0.0
    """Decoupled weight decay."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this global norm."""
    accumulate: int = 1
    """Parts that a step's rows are computed in, to save memory; the result is the same."""
    precision: str = "auto"
    """`float32`, `bfloat16` (autocast), or `auto`: bfloat16 on a GPU, and with AMX from 4M parameters up."""
    log_every: int = 10
    """Steps between two lines of metrics.jsonl."""
    checkpoint_every: int = 100
    """Steps between two checkpoints, a multiple of `log_every`."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_tokens", "accumulate", "log_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is 1 or more, not {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise UsageError(f"learning_rate is more than 0, not {self.learning_rate}")
        for name in ("weight_decay", "final_lr_fraction", "max_grad_norm", "warmup_steps"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{name} is 0 or more, not {getattr(self, name)}")
        if self.checkpoint_every % self.log_every:
            raise UsageError(
                f"checkpoint_every ({self.checkpoint_every}) must be a multiple of log_every ({self.log_every})"
            )
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise unknown("precision", self.precision, ("auto", "float32", "bfloat16"))


@dataclass(frozen=True)
class ModelConfig:
    """Which language model learns."""

    model: str | None = None
    """A preset trained from scratch (0.1M, 0.3M, 1M, 5M, 20M), or a pretrained causal LM by folder or name;
    the game's own preset if left out."""
    tokenizer: str | None = None
    """For a preset: `char`, `word` or `phrase`; the game's own kind if left out."""
    download: bool = False
    """Allow a pretrained model to come from the network."""


def offline_episodes(run: Run) -> list[Episode]:
    """Return the run's episodes: those of its data file, or the game's default data set, collected once."""
    recipe = run.recipe
    path = Path(recipe.data) if recipe.data else run.folder / "data.parquet"
    with processes().main_process_first():
        if recipe.data is None and not path.exists():
            _collect_default(recipe, path)
    metadata = read_metadata(path)
    if (metadata.env_id, metadata.env_kwargs) != (recipe.env_id, recipe.env_kwargs):
        raise UsageError(f"{path} holds episodes of {metadata.env_id} {metadata.env_kwargs or ''}".rstrip())
    run.require_data(metadata.checksum)
    return read_episodes(path)


def _collect_default(recipe: Recipe, path: Path) -> None:
    env = make_env(recipe.env_id, recipe.env_kwargs)
    count = contract(env).data_episodes
    env.close()
    if not plays_itself(env, "behaviour"):
        raise UsageError(
            f"{recipe.env_id} has no behaviour() that generates data: name a file by --data "
            f"(lmgym collect {recipe.env_id} --agent random --out F.parquet)"
        )
    agent = load_agent("behaviour", recipe.env_id, recipe.env_kwargs)
    episodes = collect(agent, recipe.env_id, env_kwargs=recipe.env_kwargs, episodes=count, seed=DATA_SEED)
    with progress("collect", count) as bar:
        write_episodes(path, bar.over(episodes), series=DATA_SEED)


def new_policy(run: Run, config: ModelConfig, episodes: list[Episode]) -> Policy:
    """Return the policy that a run starts from: a preset with a tokenizer of the game's text, or a pretrained one."""
    recipe = run.recipe
    rules = contract_of(recipe.env_id, recipe.env_kwargs)
    model = rules.preset if config.model is None else config.model
    if model not in PRESETS:
        if config.tokenizer is not None:
            raise UsageError(f"{model!r} is no preset and brings its own tokenizer; leave --tokenizer out")
        if not config.download and "/" not in model and not Path(model).exists():
            raise unknown("model", model, [*PRESETS, "a folder", "a model's name with --download"])
        return Policy.from_model(model, rules.history, rules.max_reply_chars, download=config.download)
    texts = (turn.text + "\n" for episode in episodes for turn in episode.turns)
    kind = rules.tokenizer if config.tokenizer is None else config.tokenizer
    tokenizer = build_tokenizer(kind, texts)
    view = View.of(rules.history, rules.max_reply_chars, MAX_TOKENS)
    return Policy.from_preset(model, tokenizer, view, seed=recipe.seed)


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


def mixed_precision(precision: str, num_parameters: int) -> str:
    """Return accelerate's name for the precision to compute in."""
    if precision == "auto":
        pays = torch.cuda.is_available() or (num_parameters >= BFLOAT16_MIN_PARAMETERS and _has_amx())
        precision = "bfloat16" if pays else "float32"
    return "bf16" if precision == "bfloat16" else "no"


def _has_amx() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and "amx_bf16" in cpuinfo.read_text(encoding="utf-8", errors="replace")


def fit(run: Run, policy: Policy, data: TokenDataset, loss: Loss, config: OptimConfig) -> None:
    """Minimise `loss` over the rows of `data`, from the latest checkpoint on.

    The loss of a part of a batch is a sum divided by the whole batch's `num_actions`, so that parts add up,
    whether they are computed one after the other (`accumulate`) or by several processes.
    """
    rows = data.rows_with_actions()
    if len(rows) == 0:
        raise UsageError("the data hold no action to learn from")
    precision = mixed_precision(config.precision, policy.num_parameters)
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=precision)
    run.note(processes=accelerator.num_processes, precision=precision)
    if accelerator.distributed_type not in (
        DistributedType.NO,
        DistributedType.MULTI_CPU,
        DistributedType.MULTI_GPU,
    ):
        raise UsageError(f"training by {accelerator.distributed_type.value} is not supported; DDP is")
    optimizer = torch.optim.AdamW(
        policy.parameters(), lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=config.weight_decay
    )
    state = load_checkpoint(run.folder, policy, optimizer)
    policy.train()
    model, optimizer = accelerator.prepare(policy, optimizer)
    parts = config.accumulate * accelerator.num_processes
    rows_per_step = max(parts, round(config.batch_tokens / float(data.lengths[rows].mean())))
    sampler = RowSampler(rows, rows_per_step, run.recipe.seed)
    first = state["step"]
    if first > config.steps:
        raise UsageError(f"{run.folder / 'checkpoints'} is at step {first}, beyond the last, {config.steps}")
    bars = progress(run.recipe.method, config.steps, first, show=accelerator.is_main_process)
    with bars as bar, closing(_StepLog(run, first, accelerator)) as log:
        for step in range(first, config.steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, config)
            batch = data.batch(sampler.rows_of(step))
            with seeded(run.recipe.seed, step, accelerator.process_index):
                sums = _step(accelerator, model, optimizer, batch, loss, config)
            log.add(sums, int(batch.attention_mask.sum()))
            if (step + 1) % config.log_every == 0 or step + 1 == config.steps:
                bar.describe(**log.write(step + 1, learning_rate(step, config)))
            if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps:
                accelerator.wait_for_everyone()
                if accelerator.is_main_process:
                    save_checkpoint(run.folder, step + 1, accelerator.unwrap_model(model), optimizer, {})
            bar.advance()


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Within the block, PyTorch draws (dropout) as `numbers` say; afterwards its generators are as before."""
    entropy = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(entropy)
        yield


def _step(
    accelerator: Accelerator, model: Any, optimizer: Any, batch: TokenBatch, loss: Loss, config: OptimConfig
) -> dict[str, torch.Tensor]:
    """Take one optimizer step and return the metrics, summed over the parts of this process."""
    sums: dict[str, torch.Tensor] = {}
    size = len(batch.ids)
    num_parts = config.accumulate * accelerator.num_processes
    edges = [size * part // num_parts for part in range(num_parts + 1)]
    for turn in range(config.accumulate):
        index = turn * accelerator.num_processes + accelerator.process_index
        part = batch.part(slice(edges[index], edges[index + 1])).to(accelerator.device)
        last = turn == config.accumulate - 1
        with nullcontext() if last else accelerator.no_sync(model):
            value, metrics = loss(part, model(part))
            # Gradients of several processes are averaged, but the parts add up.
            accelerator.backward(value * accelerator.num_processes)
        for name, metric in metrics.items():
            sums[name] = sums.get(name, torch.zeros((), device=accelerator.device)) + metric.detach()
    norm = accelerator.clip_grad_norm_(model.parameters(), config.max_grad_norm)
    optimizer.step()
    optimizer.zero_grad()
    if norm is not None:
        sums["grad_norm"] = norm.detach() / accelerator.num_processes
    return sums


class _StepLog:
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
        for name, value in sums.items():
            self._sums[name] = self._sums.get(name, 0) + value
        self._steps += 1
        self._tokens += tokens

    def write(self, step: int, rate: float) -> dict[str, float]:
        totals = self._accelerator.reduce(self._sums, reduction="sum")
        means = {name: float(value) / self._steps for name, value in totals.items()}
        seconds = time.perf_counter() - self._since
        if self._metrics is not None:
            pace = {"seconds": round(seconds, 3), "tokens_per_second": round(self._tokens / seconds)}
            self._metrics.log(step=step, **means, learning_rate=rate, tokens=self._tokens, **pace)
        shown = {"loss": means.get("loss", math.nan), "tokens/s": self._tokens / seconds}
        self._sums, self._steps, self._tokens, self._since = {}, 0, 0, time.perf_counter()
        return shown

    def close(self) -> None:
        if self._metrics is not None:
            self._metrics.close()
