"""Proximal policy optimisation of a multi-turn game, token by token, from games that the policy plays itself.

Each round plays games, values every action token (a_t in state h_t), and takes a few steps on them. With rho the ratio
of the token's probability to what it was sampled with, A its advantage and R = A + V_old(h_t), mean over the action
tokens of a batch:

    mean max(-A rho, -A clip(rho, 1 - clip, 1 + clip))  +  value_weight * mean 1/2 (V(h_t) - R)^2
    -  entropy_weight * mean entropy(pi(h_t))  +  bc_weight * cloning loss on the offline data

The reward of a token is the game's, at the last token of an action, minus kl_weight * (log pi(a_t) - log pi_0(a_t))
with pi_0 the policy that the run started from; the coefficient may adapt to a target. Advantages are GAE along the
action tokens of an episode, over turns and over rows of tokens alike; after a game that was cut off V of its last state
counts, after the end of a task nothing does. Source: PPO (arXiv 1707.06347); LMRL-Gym (arXiv 2311.18232), section 4.1
and appendix; the adaptive coefficient is that of arXiv 1909.08593, equation 4.

Left out of the released version: a value clip in units of raw returns, advantages of the last chain whitened twice.
Added: rewards are divided by the running deviation of the returns, V learns alone in the first rounds, epochs end
early where the policy has moved far, and a policy that has collapsed ends the run.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from lmgym.critic import TRUNKS, Critic, CriticShape
from lmgym.episode import Episode
from lmgym.errors import UsageError, require_number, unknown
from lmgym.losses import clipped_surrogate, clipped_value_loss, mean
from lmgym.online import Collapse, RoundsConfig, frozen_copy, learn_by_playing
from lmgym.policy import Policy
from lmgym.run import Run
from lmgym.start import ModelConfig, offline_episodes, trained_policy
from lmgym.targets import DiscountConfig, chains, discounts, generalised_advantages, returns_to_go, whitened
from lmgym.tokens import TokenBatch, TokenDataset
from lmgym.train import Learner, RowSampler, StepLog


@dataclass(frozen=True)
class Config:
    """Proximal policy optimisation."""

    init: str | None = None
    """A finished run to start from; a clone of the data, trained once for all methods, if left out."""
    epochs: int = 2
    """Passes over the games of a round."""
    clip: float = 0.2
    """How far the ratio may move before it stops to count."""
    gae_lambda: float = 0.95
    """Decay of GAE: 1 trusts returns, 0 trusts V. It decays where the discount does."""
    value_weight: float = 0.5
    """Weight of the value loss."""
    value_clip: float | None = None
    """How far V may move in a round, in deviations of the return; without a limit if left out."""
    entropy_weight: float = 0.0
    """Weight of the entropy bonus."""
    bc_weight: float = 0.0
    """Weight of the cloning loss on the offline data, which is taken along with every step."""
    kl_weight: float = 0.01
    """Weight of the penalty for leaving the first policy, per token."""
    kl_target: float | None = None
    """Divergence from the first policy, per token, that the weight adapts to; a fixed weight if left out."""
    kl_horizon: float = 10_000
    """Games in which an adaptive weight changes by a fifth at most."""
    max_step_kl: float = 0.1
    """No further epoch of a round where the policy has moved so far in one, per token."""
    max_kl: float = 10.0
    """The run stops where the policy is farther than this from the first, per token, three rounds in a row."""
    warmup_rounds: int = 1
    """First rounds in which V learns alone."""
    whiten: bool = True
    """Shift and scale the advantages of a round to mean 0 and deviation 1."""
    trunk: str = "detached"
    """Where V reads: `detached`: the policy's trunk, which V does not train; `shared`: the same, trained by V as well;
    `own`: a copy of it, trained by V alone."""
    discount: DiscountConfig = field(default_factory=lambda: DiscountConfig(0.99))
    """The discount."""
    lm: ModelConfig = field(default_factory=ModelConfig)
    """The language model of a clone that has yet to be trained."""
    play: RoundsConfig = field(default_factory=RoundsConfig)
    """Rounds and optimizer."""

    def __post_init__(self) -> None:
        if self.trunk not in TRUNKS:
            raise unknown("trunk", self.trunk, TRUNKS)
        if self.epochs < 1:
            raise UsageError(f"epochs is 1 or more, not {self.epochs}")
        for name in ("clip", "kl_horizon", "max_step_kl", "max_kl", "kl_target", "value_clip"):
            if getattr(self, name) is not None:
                require_number(name, getattr(self, name), above=True)
        for name in ("value_weight", "entropy_weight", "bc_weight", "kl_weight", "warmup_rounds"):
            require_number(name, getattr(self, name))
        if not 0 <= self.gae_lambda <= 1:
            raise UsageError(f"gae_lambda is between 0 and 1, not {self.gae_lambda}")


class Outputs(NamedTuple):
    """logits [N, V]: of each action token, -inf for tokens that are never said; v [N]: V of the state before it."""

    logits: torch.Tensor
    v: torch.Tensor


class Networks(torch.nn.Module):
    """What is trained: a policy and the V beside it."""

    def __init__(self, policy: Policy, critic: Critic) -> None:
        super().__init__()
        self.policy, self.critic = policy, critic
        self.values_move_policy = critic.shape.trunk == "shared"

    def forward(self, batch: TokenBatch) -> Outputs:
        """Read the action tokens of a batch."""
        return self._read(batch)[0]

    def _read(self, batch: TokenBatch) -> tuple[Outputs, torch.Tensor]:
        outputs = self.policy(batch)
        if self.critic.trunk is not None:
            states, hidden = self.critic.states(self.policy.lm, batch)
        else:
            hidden = outputs.hidden if self.values_move_policy else outputs.hidden.detach()
            states = hidden[:, :-1][batch.action_mask[:, 1:]]
        logits = self.policy.without_never_said(outputs.logits)
        return Outputs(logits, self.critic.value(states)), hidden

    @torch.no_grad()
    def read_with_tails(self, batch: TokenBatch) -> tuple[Outputs, torch.Tensor]:
        """Return the outputs and V of the state after each row [B]."""
        outputs, hidden = self._read(batch)
        return outputs, self.critic.value(self.critic.states_after_rows(self.policy.lm, batch, hidden))


def log_probabilities(logits: torch.Tensor, batch: TokenBatch) -> torch.Tensor:
    """Return the log-probabilities [N] of the action tokens from logits [N, V]."""
    return logits.log_softmax(dim=-1).gather(1, batch.action_ids[:, None])[:, 0]


def entropies(logits: torch.Tensor) -> torch.Tensor:
    """Return the entropy in nats [N] of each distribution of logits [N, V], excluded tokens being -inf."""
    logps = logits.log_softmax(dim=-1)
    return -(logps.exp() * logps.masked_fill(logps == -torch.inf, 0.0)).sum(dim=-1)


def loss(
    batch: TokenBatch, outputs: Outputs, config: Config, *, policy_moves: bool = True
) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
    """Return the loss of a minibatch with the columns `advantages`, `returns` and `values` of a round."""
    old = {name: batch.at_actions(batch.columns[name]) for name in ("advantages", "returns", "values")}
    logps, old_logps = log_probabilities(outputs.logits, batch), batch.at_actions(batch.logprobs)
    value_loss = mean(clipped_value_loss(outputs.v, old["values"], old["returns"], config.value_clip), batch)
    surrogate = mean(clipped_surrogate(logps, old_logps, old["advantages"], config.clip), batch)
    entropy = mean(entropies(outputs.logits), batch)
    # In the warm-up nothing moves the policy; processes that share gradients expect one for every parameter.
    moving = surrogate - config.entropy_weight * entropy if policy_moves else 0.0 * logps.sum()
    total = config.value_weight * value_loss + moving
    log_ratios = (logps - old_logps).detach()
    metrics = {
        "loss": total,
        "policy_loss": surrogate,
        "value_loss": value_loss,
        "entropy": entropy,
        # Non-negative and of low variance: k3 of http://joschu.net/blog/kl-approx.html
        "step_kl": mean(log_ratios.exp() - 1 - log_ratios, batch),
        "clipped": mean(((log_ratios.exp() - 1).abs() > config.clip).float(), batch),
    }
    return total, metrics


def bc_loss(batch: TokenBatch, outputs: Outputs, weight: float) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
    """Return the weighted cloning loss of offline rows."""
    logps = log_probabilities(outputs.logits, batch)
    # What the tokenizer has no token for cannot be said, nor learned.
    value = mean(-logps.masked_fill(logps == -torch.inf, 0.0), batch)
    # V has no part in it, but processes that share gradients expect one for every parameter.
    return weight * value + 0.0 * outputs.v.sum(), {"bc_loss": value}


class Ppo:
    """What is kept from round to round, and how a round is learned from."""

    def __init__(self, run: Run, networks: Networks, config: Config, offline: TokenDataset | None) -> None:
        self.networks, self.config, self.offline = networks, config, offline
        self.first_policy: Any = frozen_copy(networks.policy)
        self.seed = run.recipe.seed
        self._sampler: RowSampler | None = None
        self.state: dict[str, Any] = {
            "kl_weight": config.kl_weight,
            "returns": [0, 0.0, 0.0],
            "far_rounds": 0,
            "steps": 0,
        }

    def learn(self, learner: Learner, episodes: Sequence[Episode], index: int, log: StepLog) -> Mapping[str, float]:
        """Take the steps of a round and return its facts."""
        # Without dropout, with which no token would have the probability that it was sampled with.
        self.networks.eval()
        policy, config = self.networks.policy, self.config
        data = TokenDataset(episodes, policy.codec, policy.view)
        rows = data.rows_with_actions()
        found = self._valued(data, rows, learner)
        policy_moves = index >= config.warmup_rounds
        self.networks.values_move_policy = policy_moves and config.trunk == "shared"
        terms = partial(loss, config=config, policy_moves=policy_moves)
        epochs = 0
        for epoch in range(config.epochs):
            moved = [
                self._step(learner, data, batch_rows, terms, index, log)
                for batch_rows in self._minibatches(learner, data, rows, index * config.epochs + epoch)
            ]
            epochs += 1
            if policy_moves and float(np.mean(moved)) > config.max_step_kl:
                break
        self._adapt(found["kl"], len(episodes))
        return {**found, "epochs": epochs, "kl_weight": self.state["kl_weight"]}

    def _minibatches(self, learner: Learner, data: TokenDataset, rows: np.ndarray, epoch: int) -> Iterator[np.ndarray]:
        """Yield the rows of an epoch in parts of about `batch_tokens`, none much smaller than the others."""
        order = np.random.default_rng([self.seed, epoch]).permutation(rows)
        yield from np.array_split(order, max(1, round(len(rows) / learner.rows_per_step(data, rows))))

    def _step(
        self, learner: Learner, data: TokenDataset, rows: np.ndarray, terms: Any, index: int, log: StepLog
    ) -> float:
        batch = data.batch(rows)
        sums = learner.backward(batch, terms)
        if self.offline is not None and index >= self.config.warmup_rounds:
            sums |= learner.backward(self._offline_batch(learner), partial(bc_loss, weight=self.config.bc_weight))
        sums |= learner.update(self.config.play.rate_of(index))
        self.state["steps"] += 1
        log.add(sums, int(batch.attention_mask.sum()))
        return float(learner.accelerator.reduce(sums["step_kl"], reduction="sum"))

    def _offline_batch(self, learner: Learner) -> TokenBatch:
        assert self.offline is not None
        if self._sampler is None:
            rows = self.offline.rows_with_actions()
            self._sampler = RowSampler(rows, learner.rows_per_step(self.offline, rows), self.seed)
        return self.offline.batch(self._sampler.rows_of(self.state["steps"]))

    def _valued(self, data: TokenDataset, rows: np.ndarray, learner: Learner) -> dict[str, float]:
        """Add the columns that the loss needs to a round's data, and return what they say of the round."""
        config = self.config
        found = chains(data)
        values, last_values, first_logps, logps = self._read(data, rows, learner)
        if learner.precision != "float32" or self.networks.policy.lm.dtype != torch.float32:
            # Sampled in full precision, learned in half: ratios are to begin at one.
            data.logprobs[found.places] = logps
        factors = discounts(found.ends_turn, config.discount)
        decays = discounts(found.ends_turn, DiscountConfig(config.gae_lambda, config.discount.discount_per))
        rewards = data.rewards[found.places].astype(np.float64)
        returns = returns_to_go(rewards, factors, found.ends_chain)
        self._count(returns)
        log_ratios = data.logprobs[found.places] - first_logps
        rewards = rewards / self.deviation() - self.state["kl_weight"] * log_ratios
        advantages = generalised_advantages(rewards, values, last_values, factors, decays, found.ends_chain)
        targets = advantages + values
        columns = {
            "values": values,
            "returns": targets,
            "advantages": whitened(advantages) if config.whiten else advantages,
        }
        for name, column in columns.items():
            data.columns[name] = np.zeros(len(data.ids), dtype=np.float32)
            data.columns[name][found.places] = column
        # The policy's own samples estimate the divergence from the first policy.
        kl = float(np.mean(np.exp(-log_ratios) - 1 + log_ratios))
        self._watch(kl)
        explained = 1 - float(np.var(targets - values)) / max(float(np.var(targets)), 1e-12)
        return {"kl": kl, "explained_variance": explained}

    def _read(
        self, data: TokenDataset, rows: np.ndarray, learner: Learner
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return for the action tokens of a round [N] V before them, V after them where a game was cut off (else 0),
        their log-probabilities by the first policy, and by the policy as it is."""
        values, after, first, now = [], [], [], []
        size = 4 * learner.rows_per_step(data, rows)
        self.first_policy.to(learner.accelerator.device)
        # A row without actions, the last observation of a game that was cut off, is the follower of the row before.
        for start in range(0, len(rows), size):
            batch = data.batch(rows[start : start + size]).to(learner.accelerator.device)
            with torch.no_grad(), learner.autocast():
                outputs, tails = self.networks.read_with_tails(batch)
                logits = self.first_policy.without_never_said(self.first_policy(batch).logits)
            places = batch.action_mask.nonzero()[:, 0]
            going_on = batch.at_actions(batch.not_done)
            values.append(outputs.v.cpu().numpy())
            after.append((tails[places] * going_on).cpu().numpy())
            first.append(log_probabilities(logits, batch).cpu().numpy())
            now.append(log_probabilities(outputs.logits, batch).cpu().numpy())
        return np.concatenate(values), np.concatenate(after), np.concatenate(first), np.concatenate(now)

    def _count(self, returns: np.ndarray) -> None:
        """Add the returns to go of a round to the running count, mean and sum of squares."""
        count, average, squares = self.state["returns"]
        total = count + len(returns)
        shift = float(returns.mean()) - average
        squares += float(((returns - returns.mean()) ** 2).sum()) + shift**2 * count * len(returns) / total
        self.state["returns"] = [total, average + shift * len(returns) / total, squares]

    def deviation(self) -> float:
        """Return the running deviation of the returns to go, which rewards are divided by."""
        count, _, squares = self.state["returns"]
        deviation = math.sqrt(squares / count)
        return deviation if deviation > 1e-8 else 1.0

    def _adapt(self, kl: float, games: int) -> None:
        if self.config.kl_target is not None:
            error = float(np.clip(kl / self.config.kl_target - 1, -0.2, 0.2))
            self.state["kl_weight"] *= 1 + error * games / self.config.kl_horizon

    def _watch(self, kl: float) -> None:
        """Raise Collapse at the third round in a row that is too far from the first policy."""
        far = not kl <= self.config.max_kl
        self.state["far_rounds"] = self.state["far_rounds"] + 1 if far else 0
        if self.state["far_rounds"] >= 3:
            raise Collapse(f"the policy is {kl:.3g} nats per token from the first one, for the third round in a row")


def train(run: Run, config: Config) -> None:
    """Improve the policy by play and save it with its V."""
    episodes = offline_episodes(run)
    policy = trained_policy(run, config.init, config.lm, "bc")
    offline = TokenDataset(episodes, policy.codec, policy.view) if config.bc_weight > 0 else None
    critic = Critic.seeded(policy.lm, CriticShape(config.trunk, num_q=0, has_v=True), np.zeros(1), run.recipe.seed)
    networks = Networks(policy, critic)
    method = Ppo(run, networks, config, offline)
    best_round = learn_by_playing(run, policy, networks, config.play, method.learn, method.state)
    if best_round > 0:
        critic.shape = CriticShape(config.trunk, num_q=0, has_v=True, reward_scale=1 / method.deviation())
        policy.critic = critic
    run.finish(policy)
