"""Proxies and certificate authorities of the commands: options, the environment, and what errors say."""

import socket
import ssl
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import trustme
from anyio.to_thread import run_sync

from tests.support.commands import environment, run_command
from tests.support.sessions import KPIS_BODY, UNKNOWN_ID, RawServer, answer, send

pytestmark = pytest.mark.anyio

KEYS = {"FI_API_KEY": "some-api-key", "FI_SECRET_KEY": "some-secret-key"}
PATH = f"/simulate/test-executions/{UNKNOWN_ID}/kpis/"


async def run_kpis(folder: Path, *options: str, **variables: str) -> tuple[int, str, str]:
    """Run ``kpis --json`` in a process of its own."""
    command = ("kpis", UNKNOWN_ID, "--no-check", "--json", *options)
    finished = await run_sync(
        partial(run_command, *command, variables=environment(**KEYS, **variables), folder=folder)
    )
    return finished.returncode, finished.stdout, finished.stderr


@pytest.fixture
async def proxy() -> AsyncIterator[RawServer]:
    """Run a proxy that answers everything itself."""
    async with RawServer(answer()) as running:
        yield running


@pytest.mark.quick(2)
@pytest.mark.parametrize("how", ["--proxy", "http_proxy", "HTTP_PROXY", "ALL_PROXY"])
async def test_requests_go_through_the_proxy(proxy: RawServer, tmp_path: Path, how: str) -> None:
    """By the option or by the environment, as curl does, the proxy gets the whole address."""
    server = "http://127.0.0.1:9"
    if how.startswith("--"):
        code, out, err = await run_kpis(tmp_path, how, proxy.base_url, FI_BASE_URL=server)
    else:
        code, out, err = await run_kpis(tmp_path, FI_BASE_URL=server, **{how: proxy.base_url})
    assert (code, out) == (0, KPIS_BODY.decode() + "\n"), err
    assert [head.split(b" ")[1] for head in proxy.requests] == [f"{server}{PATH}".encode()]


@pytest.mark.slow
async def test_an_https_server_is_asked_for_by_a_tunnel(tmp_path: Path) -> None:
    """HTTPS_PROXY is asked for a tunnel and sees no keys; a 407 says how to give a password."""
    refusal = send(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
    async with RawServer(refusal) as proxy:
        url = "https://api.invalid"
        code, _, err = await run_kpis(tmp_path, FI_BASE_URL=url, HTTPS_PROXY=proxy.base_url)
        assert code == 1
        assert err.startswith("error: The proxy could not be used: it answered 407, since it wants a user")
        assert proxy.requests
        assert all(head.startswith(b"CONNECT api.invalid:443 ") for head in proxy.requests)
        assert not any(b"some-" in head for head in proxy.requests)


async def test_a_proxy_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The error names the proxy's address and the system's reason, and no password."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    code, _, err = await run_kpis(tmp_path, HTTPS_PROXY=f"http://someone:canary@127.0.0.1:{port}")
    assert code == 1
    why = f"127.0.0.1:{port} did not accept a connection (Connection refused)"
    assert err.startswith(f"error: The proxy could not be used: {why}. (GET ")
    assert "canary" not in err


@pytest.mark.quick(1)
@pytest.mark.parametrize("exempt", ["127.0.0.1", "127.0.0.0/8", "*", "example.com,127.0.0.1:{port}"])
async def test_exemptions_are_respected(proxy: RawServer, tmp_path: Path, exempt: str) -> None:
    """What NO_PROXY names is asked directly."""
    async with RawServer(answer()) as server:
        variables = {"NO_PROXY": exempt.format(port=server.port), "HTTP_PROXY": proxy.base_url}
        code, _, err = await run_kpis(tmp_path, FI_BASE_URL=server.base_url, **variables)
        assert (code, err) == (0, "")
        assert len(server.requests) == 1
    assert not proxy.requests


@pytest.mark.slow
async def test_the_demo_needs_no_proxy(proxy: RawServer, tmp_path: Path) -> None:
    """The stand-in is on this machine, whatever the environment says; options on others contradict it."""
    variables = environment(HTTP_PROXY=proxy.base_url, ALL_PROXY=proxy.base_url)
    run_demo = partial(run_command, "kpis", "--demo", variables=variables, folder=tmp_path)
    assert (await run_sync(run_demo)).returncode == 0
    for option in ("--proxy", "--ca-file"):
        finished = await run_sync(run_demo, option, proxy.base_url)
        assert (finished.returncode, option in finished.stderr) == (2, True)
    assert not proxy.requests


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("options", "variables", "named"),
    [
        (["--proxy", "socks5://u:canary@h:1"], {}, "--proxy"),
        (["--proxy", "nonsense"], {}, "--proxy"),
        ([], {"HTTPS_PROXY": "socks5://u:canary@h:1"}, "HTTPS_PROXY"),
        ([], {"all_proxy": "http://u:canary@h:port"}, "all_proxy"),
    ],
)
async def test_a_wrong_proxy_is_named_without_its_password(
    tmp_path: Path, options: list[str], variables: dict[str, str], named: str
) -> None:
    """The option or the variable that is wrong is named, with exit code 2."""
    code, out, err = await run_kpis(tmp_path, *options, **variables)
    assert (code, out) == (2, "")
    assert err == f"error: {named} must be a URL such as http://proxy.example:3128.\n"


@pytest.fixture
async def private() -> AsyncIterator[tuple[RawServer, trustme.CA]]:
    """Run a server whose certificate is of an authority that nobody knows."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    async with RawServer(answer(), tls=context) as server:
        yield server, authority


async def test_a_private_authority_is_trusted_on_request(
    private: tuple[RawServer, trustme.CA], tmp_path: Path
) -> None:
    """Without --ca-file the error names it; with it the server is read."""
    server, authority = private
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    code, _, err = await run_kpis(tmp_path, FI_BASE_URL=server.base_url)
    assert code == 1
    assert err.startswith("error: The TLS connection can't be trusted: ")
    assert "pass --ca-file FILE" in err
    assert not server.requests
    code, out, err = await run_kpis(tmp_path, "--ca-file", "ca.pem", FI_BASE_URL=server.base_url)
    assert (code, out) == (0, KPIS_BODY.decode() + "\n"), err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing.pem", "error: --ca-file: can't read missing.pem: No such file or directory.\n"),
        ("empty.pem", "error: --ca-file: empty.pem has no certificate in PEM format.\n"),
        (".", "error: --ca-file: can't read .: Is a directory.\n"),
    ],
)
async def test_a_file_without_authorities_is_refused(tmp_path: Path, name: str, said: str) -> None:
    """A file that is not there, or holds no certificate, is one line and exit code 2."""
    (tmp_path / "empty.pem").write_text("nothing\n")
    code, _, err = await run_kpis(tmp_path, "--ca-file", name)
    assert (code, err) == (2, said)


async def test_an_address_that_nobody_answers_says_what_to_check(tmp_path: Path) -> None:
    """The error names the address and the reason, and the options to look at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    code, _, err = await run_kpis(tmp_path, "--base-url", f"http://127.0.0.1:{port}")
    assert code == 1
    advice = "Check the network, --base-url (FI_BASE_URL), and whether a proxy is needed (--proxy URL)."
    assert err.startswith(f"error: Could not connect to 127.0.0.1:{port}: Connection refused. {advice} (GET ")


async def test_a_wrong_address_is_called_by_where_it_came_from(tmp_path: Path) -> None:
    """The variable is named where the variable was wrong."""
    code, _, err = await run_kpis(tmp_path, FI_BASE_URL="ftp://x")
    assert (code, err) == (
        2,
        "error: FI_BASE_URL must be an http(s) URL such as https://api.futureagi.com.\n",
    )
