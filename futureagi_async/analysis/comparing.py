"""`compare`: the differences between two runs, and which are statistically significant."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from futureagi_async.analysis.summarising import check_installed, summarise
from futureagi_async.analysis.values import Comparison, Summary
from futureagi_async.models import CallExecution, FetchResult
from futureagi_async.options import brief

if TYPE_CHECKING:
    from futureagi_async.tables import CallsTable

    Data: TypeAlias = Summary | Iterable[CallExecution] | FetchResult | CallsTable | str | os.PathLike[str]


def compare(before: "Data", after: "Data", *, seed: int = 0, resamples: int = 2_000) -> Comparison:
    """Return how the figures of two runs differ, with 95 % confidence intervals.

    Means and medians get bootstrap intervals, which resample whole calls; shares get Newcombe intervals. A
    difference is ``beyond_chance`` if it is statistically significant: at a false discovery rate of 5 %, with
    the Benjamini-Hochberg correction over all figures. The figures of scenarios are a family of their own.

    Calls with the same scenario and the same row of its dataset are compared in pairs. This needs one call
    per row in each run, and pairs for at least half of the calls. Shares are never paired, so their intervals
    are wider than necessary. Evaluations and scenarios are matched by id, else by name if that is unique.

    Args:
        before: The earlier run: a `Summary`, or what `summarise` takes.
        after: The later run, in the same forms.
        seed: Seed of the bootstrap. The same seed gives the same intervals.
        resamples: Number of bootstrap samples.

    Raises what `summarise` raises, and `ValueError` for fewer than 100 resamples.

    """
    check_installed()
    _check_number("seed", seed, 0)
    _check_number("resamples", resamples, 100)
    from futureagi_async.analysis.comparison import make_comparison

    earlier, later = (each if isinstance(each, Summary) else summarise(each) for each in (before, after))
    return make_comparison(earlier, later, seed=seed, resamples=resamples)


def _check_number(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {brief(value)}.")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}.")
