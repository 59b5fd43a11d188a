"""What a sync reads, and what it may conclude from it. No I/O, no clock."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Self, TypeAlias

import attrs
import msgspec

from futureagi_async.errors import SyncError
from futureagi_async.export.formats.schema import Kind
from futureagi_async.export.manifest import fingerprint
from futureagi_async.models import SourceReport
from futureagi_async.sources import CallSource, source_from_dict
from futureagi_async.sync.schema import SCHEMA_VERSION, SOURCES, source_id_of, unknown_columns

Mode: TypeAlias = Literal["full", "changes"]


@attrs.define(frozen=True, kw_only=True)
class Content:
    """The options that decide what the rows hold."""

    transcripts: bool
    provider_data: bool


@attrs.define(frozen=True, kw_only=True)
class SourceState:
    """A row of the table ``sources``: what is there of a source, and from where the next sync goes on."""

    source: CallSource
    named: bool
    """Whether the last sync named it."""
    verdict: str
    reason: str
    complete_as_of: datetime | None
    """The server's moment up to which everything is there; ``None`` where that was never so."""
    full_read_at: datetime | None
    """When the last full read began that was complete."""
    synced_at: datetime | None
    """When the last sync began that named it."""
    content: Content

    @property
    def source_id(self) -> str:
        """The key of its rows."""
        return source_id_of(self.source)

    def to_row(self) -> dict[str, Any]:
        """Return the row."""
        fields = self.source.to_dict()
        known = {
            "source_id": self.source_id,
            "source": fingerprint(fields).decode(),
            "label": str(self.source),
            "transcripts": self.content.transcripts,
            "provider_data": self.content.provider_data,
            **{
                f"source_{name}": value
                for name, value in {"kind": self.source.kind, **self.source.ids}.items()
            },
        }
        return {name: known[name] if name in known else getattr(self, name, None) for name in SOURCES}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read a row, where an older version may have left out columns.

        Raises `ValueError`, `TypeError` or `KeyError` for one that was changed.
        """
        return cls(
            source=source_from_dict(msgspec.json.decode(row["source"])),
            named=bool(row.get("named")),
            verdict=row.get("verdict") or "incomplete",
            reason=row.get("reason") or "",
            complete_as_of=row.get("complete_as_of"),
            full_read_at=row.get("full_read_at"),
            synced_at=row.get("synced_at"),
            content=Content(
                transcripts=bool(row.get("transcripts")), provider_data=bool(row.get("provider_data"))
            ),
        )


@attrs.define(frozen=True, kw_only=True)
class SourcePlan:
    """How a source is read."""

    source: CallSource
    since: datetime | None
    """Only what changed since then; ``None`` for all of it."""
    why: str
    """Why it is read so."""
    before: SourceState | None
    """What is there of it."""

    @property
    def source_id(self) -> str:
        """The key of its rows."""
        return source_id_of(self.source)

    @property
    def mode(self) -> Mode:
        """Whether all of it is read."""
        return "changes" if self.since is not None else "full"


def plan_sync(
    sources: Sequence[CallSource],
    states: Iterable[SourceState],
    content: Content,
    *,
    now: datetime,
    full_every: timedelta | None,
) -> tuple[SourcePlan, ...]:
    """Decide of each source whether all of it is read, or what changed since its last complete sync.

    Raises `SyncError` where rows would lose what earlier syncs were asked to keep.
    """
    known = {state.source: state for state in states}
    return tuple(_plan(source, known.get(source), content, now, full_every) for source in sources)


def _plan(
    source: CallSource,
    before: SourceState | None,
    content: Content,
    now: datetime,
    full_every: timedelta | None,
) -> SourcePlan:
    if before is None:
        return SourcePlan(source=source, since=None, why="It is new.", before=None)
    for name, option in _OPTIONS.items():
        if getattr(before.content, name) and not getattr(content, name):
            raise SyncError(
                f"The rows of {source.label} hold what {option}=True adds, and would lose it: "
                f"pass {option}=True again, or choose another database."
            )
    if content != before.content:  # more is asked for than its rows hold
        before = attrs.evolve(before, complete_as_of=None, full_read_at=None, content=content)
        return SourcePlan(source=source, since=None, why="Its rows are to hold more.", before=before)
    if before.complete_as_of is None:
        return SourcePlan(source=source, since=None, why="It was never complete.", before=before)
    if _is_due(before.full_read_at, now, full_every):
        return SourcePlan(source=source, since=None, why="A full read is due.", before=before)
    why = "It was complete then."
    return SourcePlan(source=source, since=before.complete_as_of, why=why, before=before)


_OPTIONS = {"transcripts": "transcripts", "provider_data": "include_provider_data"}
"""What a flag of `Content` is called among the arguments."""


def _is_due(full_read_at: datetime | None, now: datetime, full_every: timedelta | None) -> bool:
    if full_every is None:
        return False
    return full_read_at is None or now - full_read_at >= full_every


def plan_digest(plans: Iterable[SourcePlan], content: Content, page_size: int) -> str:
    """Return what is equal for two syncs that would read the same, so that one can go on with the other's."""
    since = [[plan.source.to_dict(), plan.since.isoformat() if plan.since else None] for plan in plans]
    identity = {"sources": since, "content": attrs.asdict(content), "page_size": page_size}
    return hashlib.sha256(fingerprint(identity)).hexdigest()


def conclude(
    plan: SourcePlan, report: SourceReport, content: Content, *, now: datetime, lacks_details: bool
) -> SourceState:
    """Return what is there of a source after it was read; an incomplete read moves nothing forward."""
    before = plan.before
    moment = before.complete_as_of if before else None
    full_read_at = before.full_read_at if before else None
    if report.verdict == "complete" and not lacks_details:
        moment = max(filter(None, (moment, report.complete_as_of)), default=None)
        full_read_at = now if plan.mode == "full" else full_read_at
    return SourceState(
        source=plan.source,
        named=True,
        verdict="incomplete" if lacks_details else report.verdict,
        reason="Details of some calls could not be read." if lacks_details else report.reason,
        complete_as_of=moment,
        full_read_at=full_read_at,
        synced_at=now,
        content=content,
    )


def may_mark_deleted(plan: SourcePlan, report: SourceReport) -> bool:
    """Whether calls that were not read are provably not in the list any more."""
    return plan.mode == "full" and report.verdict == "complete"


def without_moments(states: Iterable[SourceState]) -> tuple[SourceState, ...]:
    """Return states whose sources are read in full next time, for instance to fill new columns."""
    return tuple(attrs.evolve(state, complete_as_of=None, full_read_at=None) for state in states)


def check_columns(where: str, columns: Mapping[str, Kind], found: Iterable[str]) -> None:
    """Raise `SyncError` for a table with columns that this version does not know."""
    if unknown := unknown_columns(columns, found):
        raise SyncError(
            f"{where} has columns that are none of this version's: {', '.join(unknown[:5])}. Keep columns of "
            "your own in a table of your own; where a newer futureagi-async made them, upgrade."
        )


def check_version(where: str, version: int) -> None:
    """Raise `SyncError` for a database whose tables this version does not know."""
    if version > SCHEMA_VERSION:
        raise SyncError(
            f"{where} was made by a newer futureagi-async (schema_version {version}, and this one knows "
            f"{SCHEMA_VERSION}). Upgrade the package, or choose another database."
        )


@attrs.define(frozen=True)
class Commit:
    """A version of a Delta table."""

    version: int
    operation: str
    is_ours: bool
    """Whether a sync wrote it."""


_MAINTENANCE = frozenset(("OPTIMIZE", "VACUUM START", "VACUUM END"))
"""Operations that leave the rows as they are."""


def version_to_restore(commits: Iterable[Commit], finished: int) -> int | None:
    """Return to which version a table goes back before it is synced; ``None`` where it stays.

    ``commits`` are those behind ``finished``, the version that the last whole sync left, oldest first. Those
    of a sync that was killed before its end are undone. Raises `ForeignCommitError` where something else
    wrote.
    """
    kept, is_unfinished = finished, False
    for commit in commits:
        if commit.is_ours:
            is_unfinished = True
        elif commit.operation not in _MAINTENANCE:
            raise ForeignCommitError(commit)
        elif not is_unfinished:
            kept = commit.version
    return kept if is_unfinished else None


class ForeignCommitError(Exception):
    """Something else than a sync wrote into a table."""

    def __init__(self, commit: Commit) -> None:
        super().__init__(f"version {commit.version} ({commit.operation})")
        self.commit = commit
