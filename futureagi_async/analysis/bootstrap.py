"""The bootstrap: intervals and tests of means and medians, by numpy and scipy.

Whole calls are drawn again, so that figures of the same calls stay together; where runs are paired, pairs.
Numbers so large that no double holds their sum or square have neither an interval nor a test.
"""

from collections.abc import Iterator
from typing import Final

import attrs
import numpy as np
from numpy.random import Generator, default_rng

from futureagi_async.analysis.intervals import LEVEL, Interval, stats
from futureagi_async.analysis.sample import Doubles, Places

RESAMPLES: Final = 2_000
_VALUES_AT_ONCE: Final = 1_000_000  # weights of calls in memory: 8 MB


@np.errstate(over="ignore", invalid="ignore")
def mean_interval(values: Doubles, *, seed: int = 0, resamples: int = RESAMPLES) -> Interval | None:
    """Return the bootstrap's interval of a mean; ``None`` below two values, and beyond all doubles."""
    if len(values) < 2:
        return None
    weights = _weights(default_rng(seed), len(values), resamples)
    draws = np.concatenate([each @ values for each in weights]) / len(values)
    return _percentiles(draws, len(values)) if np.isfinite(draws).all() else None


@attrs.frozen
class Pairs:
    """Which calls of two runs belong together: ``before[i]`` and ``after[i]``."""

    before: Places
    after: Places

    def __len__(self) -> int:
        return len(self.before)


@attrs.frozen
class Draws:
    """Differences of all columns in samples drawn again: a row a sample."""

    means: Doubles
    medians: Doubles


def draw_differences(
    before: Doubles, after: Doubles, pairs: Pairs, *, seed: int = 0, resamples: int = RESAMPLES
) -> Draws:
    """Draw the calls of both runs again and again, and return how the columns' means and medians differ.

    A row of ``before`` and ``after`` is a call, a column a figure, NaN where a call has none. Calls of a pair
    are drawn together, the others for themselves; each run keeps its size.
    """
    rng = default_rng(seed)
    first, second = _Columns.of(before, pairs.before), _Columns.of(after, pairs.after)
    together = _weights(rng, len(pairs), resamples, beside=len(before) + len(after))
    alone = [
        _weights(rng, len(each.values) - len(pairs), resamples, beside=len(before) + len(after))
        for each in (first, second)
    ]
    means, medians = [], []
    for shared, *others in zip(together, *alone, strict=True):
        weights = [np.hstack((shared, other)) for other in others]
        means.append(second.means(weights[1]) - first.means(weights[0]))
        if len(pairs):
            medians.append(second.medians(weights[1]) - first.medians(weights[0]))
    if not len(pairs):
        medians = [second.drawn_medians(rng, resamples) - first.drawn_medians(rng, resamples)]
    return Draws(np.concatenate(means), np.concatenate(medians))


def _weights(rng: Generator, calls: int, resamples: int, beside: int = 0) -> Iterator[Doubles]:
    """Yield how often each call is drawn, a row a sample, some samples at a time."""
    at_once = max(1, _VALUES_AT_ONCE // max(1, calls, beside))
    for first in range(0, resamples, at_once):
        rows = min(at_once, resamples - first)
        drawn = rng.integers(0, max(calls, 1), (rows, calls), dtype=np.int32)
        drawn += np.arange(rows, dtype=np.int32)[:, None] * np.int32(calls)
        counts = np.bincount(drawn.ravel(), minlength=rows * calls)
        yield counts.reshape(rows, calls).astype(np.float64)


@attrs.frozen
class _Columns:
    """The values of one run, those of pairs first."""

    values: Doubles
    filled: Doubles
    """The same with 0 for NaN."""
    there: Doubles
    """1 where there is a value, 0 for NaN."""
    ordered: list[Places]
    """Of each column: the calls that have a value, by value."""
    below: Doubles
    """1 where a value is too low to be a median of calls drawn again."""

    @classmethod
    def of(cls, values: Doubles, paired: Places) -> "_Columns":
        alone = np.setdiff1d(np.arange(len(values)), paired, assume_unique=True)
        values = values[np.concatenate((paired, alone))]
        there = ~np.isnan(values)
        numbers = there.sum(axis=0)
        ordered = [
            np.argsort(column, kind="stable")[:number]
            for column, number in zip(values.T, numbers, strict=True)
        ]
        below = np.zeros(values.shape)
        for place, order in enumerate(ordered):
            below[order[: _middle(len(order)).start], place] = 1
        filled = np.where(there, values, 0.0)
        return cls(values, filled, there.astype(np.float64), ordered, below)

    def means(self, weights: Doubles) -> Doubles:
        """Return the mean of each column, a row a sample; NaN where none of its values was drawn."""
        numbers = weights @ self.there
        found = np.full(numbers.shape, np.nan)
        np.divide(weights @ self.filled, numbers, out=found, where=numbers > 0)
        return found

    def medians(self, weights: Doubles) -> Doubles:
        """Return the same for medians."""
        found = np.full((len(weights), len(self.ordered)), np.nan)
        below, totals = weights @ self.below, weights @ self.there
        for place, order in enumerate(self.ordered):
            if len(order):
                middle = order[_middle(len(order))]
                ends = np.cumsum(weights[:, middle], axis=1) + below[:, place, None]
                ends[:, -1] = np.inf
                total = totals[:, place, None]
                low = np.argmax(ends >= np.ceil(total / 2), axis=1)
                high = np.argmax(ends >= np.floor(total / 2) + 1, axis=1)
                values = self.values[middle, place]
                found[:, place] = np.where(total[:, 0] > 0, (values[low] + values[high]) / 2, np.nan)
        return found

    def drawn_medians(self, rng: Generator, resamples: int) -> Doubles:
        """Return medians of samples drawn again, without drawing these.

        The rank of a middle value among the drawn ones is the order statistic of as many uniform numbers,
        which has a beta distribution (David and Nagaraja, Order Statistics, 2003, section 2.3).
        """
        found = np.full((resamples, self.values.shape[1]), np.nan)
        for place, order in enumerate(self.ordered):
            if number := len(order):
                values = self.values[order, place]
                middle = (number + 1) // 2
                low = rng.beta(middle, number - middle + 1, resamples)
                high = low
                if number % 2 == 0:  # the next of the numbers above it, all of which are alike
                    high = low + (1 - low) * rng.beta(1, number - middle, resamples)
                ranks = [np.minimum((each * number).astype(np.int64), number - 1) for each in (low, high)]
                found[:, place] = (values[ranks[0]] + values[ranks[1]]) / 2
        return found


@attrs.frozen
class Estimate:
    """What chance makes of one difference."""

    interval: Interval | None
    p_value: float | None


def estimate_mean(draws: Doubles, before: Doubles, after: Doubles) -> Estimate:
    """Return interval and p-value of the difference of two means; the values are those drawn from, no NaN."""
    n = min(len(before), len(after))
    difference = float(after.mean() - before.mean())
    error = _standard_error(draws) * float(
        np.sqrt(n / (n - 1))
    )  # samples drawn again vary too little by this
    if not np.isfinite((difference, error)).all():
        return _UNKNOWN
    if not error > _rounding(before, after):
        return Estimate(None, _without_variation(before, after, difference))
    return Estimate(_percentiles(draws, n), _p_value(difference, error, n))


def estimate_median(draws: Doubles, before: Doubles, after: Doubles) -> Estimate:
    """Return the same for medians.

    Their percentiles would be too far out, as medians of few values jump: in simulations the interval of
    Student's t with the bootstrap's standard error keeps its 95 % (``python -m tests.long intervals``).
    """
    n = min(len(before), len(after))
    difference = float(np.median(after) - np.median(before))
    error = _standard_error(draws)
    if not np.isfinite((difference, error)).all():
        return _UNKNOWN
    if not error > _rounding(before, after):
        return Estimate(None, _without_variation(before, after, difference))
    reach = float(stats().t.ppf((1 + LEVEL) / 2, n - 1)) * error
    interval = Interval(difference - reach, difference + reach, LEVEL)
    return Estimate(interval, _p_value(difference, error, n))


_UNKNOWN: Final = Estimate(None, None)


def _standard_error(draws: Doubles) -> float:
    there = draws[~np.isnan(draws)]
    return float(np.std(there, ddof=1)) if len(there) > 1 else 0.0


def _rounding(before: Doubles, after: Doubles) -> float:
    """Return a variation that is none: what sums of doubles are wrong by."""
    return float(np.finfo(np.float64).eps * 8 * max(np.abs(before).max(), np.abs(after).max()))


def _p_value(difference: float, error: float, n: int) -> float:
    return float(2 * stats().t.sf(abs(difference) / error, n - 1))


def _without_variation(before: Doubles, after: Doubles, difference: float) -> float:
    """Return the p-value where all samples are alike, so that a standard error says nothing."""
    if difference == 0:
        return 1.0
    return float(stats().mannwhitneyu(before, after).pvalue)


def _middle(number: int) -> slice:
    """Return where, among sorted values, medians of values drawn again lie, but for one in 10^14."""
    reach = int(4 * np.sqrt(number)) + 2  # eight standard deviations of the rank
    return slice(max(0, number // 2 - reach), number // 2 + reach)


def _percentiles(draws: Doubles, n: int) -> Interval:
    """Return the interval between two percentiles of drawn means of ``n`` values.

    The percentiles lie further out the fewer values there are, so that the interval is as wide as
    Student's: the plain ones are too near (Hesterberg, "What Teachers Should Know About the Bootstrap",
    2015, section 3.3).
    """
    found = stats()
    tail = float(found.norm.cdf(np.sqrt(n / (n - 1)) * found.t.ppf((1 - LEVEL) / 2, n - 1)))
    low, high = np.quantile(draws[~np.isnan(draws)], (tail, 1 - tail))
    return Interval(float(low), float(high), LEVEL)
