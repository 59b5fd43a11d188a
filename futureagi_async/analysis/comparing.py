"""`compare`: two runs, and whether chance explains how they differ."""

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
    """Return how the figures of two runs differ, with 95 % intervals.

    Means and medians have intervals of a bootstrap that draws whole calls, shares Newcombe's. A difference is
    ``beyond_chance`` after the correction of Benjamini and Hochberg over all figures (5 % false discoveries
    among those named); the figures of scenarios are corrected together, for themselves.

    Calls of the same scenario and the same row of its dataset are compared in pairs, where each row has one
    call a run and at least half of the calls have a partner; shares are not paired, which makes their
    intervals wider than they need be. Evaluations and scenarios belong together by id, else by a name that
    only one has.

    Args:
        before: What `summarise` takes, or a `Summary`.
        after: The same.
        seed: Of the bootstrap: the same seed gives the same intervals.
        resamples: How many samples it draws.

    Raises what `summarise` does, and `ValueError` for less than 100 resamples.

    """
    check_installed()
    _check_number("seed", seed, 0)
    _check_number("resamples", resamples, 100)
    from futureagi_async.analysis.comparison import make_comparison

    earlier, later = (each if isinstance(each, Summary) else summarise(each) for each in (before, after))
    return make_comparison(earlier, later, seed=seed, resamples=resamples)


def _check_number(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {brief(value)}.")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}.")
