"""The three lists of calls in the served dialect: their parameters, paging and errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from futureagi_async.testing._standin.data.records import Snapshot
from futureagi_async.testing._standin.web.answers import (
    Answer,
    Links,
    detailed_refusal,
    framework_links,
    handmade_links,
    page_answer,
    refusal,
    relative_links,
)
from futureagi_async.testing._standin.web.filter_syntax import (
    SERVED_OPERATORS,
    Filter,
    FilterRefusedError,
    read_filters,
)
from futureagi_async.testing._standin.web.filters import (
    Applied,
    ServerFaultError,
    apply_filters,
    found_on_execution,
    found_on_run_test,
)
from futureagi_async.testing._standin.web.groups import dataset_groups, is_dataset_group
from futureagi_async.testing._standin.web.parameters import (
    DEFAULT_LIMIT,
    BadFieldError,
    lenient_limit,
    lenient_page,
    list_field,
    positive_field,
    read_fields,
    text_field,
    without_nul,
)
from futureagi_async.testing._standin.web.request import Selection
from futureagi_async.testing._standin.wire.dialect import RowKind, to_json
from futureagi_async.testing._standin.wire.nested import column_order

if TYPE_CHECKING:
    from collections.abc import Mapping

    from futureagi_async.testing._standin.data.records import Row, TestExecution
    from futureagi_async.testing._standin.web.request import Condition, RequestContext


@frozen
class Parameters:
    """A test execution's query, read. `limit` is `None` where none was sent: defaults differ by place."""

    page: int
    limit: int | None
    search: str
    filters: list[Filter]
    row_groups: list[object]


def read_parameters(query: Mapping[str, str]) -> Parameters | Answer:
    """Read the query, or answer 400 with every field that is wrong."""
    readers = {
        "search": text_field,
        "filters": _filters_field,
        "row_groups": list_field,
        "group_keys": list_field,
        "page": positive_field,
        "limit": positive_field,
    }
    read = read_fields(query, readers)
    if isinstance(read, Answer):
        return read
    return Parameters(read["page"] or 1, read["limit"], read["search"], read["filters"], read["row_groups"])


def _filters_field(text: str) -> list[Filter]:
    try:
        return read_filters(without_nul(text), SERVED_OPERATORS)
    except FilterRefusedError as error:
        raise BadFieldError(str(error)) from None


_BIGGEST = 2**63 - 1


def run_test_calls(context: RequestContext, ids: tuple[str, ...]) -> Answer:
    """Answer a page of a run test: places, then what stands there by then, then the count.

    Nothing is validated; what SQL or `int` choke on becomes a 500 with their words, and so does a rerun
    snapshot of a prompt, in which the view misses the agent.
    """
    run_test = context.world.run_tests.get(ids[0])
    if run_test is None:
        return refusal("served", 404, "Run test not found")
    try:
        page, limit = int(context.query.get("page", "1")), int(context.query.get("limit", "10"))
        _check_for_sql(page, limit, context.query.get("search", ""))
    except ValueError as error:
        return refusal("served", 500, f"Failed to retrieve call executions: {error}")
    name = (context.query.get("status"), context.query.get("search"))
    selection = Selection(run_test.listing, run_test_condition(context), name)
    offset = (page - 1) * limit
    context.plan_statements(run_test.listing, 3)
    places = context.select(selection, offset, limit)
    context.run_statement()
    rows = [row for row in places if run_test.listing.rule.delivers(row.state)]
    if run_test.agent_name is None and any(isinstance(row, Snapshot) for row in rows):
        return refusal("served", 500, "Failed to retrieve call executions: 'agent_definition_used_name'")
    body = [context.dialect.row(row, "run_test") for row in rows]
    count = context.count(selection)
    links = handmade_links(context, page, more=offset + limit < count)
    total = -(-count // limit) if limit else 1
    return _page(count, links, body, total, page)


def _check_for_sql(page: int, limit: int, search: str) -> None:
    if "\x00" in search:
        raise ValueError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    if limit < 0:
        raise ValueError("LIMIT must not be negative")
    if (page - 1) * limit < 0:
        raise ValueError("OFFSET must not be negative")
    if max(limit, (page - 1) * limit) > _BIGGEST:
        raise ValueError("bigint out of range")


def run_test_condition(context: RequestContext) -> Condition | None:
    """Build the condition of `status` and `search`; empty ones are none."""
    status, search = context.query.get("status"), context.query.get("search", "").strip()
    found = found_on_run_test(search) if search else None
    if not status:
        return found

    def wanted(row: Row) -> bool:
        return row.state.status == status and (found is None or found(row))

    return wanted


def version_calls(context: RequestContext, ids: tuple[str, ...]) -> Answer:
    """Answer a page of an agent version: the count, then rows up to that count."""
    version = context.world.versions.get((ids[0], ids[1]))
    if version is None:
        return refusal("served", 404, "Agent version not found.")
    selection, limit = Selection(version.listing), lenient_limit(context.query.get("limit"))
    context.plan_statements(version.listing, 2)
    count = context.count(selection)
    page = lenient_page(context.query.get("page"), count, limit)
    if page is None:
        return detailed_refusal("served", 404, "Invalid page.")
    body = framework_rows(context, selection, count, page, limit, "version")
    links = framework_links(context, page, more=page * limit < count)
    return _page(count, links, body, max(1, -(-count // limit)), page)


def framework_rows(
    context: RequestContext, selection: Selection, count: int, page: int, limit: int, kind: RowKind
) -> list[bytes]:
    """Read the second statement's rows: its LIMIT is cut to the count of the first, whatever came since."""
    offset = (page - 1) * limit
    rows = context.select(selection, offset, min(limit, count - offset))
    return [context.dialect.row(row, kind) for row in rows]


def _page(count: int, links: Links, rows: list[bytes], total_pages: int, page: int) -> Answer:
    return page_answer(links.head(count), rows, {"total_pages": total_pages, "current_page": page})


_DECLARED_LIMIT = 30
"""The default the vendor declares: groups use it, and the number of pages past the end."""


def test_execution(context: RequestContext, ids: tuple[str, ...]) -> Answer:
    """Answer a page of calls, or of groups. An unknown id is a 500, which bad parameters win over."""
    asked = read_parameters(context.query)
    if isinstance(asked, Answer):
        return asked
    execution = context.world.execution(ids[0])
    if execution is None:
        return _failed("No TestExecution matches the given query.")
    try:
        if asked.row_groups:
            return _groups(context, execution, asked)
        return _calls(context, execution, asked)
    except ServerFaultError as fault:
        return _failed(str(fault))


def _failed(reason: str) -> Answer:
    return refusal("served", 500, f"Failed to retrieve test execution: {reason}")


def _calls(context: RequestContext, execution: TestExecution, asked: Parameters) -> Answer:
    applied = apply_filters(execution.run_test, asked.filters)
    name = (context.query.get("filters"), asked.search)
    selection = Selection(execution.listing, _condition(applied, asked.search), name)
    limit = asked.limit or DEFAULT_LIMIT
    context.plan_statements(execution.listing, 2)
    count = context.count(selection)
    tail = {
        "column_order": column_order(execution.run_test),
        "error_messages": applied.error_messages,
        "status": execution.status,
    }
    if (asked.page - 1) * limit >= count and asked.page > 1:
        return _past_the_end(count, asked, tail)
    rows = framework_rows(context, selection, count, asked.page, limit, "execution")
    links = framework_links(context, asked.page, more=asked.page * limit < count)
    head = links.head(count) | {"total_pages": max(1, -(-count // limit)), "current_page": asked.page}
    agent = {"provider": execution.run_test.agent.provider, "agent_type": execution.run_test.kind}
    return page_answer(head, rows, tail | agent)


def _condition(applied: Applied, search: str) -> Condition | None:
    found = found_on_execution(search) if search else None
    if found is None or applied.wanted is None:
        return found or applied.wanted
    filtered = applied.wanted

    def wanted(row: Row) -> bool:
        return filtered(row) and found(row)

    return wanted


def _past_the_end(count: int, asked: Parameters, tail: dict[str, Any]) -> Answer:
    """Answer 200 without rows or links, and without `provider` and `agent_type`."""
    total = -(-count // (asked.limit or _DECLARED_LIMIT))
    pages = {"total_pages": total, "current_page": asked.page}
    return page_answer(Links(None, None).head(count) | pages, [], tail)


def _groups(context: RequestContext, execution: TestExecution, asked: Parameters) -> Answer:
    """Answer groups by a dataset column: over all executions there are. Any other grouping is a 500."""
    group = asked.row_groups[0]
    if not isinstance(group, str):
        return _failed(f"'{type(group).__name__}' object has no attribute 'startswith'")
    if not is_dataset_group(group):
        return _failed("module 'django.db.models' has no attribute 'Cast'")
    context.run_statement()
    calls = [call for call in context.world.calls.values() if call.state.exists]
    groups = dataset_groups(execution.run_test, group, calls)
    limit = asked.limit or _DECLARED_LIMIT
    begin = (asked.page - 1) * limit
    rows = [to_json(group) for group in groups[begin : begin + limit]]
    links = relative_links(asked.page, more=begin + limit < len(groups))
    tail = {
        "total_pages": -(-len(groups) // limit),
        "current_page": asked.page,
        "column_order": column_order(execution.run_test),
        "error_messages": [],
    }
    return page_answer(links.head(len(groups)), rows, tail)
