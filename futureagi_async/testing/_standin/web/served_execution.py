"""The served test-execution endpoint: rows, groups, and its several ways of not saying no."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from futureagi_async.testing._standin.query.filtering import Applied, apply_filters
from futureagi_async.testing._standin.query.search import found_on_execution
from futureagi_async.testing._standin.web.answers import Answer, refusal
from futureagi_async.testing._standin.web.filters import ServerFaultError
from futureagi_async.testing._standin.web.groups import dataset_groups, is_dataset_group
from futureagi_async.testing._standin.web.links import Links, framework_links, relative_links
from futureagi_async.testing._standin.web.served_lists import framework_rows
from futureagi_async.testing._standin.web.served_parameters import Parameters, read_parameters
from futureagi_async.testing._standin.wire.columns import column_order
from futureagi_async.testing._standin.wire.dialect import page_json, to_json

if TYPE_CHECKING:
    from futureagi_async.testing._standin.data.records import Row, TestExecution
    from futureagi_async.testing._standin.web.backend import Backend, Condition
    from futureagi_async.testing._standin.web.request import Visit

_DEFAULT_LIMIT = 10
_DECLARED_LIMIT = 30
"""The default the vendor declares: groups use it, and the number of pages past the end."""


def test_execution(backend: Backend, visit: Visit, ids: tuple[str, ...]) -> Answer:
    """Answer a page of calls, or of groups. An unknown id is a 500, which bad parameters win over."""
    asked = read_parameters(visit.query)
    if isinstance(asked, Answer):
        return asked
    execution = backend.world.executions.get(ids[0])
    if execution is None:
        return _failed("No TestExecution matches the given query.")
    try:
        if asked.row_groups:
            return _groups(backend, visit, execution, asked)
        return _calls(backend, visit, execution, asked)
    except ServerFaultError as fault:
        return _failed(str(fault))


def _failed(reason: str) -> Answer:
    return refusal("served", 500, f"Failed to retrieve test execution: {reason}")


def _calls(backend: Backend, visit: Visit, execution: TestExecution, asked: Parameters) -> Answer:
    applied = apply_filters(execution.run_test, asked.filters)
    wanted = _condition(applied, asked.search)
    name = (visit.query.get("filters"), asked.search)
    limit, listing = asked.limit or _DEFAULT_LIMIT, execution.listing
    visit.plan(listing, statements=2)
    visit.look()
    count = backend.count(listing, wanted, name)
    tail = {
        "column_order": column_order(execution.run_test),
        "error_messages": applied.error_messages,
        "status": execution.status,
    }
    if (asked.page - 1) * limit >= count and asked.page > 1:
        return _past_the_end(count, asked, tail)
    rows = framework_rows(backend, visit, listing, count, asked.page, limit, "execution", wanted, name)
    links = framework_links(visit, asked.page, more=asked.page * limit < count)
    head = links.head(count) | {"total_pages": max(1, -(-count // limit)), "current_page": asked.page}
    agent = {"provider": execution.run_test.agent.provider, "agent_type": execution.run_test.kind}
    return Answer(200, page_json(head, rows, tail | agent))


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
    return Answer(200, page_json(Links(None, None).head(count) | pages, [], tail))


def _groups(backend: Backend, visit: Visit, execution: TestExecution, asked: Parameters) -> Answer:
    """Answer groups by a dataset column: over all executions there are. Any other grouping is a 500."""
    group = asked.row_groups[0]
    if not isinstance(group, str):
        return _failed(f"'{type(group).__name__}' object has no attribute 'startswith'")
    if not is_dataset_group(group):
        return _failed("module 'django.db.models' has no attribute 'Cast'")
    visit.look()
    calls = [call for call in backend.world.calls.values() if call.state.exists]
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
    return Answer(200, page_json(links.head(len(groups)), rows, tail))
