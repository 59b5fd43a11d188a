"""Exports that were interrupted are resumed: with the same result, and without reading anything twice."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from futureagi_async import (
    AuthenticationError,
    ExportError,
    NotFoundError,
    RetryPolicy,
    RunTestCalls,
    TestExecutionCalls,
)
from futureagi_async.export import export_calls, verify_export
from futureagi_async.export.files import locked
from futureagi_async.export.targets import read_target
from futureagi_async.testing import Motion, StandInServer
from tests.support.exports import LONG, ServerClock, ids_in, interrupt, names_in, pages_asked
from tests.support.sessions import let_requests_arrive, open_session
from tests.support.slow import slow

IN_FLIGHT = 4


@pytest.mark.quick(1)
@pytest.mark.anyio
@pytest.mark.parametrize("after", [5, *slow(1, 9)])
@pytest.mark.parametrize("name", ["calls.jsonl", "calls.csv", "out"])
async def test_an_interrupted_export_goes_on(
    served: StandInServer, tmp_path: Path, name: str, after: int
) -> None:
    """Wherever it was interrupted, the result is that of an export that was not; little is read twice."""
    source = RunTestCalls(served.add_run_test(LONG, tie_size=3, slim=True))
    options = {"page_size": 60, "ordered": True, "part_rows": 400}
    async with open_session(served, max_in_flight=IN_FLIGHT) as session:
        expected = await export_calls(session, source, tmp_path / f"expected-{name}", **options)
        pages = pages_asked(served)
        await interrupt(session, source, tmp_path / name, after=after, **options)
        report = await export_calls(session, source, tmp_path / name, **options)
    assert [path.read_bytes() for path in report.files] == [path.read_bytes() for path in expected.files]
    assert (report.complete, report.resumed) == (True, 1)
    assert (report.records, report.fetch.received) == (LONG, LONG)
    assert pages_asked(served) - pages <= IN_FLIGHT
    assert names_in(tmp_path) == {name, f"expected-{name}"}


@pytest.mark.anyio
async def test_it_may_be_interrupted_again_and_again(served: StandInServer, tmp_path: Path) -> None:
    """Each run adds what it can; the report counts them, and every record is there once."""
    run_test = served.add_run_test(LONG, slim=True)
    async with open_session(served, max_in_flight=IN_FLIGHT) as session:
        for _ in range(5):
            await interrupt(session, RunTestCalls(run_test), tmp_path / "out", after=2, page_size=60)
        report = await export_calls(session, RunTestCalls(run_test), tmp_path / "out", page_size=60)
    assert sorted(ids_in(report)) == sorted(served.run_test_rows(run_test))
    assert (report.complete, report.resumed) == (True, 5)
    assert verify_export(tmp_path / "out").ok


@pytest.mark.anyio
@pytest.mark.parametrize("phase", ["writing", "transcripts"])
async def test_an_export_that_was_read_reads_no_list_again(
    served: StandInServer, tmp_path: Path, phase: str
) -> None:
    """Interrupted after the lists were read, it asks for no page of them once more."""
    source = TestExecutionCalls(served.test_execution_ids[2])
    options = {"transcripts": True, "format": "csv"}
    async with open_session(served) as session:
        await interrupt(session, source, tmp_path / "out", phase=phase, **options)
        served.clear_requests()
        report = await export_calls(session, source, tmp_path / "out", **options)
    assert pages_asked(served) == 0
    assert report.complete


@pytest.mark.anyio
async def test_a_list_that_failed_is_read_again_and_the_others_are_not(
    served: StandInServer, tmp_path: Path
) -> None:
    """An export with an incomplete list is written, and kept; running it again tries just that list."""
    good, bad = RunTestCalls(served.run_test_ids[0]), RunTestCalls(served.run_test_ids[1])
    served.fail(bad.run_test_id, status=500, times=100)
    async with open_session(served, retry=RetryPolicy(attempts=1)) as session:
        report = await export_calls(session, [good, bad], tmp_path / "out")
        assert not report.complete
        assert sorted(ids_in(report)) == sorted(served.run_test_rows(good.run_test_id))
        assert verify_export(tmp_path / "out").ok
        assert names_in(tmp_path / "out") == {".export", "calls-00000.jsonl", "_manifest.json"}
        served.clear_faults()
        served.clear_requests()
        report = await export_calls(session, [good, bad], tmp_path / "out")
    assert report.complete
    assert all(bad.run_test_id in request.path for request in served.requests)
    rows = served.run_test_rows(good.run_test_id) + served.run_test_rows(bad.run_test_id)
    assert sorted(ids_in(report)) == sorted(rows)
    assert names_in(tmp_path / "out") == {"calls-00000.jsonl", "_manifest.json"}
    assert verify_export(tmp_path / "out").ok


@pytest.mark.anyio
async def test_refused_keys_stop_an_export_that_can_go_on(served: StandInServer, tmp_path: Path) -> None:
    """Keys that are withdrawn end the export; with good ones it goes on from what was read."""
    source = RunTestCalls(served.add_run_test(LONG, slim=True))
    async with open_session(served, max_in_flight=1) as session:
        served.fail(status=401, after=6, times=1_000)
        with pytest.raises(AuthenticationError):
            await export_calls(session, source, tmp_path / "c.jsonl", page_size=60)
        read = pages_asked(served)
        served.clear_faults()
        report = await export_calls(session, source, tmp_path / "c.jsonl", page_size=60)
    assert read > 5
    assert report.complete
    assert report.fetch.sources[0].requests < pages_asked(served) + read + 1
    assert sorted(ids_in(report)) == sorted(served.run_test_rows(source.run_test_id))


@pytest.mark.anyio
async def test_where_nothing_could_be_read_nothing_is_left(served: StandInServer, tmp_path: Path) -> None:
    """Where not one list could be begun, the first failure is raised and no trace stays."""
    async with open_session(served) as session:
        for name in ("calls.jsonl", "out"):
            with pytest.raises(NotFoundError):
                await export_calls(session, RunTestCalls(uuid4()), tmp_path / name)
    assert not names_in(tmp_path)


@pytest.mark.anyio
async def test_other_parameters_are_refused_before_any_request(served: StandInServer, tmp_path: Path) -> None:
    """An unfinished export goes on only as it was begun; ``resume=False`` starts again."""
    sources = [RunTestCalls(id_) for id_ in served.run_test_ids]
    async with open_session(served) as session:
        await interrupt(session, sources, tmp_path / "out")
        await let_requests_arrive(served)
        served.clear_requests()
        for changed in ({"ordered": True}, {"page_size": 99}, {"transcripts": True}):
            with pytest.raises(ExportError, match=r"with other parameters: .* was .* and is now"):
                await export_calls(session, sources, tmp_path / "out", **changed)
        with pytest.raises(ExportError, match="the same in another order"):
            await export_calls(session, sources[::-1], tmp_path / "out")
        assert not served.requests
        report = await export_calls(session, sources[::-1], tmp_path / "out", resume=False)
    assert (report.complete, report.resumed) == (True, 0)
    assert names_in(tmp_path / "out") == {"calls-00000.jsonl", "_manifest.json"}


@pytest.mark.anyio
async def test_a_session_with_other_limits_is_told_so(served: StandInServer, tmp_path: Path) -> None:
    """Where the session decides otherwise which pages to read, the error says what to do."""
    source = RunTestCalls(served.add_run_test(LONG, slim=True))
    async with open_session(served, max_in_flight=1) as session:
        await interrupt(session, source, tmp_path / "out", after=8, page_size=60)
    async with open_session(served, max_response_bytes=70_000) as session:
        try:
            report = await export_calls(session, source, tmp_path / "out", page_size=60)
        except ExportError as error:
            assert "former options" in str(error)  # noqa: PT017 - whether it must depends on the cover
        else:
            assert sorted(ids_in(report)) == sorted(served.run_test_rows(source.run_test_id))


@pytest.mark.quick(1)
@pytest.mark.anyio
@pytest.mark.parametrize("name", ["calls.jsonl", "out"])
async def test_records_that_change_meanwhile_are_written_once(tmp_path: Path, name: str) -> None:
    """Calls that are read again with a later change are there once, also over an interruption."""
    async with StandInServer(demo=False, request_seconds=0.2) as served:
        run_test = served.add_run_test(LONG, slim=True)
        served.move(run_test, Motion(updates=8.0))
        async with open_session(served, clock=ServerClock(served), max_in_flight=2) as session:
            await interrupt(session, RunTestCalls(run_test), tmp_path / name, after=9, page_size=60)
            report = await export_calls(session, RunTestCalls(run_test), tmp_path / name, page_size=60)
    ids = ids_in(report)
    assert report.fetch.sources[0].updates > 0
    assert len(ids) == len(set(ids)) == report.records == report.fetch.received
    if report.manifest is not None:
        assert verify_export(tmp_path / name).ok


@pytest.mark.anyio
async def test_a_second_export_to_one_target_is_refused(served: StandInServer, tmp_path: Path) -> None:
    """While one export runs, another to its target is an error before any request; afterwards it is not."""
    source = RunTestCalls(served.run_test_ids[2])
    target = read_target(tmp_path / "calls.jsonl", None)
    async with open_session(served) as session:
        with locked(target.work, target.path):
            with pytest.raises(ExportError, match=r"Another export to .*calls\.jsonl is running"):
                await export_calls(session, source, target.path)
            assert not served.requests
        assert (await export_calls(session, source, target.path)).complete
    assert names_in(tmp_path) == {"calls.jsonl"}


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    """The lock of a killed export does not keep the next one out."""
    program = f"""
import os, pathlib
from futureagi_async.export.files import locked
work = pathlib.Path({str(tmp_path / "work")!r})
with locked(work, work):
    print("locked", flush=True)
    os.read(0, 1)
"""
    held = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with held:
        assert held.stdout is not None
        assert held.stdout.readline() == "locked\n"
        with pytest.raises(ExportError, match="is running"), locked(tmp_path / "work", tmp_path):
            pass
        held.kill()
    with locked(tmp_path / "work", tmp_path):
        pass
    assert not names_in(tmp_path)


@pytest.fixture
def moving() -> Iterator[StandInServer]:
    """Run a stand-in whose clock its requests move on."""
    with StandInServer(request_seconds=0.2) as running:
        yield running


@pytest.mark.anyio
async def test_only_what_changed_is_read(moving: StandInServer, tmp_path: Path) -> None:
    """The second export holds every call that changed after the first, and costs a few small pages."""
    run_test = moving.add_run_test(1_100, slim=True)
    source = RunTestCalls(run_test)
    async with open_session(moving, clock=ServerClock(moving)) as session:
        first = await export_calls(session, source, tmp_path / "monday", page_size=60)
        pages = pages_asked(moving)
        moving.clock.advance(3_600)
        moving.move(run_test, Motion(updates=1.0))
        moving.clock.advance(30)
        moving.stop_motion()
        moving.clock.advance(60)
        second = await export_calls(
            session, source, tmp_path / "tuesday", page_size=60, since=tmp_path / "monday" / "_manifest.json"
        )
        third = await export_calls(session, source, tmp_path / "wednesday", since=tmp_path / "tuesday")
    assert second.changed_since == (first.fetch.sources[0].complete_as_of,)
    assert second.complete
    assert 0 < second.records < 60
    assert pages_asked(moving) < pages / 2
    changed = [id_ for id_ in moving.run_test_rows(run_test) if id_ in set(ids_in(second))]
    assert changed == moving.run_test_rows(run_test)[: len(changed)]
    assert third.records == 0
    manifest = json.loads((tmp_path / "tuesday" / "_manifest.json").read_bytes())
    base = json.loads((tmp_path / "monday" / "_manifest.json").read_bytes())
    assert manifest["since"]["manifest"] == base["digest"] == manifest["parameters"]["since"]
    assert "deleted" in manifest["since"]["cannot_see"]
    assert str(tmp_path) not in json.dumps(manifest)
    assert verify_export(tmp_path / "tuesday").ok


@pytest.mark.anyio
async def test_what_the_base_did_not_hold_is_read_in_full(moving: StandInServer, tmp_path: Path) -> None:
    """Sources are told apart by all that names them; an incomplete one counts for nothing."""
    one, other, bad = (RunTestCalls(id_) for id_ in moving.run_test_ids)
    async with open_session(moving, clock=ServerClock(moving)) as session:
        moving.fail(bad.run_test_id, status=404, times=1_000)
        await export_calls(session, [one, bad], tmp_path / "monday")
        moving.clear_faults()
        moving.clock.advance(3_600)
        filtered = RunTestCalls(one.run_test_id, status="completed")
        sources = [bad, other, filtered, one]
        report = await export_calls(session, sources, tmp_path / "tuesday", since=tmp_path / "monday")
    assert [moment is None for moment in report.changed_since] == [True, True, True, False]
    received = [source.received for source in report.fetch]
    assert received[0] == len(moving.run_test_rows(bad.run_test_id))
    assert received[1] == len(moving.run_test_rows(other.run_test_id))
    assert received[2] > 0
    assert received[3] == 0


@pytest.mark.anyio
async def test_another_base_is_another_export(moving: StandInServer, tmp_path: Path) -> None:
    """A finished increment is not taken for one of another base."""
    source = TestExecutionCalls(moving.test_execution_ids[2])
    async with open_session(moving, clock=ServerClock(moving)) as session:
        await export_calls(session, source, tmp_path / "a")
        moving.clock.advance(60)
        await export_calls(session, source, tmp_path / "b")
        await export_calls(session, source, tmp_path / "c", since=tmp_path / "a")
        again = await export_calls(session, source, tmp_path / "c", since=tmp_path / "a")
        assert again.already_finished
        assert again.changed_since[0] is not None
        with pytest.raises(ExportError, match="since was"):
            await export_calls(session, source, tmp_path / "c", since=tmp_path / "b")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no manifest of an earlier export"),
        ("{}", "not the manifest of an export"),
        ("not JSON", "can't be decoded"),
        ('{"manifest": 7}', "its version is 7"),
    ],
)
async def test_a_base_that_is_none_is_refused(
    moving: StandInServer, tmp_path: Path, text: str | None, said: str
) -> None:
    """What is no manifest is an error before any request."""
    path = tmp_path / "_manifest.json"
    if text is not None:
        path.write_text(text)
    async with open_session(moving) as session:
        with pytest.raises(ExportError, match=said):
            await export_calls(session, RunTestCalls(moving.run_test_ids[0]), tmp_path / "out", since=path)
    assert not moving.requests


@pytest.mark.anyio
async def test_a_base_that_was_changed_is_refused(moving: StandInServer, tmp_path: Path) -> None:
    """Somebody's edited times could leave out calls without a word."""
    source = TestExecutionCalls(moving.test_execution_ids[2])
    async with open_session(moving) as session:
        await export_calls(session, source, tmp_path / "a")
        path = tmp_path / "a" / "_manifest.json"
        manifest: dict[str, Any] = json.loads(path.read_bytes())
        manifest["sources"][0]["complete_as_of"] = "2099-01-01T00:00:00Z"
        path.write_text(json.dumps(manifest))
        with pytest.raises(ExportError, match="Its digest does not match its content"):
            await export_calls(session, source, tmp_path / "b", since=path)
