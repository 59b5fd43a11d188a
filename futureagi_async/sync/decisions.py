"""What a sync reads, and what follows from the result. No I/O, no clock."""

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
    """The options that decide which data the rows have."""

    transcripts: bool
    provider_data: bool


@attrs.define(frozen=True, kw_only=True)
class SourceState:
    """A row of the table ``sources``: the state of a source, from which the next sync continues."""

    source: CallSource
    named: bool
    """Whether the source was given to the last sync."""
    verdict: str
    reason: str
    complete_as_of: datetime | None
    """The database has all changes up to this time of the server; ``None`` if no sync was complete."""
    full_read_at: datetime | None
    """When the last complete full read began."""
    synced_at: datetime | None
    """When the last sync of this source began."""
    content: Content

    @property
    def source_id(self) -> str:
        """The key of the source's rows."""
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
        """Read a row. An older version of the package may not have written all columns.

        Raises `ValueError`, `TypeError` or `KeyError` for a row that was changed.
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
    """How a source will be read."""

    source: CallSource
    since: datetime | None
    """Read only changes since then; ``None`` to read the whole list."""
    why: str
    """Why the source is read this way."""
    before: SourceState | None
    """The state of the source before this sync; ``None`` for its first sync."""

    @property
    def source_id(self) -> str:
        """The key of the source's rows."""
        return source_id_of(self.source)

    @property
    def mode(self) -> Mode:
        """Whether the whole list or only changes are read."""
        return "changes" if self.since is not None else "full"


def plan_sync(
    sources: Sequence[CallSource],
    states: Iterable[SourceState],
    content: Content,
    *,
    now: datetime,
    full_every: timedelta | None,
) -> tuple[SourcePlan, ...]:
    """Decide for each source whether to read the whole list, or the changes since its last complete sync.

    Raises `SyncError` if rows would lose data that earlier syncs were told to keep.
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
        return SourcePlan(source=source, since=None, why="This is its first sync.", before=None)
    for name, option in _OPTIONS.items():
        if getattr(before.content, name) and not getattr(content, name):
            raise SyncError(
                f"The rows of {source.label} have data from {option}=True, and would lose it: "
                f"pass {option}=True again, or choose another database."
            )
    if content != before.content:  # more data is requested than its rows have
        before = attrs.evolve(before, complete_as_of=None, full_read_at=None, content=content)
        why = "More data was requested than its rows have."
        return SourcePlan(source=source, since=None, why=why, before=before)
    if before.complete_as_of is None:
        return SourcePlan(source=source, since=None, why="No earlier sync was complete.", before=before)
    if _is_due(before.full_read_at, now, full_every):
        return SourcePlan(source=source, since=None, why="A full read is due.", before=before)
    why = "The last sync was complete."
    return SourcePlan(source=source, since=before.complete_as_of, why=why, before=before)


_OPTIONS = {"transcripts": "transcripts", "provider_data": "include_provider_data"}
"""The argument of `sync_calls` for each field of `Content`."""


def _is_due(full_read_at: datetime | None, now: datetime, full_every: timedelta | None) -> bool:
    if full_every is None:
        return False
    return full_read_at is None or now - full_read_at >= full_every


def plan_digest(plans: Iterable[SourcePlan], content: Content, page_size: int) -> str:
    """Return a digest that is equal for two syncs that read the same, so that one can resume the other."""
    since = [[plan.source.to_dict(), plan.since.isoformat() if plan.since else None] for plan in plans]
    identity = {"sources": since, "content": attrs.asdict(content), "page_size": page_size}
    return hashlib.sha256(fingerprint(identity)).hexdigest()


def conclude(
    plan: SourcePlan, report: SourceReport, content: Content, *, now: datetime, lacks_details: bool
) -> SourceState:
    """Return the state of a source after a read. An incomplete read does not advance its times."""
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
    """Whether calls that were not read are provably no longer in the list."""
    return plan.mode == "full" and report.verdict == "complete"


def without_moments(states: Iterable[SourceState]) -> tuple[SourceState, ...]:
    """Return states that make the next sync read the sources in full, for instance to fill new columns."""
    return tuple(attrs.evolve(state, complete_as_of=None, full_read_at=None) for state in states)


def check_columns(where: str, columns: Mapping[str, Kind], found: Iterable[str]) -> None:
    """Raise `SyncError` for a table with columns that this version does not know."""
    if unknown := unknown_columns(columns, found):
        raise SyncError(
            f"{where} has columns that this version does not know: {', '.join(unknown[:5])}. Move columns of "
            "your own to another table. If a newer futureagi-async made the columns, upgrade the package."
        )


def check_version(where: str, version: int) -> None:
    """Raise `SyncError` for a database with a newer schema."""
    if version > SCHEMA_VERSION:
        raise SyncError(
            f"{where} was made by a newer futureagi-async (schema_version {version}; this one supports up to "
            f"{SCHEMA_VERSION}). Upgrade the package, or choose another database."
        )


@attrs.define(frozen=True)
class Commit:
    """A commit of a Delta table."""

    version: int
    operation: str
    is_ours: bool
    """Whether a sync wrote it."""


_MAINTENANCE = frozenset(("OPTIMIZE", "VACUUM START", "VACUUM END"))
"""Operations that do not change the rows."""


def version_to_restore(commits: Iterable[Commit], finished: int) -> int | None:
    """Return the version to which a table must be restored before a sync; ``None`` if it needs no restore.

    ``commits`` are those after ``finished``, the version at the end of the last complete sync, oldest first.
    Commits of a sync that was killed are undone. Raises `ForeignCommitError` if another program wrote.
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
    """Another program wrote to a table."""

    def __init__(self, commit: Commit) -> None:
        super().__init__(f"version {commit.version} ({commit.operation})")
        self.commit = commit
