"""Behaviour cloning: maximise the likelihood of the data's actions, token by token.

Loss: cross-entropy on the tokens that the agent wrote, terminators included, averaged over the action tokens of
a batch. Tokens of the environment are context only, unless `observation_weight` says otherwise. Source: LMRL-Gym
(arXiv 2311.18232), section 4.1; with actions of one token it is the usual maximum likelihood estimate of a policy.

A model trained from scratch knows no language, and in a conversation its own tokens tell little of what the other
side's mean. Where those are learned as well, as in the pretraining of any language model,

    loss = (sum over action tokens of nats + observation_weight * sum over all other tokens of nats) / action tokens

A player who heeds what he is told one time in three shows little of how it is done. The games that went best show
more: whoever won has, at the latest with the last action, done what the conversation asked for. `best_first` learns
from those alone at first (a curriculum, Bengio et al. 2009), then from all; what is cloned in the end is all the data.

Left out of the released version: its weight decay and parameter scaling of the optimizer, and a learning rate
that had decayed after the first step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch.nn import functional

from lmgym.errors import UsageError, require_number
from lmgym.losses import cloning
from lmgym.policy import Outputs, Policy
from lmgym.run import Run
from lmgym.selection import best_episodes, require_keep
from lmgym.start import ModelConfig, new_policy, offline_episodes
from lmgym.tokens import TokenBatch, TokenDataset
from lmgym.train import OptimConfig, Stage, fit


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

    best_first: str | None = None
    """The first steps learn from the best episodes alone: `success`, or the share to keep, such as 0.2. All steps learn
    from all episodes if left out."""
    best_first_steps: int | None = None
    """How many steps those are; half of all if left out."""

    def __post_init__(self) -> None:
        if self.observation_weight is not None:
            require_number("observation_weight", self.observation_weight)
        if self.best_first is not None:
            require_keep(self.best_first, "best_first")
            if self.best_first_steps is not None and not 0 < self.best_first_steps < self.optim.steps:
                raise UsageError(
                    f"best_first_steps is 1 or more and less than the {self.optim.steps} steps of the whole training, "
                    f"not {self.best_first_steps}"
                )
        elif self.best_first_steps is not None:
            raise UsageError("best_first_steps is for best_first: say which episodes are the best, too")


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
    first = None
    if config.best_first is not None:
        kept = best_episodes(episodes, config.best_first, run.recipe.seed)
        run.note(episodes_first=len(kept), episodes=len(episodes))
        first = Stage(TokenDataset(kept, policy.codec, policy.view), config.best_first_steps or config.optim.steps // 2)
    weight = config.observation_weight
    module, loss = (Reader(policy), partial(reading, weight=weight)) if weight else (policy, cloning)
    fit(run, module, data, loss, config.optim, first=first)
    run.finish(policy)
