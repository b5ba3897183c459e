"""Statistics of cells: means, inter-quartile means, intervals, improvement, ties and agreement of two orders.

A cell is what one method did at one game: a list with one array of episode returns for every training seed. It is read
as a mixture in which every training seed counts the same, however many episodes it has. The mean of a cell (which is
the mean of its seeds' means), its inter-quartile mean and the probability that it improves on another are functions of
this mixture, and all intervals come from one bootstrap of it.

The bootstrap is stratified: training seeds are drawn with replacement, then episodes with replacement within each drawn
seed. Bounds are the 2.5 % and 97.5 % percentiles (Efron and Tibshirani 1993, section 13.3). Cells are resampled
independently of each other, even where they played the same games or started from the same clone, which makes
intervals of differences rather too wide than too narrow.

What the intervals are worth with three training seeds, nominal 95 %, measured on nested normal data of 100 episodes a
seed (`tests/test_stats.py`; r is the spread between seeds over the standard error of a seed's mean):

    r = 0 (seeds do not matter)      98 %
    r = 1                            94 %
    r = 3                            81 %
    r without end (exact)            75 %

With three seeds a bound is hardly more than the worst or the best seed, and the truth lies beyond all three with
probability 1/4 where only the seed matters. More seeds help: at r = 3 five cover 85 % and ten 92 %. With one training
seed an interval covers episodes only and says nothing of training anew: `Estimate.num_seeds` tells which it is. A share
of 0 or 1 and any constant get an interval of width zero, as every bootstrap gives.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from lmgym.scores import Reference

RESAMPLES = 2000
_BOUNDS = (0.025, 0.975)
_CHUNK = 1 << 17  # entries of a table of weights
_ROUNDING = 1e-9  # differences below this share of the returns' size are rounding, not differences

Cell = Sequence[np.ndarray]


class Estimate(NamedTuple):
    """A number with the bounds of its 95 % interval. `num_seeds` training seeds went in: with 1, the interval covers
    the chance of episodes only.
    """

    value: float
    low: float
    high: float
    num_seeds: int


class Summary(NamedTuple):
    """Mean and inter-quartile mean of a cell, both from the same resamples."""

    mean: Estimate
    iqm: Estimate


def summarise(cell: Cell, *, seed: int, resamples: int = RESAMPLES) -> Summary:
    """Estimate the mean and the inter-quartile mean of a cell.

    The inter-quartile mean is the mean of the middle half of the mixture: the lowest and the highest quarter of its
    mass are cut off, and a return that lies across a cut counts with the part of its mass that is inside. Five returns
    so have the weights 0, 0.3, 0.4, 0.3, 0.

    Raises ValueError on no seeds, a seed without episodes, and returns that are not finite numbers.

    >>> summarise([np.array([0, 1, 2, 3, 100.0])], seed=0).iqm.value
    2.0
    """
    mixture = _Mixture.of(cell)
    means, middles = [], []
    for drawn in mixture.resampled(np.random.default_rng(seed), _sizes(resamples, mixture)):
        means.append(_mean(mixture, drawn))
        middles.append(_iqm(mixture, drawn))
    return Summary(
        _estimate(_mean(mixture, mixture.weights), means, mixture.num_seeds),
        _estimate(_iqm(mixture, mixture.weights), middles, mixture.num_seeds),
    )


def share(outcomes: Cell, *, seed: int, resamples: int = RESAMPLES) -> Estimate:
    """Estimate a share of episodes, such as those that succeeded, from one array of 0 and 1 for every training seed.

    Raises ValueError on other numbers, and as `summarise`.

    >>> share([np.array([True, True, True, False])], seed=0)
    Estimate(value=0.75, low=0.25, high=1.0, num_seeds=1)
    """
    if not all(np.isin(one, (0, 1)).all() for one in outcomes):
        raise ValueError("a share is made of 0 and 1 only")
    return summarise(outcomes, seed=seed, resamples=resamples).mean


def score(mean_return: Estimate, reference: Reference) -> Estimate:
    """Return the normalised score of a mean return. The scale rises everywhere, so bounds become bounds."""
    value, low, high = (reference.normalise(bound) for bound in mean_return[:3])
    return Estimate(value, low, high, mean_return.num_seeds)


def improvement(cell: Cell, over: Cell, *, seed: int, resamples: int = RESAMPLES) -> Estimate:
    """Estimate the probability that an episode of one cell returns more than one of another; equal returns count half.

    This is the statistic of Mann and Whitney (1947) for each pair of training seeds, averaged over the pairs: 0.5 for
    equal cells. `num_seeds` is that of the cell with fewer. Raises ValueError as `summarise`.

    >>> improvement([np.array([1, 2])], [np.array([0, 1])], seed=0).value
    0.875
    """
    ours, theirs = _Mixture.of(cell), _Mixture.of(over)
    generators = np.random.default_rng(seed).spawn(2)
    sizes = _sizes(resamples, ours, theirs)
    drawn = zip(ours.resampled(generators[0], sizes), theirs.resampled(generators[1], sizes), strict=True)
    draws = [_improvement(ours, x, theirs, y) for x, y in drawn]
    value = _improvement(ours, ours.weights, theirs, theirs.weights)
    return _estimate(value, draws, min(ours.num_seeds, theirs.num_seeds))


def tied_with_best(cells: Mapping[str, Cell], *, seed: int, resamples: int = RESAMPLES) -> set[str]:
    """Return the names of the cells whose mean cannot be told from the best mean: the 95 % interval of the difference
    contains 0. The best is among them.

    Each cell is resampled by a generator of its own, from the seed and its name: order has no effect, and neither has
    another cell that is not the best. Nothing corrects for the number of comparisons. No cells give an empty set.
    Raises ValueError as `summarise`.
    """
    if not cells:
        return set()
    value, draws = {}, {}
    for name in sorted(cells):
        mixture = _Mixture.of(cells[name])
        generator = np.random.default_rng([seed, *name.encode()])
        value[name] = float(_mean(mixture, mixture.weights)[0])
        drawn = mixture.resampled(generator, _sizes(resamples, mixture))
        draws[name] = np.concatenate([_mean(mixture, weights) for weights in drawn])
    best = max(value, key=lambda name: value[name])
    slack = _ROUNDING * max(abs(mean) for mean in value.values())
    bounds = {name: np.quantile(draws[best] - drawn, _BOUNDS) for name, drawn in draws.items() if name != best}
    return {best} | {name for name, (low, high) in bounds.items() if low <= slack and high >= -slack}


def kendall_tau_b(ours: Mapping[str, float], theirs: Mapping[str, float]) -> float | None:
    """Return how far two scorings put the names that both hold in the same order: 1 the same, -1 the reverse.

    Tau-b allows for ties (Kendall 1945). None where it is not defined: fewer than two names, or all tied in one.

    >>> kendall_tau_b({"a": 1, "b": 2, "c": 3}, {"a": 10, "c": 20, "b": 30, "d": 0})
    0.3333333333333333
    """
    names = sorted(ours.keys() & theirs.keys())
    first, second = (np.array([scores[name] for name in names], dtype=np.float64) for scores in (ours, theirs))
    earlier, later = np.triu_indices(len(names), k=1)
    rises, other_rises = np.sign(first[later] - first[earlier]), np.sign(second[later] - second[earlier])
    untied = np.count_nonzero(rises) * np.count_nonzero(other_rises)
    return float((rises * other_rises).sum() / math.sqrt(untied)) if untied else None


@dataclass(frozen=True)
class _Mixture:
    """A cell as a table. D distinct returns, K training seeds, R resamples; weights are [D, R]: how much each return
    counts in each resample. Weights are whole numbers, so whole returns give sums without rounding.
    """

    values: np.ndarray
    """[D] ascending."""
    counts: np.ndarray
    """[K, D] episodes of each training seed with each return."""

    @classmethod
    def of(cls, cell: Cell) -> "_Mixture":
        seeds = [np.asarray(one, dtype=np.float64) for one in cell]
        if not seeds or any(one.ndim != 1 or one.size == 0 for one in seeds):
            raise ValueError("a cell is a list of one array of at least one episode for every training seed")
        if not all(np.isfinite(one).all() for one in seeds):
            raise ValueError("returns are finite numbers")
        values, codes = np.unique(np.concatenate(seeds), return_inverse=True)
        ends = np.cumsum([one.size for one in seeds])[:-1]
        return cls(values, np.stack([np.bincount(part, minlength=values.size) for part in np.split(codes, ends)]))

    @property
    def num_seeds(self) -> int:
        return len(self.counts)

    @cached_property
    def episode_weights(self) -> np.ndarray:
        """[K] weight of one episode: whole numbers that make all training seeds weigh the same."""
        lengths = [int(length) for length in self.counts.sum(axis=1)]
        return np.array([math.lcm(*lengths) // length for length in lengths], dtype=np.float64)

    @cached_property
    def weights(self) -> np.ndarray:
        """[D, 1] of the cell itself."""
        return (self.episode_weights @ self.counts)[:, None]

    @cached_property
    def total(self) -> float:
        """Sum of the weights; the same in every resample."""
        return float(self.weights.sum())

    def resampled(self, generator: np.random.Generator, sizes: Sequence[int]) -> Iterator[np.ndarray]:
        """Yield the weights [D, R] of as many resamples as each size says."""
        even = np.full(self.num_seeds, 1 / self.num_seeds)
        for size in sizes:
            drawn = np.zeros((self.values.size, size))
            times = generator.multinomial(self.num_seeds, even, size=size)
            for counts, weight, times_drawn in zip(self.counts, self.episode_weights, times.T, strict=True):
                (found,) = np.nonzero(counts)
                drawn[found] += weight * _drawn_counts(counts[found], times_drawn, generator)
            yield drawn


def _drawn_counts(counts: np.ndarray, times: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw `counts.sum()` episodes with replacement from a training seed, times[r] times over; [D, R] of each return.

    Both ways draw from the same multinomial distribution: the first is quick for few distinct returns, the second for
    many.
    """
    length = int(counts.sum())
    if 16 * counts.size <= length:
        return generator.multinomial(times * length, counts / length).T
    codes = np.repeat(np.arange(counts.size) * times.size, counts)
    picks = generator.integers(length, size=times.sum() * length, dtype=np.uint16 if length < 1 << 16 else np.int64)
    cells = codes[picks] + np.repeat(np.arange(times.size), times * length)
    return np.bincount(cells, minlength=counts.size * times.size).reshape(counts.size, times.size)


def _sizes(resamples: int, *mixtures: _Mixture) -> list[int]:
    """Split the resamples into chunks whose tables fit in the processor's cache."""
    size = max(1, _CHUNK // max(mixture.values.size for mixture in mixtures))
    return [min(size, resamples - done) for done in range(0, resamples, size)]


def _mean(mixture: _Mixture, weights: np.ndarray) -> np.ndarray:
    return mixture.values @ weights / mixture.total


def _iqm(mixture: _Mixture, weights: np.ndarray) -> np.ndarray:
    """Sum values times the weight inside the quartiles, by parts: cumulative weights times gaps between values."""
    quarter, values = mixture.total / 4, mixture.values
    inside = np.clip(np.cumsum(weights[:-1], axis=0), quarter, 3 * quarter)
    return (quarter * (3 * values[-1] - values[0]) - np.diff(values) @ inside) / (2 * quarter)


def _improvement(ours: _Mixture, weights: np.ndarray, theirs: _Mixture, other_weights: np.ndarray) -> np.ndarray:
    """Return the weight of all pairs in which ours is more, and half the weight of equal pairs, over that of all."""
    below = np.concatenate([np.zeros((1, other_weights.shape[1])), np.cumsum(other_weights, axis=0)])
    less, not_more = (below[np.searchsorted(theirs.values, ours.values, side)] for side in ("left", "right"))
    return np.einsum("dr,dr->r", weights, less + not_more) / (2 * ours.total * theirs.total)


def _estimate(value: np.ndarray, draws: list[np.ndarray], num_seeds: int) -> Estimate:
    low, high = np.quantile(np.concatenate(draws), _BOUNDS)
    return Estimate(float(value[0]), float(low), float(high), num_seeds)
