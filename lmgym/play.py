"""A token policy plays: reads the turns in view, samples an action token by token."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lmgym.decoding import Decoding, draw, guided, log_probabilities
from lmgym.generate import generate
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

    def __init__(self, policy: Policy, *, name: str = "policy", decoding: Decoding | None = None) -> None:
        self.name = name
        self.policy = policy.eval()
        self.tokenizer: str | None = policy.codec.fingerprint
        self.decoding = Decoding() if decoding is None else decoding
        # A pretrained model may have more embeddings than its tokenizer has tokens.
        nameless = range(len(policy.codec.tokenizer), policy.num_embeddings)
        banned = sorted({*policy.codec.banned, *nameless})
        self._banned = torch.tensor(banned, dtype=torch.int64, device=policy.device)
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
        policy, critic = self.policy, self.policy.critic
        # The policy's own trunk and, where it has one of its own, the critic's.
        trunks = [policy.lm.base_model]
        if critic is not None and critic.trunk is not None and self.decoding.beta > 0:
            trunks.append(critic.trunk)

        def pick(outputs: Sequence[Any], running: set[int]) -> tuple[list[int], list[float]]:
            states = [output.last_hidden_state[:, -1] for output in outputs]
            q = None if critic is None else critic.lowest_q(states[-1])
            scores = self.scores(policy.logits(states[0]), q)
            return self._draw(
                scores, [chance.random() if row in running else 0.0 for row, chance in enumerate(chances)]
            )

        limits = [policy.view.max_reply_tokens] * len(contexts)
        return generate(trunks, contexts, pick, limits=limits, stops=self._stops, pad=policy.codec.pad)

    def scores(self, logits: torch.Tensor, q: torch.Tensor | None) -> torch.Tensor:
        """Return what tokens are chosen by, on the processor: guided logits [B, V], -inf for those never said."""
        # First, so that what is never said is not the likeliest either.
        logits = logits.index_fill(-1, self._banned, -torch.inf)
        return guided(logits, q, self.decoding).cpu()

    def _draw(self, scores: torch.Tensor, uniforms: list[float]) -> tuple[list[int], list[float]]:
        """Draw a token for each row of scores [B, V]; also return its log-probability."""
        logps = log_probabilities(scores, self.decoding)
        tokens = draw(logps, uniforms)
        return tokens.tolist(), logps.gather(1, tokens[:, None])[:, 0].tolist()
