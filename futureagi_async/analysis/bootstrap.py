"""The bootstrap: confidence intervals and tests of means and medians, by numpy and scipy.

It resamples whole calls, so that all figures of a call stay together. For paired runs it resamples pairs.
Numbers whose sum or square is too large for a float have neither an interval nor a test.
"""

from collections.abc import Iterator
from typing import Final

import attrs
import numpy as np
from numpy.random import Generator, default_rng

from futureagi_async.analysis.intervals import LEVEL, Interval, stats
from futureagi_async.analysis.sample import FloatArray, IndexArray

RESAMPLES: Final = 2_000
_VALUES_AT_ONCE: Final = 1_000_000  # number of weights in memory: 8 MB


@np.errstate(over="ignore", invalid="ignore")
def mean_interval(values: FloatArray, *, seed: int = 0, resamples: int = RESAMPLES) -> Interval | None:
    """Return the bootstrap interval of a mean; ``None`` for fewer than two values, or too large ones."""
    if len(values) < 2:
        return None
    weights = _weights(default_rng(seed), len(values), resamples)
    draws = np.concatenate([each @ values for each in weights]) / len(values)
    return _percentiles(draws, len(values)) if np.isfinite(draws).all() else None


@attrs.frozen
class Pairs:
    """The pairs of calls of two runs, as row numbers: ``before[i]`` and ``after[i]`` are a pair."""

    before: IndexArray
    after: IndexArray

    def __len__(self) -> int:
        return len(self.before)


@attrs.frozen
class Draws:
    """Differences of all columns, with one row per bootstrap sample."""

    means: FloatArray
    medians: FloatArray


def draw_differences(
    before: FloatArray, after: FloatArray, pairs: Pairs, *, seed: int = 0, resamples: int = RESAMPLES
) -> Draws:
    """Resample the calls of both runs, and return the differences of the columns' means and medians.

    In ``before`` and ``after``, a row is a call and a column is a figure; NaN if a call has no value. Both
    calls of a pair are drawn together, all others separately. Each run keeps its size.
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


def _weights(rng: Generator, calls: int, resamples: int, beside: int = 0) -> Iterator[FloatArray]:
    """Yield how often each call is drawn, with one row per sample, in blocks of samples."""
    at_once = max(1, _VALUES_AT_ONCE // max(1, calls, beside))
    for first in range(0, resamples, at_once):
        rows = min(at_once, resamples - first)
        drawn = rng.integers(0, max(calls, 1), (rows, calls), dtype=np.int32)
        drawn += np.arange(rows, dtype=np.int32)[:, None] * np.int32(calls)
        counts = np.bincount(drawn.ravel(), minlength=rows * calls)
        yield counts.reshape(rows, calls).astype(np.float64)


@attrs.frozen
class _Columns:
    """The values of one run; paired calls come first."""

    values: FloatArray
    filled: FloatArray
    """The values with 0 in place of NaN."""
    present: FloatArray
    """1 where there is a value, 0 for NaN."""
    ordered: list[IndexArray]
    """For each column: the row numbers of calls with a value, sorted by value."""
    below: FloatArray
    """1 where a value is too low to be the median of a resampled column."""

    @classmethod
    def of(cls, values: FloatArray, paired: IndexArray) -> "_Columns":
        alone = np.setdiff1d(np.arange(len(values)), paired, assume_unique=True)
        values = values[np.concatenate((paired, alone))]
        present = ~np.isnan(values)
        numbers = present.sum(axis=0)
        ordered = [
            np.argsort(column, kind="stable")[:number]
            for column, number in zip(values.T, numbers, strict=True)
        ]
        below = np.zeros(values.shape)
        for place, order in enumerate(ordered):
            below[order[: _middle(len(order)).start], place] = 1
        filled = np.where(present, values, 0.0)
        return cls(values, filled, present.astype(np.float64), ordered, below)

    def means(self, weights: FloatArray) -> FloatArray:
        """Return the mean of each column, one row per sample; NaN if no value was drawn."""
        numbers = weights @ self.present
        found = np.full(numbers.shape, np.nan)
        np.divide(weights @ self.filled, numbers, out=found, where=numbers > 0)
        return found

    def medians(self, weights: FloatArray) -> FloatArray:
        """Return the median of each column, one row per sample; NaN if no value was drawn."""
        found = np.full((len(weights), len(self.ordered)), np.nan)
        below, totals = weights @ self.below, weights @ self.present
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

    def drawn_medians(self, rng: Generator, resamples: int) -> FloatArray:
        """Return medians of bootstrap samples, without drawing the samples.

        The rank of the median of a resample has the distribution of an order statistic of uniform numbers,
        which is a beta distribution (David and Nagaraja, Order Statistics, 2003, section 2.3).
        """
        found = np.full((resamples, self.values.shape[1]), np.nan)
        for place, order in enumerate(self.ordered):
            if number := len(order):
                values = self.values[order, place]
                middle = (number + 1) // 2
                low = rng.beta(middle, number - middle + 1, resamples)
                high = low
                if number % 2 == 0:  # the smallest of the uniform numbers above it
                    high = low + (1 - low) * rng.beta(1, number - middle, resamples)
                ranks = [np.minimum((each * number).astype(np.int64), number - 1) for each in (low, high)]
                found[:, place] = (values[ranks[0]] + values[ranks[1]]) / 2
        return found


@attrs.frozen
class Estimate:
    """Interval and p-value of one difference."""

    interval: Interval | None
    p_value: float | None


def estimate_mean(draws: FloatArray, before: FloatArray, after: FloatArray) -> Estimate:
    """Return interval and p-value of the difference of two means. The values must not contain NaN."""
    n = min(len(before), len(after))
    difference = float(after.mean() - before.mean())
    error = _standard_error(draws) * float(
        np.sqrt(n / (n - 1))
    )  # corrects the bootstrap's bias in small samples
    if not np.isfinite((difference, error)).all():
        return _UNKNOWN
    if not error > _rounding(before, after):
        return Estimate(None, _without_variation(before, after, difference))
    return Estimate(_percentiles(draws, n), _p_value(difference, error, n))


def estimate_median(draws: FloatArray, before: FloatArray, after: FloatArray) -> Estimate:
    """Return interval and p-value of the difference of two medians.

    Percentile intervals are too wide here, because medians of few values jump. In simulations, Student's t
    interval with the bootstrap's standard error keeps its 95 % (``python -m tests.long intervals``).
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


def _standard_error(draws: FloatArray) -> float:
    present = draws[~np.isnan(draws)]
    return float(np.std(present, ddof=1)) if len(present) > 1 else 0.0


def _rounding(before: FloatArray, after: FloatArray) -> float:
    """Return the size of rounding errors; a smaller standard error counts as no variation."""
    return float(np.finfo(np.float64).eps * 8 * max(np.abs(before).max(), np.abs(after).max()))


def _p_value(difference: float, error: float, n: int) -> float:
    return float(2 * stats().t.sf(abs(difference) / error, n - 1))


def _without_variation(before: FloatArray, after: FloatArray, difference: float) -> float:
    """Return the p-value if all samples are equal, so that there is no standard error."""
    if difference == 0:
        return 1.0
    return float(stats().mannwhitneyu(before, after).pvalue)


def _middle(number: int) -> slice:
    """Return the range of sorted values that has the median of a resample, but for one case in 10^14."""
    reach = int(4 * np.sqrt(number)) + 2  # eight standard deviations of the rank
    return slice(max(0, number // 2 - reach), number // 2 + reach)


def _percentiles(draws: FloatArray, n: int) -> Interval:
    """Return the percentile interval of resampled means of ``n`` values.

    The percentiles are adjusted to the width of Student's interval, because plain percentiles are too narrow
    for few values (Hesterberg, "What Teachers Should Know About the Bootstrap", 2015, section 3.3).
    """
    found = stats()
    tail = float(found.norm.cdf(np.sqrt(n / (n - 1)) * found.t.ppf((1 - LEVEL) / 2, n - 1)))
    low, high = np.quantile(draws[~np.isnan(draws)], (tail, 1 - tail))
    return Interval(float(low), float(high), LEVEL)
