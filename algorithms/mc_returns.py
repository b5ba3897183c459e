"""Monte-Carlo returns: regress the value of each action token on what was earned from it on, and act by it.

With G_t the discounted return to go of action token a_t in state h_t, and mean over the action tokens of a batch:

    loss = mean 1/2 (Q(h_t)[a_t] - G_t)^2  +  cql_weight * mean -log softmax(Q(h_t))[a_t]

The second term holds tokens down that the data never show. Acting: softmax(log pi(h_t) + beta * Q(h_t)), pi being
the clone of the data. Source: LMRL-Gym (arXiv 2311.18232), section 4.1 and appendix; the second term is that of CQL
(arXiv 2006.04779).

Left out of the released version: the terminal transition counted twice, products of discounts that underflow.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch

from lmgym.critic import Critic, CriticConfig, CriticShape
from lmgym.errors import require_number
from lmgym.losses import mean, with_shared_policy
from lmgym.policy import Policy
from lmgym.run import Run
from lmgym.start import ModelConfig, offline_episodes, trained_policy
from lmgym.targets import DiscountConfig, add_scaled_returns
from lmgym.tokens import TokenBatch, TokenDataset, repeated
from lmgym.train import OptimConfig, fit


@dataclass(frozen=True)
class Config:
    """Monte-Carlo returns."""

    init: str | None = None
    """A finished run to start from; a clone of the data, trained once for all methods, if left out."""
    cql_weight: float = 0.001
    """Weight of the term that holds unseen tokens down."""
    discount: DiscountConfig = field(default_factory=lambda: DiscountConfig(0.97))
    """The discount."""
    critic: CriticConfig = field(default_factory=CriticConfig)
    """The value network."""
    lm: ModelConfig = field(default_factory=ModelConfig)
    """The language model of a clone that has yet to be trained."""
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(steps=800, learning_rate=2e-3))
    """The optimizer."""

    def __post_init__(self) -> None:
        require_number("cql_weight", self.cql_weight)


class Outputs(NamedTuple):
    """q [N]: Q of each action token; q_cross_entropy: sum over N of -log softmax(Q) of the action token;
    logits [N, V]: the policy's where it is trained as well, else None."""

    q: torch.Tensor
    q_cross_entropy: torch.Tensor
    logits: torch.Tensor | None


class Networks(torch.nn.Module):
    """What is trained: a critic beside a policy."""

    def __init__(self, policy: Policy, critic: Critic) -> None:
        super().__init__()
        self.policy, self.critic = policy, critic
        critic.freeze_beside(policy.lm)

    def forward(self, batch: TokenBatch) -> Outputs:
        """Value the action tokens of a batch."""
        seen = batch.distinct()
        states, _ = self.critic.states(self.policy.lm, seen.batch)
        (head,) = self.critic.q
        q, losses = head.among_all(states, seen.batch.action_ids)
        shared = self.critic.shape.trunk == "shared"
        return Outputs(
            q=repeated(q, seen.actions),
            q_cross_entropy=repeated(losses, seen.actions).sum(),
            logits=repeated(self.policy.logits(states), seen.actions) if shared else None,
        )


def loss(batch: TokenBatch, outputs: Outputs, config: Config) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
    """Return the regression on the column `returns` and the conservative term."""
    returns = batch.at_actions(batch.columns["returns"])
    regression = mean(0.5 * (outputs.q - returns).square(), batch)
    conservative = outputs.q_cross_entropy / batch.num_actions
    value = regression + config.cql_weight * conservative
    metrics = {"q_loss": regression, "cql_loss": conservative, "q": mean(outputs.q, batch)}
    return with_shared_policy(value, metrics, outputs.logits, batch, config.critic.bc_weight)


def train(run: Run, config: Config) -> None:
    """Learn the values of the run's data and save them with the policy."""
    episodes = offline_episodes(run)
    policy = trained_policy(run, config.init, config.lm, "bc")
    data = TokenDataset(episodes, policy.codec, policy.view)
    scale, returns = add_scaled_returns(data, config.discount, config.critic.reward_scale)
    shape = CriticShape(config.critic.trunk, num_q=1, reward_scale=scale)
    critic = Critic.seeded(policy.lm, shape, returns, run.recipe.seed)
    fit(run, Networks(policy, critic), data, partial(loss, config=config), config.optim)
    policy.critic = critic
    run.finish(policy)
