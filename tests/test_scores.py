"""Intervals and normalised scores."""

import numpy as np
import pytest

from lmgym.scores import Reference, Score, bootstrap_mean


def test_the_interval_against_a_slow_loop() -> None:
    values = [1.0, 2.0, 4.0, 8.0]
    generator = np.random.default_rng(5)
    means = sorted(float(np.mean([values[int(i)] for i in generator.integers(4, size=4)])) for _ in range(2000))
    interval = bootstrap_mean(values, seed=5)
    assert interval.mean == 3.75
    assert interval.low == pytest.approx(np.quantile(means, 0.025))
    assert interval.high == pytest.approx(np.quantile(means, 0.975))


def test_the_interval_covers_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        interval = bootstrap_mean(generator.normal(size=60).tolist(), seed=trial, resamples=300)
        hits += interval.low <= 0 <= interval.high
    assert 0.88 <= hits / 200 <= 0.99


def test_the_seed_has_an_effect_and_repeats() -> None:
    values = np.random.default_rng(1).normal(size=50).tolist()
    assert bootstrap_mean(values, seed=1) == bootstrap_mean(values, seed=1)
    assert bootstrap_mean(values, seed=1) != bootstrap_mean(values, seed=2)


def test_edges() -> None:
    assert bootstrap_mean([2.0], seed=0) == (2.0, 2.0, 2.0)
    with pytest.raises(ValueError, match="no values"):
        bootstrap_mean([], seed=0)


def test_published_scores_are_reproduced() -> None:
    """The rows of the published table that can be recomputed, with its own constants."""
    maze = Reference(Score(-101, ""), Score(-83, ""), Score(-6.84, ""))
    assert maze.normalise(-6.97) == pytest.approx(99.9, abs=0.05)
    assert maze.normalise(-37.7) == pytest.approx(79.7, abs=0.05)
    wordle = Reference(Score(-6, ""), Score(-4.121715, ""), Score(-1.935, ""))
    assert [round(wordle.normalise(x), 1) for x in (-2.8142, -2.1599, -2.0354, -5.42)] == [79.9, 94.9, 97.7, 15.4]
