"""What a bulk read says about itself."""

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
    """``complete`` is a proof; everything else is ``incomplete``, with the ``reason``."""
    reason: str
    """One sentence for people: what the verdict rests on, or what is missing."""
    expected: int | None
    """The newest ``count`` the server gave; ``None`` before any answer."""
    received: int
    """Different records delivered, snapshots included."""
    duplicates: int = 0
    """Records that arrived again and were not delivered twice."""
    updates: int = 0
    """Records that arrived again and had changed since they were first read; some of them were asked for
    twice on purpose, so there may be more of them than ``duplicates``."""
    requests: int = 0
    """Pages asked for."""
    retries: int = 0
    """Tries beyond the first, over all pages."""
    sweeps: int = 0
    """How often the front was read again to catch what changed meanwhile."""
    gaps_repaired: int = 0
    """Places where two pages did not join, and a further page closed the gap."""
    overlapping_rows: int = 0
    """Rows asked for twice on purpose, so that pages join."""
    misfits: int = 0
    """Of the received, records with `CallExecution.misfits` when they came; those that lie in nested
    parts are known then with ``Session(validate="eager")`` only."""
    complete_as_of: datetime | None = None
    """The server's time up to which the verdict ``complete`` holds."""
    failures: tuple[FutureAGIError, ...] = ()
    """Pages that could not be read and records that did not decode."""

    def __repr__(self) -> str:
        return f"<SourceReport: {self._in_words()}>"

    def _in_words(self) -> str:
        expected = "" if self.expected is None else f" of {self.expected:,}"
        why = "" if self.verdict == "complete" else f": {self.reason}"
        return f"{self.source.label}, {self.received:,}{expected} received, {self.verdict}{why}"


@attrs.define(frozen=True, repr=False)
class FetchReport(Plain):
    """What a bulk read says about itself: one `SourceReport` a source, in the order given."""

    added = ("complete", "received", "misfits")

    sources: tuple[SourceReport, ...]

    @property
    def complete(self) -> bool:
        """Whether every source is provably complete."""
        return all(report.verdict == "complete" for report in self.sources)

    @property
    def received(self) -> int:
        """Different records delivered, over all sources."""
        return sum(report.received for report in self.sources)

    @property
    def misfits(self) -> int:
        """Records with misfits when they came, over all sources."""
        return sum(report.misfits for report in self.sources)

    def __iter__(self) -> Iterator[SourceReport]:
        return iter(self.sources)

    def __repr__(self) -> str:
        """Say how it went in a few lines: of many sources, those that are incomplete first."""
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
        """Return the sources that there is room for, and what to say of the others."""
        first = sorted(self.sources, key=lambda report: report.verdict == "complete")
        left = first[MAX_ROWS:]
        if not left:
            return list(self.sources), ""
        complete = sum(report.verdict == "complete" for report in left)
        return first[:MAX_ROWS], f"and {len(left):,} more, {complete:,} of them complete"


@attrs.define(frozen=True)
class FetchResult(Plain):
    """All calls of some sources, and the report on them."""

    calls: list[CallExecution] = attrs.field(repr=lambda calls: f"<{len(calls)} calls>")
    report: FetchReport


@attrs.define(frozen=True)
class Outcome(Plain, Generic[T]):
    """How reading one id ended: exactly one of ``value`` and ``error`` is set."""

    id: str
    value: T | None = None
    error: FutureAGIError | None = None

    def unwrap(self) -> T:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error
        assert self.value is not None
        return self.value
