"""Sampling from a causal language model, many contexts at a time: what is said to one does not depend on the others."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
import torch

Pick = Callable[[Sequence[Any], set[int]], tuple[list[int], list[float]]]
"""From what each model says of B contexts and the rows that still run to B tokens and log-probabilities."""


@torch.inference_mode()
def generate(
    models: Sequence[Any],
    contexts: Sequence[Sequence[int]],
    pick: Pick,
    *,
    limits: Sequence[int],
    stops: AbstractSet[int],
    pad: int,
) -> list[tuple[tuple[int, ...], tuple[float, ...]]]:
    """Go on with each context until a token of `stops` (which is kept) or `limits[row]` tokens.

    `models` are causal models (or their trunks) that read the same tokens, each with an attention cache of its own
    for the whole call; what concerns the next token is at the last place of their outputs. Filling stands on the
    left. Returns the token ids and their log-probabilities, row by row.
    """
    device = models[0].device
    ids, mask = (torch.from_numpy(rows).to(device) for rows in _filled(contexts, pad))
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    replies: list[list[int]] = [[] for _ in contexts]
    logprobs: list[list[float]] = [[] for _ in contexts]
    running = {row for row, limit in enumerate(limits) if limit > 0}
    caches: list[Any] = [None] * len(models)
    while running:
        inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions, "use_cache": True}
        outputs = [model(**inputs, past_key_values=cache) for model, cache in zip(models, caches, strict=True)]
        caches = [output.past_key_values for output in outputs]
        tokens, logps = pick(outputs, running)
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
