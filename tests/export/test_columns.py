"""The choice of columns: what is left out is nowhere, and all else is as it was."""

import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from futureagi_async import CallExecution, ExportError, RunTestCalls, read_export, verify_export
from futureagi_async.export import export_calls
from futureagi_async.export.formats import open_writer
from futureagi_async.export.formats.csv_writer import EvaluationColumns
from futureagi_async.export.formats.projection import Projection, choose_columns
from futureagi_async.export.formats.schema import CALLS
from futureagi_async.testing import StandInServer
from tests.support import samples
from tests.support.exports import (
    SOURCES,
    batch_of,
    calls_of,
    encoded,
    export,
    interrupt,
    names_in,
    read_manifest,
)
from tests.support.sessions import open_session, read_body
from tests.support.slow import examples

CANARY = "c4n4ry-5f2c"
FORMATS: Mapping[str, dict[str, Any]] = {
    "calls.parquet": {},
    "calls.csv": {},
    "calls.jsonl": {"normalised": True},
    "parquet": {"format": "parquet"},
    "csv": {"format": "csv"},
    "lines": {"normalised": True},
}
"""Targets, and what they need for columns to be chosen."""

PLACES: Mapping[str, Sequence[str]] = {
    "status": ["status"],
    "timestamp": ["timestamp", "updated_at"],
    "start_time": ["start_time", "started_at"],
    "duration": ["duration", "duration_seconds"],
    "scenario_name": ["scenario", "scenario_name"],
    "overall_score": ["overall_score"],
    "customer_name": ["customer_name", "customer_number", "phone_number"],
    "call_summary": ["call_summary"],
    "audio_url": ["audio_url", "recording_url", "recordings", "stereo_recording_url"],
    "recordings": ["recordings", "audio_url", "stereo_recording_url"],
    "simulator_agent_name": ["simulator_agent_name", "simulatorAgentName"],
    "response_time": ["response_time", "response_time_seconds", "response_time_ms"],
    "avg_agent_latency": ["avg_agent_latency", "avg_agent_latency_ms"],
    "transcript": ["transcript", "transcripts"],
    "eval_outputs": ["eval_outputs", "eval_metrics", "error_localizer_tasks"],
    "eval_metrics": ["eval_outputs", "eval_metrics"],
    "scenario_columns": ["scenario_columns"],
    "tool_outputs": ["tool_outputs"],
    "rerun_type": ["rerun_type"],
}
"""The keys of a record under which what a column holds may be sent, in any dialect."""

SAMPLES = (
    samples.served_row,
    samples.served_chat_row,
    samples.served_snapshot_row,
    samples.served_version_row,
    samples.documented_row,
    samples.documented_run_test_row,
)
SHAPES = st.sampled_from(
    [
        CANARY,
        [CANARY],
        {"a": CANARY},
        [samples.served_turn(content=CANARY)],
        [samples.chat_turn(messages=[CANARY], content=5)],
        [{"role": "user", "content": [CANARY], "start_time_seconds": CANARY}],
        {CANARY: samples.served_eval(reason=CANARY)},
        {"e": samples.raw_eval(output=CANARY, reason=[CANARY])},
        {"e": CANARY},
    ]
)


def written(format_: str, calls: Sequence[CallExecution], projection: Projection) -> str:
    """Return all that a format holds of calls: Parquet with its statistics, and decoded."""
    columns = EvaluationColumns()
    for call in calls if projection.evaluations else ():
        columns.note(call)
    file, side = io.BytesIO(), io.BytesIO()
    options: dict[str, Any] = {"side_file": side} if projection.evaluations else {}
    writer = open_writer(
        format_,
        file,
        sources=SOURCES,
        normalised=True,
        evaluations=columns.columns(),
        projection=projection,
        **options,
    )
    writer.write(batch_of(calls))
    writer.close()
    shown = [file.getvalue(), side.getvalue()]
    if format_ == "parquet":
        tables = [parquet.read_table(each) for each in (file, side) if each.getvalue()]
        shown += [repr(table.to_pydict()).encode() for table in tables]
    return b"\n".join(shown).decode(errors="replace")


@pytest.mark.quick(1)
@settings(max_examples=examples(40))
@given(
    sample=st.sampled_from(SAMPLES),
    dropped=st.lists(st.sampled_from(sorted(PLACES)), min_size=1, max_size=3, unique=True),
    data=st.data(),
    source=st.sampled_from(SOURCES),
)
@pytest.mark.parametrize("format_", ["parquet", "csv", "jsonl"])
def test_what_was_dropped_is_nowhere(
    format_: str, sample: Any, dropped: list[str], data: st.DataObject, source: Any
) -> None:
    """Under whatever key of whichever dialect and in whatever shape, in the call or in a snapshot of it."""
    keys = sorted({key for name in dropped for key in PLACES[name]})
    hidden = {key: data.draw(SHAPES, key) for key in data.draw(st.sets(st.sampled_from(keys), min_size=1))}
    snapshot = samples.nested_snapshot(**hidden)
    row = sample(**hidden, rerun_snapshots=[snapshot, {**snapshot, "rerun_snapshots": [hidden]}])
    calls = calls_of(row, sample(id="2"), source=source)
    assert CANARY in written(format_, calls, Projection())
    assert CANARY not in written(format_, calls, choose_columns(None, dropped))
    kept = [name for name in CALLS if name not in choose_columns(None, dropped).left_out]
    assert CANARY not in written(format_, calls, choose_columns(kept, ()))


@settings(max_examples=examples(30))
@given(
    row=st.sampled_from(SAMPLES),
    columns=st.sets(st.sampled_from(sorted(set(CALLS) - {"extra", "misfits", "rerun_snapshots"}))),
    source=st.sampled_from(SOURCES),
    drifted=st.booleans(),
)
def test_what_is_left_is_as_in_a_whole_table(row: Any, columns: set[str], source: Any, drifted: bool) -> None:
    """Columns hold the same values whichever others there are, quickly or carefully made."""
    values = {"overall_score": "7.5", "transcript": [{"content": 5}]} if drifted else {}
    calls = calls_of(row(**values), row(id="2", is_snapshot=True), row(id="3", transcript=[]), source=source)
    tables = []
    for projection in (Projection(), choose_columns(sorted(columns) or ["id"], ())):
        file = io.BytesIO()
        writer = open_writer("parquet", file, sources=SOURCES, projection=projection)
        writer.write(batch_of(calls))
        writer.close()
        tables.append(parquet.read_table(file))
    whole, some = tables
    assert some.column_names == [name for name in CALLS if name in columns | {"id"}]
    assert some.equals(whole.select(some.column_names))


async def texts_of(server: StandInServer) -> set[str]:
    """Return what the server sends in transcripts and as customers: texts long enough to be told apart."""
    paths = [
        f"/simulate/run-tests/{server.run_test_ids[1]}/call-executions/?limit=1000",
        "/simulate/agent-definitions/{}/versions/{}/call-executions/?limit=1000".format(
            *server.agent_versions[0]
        ),
    ]
    found: set[str] = set()
    for row in (row for path in paths for row in read_body(server, path)["results"]):
        turns = row.get("transcript") or row.get("transcripts") or []
        said = [turn.get("content") for turn in turns] + [
            row.get("customer_name"),
            row.get("customer_number"),
        ]
        found |= {text for text in said if isinstance(text, str) and len(text) > 11}
    return found


@pytest.mark.quick(2)
@pytest.mark.anyio
@pytest.mark.parametrize("name", FORMATS)
async def test_an_export_without_what_was_said(server: StandInServer, tmp_path: Path, name: str) -> None:
    """No file of the export, of any format and dialect, has a word of it; nothing else stays on the disk."""
    texts = await texts_of(server)
    assert len(texts) > 10
    for folder, drop in (("whole", []), ("some", ["transcript", "customer_name"])):
        (tmp_path / folder).mkdir()
        report = await export(server, tmp_path / folder / name, drop=drop, **FORMATS[name])
        assert report.left_out_columns == tuple(name for name in CALLS if name in drop)
        shown = b"\n".join(path.read_bytes() for path in (tmp_path / folder).rglob("*") if path.is_file())
        if "parquet" in name:
            tables = [repr(parquet.read_table(path).to_pydict()) for path in report.files]
            shown = "".join(tables).encode()
        plain = shown.decode().replace('""', '"')
        said = {text for text in texts if text in plain or encoded(text)[1:-1].decode() in plain}
        assert bool(said) == (folder == "whole"), said
        assert verify_export(tmp_path / folder / name).ok
        assert names_in(tmp_path / folder) == {name}


@pytest.mark.quick(1)
@pytest.mark.anyio
@pytest.mark.parametrize("name", [name for name in FORMATS if "csv" not in name])
async def test_an_export_of_some_columns_is_read_back(
    server: StandInServer, tmp_path: Path, name: str
) -> None:
    """`read_export` gives the columns that are there, with the values of a whole export, and evaluations."""
    whole, some = tmp_path / "whole", tmp_path / "some"
    whole.mkdir()
    some.mkdir()
    columns = [
        "overall_score",
        "source_index",
        "scenario_name",
        "response_time",
        "transcript",
        "eval_outputs",
    ]
    for folder, chosen in ((whole, None), (some, columns)):
        await export(server, folder / name, columns=chosen, ordered=True, **FORMATS[name])
    expected, found = read_export(whole / name), read_export(some / name)
    assert found.calls.column_names == [each for each in CALLS if each in {"id", *columns}]
    assert found.calls.equals(expected.calls.select(found.calls.column_names))
    kept = [each for each in expected.evaluations.column_names if each in found.evaluations.column_names]
    assert found.evaluations.equals(expected.evaluations.select(kept))
    assert set(expected.evaluations.column_names) - set(kept) == {
        each for each in CALLS if each.startswith("source_") and each != "source_index"
    }
    with pytest.raises(ValueError, match="columns names 'status', but the export left this column out"):
        read_export(some / name, columns=["status"])


@pytest.mark.quick(2)
@pytest.mark.anyio
@pytest.mark.parametrize("name", FORMATS)
async def test_evaluations_go_with_their_column(served: StandInServer, tmp_path: Path, name: str) -> None:
    """Without ``eval_outputs`` there is no table of them, no column of one, and not their other shape."""
    report = await export(served, tmp_path / name, drop=["eval_outputs"], **FORMATS[name])
    assert report.left_out_columns == ("eval_outputs", "eval_metrics")
    assert not [path for path in report.files if "evaluations" in path.name]
    assert not (tmp_path / name / "_evaluations").exists()
    assert verify_export(tmp_path / name).ok
    if "csv" in name:
        assert b"eval" not in report.files[0].read_bytes().splitlines()[0]
    else:
        assert read_export(tmp_path / name).evaluations is None


@pytest.mark.quick(2)
@pytest.mark.anyio
@pytest.mark.parametrize(
    ("chosen", "keys"),
    [
        ({"columns": ["status", "id", "overall_score"]}, ["id", "status", "overall_score"]),
        ({"columns": ["status"]}, ["id", "status"]),
        ({"columns": ["scenario", "source"]}, ["id", "source", "scenario", "scenario_id"]),
        ({"columns": ["scenario_id"]}, ["id", "scenario", "scenario_id"]),
    ],
)
async def test_lines_have_just_the_keys(
    served: StandInServer, tmp_path: Path, chosen: dict[str, Any], keys: list[str]
) -> None:
    """Normalised lines have the chosen keys in the order of whole lines, and the id in any case."""
    report = await export(served, tmp_path / "calls.jsonl", normalised=True, **chosen)
    lines = [json.loads(line) for line in report.files[0].read_bytes().splitlines()]
    assert {tuple(line) for line in lines} == {tuple(keys)}
    for line in lines:
        if "scenario_name" not in chosen["columns"] and "scenario" not in chosen["columns"]:
            assert "name" not in (line.get("scenario") or {})


@pytest.mark.anyio
async def test_the_manifest_says_what_was_left_out(served: StandInServer, tmp_path: Path) -> None:
    """It names the columns; the same choice in other words is the same export, another choice is refused."""
    names = list(CALLS)
    report = await export(served, tmp_path / "out", format="parquet", drop=["transcript", "customer_name"])
    left_out = read_manifest(tmp_path / "out")["parameters"]["left_out"]
    assert left_out == ["customer_name", "transcript"] == list(report.left_out_columns)
    kept = [name for name in names if name not in left_out]
    again = await export(served, tmp_path / "out", format="parquet", columns=reversed(kept))
    assert again.already_finished
    assert again.left_out_columns == report.left_out_columns
    with pytest.raises(ExportError, match=r"left_out was \['customer_name', 'transcript'\] and is now \[\]"):
        await export(served, tmp_path / "out", format="parquet")


@pytest.mark.anyio
async def test_an_interrupted_export_goes_on_with_the_same_columns(
    served: StandInServer, tmp_path: Path
) -> None:
    """Other columns are refused before any request; the same ones are gone on with."""
    source = RunTestCalls(served.add_run_test(1_100, slim=True))
    options: dict[str, Any] = {"format": "csv", "page_size": 60, "part_rows": 400}
    async with open_session(served) as session:
        await interrupt(session, source, tmp_path / "out", drop=["transcript"], **options)
        with pytest.raises(ExportError, match=r"left_out was \['transcript'\] and is now \['call_summary'\]"):
            await export_calls(session, source, tmp_path / "out", drop=["call_summary"], **options)
        report = await export_calls(session, source, tmp_path / "out", drop=["transcript"], **options)
        assert (report.complete, report.resumed) == (True, 1)
        update = await export_calls(session, source, tmp_path / "new", since=tmp_path / "out")
    assert all(update.changed_since)
    assert b"transcript" not in report.files[0].read_bytes().splitlines()[0]
    assert names_in(tmp_path / "out") == {"_manifest.json", *(path.name for path in report.files)}


@pytest.mark.anyio
async def test_an_older_file_without_a_column_still_is_read(served: StandInServer, tmp_path: Path) -> None:
    """What another version did not know is null; what was left out is not there."""
    await export(served, tmp_path / "calls.parquet", drop=["transcript"])
    written_ = parquet.read_table(tmp_path / "calls.parquet")
    parquet.write_table(written_.drop_columns(["csat_score"]), tmp_path / "older.parquet")
    table = read_export(tmp_path / "older.parquet").calls
    assert "transcript" not in table.column_names
    assert table["csat_score"].null_count == len(table)


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"columns": ["id", "statu"]}, ValueError, "columns has no column 'statu': did you mean 'status'?"),
    ({"drop": ["transcripts"]}, ValueError, "drop has no column 'transcripts': did you mean 'transcript'?"),
    ({"drop": ["qqqq"]}, ValueError, "drop has no column 'qqqq'; docs/export-formats.md lists them."),
    ({"columns": []}, ValueError, "columns must not be empty"),
    ({"columns": "id,status"}, TypeError, "columns must be a list of names"),
    ({"drop": "transcript"}, TypeError, "drop must be a list of names"),
    ({"drop": ["id"]}, ValueError, "drop must not name 'id'"),
    ({"columns": ["id", "status"], "drop": ["status"]}, ValueError, "drop and columns both name 'status'"),
    (
        {"columns": ["eval_metrics"], "drop": ["eval_outputs"]},
        ValueError,
        "drop names 'eval_outputs', which has the same data as 'eval_metrics'",
    ),
    (
        {"drop": ["extra"], "include_provider_data": True},
        ValueError,
        "include_provider_data can't be used with columns or drop",
    ),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("options", "error", "message"), WRONG)
async def test_wrong_names_are_told_before_any_request(
    served: StandInServer, tmp_path: Path, options: Any, error: type[Exception], message: str
) -> None:
    """Each mistake is one error that says what was probably meant, and nothing is written."""
    with pytest.raises(error, match=re.escape(message)):
        await export(served, tmp_path / "calls.csv", **options)
    assert not served.requests
    assert not names_in(tmp_path)


@pytest.mark.anyio
@pytest.mark.parametrize("target", ["calls.jsonl", "out"])
async def test_lines_as_sent_have_no_columns(served: StandInServer, tmp_path: Path, target: str) -> None:
    """The error names what makes columns of them."""
    with pytest.raises(ValueError, match="columns and drop need normalised=True"):
        await export(served, tmp_path / target, drop=["transcript"])
    assert not served.requests


def test_fewer_columns_are_decoded_less() -> None:
    """Values that no column needs are not looked into: what would not fit them sends no row the slow way."""
    calls = calls_of(samples.served_row(transcript={"no": "list"}, duration="long"), source=SOURCES[0])
    batch = batch_of(calls)

    def never(place: int) -> CallExecution:
        raise AssertionError(place)

    file = io.BytesIO()
    writer = open_writer("parquet", file, sources=SOURCES, projection=choose_columns(["status", "extra"], ()))
    writer.write(type(batch)(batch.raws, batch.sources, never))
    writer.close()
    assert parquet.read_table(file)["status"].to_pylist() == ["completed"]
    assert pa.types.is_string(parquet.read_table(file).schema.field("extra").type)
