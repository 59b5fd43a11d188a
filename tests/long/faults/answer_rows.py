"""Rows 19 to 27: answers that say no, or say it wrong."""

import json
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any

from futureagi_async import AgentVersionCalls, FutureAGIError, RunTestCalls, Timeouts
from futureagi_async.testing import StandInServer
from tests.long.faults.scenes import Fault, PageResult, Scene, ask, kind_of, session_options, tries_of, wire
from tests.support.raw_server import api_error, json_answer, raw_server, refuse
from tests.support.sessions import FOREVER, UNKNOWN_ID, FakeClock, answer, open_session, send

PAGE: Mapping[str, Any] = {
    "count": 3,
    "next": None,
    "results": [{"id": f"call-{number}", "timestamp": "2026-02-01T10:00:00Z"} for number in range(3)],
    "total_pages": 1,
    "current_page": 1,
}
HTML = "<html><h1>Bad Gateway</h1></html>"


def page(**changes: Any) -> Scene:
    """Read a page whose envelope is wrong."""

    async def scene() -> PageResult:
        async with (
            raw_server(json_answer(dict(PAGE) | changes)) as server,
            open_session(server, **session_options()) as session,
        ):
            result = await ask(session, lambda: session.get_page(RunTestCalls(UNKNOWN_ID)))
        assert isinstance(result, FutureAGIError)
        assert result.body, "the answer is quoted"
        return PageResult(kind_of(result), tries_of(result))

    return scene


async def record_without_id() -> PageResult:
    """The record fails alone, with its path and its bytes; the others are kept."""
    bad = {"timestamp": "2026-02-01T10:00:00Z"}
    doctored = dict(PAGE) | {"results": [PAGE["results"][0], bad, PAGE["results"][2]]}
    async with (
        raw_server(json_answer(doctored)) as server,
        open_session(server, **session_options()) as session,
    ):
        found = await session.get_page(RunTestCalls(UNKNOWN_ID))
    (failure,) = found.failures
    assert json.loads(failure.raw) == bad
    return PageResult(f"{len(found.calls)} records, {kind_of(failure.error)} at {failure.error.json_path}")


async def scalar_of_another_type() -> PageResult:
    """The record arrives without that value, which stands beside it."""
    odd = dict(PAGE["results"][1]) | {"overall_score": "7.5"}
    doctored = dict(PAGE) | {"results": [PAGE["results"][0], odd, PAGE["results"][2]]}
    async with (
        raw_server(json_answer(doctored)) as server,
        open_session(server, **session_options()) as session,
    ):
        found = await session.get_page(RunTestCalls(UNKNOWN_ID))
    beside = [f"{name} {sent!r}" for call in found.calls for name, sent in call.misfits.items()]
    return PageResult(f"{len(found.calls)} records, beside them {', '.join(beside)}")


def stops_job(status: int) -> Scene:
    """Refuse the keys in the middle of a job: what was read is kept, nothing more is asked."""

    async def scene() -> PageResult:
        async with StandInServer() as server:
            ids = server.call_execution_ids()[:100]
            server.fail(times=FOREVER, status=status, after=20)
            async with open_session(server, **session_options(max_in_flight=4)) as session:
                outcomes = await session.fetch_call_executions(ids)
            kinds = {kind_of(outcome.error) for outcome in outcomes if outcome.error is not None}
            kept = sum(outcome.error is None for outcome in outcomes)
            assert len(outcomes) == 100
            assert len(server.requests) <= 24
        return PageResult(f"{kept} values, then {kinds.pop()}")

    return scene


async def page_past_the_end() -> PageResult:
    """A version list that got shorter says "Invalid page.": that is its end, and no failure."""
    async with StandInServer() as server:
        source = AgentVersionCalls(*server.add_agent_version(300, slim=True))
        server.fail("page=3&", times=FOREVER, status=404, body=api_error("Invalid page."))
        async with open_session(server, **session_options(max_response_bytes=2**26)) as session:
            result = await session.fetch_calls([source], page_size=100, consistency="fast")
        assert any(request.status == 404 for request in server.requests)
    (report,) = result.report
    return PageResult(f"{len(result.calls)} records, {report.verdict}, {len(report.failures)} failures")


def patience(status: int, retry_after: str, **options: Any) -> Scene:
    """Ask for patience once: the session waits, and tries again."""

    async def scene() -> PageResult:
        clock = FakeClock()
        dated = f"Date: {formatdate(1_000_000, usegmt=True)}\r\n"
        play = refuse(status, head=f"{dated}Retry-After: {retry_after}\r\n")
        async with (
            raw_server(play, answer()) as server,
            open_session(server, **session_options(clock=clock, **options)) as session,
        ):
            result = await ask(session)
        waited = f" after {sum(clock.slept):g} s" if kind_of(result) == "value" else ""
        asked = f", {result.retry_after:g} s wanted" if isinstance(result, FutureAGIError) else ""
        return PageResult(kind_of(result) + waited + asked, len(server.requests))

    return scene


async def one_item_fails() -> PageResult:
    """A record that makes the server stumble fails alone."""
    async with StandInServer() as server:
        ids = server.call_execution_ids()[:20]
        server.fail(ids[7], times=FOREVER, status=500)
        async with open_session(server, **session_options(max_response_bytes=2**26)) as session:
            outcomes = await session.fetch_call_executions(ids)
        tries = sum(ids[7] in request.path for request in server.requests)
    (failed,) = (outcome for outcome in outcomes if outcome.error is not None)
    assert failed.id == ids[7]
    return PageResult(f"19 values, {kind_of(failed.error)}", tries)


def total_outage(max_outage: float, most_requests: int) -> Scene:
    """Let no id of thousands be answered: few requests, and each id has an outcome and can be asked again."""
    ids = [f"00000000-0000-4000-8000-{number:012}" for number in range(5_000)]

    async def scene() -> PageResult:
        async with raw_server(refuse(503, HTML)) as server:
            async with open_session(server, **session_options(max_in_flight=16)) as session:
                outcomes = await session.fetch_call_executions(ids, max_outage=max_outage)
            assert [outcome.id for outcome in outcomes] == ids
            assert all(outcome.error is not None and outcome.error.retryable for outcome in outcomes)
            assert len(server.requests) <= most_requests, len(server.requests)
        unasked = sum(kind_of(outcome.error) == "APIConnectionError" for outcome in outcomes)
        assert unasked >= 4_850
        return PageResult(MOST_UNASKED)

    return scene


async def outage_that_ends() -> PageResult:
    """A server that answers again after a while costs nobody's id, and no page of a list."""
    async with StandInServer() as server:
        ids, source = server.call_execution_ids()[:30], RunTestCalls(server.run_test_ids[0])
        options = session_options(max_in_flight=4, max_response_bytes=2**26)
        async with open_session(server, **options) as session:
            server.fail("call-executions/", times=20, after=5, status=502)
            outcomes = await session.fetch_call_executions(ids)
            server.fail("run-tests/", times=6, after=1, status=502)
            (report,) = (await session.fetch_calls(source)).report
    values = sum(outcome.value is not None for outcome in outcomes)
    return PageResult(f"{values} values, {report.verdict}, {len(report.failures)} failures")


def redirect(location: str) -> Scene:
    """Send the session elsewhere: it does not go."""

    async def scene() -> PageResult:
        async with raw_server(answer()) as trap:
            moved = "HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n"
            target = location.format(trap=trap.port)
            async with (
                raw_server(send(moved.format(target).encode(), close=False)) as server,
                open_session(server, **session_options()) as session,
            ):
                result = await ask(session)
            assert (trap.connections, len(server.requests)) == (0, 1)
        return PageResult(kind_of(result), tries_of(result))

    return scene


async def cookies() -> PageResult:
    """What the server sets is not sent back."""
    async with raw_server(answer(head="Set-Cookie: session=1; Path=/\r\n")) as server:
        base_url = f"http://localhost:{server.port}"
        async with open_session(server, **session_options(base_url=base_url)) as session:
            for _ in range(2):
                await session.get_kpis(UNKNOWN_ID)
    sent = b"".join(server.requests).lower().count(b"cookie")
    return PageResult(f"value, {sent} cookies sent", len(server.requests))


def status(code: int, body: bytes | str | dict[str, Any] = HTML) -> Scene:
    return wire(refuse(code, body))


GATEWAYS_OWN = (507, 509, 520, 521, 522, 523, 524, 525, 527, 529, 530, 598, 599)
MOST_UNASKED = "an outcome for each, most unasked"
ABSURD = "99999999999"
ANSWER_ROWS = [
    Fault(19, "record without id", record_without_id, PageResult("2 records, DecodingError at $.results[1]")),
    Fault(
        19,
        "scalar of another type",
        scalar_of_another_type,
        PageResult("3 records, beside them overall_score '7.5'"),
    ),
    Fault(19, "count of -1", page(count=-1), PageResult("DecodingError", 1)),
    Fault(19, "results are null", page(results=None), PageResult("DecodingError", 1)),
    Fault(20, "400", status(400), PageResult("BadRequestError", 1, "BadRequestError")),
    Fault(20, "401", status(401), PageResult("AuthenticationError", 1, "AuthenticationError")),
    Fault(20, "403", status(403), PageResult("PermissionDeniedError", 1, "PermissionDeniedError")),
    Fault(20, "404", status(404), PageResult("NotFoundError", 1, "NotFoundError")),
    Fault(20, "401 within a job", stops_job(401), PageResult("20 values, then AuthenticationError")),
    Fault(20, "403 within a job", stops_job(403), PageResult("20 values, then PermissionDeniedError")),
    Fault(21, "page past the end", page_past_the_end, PageResult("200 records, incomplete, 0 failures")),
    Fault(22, "408", status(408), PageResult("APIStatusError", 4, "value")),
    Fault(22, "425", status(425), PageResult("APIStatusError", 4, "value")),
    Fault(22, "429, seconds", patience(429, "7"), PageResult("value after 7.5 s", 2)),
    Fault(
        22,
        "429, a date",
        patience(429, formatdate(1_000_030, usegmt=True)),
        PageResult("value after 30.5 s", 2),
    ),
    Fault(
        22,
        "429, a date long past",
        patience(429, formatdate(9, usegmt=True)),
        PageResult("value after 0.5 s", 2),
    ),
    Fault(22, "429, no number", patience(429, "-3"), PageResult("value after 0.125 s", 2)),
    Fault(
        22,
        "429, absurd",
        patience(429, ABSURD, timeouts=Timeouts(deadline=1000)),
        PageResult("value after 120.5 s", 2),
    ),
    Fault(
        22,
        "429, beyond the deadline",
        patience(429, "90", timeouts=Timeouts(deadline=60)),
        PageResult("RateLimitError, 90 s wanted", 1),
    ),
    Fault(23, "500", status(500), PageResult("InternalServerError", 3, "value")),
    Fault(
        23,
        "500 for a wrong parameter",
        status(500, api_error("Failed to retrieve: bigint out of range")),
        PageResult("InternalServerError", 1, "InternalServerError"),
    ),
    Fault(23, "500 for one of many", one_item_fails, PageResult("19 values, InternalServerError", 3)),
    Fault(24, "502", status(502), PageResult("InternalServerError", 4, "value")),
    Fault(24, "503", status(503), PageResult("InternalServerError", 4, "value")),
    Fault(24, "504", status(504), PageResult("InternalServerError", 4, "value")),
    *(
        Fault(24, str(code), status(code), PageResult("InternalServerError", 4, "value"))
        for code in GATEWAYS_OWN
    ),
    Fault(24, "501", status(501), PageResult("InternalServerError", 1, "InternalServerError")),
    Fault(24, "511", status(511), PageResult("InternalServerError", 1, "InternalServerError")),
    Fault(25, "outage that lasts", total_outage(600, 64 + 35), PageResult(MOST_UNASKED)),
    Fault(25, "outage that is not waited for", total_outage(0, 100 + 100 + 16), PageResult(MOST_UNASKED)),
    Fault(25, "outage that ends", outage_that_ends, PageResult("30 values, complete, 0 failures")),
    Fault(26, "redirect within the server", redirect("/elsewhere/"), PageResult("RedirectError", 1)),
    Fault(
        26, "redirect to another port", redirect("http://127.0.0.1:{trap}/"), PageResult("RedirectError", 1)
    ),
    Fault(
        26, "redirect to another name", redirect("http://localhost:{trap}/"), PageResult("RedirectError", 1)
    ),
    Fault(26, "redirect in a circle", redirect("?again=1"), PageResult("RedirectError", 1)),
    Fault(26, "304", status(304, b""), PageResult("APIStatusError", 1, "APIStatusError")),
    Fault(27, "cookie set", cookies, PageResult("value, 0 cookies sent", 2)),
]
