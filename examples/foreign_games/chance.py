"""The random generators of the process, lent to one game at a time."""

import logging
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import numpy as np


class Chance:
    """What one game would find in the process-wide generators if nobody else drew from them.

    Both packages seed and draw from `random` (a few games from `np.random`). While a game computes it gets these
    generators in its own state; afterwards they are put back as they were. So games can be played side by side in
    one thread and in any order, and nobody else's chance is touched. Two threads at once are not safe.
    """

    def __init__(self) -> None:
        self.seed(0)

    def seed(self, seed: int) -> None:
        """Begin anew; a seed has 32 bits."""
        self._python: Any = random.Random(seed).getstate()
        self._numpy: Any = np.random.RandomState(seed).get_state()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Let the block draw from this game's chance. What it does to the root logger is undone, too, and what it
        prints goes to standard error: standard output is for results."""
        kept = random.getstate(), np.random.get_state()  # noqa: NPY002
        log = logging.getLogger()
        level, handlers = log.level, log.handlers[:]
        random.setstate(self._python)
        np.random.set_state(self._numpy)  # noqa: NPY002
        try:
            with redirect_stdout(sys.stderr):
                yield
        finally:
            self._python, self._numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
            random.setstate(kept[0])
            np.random.set_state(kept[1])  # noqa: NPY002
            log.setLevel(level)
            log.handlers[:] = handlers
