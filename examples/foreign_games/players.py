"""Who plays the data: TextArena has no players of its own."""

import re
from collections.abc import Sequence

import numpy as np

from lmgym.episode import Turn


class Guesser:
    """Plays Guess The Number (1 to 20) of TextArena: halves what is left, or, one time in three, guesses anywhere."""

    def reset(self, seed: int) -> None:
        """Begin a game."""
        self._random = np.random.default_rng(seed)
        self._low, self._high, self._guess = 1, 20, 0

    def act(self, conversation: Sequence[Turn]) -> str:
        """Return a guess that the answers so far allow."""
        answer = re.search(r"number is (higher|lower)", conversation[-1].text)
        if answer and answer[1] == "higher":
            self._low = self._guess + 1
        elif answer:
            self._high = self._guess - 1
        middle = (self._low + self._high) // 2
        careless = self._random.random() < 1 / 3
        self._guess = int(self._random.integers(self._low, self._high + 1)) if careless else middle
        return f"[{self._guess}]"
