"""Incremental exports: only what changed since an earlier one, and the truth about what that can't see."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from futureagi_async import ExportError, RunTestCalls, TestExecutionCalls
from futureagi_async.export import export_calls, verify_export
from futureagi_async.testing import Motion, StandInServer
from tests.exporting import ServerClock, ids_in, pages_asked
from tests.servers import open_session


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
            session, source, tmp_path / "tuesday", page_size=60, since=tmp_path / "monday" / "manifest.json"
        )
        third = await export_calls(session, source, tmp_path / "wednesday", since=tmp_path / "tuesday")
    assert second.changed_since == (first.fetch.sources[0].complete_as_of,)
    assert second.complete
    assert 0 < second.records < 60
    assert pages_asked(moving) < pages / 2
    changed = [id_ for id_ in moving.run_test_rows(run_test) if id_ in set(ids_in(second))]
    assert changed == moving.run_test_rows(run_test)[: len(changed)]
    assert third.records == 0
    manifest = json.loads((tmp_path / "tuesday" / "manifest.json").read_bytes())
    base = json.loads((tmp_path / "monday" / "manifest.json").read_bytes())
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
        ("{}", "no export's manifest"),
        ("not JSON", "can't be understood"),
        ('{"manifest": 7}', "of version 7"),
    ],
)
async def test_a_base_that_is_none_is_refused(
    moving: StandInServer, tmp_path: Path, text: str | None, said: str
) -> None:
    """What is no manifest is an error before any request."""
    path = tmp_path / "manifest.json"
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
        path = tmp_path / "a" / "manifest.json"
        manifest: dict[str, Any] = json.loads(path.read_bytes())
        manifest["sources"][0]["complete_as_of"] = "2099-01-01T00:00:00Z"
        path.write_text(json.dumps(manifest))
        with pytest.raises(ExportError, match="its own digest does not match"):
            await export_calls(session, source, tmp_path / "b", since=path)
