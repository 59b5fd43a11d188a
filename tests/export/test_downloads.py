"""Recordings: downloaded whole, resumed where they were cut off, and never anything but the URL sent."""

import socket
import stat
from pathlib import Path

import anyio
import pytest

from futureagi_async import APIConnectionError, ExportError
from futureagi_async._http.downloads import Downloader
from futureagi_async._sansio.downloads import is_public
from futureagi_async.export.audio import Recording, download_recordings
from futureagi_async.export.manifest import RecordingFile
from tests.support.audio_server import (
    CALL,
    CUT,
    OTHER,
    SOUND,
    AudioServer,
    Served,
    digest,
    download,
    names_in,
    part_in,
    redirect,
)
from tests.support.sessions import FakeClock, Play, RawServer, send, stay_silent, wait_until

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_recording_is_downloaded_whole(tmp_path: Path) -> None:
    """The file is named by its call, readable by its owner alone, and its size and digest are told."""
    folder = tmp_path / "audio"
    async with AudioServer(a=SOUND) as server:
        told = await download([Recording(CALL, "combined", server.url("a"))], folder)
    name = f"{CALL}-combined.mp3"
    assert told == [
        RecordingFile(
            call_id=CALL,
            name="combined",
            url_host="127.0.0.1",
            path=name,
            bytes=len(SOUND),
            sha256=digest(SOUND),
            error=None,
        )
    ]
    assert (folder / name).read_bytes() == SOUND
    assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert names_in(folder) == {name}


async def test_nothing_but_the_url_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, no cookie of the host, no password of a netrc file; and no proxy is used."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password canary-netrc\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("FI_API_KEY", "canary-key")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    cookies = Served(b"x", extra="Set-Cookie: seen=canary-cookie; Path=/\r\n")
    async with AudioServer(a=cookies) as server:
        wanted = [Recording(call, "stereo", server.url("a", "?sig=%2Fa+b%20")) for call in (CALL, OTHER)]
        told = await download(wanted, tmp_path / "audio", at_once=1)
        assert [file.error for file in told] == [None, None]
        for request in server.requests:
            assert request.startswith(b"GET /a?sig=%2Fa+b%20 HTTP/1.1\r\n"), "signatures stay as they are"
            assert b"canary" not in request
        allowed = {"host", "accept", "accept-encoding", "user-agent"}
        assert all(head.keys() <= allowed for head in server.heads())


async def test_a_cut_download_is_gone_on_with(tmp_path: Path) -> None:
    """The next try asks for what is missing, if the file is still the same, and gets just that."""
    clock = FakeClock()
    async with AudioServer(a=Served(SOUND, cuts=CUT[:2])) as server:
        told = await download([Recording(CALL, "combined", server.url("a"))], tmp_path, clock=clock)
        first, second, third = server.heads()
    assert told[0].sha256 == digest(SOUND)
    assert (tmp_path / f"{CALL}-combined.mp3").read_bytes() == SOUND
    assert "range" not in first
    at_hand = int(second["range"].removeprefix("bytes=").removesuffix("-"))
    assert 1_000_000 < at_hand <= CUT[0]
    assert second["if-range"] == '"v1"'
    assert third["range"] == second["range"]
    assert clock.slept == [1.0, 2.0]


async def test_a_later_run_goes_on(tmp_path: Path) -> None:
    """What a run left is used by the next, also under a new signature, but not for another file."""
    async with AudioServer(a=Served(SOUND, cuts=CUT.copy()), b=SOUND[::-1]) as server:
        told = await download([Recording(CALL, "combined", server.url("a", "?sig=1"))], tmp_path)
        assert told[0].error == "The answer was cut off."
        at_hand = part_in(tmp_path)
        told = await download([Recording(CALL, "combined", server.url("a", "?sig=2"))], tmp_path)
        assert told[0].sha256 == digest(SOUND)
        assert server.heads()[-1]["range"] == f"bytes={at_hand}-"
        (tmp_path / f"{CALL}-combined.mp3").unlink()
        server.files["a"] = Served(SOUND, cuts=CUT.copy())
        await download([Recording(CALL, "combined", server.url("a"))], tmp_path)
        assert part_in(tmp_path)
        told = await download([Recording(CALL, "combined", server.url("b"))], tmp_path)
        assert told[0].sha256 == digest(SOUND[::-1])
        assert "range" not in server.heads()[-1]
    assert names_in(tmp_path) == {f"{CALL}-combined.mp3"}


async def test_a_file_that_changed_is_read_anew(tmp_path: Path) -> None:
    """Where the server has another file by now, it sends that whole, and nothing of the old is kept."""
    async with AudioServer(a=Served(SOUND, cuts=CUT.copy())) as server:
        await download([Recording(CALL, "combined", server.url("a"))], tmp_path)
        assert part_in(tmp_path)
        server.files["a"] = Served(b"new" * 1000, tag='"v2"')
        told = await download([Recording(CALL, "combined", server.url("a"))], tmp_path)
    assert told[0].sha256 == digest(b"new" * 1000)


HEAD = b"Content-Type: audio/mpeg\r\nETag: %b\r\nContent-Length: 3\r\n"
USELESS = {
    "not satisfiable": b"HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n",
    "another range": b"HTTP/1.1 206 P\r\nContent-Range: bytes 7-9/10\r\n" + HEAD % b'"v1"' + b"\r\nxyz",
    "another tag": b"HTTP/1.1 206 P\r\nContent-Range: bytes START-4095999/4096000\r\n"
    + HEAD % b'"v2"'
    + b"\r\nxyz",
    "no range": b"HTTP/1.1 206 P\r\n" + HEAD % b'"v1"' + b"\r\nxyz",
}


@pytest.mark.parametrize("case", USELESS)
async def test_an_answer_that_does_not_fit_the_part_is_not_used(tmp_path: Path, case: str) -> None:
    """Where the rest can't be had, the whole file is asked for at once."""
    async with AudioServer(a=Served(SOUND, cuts=CUT.copy())) as server:
        await download([Recording(CALL, "combined", server.url("a"))], tmp_path)
        assert part_in(tmp_path)
        whole = Served(SOUND)

        async def play(reader: object, writer: object) -> None:
            asked = server.heads()[-1]
            if "range" in asked:
                useless = USELESS[case].replace(b"START", asked["range"][6:-1].encode())
                await send(useless, close=False)(reader, writer)  # type: ignore[arg-type]
            else:
                await whole.answer(asked, writer)  # type: ignore[arg-type]

        server.files["a"] = play
        told = await download([Recording(CALL, "combined", server.url("a"))], tmp_path)
    assert told[0].sha256 == digest(SOUND)


@pytest.mark.parametrize("tag", [None, 'W/"v1"'])
async def test_without_a_strong_tag_nothing_is_gone_on_with(tmp_path: Path, tag: str | None) -> None:
    """A part of which nobody can say what it is a part of is thrown away."""
    async with AudioServer(a=Served(SOUND, tag=tag, cuts=CUT.copy())) as server:
        told = await download([Recording(CALL, "combined", server.url("a"))], tmp_path)
        assert not any("range" in head for head in server.heads())
    assert told[0].error == "The answer was cut off."
    assert not names_in(tmp_path)


async def test_what_arrived_in_time_is_kept(tmp_path: Path) -> None:
    """A download whose time is up is gone on with behind its last byte."""
    head = f'HTTP/1.1 200 OK\r\nETag: "v1"\r\nContent-Length: {len(SOUND)}\r\n\r\n'.encode()
    async with AudioServer(a=send(head + SOUND[:600_000], close=False)) as server:
        told = await download([Recording(CALL, "combined", server.url("a"))], tmp_path, max_file_seconds=0.3)
        assert told[0].error == "It took longer than 0.3 s."
        assert part_in(tmp_path) == 600_000
        server.files["a"] = Served(SOUND)
        told = await download([Recording(CALL, "combined", server.url("a"))], tmp_path)
        assert told[0].sha256 == digest(SOUND)
        assert server.heads()[-1]["range"] == "bytes=600000-"


async def test_a_rest_that_ends_early_is_noticed(tmp_path: Path) -> None:
    """The size of the whole file counts also where the rest comes without its own length."""
    async with AudioServer(a=Served(SOUND, cuts=CUT.copy())) as server:
        await download([Recording(CALL, "combined", server.url("a"))], tmp_path)
        at_hand = part_in(tmp_path)
        rest = f"HTTP/1.1 206 P\r\nContent-Range: bytes {at_hand}-{len(SOUND) - 1}/{len(SOUND)}\r\n\r\n"
        server.files["a"] = send(rest.encode())
        told = await download([Recording(CALL, "combined", server.url("a"))], tmp_path)
    assert told[0].error == "The answer was cut off."
    assert part_in(tmp_path) == at_hand


async def test_the_part_of_a_file_that_is_gone_goes_too(tmp_path: Path) -> None:
    """Where another try can't help, nothing is kept for one."""
    async with AudioServer(a=Served(SOUND, cuts=CUT.copy())) as server:
        await download([Recording(CALL, "combined", server.url("a"))], tmp_path)
        assert part_in(tmp_path)
        server.files["a"] = send(b"HTTP/1.1 404 N\r\nContent-Length: 0\r\n\r\n")
        await download([Recording(CALL, "combined", server.url("a"))], tmp_path)
    assert not names_in(tmp_path)


async def test_cancelling_leaves_a_part_and_no_file(tmp_path: Path) -> None:
    """Nothing stands under the final name; the next run goes on behind what had arrived."""
    half = SOUND[: len(SOUND) // 2]
    head = f'HTTP/1.1 200 OK\r\nETag: "v1"\r\nContent-Length: {len(SOUND)}\r\n\r\n'.encode()
    part = tmp_path / f".{CALL}-combined.part"
    async with AudioServer(a=send(head + half, close=False)) as server:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(download, [Recording(CALL, "combined", server.url("a"))], tmp_path)
            await wait_until(lambda: part.exists() and part.stat().st_size)
            tasks.cancel_scope.cancel()
        assert part_in(tmp_path)
        server.files["a"] = Served(SOUND)
        told = await download([Recording(CALL, "combined", server.url("a"))], tmp_path)
    assert told[0].sha256 == digest(SOUND)


async def test_so_many_at_once_and_each_once(tmp_path: Path) -> None:
    """No more downloads run than allowed; what is wanted twice is asked for once."""
    calls = [f"00000000-0000-4000-8000-{number:012}" for number in range(9)]
    async with RawServer(stay_silent) as server:
        wanted = [Recording(call, "combined", f"{server.base_url}/a") for call in [*calls, *calls]]
        with anyio.move_on_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: download(wanted, tmp_path, at_once=3))
                await wait_until(lambda: len(server.requests) == 3)
                tasks.cancel_scope.cancel()
        assert len(server.requests) == 3
    async with AudioServer(a=b"x") as audio:
        wanted = [Recording(call, "combined", audio.url("a")) for call in [*calls, *calls]]
        told = await download(wanted, tmp_path)
        assert sorted(file.call_id for file in told) == calls
        assert len(audio.requests) == len(calls)


async def test_what_on_file_raises_ends_the_job_as_it_is(tmp_path: Path) -> None:
    """An error of the caller's own arrives unwrapped, and the other downloads are cancelled."""

    async def refuse(_: RecordingFile) -> None:
        raise KeyError("mine")

    async with AudioServer(a=b"x", b=stay_silent) as server:
        wanted = [Recording(CALL, "combined", server.url("a")), Recording(CALL, "stereo", server.url("b"))]
        with pytest.raises(KeyError, match="mine"):
            await download(wanted, tmp_path, on_file=refuse)


async def test_a_folder_that_can_not_be_is_an_export_error(tmp_path: Path) -> None:
    """A file or a link in the folder's place is refused before any request."""
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link", "missing/folder"):
        with pytest.raises(ExportError, match="Can't write"):
            await download([Recording(CALL, "combined", "http://127.0.0.1:9/")], tmp_path / name)


async def test_a_link_in_a_parts_place_is_not_followed(tmp_path: Path) -> None:
    """Whoever may write into the folder can't make the download write elsewhere."""
    folder, victim = tmp_path / "audio", tmp_path / "victim"
    folder.mkdir()
    victim.write_bytes(b"mine")
    (folder / f".{CALL}-combined.part").symlink_to(victim)
    (folder / f"{CALL}-combined.mp3").symlink_to(victim)
    async with AudioServer(a=SOUND) as server:
        told = await download([Recording(CALL, "combined", server.url("a"))], folder)
    assert told[0].sha256 == digest(SOUND)
    assert victim.read_bytes() == b"mine"
    assert not (folder / f"{CALL}-combined.mp3").is_symlink()


@pytest.mark.parametrize("wrong", [{"at_once": 0}, {"max_file_bytes": 0}, {"max_file_seconds": 0}])
async def test_wrong_limits_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    """A limit that lets nothing through is a `ValueError`, before anything is made."""
    with pytest.raises(ValueError, match=next(iter(wrong)).replace("max_file_seconds", "max_seconds")):
        await download([], tmp_path / "audio", **wrong)
    assert not names_in(tmp_path)


async def test_the_defaults_refuse_this_machine(tmp_path: Path) -> None:
    """Without being allowed to, the downloader connects to no loopback address."""
    told: list[RecordingFile] = []

    async def note(file: RecordingFile) -> None:
        told.append(file)

    async with AudioServer(a=SOUND) as server:
        wanted = [Recording(CALL, "combined", server.url("a"))]
        async with Downloader() as downloader:
            await download_recordings(wanted, tmp_path, downloader, on_file=note)
        assert server.connections == 0
    assert told[0].error is not None


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


@pytest.mark.quick(6)
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
