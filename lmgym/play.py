"""A token policy plays: reads the turns in view, samples an action token by token."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lmgym.errors import UsageError
from lmgym.generate import draw, generate
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

    def _sample(
        self, contexts: list[list[int]], chances: list[np.random.Generator]
    ) -> list[tuple[tuple[int, ...], tuple[float, ...]]]:
        """Sample one action for each context."""

        def pick(logits: torch.Tensor, running: set[int]) -> tuple[list[int], list[float]]:
            return self._draw(
                logits, [chance.random() if row in running else 0.0 for row, chance in enumerate(chances)]
            )

        limits = [self.policy.view.max_reply_tokens] * len(contexts)
        return generate(self.policy.lm, contexts, pick, limits=limits, stops=self._stops, pad=self.policy.codec.pad)

    def _draw(self, logits: torch.Tensor, uniforms: list[float]) -> tuple[list[int], list[float]]:
        logits[:, self._banned] = -torch.inf
        return draw(logits, uniforms, [self.temperature] * len(uniforms))
