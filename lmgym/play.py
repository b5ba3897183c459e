"""A token policy plays: reads the turns in view, samples an action token by token."""

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from lmgym.decoding import Decoding, draw, guided, log_probabilities
from lmgym.errors import UsageError
from lmgym.policy import Policy
from lmgym.reading import Reader, can_keep
from lmgym.rollout import Game, Reply
from lmgym.tokens import Window, piece_ids


@dataclass
class _Memory:
    """What the policy remembers of a game: a number of its own, the window over its turns, the tokens of every piece
    and the turn from which on they have been read, all but the last token said."""

    key: int
    window: Window
    pieces: list[tuple[int, ...]] = field(default_factory=list)
    read_from: int = 0

    def in_view(self, start: int) -> list[int]:
        """Return the tokens from a turn on."""
        return [token for piece in self.pieces[2 * start :] for token in piece]


class PolicyAgent:
    """Acts in many games with one policy. Each game draws from a generator of its own, so that what is said in
    it depends neither on the other games nor on their number.

    What has been read stays in the attention cache from turn to turn, where the model allows it and `keep_cache`
    says so; else the window is read anew each turn. The games are the same. Tokens that are `banned`, or not
    `allowed`, are never said, and after `max_reply_tokens` (the view's own limit if left out) an action ends.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        name: str = "policy",
        decoding: Decoding | None = None,
        keep_cache: bool = True,
        banned: Collection[int] = (),
        allowed: Collection[int] | None = None,
        max_reply_tokens: int | None = None,
    ) -> None:
        self.name = name
        self.policy = policy.eval()
        self.tokenizer: str | None = policy.codec.fingerprint
        self.decoding = Decoding() if decoding is None else decoding
        self._guided = policy.critic is not None and len(policy.critic.q) > 0 and self.decoding.beta > 0
        self._stops = policy.codec.stops
        others = set() if allowed is None else set(range(policy.num_embeddings)) - set(allowed)
        never = sorted({*banned, *others})
        self._never = torch.tensor(never, dtype=torch.int64, device=policy.device)
        if len({*never, *policy.never_said}) == policy.num_embeddings:
            raise UsageError("every token is banned: nothing could be said")
        most = policy.view.max_reply_tokens
        self._budget = most if max_reply_tokens is None else min(max_reply_tokens, most)
        if self._budget < 1:
            raise UsageError(f"a reply has 1 token or more, not {max_reply_tokens}")
        self._keeps = keep_cache and policy.view.max_turns != 1 and can_keep(policy.lm)
        self._numbers = itertools.count()
        self._reader = Reader(self._trunks(), policy.codec.pad)

    def _trunks(self) -> list[torch.nn.Module]:
        """Return the policy's own trunk and, where it has one of its own that matters, the critic's."""
        critic = self.policy.critic
        trunk = critic.trunk if critic is not None and self._guided else None
        return [self.policy.lm.base_model, *([] if trunk is None else [trunk])]

    def begin(self, game: Game) -> None:
        """Start reading a new game."""
        game.memory = _Memory(next(self._numbers), Window(self.policy.view))

    def act(self, games: Sequence[Game]) -> list[Reply]:
        """Read the last observation of each game and sample an action."""
        states = self._read(games)
        sampled = self._sample(states, {game.memory.key: game.random for game in games})
        replies = []
        for game in games:
            ids, logprobs = sampled[game.memory.key]
            game.memory.window.act(len(ids))
            game.memory.pieces.append(ids)
            replies.append(Reply(self.policy.codec.decode_action(ids), ids, logprobs))
        return replies

    def _read(self, games: Sequence[Game]) -> list[torch.Tensor]:
        """Read what is new and return the states before the first token of each reply, row by row of the reader."""
        known = set(self._reader.keys) if self._keeps else set()
        going_on: dict[int, list[int]] = {}
        fresh: dict[int, list[int]] = {}
        for game in games:
            memory: _Memory = game.memory
            ids = piece_ids(game.turns[-1], self.policy.codec, self.policy.view, sampled=True)
            memory.pieces.append(ids)
            start = memory.window.observe(len(ids))
            if memory.key in known and start == memory.read_from:
                going_on[memory.key] = [memory.pieces[-2][-1], *ids]
            else:
                fresh[memory.key] = memory.in_view(start)
                memory.read_from = start
        self._reader.keep([key for key in self._reader.keys if key in going_on])
        parts = []
        if going_on:
            parts.append(self._reader.read([going_on[key] for key in self._reader.keys]))
        if fresh:
            parts.append(self._reader.start(list(fresh), list(fresh.values())))
        return [torch.cat(states) for states in zip(*parts, strict=True)]

    def _sample(
        self, states: list[torch.Tensor], chances: dict[int, np.random.Generator]
    ) -> dict[int, tuple[tuple[int, ...], tuple[float, ...]]]:
        """Sample an action for each game of the reader; those that are done early wait."""
        keys = self._reader.keys
        replies: list[list[int]] = [[] for _ in keys]
        logprobs: list[list[float]] = [[] for _ in keys]
        running = set(range(len(keys)))
        while True:
            uniforms = [chances[key].random() if row in running else 0.0 for row, key in enumerate(keys)]
            tokens, logps = self._draw(self._scores_of(states), uniforms)
            said: list[list[int]] = [[] for _ in keys]
            for row in sorted(running):
                replies[row].append(tokens[row])
                logprobs[row].append(logps[row])
                if tokens[row] in self._stops or len(replies[row]) == self._budget:
                    running.discard(row)
                else:
                    said[row] = [tokens[row]]
            if not running:
                break
            states = self._reader.read(said)
        return {key: (tuple(replies[row]), tuple(logprobs[row])) for row, key in enumerate(keys)}

    @torch.inference_mode()
    def _scores_of(self, states: list[torch.Tensor]) -> torch.Tensor:
        critic = self.policy.critic
        q = critic.lowest_q(states[-1]) if critic is not None and self._guided else None
        return self.scores(self.policy.logits(states[0]), q)

    def scores(self, logits: torch.Tensor, q: torch.Tensor | None) -> torch.Tensor:
        """Return what tokens are chosen by, on the processor: guided logits [B, V], -inf for those never said."""
        # First, so that what is never said is not the likeliest either.
        logits = self.policy.without_never_said(logits).index_fill(-1, self._never, -torch.inf)
        return guided(logits, q, self.decoding).cpu()

    def _draw(self, scores: torch.Tensor, uniforms: list[float]) -> tuple[list[int], list[float]]:
        """Draw a token for each row of scores [B, V]; also return its log-probability."""
        logps = log_probabilities(scores, self.decoding)
        tokens = draw(logps, uniforms)
        # As exact as files keep them.
        return tokens.tolist(), logps.gather(1, tokens[:, None])[:, 0].float().tolist()
