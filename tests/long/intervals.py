"""``python -m tests.long intervals``: how often the 95 % intervals of a comparison hold the true difference.

Two samples are drawn from known distributions, again and again; the true difference of their means, medians
and shares is known. Every interval and every test goes through the functions that `compare` uses.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Mapping

import attrs
import numpy as np
from numpy.random import Generator, default_rng

from futureagi_async.analysis.bootstrap import (
    Draws,
    Estimate,
    Pairs,
    draw_differences,
    estimate_mean,
    estimate_median,
)
from futureagi_async.analysis.intervals import Interval, compare_shares

SIZES = (50, 500)
LEAST, MOST = 0.94, 0.96
_DEVIATIONS = 2.0  # of the simulation itself: how far a coverage that is just within may be seen outside
_AT_ONCE = 50  # samples that are drawn again together: columns of one table
_NOBODY = Pairs(np.empty(0, np.int64), np.empty(0, np.int64))

Draw = Callable[[Generator, tuple[int, int]], np.ndarray]
DISTRIBUTIONS: Mapping[str, Draw] = {
    "normal, as scores": lambda rng, shape: rng.normal(7, 1.5, shape),
    "beta, as scores near their end": lambda rng, shape: 10 * rng.beta(5, 2, shape),
    "gamma, as latencies": lambda rng, shape: rng.gamma(4, 0.25, shape),
    "log-normal, as durations": lambda rng, shape: np.exp(rng.normal(4, 0.5, shape)),
}
SHIFT = 0.2
SHARES = ((0.5, 0.5), (0.8, 0.7), (0.3, 0.45))


@attrs.define
class Tally:
    """How many intervals of one kind were looked at."""

    intervals: int = 0
    holding: int = 0
    rejected: int = 0
    """Tests that found a difference with p <= 0.05, where there was none beside the one known."""

    def add(self, interval: Interval | None, true: float) -> None:
        """Take one into account."""
        self.intervals += 1
        self.holding += interval is not None and interval.low <= true <= interval.high

    @property
    def coverage(self) -> float:
        """The share of intervals that hold the true difference."""
        return self.holding / self.intervals


def of_numbers(draw: Draw, size: int, runs: int, rng: Generator, *, paired: bool) -> tuple[Tally, Tally]:
    """Return how often intervals of means and of medians hold the true difference, which is `SHIFT`."""
    means, medians = Tally(), Tally()
    everybody = np.arange(size)
    pairs = Pairs(everybody, everybody) if paired else _NOBODY
    for number in range(0, runs, _AT_ONCE):
        shape = (size, min(_AT_ONCE, runs - number))
        before, after = draw(rng, shape), draw(rng, shape) + SHIFT
        if paired:  # what both have in common
            common = rng.normal(0, 2, shape)
            before, after = before + common, after + common
        draws = draw_differences(before, after, pairs, seed=number)
        for column in range(shape[1]):
            for tally, drawn, estimate in _kinds(draws, means, medians):
                found = estimate(drawn[:, column], before[:, column], after[:, column])
                tally.add(found.interval, SHIFT)
    return means, medians


Estimator = Callable[[np.ndarray, np.ndarray, np.ndarray], Estimate]


def _kinds(draws: Draws, means: Tally, medians: Tally) -> Iterator[tuple[Tally, np.ndarray, Estimator]]:
    yield means, draws.means, estimate_mean
    yield medians, draws.medians, estimate_median


def of_shares(before: float, after: float, size: int, runs: int, rng: Generator) -> Tally:
    """Return how often Newcombe's interval holds the true difference of two shares."""
    tally = Tally()
    for _ in range(runs):
        first, second = int(rng.binomial(size, before)), int(rng.binomial(size, after))
        tally.add(compare_shares(first, size, second, size)[0], after - before)
    return tally


def simulate(runs: int, seed: int = 1) -> dict[tuple[str, int], Tally]:
    """Return a tally for each kind of figure and size of samples."""
    rng = default_rng(seed)
    tallies: dict[tuple[str, int], Tally] = {}
    for size in SIZES:
        for name, draw in DISTRIBUTIONS.items():
            means, medians = of_numbers(draw, size, runs, rng, paired=False)
            tallies[f"mean, {name}", size], tallies[f"median, {name}", size] = means, medians
        paired = of_numbers(DISTRIBUTIONS["normal, as scores"], size, runs, rng, paired=True)
        tallies["mean, paired", size], tallies["median, paired", size] = paired
        for before, after in SHARES:
            tallies[f"share, {before} and {after}", size] = of_shares(before, after, size, runs, rng)
    return tallies


def main() -> int:
    """Print the table; the exit code says whether every kind keeps its 95 %."""
    parser = argparse.ArgumentParser(prog="python -m tests.long intervals", description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000, help="samples of each kind and size")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    kept = True
    error = _DEVIATIONS * math.sqrt(0.95 * 0.05 / options.runs)
    for (name, size), tally in simulate(options.runs, options.seed).items():
        good = LEAST - error <= tally.coverage <= MOST + error
        kept = kept and good
        print(f"n = {size:3}  {tally.coverage:7.2%}  {'' if good else '!'}  {name}")  # noqa: T201
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
