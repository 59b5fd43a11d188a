"""The phase of an export that downloads the audio its records name."""

from collections.abc import Callable, Iterator
from pathlib import Path

from anyio.to_thread import run_sync

from futureagi_async._http.downloads import Downloader
from futureagi_async._sansio.downloads import is_public
from futureagi_async.errors import DecodingError
from futureagi_async.export.audio import Recording, RecordingFile, download_recordings
from futureagi_async.export.batches import StagedRecords
from futureagi_async.export.staging.entries import Downloaded
from futureagi_async.export.store import Workspace


async def fetch_audio(
    workspace: Workspace,
    staged: StagedRecords,
    folder: Path,
    *,
    allow_private_hosts: bool,
    on_safe: Callable[[], None],
) -> None:
    """Download every recording that is not there yet; a download that fails is noted, and stops nothing."""

    async def keep(file: RecordingFile) -> None:
        await run_sync(workspace.keep, [_entry(file)])
        on_safe()

    done = {key for key, download in workspace.state.downloads.items() if download.error is None}
    may_connect = (lambda _: True) if allow_private_hosts else is_public
    async with Downloader(may_connect=may_connect) as downloader:
        await download_recordings(wanted_recordings(staged), folder, downloader, done=done, on_file=keep)


def wanted_recordings(staged: StagedRecords) -> Iterator[Recording]:
    """Yield the recordings that the records name."""
    for record in staged.places():
        call = staged.call(record)
        try:
            urls = call.recording_urls
        except DecodingError:
            continue  # of a shape that is not documented: the record says what was sent
        for name, url in urls.items():
            yield Recording(call.id, name, url)


def _entry(file: RecordingFile) -> Downloaded:
    return Downloaded(
        call_id=file.call_id,
        name=file.name,
        url_host=file.url_host,
        path=file.path,
        bytes=file.bytes,
        sha256=file.sha256,
        error=file.error,
    )
