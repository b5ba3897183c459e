"""Who plays 20 Questions: the askers of the offline data, of several kinds and skills, and the best known asker.

A player knows the answers so far as the set `left` of objects that agree with all of them (bit i for object i).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np

UNCOUNTED = {
    "Boots", "Broccoli", "Celery", "Corn", "Gloves", "Glue", "Lego", "Pants", "Paper", "Peas", "Pliers", "Scissors",
    "Shoes", "Socks", "Spinach", "Toothpaste",
}  # fmt: skip
VOWELS = "AEIO"
FEW = 4
MAX_PLANS = 50_000


def sentence(phrasing: str) -> str:
    """Return a phrasing as a question.

    >>> sentence("can i wear it")
    'Can I wear it?'
    """
    return f"{phrasing[0].upper()}{phrasing[1:]}?".replace(" i ", " I ")


def guess(name: str) -> str:
    """Return the question that guesses an object.

    >>> [guess(name) for name in ("Apple", "Pants", "Soccer ball", "Scissors", "Lego")]
    ['Is it an apple?', 'Is it pants?', 'Is it a soccer ball?', 'Is it scissors?', 'Is it Lego?']
    """
    word = name if name in ("Lego", "Sharpie") else name.lower()
    if name in UNCOUNTED:
        return f"Is it {word}?"
    return f"Is it {'an' if name[0] in VOWELS else 'a'} {word}?"


class Topic(NamedTuple):
    """Something that may be asked: in several sentences, with the objects it is true of."""

    sentences: tuple[str, ...]
    yes: int


class Book:
    """All that a player may say: topics, those that name categories, and a guess of each object of the game."""

    def __init__(self, topics: Sequence[Topic], categories: Sequence[int], guesses: dict[int, str]) -> None:
        """`categories` are indices into `topics`; `guesses` are sentences by object."""
        self.topics = tuple(topics)
        self.categories = tuple(categories)
        self.guesses = dict(guesses)
        self.objects = sum(1 << index for index in guesses)

    @lru_cache(maxsize=MAX_PLANS)  # noqa: B019 (there are few books, kept anyway)
    def most_telling(self, left: int) -> tuple[int, ...]:
        """Return the topics that split a set, the most even split first."""
        count = left.bit_count()
        halves = [(abs(2 * (topic.yes & left).bit_count() - count), index) for index, topic in enumerate(self.topics)]
        return tuple(index for unbalance, index in sorted(halves) if unbalance < count)

    def best(self, left: int, asked: set[int]) -> str:
        """Return the question with the greatest information gain, or a guess where FEW objects are left.

        Guessing among four loses nothing: naming them in turn takes six questions in sum over the four, as an even
        split does.
        """
        if left.bit_count() <= FEW:
            return self.guesses[(left & -left).bit_length() - 1]
        for index in self.most_telling(left):
            if self.topics[index].yes not in asked:
                return self.topics[index].sentences[0]
        return self.guesses[(left & -left).bit_length() - 1]


class Asker(NamedTuple):
    """A kind of player. `width`: among how many random topics it looks for the most telling one; `guess_at`: it
    guesses when so few objects are left; `guess_after`: or after so many questions; `repeats`: probability of
    asking something again in other words; `walks`: it asks for categories first, one after the other."""

    share: float
    width: int
    guess_at: int = 1
    guess_after: int = 99
    repeats: float = 0.0
    walks: bool = False


@dataclass
class Player:
    """One player in one game."""

    asker: Asker
    book: Book
    asked: list[int] = field(default_factory=list)
    walked: int = 0
    order: tuple[int, ...] = ()

    def question(self, left: int, chance: np.random.Generator) -> str:
        """Return what the player says next."""
        asker, turn = self.asker, len(self.asked)
        if self.asked and chance.random() < asker.repeats:
            return self._say(self.asked[int(chance.integers(turn))], chance)
        if left.bit_count() <= asker.guess_at or turn >= asker.guess_after:
            self.asked.append(self.asked[-1] if self.asked else 0)
            return self._any_guess(left, chance)
        if asker.walks and not self._at_home(left):
            return self._walk(chance)
        return self._say(self._telling(left, chance), chance)

    def _say(self, topic: int, chance: np.random.Generator) -> str:
        self.asked.append(topic)
        sentences = self.book.topics[topic].sentences
        return sentences[int(chance.integers(len(sentences)))]

    def _any_guess(self, left: int, chance: np.random.Generator) -> str:
        members = [index for index in self.book.guesses if left >> index & 1]
        return self.book.guesses[members[int(chance.integers(len(members)))]]

    def _at_home(self, left: int) -> bool:
        """Return whether a category has been found, or all have been asked."""
        topics = self.book.topics
        found = self.walked > 0 and not left & ~topics[self.order[self.walked - 1]].yes
        return found or self.walked == len(self.book.categories)

    def _walk(self, chance: np.random.Generator) -> str:
        if not self.order:
            self.order = tuple(
                self.book.categories[int(index)] for index in chance.permutation(len(self.book.categories))
            )
        self.walked += 1
        return self._say(self.order[self.walked - 1], chance)

    def _telling(self, left: int, chance: np.random.Generator) -> int:
        """Return the most telling of `width` random topics."""
        count, topics = left.bit_count(), self.book.topics
        drawn = chance.integers(len(topics), size=self.asker.width).tolist()
        return min(drawn, key=lambda index: abs(2 * (topics[index].yes & left).bit_count() - count))


def draw_player(askers: Sequence[Asker], book: Book, chance: np.random.Generator) -> Player:
    """Return a player of a kind that is drawn by the shares."""
    point, kind = chance.random() * sum(asker.share for asker in askers), askers[-1]
    for asker in askers:
        point -= asker.share
        if point < 0:
            kind = asker
            break
    return Player(kind, book)
