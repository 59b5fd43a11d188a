"""Sources by address: what the API and the dashboard show in an address bar, and what is refused."""

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futureagi_async import (
    AgentVersionCalls,
    CallSource,
    RunTestCalls,
    TestExecutionCalls,
    column,
    source_from_url,
)
from futureagi_async._sansio.requests import page_request

RUN = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"
EXECUTION = "2c5ea4c0-4067-11e9-8bad-9b1deb4d3b7d"
AGENT = "3f333df6-90a4-4fda-8dd3-9485d27cee36"
VERSION = "4e0f2c1a-8b7d-4c3e-9f10-2a3b4c5d6e7f"
API = "https://api.futureagi.com"
PAGES = "https://app.futureagi.com/dashboard/simulate"
FILTERS = quote(json.dumps([column("overall_score").between(5, 9).to_dict()]))

ADDRESSES: dict[str, CallSource] = {
    f"{API}/simulate/run-tests/{RUN}/call-executions/": RunTestCalls(RUN),
    f"{API}/simulate/run-tests/{RUN.upper()}/call-executions?page=3&limit=10": RunTestCalls(RUN),
    f"{API}/simulate/run-tests/{RUN}/call-executions/?status=failed&search=par%20cel": RunTestCalls(
        RUN, status="failed", search="par cel"
    ),
    f"{API}/simulate/run-tests/{RUN}/call-executions/?status=&search=a+b": RunTestCalls(RUN, search="a b"),
    f"{API}/simulate/agent-definitions/{AGENT}/versions/{VERSION}/call-executions/?limit=5": (
        AgentVersionCalls(AGENT, VERSION)
    ),
    f"{API}/simulate/test-executions/{EXECUTION}/?search=x": TestExecutionCalls(EXECUTION, search="x"),
    f"http://localhost:8000/my/api/simulate/test-executions/{EXECUTION}?filters={FILTERS}": (
        TestExecutionCalls(EXECUTION, filters=[column("overall_score").between(5, 9)])
    ),
    f"{PAGES}/test/{RUN}": RunTestCalls(RUN),
    f"{PAGES}/test/{RUN}/runs?from=onboarding": RunTestCalls(RUN),
    f"{PAGES}/test/{RUN}/call-logs#top": RunTestCalls(RUN),
    f" {PAGES}/test/{RUN}/analytics/\n": RunTestCalls(RUN),
    f"{PAGES}/test/{RUN}?a=%ff&a=2": RunTestCalls(RUN),
    f"{PAGES}/test/{RUN}/{EXECUTION}": TestExecutionCalls(EXECUTION),
    f"{PAGES}/test/{RUN}/{EXECUTION}/call-details?page=2": TestExecutionCalls(EXECUTION),
    f"{PAGES}/test/{RUN}/{EXECUTION}/performance": TestExecutionCalls(EXECUTION),
    f"{PAGES}/test/{RUN}/{EXECUTION}/optimization_runs": TestExecutionCalls(EXECUTION),
    f"{PAGES}/environments/e1/runs/{RUN}/{EXECUTION}": TestExecutionCalls(EXECUTION),
    f"{PAGES}/agent-definitions/{AGENT}?activeTab=CallLogs&version={VERSION}": (
        AgentVersionCalls(AGENT, VERSION)
    ),
}


@pytest.mark.parametrize("url", ADDRESSES)
def test_addresses_name_lists(url: str) -> None:
    """The API's addresses bring their search, status and filters, the dashboard's pages their ids."""
    assert source_from_url(url) == ADDRESSES[url]


words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).filter(str.strip)
sources = st.one_of(
    st.builds(
        RunTestCalls,
        st.uuids(),
        search=st.none() | words,
        status=st.none() | st.sampled_from(["completed", "failed"]),
    ),
    st.builds(AgentVersionCalls, st.uuids(), st.uuids()),
    st.builds(
        TestExecutionCalls,
        st.uuids(),
        search=st.none() | words,
        filters=st.lists(st.builds(column("scenario").contains, words), max_size=3),
    ),
)


@given(sources)
def test_the_addresses_this_client_asks_for_come_back(source: CallSource) -> None:
    """What the client itself sends for a source is read as that source again, whatever it looks for."""
    url = f"{API}{page_request(source, page=2, limit=10).target}"
    assert source_from_url(url) == source


SECRET = "sk-very-secret-token"
REFUSED = {
    "": "must begin with https://",
    RUN: "must begin with https://",
    f"/simulate/run-tests/{RUN}/call-executions/": "must begin with https://",
    f"ftp://{SECRET}/simulate/run-tests/{RUN}/call-executions/": "must begin with https://",
    f"https:///simulate/run-tests/{RUN}/call-executions/": "must begin with https://",
    f"https://[{SECRET}/x": "must begin with https://",
    f"https://me:{SECRET}@app.futureagi.com/dashboard/{SECRET}": "names no list of calls: what does is",
    f"{API}/simulate/run-tests/{RUN}/": "names no list of calls",
    f"{API}/simulate/run-tests/{SECRET}/call-executions/": "names no list of calls",
    f"{API}/simulate/run-tests/{RUN}x/call-executions/": "names no list of calls",
    f"{API}/simulate/call-executions/{RUN}/": "names a single call, not a list",
    f"{API}/simulate/test-executions/{EXECUTION}/kpis/": "names key figures",
    f"{API}/simulate/run-tests/{RUN}/call-executions/?api_key={SECRET}": "takes limit, page, search, status",
    f"{API}/simulate/agent-definitions/{AGENT}/versions/{VERSION}/call-executions/?search=x": (
        "it takes limit, page."
    ),
    f"{API}/simulate/test-executions/{EXECUTION}/?row_groups=[1]": "groups of rows",
    f"{API}/simulate/test-executions/{EXECUTION}/?filters=%7B": "filters that are not a JSON list",
    f"{API}/simulate/test-executions/{EXECUTION}/?filters=7": "filters that are not a JSON list",
    f"{API}/simulate/test-executions/{EXECUTION}/?filters={'[' * 50_000}": "filters that are not a JSON list",
    f"{API}/simulate/test-executions/{EXECUTION}/?filters=[1]": "must be a mapping",
    f"{API}/simulate/run-tests/{RUN}/call-executions/?status=failed&status=queued": "a parameter twice",
    f"{API}/simulate/run-tests/{RUN}/call-executions/?status=failed,queued": "a status is one word",
    f"{API}/simulate/run-tests/{RUN}/call-executions/?status={SECRET}%20x": "a status is one word",
    f"{API}/simulate/run-tests/{RUN}/call-executions/?search=%ff": "query that can't be read",
    f"{API}/simulate/run-tests/{RUN}/call-executions/?{'a=1&' * 60}": "query that can't be read",
    f"{PAGES}/test": "names no list of calls",
    f"{PAGES}/test/{RUN}/settings": "names no list of calls",
    f"{PAGES}/test/{RUN}/{EXECUTION}/{AGENT}": "names no list of calls",
    f"{PAGES}/agent-definitions/{AGENT}": "an agent without a version",
    f"{PAGES}/agent-definitions/{AGENT}?version={SECRET}": "an agent without a version",
    f"{PAGES}/agent-definitions/create-new-agent-definition": "names no list of calls",
}


@pytest.mark.parametrize("url", REFUSED, ids=lambda url: url[:60])
def test_other_addresses_are_one_clear_error(url: str) -> None:
    """What names no list is refused in a sentence, which says what would do and repeats no secret."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - each address has its own sentence
        source_from_url(url)
    error: BaseException | None = caught.value
    assert REFUSED[url] in str(error)
    while error is not None:
        assert SECRET not in str(error)
        error = None if error.__suppress_context__ else error.__context__


def test_an_address_is_text() -> None:
    """What is no text is a `TypeError`."""
    with pytest.raises(TypeError, match="url must be a str, not bytes"):
        source_from_url(b"https://x")  # type: ignore[arg-type]
