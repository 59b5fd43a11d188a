"""Calls as CSV: what a spreadsheet or a program reads is what was sent."""

import csv
import io
import json
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futureagi_async import CallExecution
from futureagi_async.export.formats.csv_cells import original_text, safe_text
from futureagi_async.export.formats.csv_writer import EvaluationColumns
from futureagi_async.export.formats.schema import CALLS
from tests.support.exports import (
    EXECUTION,
    HUGE,
    ROWS,
    SOURCES,
    TEXT,
    VERSION,
    call_of,
    calls_of,
    error_in,
    normalised_lines,
    written,
)

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\u00a0=1", "\uff1d1"]


def rows_of(calls: Sequence[CallExecution]) -> list[dict[str, str]]:
    """Read back what was written, cell by cell."""
    text = written("csv", calls).decode("utf-8-sig")
    limit = csv.field_size_limit(sys.maxsize)
    try:
        return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    finally:
        csv.field_size_limit(limit)


def row_of(**row: Any) -> dict[str, str]:
    """Read back one call."""
    (read,) = rows_of([call_of(**row)])
    return read


def bare_cells(**row: Any) -> list[str]:
    """Return the second line's cells, with their quotes; nothing in them may need more than a split."""
    return written("csv", [call_of(**row)]).decode().split("\r\n")[1].split(",")


@given(rows=st.lists(ROWS, max_size=4))
def test_every_text_comes_back(rows: list[dict[str, Any]]) -> None:
    """Texts of any kind come back whole, one row a call, every row as long as the header."""
    calls = calls_of(*rows)
    read = rows_of(calls)
    assert len(read) == len(calls)
    for call, row in zip(calls, read, strict=True):
        assert None not in row
        assert None not in row.values()
        for name in ("id", "status", "customer_name"):
            assert original_text(row[name]) == (getattr(call, name) or "")
        assert json.loads(row["extra"]) == call.extra
        bad = {name for name in ("transcript", "eval_outputs") if error_in(call, name)} | set(call.misfits)
        assert bad <= set(json.loads(row["misfits"] or "{}")) <= bad | {"scenario"}


@given(text=st.text() | st.sampled_from(FORMULAS))
def test_safe_text_can_be_undone(text: str) -> None:
    """A cell begins with nothing that starts a formula, and one apostrophe less is the text."""
    safe = safe_text(text)
    assert original_text(safe) == text
    assert safe.lstrip()[:1] not in tuple("=+-@\uff1d\uff0b\uff0d\uff20")
    assert safe[:1] not in tuple("\t\r\n")


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_are_texts_wherever_they_come_from(text: str) -> None:
    """A formula is written as text in plain fields, evaluations, their reasons and their headers."""
    read = row_of(call_summary=text, eval_outputs={"e": {"name": text, "value": text, "reason": text}})
    assert read["call_summary"] == f"'{text}"
    assert read[f"eval:{text}"] == f"'{text}"
    assert read[f"eval_reason:{text}"] == f"'{text}"
    assert all(header[0] not in "=+-@\t\r\n" for header in read)


def test_negative_numbers_stay_numbers() -> None:
    """A number needs no apostrophe, whatever its sign; a text that looks like one does."""
    read = row_of(overall_score=-5, duration=-0.5, eval_outputs={"n": {"value": -1}, "t": {"value": "-1"}})
    assert (read["overall_score"], read["duration"]) == ("-5.0", "-0.5")
    assert (read["eval:n"], read["eval:t"]) == ("-1.0", "'-1")


def test_nothing_is_told_from_empty_and_zero() -> None:
    """Null is a bare empty cell, empty text is quoted, zero is zero, a flag is a word."""
    header = bare_cells()
    columns = written("csv", []).decode("utf-8-sig").strip().replace('"', "").split(",")
    cells = dict(zip(columns, bare_cells(status="", overall_score=0, duration=0.0), strict=True))
    assert len(header) == len(columns)
    assert cells["status"] == '""'
    assert cells["session_id"] == ""
    assert (cells["overall_score"], cells["duration"]) == ("0.0", "0.0")
    assert cells["is_snapshot"] == '"false"'


def test_numbers_of_any_size_keep_their_digits() -> None:
    """A whole number is written digit by digit, in fields and in evaluations."""
    read = row_of(overall_score=HUGE, eval_outputs={"e": {"value": HUGE}})
    assert read["overall_score"] == read["eval:e"] == f"{HUGE}.0"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (32, "32.0"),
        (25.6, "25.6"),
        (1e16, "1.0e+16"),
        (-5e-324, "-5.0e-324"),
        (1.5e300, "1.5e+300"),
        (-0.0, "-0.0"),
    ],
)
def test_doubles_have_a_decimal_point(number: float, text: str) -> None:
    """Columns of doubles look like such in every row, those of whole numbers never."""
    read = row_of(duration=number, eval_outputs={"e": {"value": number}}, transcript=[{"content": "Hello"}])
    assert read["duration"] == read["eval:e"] == text
    assert float(text) == number
    assert (read["source_index"], read["transcript_turns"]) == ("0", "1")


def test_columns_are_those_of_every_table() -> None:
    """The header names the columns of the schema, the number of turns before the transcript."""
    data = written("csv", [])
    assert data.startswith(b"\xef\xbb\xbf")
    (header,) = csv.reader(io.StringIO(data.decode("utf-8-sig")))
    expected = list(CALLS)
    expected.insert(expected.index("transcript"), "transcript_turns")
    assert header == expected


def test_a_withheld_transcript_is_not_an_empty_one() -> None:
    """Where nothing was said the number of turns is 0; where the list withholds them it is null."""
    served = {"id": "1", "transcript": [], "duration_seconds": 1}
    (withheld,) = rows_of(calls_of(served, source=EXECUTION))
    (empty,) = rows_of(calls_of(served))
    assert (withheld["transcript_turns"], withheld["transcript"]) == ("", "")
    assert (empty["transcript_turns"], empty["transcript"]) == ("0", "")


def test_a_transcript_is_text_to_read() -> None:
    """Each turn begins a line with its role; further lines of it are set in."""
    turns = [
        {"role": "user", "content": 'One,\n"two"'},
        {"role": "assistant", "content": "user: not you"},
        {"content": "nobody's"},
    ]
    read = row_of(transcript=turns)
    assert read["transcript"] == 'user: One,\n  "two"\nassistant: user: not you\nnobody\'s'
    assert read["transcript_turns"] == "3"


def test_evaluations_of_one_name_are_told_apart() -> None:
    """Two evaluations that share a name have columns of their own, with their ids."""
    read = row_of(
        eval_outputs={
            "a": {"name": "Tone", "value": 1},
            "b": {"name": "Tone", "value": 0},
            "c": {"name": "Goal", "value": True},
        }
    )
    evaluations = {name: value for name, value in read.items() if name.startswith("eval:")}
    assert evaluations == {"eval:Goal": "true", "eval:Tone [a]": "1.0", "eval:Tone [b]": "0.0"}


@pytest.mark.parametrize(
    ("output", "value", "status"),
    [
        ({"name": "E", "value": 0, "status": "Completed"}, "0.0", "Completed"),
        ({"name": "E", "value": ["Calm", "Glad"], "status": "completed"}, '["Calm","Glad"]', "completed"),
        ({"name": "E", "value": {"choice": "é"}}, '{"choice":"é"}', ""),
        ({"name": "E"}, "", "pending"),
        ({"name": "E", "value": None, "status": "skipped", "skipped": True}, "", "skipped"),
        ({"name": "E", "value": None, "error": True, "status": "Failed"}, "", "error"),
        ({"name": "E", "value": None, "error": "no model"}, "", "no model"),
    ],
)
def test_an_evaluation_says_how_it_went(output: dict[str, Any], value: str, status: str) -> None:
    """Value and status tell a result from one that is pending, skipped or failed."""
    read = row_of(eval_outputs={"e": output})
    assert (read["eval:E"], read["eval_status:E"]) == (value, status)


@given(
    outputs=st.lists(st.tuples(TEXT, st.sampled_from(["A", "A [x]", "", "A [x] [x]"]) | TEXT), max_size=6),
    data=st.data(),
)
def test_labels_are_unique_and_in_one_order(outputs: list[tuple[str, str]], data: st.DataObject) -> None:
    """Whatever ids and names are made of, no label is given twice, and the order of calls does not matter."""
    calls = [call_of(eval_outputs={key: {"name": name, "value": 1}}) for key, name in outputs]
    one, other = EvaluationColumns(), EvaluationColumns()
    for call in calls:
        one.note(call)
    for call in data.draw(st.permutations(calls)):
        other.note(call)
    labels = [column.label for column in one.columns()]
    assert len(set(labels)) == len(labels) == len(dict(outputs))
    assert one.columns() == other.columns()


def test_a_name_that_looks_like_anothers_label_stays_its_own() -> None:
    """An evaluation may be called what another's label would be; the label then gets longer."""
    columns = EvaluationColumns()
    columns.note(
        call_of(
            eval_outputs={"x": {"name": "A"}, "y": {"name": "A"}, "z": {"name": "A [x]"}, "A": {"name": "B"}}
        )
    )
    labels = {column.id: column.label for column in columns.columns()}
    assert labels == {"x": "A [x] [x]", "y": "A [y]", "z": "A [x]", "A": "B"}


def test_an_evaluation_without_a_name_is_called_by_its_id() -> None:
    """A pending evaluation names nothing; a later call that has the result gives the name."""
    columns = EvaluationColumns()
    columns.note(call_of(eval_outputs={"0-id": {}, "x": {}}))
    columns.note(call_of(eval_outputs={"0-id": {"name": "Tone", "value": 1}}))
    assert [(column.id, column.label) for column in columns.columns()] == [("0-id", "Tone"), ("x", "x")]


def test_evaluations_of_no_known_shape_are_kept_as_sent() -> None:
    """They fill no evaluation's column, and neither they nor the row are lost."""
    (read,) = rows_of(calls_of({"id": "1", "eval_outputs": [1], "transcript": 5, "status": "failed"}))
    assert json.loads(read["misfits"]) == {"eval_outputs": [1], "transcript": 5}
    assert read["status"] == "failed"


def test_two_scenario_ids_are_both_kept() -> None:
    """Where a record names its scenario twice, differently, the column has one and misfits the other."""
    read = row_of(scenario={"id": "inner", "name": "S"}, scenario_id="outer")
    assert (read["scenario_name"], read["scenario_id"]) == ("S", "outer")
    assert json.loads(read["misfits"]) == {"scenario": {"id": "inner", "name": "S"}}
    assert row_of(scenario={"id": "inner", "name": "S"})["scenario_id"] == "inner"


def test_facts_agree_with_normalised_lines() -> None:
    """Times, source and ids are those of the other formats."""
    calls = calls_of({"id": "1", "updated_at": "2026-01-08T09:00:00.5+01:00"}, source=VERSION)
    (read,), (line,) = rows_of(calls), normalised_lines(calls)
    assert read["timestamp"] == "2026-01-08T08:00:00.500000Z"
    assert line["timestamp"] == "2026-01-08T08:00:00.500000Z"
    assert read["source_index"] == str(SOURCES.index(VERSION))
    assert (read["source_kind"], read["source_version_id"]) == ("agent_version", VERSION.version_id)


@pytest.mark.parametrize("text", ["a,b", 'a"b', "a\nb", "a\r\nb", '"', "\x00", "  a ", "é 🙂 \u2028"])
def test_separators_and_quotes_are_text(text: str) -> None:
    """Nothing in a text ends its cell or its row."""
    assert row_of(call_summary=text)["call_summary"] == text
