"""Keys are seen by the server they are meant for, and nowhere else."""

import asyncio
import copy
import gc
import io
import logging
import pickle
import pprint
import traceback
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from futureagi_async import (
    FutureAGIError,
    RetryPolicy,
    RunTestCalls,
    Session,
    TestExecutionCalls,
    Timeouts,
    column,
)
from futureagi_async.testing import StandInServer
from tests.support.raw_server import raw_server
from tests.support.sessions import FOREVER, UNKNOWN_ID, FakeClock, answer, respond, tls_contexts, wait_until

pytestmark = pytest.mark.anyio

API_KEY = "c4n4ry-api-5f2c91"
SECRET_KEY = "c4n4ry-secret-8d07ab"
ECHO = f'{{"detail": "Key {API_KEY} with {SECRET_KEY} is bad"}}'
SOURCE = TestExecutionCalls(UNKNOWN_ID, filters=[column("status").equals("failed")])


def check_hidden(*shown: object) -> None:
    """Assert that neither key is in any of these texts, as text or as part of one."""
    for text in map(str, shown):
        assert "c4n4ry" not in text, text[max(0, text.find("c4n4ry") - 300) :][:600]


@pytest.fixture
def logs(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Capture every logger at DEBUG, and check in the end that no record shows a key."""
    caplog.set_level(logging.DEBUG)
    for name in ("asyncio", "aiohttp.client", "aiohttp.internal", "futureagi_async"):
        caplog.set_level(logging.DEBUG, logger=name)
    yield caplog
    for record in caplog.records:
        check_hidden(record.getMessage(), vars(record))
    check_hidden(caplog.text)


@asynccontextmanager
async def canary_session(base_url: str, **options: Any) -> AsyncIterator[Session]:
    """Open a session whose keys are the canaries, and check in the end what its observers saw."""
    events: list[object] = []
    settings = {"clock": FakeClock(), "retry": RetryPolicy(2), "observers": [events.append], **options}
    async with Session(API_KEY, SECRET_KEY, base_url, **settings) as session:
        yield session
    check_hidden(events, *map(repr, events))


def check_error(error: BaseException) -> None:
    """Assert that an error, what it was raised from, and its traceback with variables show no key."""
    seen: BaseException | None = error
    while seen is not None:
        check_hidden(seen, repr(seen), f"{seen}", vars(seen), seen.args)
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    check_hidden("".join(traceback.TracebackException.from_exception(error, capture_locals=True).format()))
    if isinstance(error, FutureAGIError):
        check_hidden(pickle.dumps(error), pprint.pformat(vars(error)))
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


Asking = Callable[[Session], Awaitable[object]]


async def error_of(asking: Callable[[], Awaitable[object]]) -> BaseException:
    """Return what an attempt raises, whatever it is, with its whole traceback."""
    try:
        await asking()
    except BaseException as error:  # noqa: BLE001 - cancellation is one of the cases
        return error
    raise AssertionError("nothing was raised")


STATUSES = [302, 400, 401, 403, 404, 408, 418, 429, 500, 502, 503]


@pytest.mark.parametrize("status", STATUSES)
async def test_errors_of_a_server_that_repeats_the_keys(
    futureagi_server: StandInServer, logs: pytest.LogCaptureFixture, status: int
) -> None:
    """Body, message, headers: whatever echoes them, they are blanked out."""
    headers = {"X-Request-Id": API_KEY, "Location": f"https://{API_KEY}.invalid/?k={SECRET_KEY}"}
    futureagi_server.fail(times=FOREVER, status=status, body=ECHO, headers=headers)
    async with canary_session(futureagi_server.base_url) as session:
        error = await error_of(lambda: session.get_kpis(UNKNOWN_ID))
    assert isinstance(error, FutureAGIError)
    assert error.body == '{"detail": "Key *** with *** is bad"}'
    check_error(error)


BODIES = {
    "no JSON": ECHO.encode()[1:],
    "a wrong shape": f'["{SECRET_KEY}"]'.encode(),
    "not UTF-8": ECHO.encode() + b"\xff",
    "nested too deeply": b"[" * 100_000 + API_KEY.encode(),
}


@pytest.mark.parametrize("kind", BODIES)
async def test_errors_of_a_body_that_repeats_the_keys(
    futureagi_server: StandInServer, logs: pytest.LogCaptureFixture, kind: str
) -> None:
    """What does not decode is quoted without them."""
    futureagi_server.respond(body=BODIES[kind], times=FOREVER)
    async with canary_session(futureagi_server.base_url) as session:
        check_error(await error_of(lambda: session.get_kpis(UNKNOWN_ID)))


async def test_errors_about_records_and_filters(
    futureagi_server: StandInServer, logs: pytest.LogCaptureFixture
) -> None:
    """The failures in a bulk read's report are shown by whoever prints it."""
    page = {"count": 1, "results": [{"id": 5, "status": API_KEY}], "total_pages": 1, "current_page": 1}
    respond(futureagi_server, "run-tests", page, times=FOREVER)
    respond(futureagi_server, "test-executions", page | {"error_messages": ["Bad filter."]}, times=FOREVER)
    async with canary_session(futureagi_server.base_url) as session:
        check_error(await error_of(lambda: session.get_page(SOURCE)))
        check_error(await error_of(lambda: session.fetch_calls([RunTestCalls(UNKNOWN_ID)])))
        result = await session.fetch_calls([RunTestCalls(UNKNOWN_ID), SOURCE], on_error="collect")
    assert all(source.failures for source in result.report)
    for failure in (failure for source in result.report for failure in source.failures):
        check_error(failure)
    check_hidden(result, repr(result.report))


async def test_errors_without_an_answer(logs: pytest.LogCaptureFixture) -> None:
    """Refused connections, timeouts, cut and garbled answers, oversized ones, and untrusted servers."""
    tls, _ = tls_contexts()
    echo = answer(ECHO.encode(), length=10_000, close=True)
    async with raw_server(echo) as cut, raw_server(answer(), tls=tls) as untrusted:
        async with raw_server() as gone:
            refused = gone.base_url
        for base_url, options in (
            (refused, {}),
            (cut.base_url, {}),
            (cut.base_url, {"max_response_bytes": 10}),
            (untrusted.base_url, {}),
        ):
            async with canary_session(base_url, **options) as session:
                check_error(await error_of(lambda session=session: session.get_kpis(UNKNOWN_ID)))


async def test_a_timeout(futureagi_server: StandInServer, logs: pytest.LogCaptureFixture) -> None:
    """What the HTTP client raised held the headers."""
    futureagi_server.stall(times=FOREVER)
    async with canary_session(futureagi_server.base_url, timeouts=Timeouts(attempt=0.05)) as session:
        check_error(await error_of(lambda: session.get_kpis(UNKNOWN_ID)))


async def test_a_cancellation_within_a_request(
    futureagi_server: StandInServer, logs: pytest.LogCaptureFixture
) -> None:
    """It passes through untouched, so its traceback leads through the HTTP client's own frames."""
    futureagi_server.stall()
    async with canary_session(futureagi_server.base_url) as session:
        task = asyncio.create_task(error_of(lambda: session.get_kpis(UNKNOWN_ID)))
        await wait_until(lambda: futureagi_server.in_flight == 1)
        task.cancel()
        error = await task
    assert isinstance(error, asyncio.CancelledError)
    assert any("aiohttp" in frame.filename for frame in traceback.extract_tb(error.__traceback__))
    check_error(error)


async def test_misuse(logs: pytest.LogCaptureFixture) -> None:
    """A session that is not open says so without showing what it holds."""
    session = Session(API_KEY, SECRET_KEY, "http://127.0.0.1:9")
    check_error(await error_of(lambda: session.get_kpis(UNKNOWN_ID)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"api_key": API_KEY + "\n"},
        {"secret_key": SECRET_KEY + "é"},
        {"api_key": API_KEY * 100},
        {"secret_key": b"c4n4ry"},
        {"base_url": f"https://user:{SECRET_KEY}@host.invalid"},
        {"base_url": f"https://host.invalid/?key={SECRET_KEY}"},
        {"proxy": f"{SECRET_KEY}@host.invalid"},
        {"max_in_flight": 0},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_wrong_settings(wrong: dict[str, Any]) -> None:
    """What is wrong with a key or an address that holds one is said without quoting it."""
    settings = {"api_key": API_KEY, "secret_key": SECRET_KEY, **wrong}
    with pytest.raises((ValueError, TypeError)) as caught:
        Session(**settings)
    check_hidden(caught.value, repr(caught.value))
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    frames = [frame.locals for frame in shown.stack if frame.filename.endswith("session.py")]
    assert frames
    for variables in frames:
        check_hidden({name: text for name, text in (variables or {}).items() if name not in wrong})
        assert "api_key" not in (variables or {})


async def test_a_session_and_what_it_is_made_of(futureagi_server: StandInServer) -> None:
    """However one looks into it, down to the HTTP client."""
    async with canary_session(futureagi_server.base_url) as session:
        await error_of(lambda: session.get_kpis(UNKNOWN_ID))
        check_hidden(session, repr(session), f"{session}", f"{session!r:>99}")
        requester, transport = session._requester, session._requester._transport
        for part in (session, requester, transport, transport._keys, transport._client):
            check_hidden(part, repr(part), f"{part}")
            names = [*getattr(part, "__dict__", ()), *getattr(type(part), "__slots__", ())]
            check_hidden(pprint.pformat({name: getattr(part, name, None) for name in names}))
        for part in (session, session.with_options(), requester, transport, transport._keys):
            stream = io.BytesIO()
            with pytest.raises(TypeError) as caught:
                pickle.Pickler(stream).dump(part)
            check_hidden(stream.getvalue(), caught.value)
            with pytest.raises(TypeError):
                copy.deepcopy(part)


async def test_addresses_hold_no_key() -> None:
    """They are headers of every request and never part of an address."""
    async with raw_server(answer()) as server, canary_session(server.base_url) as session:
        await session.get_kpis(UNKNOWN_ID)
        await error_of(lambda: session.get_page(SOURCE))
    for request in server.requests:
        line, _, headers = request.partition(b"\r\n")
        check_hidden(line)
        assert f"X-Api-Key: {API_KEY}\r\nX-Secret-Key: {SECRET_KEY}\r\n".encode() in headers


async def test_a_session_that_nobody_closed(
    futureagi_server: StandInServer, logs: pytest.LogCaptureFixture
) -> None:
    """The HTTP client's complaints, in warnings and logs, show what they complain about."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        session = Session(API_KEY, SECRET_KEY, futureagi_server.base_url)
        await session.__aenter__()
        with pytest.raises(FutureAGIError):
            await session.get_kpis(UNKNOWN_ID)
        connector = session._requester._transport._client.connector
        del session
        gc.collect()
        await connector.close()
    assert any(issubclass(warning.category, ResourceWarning) for warning in caught)
    check_hidden(*(warning.message for warning in caught))
