"""The three lists of calls in the documented dialect: names, defaults, and plain 400s and 404s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from futureagi_async.testing._standin.data.records import Call, Row, TestExecution
from futureagi_async.testing._standin.web.answers import Answer, framework_links, page_answer, refusal
from futureagi_async.testing._standin.web.filter_syntax import (
    DOCUMENTED_OPERATORS,
    FilterRefusedError,
    read_filters,
)
from futureagi_async.testing._standin.web.filters import (
    ServerFaultError,
    apply_documented_filters,
    found_on_run_test,
)
from futureagi_async.testing._standin.web.groups import DOCUMENTED_COLUMNS, documented_groups
from futureagi_async.testing._standin.web.parameters import (
    BadRequestError,
    documented_list,
    documented_page,
)
from futureagi_async.testing._standin.web.request import Selection
from futureagi_async.testing._standin.web.served_lists import framework_rows, run_test_condition
from futureagi_async.testing._standin.wire.dialect import RowKind, to_json
from futureagi_async.testing._standin.wire.nested import column_order

if TYPE_CHECKING:
    from collections.abc import Callable

    from futureagi_async.testing._standin.web.request import Condition, RequestContext

_EXECUTION_LIMIT = 30


def run_test_calls(context: RequestContext, ids: tuple[str, ...]) -> Answer:
    """Answer a page of a run test; soft-deleted calls take no place here."""
    run_test = context.world.run_tests.get(ids[0])
    if run_test is None:
        return refusal("documented", 404, "Run test not found.")
    asked, listing = run_test_condition(context), run_test.listing

    def wanted(row: Row) -> bool:
        return listing.rule.delivers(row.state) and (asked is None or asked(row))

    name = ("documented", context.query.get("status"), context.query.get("search"))
    return _guarded(lambda: _page(context, Selection(listing, wanted, name), "run_test", 10))


def version_calls(context: RequestContext, ids: tuple[str, ...]) -> Answer:
    version = context.world.versions.get((ids[0], ids[1]))
    if version is None:
        return refusal("documented", 404, "Agent version not found.")
    return _guarded(lambda: _page(context, Selection(version.listing), "version", 10))


def test_execution(context: RequestContext, ids: tuple[str, ...]) -> Answer:
    """Answer a page of calls with the grid's columns, or of groups."""
    execution = context.world.execution(ids[0])
    if execution is None:
        return refusal("documented", 404, "Test execution not found.")
    return _guarded(lambda: _execution(context, execution))


def _guarded(answer: Callable[[], Answer]) -> Answer:
    try:
        return answer()
    except (BadRequestError, FilterRefusedError, ServerFaultError) as error:
        return refusal("documented", 400, str(error))


def _execution(context: RequestContext, execution: TestExecution) -> Answer:
    wanted = _execution_condition(context, execution)
    columns, keys = documented_list(context.query, "row_groups"), documented_list(context.query, "group_keys")
    if any(column not in DOCUMENTED_COLUMNS for column in columns):
        raise BadRequestError("row_groups: unknown column.")
    tail = {
        "column_order": column_order(execution.run_test),
        "status": execution.status,
        "error_messages": [],
        "provider": execution.run_test.agent.provider or "prompt",
        "agent_type": execution.run_test.kind,
    }
    if columns and not keys:
        return _groups(context, execution, columns, wanted, tail)
    if columns:
        wanted = _of_groups(columns, keys, wanted)
    name = tuple(context.query.get(key) for key in ("search", "filters", "row_groups", "group_keys"))
    selection = Selection(execution.listing, wanted, name)
    return _page(context, selection, "execution", _EXECUTION_LIMIT, tail)


def _execution_condition(context: RequestContext, execution: TestExecution) -> Condition | None:
    filters = read_filters(context.query.get("filters", ""), DOCUMENTED_OPERATORS)
    filtered = apply_documented_filters(execution.run_test, filters)
    search = context.query.get("search", "").strip()
    if not search:
        return filtered
    found = found_on_run_test(search)
    return lambda row: found(row) and (filtered is None or filtered(row))


def _of_groups(columns: list[Any], keys: list[Any], wanted: Condition | None) -> Condition:
    """Drill down: the calls whose value in the first column is among the keys."""
    value = DOCUMENTED_COLUMNS[columns[0]]

    def inside(row: Row) -> bool:
        return isinstance(row, Call) and value(row) in keys and (wanted is None or wanted(row))

    return inside


def _groups(
    context: RequestContext,
    execution: TestExecution,
    columns: list[str],
    wanted: Condition | None,
    tail: dict[str, Any],
) -> Answer:
    context.run_statement()
    members = [row for row in execution.listing.members if execution.listing.holds(row)]
    calls = [row for row in members if isinstance(row, Call) and (wanted is None or wanted(row))]
    groups = documented_groups(columns, calls)
    page, limit = documented_page(context.query, _EXECUTION_LIMIT)
    rows = [to_json(group) for group in groups[(page - 1) * limit : page * limit]]
    return _envelope(context, len(groups), page, limit, rows, tail)


def _page(
    context: RequestContext,
    selection: Selection,
    kind: RowKind,
    default_limit: int,
    tail: dict[str, Any] | None = None,
) -> Answer:
    page, limit = documented_page(context.query, default_limit)
    context.plan_statements(selection.listing, 2)
    count = context.count(selection)
    rows = framework_rows(context, selection, count, page, limit, kind)
    return _envelope(context, count, page, limit, rows, tail)


def _envelope(
    context: RequestContext, count: int, page: int, limit: int, rows: list[bytes], tail: dict[str, Any] | None
) -> Answer:
    """Only the test-execution endpoint documents `total_pages` and `current_page`."""
    links = framework_links(context, page, more=page * limit < count)
    head = links.head(count)
    if tail is not None:
        head |= {"total_pages": -(-count // limit), "current_page": page}
    return page_answer(head, rows, tail or {})
