"""Confidence intervals and tests of shares, and what counts as chance, by scipy and statsmodels."""

from typing import Any, Final

import attrs

LEVEL: Final = 0.95
_LEAST_EXPECTED: Final = 5  # in each field of a table for the chi-squared test, as textbooks say


@attrs.frozen
class Interval:
    """A confidence interval."""

    low: float
    high: float
    level: float = LEVEL

    def to_dict(self) -> dict[str, float]:
        """Return both ends and the level."""
        return attrs.asdict(self)


def stats() -> Any:
    """Return `scipy.stats`, whose types say little."""
    from scipy import stats

    return stats


def proportion() -> Any:
    """Return statsmodels' functions for shares, which have no types."""
    from statsmodels.stats import proportion

    return proportion


def share_interval(count: int, n: int) -> Interval:
    """Return Wilson's interval of a share."""
    low, high = proportion().proportion_confint(count, n, alpha=1 - LEVEL, method="wilson")
    return Interval(float(low), float(high))


def compare_shares(before: int, n_before: int, after: int, n_after: int) -> tuple[Interval, float]:
    """Return Newcombe's interval of the difference of two shares, and the p-value of there being none.

    The test is the chi-squared one, or Fisher's exact one where few are expected.
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
    """Return p-values corrected after Benjamini and Hochberg (1995), in their order."""
    return [float(p_value) for p_value in stats().false_discovery_control(p_values)] if p_values else []
