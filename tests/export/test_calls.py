"""Calls of many lists into one file, against the stand-in server."""

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest

from futureagi_async import (
    AgentVersionCalls,
    AuthenticationError,
    CallSource,
    ExportError,
    NotFoundError,
    RunTestCalls,
    Session,
    TestExecutionCalls,
    load_sources,
)
from futureagi_async.export import ExportProgress, ExportReport, export_calls
from futureagi_async.testing import StandInServer
from tests.support import forking
from tests.support.commands import environment
from tests.support.exports import ids_of_lines, names_in


def open_session(server: StandInServer, *, api_key: str | None = None) -> Session:
    return Session(api_key or server.api_key, server.secret_key, server.base_url)


@pytest.mark.anyio
async def test_every_call_of_every_list_is_a_line(server: StandInServer, tmp_path: Path) -> None:
    """The file holds exactly what the lists deliver, in both dialects, and the report counts it."""
    agent_id, version_id = server.agent_versions[0]
    run_test_id, execution_id = server.run_test_ids[1], server.test_execution_ids[0]
    target = tmp_path / "calls.jsonl"
    async with open_session(server) as session:
        report = await export_calls(
            session,
            [
                RunTestCalls(run_test_id),
                AgentVersionCalls(agent_id, version_id),
                TestExecutionCalls(execution_id),
            ],
            target,
        )
    expected = server.run_test_rows(run_test_id)
    expected += server.version_rows(agent_id, version_id)
    expected += server.test_execution_rows(execution_id)
    assert sorted(ids_of_lines(target)) == sorted(expected)
    assert (report.path, report.format) == (target, "jsonl")
    assert report.records == len(expected) == report.fetch.received
    assert report.bytes == target.stat().st_size
    assert report.complete == report.fetch.complete


@pytest.mark.anyio
async def test_lines_are_the_bytes_that_were_sent(served: StandInServer, tmp_path: Path) -> None:
    """Each line is the record's own JSON, not one that was decoded and written anew."""
    source = RunTestCalls(served.run_test_ids[2])
    async with open_session(served) as session:
        page = await session.get_page(source, limit=100)
        await export_calls(session, source, tmp_path / "calls.jsonl", page_size=50)
    lines = (tmp_path / "calls.jsonl").read_bytes().splitlines()
    assert sorted(lines) == sorted(call.raw for call in page.calls)


@pytest.mark.anyio
async def test_provider_data_is_left_out_unless_asked_for(served: StandInServer, tmp_path: Path) -> None:
    """Version rows hold other parties' keys; the file holds them only on request."""
    source = AgentVersionCalls(*served.agent_versions[0])
    without, with_ = tmp_path / "without.jsonl", tmp_path / "with.jsonl"
    async with open_session(served) as session:
        await export_calls(session, source, without)
        await export_calls(session, source, with_, include_provider_data=True)
    assert b"customers-own-key" in with_.read_bytes()
    assert b"customers-own-key" not in without.read_bytes()
    kept, all_ = (json.loads(path.read_bytes().splitlines()[0]) for path in (without, with_))
    assert all_.keys() - kept.keys() == {"call_metadata", "provider_call_data"}


@pytest.mark.anyio
async def test_a_list_that_fails_does_not_lose_the_others(served: StandInServer, tmp_path: Path) -> None:
    """An unknown list is reported incomplete with its reason; what could be read is in the file."""
    good, bad = RunTestCalls(served.run_test_ids[0]), RunTestCalls(uuid4())
    async with open_session(served) as session:
        report = await export_calls(session, [bad, good], tmp_path / "calls.jsonl")
    assert not report.complete
    first, second = report.fetch.sources
    assert first.verdict == "incomplete"
    assert isinstance(first.failures[0], NotFoundError)
    assert second.verdict == "complete"
    assert sorted(ids_of_lines(report.path)) == sorted(served.run_test_rows(good.run_test_id))


@pytest.mark.anyio
async def test_a_record_that_does_not_decode_does_not_lose_the_others(
    served: StandInServer, tmp_path: Path
) -> None:
    """A malformed record is in the report, its neighbours are in the file."""
    rows = [{"id": "a", "status": "completed"}, {"id": 5, "status": "completed"}, {"id": "c"}]
    body = json.dumps({"count": 3, "next": None, "previous": None, "results": rows}).encode()
    served.respond(body=body, times=50)
    async with open_session(served) as session:
        report = await export_calls(session, RunTestCalls(uuid4()), tmp_path / "calls.jsonl")
    assert sorted(ids_of_lines(report.path)) == ["a", "c"]
    assert not report.complete
    assert report.fetch.sources[0].failures


@pytest.mark.anyio
async def test_refused_keys_end_the_export(served: StandInServer, tmp_path: Path) -> None:
    """Keys that are refused raise, and leave the target as it was."""
    target = tmp_path / "calls.jsonl"
    target.write_text("before")
    async with open_session(served, api_key="wrong") as session:
        with pytest.raises(AuthenticationError):
            await export_calls(
                session, [RunTestCalls(id_) for id_ in served.run_test_ids], target, overwrite=True
            )
    assert target.read_text() == "before"
    assert names_in(tmp_path) == {target.name}


@pytest.mark.anyio
async def test_where_nothing_can_be_read_nothing_is_written(served: StandInServer, tmp_path: Path) -> None:
    """If not one list answers, its error is raised instead of an empty file written."""
    async with open_session(served) as session:
        with pytest.raises(NotFoundError):
            await export_calls(session, [RunTestCalls(uuid4()), RunTestCalls(uuid4())], tmp_path / "c.jsonl")
    assert not names_in(tmp_path)


@pytest.mark.anyio
async def test_an_empty_list_gives_an_empty_file(served: StandInServer, tmp_path: Path) -> None:
    """A list without calls was read completely: its file is empty, and is there."""
    source = RunTestCalls(served.run_test_ids[0], search="no such scenario")
    async with open_session(served) as session:
        report = await export_calls(session, source, tmp_path / "calls.jsonl")
    assert report.complete
    assert (report.records, report.bytes) == (0, 0)
    assert report.path.read_bytes() == b""


@pytest.mark.anyio
async def test_progress_tells_what_stands_in_the_file(served: StandInServer, tmp_path: Path) -> None:
    """Each page is told of once it is written; the last word is the report's."""
    told: list[ExportProgress] = []
    async with open_session(served) as session:
        sources = [RunTestCalls(id_) for id_ in served.run_test_ids]
        report = await export_calls(
            session, sources, str(tmp_path / "c.jsonl"), page_size=20, on_progress=told.append
        )
    assert len(told) > 3
    assert told == sorted(told, key=lambda progress: progress.bytes)
    assert [progress.phase for progress in told] == ["reading"] * (len(told) - 1) + ["writing"]
    assert told[-1] == ExportProgress(
        phase="writing", records=report.records, bytes=report.bytes, total=report.records
    )


@pytest.mark.anyio
async def test_an_error_of_the_caller_arrives_unchanged(served: StandInServer, tmp_path: Path) -> None:
    """What the caller's own function raises ends the export, unwrapped; what was read is kept."""

    def refuse(_progress: ExportProgress) -> None:
        raise LookupError("enough")

    async with open_session(served) as session:
        with pytest.raises(LookupError, match="enough"):
            await export_calls(
                session, RunTestCalls(served.run_test_ids[0]), tmp_path / "c.jsonl", on_progress=refuse
            )
    assert names_in(tmp_path) == {".c.jsonl.export"}


@pytest.mark.quick(1)
@pytest.mark.anyio
@pytest.mark.parametrize("how", ["task", "scope"])
async def test_cancelling_keeps_what_was_read(served: StandInServer, tmp_path: Path, how: str) -> None:
    """An export that is cancelled half-way, by asyncio or by anyio, leaves the target, and can go on."""
    served.stall(after=1, times=100)
    target = tmp_path / "calls.jsonl"
    target.write_text("before")
    begun = anyio.Event()
    sources: list[CallSource] = [RunTestCalls(id_) for id_ in served.run_test_ids]

    async def export(session: Session) -> ExportReport:
        return await export_calls(
            session, sources, target, overwrite=True, page_size=20, on_progress=lambda _: begun.set()
        )

    async with open_session(served) as session:
        if how == "task":
            task = asyncio.create_task(export(session))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(export, session)
                await begun.wait()
                tasks.cancel_scope.cancel()
        assert names_in(tmp_path) == {target.name, ".calls.jsonl.export"}
        assert target.read_text() == "before"
        served.clear_faults()
        report = await export_calls(session, sources, target, overwrite=True, page_size=20)
    assert (report.complete, report.resumed) == (True, 1)
    assert names_in(tmp_path) == {target.name}


@pytest.mark.anyio
async def test_a_place_that_can_not_be_written_costs_no_request(
    served: StandInServer, tmp_path: Path
) -> None:
    """The file is opened before the first request is sent."""
    async with open_session(served) as session:
        with pytest.raises(ExportError):
            await export_calls(session, RunTestCalls(uuid4()), tmp_path / "nowhere" / "c.jsonl")
    assert not served.requests


@pytest.mark.anyio
async def test_the_disk_is_waited_for_in_threads(
    served: StandInServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bringing files onto the disk does not hold up the event loop."""
    in_loop: list[str] = []
    real_fsync: Callable[[int], None] = os.fsync
    calls = 0

    def record(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        with suppress(RuntimeError):
            asyncio.get_running_loop()
            in_loop.append(f"sync of {descriptor}")
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    async with open_session(served) as session:
        await export_calls(session, RunTestCalls(served.run_test_ids[2]), tmp_path / "c.jsonl")
    assert not in_loop
    assert calls > 3


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("target", "format_", "named"),
    [
        ("calls.jsonl", "xml", "format must be one of 'jsonl', 'csv', 'parquet', not 'xml'"),
        ("calls.jsonl", "parquet", r"ends in \.jsonl, but the format is 'parquet'"),
        ("calls.csv.gz", "jsonl", r"ends in \.csv, but the format is 'jsonl'"),
        ("calls.parquet.gz", None, "already compressed"),
        ("", None, "target must be a file or a directory"),
    ],
)
async def test_what_can_not_be_is_refused_before_any_request(
    served: StandInServer, tmp_path: Path, target: str, format_: str | None, named: str
) -> None:
    """An unknown format or ending is an error that names what there is."""
    async with open_session(served) as session:
        place = tmp_path / target if target else ""
        with pytest.raises(ValueError, match=named):
            await export_calls(session, RunTestCalls(uuid4()), place, format=format_)
    assert not served.requests
    assert not names_in(tmp_path)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("wrong", "error", "named"),
    [
        ({"part_rows": 0}, ValueError, "part_rows must be at least 1"),
        ({"part_rows": "many"}, TypeError, "part_rows must be an int"),
        ({"page_size": True}, TypeError, "page_size must be an int"),
        ({"page_size": 10**7}, ValueError, "page_size must be from 1 to 1,000,000"),
        ({"sources": ["a run test"]}, TypeError, "A source is RunTestCalls, .*, not str"),
        ({"sources": 5}, TypeError, "sources must be a list of RunTestCalls, .*, not int"),
        ({"normalised": True, "target": "c.csv"}, ValueError, "normalised is for format 'jsonl'"),
        ({"recordings": ""}, ValueError, "recordings must be a path"),
        ({"max_outage": -1}, ValueError, "max_outage must be 0 seconds or more"),
        ({"max_outage": "long"}, TypeError, "max_outage must be a number of seconds"),
        ({"since": "nowhere.json"}, ExportError, "no manifest of an earlier export"),
    ],
)
async def test_wrong_arguments_are_refused_before_anything_happens(
    served: StandInServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wrong: dict[str, Any],
    error: type[Exception],
    named: str,
) -> None:
    """Each wrong argument is one clear error; nothing was asked for and nothing written."""
    monkeypatch.chdir(tmp_path)
    order: dict[str, Any] = {"sources": [RunTestCalls(uuid4())], "target": "c.jsonl", **wrong}
    async with open_session(served) as session:
        with pytest.raises(error, match=named):
            await export_calls(session, order.pop("sources"), order.pop("target"), **order)
    assert not served.requests
    assert not names_in(tmp_path)


PAGE = (Path(__file__).parents[2] / "docs" / "nightly-export.md").read_text()


def block(language: str, holding: str) -> str:
    """Return the page's only block in a language that holds a text."""
    (found,) = (
        text
        for text in re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
        if holding in text
    )
    return found


def test_the_set_of_sources_is_one(tmp_path: Path) -> None:
    """The example is read as it stands."""
    path = tmp_path / "sources.toml"
    path.write_text(block("toml", "[nightly]"))
    assert len(load_sources(path, "nightly")) == 5


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[StandInServer, Path, dict[str, str]]]:
    """Set the script up as the page says, on a stand-in."""
    exports = tmp_path / "exports"
    exports.mkdir()
    programs = tmp_path / "bin"
    programs.mkdir()
    script, command = programs / "nightly-export", programs / "futureagi-async"
    script.write_text(block("sh", "set -eu"))
    command.write_text(f'#!/bin/sh\nexec {shlex.join(forking.command_line())} "$@"\n')
    for program in (script, command):
        program.chmod(0o755)
    with StandInServer() as server:
        text = f'[nightly]\nrun_tests = ["{server.run_test_ids[2]}"]\n'
        (exports / "sources.toml").write_text(text)
        variables = environment(server, EXPORTS=str(exports))
        yield server, exports, variables | {"PATH": f"{programs}:{variables['PATH']}"}


def run_night(night: str, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["nightly-export", night], env=variables, capture_output=True, text=True, check=False, timeout=30
    )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("sh") is None, reason="there is no shell")
def test_the_script_exports_night_after_night(
    place: tuple[StandInServer, Path, dict[str, str]],
) -> None:
    """The first night holds everything, the next what changed; a failure has its exit code, and is mended."""
    server, exports, variables = place
    first = run_night("2026-01-30", variables)
    assert (first.returncode, first.stdout, first.stderr) == (0, "", "")
    server.fail(status=400, times=100)
    assert run_night("2026-01-31", variables).returncode == 1
    server.clear_faults()
    second = run_night("2026-01-31", variables)
    assert second.returncode == 0, second.stderr
    month = run_night("2026-02-01", variables)
    assert month.returncode == 0, month.stderr
    manifests = [json.loads((exports / night / "_manifest.json").read_text()) for night in nights(exports)]
    assert [manifest["since"] is None for manifest in manifests] == [True, False, True]
    assert manifests[0]["records"] == manifests[2]["records"] == 16 > manifests[1]["records"]
    part = exports / "2026-01-30" / "calls-00000.jsonl"
    part.write_text("")
    spoilt = run_night("2026-01-30", variables)
    assert spoilt.returncode == 1
    assert "calls-00000.jsonl" in spoilt.stderr


def nights(exports: Path) -> list[str]:
    return sorted(path.name for path in exports.iterdir() if path.is_dir())


@pytest.mark.slow
def test_the_query_finds_the_newest_state_of_each_call(
    place: tuple[StandInServer, Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over two exports of the same calls, each comes once."""
    duckdb = pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow")
    _, exports, variables = place
    for night in ("2026-01-30", "2026-01-31"):
        command = ["futureagi-async", "export", "--sources", "sources.toml", "-o", night, "-q"]
        subprocess.run([*command, "--format", "parquet"], env=variables, cwd=exports, check=True, timeout=30)
    monkeypatch.chdir(exports)
    assert duckdb.sql(block("sql", "QUALIFY")).count("*").fetchall() == [(16,)]
