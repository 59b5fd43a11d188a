"""Which filters the server may ignore, by an execution's columns; how they are tried out and told."""

import json
from uuid import UUID

import pytest
from hypothesis import example, given, reject
from hypothesis import strategies as st

from futureagi_async import Column, Filter, FilterIgnoredError, TestExecutionCalls, column
from futureagi_async._sansio.filtering import (
    doubtful_filters,
    probe,
    resolve_evaluations,
    unknown_column,
)
from futureagi_async.filters import check_filter

EXECUTION = "1234abcd-0000-4000-8000-00000000beef"
POLITE, TWIN, TOOL, PART = (str(UUID(int=number)) for number in range(1, 5))
COLUMNS = (
    Column("timestamp", "Timestamp"),
    Column("turn_count", "Turn Count"),
    Column("stt_latency", "STT latency"),
    Column("priority", "Priority", type="scenario_dataset_column", extra={"dataset_column_ids": [PART]}),
    Column(POLITE, "Politeness", type="evaluation"),
    Column(TOOL, "lookup_order #1", type="tool_evaluation"),
)


def source_of(*filters: Filter) -> TestExecutionCalls:
    """Return a list with these filters."""
    return TestExecutionCalls(EXECUTION, filters=filters)


@pytest.mark.parametrize(
    "known",
    [
        "scenario",
        "callType",
        "persona",
        "persona.gender",
        "priority",
        PART,
        PART.upper(),
        POLITE,
        TOOL,
        f"scenario_{TWIN}_dataset_{TWIN}",
    ],
)
def test_columns_that_the_server_surely_knows(known: str) -> None:
    """Built-in ones, those of personas, and the execution's own in every form."""
    assert doubtful_filters(source_of(column(known).equals("x")), COLUMNS) == []


@pytest.mark.parametrize(
    "doubtful", ["Priority", "Politeness", "stt_latency", "persona.shoe", TWIN, "scenario_x", "Status"]
)
def test_columns_that_it_may_not_know(doubtful: str) -> None:
    """Names in place of ids, ids of nothing listed, and listed columns that may be there to look at only."""
    item = column(doubtful).equals("x")
    known = column("priority").equals("x")
    assert doubtful_filters(source_of(known, item), COLUMNS) == [item]
    assert doubtful_filters(source_of(known, item), ()) == []


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)
FILTERS = st.one_of(
    st.builds(lambda id_, x: column(id_).equals(x), st.uuids(), TEXTS | st.integers() | st.booleans()),
    st.builds(lambda id_, x: column(id_).between(x, x), st.uuids() | st.just("b"), st.integers()),
    st.builds(lambda x: column("dataset").is_in([x]), st.uuids()),
    st.builds(lambda x: column("dataset").not_equals(x), st.booleans()),
    st.just(
        check_filter(
            {
                "column_id": "dataset",
                "display_name": "D",
                "filter_config": {"filter_type": "categorical", "filter_op": "contains", "filter_value": "x"},
            }
        )
    ),
)


@given(FILTERS)
def test_a_probe_asks_for_what_no_call_has(item: Filter) -> None:
    """It is of the same type on the same column, and its conditions can't hold at once."""
    filters = probe(source_of(item), item).filters
    assert {(one.column_id, one.filter_type, one.filter_op) for one in filters} == {
        (item.column_id, item.filter_type, "equals")
    }
    values = {one.filter_value for one in filters}
    assert values in ({"true", "false"}, {-987_654_321}, {"no-call-says-this-7f3a90c1"})
    assert all(check_filter(json.loads(json.dumps(one.to_dict()))) == one for one in filters)


def test_names_become_ids() -> None:
    """Only names of evaluations: the other filters, and what a filter looks for, stay as they are."""
    kept = column("priority").equals("eval:Politeness")
    source = TestExecutionCalls(EXECUTION, search="x", filters=[kept, column("eval:Politeness").equals(True)])
    resolved = resolve_evaluations(source, COLUMNS)
    assert resolved == TestExecutionCalls(EXECUTION, search="x", filters=[kept, column(POLITE).equals(True)])


def test_names_are_exact_and_of_evaluations() -> None:
    """Another case, a dataset's column and a tool's evaluation are not meant; the right spelling is told."""
    for name in ("politeness", "priority", "lookup_order #1"):
        with pytest.raises(FilterIgnoredError, match="No evaluation of this test execution is named"):
            resolve_evaluations(source_of(column(f"eval:{name}").equals("x")), COLUMNS)
    with pytest.raises(FilterIgnoredError, match="Similar columns: 'eval:Politeness'"):
        resolve_evaluations(source_of(column("eval:politeness").equals("x")), COLUMNS)


def test_twins_are_told_by_their_ids() -> None:
    """Two evaluations of one name are never guessed between, nor offered by it."""
    columns = (*COLUMNS, Column(TWIN, "Politeness", type="evaluation"))
    with pytest.raises(FilterIgnoredError, match=f"2 evaluations .* {POLITE} or {TWIN}") as caught:
        resolve_evaluations(source_of(column("eval:Politeness").equals("x")), columns)
    assert caught.value.error_messages == ()
    error = str(unknown_column(column("politeness").equals("x"), columns))
    assert "eval:Politeness" not in error
    assert TWIN in error


@given(st.text(min_size=1).filter(lambda text: "\0" not in text and text.isprintable() and text != "eval:"))
@example("status")
def test_every_name_ends_in_one_clear_error(name: str) -> None:
    """Whatever was given, the message shows it, on one line of bounded length."""
    try:
        asked = column(name).equals("x")
    except (TypeError, ValueError, UserWarning):
        reject()  # a column that every list has, and that takes no such text
    error = unknown_column(asked, COLUMNS)
    assert repr(name) in str(error) or repr(name.lower()) in str(error)
    assert len(str(error)) < 400 + 2 * len(name)


def test_many_columns_are_not_all_told() -> None:
    """Where nothing is near, ten of the columns give an idea."""
    columns = tuple(Column(f"c{n:03}", type="scenario_dataset_column") for n in range(50))
    assert "'c009' and 40 more" in str(unknown_column(column("zzz").equals("x"), columns))
    assert "no columns of its own" in str(unknown_column(column("zzz").equals("x"), ()))
