"""Sampling from a causal language model, many contexts at a time: what is said to one does not depend on the others."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
import torch

Pick = Callable[[torch.Tensor, set[int]], tuple[list[int], list[float]]]
"""From logits [B, V] (float32, on the processor) and the rows that still run to B tokens and log-probabilities."""


@torch.inference_mode()
def generate(
    lm: Any, contexts: Sequence[Sequence[int]], pick: Pick, *, limits: Sequence[int], stops: AbstractSet[int], pad: int
) -> list[tuple[tuple[int, ...], tuple[float, ...]]]:
    """Go on with each context until a token of `stops` (which is kept) or `limits[row]` tokens.

    Filling stands on the left, and one attention cache serves the whole call. Returns the token ids and their
    log-probabilities, row by row.
    """
    device = lm.device
    ids, mask = (torch.from_numpy(rows).to(device) for rows in _filled(contexts, pad))
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    replies: list[list[int]] = [[] for _ in contexts]
    logprobs: list[list[float]] = [[] for _ in contexts]
    running = {row for row, limit in enumerate(limits) if limit > 0}
    cache: Any = None
    while running:
        outputs = lm(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache = outputs.past_key_values
        tokens, logps = pick(outputs.logits[:, -1].float().cpu(), running)
        for row in sorted(running):
            replies[row].append(tokens[row])
            logprobs[row].append(logps[row])
            if tokens[row] in stops or len(replies[row]) == limits[row]:
                running.discard(row)
        ids = torch.tensor(tokens, device=device)[:, None]
        mask = torch.cat([mask, mask.new_ones(len(contexts), 1)], dim=1)
        positions = positions[:, -1:] + 1
    return [(tuple(reply), tuple(logps)) for reply, logps in zip(replies, logprobs, strict=True)]


def _filled(contexts: Sequence[Sequence[int]], pad: int) -> tuple[np.ndarray, np.ndarray]:
    width = max(len(context) for context in contexts)
    rows = np.full((len(contexts), width), pad, dtype=np.int64)
    present = np.zeros((len(contexts), width), dtype=np.int64)
    for row, context in enumerate(contexts):
        rows[row, width - len(context) :] = context
        present[row, width - len(context) :] = 1
    return rows, present


def draw(
    logits: torch.Tensor, uniforms: Sequence[float], temperatures: Sequence[float]
) -> tuple[list[int], list[float]]:
    """Invert the cumulative distribution of logits [B, V] at uniforms [B]; also return log-probabilities.

    Where the temperature is 0 the most likely token is taken, with log-probability 0.
    """
    heat = torch.tensor(temperatures, dtype=torch.float64)
    greedy = heat == 0
    # In double and from the maximum down, so that no temperature makes a logit infinite.
    below = logits.double() - logits.max(dim=-1, keepdim=True).values
    logps_all = (below / torch.where(greedy, 1.0, heat)[:, None]).log_softmax(dim=-1)
    heights = logps_all.exp().cumsum(dim=-1)
    levels = torch.tensor(uniforms, dtype=torch.float64)[:, None] * heights[:, -1:]
    tokens = torch.searchsorted(heights, levels, right=True)[:, 0].clamp(max=logits.shape[1] - 1)
    logps = logps_all.gather(1, tokens[:, None])[:, 0]
    tokens = torch.where(greedy, logits.argmax(dim=-1), tokens)
    return tokens.tolist(), torch.where(greedy, 0.0, logps).tolist()
