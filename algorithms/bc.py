"""Behaviour cloning: maximise the likelihood of the data's actions, token by token.

Loss: cross-entropy on the tokens that the agent wrote, terminators included, averaged over the action tokens of
a batch. Tokens of the environment are context only, unless `observation_weight` says otherwise. Source: LMRL-Gym
(arXiv 2311.18232), section 4.1; with actions of one token it is the usual maximum likelihood estimate of a policy.

A model trained from scratch knows no language, and in a conversation its own tokens tell little of what the other
side's mean. Where those are learned as well, as in the pretraining of any language model,

    loss = (sum over action tokens of nats + observation_weight * sum over all other tokens of nats) / action tokens

Left out of the released version: its weight decay and parameter scaling of the optimizer, and a learning rate
that had decayed after the first step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch.nn import functional

from lmgym.errors import require_number
from lmgym.losses import cloning
from lmgym.policy import Outputs, Policy
from lmgym.run import Run
from lmgym.start import ModelConfig, new_policy, offline_episodes
from lmgym.tokens import TokenBatch, TokenDataset
from lmgym.train import OptimConfig, fit


@dataclass(frozen=True)
class Config:
    """Behaviour cloning of a game's offline data."""

    lm: ModelConfig = field(default_factory=ModelConfig)
    """The language model."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """The optimizer."""
    observation_weight: float | None = None
    """Weight of a token of the environment beside one of the agent; 1 can help a model trained from scratch to heed
    what it is told. Such tokens are context only if left out."""

    def __post_init__(self) -> None:
        if self.observation_weight is not None:
            require_number("observation_weight", self.observation_weight)


class Reader(torch.nn.Module):
    """A policy that is asked for every token of a batch but the first of each row, whoever wrote it."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, batch: TokenBatch) -> Outputs:
        """Return hidden states, and logits of every token."""
        return self.policy(every_token(batch))


def every_token(batch: TokenBatch) -> TokenBatch:
    """Return the batch as if the agent had written all that follows the first token of each row."""
    written = batch.attention_mask.clone()
    written[:, 0] = False
    return replace(batch, action_mask=written)


def reading(batch: TokenBatch, outputs: Outputs, weight: float) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
    """Return the loss of a `Reader` and its metrics, in nats per action token."""
    everything = every_token(batch)
    by_agent = batch.action_mask[everything.action_mask]
    nats = functional.cross_entropy(outputs.logits, everything.action_ids, reduction="none") / batch.num_actions
    said, heard = nats[by_agent].sum(), nats[~by_agent].sum()
    total = said + weight * heard
    return total, {"loss": total, "bc_loss": said, "observation_loss": heard}


def train(run: Run, config: Config) -> None:
    """Clone the behaviour in the run's data and save the policy."""
    episodes = offline_episodes(run)
    policy = new_policy(run, config.lm, episodes)
    data = TokenDataset(episodes, policy.codec, policy.view)
    if config.observation_weight:
        fit(run, Reader(policy), data, partial(reading, weight=config.observation_weight), config.optim)
    else:
        fit(run, policy, data, cloning, config.optim)
    run.finish(policy)
