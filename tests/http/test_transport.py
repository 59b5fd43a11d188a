"""What can go wrong on a wire, over real sockets: each is one of our errors, and leaves nothing behind."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver

from futureagi_async import (
    APIConnectionError,
    APITimeoutError,
    DecodingError,
    ExecutionKPIs,
    FutureAGIError,
    ResponseTooLargeError,
    RetryPolicy,
    Session,
    SessionMisuseError,
    Timeouts,
    TLSError,
)
from futureagi_async.testing import StandInServer
from tests.support.raw_server import raw_server
from tests.support.sessions import (
    FOREVER,
    KPIS_BODY,
    UNKNOWN_ID,
    FakeClock,
    Play,
    answer,
    drip,
    open_session,
    reset,
    send,
    send_part_and_stall,
    stay_silent,
    tls_contexts,
    wait_until,
    zipped,
)

pytestmark = pytest.mark.anyio

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
GZIP = "Content-Encoding: gzip\r\n"
LIMIT = 100_000


@asynccontextmanager
async def patient_session(server: Any, **options: Any) -> AsyncIterator[Session]:
    """Open a session of one slot that tries twice, without real pauses."""
    settings = {"max_in_flight": 1, "retry": RetryPolicy(2), "clock": FakeClock(), **options}
    async with open_session(server, **settings) as session:
        yield session


async def failure_of(session: Session) -> FutureAGIError:
    """Ask, and return the error that comes of it; no error of the HTTP client's hangs on it."""
    with pytest.raises(FutureAGIError) as caught:
        await session.get_kpis(UNKNOWN_ID)
    assert caught.value.path == f"/simulate/test-executions/{UNKNOWN_ID}/kpis/"
    assert not isinstance(caught.value.__context__, aiohttp.ClientError | OSError)
    return caught.value


TWICE: dict[str, tuple[Play, type[FutureAGIError], str]] = {
    "closed without an answer": (send(b""), APIConnectionError, "closed the connection"),
    "closed within the headers": (send(b"HTTP/1.1 200 OK\r\nConte"), APIConnectionError, "closed the conn"),
    "reset": (reset, APIConnectionError, "connection failed|closed the connection"),
    "body cut": (answer(length=500, close=True), APIConnectionError, "cut off"),
    "chunks without the last": (send(CHUNKED + b"2\r\n{}\r\n"), APIConnectionError, "cut off"),
    "cut within a chunk": (send(CHUNKED + b"ff\r\n{}"), APIConnectionError, "cut off"),
    "cut without framing": (send(b"HTTP/1.1 200 OK\r\n\r\n{"), DecodingError, "Not valid JSON"),
    "a wrong shape": (answer(b"[]"), DecodingError, r"at \$"),
    "an empty body": (answer(b""), DecodingError, "Not valid JSON"),
    "gzip cut": (answer(zipped()[:-9], head=GZIP), APIConnectionError, "gzip body was cut off"),
    "gzip trailer cut": (answer(zipped()[:-4], head=GZIP), APIConnectionError, "gzip body was cut off"),
    "gzip with a bad checksum": (
        answer(zipped()[:-8] + b"\0\0\0\0" + zipped()[-4:], head=GZIP),
        APIConnectionError,
        "gzip body is broken",
    ),
    "gzip that is none": (answer(head=GZIP), APIConnectionError, "gzip body is broken"),
    "junk behind gzip": (answer(zipped() + b"junk", head=GZIP), APIConnectionError, "gzip body is broken"),
    "garbage": (send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), APIConnectionError, "not HTTP"),
    "a huge header": (answer(head=f"X-Huge: {'x' * 50_000}\r\n"), APIConnectionError, "not HTTP"),
    "two lengths": (answer(head="Content-Length: 1\r\n"), APIConnectionError, "not HTTP"),
    "a bad length": (send(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), APIConnectionError, "not HTTP"),
}
ONCE: dict[str, tuple[Play, type[FutureAGIError], str]] = {
    "an encoding not asked for": (
        answer(head="Content-Encoding: br\r\n"),
        DecodingError,
        "'br' was not asked",
    ),
    "two encodings": (answer(head="Content-Encoding: gzip, gzip\r\n"), DecodingError, "was not asked for"),
    "too large": (
        answer(b"{" + b" " * LIMIT + b"}"),
        ResponseTooLargeError,
        r"100,000 bytes \(max_response_bytes\)",
    ),
    "a bomb": (answer(zipped(bytes(50 * 2**20)), head=GZIP), ResponseTooLargeError, "max_response_bytes"),
    "endless chunks": (send(CHUNKED + b"fffff\r\n" + bytes(0xFFFFF)), ResponseTooLargeError, "larger than"),
}


@pytest.mark.parametrize("fault", [*TWICE, *ONCE])
async def test_a_fault_is_an_error_of_ours_and_frees_its_slot(fault: str) -> None:
    """What may pass is tried again; the only slot and a connection are free for the next request."""
    play, kind, text = (TWICE | ONCE)[fault]
    async with raw_server(play) as server, patient_session(server, max_response_bytes=LIMIT) as session:
        error = await failure_of(session)
        assert type(error) is kind
        assert error.attempts == (2 if fault in TWICE else 1)
        server.play_on(answer())
        assert (await session.get_kpis(UNKNOWN_ID)).total_calls == 1
    with pytest.raises(kind, match=text):
        raise error


GOOD = {
    "plain": answer(),
    "gzip": answer(zipped(), head=GZIP),
    "gzip by its old name": answer(zipped(), head="Content-Encoding: X-GZIP\r\n"),
    "gzip of two members": answer(zipped(KPIS_BODY[:7]) + zipped(KPIS_BODY[7:]), head=GZIP),
    "identity": answer(head="Content-Encoding: identity\r\n"),
    "chunks": send(CHUNKED + b"5\r\n" + KPIS_BODY[:5] + b"\r\nd\r\n" + KPIS_BODY[5:] + b"\r\n0\r\n\r\n"),
    "until the end": send(b"HTTP/1.0 200 OK\r\n\r\n" + KPIS_BODY),
    "exactly the limit": answer(KPIS_BODY + b" " * (LIMIT - len(KPIS_BODY))),
    "no content type": send(b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n" + KPIS_BODY),
}


@pytest.mark.parametrize("shape", GOOD)
async def test_an_answer_in_any_shape_is_read(shape: str) -> None:
    """However it is framed and encoded, as far as that was asked for."""
    options = {"max_response_bytes": LIMIT}
    async with raw_server(GOOD[shape]) as server, patient_session(server, **options) as session:
        kpis = await session.get_kpis(UNKNOWN_ID)
    assert isinstance(kpis, ExecutionKPIs)
    assert (kpis.total_calls, len(server.requests)) == (1, 1)


SLOW = {
    "byte by byte": (drip, Timeouts(attempt=0.05), r"within 0.05 s"),
    "no answer": (stay_silent, Timeouts(attempt=0.05), r"within 0.05 s"),
    "stalled before the answer": (stay_silent, Timeouts(read=0.05), "No complete response"),
    "stalled within the body": (send_part_and_stall, Timeouts(read=0.05), "No complete response"),
}


@pytest.mark.parametrize("fault", SLOW)
async def test_a_slow_answer_is_a_timeout(fault: str) -> None:
    """Whether it drips or stalls, a limit ends it; the slot is free again."""
    play, timeouts, text = SLOW[fault]
    async with raw_server(play) as server, patient_session(server, timeouts=timeouts) as session:
        error = await failure_of(session)
        assert type(error) is APITimeoutError
        assert text in str(error)
        assert error.attempts == 2
        server.play_on(answer())
        assert (await session.get_kpis(UNKNOWN_ID)).total_calls == 1


async def test_the_deadline_bounds_all_tries() -> None:
    """A first try that uses it up is the last one; that time was really spent."""
    timeouts = Timeouts(deadline=0.05)
    async with raw_server(drip) as server, open_session(server, timeouts=timeouts) as session:
        error = await failure_of(session)
    assert type(error) is APITimeoutError
    assert error.attempts == len(server.requests) == 1
    assert 0.05 <= (error.elapsed or 0) < 5


async def test_a_refused_connection() -> None:
    """Nobody listens: the reason is the operating system's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with patient_session(None, base_url=base_url) as session:
        error = await failure_of(session)
    assert type(error) is APIConnectionError
    assert (error.attempts, error.status) == (2, None)
    assert "Could not connect" in str(error)


async def test_a_connection_that_is_never_accepted() -> None:
    """A full backlog swallows the attempt; the limit on connecting ends it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        with socket.create_connection(address, timeout=1):  # the one that fits
            timeouts = Timeouts(connect=0.05)
            async with patient_session(
                None, base_url=f"http://127.0.0.1:{address[1]}", timeouts=timeouts
            ) as session:
                error = await failure_of(session)
    assert type(error) is APITimeoutError
    assert (error.attempts, "Connecting took too long" in str(error)) == (2, True)


class NoNames(AbstractResolver):
    """A resolver that knows no name."""

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> Any:
        raise OSError(None, "no such name")

    async def close(self) -> None:
        pass


async def test_a_name_that_does_not_resolve() -> None:
    """The error does not blame the connection; a connector that was handed in stays open."""
    async with aiohttp.TCPConnector(resolver=NoNames()) as connector:
        async with patient_session(None, base_url="https://nowhere.invalid", connector=connector) as session:
            error = await failure_of(session)
        assert not connector.closed
    assert type(error) is APIConnectionError
    assert (error.attempts, "could not be resolved" in str(error)) == (2, True)


async def test_a_connector_that_its_owner_closed(futureagi_server: StandInServer) -> None:
    """Requests under way, queued in it and still to come end in an error of ours."""
    futureagi_server.stall(times=FOREVER)
    connector = aiohttp.TCPConnector(limit=1)
    async with patient_session(futureagi_server, max_in_flight=3, connector=connector) as session:
        tasks = [asyncio.create_task(session.get_kpis(UNKNOWN_ID)) for _ in range(3)]
        await wait_until(lambda: futureagi_server.in_flight == 1)
        await connector.close()
        outcomes = await asyncio.gather(*tasks, session.get_kpis(UNKNOWN_ID), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {SessionMisuseError}


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [("unknown authority", "local issuer"), ("another name", "not valid for 'localhost'")],
)
async def test_a_server_that_can_not_be_trusted(trouble: str, reason: str) -> None:
    """Certificates are checked, and a failed check is never tried again."""
    tls, trusting = tls_contexts("other.invalid" if trouble == "another name" else "localhost")
    context = None if trouble == "unknown authority" else trusting
    async with (
        raw_server(answer(), tls=tls) as server,
        patient_session(server, ssl_context=context) as session,
    ):
        error = await failure_of(session)
    assert type(error) is TLSError
    assert (error.attempts, server.requests) == (1, [])
    assert reason in str(error)


async def test_a_server_that_speaks_no_tls(futureagi_server: StandInServer) -> None:
    """A plain answer to a handshake is no accident either."""
    base_url = futureagi_server.base_url.replace("http:", "https:")
    async with patient_session(futureagi_server, base_url=base_url) as session:
        error = await failure_of(session)
    assert type(error) is TLSError
    assert (error.attempts, "the handshake failed" in str(error)) == (1, True)


async def test_a_second_answer_to_one_request_is_thrown_away() -> None:
    """Left-over bytes are never taken for the next request's answer."""
    twice = raw_server(send(answer_bytes(1) + answer_bytes(666), close=False), answer(b'{"total_calls": 2}'))
    async with twice as server, patient_session(server) as session:
        assert (await session.get_kpis(UNKNOWN_ID)).total_calls == 1
        assert (await session.get_kpis(UNKNOWN_ID)).total_calls == 2


def answer_bytes(total_calls: int) -> bytes:
    body = b'{"total_calls": %d}' % total_calls
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


async def test_cookies_are_not_kept() -> None:
    """What a server sets is not sent back, to named hosts neither."""
    async with raw_server(answer(head="Set-Cookie: session=1; Path=/\r\n")) as server:
        base_url = f"http://localhost:{server.port}"
        async with patient_session(server, base_url=base_url) as session:
            for _ in range(2):
                await session.get_kpis(UNKNOWN_ID)
    assert len(server.requests) == 2
    assert b"cookie" not in b"".join(server.requests).lower()


async def test_connections_are_used_again() -> None:
    """Requests in a row go over one connection, which ends with the session."""
    async with raw_server(answer()) as server:
        async with patient_session(server) as session:
            for _ in range(5):
                await session.get_kpis(UNKNOWN_ID)
        await server.wait_until_left()
    assert (len(server.requests), server.connections) == (5, 1)
