"""The documented endpoints: functions that make their requests."""

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias
from urllib.parse import quote

import attrs

from futureagi_async.options import MAX_PAGE_SIZE, check_count, is_sendable
from futureagi_async.sources import AgentVersionCalls, CallSource, RunTestCalls, TestExecutionCalls
from futureagi_async.words import CallStatus, warn_if_unknown

CALL = "/simulate/call-executions/{call_execution_id}/"
RUN_TEST_CALLS = "/simulate/run-tests/{run_test_id}/call-executions/"
VERSION_CALLS = "/simulate/agent-definitions/{agent_id}/versions/{version_id}/call-executions/"
TEST_EXECUTION = "/simulate/test-executions/{test_execution_id}/"
KPIS = "/simulate/test-executions/{test_execution_id}/kpis/"
RUN_TESTS = "/simulate/run-tests/"
RUN_TEST_EXECUTIONS = "/simulate/run-tests/{run_test_id}/executions/"
AGENT_DEFINITIONS = "/simulate/agent-definitions/"
AGENT_VERSIONS = "/simulate/agent-definitions/{agent_id}/versions/"

MAX_QUERY_BYTES = 60_000  # percent-encoded; the served API answers 414 to request lines of 64 KiB
_MOST_BYTES_A_CHARACTER = 12  # four bytes of UTF-8, percent-encoded
MAX_PAGE = 1_000_000_000

_ENDPOINTS = {"run_test": RUN_TEST_CALLS, "agent_version": VERSION_CALLS, "test_execution": TEST_EXECUTION}


_Query: TypeAlias = tuple[tuple[str, str], ...]


@attrs.define(frozen=True)
class Request:
    """A GET request. ``path`` is complete, and can be appended to the base URL."""

    endpoint: str
    """The path template, usable as the name of a metric or a span."""
    path: str
    query: _Query = ()
    confidential: bool = False
    """Whether the response contains secrets of other parties, so that no error may quote it."""

    @property
    def target(self) -> str:
        """Path and query, percent-encoded."""
        return f"{self.path}?{self.query_string}" if self.query else self.path

    @property
    def query_string(self) -> str:
        """The query, percent-encoded."""
        # what `urlencode` gives, in a third of its time: most values are numbers of pages
        return "&".join(
            f"{name}={value if _is_number(value) else quote(value, safe='')}" for name, value in self.query
        )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def call_request(call_execution_id: str) -> Request:
    """Return the request for the full details of a call."""
    return Request(CALL, CALL.format(call_execution_id=call_execution_id))


def kpis_request(test_execution_id: str) -> Request:
    """Return the request for the KPIs of a test execution."""
    return Request(KPIS, KPIS.format(test_execution_id=test_execution_id))


def endpoint_of(source: CallSource) -> str:
    """Return the path template of a list."""
    return _ENDPOINTS[source.kind]


def page_request(source: CallSource, *, page: int, limit: int) -> Request:
    """Return the request for a page of a list of calls. ``limit`` is always sent, because defaults differ."""
    return _list_request(source, _paging(page, limit))


def groups_request(
    source: TestExecutionCalls,
    *,
    row_groups: Sequence[str],
    group_keys: Sequence[str],
    page: int,
    limit: int,
) -> Request:
    """Return the request for grouped rows of a test execution."""
    groups = _given(
        row_groups=_json(_words(row_groups, "row_groups")),
        group_keys=_json(_words(group_keys, "group_keys")) if group_keys else None,
    )
    for column, key in zip(row_groups, group_keys, strict=False):
        if column == "status":
            warn_if_unknown("a group key of status", key, CallStatus, effect="its group may be empty")
    return _list_request(source, groups + _paging(page, limit))


def list_request(
    template: str, ids: Mapping[str, str], chosen: Mapping[str, str | None], *, page: int, limit: int
) -> Request:
    """Return the request for a page of a small list; ``chosen`` are its filter parameters."""
    query = _given(**chosen) + _paging(page, limit)
    return _checked(Request(template, template.format(**ids), query, confidential=True))


def _paging(page: int, limit: int) -> _Query:
    check_count("page", page, at_most=MAX_PAGE)
    check_count("limit", limit, at_most=MAX_PAGE_SIZE)
    return ("page", str(page)), ("limit", str(limit))


def _list_request(source: CallSource, further: _Query) -> Request:
    endpoint = endpoint_of(source)
    return _checked(Request(endpoint, endpoint.format(**source.ids), _choices(source) + further))


def _choices(source: CallSource) -> _Query:
    """Return the filter parameters of a list."""
    match source:
        case RunTestCalls():
            if source.search is None and source.status is None:
                return ()
            return _given(search=source.search, status=source.status)
        case AgentVersionCalls():
            return ()
        case TestExecutionCalls():
            filters = [item.to_dict() for item in source.filters]
            return _given(search=source.search, filters=_json(filters) if filters else None)


def _words(values: Sequence[str], name: str) -> list[str]:
    words = [] if isinstance(values, str) else list(values)
    if isinstance(values, str) or not all(isinstance(word, str) and word for word in words):
        raise TypeError(f"{name} must be a sequence of non-empty str, such as {name}=['scenario'].")
    if not words:
        raise ValueError(f"{name} must not be empty.")
    if not all(map(is_sendable, words)):
        raise ValueError(f"{name} must not contain NUL or lone surrogates.")
    return words


def _given(**values: str | None) -> _Query:
    return tuple((name, value) for name, value in values.items() if value is not None)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _checked(request: Request) -> Request:
    if sum([len(value) for _, value in request.query]) < MAX_QUERY_BYTES // _MOST_BYTES_A_CHARACTER:
        return request
    size = len(request.query_string)
    if size > MAX_QUERY_BYTES:
        raise ValueError(
            f"search and filters make a URL of {size:,} bytes, which is more than the server accepts; "
            "split them over several requests."
        )
    return request
