"""Advantage-weighted regression: clone the data's actions the more, the better they turned out than was expected.

With a_t an action token, h_t the state before it, G_t the return to go from it on, V the value of the data's own play,
and mean over the action tokens of a batch:

    policy: mean w_t * -log pi(h_t)[a_t]   with w_t = min(exp((G_t - V(h_t)) / temperature), max_weight)
    V:      mean 1/2 (V(h_t) - G_t)^2

Returns are scaled to vary by 1, so that a temperature means the same in every game. Acting: the policy alone. Source:
AWR (arXiv 1910.00177), algorithm 1, with returns as they were played (lambda = 1). Left out: its rounds of new play;
the data are those of others. Added: while V learns first, all weights are 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch
from torch.nn import functional

from lmgym.critic import Critic, CriticShape
from lmgym.errors import UsageError, require_number
from lmgym.losses import accuracy, mean
from lmgym.policy import Policy
from lmgym.run import Run
from lmgym.start import ModelConfig, offline_episodes, trained_policy
from lmgym.targets import DiscountConfig, add_scaled_returns
from lmgym.tokens import TokenBatch, TokenDataset
from lmgym.train import OptimConfig, fit


@dataclass(frozen=True)
class Config:
    """Advantage-weighted regression."""

    init: str | None = None
    """A finished run to start from; a clone of the data, trained once for all methods, if left out."""
    temperature: float = 0.3
    """How much better an action has to be to count e times as much; small is greedy, large clones."""
    max_weight: float = 20.0
    """Most that an action may count."""
    values_first: float = 0.25
    """Share of the steps in which V learns and every action still counts alike."""
    discount: DiscountConfig = field(default_factory=lambda: DiscountConfig(0.97))
    """The discount."""
    lm: ModelConfig = field(default_factory=ModelConfig)
    """The language model of a clone that has yet to be trained."""
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(steps=800, learning_rate=1e-3))
    """The optimizer."""

    def __post_init__(self) -> None:
        require_number("temperature", self.temperature, above=True)
        require_number("max_weight", self.max_weight, above=True)
        if not 0 <= self.values_first <= 1:
            raise UsageError(f"values_first is between 0 and 1, not {self.values_first}")


class Outputs(NamedTuple):
    """logits [N, V]: of each action token; v [N]: V of the state before it; weigh: whether advantages count yet."""

    logits: torch.Tensor
    v: torch.Tensor
    weigh: bool


class Networks(torch.nn.Module):
    """What is trained: a policy, and V on a trunk of its own; and how many steps were taken."""

    def __init__(self, policy: Policy, critic: Critic, value_steps: int) -> None:
        super().__init__()
        self.policy, self.critic, self.value_steps = policy, critic, value_steps
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))  # a buffer, so that checkpoints hold it

    def forward(self, batch: TokenBatch) -> Outputs:
        """Read the action tokens of a batch."""
        states, _ = self.critic.states(self.policy.lm, batch)
        return Outputs(self.policy(batch).logits, self.critic.value(states), int(self.step) >= self.value_steps)


def loss(batch: TokenBatch, outputs: Outputs, config: Config) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
    """Return the sum of both terms, with the scaled returns of the column `returns`."""
    returns = batch.at_actions(batch.columns["returns"])
    errors = returns - outputs.v
    weights = torch.ones_like(errors)
    if outputs.weigh:
        weights = (errors.detach() / config.temperature).exp().clamp(max=config.max_weight)
    policy_loss = mean(weights * functional.cross_entropy(outputs.logits, batch.action_ids, reduction="none"), batch)
    value_loss = mean(0.5 * errors.square(), batch)
    total = policy_loss + value_loss
    metrics = {
        "loss": total,
        "policy_loss": policy_loss,
        "value_loss": value_loss,
        "weight": mean(weights, batch),
        "accuracy": accuracy(outputs.logits, batch),
    }
    return total, metrics


def train(run: Run, config: Config) -> None:
    """Learn V and the weighted clone from the run's data and save the policy with V, which `lmgym inspect` shows."""
    episodes = offline_episodes(run)
    policy = trained_policy(run, config.init, config.lm, "bc")
    data = TokenDataset(episodes, policy.codec, policy.view)
    scale, returns = add_scaled_returns(data, config.discount)
    critic = Critic.seeded(
        policy.lm, CriticShape("own", num_q=0, has_v=True, reward_scale=scale), returns, run.recipe.seed
    )
    networks = Networks(policy, critic, round(config.values_first * config.optim.steps))
    terms = partial(loss, config=config)
    fit(run, networks, data, terms, config.optim, after_step=lambda: networks.step.add_(1))
    policy.critic = critic
    run.finish(policy)
