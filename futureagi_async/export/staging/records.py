"""The records of an export in the order they are written, found by what the journal says of them."""

import struct
from collections.abc import Iterable, Iterator
from itertools import accumulate, repeat, starmap
from typing import NamedTuple

from futureagi_async.export.staging.entries import Entry, Staged
from futureagi_async.export.staging.layout import Cursor
from futureagi_async.export.staging.state import State

_HEAD = struct.Struct(">IQ")  # source and age: the packed records sort as bytes
_TAIL = struct.Struct(">IIQQ")  # length of the id, file, offset, size
_KEY = struct.Struct(">d")
_NEWEST = (1 << 64) - 1


class Record(NamedTuple):
    """Where a record lies in the stage files."""

    source: int
    id: str
    key: float | None
    """When it was changed last, in Unix seconds."""
    detail: str | None
    """Whose detail holds its transcript, where the list withholds it."""
    number: int
    """Which file."""
    offset: int
    size: int


def staged_records(entries: Iterable[Entry], state: State) -> Iterator[Record]:
    """Yield records in the order they were staged; of each the newest version only."""
    cursor = Cursor(state.begun.parameters.part_rows)
    newest = state.newest
    row = 0
    for page in entries:
        if not isinstance(page, Staged):
            continue
        details = page.details or [None] * len(page.ids)
        for block in cursor.advance(page.sizes):
            some = slice(block.start, block.stop)
            sizes = page.sizes[some]
            offsets = accumulate(sizes, initial=block.offset)
            where = repeat(block.number), offsets, sizes
            columns = repeat(page.source), page.ids[some], page.keys[some], details[some], *where
            for record in starmap(Record, zip(*columns, strict=False)):
                if not newest or newest.get((record.source, record.id), row) == row:
                    yield record
                row += 1


def ordered_records(records: Iterable[Record]) -> Iterator[Record]:
    """Yield records by source, then newest first, then by id; some 150 bytes of each are in memory."""
    return map(_unpack, sorted(map(_pack, records)))


def _pack(record: Record) -> bytes:
    id_ = record.id.encode("utf-8", "surrogatepass")
    key = int.from_bytes(_KEY.pack(max(0.0, record.key or 0.0)))  # grows with the number
    head = _HEAD.pack(record.source, _NEWEST - key)
    tail = _TAIL.pack(len(id_), record.number, record.offset, record.size)
    # NUL sorts an id before those that it begins; one that holds NUL has a place that is as fixed
    return b"%b%b\0%b%b" % (head, id_, (record.detail or "").encode("utf-8", "surrogatepass"), tail)


def _unpack(packed: bytes) -> Record:
    source, age = _HEAD.unpack_from(packed)
    length, number, offset, size = _TAIL.unpack_from(packed, len(packed) - _TAIL.size)
    end = _HEAD.size + length
    id_ = packed[_HEAD.size : end].decode("utf-8", "surrogatepass")
    detail = packed[end + 1 : -_TAIL.size].decode("utf-8", "surrogatepass") or None
    key = _KEY.unpack((_NEWEST - age).to_bytes(8))[0]
    return Record(source, id_, key, detail, number, offset, size)
