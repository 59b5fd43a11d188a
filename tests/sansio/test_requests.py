"""The requests: exact paths and queries, and what is refused before anything is sent."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futureagi_async._sansio import requests
from futureagi_async._sansio.requests import (
    MAX_PAGE,
    Request,
    call_request,
    groups_request,
    kpis_request,
    page_request,
)
from futureagi_async.filters import column
from futureagi_async.options import MAX_PAGE_SIZE
from futureagi_async.sources import AgentVersionCalls, CallSource, RunTestCalls, TestExecutionCalls
from futureagi_async.words import CallStatus

A = "0f8fad5b-d9cb-469f-a165-70867728950e"
B = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
PAGING = (("page", "3"), ("limit", "20"))
FILTER = {
    "column_id": "overall_score",
    "filter_config": {"filter_type": "number", "filter_op": "between", "filter_value": [50, 90]},
}
FILTER_JSON = (
    '[{"column_id":"overall_score","filter_config":'
    '{"filter_type":"number","filter_op":"between","filter_value":[50,90]}}]'
)

REQUESTS: dict[str, tuple[Callable[[], Request], Request]] = {
    "detail": (
        lambda: call_request(A),
        Request(requests.CALL, f"/simulate/call-executions/{A}/"),
    ),
    "KPIs": (
        lambda: kpis_request(A),
        Request(requests.KPIS, f"/simulate/test-executions/{A}/kpis/"),
    ),
    "run test": (
        lambda: page_request(RunTestCalls(A), page=3, limit=20),
        Request(requests.RUN_TEST_CALLS, f"/simulate/run-tests/{A}/call-executions/", PAGING),
    ),
    "run test, searched": (
        lambda: page_request(RunTestCalls(A, search="a&b=ä", status=CallStatus.COMPLETED), page=3, limit=20),
        Request(
            requests.RUN_TEST_CALLS,
            f"/simulate/run-tests/{A}/call-executions/",
            (("search", "a&b=ä"), ("status", "completed"), *PAGING),
        ),
    ),
    "version": (
        lambda: page_request(AgentVersionCalls(A, B), page=3, limit=20),
        Request(
            requests.VERSION_CALLS,
            f"/simulate/agent-definitions/{A}/versions/{B}/call-executions/",
            PAGING,
        ),
    ),
    "test execution": (
        lambda: page_request(TestExecutionCalls(A), page=3, limit=20),
        Request(requests.TEST_EXECUTION, f"/simulate/test-executions/{A}/", PAGING),
    ),
    "test execution, filtered": (
        lambda: page_request(TestExecutionCalls(A, search="x", filters=[FILTER]), page=3, limit=20),
        Request(
            requests.TEST_EXECUTION,
            f"/simulate/test-executions/{A}/",
            (("search", "x"), ("filters", FILTER_JSON), *PAGING),
        ),
    ),
    "groups": (
        lambda: groups_request(
            TestExecutionCalls(A), row_groups=["scenario"], group_keys=[], page=3, limit=20
        ),
        Request(
            requests.TEST_EXECUTION,
            f"/simulate/test-executions/{A}/",
            (("row_groups", '["scenario"]'), *PAGING),
        ),
    ),
    "groups with keys": (
        lambda: groups_request(
            TestExecutionCalls(A, search="x"), row_groups=("a", "ü"), group_keys=("k",), page=3, limit=20
        ),
        Request(
            requests.TEST_EXECUTION,
            f"/simulate/test-executions/{A}/",
            (("search", "x"), ("row_groups", '["a","ü"]'), ("group_keys", '["k"]'), *PAGING),
        ),
    ),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_requests_are_exact(case: str) -> None:
    """Each source and endpoint has one path and one query; page and limit are always sent."""
    make, expected = REQUESTS[case]
    assert make() == expected


@pytest.mark.parametrize("case", REQUESTS)
def test_path_follows_its_template(case: str) -> None:
    """The path is the endpoint's template with ids put in, and safe to append to any base URL."""
    request = REQUESTS[case][0]()
    assert request.path.count("/") == request.endpoint.count("/")
    assert request.path.startswith("/simulate/")
    assert request.path.endswith("/")
    assert not set(request.path) & set("?#%{}. ")


@pytest.mark.parametrize(
    "make",
    [
        lambda id_: page_request(RunTestCalls(id_), page=3, limit=20),
        lambda id_: page_request(AgentVersionCalls(id_, id_), page=3, limit=20),
        lambda id_: page_request(TestExecutionCalls(id_), page=3, limit=20),
    ],
)
def test_uuid_objects_make_the_same_request(make: Callable[[str | UUID], Request]) -> None:
    """An id may be a UUID or its text, in any case; the server only routes lower case."""
    assert make(UUID(A)) == make(A) == make(A.upper())


@pytest.mark.parametrize("build", [page_request, groups_request], ids=["page", "groups"])
@pytest.mark.parametrize("name", ["page", "limit"])
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (0, ValueError),
        (-1, ValueError),
        (10**30, ValueError),
        (True, TypeError),
        (False, TypeError),
        (1.0, TypeError),
        (1.5, TypeError),
        ("1", TypeError),
        (None, TypeError),
    ],
)
def test_bad_pages_are_refused(build: Any, name: str, value: Any, kind: type[Exception]) -> None:
    """A page or limit that the server would choke on, or never end with, is refused by name."""
    groups = {"row_groups": ["a"], "group_keys": []} if build is groups_request else {}
    with pytest.raises(kind, match=f"^{name} must be"):
        build(TestExecutionCalls(A), **{"page": 1, "limit": 1, **groups, name: value})


def test_limits_of_page_and_limit() -> None:
    """The largest page and limit are sent; one more is not."""
    page_request(RunTestCalls(A), page=MAX_PAGE, limit=MAX_PAGE_SIZE)
    with pytest.raises(ValueError, match="page must be from 1 to"):
        page_request(RunTestCalls(A), page=MAX_PAGE + 1, limit=1)
    with pytest.raises(ValueError, match="limit must be from 1 to"):
        page_request(RunTestCalls(A), page=1, limit=MAX_PAGE_SIZE + 1)


def wide_filter(count: int) -> CallSource:
    """Build a source whose filter lists so many ids."""
    return TestExecutionCalls(A, filters=[column("call_execution_id").is_in([B] * count)])


def test_too_long_queries_are_refused() -> None:
    """A query that the server would answer 414 is refused with its size; a long one is sent."""
    page_request(wide_filter(1000), page=1, limit=1)
    with pytest.raises(ValueError, match=r"URL of 1[0-9]{2},[0-9]{3} bytes"):
        page_request(wide_filter(3000), page=1, limit=1)
    with pytest.raises(ValueError, match="split them over several requests"):
        page_request(RunTestCalls(A, search="ä" * 10_001), page=1, limit=1)
    page_request(RunTestCalls(A, search="ä" * 9_990), page=1, limit=1)
    with pytest.raises(ValueError, match="split them over several requests"):
        groups_request(TestExecutionCalls(A), row_groups=["x" * 60_000], group_keys=[], page=1, limit=1)


def groups_of(row_groups: Any, group_keys: Any = ()) -> Request:
    """Ask for groups."""
    return groups_request(
        TestExecutionCalls(A), row_groups=row_groups, group_keys=group_keys, page=1, limit=1
    )


@pytest.mark.parametrize(
    ("row_groups", "kind"),
    [
        ("scenario", TypeError),
        (b"scenario", TypeError),
        ([1], TypeError),
        ([None], TypeError),
        (["a", ""], TypeError),
        (None, TypeError),
        ([], ValueError),
        ((), ValueError),
        (["a\0"], ValueError),
        (["\ud800"], ValueError),
    ],
)
def test_bad_groups_are_refused(row_groups: Any, kind: type[Exception]) -> None:
    """Groups are a sequence of words, not one word, not nothing, and can be written as JSON."""
    with pytest.raises(kind) as caught:
        groups_of(row_groups)
    assert not isinstance(caught.value, UnicodeError)
    if row_groups:
        with pytest.raises(kind):
            groups_of(["a"], row_groups)


def test_groups_may_be_any_iterable() -> None:
    """Words that can be read only once are all sent."""
    request = groups_of(iter(["a", "b"]), iter(["k"]))
    assert dict(request.query)["row_groups"] == '["a","b"]'
    assert dict(request.query)["group_keys"] == '["k"]'


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), min_size=1
    )
)
def test_groups_survive_their_json(words: list[str]) -> None:
    """Whatever the words hold, the server reads the same words."""
    assert json.loads(dict(groups_of(words).query)["row_groups"]) == words


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.from_regex(r"\d+", fullmatch=True)))
def test_a_query_is_encoded_as_forms_are(values: list[str]) -> None:
    """Byte for byte as `urlencode` does it with blanks as %20, be they numbers or any other text."""
    query = tuple((f"name_{place}", value) for place, value in enumerate(values))
    assert Request("/", "/", query).query_string == urlencode(query, quote_via=quote)


def test_filters_are_the_documented_json() -> None:
    """The documents' own examples come out as they stand there."""
    status = {
        "column_id": "status",
        "filter_config": {"filter_type": "text", "filter_op": "equals", "filter_value": "completed"},
    }
    built = TestExecutionCalls(
        A, filters=[column("status").equals("completed"), column("overall_score").between(50, 90)]
    )
    query = dict(page_request(built, page=1, limit=1).query)
    assert json.loads(query["filters"]) == [status, FILTER]
    assert page_request(TestExecutionCalls(A, filters=[status, FILTER]), page=1, limit=1).query == tuple(
        query.items()
    )
