"""TLS with certificates of our own making, and proxies before it."""

import asyncio
import base64
import pprint
import ssl
from typing import Any

import attrs
import pytest
import trustme

from futureagi_async import FutureAGIError, TLSError
from futureagi_async.events import RequestSent
from tests.faults.quiet import raw_server
from tests.servers import (
    UNKNOWN_ID,
    FakeClock,
    Play,
    answer,
    make_session,
    open_session,
    tls_contexts,
)

pytestmark = pytest.mark.anyio

PASSWORD = "c4n4ry-proxy:pass/word"
QUOTED = "someone:c4n4ry-proxy%3Apass%2Fword"
TOLD = b"Proxy-Authorization: Basic " + base64.b64encode(f"someone:{PASSWORD}".encode())


@attrs.define(frozen=True)
class Both:
    """TLS contexts of a server and a client that want each other's certificates."""

    server: ssl.SSLContext
    client: ssl.SSLContext


def both_sides(*, known_client: bool) -> Both:
    """Make contexts for a server that asks for a client certificate, and a client that may have one."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.create_default_context()
    authority.configure_trust(client)
    if known_client:
        authority.issue_cert("client@example.invalid").configure_cert(client)
    return Both(server, client)


async def test_a_private_authority() -> None:
    """Trusted where its certificate is given, over one connection."""
    tls, trusting = tls_contexts()
    async with raw_server(answer(), tls=tls) as server, open_session(server, ssl_context=trusting) as session:
        for _ in range(3):
            assert (await session.get_kpis(UNKNOWN_ID)).total_calls == 1
    assert (len(server.requests), server.connections) == (3, 1)


async def test_a_client_certificate() -> None:
    """A server that asks for one gets it."""
    both = both_sides(known_client=True)
    async with (
        raw_server(answer(), tls=both.server) as server,
        open_session(server, ssl_context=both.client) as session,
    ):
        assert (await session.get_kpis(UNKNOWN_ID)).total_calls == 1


async def test_a_missing_client_certificate() -> None:
    """An error of ours, and no answer; TLS 1.3 tells of it only after the handshake."""
    both = both_sides(known_client=False)
    async with (
        raw_server(answer(), tls=both.server) as server,
        open_session(server, ssl_context=both.client, clock=FakeClock()) as session,
    ):
        with pytest.raises(FutureAGIError):
            await session.get_kpis(UNKNOWN_ID)
    assert server.requests == []


async def test_a_server_that_can_not_be_trusted_stops_a_job() -> None:
    """One of a hundred ids finds out; at most those that were under way with it, too."""
    tls, _ = tls_contexts()
    told: list[object] = []
    ids = [f"00000000-0000-4000-8000-{number:012}" for number in range(100)]
    async with (
        raw_server(answer(), tls=tls) as server,
        open_session(server, observers=[told.append]) as session,
    ):
        outcomes = await session.fetch_call_executions(ids)
    assert [outcome.id for outcome in outcomes] == ids
    assert {type(outcome.error) for outcome in outcomes} == {TLSError}
    assert sum(isinstance(event, RequestSent) for event in told) <= 16


@pytest.mark.parametrize("wrong", [False, True, "no", 0])
def test_checking_can_not_be_switched_off(wrong: Any) -> None:
    """No boolean does that: whoever wants it has to build a context that says so."""
    with pytest.raises(TypeError, match="ssl_context must be a SSLContext"):
        make_session(None, base_url="https://localhost", ssl_context=wrong)


def tunnel_to(port: int) -> Play:
    """Open a tunnel, as a proxy does when asked to CONNECT."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        finally:
            writer.transport.abort()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

    return play


async def test_a_proxy_before_an_https_server() -> None:
    """It learns the host and its own password; the server learns all but the password."""
    tls, trusting = tls_contexts()
    async with raw_server(answer(), tls=tls) as server, raw_server(tunnel_to(server.port)) as proxy:
        options = {"proxy": proxy.base_url.replace("//", f"//{QUOTED}@"), "ssl_context": trusting}
        async with open_session(server, **options) as session:
            for _ in range(2):
                assert (await session.get_kpis(UNKNOWN_ID)).total_calls == 1
    (asked,) = proxy.requests
    assert asked.startswith(f"CONNECT localhost:{server.port} HTTP/1.1\r\n".encode())
    assert TOLD in asked
    assert b"key" not in asked.lower()
    assert len(server.requests) == 2
    assert all(b"X-Secret-Key: raw-secret-key" in request for request in server.requests)
    assert b"proxy-auth" not in b"".join(server.requests).lower()


async def test_a_proxy_before_an_http_server() -> None:
    """It is told its password with each request; keys go in clear to this machine's servers only."""
    async with (
        raw_server(answer()) as server,
        raw_server(answer()) as proxy,
        open_session(server, proxy=proxy.base_url.replace("//", f"//{QUOTED}@")) as session,
    ):
        assert (await session.get_kpis(UNKNOWN_ID)).total_calls == 1
    assert server.requests == []
    assert TOLD in proxy.requests[0]


async def test_a_proxys_password_is_shown_nowhere() -> None:
    """Neither by the session's parts nor by an error."""
    async with raw_server(answer()) as gone:
        proxy = gone.base_url.replace("//", f"//{QUOTED}@")
    async with open_session(None, base_url="https://api.invalid", proxy=proxy, clock=FakeClock()) as session:
        with pytest.raises(FutureAGIError) as caught:
            await session.get_kpis(UNKNOWN_ID)
        transport = session._requester._transport
        parts = [session, session._requester, transport, transport._proxy]
        names = [(part, name) for part in parts for name in dir(part) if not name.startswith("__")]
        shown = pprint.pformat([getattr(part, name) for part, name in names])
        shown += "".join(map(repr, [*parts, caught.value, vars(caught.value), vars(transport)]))
    assert "127.0.0.1" in shown
    assert "c4n4ry" not in shown
    assert base64.b64encode(f"someone:{PASSWORD}".encode()).decode() not in shown


@pytest.mark.parametrize(
    "wrong",
    ["c4n4ry@host", "ftp://c4n4ry@host", "http://c4n4ry@", "http://c4n4ry@host:99999"],
)
def test_a_wrong_proxy(wrong: str) -> None:
    """Refused before any request, without quoting what may hold a password."""
    with pytest.raises(ValueError, match="proxy must be a URL") as caught:
        make_session(None, base_url="https://localhost", proxy=wrong)
    assert "c4n4ry" not in repr(caught.value)
