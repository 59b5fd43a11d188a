"""Sources: their ids and words, sets of them in files, and names in place of ids."""

import json
import pickle
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import get_args
from urllib.parse import quote
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from futureagi_async import (
    AgentVersionCalls,
    AgentVersionNamed,
    AllSources,
    CallSource,
    LatestExecution,
    RunTestCalls,
    RunTestNamed,
    TestExecutionCalls,
    column,
    load_source_names,
    load_sources,
    source_from_url,
)
from futureagi_async._sansio.requests import page_request
from futureagi_async.sources import check_id

ID = "1234abcd-0000-4000-8000-00000000beef"
OTHER = "99999999-0000-4000-8000-000000000000"


class Status(StrEnum):
    COMPLETED = "completed"


@pytest.mark.parametrize("value", [ID, ID.upper(), UUID(ID)])
def test_ids_become_lower_case_text(value: str | UUID) -> None:
    """The server routes lower-case ids only, so every accepted spelling becomes that one."""
    assert check_id(value, "run_test_id") == ID
    assert type(check_id(value, "run_test_id")) is str


NOT_IDS = [
    *["", ".", "../kpis", ID[:-1], ID + "0", ID + "/", "{" + ID + "}", "urn:uuid:" + ID, "x" * 100_000],
    *[f" {ID}", f"{ID} ", f"{ID}\n"],
    *[ID.replace("-", ""), ID.replace("-", "%2d"), ID.replace("a", "g"), ID.replace("0", "\u0660")],
]


@pytest.mark.parametrize("value", NOT_IDS, ids=lambda value: repr(value)[:30])
def test_text_that_is_no_id_is_refused(value: str) -> None:
    """Anything but the canonical form is refused, briefly, naming the parameter."""
    with pytest.raises(ValueError, match="run_test_id must be a UUID") as caught:
        check_id(value, "run_test_id")
    assert repr(value)[:57] in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("value", [None, 5, b"x", [ID], True])
def test_ids_of_other_types_are_refused(value: object) -> None:
    """An id that is neither text nor UUID is a TypeError that names the parameter."""
    with pytest.raises(TypeError, match=r"agent_id must be a UUID or its text"):
        check_id(value, "agent_id")  # type: ignore[arg-type]


@given(st.uuids() | st.uuids().map(str) | st.uuids().map(lambda value: str(value).upper()))
def test_every_uuid_is_an_id(value: str | UUID) -> None:
    """Every UUID in either form is accepted and names the same id."""
    assert UUID(check_id(value, "id")) == UUID(str(value))


@given(st.text())
def test_ids_are_safe_in_a_path(value: str) -> None:
    """Whatever text is given, what comes out is a lower-case UUID or nothing."""
    try:
        checked = check_id(value, "id")
    except ValueError:
        return
    assert checked == str(UUID(value))


def test_sources_name_the_bad_parameter() -> None:
    """Each source checks its own ids and says which one is bad."""
    with pytest.raises(ValueError, match="run_test_id"):
        RunTestCalls("x")
    with pytest.raises(ValueError, match="agent_id"):
        AgentVersionCalls("x", ID)
    with pytest.raises(ValueError, match="version_id"):
        AgentVersionCalls(ID, "x")
    with pytest.raises(ValueError, match="test_execution_id"):
        TestExecutionCalls("x")


SOURCES: list[CallSource] = [
    RunTestCalls(ID),
    RunTestCalls(ID, search="+1555", status="completed"),
    AgentVersionCalls(ID, OTHER),
    TestExecutionCalls(ID, search="refund"),
    TestExecutionCalls(
        ID, filters=[column("status").is_in(["failed"]), column("overall_score").between(5, 9)]
    ),
]


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_sources_are_values(source: CallSource) -> None:
    """A source is frozen, hashable, slotted, and equal to its pickled and its rebuilt self."""
    assert pickle.loads(pickle.dumps(source)) == source
    assert attrs.evolve(source) == source
    assert hash(attrs.evolve(source)) == hash(source)
    assert not hasattr(source, "__dict__")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        source.search = "other"  # type: ignore[misc,union-attr]


def test_spellings_of_one_list_are_equal() -> None:
    """Two spellings of one list are one source, so that it is not read twice."""
    assert RunTestCalls(UUID(ID), status=Status.COMPLETED) == RunTestCalls(ID.upper(), status="completed")
    assert type(RunTestCalls(ID, status=Status.COMPLETED).status) is str


@pytest.mark.parametrize("make", [RunTestCalls, TestExecutionCalls])
@pytest.mark.parametrize(
    ("search", "error", "message"),
    [
        ("", ValueError, "must not be empty"),
        (" \t", ValueError, "must not be empty"),
        ("a\0b", ValueError, "NUL"),
        ("\ud800", ValueError, "surrogates"),
        (5, TypeError, "search must be a str or None"),
        (b"x", TypeError, "search must be a str or None"),
    ],
)
def test_bad_searches_are_refused(
    make: type[RunTestCalls | TestExecutionCalls], search: str, error: type[Exception], message: str
) -> None:
    """A search that the server would ignore or fail on is refused."""
    with pytest.raises(error, match=message):
        make(ID, search=search)


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        ("", ValueError, "must not be empty"),
        ("failed,completed", ValueError, "one source for each status"),
        ("failed completed", ValueError, "one word"),
        ("failed\n", ValueError, "one word"),
        ("a\0", ValueError, "NUL"),
        (5, TypeError, "status must be a str or None"),
        (["failed"], TypeError, "status must be a str or None"),
    ],
)
def test_bad_statuses_are_refused(status: str, error: type[Exception], message: str) -> None:
    """A status that can match nothing is refused; the server takes one word."""
    with pytest.raises(error, match=message):
        RunTestCalls(ID, status=status)


def test_search_is_kept_as_given() -> None:
    """Blanks around a search stay: what they mean is the server's to say."""
    assert TestExecutionCalls(ID, search=" a b ").search == " a b "


def test_filters_may_be_raw() -> None:
    """Raw items as documented become the same filters as built ones, from any iterable."""
    item = {
        "column_id": "status",
        "filter_config": {"filter_type": "text", "filter_op": "equals", "filter_value": "failed"},
    }
    built = column("status").equals("failed")
    assert TestExecutionCalls(ID, filters=iter([item, built])).filters == (built, built)


@pytest.mark.parametrize("filters", [None, 5, "[]", {}, column("status").equals("failed")])
def test_filters_that_are_no_list_are_refused(filters: object) -> None:
    """A single filter, JSON text or a mapping in place of the list is a TypeError."""
    with pytest.raises(TypeError, match="filters must be a list"):
        TestExecutionCalls(ID, filters=filters)  # type: ignore[arg-type]


def test_filters_that_do_nothing_are_refused() -> None:
    """A source cannot carry a filter that the server would ignore."""
    with pytest.raises(ValueError, match="missing filter item keys"):
        TestExecutionCalls(ID, filters=[{"column_id": "status"}])


def test_sources_read_well() -> None:
    """A source's text names its list and what narrows it, on one line."""
    assert [str(source) for source in SOURCES] == [
        f"run test {ID}",
        f"run test {ID}, search '+1555', status 'completed'",
        f"agent version {OTHER}",
        f"test execution {ID}, search 'refund'",
        f"test execution {ID} where status in ('failed',) and overall_score between (5, 9)",
    ]
    assert "\n" not in str(RunTestCalls(ID, search="a\nb"))


def test_every_kind_of_source_is_a_call_source() -> None:
    """The alias holds all three, for isinstance and for match statements."""
    assert set(get_args(CallSource)) == {RunTestCalls, AgentVersionCalls, TestExecutionCalls}
    assert TestExecutionCalls.__test__ is False


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
    f"https://me:{SECRET}@app.futureagi.com/dashboard/{SECRET}": "does not name a list of calls: use a URL",
    f"{API}/simulate/run-tests/{RUN}/": "does not name a list of calls",
    f"{API}/simulate/run-tests/{SECRET}/call-executions/": "does not name a list of calls",
    f"{API}/simulate/run-tests/{RUN}x/call-executions/": "does not name a list of calls",
    f"{API}/simulate/call-executions/{RUN}/": "names a single call, not a list",
    f"{API}/simulate/test-executions/{EXECUTION}/kpis/": "names KPIs, not a list",
    f"{API}/simulate/run-tests/{RUN}/call-executions/?api_key={SECRET}": "it has limit, page, search, status",
    f"{API}/simulate/agent-definitions/{AGENT}/versions/{VERSION}/call-executions/?search=x": (
        "it has limit, page."
    ),
    f"{API}/simulate/test-executions/{EXECUTION}/?row_groups=[1]": "groups of rows",
    f"{API}/simulate/test-executions/{EXECUTION}/?filters=%7B": "filters that are not a JSON list",
    f"{API}/simulate/test-executions/{EXECUTION}/?filters=7": "filters that are not a JSON list",
    f"{API}/simulate/test-executions/{EXECUTION}/?filters={'[' * 50_000}": "filters that are not a JSON list",
    f"{API}/simulate/test-executions/{EXECUTION}/?filters=[1]": "must be a mapping",
    f"{API}/simulate/run-tests/{RUN}/call-executions/?status=failed&status=queued": "same parameter twice",
    f"{API}/simulate/run-tests/{RUN}/call-executions/?status=failed,queued": "a status is one word",
    f"{API}/simulate/run-tests/{RUN}/call-executions/?status={SECRET}%20x": "a status is one word",
    f"{API}/simulate/run-tests/{RUN}/call-executions/?search=%ff": "query that can't be read",
    f"{API}/simulate/run-tests/{RUN}/call-executions/?{'a=1&' * 60}": "query that can't be read",
    f"{PAGES}/test": "does not name a list of calls",
    f"{PAGES}/test/{RUN}/settings": "does not name a list of calls",
    f"{PAGES}/test/{RUN}/{EXECUTION}/{AGENT}": "does not name a list of calls",
    f"{PAGES}/agent-definitions/{AGENT}": "an agent but no version",
    f"{PAGES}/agent-definitions/{AGENT}?version={SECRET}": "an agent but no version",
    f"{PAGES}/agent-definitions/create-new-agent-definition": "does not name a list of calls",
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


ONE = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"
TWO = "2c5ea4c0-4067-11e9-8bad-9b1deb4d3b7d"
WHOLE = f"""
# what we look at every morning
[nightly]
run_tests = ["{ONE}", {{ id = "{TWO}", status = "completed", search = "parcel" }}, "{ONE.upper()}"]
agent_versions = ["{ONE}:{TWO}", {{ agent = "{TWO}", version = "{ONE}" }}]
urls = ["https://app.futureagi.com/dashboard/simulate/test/{TWO}"]

[[nightly.test_executions]]
id = "{ONE}"
search = "parcel"

[[nightly.test_executions]]
id = "{TWO}"

[[nightly.test_executions.filters]]
column_id = "status"
filter_config = {{ filter_type = "text", filter_op = "contains", filter_value = "fail" }}

[weekly]
run_tests = ["{TWO}"]
"""


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "sources.toml"
    path.write_text(WHOLE)
    return path


def test_a_set_names_lists_of_all_kinds(written: Path) -> None:
    """Ids, tables with choices and addresses become sources, in order, each once."""
    assert load_sources(written, "nightly") == [
        RunTestCalls(ONE),
        RunTestCalls(TWO, status="completed", search="parcel"),
        AgentVersionCalls(ONE, TWO),
        AgentVersionCalls(TWO, ONE),
        RunTestCalls(TWO),
        TestExecutionCalls(ONE, search="parcel"),
        TestExecutionCalls(TWO, filters=[column("status").contains("fail")]),
    ]
    assert load_sources(str(written), set="weekly") == [RunTestCalls(TWO)]


NAMED = f"""
[names]
run_tests = ["Checkout flow", "{ONE.upper()}", {{ id = "Refund chats", status = "failed", search = "x" }}]
agent_versions = ["Support: bot:v3", "{ONE}:{TWO}", {{ agent = "Support bot", version = "latest" }}]
test_executions = ["latest:Checkout flow", "{TWO}", {{ id = "latest: {ONE}", search = "x" }}]

[all]
all = true

[some]
all = ["run_tests"]
run_tests = ["{ONE}"]

[ago]
all = {{ since = "30d" }}

[moment]
all = {{ kinds = ["agent_versions"], since = 2026-01-31T10:00:00 }}

[day]
all = {{ since = 2026-01-31 }}
"""


def test_names_stand_where_ids_do(tmp_path: Path) -> None:
    """What needs no looking up is a source already, the rest is left to a session."""
    path = tmp_path / "sources.toml"
    path.write_text(NAMED)
    assert load_source_names(path, "names") == [
        RunTestNamed("Checkout flow"),
        RunTestCalls(ONE),
        RunTestNamed("Refund chats", status="failed", search="x"),
        AgentVersionNamed("Support: bot", "v3"),
        AgentVersionCalls(ONE, TWO),
        AgentVersionNamed("Support bot", "latest"),
        LatestExecution("Checkout flow"),
        TestExecutionCalls(TWO),
        LatestExecution(ONE, search="x"),
    ]
    assert load_source_names(path, "all") == [AllSources()]
    assert load_source_names(path, "some") == [AllSources(["run_tests"]), RunTestCalls(ONE)]
    assert load_source_names(path, "ago") == [AllSources(since=timedelta(days=30))]
    moment = datetime(2026, 1, 31, 10, tzinfo=UTC)
    assert load_source_names(path, "moment") == [AllSources(["agent_versions"], moment)]
    assert load_source_names(path, "day") == [AllSources(since=datetime(2026, 1, 31, tzinfo=UTC))]


def test_a_single_set_need_not_be_chosen(tmp_path: Path) -> None:
    """Where the file holds one set, that is meant; a mark that editors put first does not matter."""
    path = tmp_path / "s.toml"
    path.write_bytes(b'\xef\xbb\xbf[only]\nrun_tests = ["%b"]\n' % ONE.encode())
    assert load_sources(path) == [RunTestCalls(ONE)]


MISTAKES = {
    "[a": "is not TOML: ",
    "": "has no set",
    f'run_tests = ["{ONE}"]': "run_tests stands before the first set",
    "[a]\n[b]": "has several sets, choose one: a, b",
    "[a]": "[a] names no list of calls: add one of run_tests, agent_versions, test_executions, urls, all",
    "[a]\nrun_tests = []": "[a] names no list of calls",
    f'[a]\nrun_test = ["{ONE}"]': "[a] run_test is not a key of a set; the keys are run_tests, ",
    f'[a]\nrun_tests = "{ONE}"': "[a] run_tests must be a list",
    f'[a]\nrun_tests = ["{ONE}", "abc"]': "run test 'abc' needs a lookup: use await session.find",
    "[a]\nrun_tests = [7]": 'entry 1: it must be an id, a name or a table such as {id = "..."}, not 7',
    '[a]\nrun_tests = [{ status = "x" }]': "[a] run_tests, entry 1: id is missing",
    f'[a]\nrun_tests = [{{ id = "{ONE}", state = "x" }}]': (
        "state is not a field here; the fields are id, search, status"
    ),
    f'[a]\nrun_tests = [{{ id = "{ONE}", status = 7 }}]': "entry 1: status must be a str",
    f'[a]\nrun_tests = [{{ id = "{ONE}", search = "" }}]': "entry 1: search must not be empty",
    "[a]\nrun_tests = [{ id = 7 }]": "entry 1: run_test must be a name or an id, not 7",
    f'[a]\nagent_versions = ["{ONE}"]': (
        "[a] agent_versions, entry 1: an agent version has the form AGENT:VERSION"
    ),
    f'[a]\nagent_versions = [{{ agent = "{ONE}" }}]': "entry 1: version is missing",
    "[a]\nagent_versions = [7]": 'such as {agent = "..."}',
    f'[a]\ntest_executions = [{{ id = "{ONE}", filters = [1] }}]': "[a] test_executions, entry 1: filter 1",
    f'[a]\ntest_executions = [{{ id = "{ONE}", filters = "x" }}]': "filters must be a list",
    f'[a]\nrun_tests = ["{ONE[:-1]}"]': "[a] run_tests, entry 1: run_test must be a UUID",
    '[a]\ntest_executions = ["Checkout flow"]': "entry 1: test_execution_id must be a UUID",
    '[a]\nagent_versions = ["Support bot:"]': "entry 1: version must be a name or an id, not ''",
    "[a]\nall = true": "sources.toml: 'all' needs a lookup",
    "[a]\nall = false": "[a] names no list of calls",
    "[a]\nall = 1": "[a] all: it must be true, a list of kinds or a table, not 1",
    '[a]\nall = ["calls"]': "[a] all: kinds must be 'run_tests' or 'agent_versions', not 'calls'",
    '[a]\nall = { since = "soon" }': "[a] all: since must be a duration before now (12h, 30d, 4w) or a time",
    "[a]\nall = { since = 30 }": "[a] all: since must be a date, or a duration before now",
    "[a]\nall = { age = 30 }": "[a] all: age is not a field here; the fields are kinds, since.",
    '[a]\nurls = ["https://x.example/?key=sk-secret"]': (
        "[a] urls, entry 1: url does not name a list of calls"
    ),
    "[a]\nurls = [7]": "[a] urls, entry 1: url must be a str",
}


@pytest.mark.parametrize("content", MISTAKES)
def test_mistakes_are_told_with_file_set_and_key(tmp_path: Path, content: str) -> None:
    """Everything that can't be meant is a `ValueError` that says where it stands."""
    path = tmp_path / "sources.toml"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"sources\.toml") as caught:
        load_sources(path)
    assert str(caught.value).startswith(str(path))
    assert MISTAKES[content] in str(caught.value)
    assert "sk-secret" not in str(caught.value)


def test_an_unknown_set_is_told_with_the_known_ones(written: Path) -> None:
    """A name that the file does not hold, also the empty one, is refused."""
    for name in ("daily", ""):
        with pytest.raises(ValueError, match=f"has no set '{name}'; it has nightly, weekly"):
            load_sources(written, name)


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    """Bytes in another encoding are a `ValueError`, a missing file the `OSError` that Python raises."""
    path = tmp_path / "s.toml"
    path.write_bytes(b"[a]\n# \xff\n")
    with pytest.raises(ValueError, match=r"s\.toml is not text in UTF-8"):
        load_sources(path)
    with pytest.raises(FileNotFoundError):
        load_sources(tmp_path / "missing.toml")
