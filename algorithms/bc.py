"""Behaviour cloning: maximise the likelihood of the data's actions, token by token.

Loss: cross-entropy on the tokens that the agent wrote, terminators included, averaged over the action tokens of
a batch. Tokens of the environment are context only. Source: LMRL-Gym (arXiv 2311.18232), section 4.1; with
actions of one token it is the usual maximum likelihood estimate of a policy.

Left out of the released version: its weight decay and parameter scaling of the optimizer, and a learning rate
that had decayed after the first step.
"""

from dataclasses import dataclass, field

from lmgym.losses import cloning
from lmgym.run import Run
from lmgym.start import ModelConfig, new_policy, offline_episodes
from lmgym.tokens import TokenDataset
from lmgym.train import OptimConfig, fit


@dataclass(frozen=True)
class Config:
    """Behaviour cloning of a game's offline data."""

    lm: ModelConfig = field(default_factory=ModelConfig)
    """The language model."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """The optimizer."""


def train(run: Run, config: Config) -> None:
    """Clone the behaviour in the run's data and save the policy."""
    episodes = offline_episodes(run)
    policy = new_policy(run, config.lm, episodes)
    data = TokenDataset(episodes, policy.codec, policy.view)
    fit(run, policy, data, cloning, config.optim)
    run.finish(policy)
