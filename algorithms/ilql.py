"""Implicit language Q-learning: values of tokens by bootstrapping along the data, better than the data's own.

With mean over the action tokens of a batch, a_t an action token, h_t the state before it, h' the state before the
next action token (tokens of the environment are skipped), r_t its reward, d_t 0 where the task ended and else 1, and
bars for networks that follow the trained ones slowly (Polyak averages):

    Q: mean sum_i 1/2 (Q_i(h_t)[a_t] - (r_t + discount * d_t * V(h')))^2          i = 1, 2
    V: mean |tau - 1(u < 0)| 1/2 u^2   with u = min_i Qbar_i(h_t)[a_t] - V(h_t)
    +  cql_weight * mean sum_i -log softmax(Q_i(h_t))[a_t]

Only the end of a task ends the bootstrap: after a game that was cut off, and from one row of tokens to the row that
continues it, V of the following state counts. Acting: softmax(log pi(h) + beta * (min_i Qbar_i(h) - V(h))), pi being
the clone of the data; V is the same for every token of a state and changes nothing there. Source: ILQL (arXiv
2206.11871), equations 2 to 5, as LMRL-Gym (arXiv 2311.18232) uses it, without the policy term of the former.

Left out of the released version: the last transition doubled as its own successor, heads frozen by their detach
flags. Added: targets are kept within the returns that the data show, because the maximum over noisy values drifts
upwards without end; the first steps regress Q and V on the returns of the data, where bootstrapping then starts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from lmgym.critic import Critic, CriticConfig, CriticShape
from lmgym.errors import UsageError, require_number
from lmgym.losses import ends_turn, expectile, mean, next_values, with_shared_policy
from lmgym.policy import Policy
from lmgym.run import Run
from lmgym.start import ModelConfig, offline_episodes, trained_policy
from lmgym.targets import DiscountConfig, add_scaled_returns
from lmgym.tokens import TokenBatch, TokenDataset, repeated
from lmgym.train import OptimConfig, fit
from lmgym.weights import copied, trained_weights


@dataclass(frozen=True)
class Config:
    """Implicit language Q-learning."""

    init: str | None = None
    """A finished run to start from; a clone of the data, trained once for all methods, if left out."""
    tau: float = 0.9
    """Expectile of V: 0.5 values the data's own actions, near 1 the best of them. Where hardly any situation comes
    twice in the data, a high one takes noise for the best: 0.7 does better there."""
    cql_weight: float = 0.001
    """Weight of the term that holds unseen tokens down."""
    polyak: float = 0.05
    """Share of the way that the slow networks go towards the trained ones each step."""
    regress_first: float = 0.25
    """Share of the steps that regress Q and V on the returns of the data first, so that bootstrapping starts from
    the data's own values instead of a constant."""
    clamp: bool = True
    """Keep targets within the discounted returns that the data show."""
    discount: DiscountConfig = field(default_factory=lambda: DiscountConfig(0.95))
    """The discount."""
    critic: CriticConfig = field(default_factory=CriticConfig)
    """The value network."""
    lm: ModelConfig = field(default_factory=ModelConfig)
    """The language model of a clone that has yet to be trained."""
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(steps=2500, learning_rate=1e-3))
    """The optimizer."""

    def __post_init__(self) -> None:
        for name in ("tau", "polyak"):
            if not 0 < getattr(self, name) <= 1:
                raise UsageError(f"{name} is above 0 and up to 1, not {getattr(self, name)}")
        if not 0 <= self.regress_first <= 1:
            raise UsageError(f"regress_first is between 0 and 1, not {self.regress_first}")
        require_number("cql_weight", self.cql_weight)


class Outputs(NamedTuple):
    """q [2, N]: Q of each action token; v [N]: V of the state before it; next_v [N]: V of the state after it,
    without gradient; slow_q [N]: the lower of the slow Q; q_cross_entropy: sum over both Q and N of
    -log softmax(Q) of the action token; logits [N, V]: the policy's where it is trained as well, else None.
    next_v and slow_q are None while values are regressed on returns."""

    q: torch.Tensor
    v: torch.Tensor
    next_v: torch.Tensor | None
    slow_q: torch.Tensor | None
    q_cross_entropy: torch.Tensor
    logits: torch.Tensor | None


class Networks(torch.nn.Module):
    """What is trained, a critic beside a policy, and the slow copy that follows it."""

    def __init__(self, policy: Policy, critic: Critic, regression_steps: int = 0) -> None:
        super().__init__()
        self.policy, self.critic = policy, critic
        critic.freeze_beside(policy.lm)
        self.slow_critic = copied(critic).requires_grad_(False)
        # A trunk that is trained together with the policy needs a slow copy as well.
        shared = critic.shape.trunk == "shared"
        self.slow_lm = copied(policy.lm).requires_grad_(False) if shared else None
        self.regression_steps = regression_steps
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(self, batch: TokenBatch) -> Outputs:
        """Value the action tokens of a batch and the states around them."""
        critic, lm, seen = self.critic, self.policy.lm, batch.distinct()
        states, hidden = critic.states(lm, seen.batch)
        q, losses = zip(*(head.among_all(states, seen.batch.action_ids) for head in critic.q), strict=True)
        v = repeated(critic.value(states), seen.actions)
        next_v = slow_q = None
        if int(self.step) >= self.regression_steps:
            with torch.no_grad():
                tails = critic.value(critic.states_after_rows(lm, batch, hidden[seen.rows]))
                next_v = next_values(batch, v, tails)
                slow_q = self.slow_critic.lowest_q_at(self.slow_lm or lm, seen.batch)[seen.actions]
        return Outputs(
            q=repeated(torch.stack(q, dim=1), seen.actions).T,
            v=v,
            next_v=next_v,
            slow_q=slow_q,
            q_cross_entropy=repeated(torch.stack(losses, dim=1), seen.actions).sum(),
            logits=repeated(self.policy.logits(states), seen.actions) if critic.shape.trunk == "shared" else None,
        )

    @torch.no_grad()
    def follow(self, share: float) -> None:
        """Move the slow copies `share` of the way towards what they copy, and count the step."""
        self.step += 1
        pairs = [(self.slow_critic, self.critic)]
        if self.slow_lm is not None:
            pairs.append((self.slow_lm, self.policy.lm))
        move = get_ema_multi_avg_fn(1 - share)
        for slow, trained in pairs:
            move(trained_weights(slow), trained_weights(trained), None)


def loss(
    batch: TokenBatch, outputs: Outputs, config: Config, scale: float, bounds: tuple[float, float]
) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
    """Return the sum of the three terms. Rewards are multiplied by `scale`; targets of Q stay within `bounds`."""
    factors = torch.where(ends_turn(batch) | (config.discount.discount_per == "token"), config.discount.discount, 1.0)
    going_on = batch.at_actions(batch.not_done)
    if outputs.next_v is None or outputs.slow_q is None:
        targets = batch.at_actions(batch.columns["returns"])
        v_loss = mean(expectile(targets - outputs.v, 0.5), batch)
    else:
        targets = scale * batch.at_actions(batch.rewards) + factors * going_on * outputs.next_v
        targets = targets.clamp(*bounds) if config.clamp else targets
        v_loss = mean(expectile(outputs.slow_q - outputs.v, config.tau), batch)
    q_loss = mean(0.5 * (outputs.q - targets).square().sum(dim=0), batch)
    conservative = outputs.q_cross_entropy / batch.num_actions
    value = q_loss + v_loss + config.cql_weight * conservative
    metrics = {"q_loss": q_loss, "v_loss": v_loss, "cql_loss": conservative, "v": mean(outputs.v.detach(), batch)}
    return with_shared_policy(value, metrics, outputs.logits, batch, config.critic.bc_weight)


def train(run: Run, config: Config) -> None:
    """Learn the values of the run's data and save the slow ones with the policy."""
    episodes = offline_episodes(run)
    policy = trained_policy(run, config.init, config.lm, "bc")
    data = TokenDataset(episodes, policy.codec, policy.view)
    scale, returns = add_scaled_returns(data, config.discount, config.critic.reward_scale)
    bounds = (float(returns.min()), float(returns.max()))
    shape = CriticShape(config.critic.trunk, num_q=2, has_v=True, reward_scale=scale)
    critic = Critic.seeded(policy.lm, shape, returns, run.recipe.seed)
    networks = Networks(policy, critic, round(config.regress_first * config.optim.steps))
    terms = partial(loss, config=config, scale=scale, bounds=bounds)
    fit(run, networks, data, terms, config.optim, after_step=lambda: networks.follow(config.polyak))
    # Heads on a trunk that goes on learning belong to it; else the slow ones vary less.
    policy.critic = critic if config.critic.trunk == "shared" else networks.slow_critic
    run.finish(policy)
