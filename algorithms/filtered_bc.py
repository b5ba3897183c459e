"""Filtered behaviour cloning: clone the best episodes only, starting from a clone of them all.

Which episodes are kept: exactly the best fraction by return, ties broken by seed, or the successful ones; each game
declares what was published for it. Loss: that of behaviour cloning. Source: LMRL-Gym (arXiv 2311.18232), section
4.1, there called %BC.

Left out of the released version: a threshold that keeps all ties, so that far more than the fraction is kept where
returns are few.
"""

from dataclasses import dataclass, field

from lmgym.env import contract_of
from lmgym.losses import cloning
from lmgym.run import Run
from lmgym.selection import best_episodes, require_keep
from lmgym.start import ModelConfig, offline_episodes, trained_policy
from lmgym.tokens import TokenDataset
from lmgym.train import OptimConfig, fit


@dataclass(frozen=True)
class Config:
    """Behaviour cloning of the best episodes."""

    init: str | None = None
    """A finished run to start from; a clone of the data, trained once for all methods, if left out."""
    keep: str | None = None
    """`success`, or the share of episodes to keep, such as 0.1; the game's published choice if left out."""
    lm: ModelConfig = field(default_factory=ModelConfig)
    """The language model of a clone that has yet to be trained."""
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(steps=300, learning_rate=1e-3))
    """The optimizer."""

    def __post_init__(self) -> None:
        if self.keep is not None:
            require_keep(self.keep)


def train(run: Run, config: Config) -> None:
    """Clone the best episodes of the run's data and save the policy."""
    episodes = offline_episodes(run)
    keep = contract_of(run.recipe.env_id, run.recipe.env_kwargs).keep if config.keep is None else config.keep
    kept = best_episodes(episodes, keep, run.recipe.seed)
    run.note(episodes_kept=len(kept), episodes=len(episodes))
    policy = trained_policy(run, config.init, config.lm, "bc")
    fit(run, policy, TokenDataset(kept, policy.codec, policy.view), cloning, config.optim)
    run.finish(policy)
