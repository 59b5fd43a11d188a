"""Sets of sources in a TOML file: what they may hold, and how mistakes are told."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from futureagi_async import (
    AgentVersionCalls,
    AgentVersionNamed,
    AllSources,
    LatestExecution,
    RunTestCalls,
    RunTestNamed,
    TestExecutionCalls,
    column,
    load_source_names,
    load_sources,
)

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
    "": "holds no set",
    f'run_tests = ["{ONE}"]': "run_tests stands outside of a set",
    "[a]\n[b]": "holds several sets, choose one: a, b",
    "[a]": "[a] names no list of calls: it needs run_tests, agent_versions, test_executions, urls, all",
    "[a]\nrun_tests = []": "[a] names no list of calls",
    f'[a]\nrun_test = ["{ONE}"]': "[a] run_test is not a key of a set; its keys are run_tests, ",
    f'[a]\nrun_tests = "{ONE}"': "[a] run_tests must be a list",
    f'[a]\nrun_tests = ["{ONE}", "abc"]': "run test 'abc' has to be looked up: use await session.find",
    "[a]\nrun_tests = [7]": 'entry 1: it must be an id, a name or a table such as {id = "..."}, not 7',
    '[a]\nrun_tests = [{ status = "x" }]': "[a] run_tests, entry 1: id is missing",
    f'[a]\nrun_tests = [{{ id = "{ONE}", state = "x" }}]': "state is not known here: id, search, status are",
    f'[a]\nrun_tests = [{{ id = "{ONE}", status = 7 }}]': "entry 1: status must be a str",
    f'[a]\nrun_tests = [{{ id = "{ONE}", search = "" }}]': "entry 1: search must not be empty",
    "[a]\nrun_tests = [{ id = 7 }]": "entry 1: run_test must be a name or an id, not 7",
    f'[a]\nagent_versions = ["{ONE}"]': "[a] agent_versions, entry 1: an agent version is AGENT:VERSION",
    f'[a]\nagent_versions = [{{ agent = "{ONE}" }}]': "entry 1: version is missing",
    "[a]\nagent_versions = [7]": 'such as {agent = "..."}',
    f'[a]\ntest_executions = [{{ id = "{ONE}", filters = [1] }}]': "[a] test_executions, entry 1: filter 1",
    f'[a]\ntest_executions = [{{ id = "{ONE}", filters = "x" }}]': "filters must be a list",
    f'[a]\nrun_tests = ["{ONE[:-1]}"]': "[a] run_tests, entry 1: run_test must be a UUID",
    '[a]\ntest_executions = ["Checkout flow"]': "entry 1: test_execution_id must be a UUID",
    '[a]\nagent_versions = ["Support bot:"]': "entry 1: version must be a name or an id, not ''",
    "[a]\nall = true": "sources.toml: 'all' has to be looked up",
    "[a]\nall = false": "[a] names no list of calls",
    "[a]\nall = 1": "[a] all: it must be true, a list of kinds or a table, not 1",
    '[a]\nall = ["calls"]': "[a] all: kinds must be 'run_tests' or 'agent_versions', not 'calls'",
    '[a]\nall = { since = "soon" }': "[a] all: since must be how long ago (12h, 30d, 4w) or a moment",
    "[a]\nall = { since = 30 }": "[a] all: since must be a date, or how long ago",
    "[a]\nall = { age = 30 }": "[a] all: age is not known here: kinds, since are.",
    '[a]\nurls = ["https://x.example/?key=sk-secret"]': "[a] urls, entry 1: url names no list of calls",
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
        with pytest.raises(ValueError, match=f"holds no set '{name}'; it holds nightly, weekly"):
            load_sources(written, name)


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    """Bytes in another encoding are a `ValueError`, a missing file the `OSError` that Python raises."""
    path = tmp_path / "s.toml"
    path.write_bytes(b"[a]\n# \xff\n")
    with pytest.raises(ValueError, match=r"s\.toml is not text in UTF-8"):
        load_sources(path)
    with pytest.raises(FileNotFoundError):
        load_sources(tmp_path / "missing.toml")
