"""Who asks: the players of the offline data, and a planner that knows the table of cities."""

from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

# Topics whose answers anybody can compare with a map; what is told on the others must be recognised.
PLAIN_TOPICS = frozenset(("continent", "region", "population", "language", "currency", "timezone", "altitude", "age"))
WIDTH = 12
FEW = 5  # so few cities are left that guessing one may be as good as asking
MAX_PLANS = 100_000


class Kind(NamedTuple):
    """A kind of asker; pairs are bounds of uniform draws, one for each game.

    heed: how likely an answer is taken note of; knowledge: how likely a city is known not to fit what is told;
    patience: questions before the first guess; eager: how likely a later turn is a guess; open: share of open
    questions; repeat: how likely an earlier question is asked again.
    """

    share: float
    heed: tuple[float, float]
    knowledge: tuple[float, float]
    patience: tuple[int, int]
    eager: float
    open: float
    repeat: float


KINDS = {
    "traveler": Kind(0.35, (0.05, 0.6), (0.0, 0.2), (14, 19), 0.8, 0.75, 0.02),
    "geographer": Kind(0.35, (0.15, 0.64), (0.0, 0.2), (14, 19), 0.8, 0.25, 0.0),
    "hasty": Kind(0.15, (0.1, 0.6), (0.0, 0.2), (5, 12), 0.5, 0.5, 0.05),
    "forgetful": Kind(0.15, (0.05, 0.3), (0.0, 0.2), (12, 19), 0.6, 0.6, 0.3),
}
MINI_KINDS = {
    "careful": Kind(0.5, (1.0, 1.0), (1.0, 1.0), (3, 6), 0.7, 0.3, 0.0),
    "careless": Kind(0.5, (0.0, 0.4), (0.0, 0.4), (2, 7), 0.6, 0.3, 0.2),
}


class Asker:
    """One player of the offline data: asks, takes some note of what is said, and guesses late."""

    def __init__(self, table: Any, chance: np.random.Generator, *, mini: bool) -> None:
        self.table, self.chance = table, chance
        kinds = list((MINI_KINDS if mini else KINDS).values())
        self.kind = kinds[int(np.searchsorted(np.cumsum([kind.share for kind in kinds]), chance.random()))]
        self.heed = float(chance.uniform(*self.kind.heed))
        self.knowledge = float(chance.uniform(*self.kind.knowledge))
        self.patience = int(chance.integers(self.kind.patience[0], self.kind.patience[1] + 1))
        self.left = table.all
        self._heard = 0
        self._asked: list[Any] = []

    def next_question(self, talk: Sequence[tuple[str, Any, str]], turns_left: int) -> str:
        """Return the next question, given all that was said."""
        for _, query, answer in talk[self._heard :]:
            self._hear(query, answer)
        self._heard = len(talk)
        late = self._heard >= self.patience and self.chance.random() < self.kind.eager
        if late or turns_left == 1:
            return self._guess()
        return self._question()

    def _hear(self, query: Any, answer: str) -> None:
        """Strike out cities: all that do not agree with a plain answer, some that do not agree with a tale."""
        if query is None or query.kind == "secret" or self.chance.random() >= self.heed:
            return
        if query.kind == "guess":
            fit = self.table.all & ~(1 << self.table.index[query.value]) if query.value in self.table.index else -1
        else:
            fit = self.table.agreeing(query, answer)
            if query.kind == "ask" and query.topic not in PLAIN_TOPICS:
                fit |= self._unknown()
        self.left = self.left & fit or self.left

    def _unknown(self) -> int:
        """Return the cities of which the player does not know enough to tell, each by chance."""
        unknown = self.chance.random(len(self.table.cities)) >= self.knowledge
        return int.from_bytes(np.packbits(unknown, bitorder="little").tobytes(), "little")

    def _guess(self) -> str:
        members = [number for number in range(len(self.table.cities)) if self.left >> number & 1]
        name = self.table.names[members[int(self.chance.integers(len(members)))]]
        return self._pick(self.table.guesses).format(x=name)

    def _question(self) -> str:
        if self._asked and self.chance.random() < self.kind.repeat:
            return self._pick(self.table.asked[self._pick(self._asked)])
        kind = "ask" if self.chance.random() < self.kind.open else "check"
        queries = _queries(self.table, kind)
        query = self._pick(queries)
        if query in self._asked:
            query = self._pick(queries)
        if query.kind == "check" and not self._splits(query):
            query = self._pick(queries)
        self._asked.append(query)
        return self._pick(self.table.asked[query])

    def _splits(self, query: Any) -> bool:
        """Return whether two cities that the player takes to be possible answer differently, as far as a look tells."""
        members = [number for number in range(len(self.table.cities)) if self.left >> number & 1]
        looks = {self.table.answers(members[int(self.chance.integers(len(members)))], query) for _ in range(4)}
        return len(looks) > 1

    def _pick(self, things: Sequence[Any]) -> Any:
        return things[int(self.chance.integers(len(things)))]


@lru_cache(maxsize=8)
def _queries(table: Any, kind: str) -> tuple[Any, ...]:
    """Return the questions of a kind; now and then a player asks for the name itself."""
    return tuple(query for query in table.asked if query.kind == kind or (query.kind == "secret" and kind == "ask"))


class Planner:
    """Chooses questions with the fewest turns to come, summed over the cities that are left.

    Of the WIDTH questions that tell most it looks ahead to the end; a set of cities is an integer, bit c for city c.
    """

    def __init__(self, count: int, answers: Mapping[Any, Sequence[Hashable]]) -> None:
        self.count = count
        self.parts: dict[Any, list[int]] = {}
        for query, said in answers.items():
            masks: dict[Hashable, int] = {}
            for number, answer in enumerate(said):
                masks[answer] = masks.get(answer, 0) | 1 << number
            self.parts[query] = list(masks.values())

    def best(self, left: int) -> Any:
        """Return a question, or the number of the city to guess."""
        return self._plan(left)[1]

    @lru_cache(maxsize=MAX_PLANS)  # noqa: B019 (there are two planners, which are kept anyway)
    def _plan(self, left: int) -> tuple[float, Any]:
        size = left.bit_count()
        first = (left & -left).bit_length() - 1
        if size == 1:
            return 0.0, first
        fewest, best = float("inf"), None
        for query in self._most_telling(left):
            total = float(size)
            for mask in self.parts[query]:
                if left & mask:
                    total += self._plan(left & mask)[0]
            if total < fewest:
                fewest, best = total, query
            if fewest == size > FEW:
                return fewest, best
        for number in range(first, left.bit_length()) if size <= FEW or best is None else ():
            if left >> number & 1:
                total = size - 1 + self._plan(left & ~(1 << number))[0]
                if total < fewest:
                    fewest, best = total, number
        return fewest, best

    def _most_telling(self, left: int) -> list[Any]:
        """Return the questions that split the set, those that leave the least for later first."""
        costs = []
        for place, (query, masks) in enumerate(self.parts.items()):
            sizes = [size for mask in masks if (size := (left & mask).bit_count())]
            if len(sizes) > 1:
                costs.append((sum(size * size for size in sizes), place, query))
        return [query for _, _, query in sorted(costs, key=lambda cost: cost[:2])[:WIDTH]]
