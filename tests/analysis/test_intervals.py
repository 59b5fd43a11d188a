"""Intervals and tests: against scipy's and statsmodels' own, and by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from futureagi_async.analysis import Share
from futureagi_async.analysis.bootstrap import (
    Pairs,
    draw_differences,
    estimate_mean,
    estimate_median,
    mean_interval,
)
from futureagi_async.analysis.intervals import adjust, compare_shares
from tests.long.intervals import DISTRIBUTIONS, Tally, of_numbers, of_shares
from tests.support.slow import slow

NOBODY = Pairs(np.empty(0, np.int64), np.empty(0, np.int64))


def pairs_of(number: int) -> Pairs:
    """Return pairs of calls in the same place."""
    return Pairs(np.arange(number), np.arange(number))


@pytest.mark.parametrize("statistic", [np.mean, np.median])
@pytest.mark.parametrize("paired", [False, True])
def test_draws_are_those_of_scipys_bootstrap(statistic: object, paired: bool) -> None:
    """Spread and percentiles of drawn differences are those of `scipy.stats.bootstrap`."""
    rng = np.random.default_rng(4)
    before, after = rng.gamma(4, 1, 61), rng.gamma(4, 1, 61) + 1

    def difference(first: np.ndarray, second: np.ndarray, axis: int = -1) -> np.ndarray:
        return statistic(second, axis=axis) - statistic(first, axis=axis)  # type: ignore[operator]

    theirs = stats.bootstrap(
        (before, after), difference, n_resamples=20_000, paired=paired, method="percentile", rng=rng
    )
    pairs = pairs_of(61) if paired else NOBODY
    draws = draw_differences(before[:, None], after[:, None], pairs, resamples=20_000)
    ours = (draws.means if statistic is np.mean else draws.medians)[:, 0]
    assert np.std(ours, ddof=1) == pytest.approx(theirs.standard_error, rel=0.03)
    interval = theirs.confidence_interval
    assert np.quantile(ours, (0.025, 0.975)) == pytest.approx(tuple(interval), abs=0.04)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32))
def test_drawn_figures_are_those_of_calls_drawn(calls: int, others: int, seed: int) -> None:
    """Each drawn difference can come from the values; where one run lacks a column there is none."""
    rng = np.random.default_rng(seed)
    before, after = rng.integers(0, 5, (calls, 2)) * 1.0, rng.integers(0, 5, (others, 2)) * 1.0
    before[:, 1] = np.nan
    draws = draw_differences(before, after, NOBODY, resamples=50)
    halves = {one - other for one in np.arange(0, 5, 0.5) for other in np.arange(0, 5, 0.5)}
    assert set(draws.medians[:, 0]) <= halves
    assert np.abs(draws.means[:, 0]).max() <= 4
    assert np.isnan(draws.means[:, 1]).all()
    assert np.isnan(draws.medians[:, 1]).all()


@pytest.mark.parametrize("number", [1, 2, 3, 10, 51, 400])
def test_medians_of_drawn_pairs_are_numpys(number: int) -> None:
    """With pairs, medians are those of the calls drawn, also where some have no value."""
    rng = np.random.default_rng(number)
    before, after = rng.normal(size=(number, 1)), np.zeros((number, 1))
    before[rng.random((number, 1)) < 0.2] = np.nan
    from futureagi_async.analysis.bootstrap import _Columns, _weights

    weights = next(_weights(np.random.default_rng(0), number, 100))
    found = _Columns.of(before, np.empty(0, np.int64)).medians(weights)[:, 0]
    for row, median in zip(weights.astype(int), found, strict=True):
        drawn = np.repeat(before[:, 0], row)
        drawn = drawn[~np.isnan(drawn)]
        assert np.isnan(median) if not len(drawn) else median == np.median(drawn)
    assert len(after) == number


def test_pairs_narrow_intervals() -> None:
    """What both calls of a pair have in common is no chance any more."""
    rng = np.random.default_rng(1)
    common = rng.normal(0, 5, 80)
    before, after = common + rng.normal(0, 0.5, 80), common + rng.normal(0.4, 0.5, 80)
    wide, narrow = (
        estimate_mean(
            draw_differences(before[:, None], after[:, None], pairs).means[:, 0], before, after
        ).interval
        for pairs in (NOBODY, pairs_of(80))
    )
    assert wide is not None
    assert narrow is not None
    assert narrow.high - narrow.low < 0.25 * (wide.high - wide.low)
    ours = stats.ttest_rel(after, before).confidence_interval(0.95)
    assert (narrow.low, narrow.high) == pytest.approx((ours.low, ours.high), abs=0.02)


@pytest.mark.parametrize("number", [2, 5, 50])
def test_intervals_of_means_are_as_wide_as_students(number: int) -> None:
    """Also of few values: the width is that of Student's interval, or wider."""
    rng = np.random.default_rng(3)
    values = rng.normal(7, 1, number)
    found = mean_interval(values, resamples=20_000)
    assert found is not None
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    if number > 2:
        assert found.high - found.low >= 0.8 * (theirs.high - theirs.low)
    assert values.min() <= found.low <= values.mean() <= found.high <= values.max()


def test_values_without_variation_have_no_interval() -> None:
    """Where nothing varies nobody knows how it would: there is no interval of width 0."""
    for estimate in (estimate_mean, estimate_median):
        same = estimate(np.zeros(100), np.full(5, 0.1), np.full(5, 0.1))
        assert (same.interval, same.p_value) == (None, 1.0)
        other = estimate(np.full(100, 0.5), np.full(50, 1.0), np.full(50, 1.5))
        assert other.interval is None
        assert other.p_value < 1e-6
        few = estimate(np.full(100, 0.5), np.full(2, 1.0), np.full(2, 1.5))
        assert few.p_value > 0.05


@pytest.mark.parametrize(
    "counts", [(0, 9, 0, 9), (9, 9, 9, 9), (3, 10, 9, 10), (40, 50, 48, 50), (500, 1000, 560, 1000)]
)
def test_shares_have_newcombes_interval(counts: tuple[int, int, int, int]) -> None:
    """The interval is made of Wilson's, as Newcombe says (1998, method 10); the test is near Fisher's."""
    before, n_before, after, n_after = counts
    first, second = Share(before, n_before), Share(after, n_after)
    one, other = first.interval(), second.interval()
    assert one is not None
    assert other is not None
    p, q = before / n_before, after / n_after
    low = q - p - np.hypot(q - other.low, one.high - p)
    high = q - p + np.hypot(other.high - q, p - one.low)
    interval, p_value = compare_shares(*counts)
    assert (interval.low, interval.high) == pytest.approx((low, high))
    fisher = stats.fisher_exact([[after, n_after - after], [before, n_before - before]]).pvalue
    assert p_value == pytest.approx(fisher, abs=0.03)
    assert Share(0, 0).interval() is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_the_correction_is_that_of_benjamini_and_hochberg(p_values: list[float]) -> None:
    """Corrected p-values are statsmodels'."""
    assert adjust(p_values) == pytest.approx(list(multipletests(p_values, method="fdr_bh")[1]))
    assert adjust([]) == []


@pytest.mark.timeout(180)
@pytest.mark.parametrize("size", slow(50, 500))
def test_a_slice_of_the_simulation(size: int) -> None:
    """Some hundred intervals hold the true difference about as often as they say; the command counts more."""
    rng = np.random.default_rng(11)
    runs = 300
    found: list[Tally] = [of_shares(0.8, 0.7, size, runs, rng)]
    for paired in (False, True):
        found += of_numbers(DISTRIBUTIONS["beta, as scores near their end"], size, runs, rng, paired=paired)
    for tally in found:
        assert 0.91 <= tally.coverage <= 0.99, tally  # three standard errors around 0.95
