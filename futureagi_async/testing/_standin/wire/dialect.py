"""A dialect: the functions that write each kind of row, and the bytes they became."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

from attrs import frozen

from futureagi_async.testing._standin.data.records import Call, Row, Snapshot, TestExecution
from futureagi_async.testing._standin.wire import (
    documented_calls,
    documented_kpis,
    kpis,
    served_calls,
    served_snapshots,
    served_versions,
    slim,
)

DialectName = Literal["served", "documented"]
RowKind = Literal["detail", "run_test", "version", "execution"]
_ROW_KINDS: tuple[RowKind, ...] = ("detail", "run_test", "version", "execution")

WriteCall = Callable[[Call], dict[str, Any]]
WriteSnapshot = Callable[[Snapshot], dict[str, Any]]


@frozen
class Dialect:
    """How one dialect writes rows and KPIs."""

    name: DialectName
    write_call: dict[RowKind, WriteCall]
    write_slim_call: dict[RowKind, WriteCall]
    write_snapshot: WriteSnapshot
    write_slim_snapshot: WriteSnapshot
    write_kpis: Callable[[TestExecution], dict[str, Any]]

    def row(self, row: Row, kind: RowKind) -> bytes:
        """Return the row's JSON, written once for each version of it."""
        found = row.fragments.get(kind)
        if found is None:
            found = row.fragments[kind] = to_json(self._write(row, kind))
        return found

    def _write(self, row: Row, kind: RowKind) -> dict[str, Any]:
        if isinstance(row, Snapshot):
            return (self.write_slim_snapshot if row.call.run_test.slim else self.write_snapshot)(row)
        return (self.write_slim_call if row.run_test.slim else self.write_call)[kind](row)


def to_json(value: Any) -> bytes:
    """Raw UTF-8 without spaces, as the vendor writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def page_json(head: dict[str, Any], rows: list[bytes], tail: dict[str, Any]) -> bytes:
    """Return an envelope around rows that are JSON already."""
    parts = [to_json(head)[:-1], b',"results":[', b",".join(rows), b"]"]
    if tail:
        parts += [b",", to_json(tail)[1:-1]]
    return b"".join([*parts, b"}"])


SERVED = Dialect(
    "served",
    {
        "detail": served_calls.detail,
        "run_test": served_calls.run_test_row,
        "version": served_versions.version_row,
        "execution": served_calls.execution_row,
    },
    {
        "detail": slim.served_call,
        "run_test": slim.served_call,
        "version": slim.served_version,
        "execution": slim.served_call,
    },
    served_snapshots.snapshot_row,
    slim.served_snapshot,
    kpis.served_kpis,
)

DOCUMENTED = Dialect(
    "documented",
    {
        "detail": documented_calls.detail,
        "run_test": documented_calls.run_test_row,
        "version": documented_calls.version_row,
        "execution": documented_calls.execution_row,
    },
    dict.fromkeys(_ROW_KINDS, slim.documented_call),
    documented_calls.snapshot_row,
    slim.documented_snapshot,
    documented_kpis.documented_kpis,
)
