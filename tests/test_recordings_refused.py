"""Recordings that can't be had: each is told with its reason, and none stops the others."""

import socket
from pathlib import Path

import pytest

from futureagi_async import APIConnectionError
from futureagi_async._http.downloads import Downloader
from futureagi_async._sansio.downloads import is_public
from futureagi_async.export.audio import Recording
from tests.audio_server import (
    CALL,
    OTHER,
    SOUND,
    AudioServer,
    Served,
    digest,
    download,
    names_in,
    redirect,
)
from tests.servers import FakeClock, Play, send, stay_silent

pytestmark = pytest.mark.anyio

CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2000\r\n" + bytes(0x2000) + b"\r\n0\r\n\r\n"
WRONG: dict[str, tuple[Served | Play, str]] = {
    "missing": (send(b"HTTP/1.1 404 N\r\nContent-Length: 0\r\n\r\n"), "The server answered 404."),
    "forbidden": (send(b"HTTP/1.1 403 N\r\nContent-Length: 0\r\n\r\n"), "The server answered 403."),
    "always out": (send(b"HTTP/1.1 503 N\r\nContent-Length: 0\r\n\r\n"), "The server answered 503."),
    "a rest unasked": (
        send(b"HTTP/1.1 206 P\r\nContent-Range: bytes 5-7/8\r\nContent-Length: 3\r\n\r\nabc"),
        "The server answered 206.",
    ),
    "a page": (Served(b"<html>", kind="text/html; charset=utf-8"), "What the server sent is not audio."),
    "an error": (Served(b"{}", kind="application/json"), "What the server sent is not audio."),
    "compressed": (Served(b"x", extra="Content-Encoding: gzip\r\n"), "The server sent it compressed"),
    "empty": (Served(b""), "The server sent nothing."),
    "too large": (Served(SOUND), "It is larger than 5,000 bytes."),
    "too large, told": (
        send(b"HTTP/1.1 200 OK\r\nContent-Length: 5001\r\n\r\n", close=False),
        "larger than 5,000",
    ),
    "too large, untold": (send(CHUNKS), "It is larger than 5,000 bytes."),
    "no http": (send(b"hello\r\n\r\n"), "What the server sent is not HTTP."),
    "closed": (send(b""), "The server closed the connection."),
    "slow": (stay_silent, "It took longer than 0.2 s."),
    "a circle": (redirect("/x"), "The server redirects more than 5 times."),
    "nowhere": (redirect(""), "The server redirects without naming an address."),
    "another scheme": (redirect("file:///etc/passwd"), "The recording's address is not an http(s) URL."),
    "a user": (redirect("http://me:canary@127.0.0.1/"), "address holds a user's name or password."),
    "half a host": (redirect("http://[canary/"), "The "),
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("case", WRONG)
async def test_what_fails_is_told_and_the_rest_goes_on(tmp_path: Path, case: str) -> None:
    """The reason is one sentence without the address; nothing of the failure stays on the disk."""
    file, said = WRONG[case]
    async with AudioServer(x=file, good=b"sound") as server:
        wanted = [
            Recording(CALL, "combined", server.url("x", "?sig=canary")),
            Recording(OTHER, "combined", server.url("good")),
        ]
        told = await download(wanted, tmp_path, at_once=1, max_file_bytes=5000, max_file_seconds=0.2)
    bad, good = told
    assert bad.error is not None
    assert said in bad.error
    assert "canary" not in bad.error
    assert (bad.path, bad.sha256, bad.bytes, bad.url_host) == (None, None, 0, "127.0.0.1")
    assert good.error is None
    assert names_in(tmp_path) == {f"{OTHER}-combined.mp3"}


async def test_passing_troubles_are_tried_again(tmp_path: Path) -> None:
    """A server that is busy or out for the moment gets a pause and another try, a missing file does not."""
    clock = FakeClock()
    answers = [b"HTTP/1.1 %d S\r\nContent-Length: 0\r\n\r\n" % status for status in (429, 502)]

    async def play(reader: object, writer: object) -> None:
        if answers:
            await send(answers.pop(0))(reader, writer)  # type: ignore[arg-type]
        else:
            await Served(SOUND).answer({}, writer)  # type: ignore[arg-type]

    async with AudioServer(a=play, b=WRONG["missing"][0]) as server:
        told = await download([Recording(CALL, "combined", server.url("a"))], tmp_path, clock=clock)
        assert told[0].sha256 == digest(SOUND)
        assert clock.slept == [1.0, 2.0]
        before = len(server.requests)
        await download([Recording(CALL, "stereo", server.url("b"))], tmp_path, clock=clock)
        assert len(server.requests) == before + 1


async def test_redirects_are_followed_a_few_times(tmp_path: Path) -> None:
    """Five hops of every kind lead to the file, relative ones too."""
    hops = {f"h{hop}": redirect(f"/h{hop + 1}", status) for hop, status in enumerate((301, 302, 303, 307))}
    async with AudioServer(**hops, h5=SOUND) as server:
        server.files["h4"] = redirect(f"{server.base_url}/h5", 308)
        told = await download([Recording(CALL, "combined", server.url("h0"))], tmp_path)
        assert len(server.requests) == 6
    assert told[0].sha256 == digest(SOUND)


async def test_a_host_that_is_out_is_not_asked_for_ever(tmp_path: Path) -> None:
    """After many failures in a row the rest of that host's recordings fail at once; other hosts go on."""
    clock = FakeClock()
    calls = [f"00000000-0000-4000-8000-{number:012}" for number in range(200)]
    busy = send(b"HTTP/1.1 503 S\r\nContent-Length: 0\r\n\r\n")
    async with AudioServer(a=busy) as out, AudioServer(b=SOUND) as fine:
        wanted = [
            Recording(call, "combined", out.url("a").replace("127.0.0.1", "localhost")) for call in calls
        ]
        wanted.append(Recording(CALL, "combined", fine.url("b")))
        told = await download(wanted, tmp_path, clock=clock)
        assert len(told) == len(wanted)
        assert 300 <= len(out.requests) <= 312, "a hundred, with their tries, and what was under way"
    assert sum("Not asked for: " in (file.error or "") for file in told) > 90
    assert [file.call_id for file in told if file.error is None] == [CALL]


async def test_a_sixth_redirect_is_not_followed(tmp_path: Path) -> None:
    """A circle costs six requests and no more."""
    async with AudioServer(a=redirect("/a")) as server:
        await download([Recording(CALL, "combined", server.url("a"))], tmp_path)
        assert len(server.requests) == 6


IDS = ["", "../../etc/passwd", "1b9d6bcd", CALL + "/x", f"{{{CALL}}}", CALL.replace("-", "")]


@pytest.mark.parametrize("call_id", IDS)
async def test_ids_that_are_no_uuids_name_no_file(tmp_path: Path, call_id: str) -> None:
    """What a server calls an id never becomes a path."""
    async with AudioServer(a=SOUND) as server:
        told = await download([Recording(call_id, "combined", server.url("a"))], tmp_path / "audio")
        assert not server.requests
    assert told[0].error == "The call's id is not a UUID, so no file can be named after it."
    assert not names_in(tmp_path / "audio")


def test_other_names_are_refused() -> None:
    """A recording's name is one of four."""
    with pytest.raises(ValueError, match="name"):
        Recording(CALL, "../x", "https://x.example/")
    assert "sig=canary" not in repr(Recording(CALL, "stereo", "https://x.example/?sig=canary"))


NO_URLS = [
    "",
    "x",
    "ftp://h/a",
    "file:///etc/passwd",
    "http://",
    "http://[x/",
    "http://h:0/",
    "http://h:99999/",
]
NO_URLS += [
    "http://h/a b",
    "http://h/\r\nX: y",
    "http://h\n/",
    "http://u@h/",
    "http://u:p@h/",
    "https://h/\x00",
]
NO_URLS += ["http://a..b/", f"http://{'x' * 70}.example/", "http://[::1%25eth0]x/"]


@pytest.mark.parametrize("url", NO_URLS)
async def test_addresses_that_are_none_are_told(tmp_path: Path, url: str) -> None:
    """Nothing is sent for what is no http(s) URL, or holds a user, or would break out of a request."""
    told = await download([Recording(CALL, "combined", url)], tmp_path)
    assert told[0].error is not None
    assert told[0].error.startswith("The recording's address ")


PRIVATE = ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0x7f000001", "0.0.0.0"]


@pytest.mark.parametrize("host", PRIVATE)
async def test_private_hosts_are_refused_unless_allowed(tmp_path: Path, host: str) -> None:
    """However this machine is spelled, no connection to it is opened."""
    async with AudioServer(a=SOUND) as server:
        url = f"http://{host}:{server.port}/a"
        told = await download([Recording(CALL, "combined", url)], tmp_path, allow_private_hosts=False)
        assert server.connections == 0
    assert told[0].error is not None
    assert "not public" in told[0].error or "not an http(s) URL" in told[0].error


async def test_a_redirect_to_a_private_host_is_refused(tmp_path: Path) -> None:
    """Each hop's address is checked as it is connected to, not as it was written or looked up before."""
    asked: list[str] = []

    def may_connect(address: str) -> bool:
        asked.append(address)
        return address == "127.0.0.1"

    async with AudioServer(b=SOUND) as server:
        server.files["a"] = redirect(f"http://127.0.0.2:{server.port}/b")
        async with Downloader(may_connect=may_connect, at_once=1) as downloader:
            with pytest.raises(APIConnectionError, match="not public"):
                async with downloader.open(server.url("a"), None):
                    pytest.fail("it led elsewhere")
        assert len(server.requests) == 1
    assert asked == ["127.0.0.1", "127.0.0.2"]


async def test_a_name_is_judged_by_the_address_it_leads_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that was public when it was looked up once is refused when it is private at last."""
    answers = iter(["203.0.113.1", "127.0.0.1"])
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *rest: object, **more: object) -> object:
        return real(next(answers), port, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    asked: list[str] = []

    def may_connect(address: str) -> bool:
        asked.append(address)
        return is_public(address)

    async with Downloader(may_connect=may_connect, at_once=1) as downloader:
        for _ in range(2):
            with pytest.raises(APIConnectionError, match="not public"):
                async with downloader.open("http://rebound.example/", None):
                    pytest.fail("it connected")
    assert asked[0] == "203.0.113.1"
