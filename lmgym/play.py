"""A token policy plays: reads the turns in view, samples an action token by token."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lmgym.decoding import Decoding, draw, guided, log_probabilities
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
        policy, critic, device = self.policy, self.policy.critic, self.policy.device
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
        # The policy's own trunk and, where it has one of its own, the critic's: each with a cache.
        trunks = [policy.lm.base_model]
        if critic is not None and critic.trunk is not None and self.decoding.beta > 0:
            trunks.append(critic.trunk)
        caches: list[Any] = [None] * len(trunks)
        for _ in range(policy.view.max_reply_tokens):
            hidden = []
            for index, trunk in enumerate(trunks):
                outputs = trunk(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=positions,
                    past_key_values=caches[index],
                    use_cache=True,
                )
                caches[index] = outputs.past_key_values
                hidden.append(outputs.last_hidden_state[:, -1])
            q = None if critic is None else critic.lowest_q(hidden[-1])
            uniforms = [chances[row].random() if row in running else 0.0 for row in range(len(contexts))]
            tokens, logps = self._draw(self.scores(policy.logits(hidden[0]), q), uniforms)
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

    def scores(self, logits: torch.Tensor, q: torch.Tensor | None) -> torch.Tensor:
        """Return what tokens are chosen by, on the processor: guided logits [B, V], -inf for those never said."""
        scores = guided(logits, q, self.decoding.beta).cpu()
        scores[:, self._banned] = -torch.inf
        return scores

    def _draw(self, scores: torch.Tensor, uniforms: list[float]) -> tuple[list[int], list[float]]:
        """Draw a token for each row of scores [B, V]; also return its log-probability."""
        logps = log_probabilities(scores, self.decoding)
        tokens = draw(logps, uniforms)
        return tokens.tolist(), logps.gather(1, tokens[:, None])[:, 0].tolist()
