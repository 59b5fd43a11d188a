"""The reports of a bulk read."""

from collections.abc import Iterator
from datetime import datetime
from typing import Generic, Literal, TypeAlias, TypeVar

import attrs

from futureagi_async.errors import FutureAGIError
from futureagi_async.models.call import CallExecution
from futureagi_async.models.html import MAX_ROWS, html_table
from futureagi_async.models.plain import Plain
from futureagi_async.sources import CallSource

T = TypeVar("T")

Verdict: TypeAlias = Literal["complete", "incomplete"]


@attrs.define(frozen=True, kw_only=True, repr=False)
class SourceReport(Plain):
    """What was read of one source, and whether that is provably all of it."""

    source: CallSource
    verdict: Verdict
    """``complete`` if the list is provably covered; in all other cases ``incomplete``, with a ``reason``."""
    reason: str
    """One sentence for people: why the verdict is ``complete``, or what is missing."""
    expected: int | None
    """The latest ``count`` from the server; ``None`` before the first response."""
    received: int
    """Number of distinct records that were delivered, snapshots included."""
    duplicates: int = 0
    """Number of records that arrived again. They were not delivered twice."""
    updates: int = 0
    """Number of records that arrived again in a newer version. This can exceed ``duplicates``, which does not
    count rows that were requested twice on purpose."""
    requests: int = 0
    """Number of pages requested."""
    retries: int = 0
    """Number of retries, over all pages."""
    sweeps: int = 0
    """How many times the top of the list was read again to find changes during the read."""
    gaps_repaired: int = 0
    """Number of gaps between two pages that a further page closed."""
    overlapping_rows: int = 0
    """Number of rows that were requested twice on purpose, so that pages overlap."""
    misfits: int = 0
    """Number of received records with `CallExecution.misfits` at the time of decoding. Misfits inside nested
    parts are counted only with ``Session(validate="eager")``."""
    complete_as_of: datetime | None = None
    """If ``complete``: the verdict holds for the list at this time of the server's clock."""
    failures: tuple[FutureAGIError, ...] = ()
    """Pages that could not be read, and records that could not be decoded."""

    def __repr__(self) -> str:
        return f"<SourceReport: {self._in_words()}>"

    def _in_words(self) -> str:
        expected = "" if self.expected is None else f" of {self.expected:,}"
        why = "" if self.verdict == "complete" else f": {self.reason}"
        return f"{self.source.label}, {self.received:,}{expected} received, {self.verdict}{why}"


@attrs.define(frozen=True, repr=False)
class FetchReport(Plain):
    """The report of a bulk read: one `SourceReport` per source, in the order given."""

    added = ("complete", "received", "misfits")

    sources: tuple[SourceReport, ...]

    @property
    def complete(self) -> bool:
        """Whether every source is provably complete."""
        return all(report.verdict == "complete" for report in self.sources)

    @property
    def received(self) -> int:
        """Number of distinct records that were delivered, over all sources."""
        return sum(report.received for report in self.sources)

    @property
    def misfits(self) -> int:
        """Number of received records with misfits, over all sources; see `SourceReport.misfits`."""
        return sum(report.misfits for report in self.sources)

    def __iter__(self) -> Iterator[SourceReport]:
        return iter(self.sources)

    def __repr__(self) -> str:
        """Show the result in a few lines; with many sources, the incomplete ones first."""
        shown, note = self._shown()
        lines = [f"  {report._in_words()}" for report in shown]  # noqa: SLF001 - of this file
        return (
            "\n".join([f"<FetchReport: {self._in_words()}", *lines, *([f"  {note}"] if note else [])]) + ">"
        )

    def _repr_html_(self) -> str:
        shown, note = self._shown()
        rows = [
            (each.source.label, each.verdict, each.received, each.expected, each.reason) for each in shown
        ]
        return html_table(
            self._in_words(), ("source", "verdict", "received", "expected", "reason"), rows, note
        )

    def _in_words(self) -> str:
        verdict = "complete" if self.complete else "incomplete"
        return f"{verdict}, {self.received:,} calls of {len(self.sources):,} sources"

    def _shown(self) -> tuple[list[SourceReport], str]:
        """Return the sources to show, and a note about the others."""
        first = sorted(self.sources, key=lambda report: report.verdict == "complete")
        left = first[MAX_ROWS:]
        if not left:
            return list(self.sources), ""
        complete = sum(report.verdict == "complete" for report in left)
        return first[:MAX_ROWS], f"and {len(left):,} more, {complete:,} of them complete"


@attrs.define(frozen=True)
class FetchResult(Plain):
    """All calls of the sources, and the report."""

    calls: list[CallExecution] = attrs.field(repr=lambda calls: f"<{len(calls)} calls>")
    report: FetchReport


@attrs.define(frozen=True)
class Outcome(Plain, Generic[T]):
    """The result of reading one id: either ``value`` or ``error`` is set."""

    id: str
    value: T | None = None
    error: FutureAGIError | None = None

    def unwrap(self) -> T:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error
        assert self.value is not None
        return self.value
