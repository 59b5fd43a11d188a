"""Creation-time windows: an independent way to read a test execution, and the fallback of the cover."""

from itertools import pairwise

import pytest

from futureagi_async import RunTestCalls, Session, TestExecutionCalls, column
from futureagi_async.testing import Motion, StandInServer
from tests.proof import SharedClock

YEARS = ("2025-01-01T00:00:00Z", "2026-01-15T00:00:00Z", "2026-02-01T00:00:00Z", "2027-01-01T00:00:00Z")


def _session(server: StandInServer) -> Session:
    return Session(server.api_key, server.secret_key, server.base_url, clock=SharedClock(server.clock))


@pytest.mark.anyio
async def test_the_oracle_agrees_with_the_cover() -> None:
    """Windows of creation time, each read as one page, give the same calls as the cover of the list."""
    async with StandInServer(demo=False, request_seconds=0.1) as server:
        execution = server.add_test_execution(1_800, tie_size=4, slim=True)
        server.move(execution, Motion(seed=1, updates=5.0))
        async with _session(server) as session:
            cover = await session.fetch_calls(TestExecutionCalls(execution))
            windows = [
                TestExecutionCalls(execution, filters=[column("created_at").between(start, end)])
                for start, end in pairwise(YEARS)
            ]
            oracle = await session.fetch_calls(windows)
        assert cover.report.complete
        assert {call.id for call in cover.calls} == {call.id for call in oracle.calls}
        assert {call.id for call in cover.calls} == set(server.test_execution_rows(execution))


@pytest.mark.anyio
async def test_rows_without_keys_are_read_in_windows_of_creation_time() -> None:
    """A test execution in the documented dialect shows no keys; windows of creation time prove it."""
    async with StandInServer(dialect="documented", demo=False) as server:
        execution = server.add_test_execution(1_500, slim=True)
        async with Session(server.api_key, server.secret_key, server.base_url) as session:
            result = await session.fetch_calls(TestExecutionCalls(execution))
        report = result.report.sources[0]
        assert report.verdict == "complete"
        assert "creation time" in report.reason
        assert {call.id for call in result.calls} == set(server.test_execution_rows(execution))
        assert all(call.source == TestExecutionCalls(execution) for call in result.calls)


@pytest.mark.anyio
async def test_rows_without_keys_and_without_filters_are_delivered_and_called_incomplete() -> None:
    """A long run test in the documented dialect can't be proven; all its pages are read all the same."""
    async with StandInServer(dialect="documented", demo=False) as server:
        run_test = server.add_run_test(1_500, slim=True)
        async with Session(server.api_key, server.secret_key, server.base_url) as session:
            result = await session.fetch_calls(RunTestCalls(run_test))
        report = result.report.sources[0]
        assert report.verdict == "incomplete"
        assert "no time of last change" in report.reason
        assert len(result.calls) == 1_500
