"""A token policy plays: reads the turns in view, samples an action token by token."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lmgym.errors import UsageError
from lmgym.policy import Policy
from lmgym.rollout import Game, Reply
from lmgym.tokens import Window, piece_ids


@dataclass
class _Reading:
    """What the policy remembers of a game: the tokens of every piece and the window over them."""

    window: Window
    pieces: list[tuple[int, ...]]
    start: int = 0


class PolicyAgent:
    """Acts in many games with one policy. Each game draws from a generator of its own, so that what is said in
    it depends neither on the other games nor on their number."""

    def __init__(self, policy: Policy, *, name: str = "policy", temperature: float = 1.0) -> None:
        if not 0 <= temperature < math.inf:
            raise UsageError(f"a temperature is 0 (greedy) or more, not {temperature}")
        self.name = name
        self.policy = policy.eval()
        self.tokenizer: str | None = policy.codec.fingerprint
        self.temperature = temperature
        # A pretrained model may have more embeddings than its tokenizer has tokens.
        nameless = range(len(policy.codec.tokenizer), policy.num_embeddings)
        self._banned = torch.tensor(sorted({*policy.codec.banned, *nameless}), dtype=torch.int64)
        self._stops = policy.codec.stops

    def begin(self, game: Game) -> None:
        """Start reading a new game."""
        game.memory = _Reading(Window(self.policy.view), [])

    def act(self, games: Sequence[Game]) -> list[Reply]:
        """Read the last observation of each game and sample an action."""
        contexts = [self._read(game) for game in games]
        sampled = self._sample(contexts, [game.random for game in games])
        replies = []
        for game, (ids, logprobs) in zip(games, sampled, strict=True):
            game.memory.window.act(len(ids))
            game.memory.pieces.append(ids)
            replies.append(Reply(self.policy.codec.decode_action(ids), ids, logprobs))
        return replies

    def _read(self, game: Game) -> list[int]:
        reading: _Reading = game.memory
        ids = piece_ids(game.turns[-1], self.policy.codec, self.policy.view, sampled=True)
        reading.pieces.append(ids)
        start = reading.window.observe(len(ids))
        return [token for piece in reading.pieces[2 * start :] for token in piece]

    @torch.inference_mode()
    def _sample(
        self, contexts: list[list[int]], chances: list[np.random.Generator]
    ) -> list[tuple[tuple[int, ...], tuple[float, ...]]]:
        """Sample one action for each context: filling on the left, one cache for the whole turn."""
        lm, device = self.policy.lm, next(self.policy.parameters()).device
        width = max(len(context) for context in contexts)
        rows = np.full((len(contexts), width), self.policy.codec.pad, dtype=np.int64)
        present = np.zeros((len(contexts), width), dtype=np.int64)
        for row, context in enumerate(contexts):
            rows[row, width - len(context) :] = context
            present[row, width - len(context) :] = 1
        ids, mask = torch.from_numpy(rows).to(device), torch.from_numpy(present).to(device)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        replies: list[list[int]] = [[] for _ in contexts]
        logprobs: list[list[float]] = [[] for _ in contexts]
        running = set(range(len(contexts)))
        cache: Any = None
        for _ in range(self.policy.view.max_reply_tokens):
            outputs = lm(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            cache = outputs.past_key_values
            uniforms = [chances[row].random() if row in running else 0.0 for row in range(len(contexts))]
            tokens, logps = self._draw(outputs.logits[:, -1], uniforms)
            for row in sorted(running):
                replies[row].append(tokens[row])
                logprobs[row].append(logps[row])
                if tokens[row] in self._stops:
                    running.discard(row)
            if not running:
                break
            ids = torch.tensor(tokens, device=device)[:, None]
            mask = torch.cat([mask, mask.new_ones(len(contexts), 1)], dim=1)
            positions = positions[:, -1:] + 1
        return [(tuple(reply), tuple(logps)) for reply, logps in zip(replies, logprobs, strict=True)]

    def _draw(self, logits: torch.Tensor, uniforms: list[float]) -> tuple[list[int], list[float]]:
        """Invert the cumulative distribution of logits [B, V] at uniforms [B]; also return log-probabilities."""
        logits = logits.float().cpu()
        logits[:, self._banned] = -torch.inf
        if self.temperature == 0:
            tokens = logits.argmax(dim=-1)
            logps = torch.zeros(len(tokens))
        else:
            # In double and from the maximum down, so that no temperature makes a logit infinite.
            below = logits.double() - logits.max(dim=-1, keepdim=True).values
            logps_all = (below / self.temperature).log_softmax(dim=-1)
            heights = logps_all.exp().cumsum(dim=-1)
            levels = torch.tensor(uniforms, dtype=torch.float64)[:, None] * heights[:, -1:]
            tokens = torch.searchsorted(heights, levels, right=True)[:, 0].clamp(max=logits.shape[1] - 1)
            logps = logps_all.gather(1, tokens[:, None])[:, 0]
        return tokens.tolist(), logps.tolist()
