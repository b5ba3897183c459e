"""What the methods minimise, in parts that several of them share.

Every loss is a sum over the action tokens of a part of a batch divided by the whole batch's `num_actions`, so that
the losses of the parts add up. N is the number of action tokens at hand, V the vocabulary.
"""

from collections.abc import Mapping

import torch
from torch.nn import functional

from lmgym.policy import Outputs
from lmgym.tokens import TokenBatch


def cross_entropy(logits: torch.Tensor, batch: TokenBatch) -> torch.Tensor:
    """Return the mean negative log-likelihood of the action tokens in nats, from logits [N, V]."""
    return functional.cross_entropy(logits, batch.action_ids, reduction="sum") / batch.num_actions


def accuracy(logits: torch.Tensor, batch: TokenBatch) -> torch.Tensor:
    """Return the share of action tokens that were most likely, from logits [N, V]."""
    return (logits.argmax(dim=-1) == batch.action_ids).sum() / batch.num_actions


def cloning(batch: TokenBatch, outputs: Outputs) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
    """Return the loss of behaviour cloning and its metrics: the cross-entropy of the action tokens in nats, and the
    share of them that was most likely."""
    value = cross_entropy(outputs.logits, batch)
    return value, {"loss": value, "accuracy": accuracy(outputs.logits, batch)}


def with_shared_policy(
    value: torch.Tensor,
    metrics: Mapping[str, torch.Tensor],
    logits: torch.Tensor | None,
    batch: TokenBatch,
    bc_weight: float,
) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
    """Return a loss of values and its metrics, with the cloning of the policy that shares its trunk with them, where
    one does: `logits` [N, V] are the policy's, else None."""
    if logits is None:
        return value, {"loss": value, **metrics}
    bc_loss = cross_entropy(logits, batch)
    total = value + bc_weight * bc_loss
    return total, {"loss": total, **metrics, "bc_loss": bc_loss}


def mean(values: torch.Tensor, batch: TokenBatch) -> torch.Tensor:
    """Return the mean over action tokens of values [N]."""
    return values.sum() / batch.num_actions


def expectile(errors: torch.Tensor, tau: float) -> torch.Tensor:
    """Return the asymmetric square 1/2 |tau - 1(u < 0)| u^2 of errors u = target - estimate, elementwise.

    Source: IQL (arXiv 2110.06169), equation 4. Minimised over the estimate it gives the mean at tau = 0.5 and
    the largest target as tau goes to 1.
    """
    weights = torch.where(errors < 0, 1 - tau, tau)
    return 0.5 * weights * errors.square()


def ends_turn(batch: TokenBatch) -> torch.Tensor:
    """Return [N] bool: whether an action token is the last of its action."""
    followed = torch.zeros_like(batch.action_mask)
    followed[:, :-1] = batch.action_mask[:, 1:]
    return ~followed[batch.action_mask]


def next_values(batch: TokenBatch, values: torch.Tensor, tails: torch.Tensor) -> torch.Tensor:
    """Return [N] the value of the state after each action token.

    values [N]: of the state before each action token; tails [B]: of the state after each row. Within a row it is
    the state before the next action token, so that tokens of the environment are skipped.
    """
    rows = batch.action_mask.nonzero()[:, 0]
    following = torch.empty_like(values)
    following[:-1] = values[1:]
    last = torch.ones_like(rows, dtype=torch.bool)
    last[:-1] = rows[1:] != rows[:-1]
    return torch.where(last, tails[rows], following)


def clipped_surrogate(
    logps: torch.Tensor, old_logps: torch.Tensor, advantages: torch.Tensor, clip: float
) -> torch.Tensor:
    """Return max(-A rho, -A clip(rho, 1 - clip, 1 + clip)) [N] with rho = exp(logps - old_logps).

    Source: PPO (arXiv 1707.06347), equation 7, as a loss.
    """
    ratios = (logps - old_logps).exp()
    return torch.maximum(-advantages * ratios, -advantages * ratios.clamp(1 - clip, 1 + clip))


def clipped_value_loss(
    values: torch.Tensor, old_values: torch.Tensor, returns: torch.Tensor, clip: float | None
) -> torch.Tensor:
    """Return 1/2 max((V - R)^2, (clip(V, V_old +- clip) - R)^2) [N]; without a clip, 1/2 (V - R)^2."""
    plain = (values - returns).square()
    if clip is None:
        return 0.5 * plain
    near = torch.minimum(torch.maximum(values, old_values - clip), old_values + clip)
    return 0.5 * torch.maximum(plain, (near - returns).square())
