"""Reading many conversations at once, each token once: attention caches that are kept from turn to turn.

B is the number of conversations, W the width of the cache. A row of the cache holds the tokens of one conversation
in order, with holes where others went on and it did not; holes are masked, and positions count tokens, not columns.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import Cache
from transformers.cache_utils import DynamicLayer

# Rows are packed anew where holes are more than this share of what is needed.
TOLERATED_HOLES = 0.25


class RoomyLayer(DynamicLayer):
    """Keys and values with room for more, so that a new token is written into its place instead of all being copied."""

    keys: torch.Tensor
    values: torch.Tensor
    room: tuple[torch.Tensor, torch.Tensor]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append [B, heads, T, size] and return all there is."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.fill(key_states, value_states)
            return self.keys, self.values
        start, end = self.keys.shape[-2], self.keys.shape[-2] + key_states.shape[-2]
        if end > self.room[0].shape[-2]:
            self.fill(self.keys, self.values, capacity=end)
        for whole, new in zip(self.room, (key_states, value_states), strict=True):
            whole[:, :, start:end] = new
        self.keys, self.values = self.room[0][:, :, :end], self.room[1][:, :, :end]
        return self.keys, self.values

    def fill(self, keys: torch.Tensor, values: torch.Tensor, capacity: int = 0) -> None:
        """Hold these [B, heads, W, size] and nothing else, with room for as much again."""
        width = keys.shape[-2]
        room = max(capacity, width) + max(32, max(capacity, width) // 2)
        self.room = (
            keys.new_empty((*keys.shape[:2], room, keys.shape[-1])),
            values.new_empty((*values.shape[:2], room, values.shape[-1])),
        )
        for whole, part in zip(self.room, (keys, values), strict=True):
            whole[:, :, :width] = part
        self.keys, self.values = self.room[0][:, :, :width], self.room[1][:, :, :width]


def can_keep(lm: Any) -> bool:
    """Return whether a model's attention looks at all tokens before, so that its cache may have holes."""
    config = lm.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        return all(kind == "full_attention" for kind in kinds)
    # Attention within a distance counts columns, and recurrent states cannot leave a token out.
    return getattr(config, "sliding_window", None) is None and not getattr(lm, "_is_stateful", False)


class Reader:
    """Reads conversations, told apart by keys, with one or more models that read the same tokens."""

    def __init__(self, models: Sequence[Any], pad: int) -> None:
        self._models, self._pad = list(models), pad
        self._device = models[0].device
        self.keys: list[int] = []
        self._caches: list[Any] = []
        self._mask = torch.zeros((0, 0), dtype=torch.int64, device=self._device)

    @property
    def lengths(self) -> torch.Tensor:
        """Tokens read of each row [B]."""
        return self._mask.sum(dim=1)

    def keep(self, keys: Sequence[int]) -> None:
        """Forget all conversations but these; pack the rows where that gains room."""
        places = {key: row for row, key in enumerate(self.keys)}
        rows = [places[key] for key in keys]
        self.keys = list(keys)
        if not rows:
            self._caches, self._mask = [], self._mask[:0, :0]
            return
        chosen = self._mask[rows]
        longest = int(chosen.sum(dim=1).max())
        if len(rows) < len(places) or self._mask.shape[1] > (1 + TOLERATED_HOLES) * longest:
            self._pack(rows, chosen, longest)

    def _pack(self, rows: list[int], chosen: torch.Tensor, width: int) -> None:
        """Move the tokens of these rows together, the last of each to the right edge of `width` columns."""
        # A stable sort puts holes first and leaves the tokens in order.
        columns = chosen.argsort(dim=1, stable=True)[:, -width:]
        self._mask = chosen.gather(1, columns)
        index = torch.tensor(rows, device=self._device)
        for cache in self._caches:
            for layer in cache.layers:
                packed = []
                for part in (layer.keys, layer.values):
                    where = columns[:, None, :, None].expand(-1, part.shape[1], -1, part.shape[-1])
                    packed.append(part[index].gather(2, where))
                layer.fill(*packed)

    @torch.inference_mode()
    def start(self, keys: Sequence[int], tokens: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """Begin to read conversations beside those that are kept; return each model's last state [len(keys), width]."""
        fresh = Reader(self._models, self._pad)
        fresh.keys, fresh._mask = list(keys), self._mask.new_zeros((len(keys), 0))
        fresh._caches = [Cache(layer_class_to_replicate=RoomyLayer) for _ in self._models]
        states = fresh.read(tokens)
        self._join(fresh)
        return states

    def _join(self, fresh: "Reader") -> None:
        if not self.keys:
            self.keys, self._caches, self._mask = fresh.keys, fresh._caches, fresh._mask
            return
        self.keys += fresh.keys
        width = max(self._mask.shape[1], fresh._mask.shape[1])
        self._mask = torch.cat([_widened(self._mask, width, 1), _widened(fresh._mask, width, 1)])
        for cache, other in zip(self._caches, fresh._caches, strict=True):
            for layer, added in zip(cache.layers, other.layers, strict=True):
                joined = [
                    torch.cat([_widened(mine, width, 2), _widened(theirs, width, 2)])
                    for mine, theirs in ((layer.keys, added.keys), (layer.values, added.values))
                ]
                layer.fill(*joined)

    @torch.inference_mode()
    def read(self, tokens: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """Go on with every conversation kept, row by row, none or more tokens each; return each model's state after
        the last of them [B, width]. Of a row without tokens the state means nothing."""
        width = max(len(row) for row in tokens)
        ids = torch.full((len(tokens), width), self._pad, dtype=torch.int64)
        present = torch.zeros((len(tokens), width), dtype=torch.int64)
        for row, new in enumerate(tokens):
            if new:
                ids[row, width - len(new) :] = torch.tensor(new)
                present[row, width - len(new) :] = 1
        ids, present = ids.to(self._device), present.to(self._device)
        positions = (self.lengths[:, None] + present.cumsum(dim=1) - 1).clamp(min=0)
        self._mask = torch.cat([self._mask, present], dim=1)
        return [
            model(
                input_ids=ids,
                attention_mask=self._mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state[:, -1]
            for model, cache in zip(self._models, self._caches, strict=True)
        ]


def _widened(part: torch.Tensor, width: int, dim: int) -> torch.Tensor:
    """Return `part` with zeros before it along `dim`, so that it is `width` wide."""
    missing = width - part.shape[dim]
    if not missing:
        return part
    shape = list(part.shape)
    shape[dim] = missing
    return torch.cat([part.new_zeros(shape), part], dim=dim)
