"""Confidence intervals and tests, by numpy, scipy and statsmodels.

Means and medians: the bootstrap draws whole calls again, so that figures of the same calls stay together;
where runs are paired, it draws pairs. Shares: Wilson's interval for one, Newcombe's for a difference.
"""

from collections.abc import Iterator
from typing import Any, Final

import attrs
import numpy as np
from numpy.random import Generator, default_rng

from futureagi_async.analysis.sample import Doubles, Places
from futureagi_async.analysis.values import Interval, Share

RESAMPLES: Final = 2_000
LEVEL: Final = 0.95
_VALUES_AT_ONCE: Final = 1_000_000  # weights of calls in memory: 8 MB
_LEAST_EXPECTED: Final = 5  # in each field of a table for the chi-squared test, as textbooks say


def _stats() -> Any:
    """Return `scipy.stats`, whose types say little."""
    from scipy import stats

    return stats


def _proportion() -> Any:
    from statsmodels.stats import proportion

    return proportion


def share_interval(share: Share) -> Interval:
    """Return Wilson's interval."""
    low, high = _proportion().proportion_confint(share.count, share.n, alpha=1 - LEVEL, method="wilson")
    return Interval(float(low), float(high), LEVEL)


def compare_shares(before: Share, after: Share) -> tuple[Interval, float]:
    """Return Newcombe's interval of the difference, and the p-value of there being none.

    The test is the chi-squared one, or Fisher's exact one where few are expected.
    """
    low, high = _proportion().confint_proportions_2indep(
        after.count, after.n, before.count, before.n, method="newcomb", compare="diff", alpha=1 - LEVEL
    )
    table = [[each.count, each.n - each.count] for each in (after, before)]
    count, n = after.count + before.count, after.n + before.n
    if count in (0, n):
        p_value = 1.0
    elif min(count, n - count) * min(after.n, before.n) < _LEAST_EXPECTED * n:
        p_value = _stats().fisher_exact(table).pvalue
    else:
        p_value = _stats().chi2_contingency(table, correction=False).pvalue
    return Interval(float(low), float(high), LEVEL), float(p_value)


def adjust(p_values: list[float]) -> list[float]:
    """Return p-values after Benjamini and Hochberg (1995), in their order."""
    return [float(p_value) for p_value in _stats().false_discovery_control(p_values)] if p_values else []


def mean_interval(values: Doubles, *, seed: int = 0, resamples: int = RESAMPLES) -> Interval | None:
    """Return the bootstrap's interval of a mean; ``None`` below two values."""
    if len(values) < 2:
        return None
    weights = _weights(default_rng(seed), len(values), resamples)
    draws = np.concatenate([each @ values for each in weights]) / len(values)
    return _percentiles(draws, len(values))


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
        drawn = rng.integers(0, max(calls, 1), (rows, calls))
        drawn += np.arange(rows)[:, None] * calls
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

    @classmethod
    def of(cls, values: Doubles, paired: Places) -> "_Columns":
        alone = np.setdiff1d(np.arange(len(values)), paired, assume_unique=True)
        values = values[np.concatenate((paired, alone))]
        there = ~np.isnan(values)
        ordered = [
            np.argsort(column, kind="stable")[: each.sum()]
            for column, each in zip(values.T, there.T, strict=True)
        ]
        return cls(values, np.where(there, values, 0.0), there.astype(np.float64), ordered)

    def means(self, weights: Doubles) -> Doubles:
        """Return the mean of each column, a row a sample; NaN where none of its values was drawn."""
        numbers = weights @ self.there
        found = np.full(numbers.shape, np.nan)
        np.divide(weights @ self.filled, numbers, out=found, where=numbers > 0)
        return found

    def medians(self, weights: Doubles) -> Doubles:
        """Return the same for medians."""
        found = [self._median(weights, place) for place in range(self.values.shape[1])]
        return np.column_stack(found) if found else np.empty((len(weights), 0))

    def _median(self, weights: Doubles, place: int) -> Doubles:
        """Return a column's medians: where half of the weight lies on either side."""
        order = self.ordered[place]
        if not len(order):
            return np.full(len(weights), np.nan)
        below = np.cumsum(weights[:, order], axis=1)
        total = below[:, -1:]
        values = self.values[order, place]
        low = values[np.argmax(below >= np.ceil(total / 2), axis=1)]
        high = values[np.argmax(below >= np.floor(total / 2) + 1, axis=1)]
        return np.where(total[:, 0] > 0, (low + high) / 2, np.nan)

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
    p_value: float


def estimate_mean(draws: Doubles, before: Doubles, after: Doubles) -> Estimate:
    """Return interval and p-value of the difference of two means; the values are those drawn from, no NaN."""
    n = min(len(before), len(after))
    difference = float(after.mean() - before.mean())
    error = _standard_error(draws) * float(
        np.sqrt(n / (n - 1))
    )  # samples drawn again vary too little by this
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
    if not error > _rounding(before, after):
        return Estimate(None, _without_variation(before, after, difference))
    reach = float(_stats().t.ppf((1 + LEVEL) / 2, n - 1)) * error
    interval = Interval(difference - reach, difference + reach, LEVEL)
    return Estimate(interval, _p_value(difference, error, n))


def _standard_error(draws: Doubles) -> float:
    there = draws[~np.isnan(draws)]
    return float(np.std(there, ddof=1)) if len(there) > 1 else 0.0


def _rounding(before: Doubles, after: Doubles) -> float:
    """Return a variation that is none: what sums of doubles are wrong by."""
    return float(np.finfo(np.float64).eps * 8 * max(np.abs(before).max(), np.abs(after).max()))


def _p_value(difference: float, error: float, n: int) -> float:
    return float(2 * _stats().t.sf(abs(difference) / error, n - 1))


def _without_variation(before: Doubles, after: Doubles, difference: float) -> float:
    """Return the p-value where all samples are alike, so that a standard error says nothing."""
    if difference == 0:
        return 1.0
    return float(_stats().mannwhitneyu(before, after).pvalue)


def _percentiles(draws: Doubles, n: int) -> Interval:
    """Return the interval between two percentiles of drawn means of ``n`` values.

    The percentiles lie further out the fewer values there are, so that the interval is as wide as
    Student's: the plain ones are too near (Hesterberg, "What Teachers Should Know About the Bootstrap",
    2015, section 3.3).
    """
    stats = _stats()
    tail = float(stats.norm.cdf(np.sqrt(n / (n - 1)) * stats.t.ppf((1 - LEVEL) / 2, n - 1)))
    low, high = np.quantile(draws[~np.isnan(draws)], (tail, 1 - tail))
    return Interval(float(low), float(high), LEVEL)
