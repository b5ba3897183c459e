"""The one place where text becomes tokens.

Notation, used everywhere: B rows in a batch, T tokens in a row, V vocabulary, N action tokens in a batch.

A piece of text is its tokens and then the terminator (the newline token); the terminator of an action belongs
to the action. Tokens that a policy sampled are never decoded and encoded again.
"""

import hashlib
import itertools
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from lmgym.episode import Episode, Turn
from lmgym.errors import UsageError
from lmgym.view import View, Window


class Codec:
    """A tokenizer with what multi-turn play needs to know of it."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        newline = tokenizer.encode("\n", add_special_tokens=False)
        if not newline or tokenizer.decode(newline[-1:]) != "\n":
            raise UsageError("this tokenizer has no token for a newline, which ends every piece of text")
        self.terminator: int = newline[-1]
        self._cache: dict[str, tuple[int, ...]] = {}

    @cached_property
    def fingerprint(self) -> str:
        """What tells this tokenizer from others: a hash of its complete definition."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise UsageError("only tokenizers of the `tokenizers` library (fast tokenizers) are supported")
        return hashlib.sha256(backend.to_str().encode()).hexdigest()[:16]

    @cached_property
    def stops(self) -> frozenset[int]:
        """Tokens that end an action: all that hold a newline, and the end of sequence."""
        texts = ((index, self.tokenizer.decode([index])) for index in range(len(self.tokenizer)))
        eos = self.tokenizer.eos_token_id
        return frozenset([index for index, text in texts if "\n" in text] + ([] if eos is None else [eos]))

    @cached_property
    def banned(self) -> frozenset[int]:
        """Special tokens that stand for no text and do not end an action; they are never sampled."""
        return frozenset(self.tokenizer.all_special_ids) - self.stops

    @property
    def pad(self) -> int:
        """A token to fill rows with; what it is does not matter, because filling is masked."""
        pad = self.tokenizer.pad_token_id
        return self.terminator if pad is None else pad

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a piece of text, its terminator last."""
        if text not in self._cache:
            if len(self._cache) > 100_000:
                self._cache.clear()
            ids = self.tokenizer.encode(text, add_special_tokens=False) if text else []
            self._cache[text] = (*ids, self.terminator)
        return self._cache[text]

    def decode_action(self, ids: Sequence[int]) -> str:
        """Return the text of sampled tokens up to the first newline."""
        if ids and ids[-1] == self.tokenizer.eos_token_id and ids[-1] != self.terminator:
            ids = ids[:-1]
        text = self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text.split("\n", 1)[0]


class TokenRow(NamedTuple):
    """One row before batching; all lists have length T. Fields as in `TokenBatch`."""

    ids: list[int]
    action_mask: list[bool]
    rewards: list[float]
    not_done: list[bool]
    logprobs: list[float]
    continues: bool


def piece_ids(turn: Turn, codec: Codec, view: View, *, sampled: bool) -> tuple[int, ...]:
    """Return the tokens of one piece as a policy sees them: sampled ids untouched, observations cut at the
    front and actions at the end where they are longer than the view allows."""
    if turn.by_agent:
        ids = turn.token_ids if sampled and turn.token_ids is not None else codec.encode(turn.text)
        return ids[: view.max_reply_tokens]
    return codec.encode(turn.text)[-view.max_observation_tokens :]


def encode_episode(episode: Episode, codec: Codec, view: View) -> list[TokenRow]:
    """Turn an episode into rows: a new row begins whenever the window moves, with the turns still in view.

    Raises ValueError for an episode without any observation.

    Every action is learned in exactly one row, the one with the context it is played with; actions that are
    only context there have action_mask False. The observation after a truncated episode is kept, in the last
    row or in one of its own, because its value is the target of the last action.
    """
    sampled = episode.tokenizer == codec.fingerprint
    window = Window(view)
    if not episode.turns:
        raise ValueError("an episode has at least one observation")
    turns = episode.turns[:-1] if episode.terminated and len(episode.turns) % 2 else episode.turns
    pieces = [piece_ids(turn, codec, view, sampled=sampled) for turn in turns]
    rows: list[TokenRow] = []
    row, row_start = _empty_row(), 0
    for index, (turn, ids) in enumerate(zip(turns, pieces, strict=True)):
        if turn.by_agent:
            window.act(len(ids))
            last = index == len(turns) - 1
            _append_action(row, ids, turn, done=episode.terminated and last, sampled=sampled)
            continue
        start = window.observe(len(ids))
        if start != row_start:
            rows.append(row._replace(continues=True))
            row, row_start = _empty_row(), start
            for context in pieces[2 * start : index]:
                _append_context(row, context)
        _append_context(row, ids)
    rows.append(row)
    return rows


def _empty_row() -> TokenRow:
    return TokenRow([], [], [], [], [], continues=False)


def _append_context(row: TokenRow, ids: Sequence[int]) -> None:
    count = len(ids)
    row.ids.extend(ids)
    row.action_mask.extend([False] * count)
    row.rewards.extend([0.0] * count)
    row.not_done.extend([True] * count)
    row.logprobs.extend([0.0] * count)


def _append_action(row: TokenRow, ids: Sequence[int], turn: Turn, *, done: bool, sampled: bool) -> None:
    count = len(ids)
    row.ids.extend(ids)
    row.action_mask.extend([True] * count)
    row.rewards.extend([0.0] * (count - 1) + [turn.reward])
    row.not_done.extend([True] * (count - 1) + [not done])
    row.logprobs.extend(turn.logprobs[:count] if sampled and turn.logprobs else [0.0] * count)


@dataclass(frozen=True)
class TokenBatch:
    """Rows of tokens, filled on the right.

    ids [B, T] int64: tokens; attention_mask [B, T] bool: True for a token, False for filling;
    action_mask [B, T] bool: True for a token that the agent wrote and that is learned in this row;
    rewards [B, T] float32: the reward of an action, at its last token, 0 elsewhere;
    not_done [B, T] bool: False at the last token of the action that terminated the task (not: truncated it);
    logprobs [B, T] float32: log-probability of a sampled token when it was sampled, 0 elsewhere;
    next_ids [B, U] int64: for a row that another row continues, the tokens of that one up to its first action:
    the state after this row; next_lengths [B] int64: how many they are, 0 for none;
    columns: what a method has added to the data set, [B, T] each;
    num_actions: number of action tokens that a mean is taken over; a part of a batch keeps the whole batch's,
    so that the losses of the parts add up to the loss of the whole.
    """

    ids: torch.Tensor
    attention_mask: torch.Tensor
    action_mask: torch.Tensor
    rewards: torch.Tensor
    not_done: torch.Tensor
    logprobs: torch.Tensor
    next_ids: torch.Tensor
    next_lengths: torch.Tensor
    columns: Mapping[str, torch.Tensor] = field(default_factory=dict)
    num_actions: int = field(default=0)

    @property
    def action_ids(self) -> torch.Tensor:
        """The action tokens [N], row after row."""
        return self.ids[self.action_mask]

    def at_actions(self, values: torch.Tensor) -> torch.Tensor:
        """Return the entries of `values` [B, T] at the action tokens, [N]."""
        return values[self.action_mask]

    def to(self, device: torch.device | str) -> "TokenBatch":
        """Return the batch on a device."""
        return self._each(lambda tensor: tensor.to(device))

    def distinct(self) -> "Distinct":
        """Return the rows that differ in their tokens or in which of them are learned."""
        first, rows = distinct_rows(2 * self.ids + self.action_mask)
        batch = self.part(first)
        numbers = batch.action_mask.flatten().cumsum(0).view_as(batch.ids) - 1
        return Distinct(batch, rows, numbers[rows][self.action_mask])

    def part(self, rows: slice | torch.Tensor) -> "TokenBatch":
        """Return some of the rows."""
        return self._each(lambda tensor: tensor[rows])

    def parts(self, count: int) -> list["TokenBatch"]:
        """Return the rows in `count` parts, each of rows of about one length and no wider than its longest row. Where
        lengths differ, that is less to compute than the whole."""
        if count == 1:
            return [self]
        order = self.attention_mask.sum(dim=1).argsort(stable=True)
        edges = [len(order) * part // count for part in range(count + 1)]
        return [self.part(order[begin:end])._cut_to_longest() for begin, end in itertools.pairwise(edges)]

    def _cut_to_longest(self) -> "TokenBatch":
        if len(self.ids) == 0:
            return self
        width = int(self.attention_mask.sum(dim=1).max())
        names = ("ids", "attention_mask", "action_mask", "rewards", "not_done", "logprobs")
        cut: dict[str, Any] = {name: getattr(self, name)[:, :width] for name in names}
        return replace(self, **cut, columns={name: column[:, :width] for name, column in self.columns.items()})

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "TokenBatch":
        changed: dict[str, Any] = {name: change(value) for name, value in vars(self).items() if torch.is_tensor(value)}
        return replace(self, **changed, columns={name: change(value) for name, value in self.columns.items()})


class Distinct(NamedTuple):
    """What differs in a batch. batch: its distinct rows; rows [B]: which of these each row of the whole batch equals;
    actions [N]: which of their action tokens each action token of the whole batch is."""

    batch: TokenBatch
    rows: torch.Tensor
    actions: torch.Tensor


# Odd, and random in its bits.
ROW_FACTOR = 0x5851F42D4C957F2D


def distinct_rows(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where rows [B, T] of integers first occur [D], and which of these occurrences each row equals [B].

    Where all differ, they stay in their order.

    >>> distinct_rows(torch.tensor([[5, 1], [5, 1]]))
    (tensor([0]), tensor([0, 0]))
    """
    everyone = torch.arange(len(rows), device=rows.device)
    # Many times faster than sorting whole rows: a number for each row, wrapping around at 64 bits.
    factors = torch.full(rows.shape[1:], ROW_FACTOR, dtype=torch.int64, device=rows.device).cumprod(0)
    numbers, where = (rows * factors).sum(dim=1).unique(return_inverse=True)
    first = torch.full_like(numbers, len(rows)).scatter_reduce_(0, where, everyone, "amin")
    # Two rows may have one number by chance; then nothing is saved, and nothing wrong.
    if len(first) == len(rows) or not torch.equal(rows[first][where], rows):
        return everyone, everyone
    return first, where


def repeated(values: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Return values [D, ...] at places [B]. Unlike those of an index, the gradients of a place that is named several
    times are summed in one order, on several threads and on a GPU too, so that the same command gives the same
    numbers."""
    found = functional.embedding(where, values.reshape(len(values), -1))
    return found.view(len(where), *values.shape[1:])


class TokenDataset:
    """The rows of many episodes, stored flat: one after the other, an array per field."""

    def __init__(self, episodes: Iterable[Episode], codec: Codec, view: View) -> None:
        ids, action_mask, not_done = array("i"), array("b"), array("b")
        rewards, logprobs = array("f"), array("f")
        lengths, continues = array("q"), array("b")
        for episode in episodes:
            for row in encode_episode(episode, codec, view):
                ids.extend(row.ids)
                action_mask.extend(row.action_mask)
                rewards.extend(row.rewards)
                not_done.extend(row.not_done)
                logprobs.extend(row.logprobs)
                lengths.append(len(row.ids))
                continues.append(row.continues)
        self.pad = codec.pad
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.continues = np.asarray(continues, dtype=bool)
        self._starts = np.cumsum(self.lengths) - self.lengths
        self.ids = np.asarray(ids, dtype=np.int64)
        self.action_mask = np.asarray(action_mask, dtype=bool)
        self.rewards = np.asarray(rewards, dtype=np.float32)
        self.not_done = np.asarray(not_done, dtype=bool)
        self.logprobs = np.asarray(logprobs, dtype=np.float32)
        self.columns: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.lengths)

    def rows_with_actions(self) -> np.ndarray:
        """Return the indices of the rows that have something to learn."""
        totals = np.add.reduceat(self.action_mask, self._starts) if len(self) else np.zeros(0)
        return np.flatnonzero(totals)

    @cached_property
    def _num_before_actions(self) -> np.ndarray:
        """Tokens of each row before its first action."""
        places = np.arange(len(self.ids)) - np.repeat(self._starts, self.lengths)
        unbounded = np.where(self.action_mask, places, np.iinfo(np.int64).max)
        return np.minimum(np.minimum.reduceat(unbounded, self._starts), self.lengths)

    def batch(self, rows: Sequence[int] | np.ndarray) -> TokenBatch:
        """Return the rows of these indices as a batch of B = len(rows)."""
        rows = np.asarray(rows, dtype=np.int64)
        lengths = self.lengths[rows]
        present, where = _places(self._starts[rows], lengths)

        def filled(flat: np.ndarray, filling: float = 0) -> torch.Tensor:
            return torch.from_numpy(np.where(present, flat[where], np.asarray(filling, flat.dtype)))

        followers = np.where(self.continues[rows], rows + 1, rows)
        next_lengths = np.where(self.continues[rows], self._num_before_actions[followers], 0)
        next_present, next_where = _places(self._starts[followers], next_lengths)
        return TokenBatch(
            ids=filled(self.ids, self.pad),
            attention_mask=torch.from_numpy(present),
            action_mask=filled(self.action_mask),
            rewards=filled(self.rewards),
            not_done=filled(self.not_done, True),
            logprobs=filled(self.logprobs),
            next_ids=torch.from_numpy(np.where(next_present, self.ids[next_where], self.pad)),
            next_lengths=torch.from_numpy(next_lengths),
            columns={name: filled(flat) for name, flat in self.columns.items()},
            num_actions=int((self.action_mask[where] & present).sum()),
        )


def _places(starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which columns of rows of these lengths are filled [B, T], and where they stand in a flat array."""
    columns = np.arange(lengths.max(initial=0))
    present = columns < lengths[:, None]
    return present, np.where(present, starts[:, None] + columns, 0)
