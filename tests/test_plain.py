"""Values as plain JSON: to_dict, to_json, and from_json for lines that were written before."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pandas as pd
import polars as pl
import pytest
from hypothesis import given

from futureagi_async import (
    CallExecution,
    CallSource,
    DecodingError,
    EvalOutput,
    FetchReport,
    FetchResult,
    NotFoundError,
    Outcome,
    RunTestCalls,
    Scenario,
    SourceReport,
    TestExecutionCalls,
    TranscriptTurn,
    column,
    export_calls,
    plan_export,
    verify_export,
)
from futureagi_async.export.manifest import RecordingFile
from futureagi_async.sources import source_from_dict
from futureagi_async.testing import StandInServer
from tests.support import samples
from tests.support.exports import HUGE, ROWS, SOURCES, call_of, calls_of, error_in, normalised_lines
from tests.support.exports import all_lists as lists_of
from tests.support.samples import decode_page, envelope
from tests.support.sessions import open_session

pytestmark = pytest.mark.anyio

RUN_TEST = SOURCES[0]

FIELDS = [field.name for field in attrs.fields(CallExecution) if field.eq and field.name != "misfits"]

EVERY_ROW = [
    samples.served_row(),
    samples.served_chat_row(),
    samples.served_snapshot_row(),
    samples.served_version_row(rerun_snapshots=[samples.nested_snapshot()]),
    samples.documented_row(),
    samples.documented_run_test_row(),
]


def without_place(line: dict[str, Any]) -> dict[str, Any]:
    """Return a line without what only an export knows of its sources, and what only a source knows."""
    source = {key: value for key, value in line["source"].items() if key in ("kind", "run_test_id")}
    snapshots = line["rerun_snapshots"] and list(map(without_place, line["rerun_snapshots"]))
    return {**line, "source": source, "rerun_snapshots": snapshots}


def built() -> CallExecution:
    """Build a call by hand."""
    return CallExecution(
        id="1",
        status="completed",
        overall_score=7.5,
        start_time=datetime(2026, 1, 31, 12, tzinfo=UTC),
        scenario=Scenario("s", "Refund"),
        transcript=(TranscriptTurn("user", "Hi.", 0.5, None, {"id": "t"}),),
        eval_outputs={"e": EvalOutput("e", "Tone", 0.5, "score")},
        source=RunTestCalls(RUN_TEST.ids["run_test_id"], search="parcel"),
    )


@given(row=ROWS)
def test_a_dict_has_what_a_normalised_line_has(row: dict[str, Any]) -> None:
    """Whatever a record holds, its dict has the keys and the values of its line in an export."""
    for call in calls_of(row):
        (line,) = normalised_lines([call])
        (again,) = calls_of(row)
        made = json.loads(json.dumps(again.to_dict(include_provider_data=True)))
        assert list(made) == list(line)
        assert without_place(made) == without_place(line)


@given(row=ROWS)
def test_a_call_comes_back_from_its_line(row: dict[str, Any]) -> None:
    """A call that was written with to_json is read back, with the same fields as the one that was written."""
    for call in calls_of(row):
        line = call.to_json()
        back = CallExecution.from_json(line)
        assert back.to_json() == line
        for name in FIELDS:
            if not error_in(call, name):
                assert getattr(back, name) == getattr(call, name), name


@pytest.mark.parametrize("row", EVERY_ROW, ids=lambda row: row["id"][:4])
def test_every_kind_of_row_comes_back(row: dict[str, Any]) -> None:
    """Rows of both dialects, snapshots too, equal themselves after a way through a file, units included."""
    (call,) = calls_of(row)
    kept = CallExecution.from_json(call.to_json(include_provider_data=True))
    assert kept == call
    assert kept.may_hold_provider_data == ("call_metadata" in call.extra)


def test_a_line_as_sent_comes_back() -> None:
    """What as_sent wrote is read back by from_json, bytes or text, and the source says what is withheld."""
    row = samples.served_row(transcript=[])
    (call,) = decode_page(envelope([row]), samples.EXECUTION).calls
    assert call.transcript is None
    assert CallExecution.from_json(call.as_sent(), samples.EXECUTION) == call
    assert CallExecution.from_json(call.as_sent().decode()).transcript == ()


def test_a_call_that_was_built_by_hand_comes_back() -> None:
    """A call without a record has a dict and a line, too; times without a zone are UTC."""
    call = built()
    back = CallExecution.from_json(call.to_json())
    assert back == call
    assert back.source == RunTestCalls(RUN_TEST.ids["run_test_id"], search="parcel")
    assert call.to_dict()["start_time"] == "2026-01-31T12:00:00Z"
    naive = attrs.evolve(call, start_time=datetime(2026, 1, 31, 12))
    assert naive.to_dict()["start_time"] == "2026-01-31T12:00:00Z"


def test_provider_data_is_left_out_unless_asked_for() -> None:
    """Other parties' keys are in no dict by default: neither the call's own nor those of its snapshots."""
    snapshot = samples.nested_snapshot(call_metadata={"key": "snapshot-secret"})
    (call,) = calls_of(samples.served_version_row(rerun_snapshots=[snapshot]))
    for shown in (json.dumps(call.to_dict()), call.to_json().decode()):
        assert "provider-secret" not in shown
        assert "snapshot-secret" not in shown
    assert "provider-secret" in json.dumps(call.to_dict(include_provider_data=True))
    assert b"snapshot-secret" in call.to_json(include_provider_data=True)


def test_parts_of_no_known_shape_are_misfits() -> None:
    """What the model refuses is null in the dict, and among its misfits as it was sent."""
    call = call_of(
        transcript={"odd": 1}, eval_outputs=[5], rerun_snapshots=5, overall_score=HUGE, duration="x"
    )
    made = call.to_dict()
    assert made["misfits"] == {
        "duration": "x",
        "transcript": {"odd": 1},
        "eval_outputs": [5],
        "rerun_snapshots": None,  # which may be a third party's key
    }
    assert call.to_dict(include_provider_data=True)["misfits"] == {**made["misfits"], "rerun_snapshots": 5}
    assert made["transcript"] is made["eval_outputs"] is made["rerun_snapshots"] is None
    assert made["overall_score"] == HUGE


@pytest.mark.parametrize("snapshots", [{"call_metadata": "secret"}, ["secret"], "secret"])
def test_snapshots_of_no_known_shape_are_shown_when_asked_for(snapshots: object) -> None:
    """Nobody can tell where in them the provider's data are: their misfit is null by default."""
    call = call_of(rerun_snapshots=snapshots)
    assert b"secret" not in call.to_json()
    assert call.to_dict(include_provider_data=True)["misfits"] == {"rerun_snapshots": snapshots}


def further_down(frames: int, make: Callable[[], Any]) -> Any:
    return further_down(frames - 1, make) if frames else make()


def test_what_is_nested_too_deeply_for_a_dict() -> None:
    """Where Python can't copy a value, for its depth or the caller's, that is one error of ours."""
    (call,) = calls_of(b'{"id":"1","odd":%b}' % (b"[" * 400 + b"]" * 400))
    assert call.to_dict()["extra"] == call.extra
    for make in (call.to_dict, call.to_json):
        with pytest.raises(DecodingError, match="A value is nested too deeply at"):
            further_down(700, make)


@pytest.mark.parametrize("read", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_dataframe_libraries_make_the_columns_one_expects(read: Any) -> None:
    """A list of dicts becomes a table with one column a field, and numbers that can be summed."""
    calls = calls_of(samples.served_row(), samples.served_row(id="2", overall_score=5))
    frame = read([call.to_dict() for call in calls])
    assert list(frame.columns) == list(calls[0].to_dict())
    assert frame["overall_score"].sum() == 12.5
    assert list(frame["status"]) == ["completed"] * 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", "Not valid JSON"),
        (b"[]", "Expected `object`"),
        (b'{"status": "completed"}', "missing required field `id`"),
        (
            b'{"id": "1", "source": {"kind": "list"}, "extra": {}, "misfits": null}',
            "kind must be one of .* at \\$.source",
        ),
        (
            b'{"id": "1", "source": {"kind": "run_test"}, "extra": {}, "misfits": null}',
            "run_test_id is missing",
        ),
        (b'{"id": "1", "source": null, "extra": {}, "misfits": null, "duration": "x"}', r"\$\.duration"),
        (b'{"id": "1", "source": null, "extra": {}, "misfits": null, "transcript": [5]}', r"\$\.transcript"),
        (b'{"id": "\xff"}', "UTF-8|utf-8"),
    ],
)
def test_lines_that_hold_no_call_are_refused(line: bytes, message: str) -> None:
    """What is no call's line raises one kind of error, which says where it stood and what is wrong."""
    with pytest.raises(DecodingError, match=message) as caught:
        CallExecution.from_json(line)
    assert "a line of JSON Lines" in str(caught.value)


def test_a_line_is_text_or_bytes() -> None:
    """A dict given for its line is told at once."""
    with pytest.raises(TypeError, match="A line is bytes or str, not dict"):
        CallExecution.from_json({"id": "1"})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Out of range float"):
        CallExecution(id="1", duration=float("nan")).to_json()


SOURCES_WITH_CHOICES: list[CallSource] = [
    *SOURCES,
    RunTestCalls(RUN_TEST.ids["run_test_id"], search="parcel", status="failed"),
    TestExecutionCalls(
        SOURCES[2].ids["test_execution_id"],
        search="parcel",
        filters=[column("overall_score").between(5, 9), column("status").is_in(["failed"])],
    ),
]


@pytest.mark.parametrize("source", SOURCES_WITH_CHOICES, ids=str)
def test_sources_come_back_from_their_dicts(source: CallSource) -> None:
    """A source's dict holds all that it is made of; what an export adds to it does not matter."""
    fields = json.loads(json.dumps(source.to_dict()))
    assert source_from_dict(fields) == source
    assert source_from_dict({"index": 3, **fields}) == source


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ("run_test", TypeError, "must be a mapping"),
        ({}, ValueError, "kind must be one of 'run_test', 'agent_version', 'test_execution', not None"),
        ({"kind": "run_test"}, ValueError, "run_test_id is missing"),
        ({"kind": "run_test", "run_test_id": 5}, TypeError, "run_test_id must be a UUID"),
    ],
)
def test_dicts_that_name_no_source_are_refused(fields: Any, error: type[Exception], message: str) -> None:
    """What is no source's dict says what is missing."""
    with pytest.raises(error, match=message):
        source_from_dict(fields)


async def test_whatever_a_session_gives_is_plain_json() -> None:
    """Pages, key figures, reports and what the lists of ids hold become JSON, and say what they are."""
    with StandInServer() as server:
        async with open_session(server) as session:
            source, _, execution = lists_of(server)
            page = await session.get_page(source, limit=5)
            execution_page = await session.get_test_execution(server.test_execution_ids[2], limit=5)
            kpis = await session.get_kpis(server.test_execution_ids[2])
            result = await session.fetch_calls([source, execution])
            runs = await session.list_run_tests()
            executions = await session.list_test_executions(runs[0].id)
            agents = await session.list_agent_definitions()
            versions = await session.list_agent_versions(agents[0].id)
    for value in (page, execution_page, kpis, result, runs[0], executions[0], agents[0], versions[0]):
        made = json.loads(value.to_json())
        assert made == json.loads(json.dumps(value.to_dict()))
        assert "raw" not in made
        assert list(made)[-2:] == ["extra", "misfits"] or "extra" not in made
    assert page.to_dict()["calls"] == [call.to_dict() for call in page.calls]
    assert kpis.to_dict()["avg_score"] == kpis.avg_score
    report = result.report.to_dict()
    assert report["complete"] is True
    assert report["received"] == len(result.calls)
    assert report["sources"][0]["source"] == source.to_dict()
    assert list(runs[0].to_dict())[:2] == ["id", "name"]


async def test_reports_of_exports_are_plain_json(served: StandInServer, tmp_path: Path) -> None:
    """What an export wrote, with its downloads, and what was found when it was checked."""
    source = lists_of(served)[2]
    async with open_session(served) as session:
        plan = await plan_export(session, source)
        report = await export_calls(session, source, tmp_path / "out", transcripts=True)
    planned = json.loads(plan.to_json())
    assert (planned["known"], planned["sources"][0]["source"]) == (True, source.to_dict())
    recording = RecordingFile(
        call_id="1",
        name="combined",
        url_host="a.example",
        path=None,
        bytes=0,
        sha256=None,
        error="Gone.",
    )
    made = json.loads(attrs.evolve(report, recordings=(recording,)).to_json())
    assert (made["complete"], made["path"], made["records"]) == (False, str(tmp_path / "out"), report.records)
    assert made["fetch"] == report.fetch.to_dict()
    assert made["files"] == list(map(str, report.files))
    assert made["recordings"][0]["error"] == "Gone."
    checked = verify_export(tmp_path / "out").to_dict()
    assert (checked["ok"], checked["directory"], checked["problems"]) == (True, str(tmp_path / "out"), [])


def test_errors_become_words() -> None:
    """A failure in a report or an outcome is its class and its message."""
    error = NotFoundError("There is none.")
    failed = SourceReport(
        source=RUN_TEST,
        verdict="incomplete",
        reason="It failed.",
        expected=None,
        received=0,
        failures=(error,),
    )
    words = {"error": "NotFoundError", "message": "There is none."}
    assert FetchReport((failed,)).to_dict()["sources"][0]["failures"] == [words]
    assert Outcome("1", error=error).to_dict() == {"id": "1", "value": None, "error": words}
    assert FetchResult([built()], FetchReport(())).to_dict()["calls"] == [built().to_dict()]
