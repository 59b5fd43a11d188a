"""A host of recordings on a real socket: whole files, ranges, cuts, redirects."""

import asyncio
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs

from futureagi_async._http.downloads import Downloader
from futureagi_async._sansio.downloads import is_public
from futureagi_async.export.audio import Recording, download_recordings
from futureagi_async.export.manifest import RecordingFile
from tests.support.sessions import FakeClock, Play, RawServer, check_no_task_left

CALL = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"
OTHER = "2c5ea4c0-4067-11e9-8bad-9b1deb4d3b7d"
SOUND = bytes(range(256)) * 16_000  # four megabytes
CUT = [3_000_000, 0, 0]
"""Where the answers to the three tries of a download are cut off."""


class AudioServer(RawServer):
    """Answers each path with what `files` holds for it: bytes to serve, or a `Play`."""

    def __init__(self, **files: "bytes | Served | Play") -> None:
        super().__init__(self._answer)
        self.files = files

    def url(self, name: str, query: str = "") -> str:
        return f"{self.base_url}/{name}{query}"

    def heads(self) -> list[dict[str, str]]:
        """Return the headers of all requests, names in lower case."""
        heads = []
        for request in self.requests:
            lines = request.decode().split("\r\n")[1:-2]
            heads.append({name.lower(): value for name, _, value in (line.partition(": ") for line in lines)})
        return heads

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found = re.match(rb"GET /(\w+)", self.requests[-1])
        assert found is not None
        file = self.files[found[1].decode()]
        if isinstance(file, bytes):
            file = Served(file)
        if isinstance(file, Served):
            await file.answer(self.heads()[-1], writer)
        else:
            await file(reader, writer)


@attrs.define
class Served:
    """A file on the server; the first answers are cut off after ``cuts`` bytes each."""

    body: bytes
    tag: str | None = '"v1"'
    kind: str = "audio/mpeg"
    ranges: bool = True
    cuts: list[int] = attrs.field(factory=list)
    extra: str = ""

    async def answer(self, asked: dict[str, str], writer: asyncio.StreamWriter) -> None:
        start, total = 0, len(self.body)
        asked_range = re.fullmatch(r"bytes=(\d+)-", asked.get("range", ""))
        if self.ranges and asked_range and asked["if-range"] == self.tag:
            start = int(asked_range[1])
        head = "HTTP/1.1 206 Partial Content" if start else "HTTP/1.1 200 OK"
        if start:
            head += f"\r\nContent-Range: bytes {start}-{total - 1}/{total}"
        if self.tag:
            head += f"\r\nETag: {self.tag}"
        head += f"\r\nContent-Type: {self.kind}\r\nContent-Length: {total - start}\r\n{self.extra}\r\n"
        body = self.body[start:]
        writer.write(head.encode() + (body[: self.cuts[0]] if self.cuts else body))
        await writer.drain()
        if self.cuts:
            self.cuts.pop(0)
            writer.close()


def redirect(location: str, status: int = 302) -> Play:
    async def play(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = f"Location: {location}\r\n" if location else ""
        writer.write(f"HTTP/1.1 {status} Found\r\n{line}Content-Length: 0\r\n\r\n".encode())

    return play


async def download(
    wanted: Iterable[Recording],
    folder: Path,
    *,
    allow_private_hosts: bool = True,
    at_once: int = 4,
    max_file_seconds: float = 1800.0,
    clock: FakeClock | None = None,
    **options: Any,
) -> list[RecordingFile]:
    """Download from this machine, and return what was told; nothing may be left running."""
    told: list[RecordingFile] = []

    async def note(file: RecordingFile) -> None:
        told.append(file)

    before = asyncio.all_tasks()
    limits = {"at_once": at_once, "max_seconds": max_file_seconds, "clock": clock or FakeClock()}
    may_connect = (lambda _: True) if allow_private_hosts else is_public
    async with Downloader(may_connect=may_connect, **limits) as downloader:  # type: ignore[arg-type]
        await download_recordings(wanted, folder, downloader, **{"on_file": note, **options})
    check_no_task_left(before)
    return told


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def part_in(folder: Path) -> int:
    """Return how large the part is that a download left, which must be one that can be gone on with."""
    assert names_in(folder) == {f".{CALL}-combined.part", f".{CALL}-combined.tag"}
    size = (folder / f".{CALL}-combined.part").stat().st_size
    assert 0 < size <= CUT[0]
    return size


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
