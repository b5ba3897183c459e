"""How the next token is chosen, once the policy has said how likely and the critic what it is worth."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lmgym.errors import UsageError


@dataclass(frozen=True)
class Decoding:
    """Settings of play. Without a critic, `beta` has no effect."""

    temperature: float = 1.0
    """1 samples as trained, 0 takes the best token."""
    beta: float = 4.0
    """Weight of the critic's Q beside the policy's log-probability."""
    support: float = 0.01
    """With a critic: a token whose probability is below this share of the likeliest's is never said, whatever it
    seems to be worth, because values of what the data hardly show are guesses."""
    top_k: int | None = None
    """Sample among so many best tokens only."""
    top_p: float = 1.0
    """Sample among the fewest best tokens that together have this probability."""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise UsageError(f"a temperature is 0 (greedy) or more, not {self.temperature}")
        if not 0 <= self.beta < math.inf:
            raise UsageError(f"beta is 0 (the policy alone) or more, not {self.beta}")
        if not 0 <= self.support <= 1:
            raise UsageError(f"support is between 0 and 1, not {self.support}")
        if self.top_k is not None and self.top_k < 1:
            raise UsageError(f"top_k is 1 or more, not {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top_p is above 0 and up to 1, not {self.top_p}")


def guided(logits: torch.Tensor, q: torch.Tensor | None, decoding: Decoding) -> torch.Tensor:
    """Return log pi + beta * Q [B, V] (not normalised) from the policy's logits [B, V] and Q [B, V]; -inf for
    tokens without support by the policy.

    The one rule by which learned values act. Source: LMRL-Gym (arXiv 2311.18232), section 4.1; ILQL (arXiv
    2206.11871), section 4.4, where V, the same for all tokens, is taken off Q. The support is that of BCQ (arXiv
    1910.01708), equation 10.
    """
    if q is None or decoding.beta == 0:
        return logits
    logps = logits.log_softmax(dim=-1)
    unsupported = logps < logps.amax(dim=-1, keepdim=True) + math.log(max(decoding.support, 1e-300))
    return (logps + decoding.beta * q).masked_fill(unsupported, -torch.inf)


def log_probabilities(scores: torch.Tensor, decoding: Decoding) -> torch.Tensor:
    """Return the log-probabilities [B, V] float64 that tokens are drawn with; excluded ones have score -inf.

    At temperature 0 all probability is on the best token, the first of equals.
    """
    # In double and from the maximum down, so that no temperature makes a score infinite.
    below = scores.double() - scores.amax(dim=-1, keepdim=True)
    if decoding.temperature == 0:
        best = torch.full_like(below, -torch.inf)
        return best.scatter(-1, scores.argmax(dim=-1, keepdim=True), 0.0)
    logps = (below / decoding.temperature).log_softmax(dim=-1)
    if decoding.top_k is not None and decoding.top_k < logps.shape[-1]:
        least = logps.topk(decoding.top_k, dim=-1).values[..., -1:]
        logps = logps.masked_fill(logps < least, -torch.inf).log_softmax(dim=-1)
    if decoding.top_p < 1:
        ordered, order = logps.sort(dim=-1, descending=True, stable=True)
        # A token stays while those before it have not reached top_p together.
        beyond = (ordered.exp().cumsum(dim=-1) - ordered.exp()) >= decoding.top_p
        ordered = ordered.masked_fill(beyond, -torch.inf).log_softmax(dim=-1)
        logps = torch.empty_like(logps).scatter(-1, order, ordered)
    return logps


def draw(logps: torch.Tensor, uniforms: Sequence[float]) -> torch.Tensor:
    """Return tokens [B]: the cumulative distributions of logps [B, V] inverted at uniforms [B] in [0, 1)."""
    heights = logps.exp().cumsum(dim=-1)
    levels = torch.tensor(uniforms, dtype=torch.float64, device=logps.device)[:, None] * heights[:, -1:]
    return torch.searchsorted(heights, levels, right=True)[:, 0].clamp(max=logps.shape[-1] - 1)
