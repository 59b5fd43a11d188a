"""Bulk reads in the wrong hands: exceptions of any kind, sessions and streams in the wrong state."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator

import pytest

from futureagi_async import (
    CallExecution,
    FilterIgnoredError,
    FutureAGIError,
    RateLimitError,
    RunTestCalls,
    Session,
    SessionMisuseError,
    TestExecutionCalls,
    Timeouts,
    column,
)
from futureagi_async.testing import StandInServer
from tests.servers import UNKNOWN_ID, FakeClock, check_no_task_left, open_session

RUN_TEST = RunTestCalls("00000000-0000-4000-8000-000000000001")


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, KeyError, GeneratorExit])
async def test_any_exception_of_the_caller_arrives_as_it_was_raised(
    futureagi_server: StandInServer, kind: type[BaseException]
) -> None:
    """What is raised inside the block leaves it as the same object, in no group."""
    before = asyncio.all_tasks()
    raised = kind("the caller's own")

    async def read(session: Session) -> None:
        async with session.stream_calls(source) as stream:
            await anext(aiter(stream))
            raise raised

    source = RunTestCalls(futureagi_server.run_test_ids[0])
    async with open_session(futureagi_server) as session:
        with pytest.raises(kind) as caught:
            await read(session)
        assert caught.value is raised
    check_no_task_left(before)


@pytest.mark.anyio
async def test_a_generator_around_a_stream_can_be_closed(futureagi_server: StandInServer) -> None:
    """A caller's async generator that holds a stream open closes quietly in the middle."""
    source = RunTestCalls(futureagi_server.run_test_ids[0])

    before = asyncio.all_tasks()

    async def calls(session: Session) -> AsyncIterator[CallExecution]:
        async with session.stream_calls(source) as stream:
            async for call in stream:
                yield call

    async with open_session(futureagi_server) as session:
        generator = calls(session)
        assert await anext(generator)
        await generator.aclose()  # type: ignore[attr-defined]
    check_no_task_left(before)


@pytest.mark.anyio
@pytest.mark.parametrize("on_error", ["raise", "collect"])
async def test_a_session_that_is_not_open_is_refused_in_both_modes(on_error: str) -> None:
    """Misuse is no failure to collect: it raises."""
    session = Session("an-api-key", "a-secret-key", "http://127.0.0.1:9")
    with pytest.raises(SessionMisuseError, match="not opened"):
        await session.fetch_calls(RUN_TEST, on_error=on_error)


@pytest.mark.anyio
@pytest.mark.parametrize("ordered", [False, True])
async def test_a_stream_can_not_be_used_after_its_block(
    futureagi_server: StandInServer, ordered: bool
) -> None:
    """Once the block is left, the stream says where it belongs."""
    source = RunTestCalls(futureagi_server.run_test_ids[0])
    async with open_session(futureagi_server) as session:
        async with session.stream_calls(source, ordered=ordered) as stream:
            await anext(aiter(stream))
        with pytest.raises(SessionMisuseError, match="async with"):
            await anext(aiter(stream.pages()))


@pytest.mark.parametrize("sources", [None, 5, "a text", [None], ["a text"]])
def test_what_is_no_source_is_named(sources: object) -> None:
    """Anything but sources is a TypeError that says what is expected."""
    session = Session("an-api-key", "a-secret-key", "http://127.0.0.1:9")
    with pytest.raises(TypeError, match="RunTestCalls, AgentVersionCalls or TestExecutionCalls"):
        session.stream_calls(sources)  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_an_ignored_filter_tells_the_request(futureagi_server: StandInServer) -> None:
    """The error about a skipped filter has the request's facts and what the server said."""
    page = {"count": 1, "next": None, "results": [], "error_messages": ["Unsupported op: x"]}
    futureagi_server.respond("/test-executions/", body=json.dumps(page).encode())
    source = TestExecutionCalls(
        futureagi_server.test_execution_ids[0], filters=[column("status").equals("failed")]
    )
    async with open_session(futureagi_server) as session:
        with pytest.raises(FilterIgnoredError) as caught:
            await session.get_page(source)
    error = caught.value
    assert error.error_messages == ("Unsupported op: x",)
    assert (error.status, error.attempts, error.path) == (
        200,
        1,
        f"/simulate/test-executions/{source.test_execution_id}/",
    )


@pytest.mark.anyio
async def test_a_pause_longer_than_the_deadline_fails_later_calls_at_once(
    futureagi_server: StandInServer,
) -> None:
    """While the server's pause lasts, a call that could not outlast it fails without being sent."""
    futureagi_server.fail("/kpis/", status=429, headers={"Retry-After": "100"})
    impatient = Timeouts(deadline=20)
    async with open_session(futureagi_server, clock=FakeClock(), timeouts=impatient) as session:
        for attempts in (1, 0):
            with pytest.raises(RateLimitError) as caught:
                await session.get_kpis(futureagi_server.test_execution_ids[0])
            assert caught.value.attempts == attempts
            assert caught.value.retry_after == pytest.approx(100)
    assert len(futureagi_server.requests) == 1


@pytest.mark.anyio
async def test_received_counts_what_was_taken(futureagi_server: StandInServer) -> None:
    """A stream that is left early reports what the caller took, and does not say complete."""
    source = RunTestCalls(futureagi_server.run_test_ids[0])
    async with open_session(futureagi_server) as session:
        async with session.stream_calls(source) as stream:
            first = await anext(aiter(stream.pages()))
        report = stream.report.sources[0]
    assert report.verdict == "incomplete"
    assert report.received in (0, len(first.calls))


@pytest.mark.anyio
async def test_an_ordered_stream_needs_a_temporary_directory(
    server: StandInServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where more than fits in memory can't be put anywhere, the error is ours and names the variable."""
    row = {"id": UNKNOWN_ID, "call_summary": "x" * 33 * 1024 * 1024}
    page = {"count": 1, "next": None, "previous": None, "total_pages": 1, "current_page": 1, "results": [row]}
    server.respond("/call-executions/", body=json.dumps(page).encode(), times=3)
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    async with open_session(server) as session:
        with pytest.raises(FutureAGIError, match=r"^Can't sort in a temporary file: .* TMPDIR may name"):
            await session.fetch_calls(RunTestCalls(UNKNOWN_ID), ordered=True)
