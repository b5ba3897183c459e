"""Values of tokens: what the policy's next token is worth, beside how likely it is.

Shapes: N states (positions before action tokens), V vocabulary, width of the hidden states.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from lmgym.errors import require_number, unknown
from lmgym.tokens import TokenBatch, distinct_rows, repeated
from lmgym.weights import copied, trained_weights

TRUNKS = ("own", "detached", "shared")

# Logits of so many entries are computed at a time where the vocabulary is large.
CHUNK_ENTRIES = 8_000_000


class Head(nn.Module):
    """Linear, ReLU, Linear on hidden states; the last layer starts at zero, so that every output is `bias`."""

    def __init__(self, width: int, outputs: int, bias: float = 0.0) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, outputs)
        nn.init.zeros_(self.outer.weight)
        nn.init.constant_(self.outer.bias, bias)

    def features(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return what the last layer sees, in its own precision, whatever the trunk computes in."""
        return functional.relu(self.inner(hidden.to(self.outer.weight.dtype)))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return all outputs [..., outputs] float32."""
        return self.outer(self.features(hidden)).float()

    def at(self, hidden: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """Return one output [N] for each of hidden [N, width], without computing the others."""
        weights = functional.embedding(outputs, self.outer.weight)
        return (self.features(hidden) * weights).sum(dim=-1).float() + self.outer.bias[outputs].float()

    def among_all(self, hidden: torch.Tensor, outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return one output [N] for each of hidden [N, width], and its -log softmax [N] among all outputs.

        A chunk of states at a time: the backward pass computes each chunk again, so that [N, V] never exists as a
        whole."""
        size = max(1, CHUNK_ENTRIES // self.outer.out_features)
        if len(hidden) <= size:
            return self._among_all(hidden, outputs)
        pieces = zip(hidden.split(size), outputs.split(size), strict=True)
        if torch.is_grad_enabled():
            found = [checkpoint(self._among_all, *piece, use_reentrant=False) for piece in pieces]
        else:
            found = [self._among_all(*piece) for piece in pieces]
        chosen, losses = zip(*found, strict=True)
        return torch.cat(chosen), torch.cat(losses)

    def _among_all(self, hidden: torch.Tensor, outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values = self(hidden)
        return values.gather(1, outputs[:, None])[:, 0], functional.cross_entropy(values, outputs, reduction="none")


@dataclass(frozen=True)
class CriticConfig:
    """The value network beside the policy."""

    trunk: str = "own"
    """`own`: a copy of the policy's trunk, trained by the values alone; `detached`: the policy's trunk as it is, only
    heads are trained; `shared`: the policy's trunk, trained by values and cloning together."""
    bc_weight: float = 1.0
    """With a shared trunk: weight of the cloning loss that keeps the policy as it is."""
    reward_scale: float | None = None
    """Factor on rewards; if left out, what makes the returns to go of the data vary by 1."""

    def __post_init__(self) -> None:
        if self.trunk not in TRUNKS:
            raise unknown("trunk", self.trunk, TRUNKS)
        require_number("bc_weight", self.bc_weight)
        if self.reward_scale is not None:
            require_number("reward_scale", self.reward_scale, above=True)


@dataclass(frozen=True)
class CriticShape:
    """What has to be known to build a critic beside a policy. Rewards are multiplied by `reward_scale` before
    anything is learned of them, so that returns are of order 1 and `beta` means the same in every game."""

    trunk: str = "own"
    num_q: int = 1
    has_v: bool = False
    reward_scale: float = 1.0


def hidden_states(trunk: Any, ids: torch.Tensor) -> torch.Tensor:
    """Return a trunk's last hidden states [B, T, width] of rows of tokens [B, T] filled on the right. Equal rows are
    read once (and dropout is the same in them): where the agent sees one observation at a time, there are many."""
    first, where = distinct_rows(ids)
    # Filling stands where a causal model does not look, so that no mask is needed.
    hidden = trunk(input_ids=ids[first], use_cache=False).last_hidden_state
    return hidden if len(first) == len(ids) else repeated(hidden, where)


def states_before_actions(trunk: Any, batch: TokenBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the hidden states before each action token [N, width], and all of them [B, T, width]."""
    hidden = hidden_states(trunk, batch.ids)
    return hidden[:, :-1][batch.action_mask[:, 1:]], hidden


class Critic(nn.Module):
    """One or more Q heads over the vocabulary and perhaps a V head, on the hidden states of a trunk.

    The trunk is a copy of the policy's (`own`), or the policy's itself, trained with the values (`shared`) or not
    (`detached`). At first every value is `usual`.
    """

    def __init__(self, lm: Any, shape: CriticShape, usual: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        size, width = lm.get_output_embeddings().weight.shape
        self.trunk = copied(lm.base_model) if shape.trunk == "own" else None
        self.q = nn.ModuleList(Head(width, size, usual) for _ in range(shape.num_q))
        self.v = Head(width, 1, usual) if shape.has_v else None

    def freeze_beside(self, lm: Any) -> None:
        """Leave only what the trunk's kind trains with a gradient."""
        for weight in trained_weights(lm):
            weight.requires_grad_(self.shape.trunk == "shared")

    def states(self, lm: Any, batch: TokenBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the trunk's states before each action token [N, width], and all of them [B, T, width]."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.shape.trunk != "detached"):
            return states_before_actions(self.trunk_beside(lm), batch)

    def trunk_beside(self, lm: Any) -> Any:
        """Return the trunk: its own, or that of the language model."""
        return lm.base_model if self.trunk is None else self.trunk

    @torch.no_grad()
    def states_after_rows(self, lm: Any, batch: TokenBatch, hidden: torch.Tensor) -> torch.Tensor:
        """Return the state after each row [B, width]: that of the row that continues it, where one does, else that
        of its own last token. hidden [B, T, width] is the trunk's of the batch. Without gradient."""
        rows = torch.arange(len(hidden), device=hidden.device)
        after = hidden[rows, batch.attention_mask.sum(dim=1) - 1].detach()
        going_on = (batch.next_lengths > 0).nonzero()[:, 0]
        if len(going_on):
            lengths = batch.next_lengths[going_on]
            ids = batch.next_ids[going_on]
            following = hidden_states(self.trunk_beside(lm), ids)
            after[going_on] = following[rows[: len(lengths)], lengths - 1].to(after.dtype)
        return after

    def lowest_q(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the smallest of the Q heads for every token, [..., V]."""
        return torch.stack([head(hidden) for head in self.q]).amin(dim=0)

    def lowest_q_at(self, lm: Any, batch: TokenBatch) -> torch.Tensor:
        """Return the smallest of the Q heads for each action token of a batch, [N]."""
        states, _ = self.states(lm, batch)
        return torch.stack([head.at(states, batch.action_ids) for head in self.q]).amin(dim=0)

    def value(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return V [...] of hidden [..., width]. Raises ValueError where there is no such head."""
        if self.v is None:
            raise ValueError("this critic has no V")
        return self.v(hidden)[..., 0]

    @classmethod
    def seeded(cls, lm: Any, shape: CriticShape, returns: np.ndarray, seed: int) -> "Critic":
        """Build a critic whose new weights depend on `seed` alone, before it learns of scaled returns [N]."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(lm, shape, usual=float(returns.mean()))
