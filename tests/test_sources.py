import pickle
from enum import StrEnum
from typing import get_args
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from futureagi_async.filters import column
from futureagi_async.sources import AgentVersionCalls, CallSource, RunTestCalls, TestExecutionCalls, check_id

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
