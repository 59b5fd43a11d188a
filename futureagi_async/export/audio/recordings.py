"""The audio of calls, downloaded beside an export: `download_recordings`."""

from collections.abc import Awaitable, Callable, Container, Iterable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import anyio
import attrs
from anyio.to_thread import run_sync

from futureagi_async._http.downloads import Downloader
from futureagi_async._sansio.downloads import split_url
from futureagi_async.errors import APIConnectionError
from futureagi_async.export.audio.audio_file import AudioFile
from futureagi_async.export.staging.files import make_directory
from futureagi_async.options import canonical_uuid

RECORDING_NAMES: Final = ("combined", "stereo", "customer", "assistant")
MIB: Final = 1024 * 1024


@attrs.define(frozen=True)
class Recording:
    """A piece of audio that a call names; ``name`` is one of `RECORDING_NAMES`."""

    call_id: str
    name: str = attrs.field(validator=attrs.validators.in_(RECORDING_NAMES))
    url: str = attrs.field(repr=False)  # often signed


@attrs.define(frozen=True)
class RecordingFile:
    """How a download ended: ``path`` and ``sha256``, or an ``error``."""

    call_id: str
    name: str
    url_host: str
    path: str | None
    """The file's name in the folder, such as ``<call id>-combined.mp3``."""
    bytes: int
    sha256: str | None
    error: str | None


OnFile = Callable[[RecordingFile], Awaitable[None]]


async def download_recordings(
    wanted: Iterable[Recording],
    folder: Path,
    downloader: Downloader,
    *,
    done: Container[tuple[str, str]] = (),
    max_file_bytes: int = 512 * MIB,
    on_file: OnFile,
) -> None:
    """Download each recording into ``folder``, and tell of each how it ended.

    A file arrives beside its place and is renamed when it is whole and on the disk; it is named by its
    call's id, readable by its owner alone. Where the server gives a strong entity tag, a download that was
    cut off is gone on with, in this run or a later one. A URL comes from whoever recorded the call: nothing
    but the URL itself is sent there, and hosts that are not on the open internet are refused.

    What can't be downloaded is told with its reason and stops nothing; a host that is out is not asked any
    more. Raises `ExportError` where the disk can't take it.

    Args:
        wanted: What to download; a call's recording that comes again is skipped.
        folder: Made where it is missing, but not what it lies in.
        downloader: Opened; it says which hosts may be connected to, and how many downloads run at a time.
        done: ``(call_id, name)`` of what is there already.
        max_file_bytes: Larger files are refused.
        on_file: Told of each recording, one at a time.

    """
    if max_file_bytes < 1:
        raise ValueError(f"max_file_bytes must be at least 1, not {max_file_bytes}.")
    await run_sync(make_directory, folder)
    waiting = _without(wanted, done)
    telling = anyio.Lock()

    async def work() -> None:
        for recording in waiting:
            file = await _fetch(recording, folder, downloader, max_file_bytes)
            async with telling:
                await on_file(file)

    await downloader.run(work)


async def _fetch(
    recording: Recording, folder: Path, downloader: Downloader, max_file_bytes: int
) -> RecordingFile:
    """Download one recording, and say how that ended."""
    call_id, name, host = recording.call_id, recording.name, _host(recording.url)
    try:
        path, size, digest = await _download(recording, folder, downloader, max_file_bytes)
    except APIConnectionError as error:
        return RecordingFile(call_id, name, host, None, 0, None, error.message)
    return RecordingFile(call_id, name, host, path, size, digest, None)


async def _download(
    recording: Recording, folder: Path, downloader: Downloader, max_file_bytes: int
) -> tuple[str, int, str]:
    call_id = canonical_uuid(recording.call_id)
    if call_id is None:
        raise APIConnectionError("Its call's id is no UUID, and so no file's name.")
    parts = split_url(recording.url)
    address = f"{parts.scheme}://{parts.netloc}{parts.path}"  # without a signature, which changes
    file = AudioFile(folder, f"{call_id}-{recording.name}", address, max_file_bytes)
    try:
        path, digest = await downloader.download(recording.url, file)
    except APIConnectionError as error:
        if not error.retryable:
            file.discard()
        raise
    finally:
        file.leave()
    return path, file.size, digest


def _without(wanted: Iterable[Recording], done: Container[tuple[str, str]]) -> Iterator[Recording]:
    """Yield each recording once, but those that are done."""
    seen: set[tuple[str, str]] = set()
    for recording in wanted:
        key = (recording.call_id, recording.name)
        if key not in done and key not in seen:
            seen.add(key)
            yield recording


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
