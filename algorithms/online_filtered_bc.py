"""Online filtered behaviour cloning: play, keep the best games, clone them, play again.

Each round the best games of the last few rounds are cloned for a few steps: exactly the best fraction by return, ties
broken by seed, or the successful ones. Loss: that of behaviour cloning, on whole games with all their action tokens.
Source: LMRL-Gym (arXiv 2311.18232), section 4.1.

Left out of the released version: samples without any action token, rounds that are skipped unless all games succeed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lmgym.episode import Episode
from lmgym.errors import UsageError
from lmgym.losses import cloning
from lmgym.online import RoundsConfig, learn_by_playing
from lmgym.policy import Policy
from lmgym.run import Run
from lmgym.selection import best_episodes, require_keep
from lmgym.start import ModelConfig, offline_episodes, trained_policy
from lmgym.store import read_episodes, write_episodes
from lmgym.tokens import TokenDataset
from lmgym.train import Learner, RowSampler, StepLog


@dataclass(frozen=True)
class Config:
    """Online filtered behaviour cloning."""

    init: str | None = None
    """A finished run to start from; a clone of the data, trained once for all methods, if left out."""
    keep: str = "0.3"
    """`success`, or the share of the games of the last rounds that is cloned."""
    memory: int = 5
    """Rounds whose games are remembered."""
    steps_per_round: int = 20
    """Optimizer steps of a round."""
    lm: ModelConfig = field(default_factory=ModelConfig)
    """The language model of a clone that has yet to be trained."""
    play: RoundsConfig = field(default_factory=RoundsConfig)
    """Rounds and optimizer."""

    def __post_init__(self) -> None:
        for name in ("memory", "steps_per_round"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is 1 or more, not {getattr(self, name)}")
        require_keep(self.keep)


class Memory:
    """The games of the last rounds, on disk, so that a run that was stopped remembers them as well."""

    def __init__(self, folder: Path, rounds: int) -> None:
        self._folder, self._rounds = folder, rounds

    def _path(self, index: int) -> Path:
        return self._folder / f"round-{index:06d}.parquet"

    def add(self, index: int, episodes: Sequence[Episode], *, is_main: bool) -> None:
        """Keep the games of a round and forget those of a round long past; the main process does it."""
        if is_main:
            for old in (index, index - self._rounds):
                self._path(old).unlink(missing_ok=True)
            write_episodes(self._path(index), episodes)

    def games(self, index: int) -> list[Episode]:
        """Return the games that are remembered in a round, the oldest first."""
        rounds = range(max(0, index - self._rounds + 1), index + 1)
        return [episode for old in rounds for episode in read_episodes(self._path(old))]


class Filtered:
    """How a round is learned from."""

    def __init__(self, run: Run, policy: Policy, config: Config) -> None:
        self.policy, self.config, self.seed = policy, config, run.recipe.seed
        self.memory = Memory(run.folder / "games", config.memory)

    def learn(self, learner: Learner, episodes: Sequence[Episode], index: int, log: StepLog) -> Mapping[str, float]:
        """Clone the best games remembered and return the facts of the round."""
        self.memory.add(index, episodes, is_main=learner.accelerator.is_main_process)
        learner.accelerator.wait_for_everyone()
        remembered = self.memory.games(index)
        try:
            kept = best_episodes(remembered, self.config.keep, self.seed + index)
        except UsageError:
            # No success yet: nothing to learn from, play on.
            if not any(episode.success is not None for episode in remembered):
                raise
            return {"kept": 0.0}
        data = TokenDataset(kept, self.policy.codec, self.policy.view)
        rows = data.rows_with_actions()
        sampler = RowSampler(rows, learner.rows_per_step(data, rows), self.seed + index)
        for step in range(self.config.steps_per_round):
            batch = data.batch(sampler.rows_of(step))
            sums = learner.backward(batch, cloning) | learner.update(self.config.play.rate_of(index))
            log.add(sums, int(batch.attention_mask.sum()))
        returns = [episode.total_reward for episode in kept]
        return {"kept": float(len(kept)), "kept_return": float(np.mean(returns))}


def train(run: Run, config: Config) -> None:
    """Improve the policy by play and save it."""
    offline_episodes(run)
    policy = trained_policy(run, config.init, config.lm, "bc")
    learn_by_playing(run, policy, policy, config.play, Filtered(run, policy, config).learn, {})
    run.finish(policy)
