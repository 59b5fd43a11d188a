"""The lists in which ids are found: run tests, their executions, agents and their versions, newest first.

They are short and hold no calls: plain pages, without statements of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

from futureagi_async.testing._standin.web.answers import (
    Answer,
    detailed_refusal,
    framework_links,
    json_answer,
    page_answer,
    refusal,
)
from futureagi_async.testing._standin.web.parameters import (
    DEFAULT_LIMIT,
    BadFieldError,
    BadRequestError,
    documented_page,
    lenient_limit,
    lenient_page,
    positive_field,
    read_fields,
    text_field,
)
from futureagi_async.testing._standin.wire.dialect import to_json
from futureagi_async.testing._standin.wire.discovery import (
    agent_row,
    documented_execution_row,
    run_test_row,
    scenario_names,
    served_execution_row,
    version_row,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from futureagi_async.testing._standin.data.records import TestExecution
    from futureagi_async.testing._standin.web.request import RequestContext

T = TypeVar("T")

_SOURCE_TYPES = {"", "agent_definition", "prompt"}


def run_tests(context: RequestContext, _ids: tuple[str, ...]) -> Answer:
    """Answer a page of run tests; the served view refuses parameters that it does not know."""
    if context.dialect.name == "served":
        read = read_fields(context.query, _RUN_TEST_FIELDS)
        if isinstance(read, Answer):
            return read
    text, source_type = context.query.get("search", ""), context.query.get("simulation_type", "")
    context.run_statement()
    found = [
        context.world.families[run_test.id]
        for run_test in reversed(context.world.run_tests.values())
        if _found(text, run_test.name, run_test.agent_name) and source_type in {"", run_test.source_type}
    ]
    if context.query.get("prompt_template_id"):
        found = []  # prompts in here are made without a template
    return _page(context, found, run_test_row, "run tests")


def _source_type_field(text: str) -> str:
    if text not in _SOURCE_TYPES:
        raise BadFieldError(f'"{text}" is not a valid choice.', "invalid_choice")
    return text


_RUN_TEST_FIELDS: dict[str, Callable[[str], Any]] = {
    "search": text_field,
    "simulation_type": _source_type_field,
    "prompt_template_id": text_field,
    "page": positive_field,
    "limit": positive_field,
}


def run_test_by_name(context: RequestContext, ids: tuple[str, ...]) -> Answer:
    """Answer the id of the newest run test of exactly this name."""
    name = unquote(ids[0])
    context.run_statement()
    for run_test in reversed(context.world.run_tests.values()):
        if run_test.name == name:
            result = {"run_test_id": run_test.id, "run_test_name": name}
            return json_answer({"status": True, "result": result})
    return refusal("served", 404, "Run test not found")


def executions(context: RequestContext, ids: tuple[str, ...]) -> Answer:
    """Answer a page of the test executions of a run test that are not deleted."""
    served = context.dialect.name == "served"
    context.run_statement()
    if ids[0] not in context.world.run_tests:
        return refusal(context.dialect.name, 404, "Run test not found")
    family = context.world.families[ids[0]]
    text, status = context.query.get("search", ""), context.query.get("status", "")
    known = (family.run_test.name, family.run_test.agent_name, scenario_names(family.run_test))
    found = [
        execution
        for execution in reversed(family.executions)
        if not execution.deleted
        and _found(text, *known)
        and (status if served else status.lower()) in {"", execution.status}
    ]

    def write(execution: TestExecution) -> dict[str, Any]:
        return (served_execution_row if served else documented_execution_row)(family, execution)

    return _page(context, found, write, "test executions")


def agents(context: RequestContext, _ids: tuple[str, ...]) -> Answer:
    """Answer a page of agent definitions; one of them may be pinned to the top."""
    text, kind = context.query.get("search", ""), context.query.get("agent_type", "")
    pinned = context.query.get("agent_definition_id")
    context.run_statement()
    found = [
        family
        for family in reversed(context.world.agents.values())
        if _found(text, family.run_test.agent.name) and kind in {"", family.run_test.agent.kind}
    ]
    found.sort(key=lambda family: family.run_test.agent.id != pinned)
    return _page(context, found, agent_row)


def versions(context: RequestContext, ids: tuple[str, ...]) -> Answer:
    """Answer a page of the versions of an agent, the latest first."""
    context.run_statement()
    family = context.world.agents.get(ids[0])
    if family is None:
        return refusal(context.dialect.name, 404, "Agent definition not found.")
    return _page(context, family.versions[::-1], lambda version: version_row(family, version))


def _found(text: str, *names: str | None) -> bool:
    wanted = text.strip().casefold()
    return any(wanted in name.casefold() for name in names if name is not None)


def _page(
    context: RequestContext, things: Sequence[T], write: Callable[[T], dict[str, Any]], failing: str = ""
) -> Answer:
    """Answer a page; `failing` are the things of whose end the served view makes a 500."""
    count, served = len(things), context.dialect.name == "served"
    page: int | None
    if served:
        limit = lenient_limit(context.query.get("limit"))
        page = lenient_page(context.query.get("page"), count, limit)
    else:
        try:
            page, limit = documented_page(context.query, DEFAULT_LIMIT)
        except BadRequestError as error:
            return refusal("documented", 400, str(error))
    if page is None and failing:
        return refusal("served", 500, f"Failed to retrieve {failing}: Invalid page.")
    if page is None:
        return detailed_refusal("served", 404, "Invalid page.")
    rows = [to_json(write(thing)) for thing in things[(page - 1) * limit : page * limit]]
    head = framework_links(context, page, more=page * limit < count).head(count)
    pages = {"total_pages": max(1, -(-count // limit)), "current_page": page}
    return page_answer(head, rows, pages if served else {})
