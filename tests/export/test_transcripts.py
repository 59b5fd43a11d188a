"""Exports with the transcripts that lists withhold: fetched once, merged, and what is missing is told."""

import csv
import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from futureagi_async import (
    AgentVersionCalls,
    AuthenticationError,
    InternalServerError,
    RetryPolicy,
    RunTestCalls,
    Session,
    TestExecutionCalls,
    TLSError,
)
from futureagi_async.export import export_calls, verify_export
from futureagi_async.export.batches import merge
from futureagi_async.export.fetching import extract
from futureagi_async.testing import StandInServer
from tests.support.exports import details_asked, ids_in, interrupt, lines_in, names_in, pages_asked
from tests.support.raw_server import raw_server
from tests.support.sessions import answer, open_session, read_body, respond, tls_contexts

ONCE = RetryPolicy(attempts=1)


@pytest.mark.anyio
async def test_withheld_transcripts_are_added_as_they_were_sent(
    served: StandInServer, tmp_path: Path
) -> None:
    """Each record gets its detail's transcript byte for byte, and its recordings where it names none."""
    source = TestExecutionCalls(served.test_execution_ids[0])
    async with open_session(served) as session:
        report = await export_calls(session, source, tmp_path / "out", transcripts=True)
        asked = details_asked(served)
        details = {each.id: each.unwrap() for each in await session.fetch_call_executions(asked)}
    assert sorted(asked) == sorted(ids_in(report))
    assert report.transcripts_fetched == len(asked)
    assert any(detail.transcript for detail in details.values())
    for line in lines_in(report):
        row, detail = json.loads(line), details[json.loads(line)["id"]]
        sent = json.loads(detail.raw)
        assert row["transcript"] == sent["transcript"]
        assert row["recordings"] == sent["recordings"]
        assert json.dumps(sent["call_summary"], ensure_ascii=False).encode() in line
    assert report.complete
    assert verify_export(tmp_path / "out").ok


@pytest.mark.anyio
async def test_only_what_is_withheld_is_asked_for(server: StandInServer, tmp_path: Path) -> None:
    """Lists that deliver transcripts cost no further request, in either dialect; nothing is asked twice."""
    run_test = RunTestCalls(server.run_test_ids[0])
    async with open_session(server) as session:
        report = await export_calls(session, run_test, tmp_path / "delivered.jsonl", transcripts=True)
        assert not details_asked(server)
        assert report.transcripts_fetched == 0
        execution = TestExecutionCalls(server.test_execution_ids[2])
        sources = [execution, TestExecutionCalls(execution.test_execution_id, search="a"), execution]
        report = await export_calls(session, sources, tmp_path / "withheld.jsonl", transcripts=True)
    asked = details_asked(server)
    assert len(asked) == len(set(asked)) == report.transcripts_fetched
    assert set(asked) <= set(server.test_execution_rows(execution.test_execution_id))
    assert report.complete


@pytest.mark.anyio
async def test_text_calls_of_versions_get_their_messages(served: StandInServer, tmp_path: Path) -> None:
    """A version list sends no chat messages; with transcripts each row has them."""
    source = AgentVersionCalls(*served.agent_versions[2])
    async with open_session(served) as session:
        report = await export_calls(
            session, source, tmp_path / "calls.jsonl", transcripts=True, normalised=True
        )
    assert report.transcripts_fetched == report.records > 0
    assert any(json.loads(line)["transcript"] for line in lines_in(report))


@pytest.mark.anyio
@pytest.mark.parametrize("format_", ["csv", "parquet"])
async def test_every_format_holds_what_was_added(served: StandInServer, tmp_path: Path, format_: str) -> None:
    """Tables hold the added transcripts, and tell one that is empty from one that is missing."""
    source = TestExecutionCalls(served.test_execution_ids[2])
    async with open_session(served) as session:
        rows = served.test_execution_rows(source.test_execution_id)
        sent = read_body(served, f"/simulate/call-executions/{rows[0]}/")
        respond(served, f"/call-executions/{rows[0]}/", {**sent, "transcript": []}, times=9)
        served.fail(f"/call-executions/{rows[1]}/", status=404)
        target = tmp_path / f"calls.{format_}"
        await export_calls(session, source, target, transcripts=True)
    turns = read_turns(target)
    assert turns[rows[0]] == 0
    assert turns[rows[1]] is None
    assert sum(bool(turns[row]) for row in rows[2:]) > 0


def read_turns(path: Path) -> dict[str, int | None]:
    """Return how many turns a table has of each call, ``None`` where its transcript is missing."""
    if path.suffix == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        return {row["id"]: int(row["transcript_turns"]) if row["transcript_turns"] else None for row in rows}
    from pyarrow import parquet

    table = parquet.read_table(path, columns=["id", "transcript"]).to_pylist()
    return {row["id"]: None if row["transcript"] is None else len(row["transcript"]) for row in table}


@pytest.mark.anyio
async def test_a_call_that_is_gone_is_told_and_stops_nothing(served: StandInServer, tmp_path: Path) -> None:
    """A call deleted between its list and its detail keeps its record; nothing more can be had of it."""
    source = TestExecutionCalls(served.test_execution_ids[2])
    rows = served.test_execution_rows(source.test_execution_id)
    served.fail(f"/call-executions/{rows[0]}/", status=404)
    async with open_session(served) as session:
        report = await export_calls(session, source, tmp_path / "out", transcripts=True)
    assert report.transcripts_gone == (rows[0],)
    assert report.transcripts_fetched == len(rows) - 1
    assert sorted(ids_in(report)) == sorted(rows)
    assert report.complete
    assert names_in(tmp_path / "out") == {"calls-00000.jsonl", "_manifest.json"}


@pytest.mark.anyio
async def test_a_detail_that_fails_is_told_and_asked_for_again(served: StandInServer, tmp_path: Path) -> None:
    """The export is written, is not complete, and running it again asks for just that detail."""
    source = TestExecutionCalls(served.test_execution_ids[2])
    rows = served.test_execution_rows(source.test_execution_id)
    served.fail(f"/call-executions/{rows[3]}/", status=500, times=3)
    async with open_session(served, retry=ONCE) as session:
        report = await export_calls(session, source, tmp_path / "out", transcripts=True)
        (failure,) = report.transcript_failures
        assert isinstance(failure, InternalServerError)
        assert not report.complete
        assert report.fetch.complete
        assert verify_export(tmp_path / "out").complete is False
        served.clear_faults()
        served.clear_requests()
        report = await export_calls(session, source, tmp_path / "out", transcripts=True)
    assert details_asked(served) == [rows[3]]
    assert (report.complete, report.transcripts_fetched) == (True, len(rows))
    assert verify_export(tmp_path / "out").ok


@pytest.mark.anyio
async def test_an_interrupted_export_does_not_ask_again(served: StandInServer, tmp_path: Path) -> None:
    """No details are read again but those that were in flight, and the result is that of one run."""
    source = TestExecutionCalls(served.test_execution_ids[0])
    options = {"transcripts": True, "ordered": True}
    async with open_session(served, max_in_flight=4) as session:
        expected = await export_calls(session, source, tmp_path / "expected.jsonl", **options)
        details_asked(served)
        await interrupt(session, source, tmp_path / "calls.jsonl", phase="transcripts", after=9, **options)
        first = details_asked(served)
        report = await export_calls(session, source, tmp_path / "calls.jsonl", **options)
    again = details_asked(served)
    assert len(first) >= 9
    assert again
    assert len(set(first) & set(again)) <= 4
    assert report.path.read_bytes() == expected.path.read_bytes()


@pytest.mark.anyio
async def test_refused_keys_stop_the_details(served: StandInServer, tmp_path: Path) -> None:
    """Keys that are withdrawn meanwhile end the export; what was read is kept."""
    source = TestExecutionCalls(served.test_execution_ids[2])
    served.fail("/simulate/call-executions/", status=401, after=3, times=1_000)
    async with open_session(served, max_in_flight=1) as session:
        with pytest.raises(AuthenticationError):
            await export_calls(session, source, tmp_path / "out", transcripts=True)
        read = len(details_asked(served))
        served.clear_faults()
        report = await export_calls(session, source, tmp_path / "out", transcripts=True)
    assert read > 3
    assert report.complete
    assert len(details_asked(served)) == report.records - 3


@attrs.define(frozen=True)
class TwoServers:
    """Reads lists from one server and details from another."""

    lists: Session
    details: Session

    def __getattr__(self, name: str) -> Any:
        return getattr(self.details if name == "stream_call_executions" else self.lists, name)


@pytest.mark.anyio
async def test_a_server_that_can_not_be_trusted_stops_the_details(
    served: StandInServer, tmp_path: Path
) -> None:
    """A certificate that nobody knows ends the export instead of failing each call; all read is kept."""
    source = TestExecutionCalls(served.test_execution_ids[0])
    tls, _ = tls_contexts()
    async with (
        raw_server(answer(), tls=tls) as untrusted,
        open_session(untrusted) as details,
        open_session(served) as lists,
    ):
        with pytest.raises(TLSError):
            await export_calls(TwoServers(lists, details), source, tmp_path / "out", transcripts=True)
        assert names_in(tmp_path / "out") == {".export"}
        pages_asked(served)
        report = await export_calls(lists, source, tmp_path / "out", transcripts=True)
    assert report.complete
    assert pages_asked(served) == 0


@pytest.mark.anyio
async def test_progress_tells_of_every_phase(served: StandInServer, tmp_path: Path) -> None:
    """Reading comes first, then transcripts up to their number, then writing up to all records."""
    told: list[Any] = []
    source = TestExecutionCalls(served.test_execution_ids[2])
    async with open_session(served) as session:
        report = await export_calls(
            session, source, tmp_path / "c.csv", transcripts=True, on_progress=told.append
        )
    phases = [progress.phase for progress in told]
    assert sorted(phases, key=["reading", "transcripts", "writing"].index) == phases
    assert set(phases) == {"reading", "transcripts", "writing"}
    last = [progress for progress in told if progress.phase == "transcripts"][-1]
    assert last.records == last.total == report.records
    assert (told[-1].records, told[-1].bytes) == (report.records, report.bytes)


@pytest.mark.parametrize(
    ("record", "detail", "merged"),
    [
        (
            b'{"id":"a","transcript":[],"recordings":{}}',
            b'{"transcript":[1.50],"recordings":{"x":"y"}}',
            None,
        ),
        (b'{"id":"a","recordings":{"mine":"z"}}', b'{"transcript":[],"recordings":{"x":"y"}}', {"mine": "z"}),
        (b'{"id":"a","recordings":null}', b'{"transcript":[]}', None),
        (b'{"id":"a"}', b"{}", None),
    ],
)
def test_merging_keeps_every_byte_of_both(record: bytes, detail: bytes, merged: Any) -> None:
    """The record's other values stay as sent; recordings that it names itself are not replaced."""
    kept = extract(b'{"id":"other","status":"new",' + detail[1:] if detail != b"{}" else b'{"id":"other"}')
    result = merge(record, kept)
    before, found, after = json.loads(record), json.loads(detail), json.loads(result)
    expected = {**before, **found, **({"recordings": merged} if merged else {})}
    assert after == expected
    assert b"1.50" in result or b"1.50" not in detail
