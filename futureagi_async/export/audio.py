"""Downloads the audio of calls for an export: `download_recordings`."""

import hashlib
import json
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import anyio
import attrs
from anyio.to_thread import run_sync

from futureagi_async._http.downloads import Downloader
from futureagi_async._sansio.downloads import BodyInfo, PartialFile, check_size, is_public, split_url
from futureagi_async.errors import APIConnectionError, DecodingError, ExportError
from futureagi_async.export.batches import RecordReader
from futureagi_async.export.files import (
    create_file,
    export_errors,
    is_file,
    make_directory,
    open_to_append,
    open_to_read,
    replace_file,
    sync_directory,
    write_all,
)
from futureagi_async.export.manifest import RecordingFile
from futureagi_async.export.store import Store
from futureagi_async.options import canonical_uuid

RECORDING_NAMES: Final = ("combined", "stereo", "customer", "assistant")
MIB: Final = 1024 * 1024


@attrs.define(frozen=True)
class Recording:
    """The URL of a recording of a call. ``name`` is one of `RECORDING_NAMES`."""

    call_id: str
    name: str = attrs.field(validator=attrs.validators.in_(RECORDING_NAMES))
    url: str = attrs.field(repr=False)  # often signed


OnFile = Callable[[RecordingFile], Awaitable[None]]
Receive = Callable[[Path, RecordingFile], Awaitable[RecordingFile]]


async def fetch_audio(
    store: Store,
    reader: RecordReader,
    folder: Path,
    *,
    receive: Receive,
    allow_private_hosts: bool,
    on_safe: Callable[[], None],
) -> None:
    """Download every missing recording. A failed download is recorded and does not stop the others."""

    async def keep(file: RecordingFile) -> None:
        await run_sync(store.add_recording, file)
        on_safe()

    await run_sync(store.prepare_records)
    may_connect = (lambda _: True) if allow_private_hosts else is_public
    async with Downloader(may_connect=may_connect) as downloader:
        wanted = _wanted(store, reader)
        await download_recordings(wanted, folder, downloader, receive=receive, on_file=keep)


def _wanted(store: Store, reader: RecordReader) -> Iterator[Recording]:
    """Yield the recordings that records name and that are not downloaded yet."""
    for record in store.records(in_order=False):
        call = reader.call(record)
        try:
            urls = call.recording_urls
        except DecodingError:
            continue  # of an undocumented type: the record keeps what was sent
        for name, url in urls.items():
            if not store.has_recording(call.id, name):
                yield Recording(call.id, name, url)


async def download_recordings(
    wanted: Iterable[Recording],
    folder: Path,
    downloader: Downloader,
    *,
    max_file_bytes: int = 512 * MIB,
    receive: Receive | None = None,
    on_file: OnFile,
) -> None:
    """Download each recording into ``folder``, and report the result of each download.

    A file is written under a temporary name, and renamed when it is complete and on the disk. Its name begins
    with the id of the call. Only the owner can read it. If the server sends a strong entity tag, an
    interrupted download continues, in this run or a later one. The URLs come from third parties: the request
    has no keys and no other data, and hosts that are not on the public internet are refused.

    A failed download is reported with its reason and does not stop the others. If a host stops answering, no
    further requests go to it. Raises `ExportError` if the files can't be written.

    Args:
        wanted: The recordings to download. A recording that comes a second time is skipped.
        folder: Created if it is missing; its parent must exist.
        downloader: An open downloader. It decides which hosts are allowed, and the number of concurrent
            downloads.
        max_file_bytes: Larger files are refused.
        receive: Takes each finished file, moves it elsewhere, and returns its name there.
        on_file: Called for each recording, one at a time.

    """
    if max_file_bytes < 1:
        raise ValueError(f"max_file_bytes must be at least 1, not {max_file_bytes}.")
    await run_sync(make_directory, folder)
    waiting = _each_once(wanted)
    telling = anyio.Lock()

    async def work() -> None:
        for recording in waiting:
            file = await _fetch(recording, folder, downloader, max_file_bytes)
            if receive is not None:
                file = await receive(folder, file)
            async with telling:
                await on_file(file)

    await downloader.run(work)


async def _fetch(
    recording: Recording, folder: Path, downloader: Downloader, max_file_bytes: int
) -> RecordingFile:
    """Download one recording, and return the result."""
    path, size, sha256, error = None, 0, None, None
    try:
        path, size, sha256 = await _download(recording, folder, downloader, max_file_bytes)
    except APIConnectionError as failure:
        error = failure.message
    return RecordingFile(
        call_id=recording.call_id,
        name=recording.name,
        url_host=_host(recording.url),
        path=path,
        bytes=size,
        sha256=sha256,
        error=error,
    )


async def _download(
    recording: Recording, folder: Path, downloader: Downloader, max_file_bytes: int
) -> tuple[str, int, str]:
    call_id = canonical_uuid(recording.call_id)
    if call_id is None:
        raise APIConnectionError("The call's id is not a UUID, so no file can be named after it.")
    parts = split_url(recording.url)
    address = f"{parts.scheme}://{parts.netloc}{parts.path}"  # without the signature, which changes
    file = AudioFile(folder, f"{call_id}-{recording.name}", address, max_file_bytes)
    try:
        path, sha256 = await downloader.download(recording.url, file)
    except APIConnectionError as error:
        if not error.retryable:
            file.discard()
        raise
    finally:
        file.leave()
    return path, file.size, sha256


def _each_once(wanted: Iterable[Recording]) -> Iterator[Recording]:
    seen: set[tuple[str, str]] = set()
    for recording in wanted:
        key = (recording.call_id, recording.name)
        if key not in seen:
            seen.add(key)
            yield recording


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


class AudioFile:
    """A file that is being downloaded.

    Its bytes are in ``.<stem>.part``. ``.<stem>.tag`` says which file they are the beginning of. All methods
    block: call them in a thread. They raise `ExportError` in place of `OSError`.
    """

    def __init__(self, folder: Path, stem: str, address: str, max_bytes: int) -> None:
        self.size = 0
        """The number of bytes in the part file."""
        self._folder = folder
        self._stem = stem
        self._path = folder / f".{stem}.part"
        self._tag = folder / f".{stem}.tag"
        self._origin = hashlib.sha256(address.encode()).hexdigest()  # a URL may hold a secret
        self._max_bytes = max_bytes
        self._descriptor: int | None = None
        self._hash = hashlib.sha256()
        self._head: BodyInfo | None = None

    def find_part(self) -> PartialFile | None:
        """Return what an earlier attempt downloaded of the same file, if anything."""
        with suppress(OSError, ValueError, TypeError, KeyError, ExportError):
            noted = json.loads(self._tag.read_bytes()) if is_file(self._tag) else {}
            size = self._path.stat().st_size if is_file(self._path) else 0
            if size and noted["origin"] == self._origin:
                return PartialFile(size, str(noted["validator"]))
        return None

    def begin(self, head: BodyInfo) -> None:
        """Open the part file for a body: after its present bytes, or from the start."""
        check_size(head.size or 0, self._max_bytes)
        self.close()
        self._head, self.size, self._hash = head, head.start, hashlib.sha256()
        if head.start:
            self._descriptor = open_to_append(self._path, head.start)
            self._read_again()
        else:
            self.discard()
            self._descriptor = create_file(self._path)
            if head.validator is not None:
                self._note(head.validator)

    def write(self, data: bytes) -> None:
        """Append bytes of the body."""
        assert self._descriptor is not None
        check_size(self.size + len(data), self._max_bytes)
        with export_errors(self._path):
            write_all(self._descriptor, [data])
        self._hash.update(data)
        self.size += len(data)

    def finish(self) -> tuple[str, str]:
        """Rename the file to its final name. Return that name and the SHA-256."""
        assert self._head is not None
        assert self._descriptor is not None
        if not self.size:
            raise APIConnectionError("The server sent nothing.", retryable=True)
        if self._head.size not in (None, self.size):
            raise APIConnectionError("The response was cut off.", retryable=True)
        target = self._folder / f"{self._stem}{self._head.ending}"
        with export_errors(target):
            os.fsync(self._descriptor)
            self.close()
            replace_file(self._path, target)
            self._tag.unlink(missing_ok=True)
        sync_directory(self._folder)
        return target.name, self._hash.hexdigest()

    def leave(self) -> None:
        """Close the file. A part that can't be continued is removed."""
        self.close()
        if self.find_part() is None:
            self.discard()

    def discard(self) -> None:
        """Remove the part and its tag."""
        with export_errors(self._path, "remove"):
            self._tag.unlink(missing_ok=True)  # first: a part without a tag is never continued
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the part file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _read_again(self) -> None:
        descriptor = open_to_read(self._path)
        try:
            with export_errors(self._path, "read"):
                while piece := os.read(descriptor, MIB):
                    self._hash.update(piece)
        finally:
            os.close(descriptor)

    def _note(self, validator: str) -> None:
        descriptor = create_file(self._tag)
        try:
            with export_errors(self._tag):
                write_all(descriptor, [json.dumps({"origin": self._origin, "validator": validator}).encode()])
        finally:
            os.close(descriptor)
