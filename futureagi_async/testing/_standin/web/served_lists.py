"""The three lists of calls in the served dialect: their parameters, paging and errors."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from attrs import frozen

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
from futureagi_async.testing._standin.web.request import Selection
from futureagi_async.testing._standin.wire.dialect import RowKind, to_json
from futureagi_async.testing._standin.wire.nested import column_order

if TYPE_CHECKING:
    from collections.abc import Mapping

    from futureagi_async.testing._standin.data.records import Row, TestExecution
    from futureagi_async.testing._standin.web.request import Condition, RequestContext

_LONGEST_NUMBER = 1000


@frozen
class Parameters:
    """The query, read. `limit` is `None` where none was sent, because the defaults differ by place."""

    page: int
    limit: int | None
    search: str
    filters: list[Filter]
    row_groups: list[object]


class _BadFieldError(ValueError):
    def __init__(self, message: str, code: str = "invalid") -> None:
        super().__init__(message)
        self.code = code


def read_parameters(query: Mapping[str, str]) -> Parameters | Answer:
    """Read the query, or answer 400 with every field that is wrong."""
    readers = {
        "search": _search,
        "filters": _filters,
        "row_groups": _json_list,
        "group_keys": _json_list,
        "page": _positive,
        "limit": _positive,
    }
    read: dict[str, object] = {}
    wrong: dict[str, _BadFieldError] = {}
    for name, reader in readers.items():
        try:
            read[name] = reader(query.get(name, ""))
        except _BadFieldError as error:
            wrong[name] = error
    wrong |= {name: _BadFieldError("Unknown field.") for name in query if name not in readers}
    return _refused(wrong) if wrong else _parameters(read)


def _parameters(read: Mapping[str, object]) -> Parameters:
    page, limit, filters, groups = (read[name] for name in ("page", "limit", "filters", "row_groups"))
    return Parameters(
        page=page if isinstance(page, int) else 1,
        limit=limit if isinstance(limit, int) else None,
        search=str(read["search"]),
        filters=filters if isinstance(filters, list) else [],
        row_groups=groups if isinstance(groups, list) else [],
    )


def _refused(wrong: Mapping[str, _BadFieldError]) -> Answer:
    message = "; ".join(f"{name}: {error}" for name, error in wrong.items())
    details = {name: [str(error)] for name, error in wrong.items()}
    return refusal("served", 400, message, code=next(iter(wrong.values())).code, details=details)


def _positive(text: str) -> int | None:
    if not text:
        return None
    if len(text) > _LONGEST_NUMBER:
        raise _BadFieldError("String value too large.", "max_string_length")
    try:
        number = int(re.sub(r"\.0*\s*$", "", text))
    except ValueError:
        raise _BadFieldError("A valid integer is required.") from None
    if number < 1:
        raise _BadFieldError("Ensure this value is greater than or equal to 1.", "min_value")
    return number


def _without_nul(text: str) -> str:
    if "\x00" in text:
        raise _BadFieldError("Null characters are not allowed.", "null_characters_not_allowed")
    return text


def _search(text: str) -> str:
    return _without_nul(text).strip()


def _filters(text: str) -> list[Filter]:
    try:
        return read_filters(_without_nul(text), SERVED_OPERATORS)
    except FilterRefusedError as error:
        raise _BadFieldError(str(error)) from None


def _json_list(text: str) -> list[object]:
    if not text:
        return []
    try:
        value = json.loads(text)
    except ValueError:
        raise _BadFieldError("Value must be valid JSON.") from None
    if not isinstance(value, list):
        raise _BadFieldError("Value must be a list.")
    return value


_BIGGEST = 2**63 - 1
_DEFAULT_LIMIT = 10


def run_test_calls(context: RequestContext, ids: tuple[str, ...]) -> Answer:
    """Answer a page of a run test: places, then what stands there by then, then the count.

    Nothing is validated; what SQL or `int` choke on becomes a 500 with their words.
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
    selection, limit = Selection(version.listing), _framework_limit(context.query.get("limit"))
    context.plan_statements(version.listing, 2)
    count = context.count(selection)
    page = _framework_page(context.query.get("page") or "1", count, limit)
    if page is None:
        return detailed_refusal("served", 404, "Invalid page.")
    body = framework_rows(context, selection, count, page, limit, "version")
    links = framework_links(context, page, more=page * limit < count)
    return _page(count, links, body, max(1, -(-count // limit)), page)


def _framework_limit(text: str | None) -> int:
    """Whatever is not a positive number silently means the default."""
    try:
        limit = int(text or "")
    except ValueError:
        return _DEFAULT_LIMIT
    return limit if limit > 0 else _DEFAULT_LIMIT


def _framework_page(text: str, count: int, limit: int) -> int | None:
    """Read a page number as the framework does; `None` for one that does not exist."""
    last = max(1, -(-count // limit))
    try:
        page = last if text == "last" else int(text)
    except ValueError:
        return None
    return page if 1 <= page <= last else None


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
    limit = asked.limit or _DEFAULT_LIMIT
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
