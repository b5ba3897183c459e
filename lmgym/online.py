"""Learning from games that the policy plays itself, round by round: what the online methods share.

A round plays games with the policy as it is, learns from them, and writes a checkpoint; now and then the policy
plays validation games, and the weights that did best on them are kept for the end.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object

from lmgym.env import contract_of
from lmgym.episode import Episode, Statistics, statistics
from lmgym.errors import UsageError
from lmgym.evaluate import evaluation_starts
from lmgym.files import replacing_folder, write_json
from lmgym.play import PolicyAgent
from lmgym.policy import Policy
from lmgym.progress import console, progress
from lmgym.rollout import Start, rollout
from lmgym.run import Run
from lmgym.seeds import Stream, game_seed
from lmgym.train import Learner, StepLog, UpdateConfig, seeded
from lmgym.weights import copied, load_weights, save_weights

# So many rounds in a row tell a collapse from a bad day.
PATIENCE = 3

# Validation games of other series than those that settings are tuned on later.
SERIES = 1 << 27


@dataclass(frozen=True)
class RoundsConfig(UpdateConfig):
    """How many games are played, and how the policy is changed by them."""

    learning_rate: float = 1e-3
    """Learning rate of the first round; it falls linearly."""
    rounds: int = 20
    """Rounds of play and learning."""
    episodes: int = 64
    """Games of a round."""
    validate_every: int = 4
    """Rounds between two series of validation games; the weights of the best series are the result."""
    validation_episodes: int = 100
    """Games of a series of validation games, rounded to a multiple of the official starts."""
    max_invalid: float = 0.5
    """The run stops where more than this share of actions is invalid three rounds in a row."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("rounds", "episodes", "validate_every", "validation_episodes"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is 1 or more, not {getattr(self, name)}")
        if not 0 <= self.max_invalid <= 1:
            raise UsageError(f"max_invalid is between 0 and 1, not {self.max_invalid}")

    def rate_of(self, round_index: int) -> float:
        """Return the learning rate of a round, counted from 0."""
        left = 1 - round_index / self.rounds
        return self.learning_rate * (self.final_lr_fraction + (1 - self.final_lr_fraction) * left)


class Collapse(Exception):
    """The policy has collapsed; the message says how. The run ends with the best weights so far."""


# Learns from the episodes of a round: (learner, episodes, round, log) -> further facts of the round to log. What it has
# to remember from round to round is in `state`, a dict of plain values that it was given.
Learn = Callable[[Learner, Sequence[Episode], int, StepLog], Mapping[str, float]]


def learn_by_playing(
    run: Run,
    policy: Policy,
    module: torch.nn.Module,
    config: RoundsConfig,
    learn: Learn,
    state: dict[str, Any],
) -> int:
    """Play and learn for all rounds, from the latest checkpoint on, then give `module` the weights that played the
    validation games best, and return after how many rounds that was.

    `module` holds the policy; `state` is what `learn` remembers, which a checkpoint keeps; at the end it is that of the
    best round.
    """
    learner = Learner(run, module, config)
    first = learner.state["step"]
    state.update(learner.state.get("method", {}))
    guard = _Guard(config.max_invalid, learner.state.get("bad_rounds", 0))
    best = _Best(run.folder / "best")
    is_main = learner.accelerator.is_main_process
    stopped = None
    bars = progress(run.recipe.method, config.rounds, first, show=is_main)
    with bars as bar, closing(StepLog(run, first, learner.accelerator)) as log:
        if first == 0:
            best.offer(module, _validation_return(run, policy, config), 0, state, is_main=is_main)
        for index in range(first, config.rounds):
            try:
                facts = _play_and_learn(run, policy, learner, learn, config, index, log, guard)
            except Collapse as collapse:
                stopped = f"stopped in round {index + 1} of {config.rounds}: {collapse}"
                break
            if (index + 1) % config.validate_every == 0 or index + 1 == config.rounds:
                facts["validation_return"] = _validation_return(run, policy, config)
                best.offer(module, facts["validation_return"], index + 1, state, is_main=is_main)
            log.write(index + 1, **facts, learning_rate=config.rate_of(index))
            bar.describe(**{name: facts[name] for name in ("return", "invalid") if name in facts})
            learner.save(index + 1, {"method": state, "bad_rounds": guard.bad_rounds})
            bar.advance()
    if stopped is not None:
        console.print(f"{run.recipe.method} {stopped}; the best weights so far are kept")
    learner.accelerator.wait_for_everyone()
    kept = best.restore(module)
    state.update(kept["method"])
    run.note(best_round=kept["round"], validation_return=kept["validation_return"], stopped=stopped)
    return int(kept["round"])


def _play_and_learn(
    run: Run,
    policy: Policy,
    learner: Learner,
    learn: Learn,
    config: RoundsConfig,
    index: int,
    log: StepLog,
    guard: "_Guard",
) -> dict[str, float]:
    starts = [
        Start(game_seed(Stream.TRAIN, run.recipe.seed, index * config.episodes + game), {})
        for game in range(config.episodes)
    ]
    episodes = _played(run, policy, starts, learner)
    found = statistics(episodes)
    guard.see(found.invalid_rate)
    policy.train()
    with seeded(run.recipe.seed, index, learner.accelerator.process_index):
        more = learn(learner, episodes, index, log)
    return {**_facts(found), "games": (index + 1) * config.episodes, **more}


def _played(run: Run, policy: Policy, starts: Sequence[Start], learner: Learner) -> list[Episode]:
    """Play the games, every process its share, and return those that came to their end, in order."""
    processes, mine = learner.accelerator.num_processes, learner.accelerator.process_index
    agent = PolicyAgent(policy)
    episodes = list(rollout(agent, run.recipe.env_id, starts[mine::processes], env_kwargs=run.recipe.env_kwargs))
    if processes > 1:
        shares = gather_object([episodes])
        episodes = [shares[place % processes][place // processes] for place in range(len(starts))]
    return _whole(episodes)


def _whole(episodes: Sequence[Episode]) -> list[Episode]:
    """Return the games that came to their end. Raises UsageError where none did."""
    whole = [episode for episode in episodes if episode.error is None]
    if not whole:
        raise UsageError(f"all {len(episodes)} games failed, the first with {episodes[0].error}")
    return whole


def _facts(found: Statistics) -> dict[str, float]:
    success = {} if found.success_rate is None else {"success": found.success_rate}
    return {"return": found.mean_return, **success, "invalid": found.invalid_rate, "turns": found.mean_turns}


def _validation_return(run: Run, policy: Policy, config: RoundsConfig) -> float:
    """Return the mean return of the validation games: always the same ones, so that rounds can be compared."""
    recipe = run.recipe
    rules = contract_of(recipe.env_id, recipe.env_kwargs)
    per_start = max(1, len(rules.official_starts))
    count = per_start * max(1, round(config.validation_episodes / per_start))
    starts = evaluation_starts(rules, count, (recipe.seed + SERIES) % (2 * SERIES), Stream.VALIDATE)
    games = list(rollout(PolicyAgent(policy), recipe.env_id, starts, env_kwargs=recipe.env_kwargs))
    return statistics(_whole(games)).mean_return


class _Guard:
    """Counts rounds in a row whose actions were mostly invalid."""

    def __init__(self, max_invalid: float, bad_rounds: int) -> None:
        self.max_invalid, self.bad_rounds = max_invalid, bad_rounds

    def see(self, invalid_rate: float) -> None:
        """Raise Collapse at the third such round."""
        self.bad_rounds = self.bad_rounds + 1 if invalid_rate > self.max_invalid else 0
        if self.bad_rounds >= PATIENCE:
            raise Collapse(f"{invalid_rate:.0%} of the actions are invalid, for the third round in a row")


class _Best:
    """The weights that played the validation games best, on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def offer(
        self, module: torch.nn.Module, value: float, round_index: int, state: Mapping[str, Any], *, is_main: bool
    ) -> None:
        """Keep the weights if they did better than all before."""
        if is_main and (not self._folder.exists() or value > self._record()["validation_return"]):
            fresh = self._folder.with_name("best-new")
            shutil.rmtree(fresh, ignore_errors=True)
            with replacing_folder(fresh) as partial:
                save_weights(module, partial / "model.safetensors")
                record = {"validation_return": value, "round": round_index, "method": dict(state)}
                write_json(partial / "best.json", record)
            shutil.rmtree(self._folder, ignore_errors=True)
            fresh.replace(self._folder)

    def _record(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((self._folder / "best.json").read_text(encoding="utf-8"))
        return record

    def restore(self, module: torch.nn.Module) -> dict[str, Any]:
        """Give the module the weights that are kept, and return what they did."""
        load_weights(module, self._folder / "model.safetensors")
        return self._record()


def frozen_copy(module: torch.nn.Module) -> torch.nn.Module:
    """Return a copy of a module that stays as it is."""
    return copied(module).requires_grad_(False).eval()
