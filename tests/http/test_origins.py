"""Keys never leave their origin: by redirects, by what a page calls ``next``, or by proxies and netrc."""

import json
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from futureagi_async import (
    AgentVersionCalls,
    APIConnectionError,
    CallSource,
    RedirectError,
    RunTestCalls,
    Session,
    TestExecutionCalls,
    column,
)
from futureagi_async.testing import StandInServer
from tests.support.raw_server import raw_server
from tests.support.sessions import (
    FOREVER,
    UNKNOWN_ID,
    FakeClock,
    RawServer,
    answer,
    open_session,
    read_body,
    respond,
    rows_of,
    send,
    tls_contexts,
)

pytestmark = pytest.mark.anyio

PATH = f"/simulate/test-executions/{UNKNOWN_ID}/kpis/"
PLACES = {
    "the same": "http://127.0.0.1:{own}" + PATH,
    "another path": "http://127.0.0.1:{own}/elsewhere/?token=private",
    "a relative path": "/elsewhere/?token=private",
    "a relative path of another host": "//127.0.0.1:{trap}/elsewhere/",
    "another port": "http://127.0.0.1:{trap}/elsewhere/?token=private",
    "another name": "http://localhost:{trap}/elsewhere/",
    "another scheme": "https://127.0.0.1:{trap}/elsewhere/",
    "a user at another host": "http://127.0.0.1:{own}@localhost:{trap}/elsewhere/",
    "no host at all": "http:///elsewhere/",
    "no address at all": "http://[::1",
    "nothing": "",
}


@pytest.mark.parametrize(
    ("place", "status"),
    [*((place, 302) for place in PLACES), *(("another port", status) for status in (301, 303, 307, 308))],
)
async def test_a_redirect_is_an_error(futureagi_server: StandInServer, place: str, status: int) -> None:
    """One request, to the server it was meant for; the message names a host at most."""
    own = futureagi_server.base_url.rpartition(":")[2]
    async with raw_server(answer()) as trap:
        location = PLACES[place].format(own=own, trap=trap.port)
        futureagi_server.fail(times=FOREVER, status=status, headers={"Location": location})
        async with open_session(futureagi_server, clock=FakeClock()) as session:
            with pytest.raises(RedirectError, match="Redirects are not followed") as caught:
                await session.get_kpis(UNKNOWN_ID)
        assert (trap.connections, len(futureagi_server.requests)) == (0, 1)
    error = caught.value
    assert (error.status, error.attempts, error.retryable) == (status, 1, False)
    assert "private" not in str(error)
    assert "elsewhere" not in str(error)


async def test_a_redirect_of_its_own_slash_is_an_error(futureagi_server: StandInServer) -> None:
    """As the vendor's server sends them, before it looks at the keys."""
    body = b""
    futureagi_server.respond(body=body, status=301, headers={"Location": PATH}, content_type="text/html")
    async with open_session(futureagi_server) as session:
        with pytest.raises(RedirectError, match="another path of the same server"):
            await session.get_kpis(UNKNOWN_ID)
    assert len(futureagi_server.requests) == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_redirect_from_https_is_an_error(scheme: str) -> None:
    """The worst of them would show the keys to the network."""
    tls, trusting = tls_contexts()
    async with raw_server(answer()) as trap:
        moved = (
            f"HTTP/1.1 302 Found\r\nLocation: {scheme}://localhost:{trap.port}/\r\nContent-Length: 0\r\n\r\n"
        )
        async with raw_server(send(moved.encode()), tls=tls) as server:
            async with open_session(server, ssl_context=trusting) as session:
                with pytest.raises(RedirectError, match=f"redirects to {scheme}://localhost"):
                    await session.get_kpis(UNKNOWN_ID)
            assert (trap.connections, len(server.requests)) == (0, 1)


async def test_a_redirect_ends_a_bulk_read(futureagi_server: StandInServer) -> None:
    """Where it is not collected it is raised as it is, and nothing else is asked."""
    futureagi_server.fail(times=FOREVER, status=302, headers={"Location": "/login/"})
    async with open_session(futureagi_server, clock=FakeClock()) as session:
        with pytest.raises(RedirectError):
            await session.fetch_calls([RunTestCalls(futureagi_server.run_test_ids[0])])
    assert len(futureagi_server.requests) == 1


NEXT = {
    "another server": "http://localhost:{trap}/simulate/?page=2",
    "another scheme": "https://localhost:{trap}/simulate/?page=2",
    "another path": "/admin/delete-everything/?page=2",
    "no address": "javascript:alert(1)",
    "a file": "file:///etc/passwd",
    "huge": "http://localhost:{trap}/?" + "x" * 1_000_000,
    "not sendable": "http://localhost:{trap}/\r\nX-Injected: 1\u0000",
}


@pytest.mark.quick(6)
@pytest.mark.parametrize("make", [RunTestCalls, AgentVersionCalls, TestExecutionCalls])
@pytest.mark.parametrize("hostile", NEXT)
async def test_a_hostile_next_is_never_followed(server: StandInServer, hostile: str, make: type) -> None:
    """The list is read to its end all the same, from addresses that are built here."""
    async with raw_server(answer()) as trap:
        source, path = make_list(server, make)
        link = NEXT[hostile].format(trap=trap.port)
        respond(server, path, read_body(server, f"{path}?limit=20") | {"next": link})
        async with open_session(server) as session:
            result = await session.fetch_calls([source], page_size=20)
        assert trap.connections == 0
    assert sorted(call.id for call in result.calls) == sorted(rows_of(server, source))
    assert result.report.complete
    assert {request.path for request in server.requests} == {path}
    assert {key for request in server.requests for key in request.query} == {"page", "limit"}


def make_list(server: StandInServer, make: type) -> tuple[CallSource, str]:
    """Make a list of 50 calls, and say where it is."""
    if make is AgentVersionCalls:
        agent_id, version_id = server.add_agent_version(50)
        path = f"/simulate/agent-definitions/{agent_id}/versions/{version_id}/call-executions/"
        return AgentVersionCalls(agent_id, version_id), path
    if make is RunTestCalls:
        run_test_id = server.add_run_test(50)
        return RunTestCalls(run_test_id), f"/simulate/run-tests/{run_test_id}/call-executions/"
    execution_id = server.add_test_execution(50)
    return TestExecutionCalls(execution_id), f"/simulate/test-executions/{execution_id}/"


PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the machine's own proxies."""
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


async def test_a_proxy_that_was_asked_for(no_proxies: None) -> None:
    """It gets the whole address, and the server nothing but through it."""
    async with raw_server(answer()) as proxy, raw_server(answer()) as server:
        async with open_session(server, proxy=proxy.base_url) as session:
            assert (await session.get_kpis(UNKNOWN_ID)).total_calls == 1
        assert server.requests == []
        assert proxy.requests[0].startswith(f"GET {server.base_url}{PATH} HTTP/1.1\r\n".encode())


@pytest.mark.parametrize("from_environment", [False, True])
async def test_a_proxy_before_an_https_server_sees_no_keys(
    no_proxies: None, monkeypatch: pytest.MonkeyPatch, from_environment: bool
) -> None:
    """It is asked for a tunnel; whether it gives one or not, it learns the host and no more."""
    refusal = send(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
    async with raw_server(refusal) as proxy:
        options: dict[str, Any] = {"proxy": proxy.base_url}
        if from_environment:
            monkeypatch.setenv("https_proxy", proxy.base_url)
            options = {"trust_env": True}
        server = "https://api.invalid"
        async with open_session(None, base_url=server, clock=FakeClock(), **options) as session:
            with pytest.raises(APIConnectionError, match="The proxy could not be used") as caught:
                await session.get_kpis(UNKNOWN_ID)
    assert caught.value.attempts == len(proxy.requests) == 4
    for request in proxy.requests:
        assert request.startswith(b"CONNECT api.invalid:443 HTTP/1.1\r\n")
        assert b"key" not in request.lower()


@pytest.mark.parametrize("trust_env", [False, True])
async def test_proxies_and_netrc_of_the_machine(
    futureagi_server: StandInServer,
    no_proxies: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    trust_env: bool,
) -> None:
    """Proxies are used where that was asked for; netrc never, its password would displace the keys."""
    (tmp_path / "netrc").write_text("default login someone password something\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with raw_server(answer()) as proxy:
        monkeypatch.setenv("http_proxy", proxy.base_url)
        async with open_session(futureagi_server, trust_env=trust_env) as session:
            await session.get_kpis(futureagi_server.test_execution_ids[0])
    heads = [str(request.headers).encode() for request in futureagi_server.requests] + proxy.requests
    assert (len(proxy.requests), len(futureagi_server.requests)) == (int(trust_env), int(not trust_env))
    assert all(b"X-Api-Key" in head and b"Authorization" not in head for head in heads)


ROOT = Path(__file__).parents[2]
HEADER_INJECTIONS = {
    "CR LF": "key\r\nX-Admin: 1",
    "LF": "key\nX-Admin: 1",
    "CR": "key\rX-Admin: 1",
    "NUL": "key\x00",
    "a tab": "key\t1",
    "a blank": "key 1",
    "a blank at the end": "key ",
    "an escape": "\x1b[31mkey",
    "DEL": "key\x7f",
    "no ASCII": "kéy",
    "nothing": "",
    "too much": "k" * 513,
}
PATH_INJECTIONS = [
    "../kpis",
    "..",
    ".",
    "a/../../admin",
    "a?x=1",
    "a#f",
    "a\nb",
    "",
    "/",
    "//host.invalid/",
    "%2e%2e%2fadmin",
    "a%2fb",
    "a;b",
    "a\\..\\b",
    "http://host.invalid/",
    f"{UNKNOWN_ID}/../{UNKNOWN_ID}",
    f"{UNKNOWN_ID}\x00",
    f"{UNKNOWN_ID}?x=1",
]
QUERIES = [
    "a&page=9",
    "a=b&limit=1",
    "a#b",
    "a?b",
    "%2f%00",
    "a+b c",
    "a\r\nX-Admin: 1",
    "Grüße 你好 🙂",
    "'; DROP TABLE x; --",
    '"}],"x":[{"',
    "../../",
]


@pytest.mark.parametrize("place", ["api_key", "secret_key"])
@pytest.mark.parametrize("kind", HEADER_INJECTIONS)
def test_keys_can_not_add_a_header(place: str, kind: str) -> None:
    """What can't be one header value is refused when the session is made, without quoting it."""
    keys = {"api_key": "good", "secret_key": "good"} | {place: HEADER_INJECTIONS[kind]}
    with pytest.raises(ValueError, match=place) as caught:
        Session(**keys)
    assert repr(keys[place]) not in repr(caught.value)


@pytest.mark.parametrize("wrong", PATH_INJECTIONS)
async def test_ids_can_not_lead_to_another_path(wrong: str) -> None:
    """Only UUIDs are ids; nothing is sent."""
    async with RawServer(answer()) as server, open_session(server) as session:
        with pytest.raises(ValueError, match="call_execution_id"):
            await session.get_call_execution(wrong)
        with pytest.raises(ValueError, match="run_test_id"):
            RunTestCalls(wrong)
    assert server.requests == []


@pytest.mark.parametrize("text", QUERIES)
async def test_texts_stay_in_their_parameter(text: str) -> None:
    """Whatever is searched for or filtered by arrives as it is, and changes no other parameter."""
    page = b'{"count": 0, "results": []}'
    sources = [
        RunTestCalls(UNKNOWN_ID, search=text),
        TestExecutionCalls(UNKNOWN_ID, filters=[column("agent_definition").equals(text)]),
    ]
    async with RawServer(answer(page)) as server, open_session(server) as session:
        for source in sources:
            await session.get_page(source, page=1, limit=7)
    assert len(server.requests) == 2
    for request, source in zip(server.requests, sources, strict=True):
        line, *headers = request.decode("ascii").split("\r\n")
        assert not [header for header in headers if header.lower().startswith("x-admin")]
        target = urlsplit(line.split(" ")[1])
        query = dict(parse_qsl(target.query, keep_blank_values=True))
        assert target.path.startswith("/simulate/")
        assert (query["page"], query["limit"]) == ("1", "7")
        if isinstance(source, RunTestCalls):
            assert query["search"] == text
        else:
            (condition,) = json.loads(query["filters"])
            assert condition["filter_config"]["filter_value"] in (text, [text])


@pytest.mark.parametrize("digits", [5_000, 100_000])
async def test_huge_numbers_cost_nothing(digits: int) -> None:
    """Python takes seconds to read a number of so many digits; a figure of that size is no figure."""
    body = b'{"total_calls": ' + b"9" * digits + b"}"
    async with RawServer(answer(body)) as server, open_session(server, clock=FakeClock()) as session:
        began = time.perf_counter()
        kpis = await session.get_kpis(UNKNOWN_ID)
    assert kpis.total_calls is None
    assert "total_calls" in kpis.misfits
    assert time.perf_counter() - began < 1


async def test_an_answer_names_no_address_to_ask(futureagi_server: StandInServer) -> None:
    """Addresses in records and pages are data: reading a list asks the list, and nothing else."""
    async with RawServer(answer()) as trap:
        row = {"id": "a", "timestamp": "2026-02-01T10:00:00Z", "recording_url": f"{trap.base_url}/a.wav"}
        page = {"count": 1, "next": f"{trap.base_url}/?page=2", "previous": trap.base_url, "results": [row]}
        respond(futureagi_server, "run-tests", page, times=FOREVER)
        async with open_session(futureagi_server, clock=FakeClock()) as session:
            result = await session.fetch_calls([RunTestCalls(UNKNOWN_ID)])
        assert result.calls[0].audio_url == f"{trap.base_url}/a.wav"
        assert trap.connections == 0


def test_the_policy_names_files_that_test_it() -> None:
    """Each promise names the tests that hold it to its word, and they are there."""
    text = (ROOT / "SECURITY.md").read_text()
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", text))
    assert len(named) >= 6
    assert not [name for name in named if not (ROOT / name).exists()]
