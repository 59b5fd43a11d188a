"""Filters as one test of a call, with what the server says about those it could not apply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from futureagi_async.testing._standin.data.records import Row, RunTest
from futureagi_async.testing._standin.query.datetimes import BadDatetimeError
from futureagi_async.testing._standin.web.filters import CallTest, ReportedError, all_of, column_test

if TYPE_CHECKING:
    from collections.abc import Callable

    from futureagi_async.testing._standin.web.filter_syntax import Filter


@frozen
class Applied:
    """`wanted` is `None` when no filter takes effect, which a failed one does not."""

    wanted: Callable[[Row], bool] | None
    error_messages: list[str]


def apply_filters(run_test: RunTest, filters: list[Filter]) -> Applied:
    """Combine the filters; all must hold, and those that fail are left out with a message."""
    tests: list[CallTest] = []
    messages: list[str] = []
    for one in filters:
        try:
            test = column_test(run_test, one)
        except (BadDatetimeError, ReportedError) as error:
            messages.append(str(error))
        except (ValueError, TypeError) as error:
            messages.append(f"Error applying filter for column {one.column_id}: {error}")
        else:
            tests += [test] if test else []
    return Applied(all_of(tests), messages)
