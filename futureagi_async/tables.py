"""Calls as Arrow tables: `fetch_table`, `stream_tables`, `read_export`. Needs pyarrow.

Rows are made from the JSON of the records, with the columns of a Parquet export.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import datetime
from itertools import islice
from os import PathLike
from typing import Any, Protocol, Self

import attrs
from anyio.to_thread import run_sync

from futureagi_async.errors import STOPS_JOB, FutureAGIError, NotFoundError
from futureagi_async.export.batches import merge
from futureagi_async.export.fetching import DetailReader, StepStream, extract
from futureagi_async.export.formats.arrow_tables import (
    KEY,
    MadeTables,
    TableMaker,
    import_pyarrow,
    select,
)
from futureagi_async.export.formats.projection import check_columns
from futureagi_async.export.formats.records import Batch, lacks_transcript, with_record
from futureagi_async.export.loading import Wanted, load_tables
from futureagi_async.export.report import fetch_report
from futureagi_async.export.targets import read_place
from futureagi_async.models import CallExecution, CallPage, FetchReport
from futureagi_async.models.call import on_one_line
from futureagi_async.models.html import MAX_ROWS, html_table
from futureagi_async.options import Consistency, OnError, brief, check_count, check_word
from futureagi_async.sources import CallSource, check_sources

_BATCH_ROWS = 1_000  # with fewer, the columns of a batch cost more than its rows
_BATCH_BYTES = 16 * 1024**2
_MAX_OUTAGE_SECONDS = 60.0


@attrs.define(frozen=True, eq=False)
class CallsTable:
    """Calls and their evaluations as Arrow tables, with the columns of a Parquet export.

    pandas, polars, DuckDB and every other library that supports Arrow can use the object directly:
    ``table.to_pandas()``, ``polars.DataFrame(table)``, ``duckdb.sql("SELECT ... FROM results")`` for a
    variable ``results``. ``docs/export-formats.md`` describes the columns.
    """

    calls: Any
    """`pyarrow.Table`: one row for each call of each source. ``transcript`` is null if the list does not
    send transcripts."""
    evaluations: Any = None
    """`pyarrow.Table`: one row for each evaluation of each call; join by ``call_id`` and ``source_index``.
    ``None`` if it was not requested."""
    report: FetchReport | None = None
    """What was read of each source, and whether that is provably everything; ``None`` if unknown."""
    transcripts_gone: tuple[str, ...] = ()
    """Ids of calls that were deleted before their details could be read; their transcript is null."""
    transcript_failures: tuple[FutureAGIError, ...] = ()
    """Errors of details that could not be read; the transcript of these calls is null."""

    @classmethod
    def from_calls(
        cls,
        calls: Iterable[CallExecution],
        *,
        report: FetchReport | None = None,
        evaluations: bool = True,
        columns: Iterable[str] | None = None,
    ) -> Self:
        """Return a table of calls that you already have as objects. The last version of a call counts.

        ``source_index`` is the position among the sources of the report, or else the order of appearance.
        """
        chosen = _check_columns(columns)
        newest = {(call.source, call.id): call for call in _check_calls(calls)}
        known = [each.source for each in report or ()]
        sources = list(dict.fromkeys((*known, *(source for source, _ in newest if source is not None))))
        maker = TableMaker(sources, evaluations=evaluations)
        found = list(newest.values())
        some = [found[start : start + _BATCH_ROWS] for start in range(0, len(found), _BATCH_ROWS)]
        made = maker.join([maker.make(_batch_of(each)) for each in some])
        return cls(select(made.calls, chosen), made.evaluations, report)

    @property
    def complete(self) -> bool:
        """Whether these are provably all calls of all sources, with every transcript that you asked for."""
        return self.report is not None and self.report.complete and not self.transcript_failures

    @property
    def num_rows(self) -> int:
        """Number of calls."""
        return int(self.calls.num_rows)

    def to_pandas(self, **options: Any) -> Any:
        """Return the calls as a `pandas.DataFrame`; ``options`` are those of `pyarrow.Table.to_pandas`."""
        return self.calls.to_pandas(**options)

    def to_polars(self) -> Any:
        """Return the calls as a `polars.DataFrame`, without a copy."""
        import polars

        return polars.from_arrow(self.calls)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Export the calls through Arrow's PyCapsule interface."""
        return self.calls.__arrow_c_stream__(requested_schema)

    def __len__(self) -> int:
        return self.num_rows

    def __repr__(self) -> str:
        return f"<CallsTable: {self._in_words()}>"

    def _repr_html_(self) -> str:
        columns = [name for name in _PREVIEW if name in self.calls.column_names]
        first = self.calls.slice(0, MAX_ROWS).select(columns).to_pylist()
        rows = [tuple(row.values()) for row in first]
        left = self.num_rows - len(rows)
        shown = f"{len(columns)} of {self.calls.num_columns} columns"
        return html_table(
            self._in_words(), columns, rows, f"{shown}, and {left:,} more calls" if left else shown
        )

    def _in_words(self) -> str:
        evaluations = "" if self.evaluations is None else f", {self.evaluations.num_rows:,} evaluations"
        return f"{self.num_rows:,} calls{evaluations}, {_verdict(self.report)}"


_PREVIEW = ("id", "status", "scenario_name", "start_time", "duration", "overall_score", "ended_reason")
"""Columns of the preview in a notebook, without names and words of customers."""


def _batch_of(calls: Sequence[CallExecution]) -> Batch:
    """Return the records of calls, without provider data. Calls without a record get one."""
    raws = [call.as_sent() if call.raw else b"" for call in calls]

    def restore(place: int) -> CallExecution:
        call = calls[place]
        if raws[place] == call.raw:
            return with_record(call)
        return CallExecution.from_json(raws[place], call.source)

    return Batch(raws, [call.source for call in calls], restore)


def _verdict(report: FetchReport | None) -> str:
    if report is None:
        return "nothing says whether that is all"
    return "complete" if report.complete else "incomplete"


def read_export(
    path: str | PathLike[str], *, evaluations: bool = True, columns: Iterable[str] | None = None
) -> CallsTable:
    """Return the calls of a finished export: of a directory or prefix, with the manifest's report, or a file.

    It reads Parquet and both kinds of JSON Lines, as sent and normalised. A single file has no manifest, so
    its ``report`` is ``None``. JSON Lines as sent do not say which source a call belongs to: if several
    sources were exported together without ``ordered``, the source columns are null, and an empty
    transcript may be one that the list did not send.

    The function does not verify the files; `verify_export` compares them with the manifest's digests. It
    needs no session. It reads files in the calling thread, so use ``anyio.to_thread.run_sync`` in an event
    loop.

    Raises `ExportError` if there is no export, if it is unfinished or a file is truncated, and for CSV.
    Raises `ValueError` for unknown columns.

    Args:
        path: The directory, or ``s3://``, ``gs://`` or ``az://`` and a prefix; its manifest; or a file.
        evaluations: Also return the table of evaluations.
        columns: Columns of the table of calls, in this order. Default: all. Only these are read from Parquet.

    """
    wanted = Wanted(evaluations, _check_columns(columns))
    loaded = load_tables(read_place("path", path), wanted)
    made, manifest = loaded.tables, loaded.manifest
    if manifest is None:
        return CallsTable(made.calls, made.evaluations)
    details = manifest.transcripts
    return CallsTable(
        made.calls,
        made.evaluations,
        fetch_report(manifest, loaded.sources),
        tuple(details.gone) if details else (),
        tuple(failure.to_error() for failure in details.failed) if details else (),
    )


class TableReader(DetailReader, Protocol):
    """The part of `futureagi_async.Session` that tables use."""

    def stream_calls(
        self,
        sources: Iterable[CallSource] | CallSource,
        *,
        page_size: int,
        ordered: bool,
        on_error: OnError,
        consistency: Consistency,
        deadline: float | None,
        max_outage: float,
        changed_since: Mapping[CallSource, datetime] | None,
    ) -> AbstractAsyncContextManager["PageStream"]:
        """Open a stream over the calls of all sources."""
        ...


class PageStream(StepStream, Protocol):
    """The part of `futureagi_async.CallStream` that tables use."""

    def pages(self) -> AsyncIterator[CallPage]:
        """Yield whole pages."""
        ...


@attrs.define(frozen=True, kw_only=True)
class TableOptions:
    """The options of a table."""

    sources: tuple[CallSource, ...]
    evaluations: bool
    columns: tuple[str, ...] | None
    transcripts: bool
    include_provider_data: bool
    ordered: bool
    updates: bool
    on_error: OnError
    max_outage: float
    batch_rows: int


async def fetch_table(
    session: TableReader,
    sources: Iterable[CallSource] | CallSource,
    *,
    evaluations: bool = True,
    columns: Iterable[str] | None = None,
    transcripts: bool = False,
    include_provider_data: bool = False,
    page_size: int = 100,
    ordered: bool = False,
    on_error: OnError = "raise",
    consistency: Consistency = "complete",
    deadline: float | None = None,
    max_outage: float = _MAX_OUTAGE_SECONDS,
    changed_since: Mapping[CallSource, datetime] | None = None,
) -> CallsTable:
    """Read all calls of all sources into Arrow tables, with the report.

    Each call appears once per source, in its newest version. Values that no column can hold are in
    ``misfits``, as sent. Sources without calls give a table with all columns and no rows.

    Raises `ValueError` and `TypeError` for wrong arguments before any request, `ModuleNotFoundError` if
    pyarrow is not installed, and otherwise what `futureagi_async.Session.stream_calls` raises.

    Args:
        session: An open `futureagi_async.Session`.
        sources: The lists to read.
        evaluations: Also make the table of evaluations.
        columns: Columns of the table of calls, in this order. Default: all.
        transcripts: Also read the details of calls whose list does not send transcripts, with one request
            per call. Adds their ``transcript``, and ``recordings`` if the list has none.
        include_provider_data: Keep ``call_metadata`` and ``provider_call_data`` in ``extra``. They may
            contain other parties' keys.
        page_size: Approximate number of rows per request.
        ordered: Sort rows by source, then newest first, then by id.
        on_error: ``"raise"`` stops at the first failure, ``"collect"`` continues and reports the failures.
        consistency: ``"fast"`` reads each page once; lists of more than one page are then ``incomplete``.
        deadline: Seconds after which reading lists stops. The report then says ``incomplete``.
        max_outage: How many seconds to wait for a server that stopped answering.
        changed_since: For some of the sources: read only what changed since this moment.

    """
    opened = stream_tables(
        session,
        sources,
        evaluations=evaluations,
        columns=columns,
        transcripts=transcripts,
        include_provider_data=include_provider_data,
        page_size=page_size,
        ordered=ordered,
        updates=True,
        on_error=on_error,
        consistency=consistency,
        deadline=deadline,
        max_outage=max_outage,
        changed_since=changed_since,
    )
    async with opened as stream:
        return await stream.collect()


def stream_tables(
    session: TableReader,
    sources: Iterable[CallSource] | CallSource,
    *,
    evaluations: bool = True,
    columns: Iterable[str] | None = None,
    transcripts: bool = False,
    include_provider_data: bool = False,
    batch_rows: int = _BATCH_ROWS,
    page_size: int = 100,
    ordered: bool = False,
    updates: bool = False,
    on_error: OnError = "raise",
    consistency: Consistency = "complete",
    deadline: float | None = None,
    max_outage: float = _MAX_OUTAGE_SECONDS,
    changed_since: Mapping[CallSource, datetime] | None = None,
) -> "AbstractAsyncContextManager[TableStream]":
    """Read calls that do not fit into memory, in an ``async with`` block.

    In ``async with stream_tables(...) as stream``, ``async for table in stream`` yields a `CallsTable` of
    ``batch_rows`` calls at a time. After the last one, ``stream.report`` says whether the calls are complete.

    The arguments are those of `fetch_table`. If a call changes during the read, you get the version that was
    read first. With ``updates`` you also get the newer version, in a later table. With ``ordered`` you get
    only the newest version.
    """
    check_count("batch_rows", batch_rows)
    options = TableOptions(
        sources=check_sources(sources),
        evaluations=evaluations,
        columns=_check_columns(columns),
        transcripts=transcripts,
        include_provider_data=include_provider_data,
        ordered=ordered,
        updates=updates,
        on_error=check_word("on_error", on_error, OnError),
        max_outage=max_outage,
        batch_rows=batch_rows,
    )
    opened = session.stream_calls(
        options.sources,
        page_size=page_size,
        ordered=ordered,
        on_error=options.on_error,
        consistency=consistency,
        deadline=deadline,
        max_outage=max_outage,
        changed_since=changed_since,
    )
    import_pyarrow()
    return _open_tables(session, opened, options)


@asynccontextmanager
async def _open_tables(
    session: DetailReader, opened: AbstractAsyncContextManager[PageStream], options: TableOptions
) -> AsyncIterator["TableStream"]:
    async with opened as stream:
        yield TableStream(session, stream, options)


class TableStream:
    """Calls in tables, as they arrive. Iterate it once, inside its ``async with`` block."""

    def __init__(self, session: DetailReader, stream: PageStream, options: TableOptions) -> None:
        self._session = session
        self._stream = stream
        self._options = options
        self._maker = TableMaker(options.sources, evaluations=options.evaluations)
        self._pages = stream.pages() if options.ordered else None
        self._steps = None if options.ordered else stream.steps()
        self._place_of = {source: place for place, source in reversed(list(enumerate(options.sources)))}
        self._waiting: dict[tuple[CallSource | None, str], CallExecution] = {}
        self._waiting_bytes = 0
        self._ended = False
        self._has_repeats = len(self._place_of) < len(options.sources)
        """Whether a call may have arrived more than once for a source."""
        self._gone: list[str] = []
        self._failures: list[FutureAGIError] = []

    @property
    def report(self) -> FetchReport:
        """What was read so far; final after the last table."""
        return self._stream.report

    @property
    def transcripts_gone(self) -> tuple[str, ...]:
        """Ids of calls that were deleted before their details could be read."""
        return tuple(self._gone)

    @property
    def transcript_failures(self) -> tuple[FutureAGIError, ...]:
        """Errors of details that could not be read."""
        return tuple(self._failures)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> CallsTable:
        made = await self._next()
        return CallsTable(select(made.calls, self._options.columns), made.evaluations)

    async def collect(self) -> CallsTable:
        """Read to the end, and return one table. It has the newest version of each call."""
        wanted = self._options.columns
        kept = None if wanted is None else tuple(dict.fromkeys((*wanted, *KEY)))
        tables: list[MadeTables] = []
        with suppress(StopAsyncIteration):
            while True:
                made = await self._next()
                tables.append(MadeTables(select(made.calls, kept), made.evaluations))
        if self._has_repeats:
            tables = self._maker.without_repeats(tables)
        made = self._maker.join(tables, kept)
        return CallsTable(
            select(made.calls, wanted),
            made.evaluations,
            self.report,
            self.transcripts_gone,
            self.transcript_failures,
        )

    async def _next(self) -> MadeTables:
        """Return the next batch with all its columns."""
        rows = self._options.batch_rows
        while not self._ended and len(self._waiting) < rows and self._waiting_bytes < _BATCH_BYTES:
            await self._take_page()
        if not self._waiting:
            raise StopAsyncIteration
        calls = [self._waiting.pop(key) for key in list(islice(self._waiting, rows))]
        self._waiting_bytes = sum(len(call.raw) for call in self._waiting.values())
        batch = await self._batch(calls)
        return await run_sync(self._maker.make, batch)

    async def _take_page(self) -> None:
        """Add the calls of the next page to the queue; a newer version replaces one in the queue."""
        try:
            if self._pages is not None:
                calls: Sequence[CallExecution] = (await anext(self._pages)).calls
            else:
                assert self._steps is not None
                step = await anext(self._steps)
                newer = step.newer if self._options.updates else ()
                self._has_repeats |= bool(newer)
                calls = (*step.page.calls, *newer)
        except StopAsyncIteration:
            self._ended = True
            return
        for call in calls:
            self._waiting[call.source, call.id] = call
            self._waiting_bytes += len(call.raw)

    async def _batch(self, calls: Sequence[CallExecution]) -> Batch:
        """Return the records of calls, with their details if they were requested."""
        with_provider_data = self._options.include_provider_data
        raws = [call.as_sent(include_provider_data=with_provider_data) for call in calls]
        has_detail: set[int] = set()
        if self._options.transcripts:
            lacking = [place for place, call in enumerate(calls) if lacks_transcript(call)]
            details = await self._read_details({calls[place].call_execution_id for place in lacking})
            for place in lacking:
                detail = details.get(calls[place].call_execution_id)
                if detail is not None:
                    raws[place] = on_one_line(merge(raws[place], detail))
                    if b'"transcript"' in detail:
                        has_detail.add(place)

        def restore(place: int) -> CallExecution:
            source = calls[place].source
            assert source is not None
            call = self._stream.restore(raws[place], self._place_of[source])
            if place in has_detail and lacks_transcript(call):
                call.transcript = ()  # the detail said so, and it withholds nothing
            return call

        return Batch(raws, [call.source for call in calls], restore, has_detail)

    async def _read_details(self, ids: Iterable[str]) -> dict[str, bytes]:
        """Read details. Note the ids of deleted calls, and the errors of details that could not be read."""
        details: dict[str, bytes] = {}
        opened = self._session.stream_call_executions(sorted(ids), max_outage=self._options.max_outage)
        async with opened as outcomes:
            async for outcome in outcomes:
                if outcome.value is not None:
                    details[outcome.id] = extract(outcome.value.raw)
                elif isinstance(outcome.error, NotFoundError):
                    self._gone.append(outcome.id)
                elif outcome.error is not None:
                    if self._options.on_error == "raise" or isinstance(outcome.error, STOPS_JOB):
                        raise outcome.error
                    self._failures.append(outcome.error)
        return details


def _check_columns(columns: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if columns is None else check_columns("columns", columns)


def _check_calls(calls: Iterable[CallExecution]) -> Iterator[CallExecution]:
    if not isinstance(calls, Iterable):
        raise TypeError(f"calls must be a list of CallExecution, not {brief(calls)}.")
    for call in calls:
        if not isinstance(call, CallExecution):
            raise TypeError(f"A call is a CallExecution, not {brief(call)}.")
        yield call
