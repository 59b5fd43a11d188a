"""Calls of many lists into one file: `export_calls`."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from os import PathLike
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import anyio.lowlevel
import attrs

from futureagi_async.export.jsonl import encode_lines
from futureagi_async.export.pending import PendingFile, open_pending
from futureagi_async.models import CallPage, FetchReport
from futureagi_async.sources import CallSource

__all__ = ["CallReader", "ExportProgress", "ExportReport", "OnProgress", "PageStream", "export_calls"]

_ENDINGS = {"jsonl": (".jsonl", ".ndjson")}
_SLICE_RECORDS = 100  # written between two chances for other tasks to run


class PageStream(Protocol):
    """The part of `futureagi_async.CallStream` that an export uses."""

    @property
    def report(self) -> FetchReport:
        """What was read."""
        ...

    def pages(self) -> AsyncIterator[CallPage]:
        """Yield pages, each call once a source."""
        ...


class CallReader(Protocol):
    """The part of `futureagi_async.Session` that an export uses."""

    def stream_calls(
        self, sources: Iterable[CallSource] | CallSource, *, page_size: int, on_error: Literal["collect"]
    ) -> AbstractAsyncContextManager[PageStream]:
        """Open a stream over the calls of all sources."""
        ...


@attrs.define(frozen=True, kw_only=True)
class ExportProgress:
    """What stands in the file so far."""

    records: int
    bytes: int


OnProgress: TypeAlias = Callable[[ExportProgress], None]


@attrs.define(frozen=True, kw_only=True)
class ExportReport:
    """A finished export."""

    path: Path
    format: str
    records: int
    bytes: int
    """Size of the file."""
    fetch: FetchReport
    """What was read of each source, and whether that is provably all."""

    @property
    def complete(self) -> bool:
        """Whether the file provably holds every call of every source."""
        return self.fetch.complete


async def export_calls(
    session: CallReader,
    sources: Iterable[CallSource] | CallSource,
    target: str | PathLike[str],
    *,
    format: str = "jsonl",  # noqa: A002 - the word users look for
    page_size: int = 100,
    include_provider_data: bool = False,
    on_progress: OnProgress | None = None,
) -> ExportReport:
    """Write the calls of all sources into one file, and return what is in it.

    JSON Lines: each record's JSON as the server sent it, one a line. The file is written beside
    ``target`` and renamed at the end, replacing what stood there: nobody sees half an export, and an
    error or a cancellation leaves the target untouched. Only its owner may read it (mode 0600).

    A page that can't be read or a record that does not decode is in the report and does not lose the
    rest. Raised is what makes the file worthless: refused keys, or not one list that could be read.

    Raises `ExportError` where the file can't be written, `ValueError` for a target or a format that
    can't be, both before any request.

    Args:
        session: An open `futureagi_async.Session`.
        sources: What to read; a call that is in several lists is written once for each.
        target: A file ending in ``.jsonl`` or ``.ndjson``.
        format: Only ``"jsonl"``.
        page_size: Rows a request.
        include_provider_data: Keep ``call_metadata`` and ``provider_call_data``, which may hold other
            parties' keys.
        on_progress: Called whenever a page stands in the file; should be quick.

    """
    path = _check_target(Path(target), format)
    with open_pending(path) as pending:
        records = 0
        async with session.stream_calls(sources, page_size=page_size, on_error="collect") as stream:
            async for page in stream.pages():
                await _write(page, pending, include_provider_data=include_provider_data)
                records += len(page.calls)
                if on_progress is not None:
                    on_progress(ExportProgress(records=records, bytes=pending.size))
        fetch = stream.report
        _check_anything_read(fetch)
        await pending.commit()
    return ExportReport(path=path, format=format, records=records, bytes=pending.size, fetch=fetch)


async def _write(page: CallPage, pending: PendingFile, *, include_provider_data: bool) -> None:
    for start in range(0, len(page.calls), _SLICE_RECORDS):
        records = [call.raw for call in page.calls[start : start + _SLICE_RECORDS]]
        pending.write(encode_lines(records, include_provider_data=include_provider_data))
        await anyio.lowlevel.checkpoint()


def _check_target(target: Path, format_: str) -> Path:
    if format_ not in _ENDINGS:
        raise ValueError(f"format must be one of {', '.join(map(repr, _ENDINGS))}, not {format_!r}.")
    endings = _ENDINGS[format_]
    if target.suffix.lower() not in endings:
        raise ValueError(f"target must be a file ending in {' or '.join(endings)}, not {str(target)!r}.")
    return target


def _check_anything_read(fetch: FetchReport) -> None:
    """Raise the first failure where no list gave even its length: there is nothing to keep."""
    failures = [failure for source in fetch for failure in source.failures]
    if failures and all(source.expected is None for source in fetch):
        raise failures[0]
