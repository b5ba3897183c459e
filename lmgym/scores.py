"""What a return is worth: reference scores, normalisation and intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Score(NamedTuple):
    """A mean return and how it was found, in words a reader can check."""

    value: float
    how: str


@dataclass(frozen=True)
class Reference:
    """The three returns that give a game's scale: worst possible, mean of the offline data, best known.

    `data_success` (share of episodes) and `data_turns` (mean agent turns) describe the same default data set.
    """

    min: Score
    data: Score
    best: Score
    data_success: float | None = None
    data_turns: float | None = None

    def normalise(self, mean_return: float) -> float:
        """Map a mean return to the benchmark's score: min -> 0, data -> 50, best -> 100, linear between.

        Not clipped: better than the best known is above 100. Source: LMRL-Gym (arXiv 2311.18232), section 5.

        >>> scale = Reference(Score(-100, ""), Score(-80, ""), Score(-20, ""))
        >>> [scale.normalise(value) for value in (-100, -90, -80, -50, -20)]
        [0.0, 25.0, 50.0, 75.0, 100.0]
        """
        if mean_return >= self.data.value:
            return 50 + 50 * (mean_return - self.data.value) / (self.best.value - self.data.value)
        return 50 * (mean_return - self.min.value) / (self.data.value - self.min.value)


class Interval(NamedTuple):
    """A mean with the bounds of its confidence interval."""

    mean: float
    low: float
    high: float


def bootstrap_mean(values: Sequence[float], *, seed: int, level: float = 0.95, resamples: int = 2000) -> Interval:
    """Return the mean and its percentile-bootstrap interval (Efron 1979), from a generator of its own.

    One value gives an interval of width zero. Raises ValueError on an empty sequence.

    >>> bootstrap_mean([1.0, 1.0], seed=0)
    Interval(mean=1.0, low=1.0, high=1.0)
    """
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0:
        raise ValueError("a mean of no values is not defined")
    generator = np.random.default_rng(seed)
    # One resample at a time: [resamples, N] indices of a large evaluation would not fit in memory.
    means = [data[generator.integers(data.size, size=data.size)].mean() for _ in range(resamples)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(data.mean()), float(low), float(high))
