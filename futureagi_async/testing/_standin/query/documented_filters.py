"""Filters as the documents promise them: every documented combination works, and no other is accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from futureagi_async.testing._standin.data.facts import facts_of
from futureagi_async.testing._standin.data.records import Call, Row, RunTest
from futureagi_async.testing._standin.query.comparisons import number_test
from futureagi_async.testing._standin.web.filter_syntax import Filter, FilterRefusedError
from futureagi_async.testing._standin.web.filters import CallTest, all_of, column_test

if TYPE_CHECKING:
    from collections.abc import Callable


def apply_documented_filters(run_test: RunTest, filters: list[Filter]) -> Callable[[Row], bool] | None:
    """Combine the filters; all must hold.

    Raises:
        FilterRefusedError: for a column or value the documents do not know.

    """
    return all_of([_test(run_test, one) for one in filters])


def _test(run_test: RunTest, wanted: Filter) -> CallTest:
    try:
        if wanted.column_id == "call_execution_id":
            return _id_test(wanted)
        if wanted.column_id == "response_time":
            return _response_seconds_test(wanted)
        test = column_test(run_test, wanted)
    except (ValueError, TypeError) as error:
        raise FilterRefusedError(f"{wanted.column_id}: {error}") from None
    if test is None:
        raise FilterRefusedError(f"{wanted.column_id}: '{wanted.operator}' is not supported.")
    return test


def _id_test(wanted: Filter) -> CallTest:
    ids = wanted.value if isinstance(wanted.value, list) else [wanted.value]
    if wanted.operator == "not_equals":
        return lambda call: call.id not in ids
    return lambda call: call.id in ids


def _response_seconds_test(wanted: Filter) -> CallTest:
    test = number_test(wanted.operator, wanted.value)
    if test is None:
        raise ValueError(f"'{wanted.operator}' is not supported.")

    def holds(call: Call) -> bool:
        ms = facts_of(call).response_ms
        return test(None if ms is None else ms / 1000)

    return holds
