"""Sources from URLs: those of the API, and those of the dashboard's pages."""

import json
import re
from collections.abc import Callable, Mapping
from urllib.parse import SplitResult, parse_qsl, urlsplit

from futureagi_async.options import canonical_uuid
from futureagi_async.sources import AgentVersionCalls, CallSource, RunTestCalls, TestExecutionCalls

_ID = r"([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"
_ANYWHERE = r"(?:/[\w.~-]+)*"  # servers of one's own may stand behind a path
_API = f"{_ANYWHERE}/simulate"
_PAGES = f"{_ANYWHERE}/dashboard/simulate"
_RUN_TABS = "(?:/(?:runs|call-logs|analytics))?"
_EXECUTION_TABS = "(?:/(?:call-details|performance|analytics|optimization_runs))?"

_PAGING = {"page", "limit"}
_MOST_PARAMETERS = 50
_WHAT_WORKS = (
    "use a URL of the API (/simulate/run-tests/ID/call-executions/, "
    "/simulate/test-executions/ID/, /simulate/agent-definitions/ID/versions/ID/call-executions/) or of a "
    "dashboard page (/dashboard/simulate/test/ID, /dashboard/simulate/test/ID/ID, "
    "/dashboard/simulate/agent-definitions/ID?version=ID)"
)


def source_from_url(url: str) -> CallSource:
    """Return the list of calls that a URL stands for. Nothing is sent to the URL.

    Any host is accepted. These URLs are known:

    * the API's URLs of the three lists, with ``search``, ``status`` and ``filters``. ``page`` and ``limit``
      are ignored, since the whole list is read.
    * the dashboard's pages of run tests, test executions and agent versions. Only the ids count, not the
      filters that the page shows at the moment.

    Raises `ValueError` for any other URL and for bad parameters; the message says which URLs work. A URL may
    contain a key. So an error repeats nothing of it except a wrong filter, and a warning repeats only a
    status that looks like a word.
    """
    if not isinstance(url, str):
        raise TypeError(f"url must be a str, not {type(url).__name__}.")
    parts = _split(url)
    for pattern, read in _READERS:
        if found := re.fullmatch(pattern, parts.path):
            return read(*found.groups(), parts.query)
    raise ValueError(f"{_near_miss(parts.path)}: {_WHAT_WORKS}.")


def _run_test(run_test_id: str, query: str) -> RunTestCalls:
    given = _parameters(query)
    _check_known(given, {"search", "status"})
    try:
        return RunTestCalls(run_test_id, search=given.get("search"), status=given.get("status"))
    except ValueError:  # it repeats what was given
        raise ValueError("url has a bad search or status; a status is one word.") from None


def _agent_version(agent_id: str, version_id: str, query: str) -> AgentVersionCalls:
    _check_known(_parameters(query), set())
    return AgentVersionCalls(agent_id, version_id)


def _test_execution(test_execution_id: str, query: str) -> TestExecutionCalls:
    given = _parameters(query)
    if given.keys() & {"row_groups", "group_keys"}:
        raise ValueError("url asks for groups of rows, which are not calls: remove row_groups.")
    _check_known(given, {"search", "filters"})
    filters = _filters(given.get("filters", "[]"))
    return TestExecutionCalls(test_execution_id, search=given.get("search"), filters=filters)


def _run_test_page(run_test_id: str, _: str) -> RunTestCalls:
    return RunTestCalls(run_test_id)


def _test_execution_page(_: str, test_execution_id: str, __: str) -> TestExecutionCalls:
    return TestExecutionCalls(test_execution_id)


def _agent_page(agent_id: str, query: str) -> AgentVersionCalls:
    if not (version_id := canonical_uuid(dict(parse_qsl(query)).get("version"))):
        raise ValueError(
            "url has an agent but no version: choose a version on that page, which adds ?version=ID."
        )
    return AgentVersionCalls(agent_id, version_id)


_READERS: tuple[tuple[str, Callable[..., CallSource]], ...] = (
    (f"{_API}/run-tests/{_ID}/call-executions/?", _run_test),
    (f"{_API}/agent-definitions/{_ID}/versions/{_ID}/call-executions/?", _agent_version),
    (f"{_API}/test-executions/{_ID}/?", _test_execution),
    (f"{_PAGES}/test/{_ID}{_RUN_TABS}/?", _run_test_page),
    (f"{_PAGES}/test/{_ID}/{_ID}{_EXECUTION_TABS}/?", _test_execution_page),
    (f"{_PAGES}/environments/[^/]+/runs/{_ID}/{_ID}/?", _test_execution_page),
    (f"{_PAGES}/agent-definitions/{_ID}/?", _agent_page),
)
"""Path patterns, and the function that makes a source of the ids in the path and the query."""


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url.strip())
    except ValueError:  # its message repeats the address
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"url must begin with https:// or http:// and a host; {_WHAT_WORKS}.")
    return parts


def _parameters(query: str) -> Mapping[str, str]:
    """Return the query's parameters without empty ones, which the server ignores."""
    try:
        pairs = parse_qsl(query, errors="strict", max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        raise ValueError("url has a query that can't be read.") from None
    parameters = dict(pairs)
    if len(parameters) < len(pairs):
        raise ValueError("url has the same parameter twice: keep one.")
    return parameters


def _check_known(given: Mapping[str, str], known: set[str]) -> None:
    if given.keys() - known - _PAGING:
        allowed = ", ".join(sorted(known | _PAGING))
        raise ValueError(f"url has a parameter that this list does not have; it has {allowed}.")


def _filters(text: str) -> list[Mapping[str, object]]:
    try:
        match json.loads(text):
            case list(filters):
                return filters
    except (ValueError, RecursionError):
        pass
    raise ValueError("url has filters that are not a JSON list.")


def _near_miss(path: str) -> str:
    """Say what a URL stands for instead of a list of calls, if that is known."""
    if re.fullmatch(f"{_API}/call-executions/{_ID}/?", path):
        return "url names a single call, not a list"
    if re.fullmatch(f"{_API}/test-executions/{_ID}/kpis/?", path):
        return "url names KPIs, not a list of calls"
    return "url does not name a list of calls"
