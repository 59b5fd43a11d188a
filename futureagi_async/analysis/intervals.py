"""Confidence intervals and tests of shares, and the correction of p-values; by scipy and statsmodels."""

from typing import Any, Final

import attrs

LEVEL: Final = 0.95
_LEAST_EXPECTED: Final = 5  # the usual condition of the chi-squared test, for each cell of the table


@attrs.frozen
class Interval:
    """A confidence interval."""

    low: float
    high: float
    level: float = LEVEL

    def to_dict(self) -> dict[str, float]:
        """Return low, high and level as a dict."""
        return attrs.asdict(self)


def stats() -> Any:
    """Return `scipy.stats`, whose types are incomplete."""
    from scipy import stats

    return stats


def proportion() -> Any:
    """Return statsmodels' functions for proportions, which have no types."""
    from statsmodels.stats import proportion

    return proportion


def share_interval(count: int, n: int) -> Interval:
    """Return the Wilson interval of a share."""
    low, high = proportion().proportion_confint(count, n, alpha=1 - LEVEL, method="wilson")
    return Interval(float(low), float(high))


def compare_shares(before: int, n_before: int, after: int, n_after: int) -> tuple[Interval, float]:
    """Return the Newcombe interval of the difference of two shares, and the p-value of no difference.

    The test is the chi-squared test, or Fisher's exact test if an expected count is small.
    """
    low, high = proportion().confint_proportions_2indep(
        after, n_after, before, n_before, method="newcomb", compare="diff", alpha=1 - LEVEL
    )
    table = [[after, n_after - after], [before, n_before - before]]
    count, n = after + before, n_after + n_before
    if count in (0, n):
        p_value = 1.0
    elif min(count, n - count) * min(n_after, n_before) < _LEAST_EXPECTED * n:
        p_value = stats().fisher_exact(table).pvalue
    else:
        p_value = stats().chi2_contingency(table, correction=False).pvalue
    return Interval(float(low), float(high)), float(p_value)


def adjust(p_values: list[float]) -> list[float]:
    """Return p-values with the Benjamini-Hochberg (1995) correction, in the same order."""
    return [float(p_value) for p_value in stats().false_discovery_control(p_values)] if p_values else []
