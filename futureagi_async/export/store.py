"""The store of an unfinished export: part files with records, and an SQLite index of what was read.

Records are appended to part files. Then the index gets one row for their page. The row says where the records
are, and has the checkpoint for the next page. The ids of a page are packed into its row. Operations that need
single records (sorting, digests of ids, missing details) first create a temporary table of records.
"""

import hashlib
import os
import re
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from functools import partial
from itertools import accumulate, repeat, starmap
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import attrs
import msgspec

from futureagi_async._version import __version__
from futureagi_async.errors import ExportError
from futureagi_async.export.files import (
    create_file,
    describe_sqlite_error,
    export_errors,
    is_file,
    remove_files,
    replace_file,
    sync_directory,
)
from futureagi_async.export.manifest import Failure, Parameters, RecordingFile, Transcripts
from futureagi_async.export.part_files import PartFile, PartFiles, split_rows
from futureagi_async.export.partitions import folder_of_day, folder_of_source
from futureagi_async.export.targets import RESTART, Target

INDEX: Final = "index.db"
_FILES: Final = re.compile(
    r"index\.db(\.new)?(-wal|-shm|-journal)?|journal|(part|details|stage)-[0-9]{5,}\.jsonl"
    r"|(file|receipt|pairs|_manifest|manifest|(calls|evaluations)-[0-9]{5,})\.part"
)
"""The names of an export's files in a working directory. All other files are not its own."""
FORMAT: Final = 2  # format 1 was a journal of lines
_SYNC_SECONDS = 1.0
_SYNC_BYTES = 32 * 1024 * 1024
_PAGES_A_QUERY = 16
_RECORDS_A_QUERY = 1_000
_BUSY_SECONDS = 1.0  # the lock excludes other exports, so whoever has the index open only reads it
_PRIMARY_CODE = 0xFF  # of SQLite's error codes; the higher bits are the extended code

_PRAGMAS = (
    "PRAGMA locking_mode = EXCLUSIVE",  # first: avoids shared memory, which some file systems don't support
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",  # a commit survives the process; after `Store.sync`, also a power cut
    "PRAGMA wal_autocheckpoint = 0",
    "PRAGMA temp_store = FILE",
    "PRAGMA cell_size_check = ON",
)
_TABLES = """
CREATE TABLE export (
    format INTEGER NOT NULL,
    package TEXT NOT NULL,       -- the version that began it: no other can go on
    began_at TEXT NOT NULL,
    parameters TEXT NOT NULL,    -- JSON
    row_crc32 INTEGER NOT NULL   -- CRC-32 of the row's other values as MessagePack; so in all tables
);
CREATE TABLE resumed (
    at TEXT NOT NULL,
    row_crc32 INTEGER NOT NULL
);
CREATE TABLE pages (
    page INTEGER PRIMARY KEY,    -- in the order in which they came
    source INTEGER NOT NULL,     -- the place of its list among the sources, from 0
    part INTEGER NOT NULL,       -- its first record is in part-<part>.jsonl
    offset INTEGER NOT NULL,     -- ... from this byte on
    size INTEGER NOT NULL,       -- bytes; where a part is full, they go on in the next
    rows INTEGER NOT NULL,
    newer INTEGER NOT NULL,      -- how many rows, the last ones, replace rows of earlier pages
    withheld INTEGER NOT NULL,   -- how many rows lack a transcript that a detail holds
    records TEXT NOT NULL,       -- JSON: lists of ids, changed (Unix time), sizes, details (if asked for)
    checkpoint BLOB NOT NULL,    -- where reading its list goes on
    crc32 INTEGER NOT NULL,      -- of its bytes; in parts with a SHA-256, of that, behind them
    row_crc32 INTEGER NOT NULL
);
CREATE TABLE details (
    id TEXT PRIMARY KEY,
    outcome TEXT NOT NULL,       -- read, gone or failed
    offset INTEGER,              -- where details.jsonl has what is needed of it
    size INTEGER,
    crc32 INTEGER,
    error TEXT,
    message TEXT,
    row_crc32 INTEGER NOT NULL
);
CREATE TABLE recordings (
    call_id TEXT NOT NULL,
    name TEXT NOT NULL,
    url_host TEXT NOT NULL,
    path TEXT,
    bytes INTEGER NOT NULL,
    sha256 TEXT,
    error TEXT,
    row_crc32 INTEGER NOT NULL,
    PRIMARY KEY (call_id, name)
);
CREATE TABLE replaced (          -- files of an earlier export in the directory, that are to go
    name TEXT PRIMARY KEY,
    row_crc32 INTEGER NOT NULL
);
"""
_INSERTS: Final = {
    "export": "INSERT INTO export VALUES (?, ?, ?, ?, ?)",
    "resumed": "INSERT INTO resumed VALUES (?, ?)",
    "pages": "INSERT OR REPLACE INTO pages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "details": "INSERT OR REPLACE INTO details VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    "recordings": "INSERT OR REPLACE INTO recordings VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    "replaced": "INSERT OR REPLACE INTO replaced VALUES (?, ?)",
}
_SELECTS: Final = {
    "export": "SELECT * FROM export",
    "resumed": "SELECT * FROM resumed",
    "pages": "SELECT * FROM pages ORDER BY page",
    "details": "SELECT * FROM details ORDER BY offset",
    "recordings": "SELECT * FROM recordings ORDER BY rowid",
    "replaced": "SELECT * FROM replaced",
}
_DROPS: Final = {
    "SELECT rowid, * FROM resumed": "DELETE FROM resumed WHERE rowid = ?",
    "SELECT rowid, * FROM details": "DELETE FROM details WHERE rowid = ?",
    "SELECT rowid, * FROM recordings": "DELETE FROM recordings WHERE rowid = ?",
    "SELECT rowid, * FROM replaced": "DELETE FROM replaced WHERE rowid = ?",
}
"""The queries for rows with their keys, and to delete one. Pages are valid up to the first damaged one."""
_PAGES = "SELECT page, source, part, offset, newer, records FROM pages WHERE page > ? ORDER BY page LIMIT ?"
_CHECKPOINTS = "SELECT page, checkpoint FROM pages WHERE page > ? ORDER BY page LIMIT ?"

_LIST_TABLES = """
CREATE TEMP TABLE records (
    row INTEGER PRIMARY KEY, source INTEGER, id TEXT, changed REAL,
    part INTEGER, offset INTEGER, size INTEGER, detail TEXT
);
CREATE TEMP TABLE newest (source INTEGER, id TEXT, row INTEGER, PRIMARY KEY (source, id)) WITHOUT ROWID;
"""
_LIST_RECORD = "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_LIST_NEWEST = "INSERT OR REPLACE INTO newest VALUES (?, ?, ?)"
_DROP_OLDER = """
DELETE FROM records WHERE EXISTS (
    SELECT 1 FROM newest AS n WHERE n.source = records.source AND n.id = records.id AND n.row > records.row
)
"""
_AS_THEY_CAME = """
SELECT r.row, r.source, r.part, r.offset, r.size, d.offset, d.size
FROM records AS r LEFT JOIN details AS d ON d.id = r.detail AND d.outcome = 'read'
WHERE r.row > ? ORDER BY r.row LIMIT ?
"""
_ORDER = "r.source, max(coalesce(r.changed, 0.0), 0.0) DESC, r.id"
_IN_ORDER = f"""
SELECT r.row, r.source, r.part, r.offset, r.size, d.offset, d.size
FROM records AS r LEFT JOIN details AS d ON d.id = r.detail AND d.outcome = 'read'
ORDER BY {_ORDER}
"""  # noqa: S608 - of constants
_PARTITIONED = """
SELECT {key}, r.source, r.part, r.offset, r.size, d.offset, d.size
FROM records AS r JOIN folders AS f ON f.source = r.source
LEFT JOIN details AS d ON d.id = r.detail AND d.outcome = 'read'
ORDER BY 1, {order}
"""
_KEYS: Final = {
    "source": "f.folder",
    "date": "CAST(r.changed / 86400 AS INTEGER) - (r.changed < CAST(r.changed / 86400 AS INTEGER) * 86400)",
}
"""The key of a partition: the place of the folder, or the days since 1970, rounded down."""
_FOLDERS = "CREATE TEMP TABLE folders (source INTEGER PRIMARY KEY, folder INTEGER)"
_MISSING_DETAILS = """
SELECT detail FROM records
WHERE detail IS NOT NULL AND detail NOT IN (SELECT id FROM details WHERE outcome <> 'failed')
GROUP BY detail ORDER BY min(row)
"""
_FIRST_PLACES = "CREATE TEMP TABLE IF NOT EXISTS first_places (source INTEGER PRIMARY KEY, first INTEGER)"
_IDS = "SELECT id FROM records ORDER BY id"
_PAIRS = """
SELECT f.first, r.id FROM records AS r JOIN first_places AS f ON f.source = r.source ORDER BY f.first, r.id
"""

_T = TypeVar("_T", bound="_Sizes")


class Page(NamedTuple):
    """The entry of a page in the index, without its records. Its columns have one value per record."""

    source: int
    """The place of the page's source."""
    checkpoint: bytes
    newer: int
    """How many records, the last ones, are newer versions of records of earlier pages."""
    ids: Sequence[str]
    changed: Sequence[float | None]
    """The time when each record was last changed, in Unix seconds."""
    details: Sequence[str | None]
    """The ids whose detail has a missing transcript; empty without ``transcripts``."""


class Record(NamedTuple):
    """The place of a record in the part files, and of its detail (if any) in the details file."""

    source: int
    part: int
    offset: int
    size: int
    detail_offset: int | None
    detail_size: int | None


class _Sizes(msgspec.Struct):
    """The part of the column ``records`` that says where the records are."""

    sizes: Sequence[int]


class _Packed(_Sizes):
    """The column ``records`` of a page: lists with one value per record."""

    ids: Sequence[str]
    changed: Sequence[float | None]
    details: Sequence[str | None] = ()


_ENCODER = msgspec.json.Encoder()
_SIZES = msgspec.json.Decoder(_Sizes)
_PACKED = msgspec.json.Decoder(_Packed)
_PARAMETERS = msgspec.json.Decoder(Parameters)
_ROW_ENCODER = msgspec.msgpack.Encoder()


@attrs.define
class Counts:
    """The counts of an export so far."""

    resumed: int = 0
    pages: int = 0
    records: int = 0
    """Distinct records."""
    bytes: int = 0
    """Records including newer versions; also in the following counts."""
    newer: int = 0
    """Records that replace others."""
    withheld: int = 0
    """Records without a transcript whose detail has one."""
    wanted_details: int = 0
    """Calls whose details are needed; known after `Store.missing_details`."""
    details: int = 0
    """Details that are done: read, gone or failed."""
    details_bytes: int = 0
    failed_details: int = 0
    recordings: int = 0
    recordings_bytes: int = 0
    failed_recordings: int = 0


class Store:
    """The working directory of an export. The caller must hold its lock. Not thread-safe."""

    def __init__(self, target: Target, parameters: Parameters) -> None:
        self.target = target
        self.parameters = parameters
        self.counts = Counts()
        self.began_at: datetime
        self._parts = self._new_parts()
        self._details = PartFiles(self.details_path)
        self._connection: sqlite3.Connection | None = None
        self._is_open = False
        self._is_published = False
        """Whether part files already have final names."""
        self._has_list = False
        """Whether the temporary table of records exists."""
        self._unsynced_bytes = 0
        self._synced_at = time.monotonic()

    @property
    def exists(self) -> bool:
        """Whether there is an unfinished export."""
        return self._index.exists() or self._journal.exists()

    def open(self, now: datetime, *, resume: bool) -> None:
        """Continue an unfinished export or start one. Raises `ExportError` if it is of another export."""
        try:
            if not (resume and self.exists and self._resume(now)):
                self._begin(now)
        except BaseException:
            self.close()
            raise

    def add_page(self, page: Page, records: Sequence[bytes]) -> None:
        """Write the records of a page. They survive the end of this process."""
        chunk = self._parts.append(records)
        packed = _Packed(chunk.sizes, page.ids, page.changed, page.details)
        size = sum(chunk.sizes)
        withheld = len(page.details) - page.details.count(None)
        self._insert(
            "pages",
            self.counts.pages + 1,
            page.source,
            chunk.part,
            chunk.offset,
            size,
            len(records),
            page.newer,
            withheld,
            _ENCODER.encode(packed).decode(),
            page.checkpoint,
            chunk.crc32,
        )
        self._count_page(len(records), page.newer, withheld, size)
        self._sync_sometimes(size)

    def add_detail(self, id_: str, extracted: bytes) -> None:
        """Write the needed parts of a detail. They survive the end of this process."""
        chunk = self._details.append([extracted])
        self._add_detail(id_, "read", chunk.offset, sum(chunk.sizes), chunk.crc32)

    def add_gone(self, id_: str) -> None:
        """Record that a call no longer exists."""
        self._add_detail(id_, "gone")

    def add_failure(self, failure: Failure) -> None:
        """Record that the detail of a call could not be read."""
        self._add_detail(failure.id or "", "failed", error=failure.error, message=failure.message)

    def add_recording(self, file: RecordingFile) -> None:
        """Record the result of a download, and sync it to the disk."""
        query = "SELECT bytes, error FROM recordings WHERE call_id = ? AND name = ?"
        before = self._rows(query, file.call_id, file.name)
        self._insert("recordings", *msgspec.structs.astuple(file))
        self._count_recordings(before, -1)
        self._count_recordings([(file.bytes, file.error)], 1)
        self.sync()

    def has_recording(self, call_id: str, name: str) -> bool:
        """Whether a recording was downloaded."""
        query = "SELECT 1 FROM recordings WHERE call_id = ? AND name = ? AND error IS NULL"
        return bool(self._rows(query, call_id, name))

    def note_replaced(self, names: Iterable[str]) -> set[str]:
        """Record durably which files of an earlier export will be removed. Return all that were recorded."""
        for name in names:
            self._insert("replaced", name)
        self.sync()
        return {name for (name,) in self._rows("SELECT name FROM replaced")}

    def checkpoints(self) -> Iterable[bytes]:
        """Return the checkpoints of all pages in their order, without holding them in memory."""
        return _Checkpoints(partial(self._by_key, _CHECKPOINTS, _PAGES_A_QUERY)) if self.counts.pages else ()

    def missing_details(self) -> list[str]:
        """Return the calls whose details are missing, in the order in which the calls came."""
        if not self.counts.withheld:
            return []
        self._list_records()
        with self._sorting():
            found = self._database.execute("SELECT count(DISTINCT detail) FROM records").fetchone()
            (self.counts.wanted_details,) = found
            return [id_ for (id_,) in self._database.execute(_MISSING_DETAILS)]

    def transcripts(self) -> Transcripts:
        """Return the results of reading details."""
        ((fetched,),) = self._rows("SELECT count(*) FROM details WHERE outcome = 'read'")
        gone = self._rows("SELECT id FROM details WHERE outcome = 'gone' ORDER BY rowid")
        failed = self._rows("SELECT error, message, id FROM details WHERE outcome = 'failed' ORDER BY rowid")
        return Transcripts(
            fetched=fetched,
            gone=[id_ for (id_,) in gone],
            failed=[Failure(error=error, message=message, id=id_) for error, message, id_ in failed],
        )

    def recordings(self) -> list[RecordingFile]:
        """Return the result of each download."""
        rows = self._rows(_SELECTS["recordings"])
        names = RecordingFile.__struct_fields__
        return [RecordingFile(**dict(zip(names, row, strict=False))) for row in rows]

    def records_by_source(self) -> dict[int, int]:
        """Return the number of records of each source, by its place."""
        return dict(self._rows("SELECT source, sum(rows - newer) FROM pages GROUP BY source"))

    def id_digests(self, first_places: Sequence[int]) -> tuple[str, str]:
        """Return the SHA-256 of the sorted ids, and of the sorted pairs of a source's place and an id.

        Equal sources have the place of the first one, as in a file. ``first_places`` has this place for each.
        """
        self._list_records()
        with self._sorting():
            if not any(first_places):
                ids, pairs = digest_lines(self._database.execute(_IDS), "%s\n", "0 %s\n")
                return ids, pairs
            (ids,) = digest_lines(self._database.execute(_IDS), "%s\n")
            (pairs,) = digest_lines(self._sorted_pairs(first_places), "%d %s\n")
            return ids, pairs

    def write_pairs(self, path: Path, first_places: Sequence[int]) -> None:
        """Write the sorted pairs of a source's place and an id to a new file, one JSON array per line."""
        self._list_records()
        with self._sorting(), export_errors(path), os.fdopen(create_file(path), "wb") as file:
            for pair in self._sorted_pairs(first_places):
                file.write(b"%b\n" % _ENCODER.encode(pair))
            file.flush()
            os.fsync(file.fileno())

    def _sorted_pairs(self, first_places: Sequence[int]) -> sqlite3.Cursor:
        self._database.execute(_FIRST_PLACES)
        places = enumerate(first_places)
        self._database.executemany("INSERT OR REPLACE INTO first_places VALUES (?, ?)", places)
        return self._database.execute(_PAIRS)

    def records(self, *, in_order: bool = True) -> Iterator[Record]:
        """Yield the place of the newest version of each record, in the order in which they are written.

        Without ``in_order``, they come in the order in which they were read, and the index can be changed
        meanwhile.
        """
        if in_order and self.parameters.ordered:
            self._list_records()
            with self._sorting():
                yield from (Record(*row[1:]) for row in self._database.execute(_IN_ORDER))
        elif self._needs_list:
            self._list_records()
            yield from (Record(*row[1:]) for row in self._by_key(_AS_THEY_CAME, _RECORDS_A_QUERY))
        else:
            for source, _, packed, parts, offsets in self._pages(_SIZES):
                columns = repeat(source), parts, offsets, packed.sizes, repeat(None), repeat(None)
                yield from starmap(Record, zip(*columns, strict=False))

    def partitioned_records(self) -> Iterator[tuple[str, Record]]:
        """Yield the folder and the place of each record, folder by folder."""
        partition = self.parameters.partition
        assert partition is not None
        folders = list(map(folder_of_source, self.parameters.sources))
        order = _ORDER if self.parameters.ordered else "r.row"
        self._list_records()
        with self._sorting():
            self._database.execute("DROP TABLE IF EXISTS temp.folders")
            self._database.execute(_FOLDERS)
            places = enumerate(map(folders.index, folders))
            self._database.executemany("INSERT INTO folders VALUES (?, ?)", places)
            query = _PARTITIONED.format(key=_KEYS[partition], order=order)
            for key, *record in self._database.execute(query):
                yield folders[key] if partition == "source" else folder_of_day(key), Record(*record)

    def prepare_records(self) -> None:
        """Do the work that `records` does before its first unsorted record."""
        if self._needs_list:
            self._list_records()

    @property
    def _needs_list(self) -> bool:
        """Whether the temporary table is needed to find newest versions and details."""
        return bool(self.counts.newer or self.counts.details_bytes)

    def _list_records(self) -> None:
        """Create the temporary table with the newest version of each record, after all pages are read."""
        if self._has_list:
            return
        with self._sorting():
            self._database.executescript(_LIST_TABLES)
            self._database.execute("BEGIN")
            begin = 1
            for source, newer, packed, parts, offsets in self._pages(_PACKED):
                rows = range(begin, begin := begin + len(parts))
                details = packed.details or repeat(None)
                columns = (
                    rows,
                    repeat(source),
                    packed.ids,
                    packed.changed,
                    parts,
                    offsets,
                    packed.sizes,
                    details,
                )
                self._database.executemany(_LIST_RECORD, zip(*columns, strict=False))
                if newer:
                    again = zip(repeat(source), packed.ids[-newer:], rows[-newer:], strict=False)
                    self._database.executemany(_LIST_NEWEST, again)
            if self.counts.newer:
                self._database.execute(_DROP_OLDER)
            self._database.execute("COMMIT")
        self._has_list = True

    def part_files(self) -> list[PartFile]:
        """Return the state of each part file."""
        return self._parts.files

    def part_path(self, number: int) -> Path:
        """Return the path of a part file. The last step of an export gives it its final name."""
        path = self.target.work / f"part-{number:05}.jsonl"
        return (
            self.target.folder / self.target.part_name(number)
            if self._is_published and not path.exists()
            else path
        )

    def details_path(self, number: int) -> Path:
        """Return the path of the file of details."""
        return self.target.work / f"details-{number:05}.jsonl"

    def sync(self) -> None:
        """Sync everything to the disk, so that it also survives a power cut."""
        self._parts.sync()
        self._details.sync()
        with export_errors(self._index):
            _checkpoint(self._database)
        self._unsynced_bytes, self._synced_at = 0, time.monotonic()

    def leave(self) -> None:
        """Close everything. If no page was written, remove all files: there is nothing to continue."""
        if self._is_open:
            with suppress(ExportError):
                self.sync()
        empty = self._is_open and not self.counts.pages
        self.close()
        if empty or not self.exists:
            with suppress(ExportError):
                self.remove()

    def end_reading(self) -> None:
        """Sync everything to the disk, and close the files that will not change."""
        self.sync()
        self._parts.close()
        self._details.close()

    def close(self) -> None:
        """Close all files."""
        self._parts.close()
        self._details.close()
        if self._connection is not None:
            self._connection.close()
        self._connection, self._is_open, self._has_list = None, False, False

    def remove(self) -> None:
        """Remove all files of the export in the working directory except the lock."""
        self.close()
        with export_errors(self._index, "remove"):
            self._index.unlink(missing_ok=True)  # first: without the index, the remaining files are ignored
        remove_files(self.target.work, _FILES)
        # The lock marks files as an export's. On the disk, too, it comes before them and goes after them.
        sync_directory(self.target.work)

    @property
    def _database(self) -> sqlite3.Connection:
        assert self._connection is not None
        return self._connection

    @property
    def _index(self) -> Path:
        return self.target.work / INDEX

    @property
    def _journal(self) -> Path:
        """The journal that earlier versions used instead of the index."""
        return self.target.work / "journal"

    def _new_parts(self) -> PartFiles:
        """Return new part files. If they can become final files, they compute the digest for the manifest."""
        with_sha256 = self.target.is_directory and self.parameters.writes_as_stored
        return PartFiles(self.part_path, self.parameters.part_rows, with_sha256=with_sha256)

    def _begin(self, now: datetime) -> None:
        self.remove()
        self.counts, self.began_at, self._is_published = Counts(), now, False
        self._parts, self._details = self._new_parts(), PartFiles(self.details_path)
        with _new_index(self._index) as database:
            parameters = _ENCODER.encode(self.parameters).decode()
            _insert(database, "export", FORMAT, __version__, now.isoformat(), parameters)
        with export_errors(self._index):
            self._connection = _connect(self._index)
        self._open_files()

    def _resume(self, now: datetime) -> bool:
        """Restore the valid pages and cut off the rest. Return whether there is anything to continue from."""
        if self._journal.exists():
            raise self._refusal("an earlier version")
        with export_errors(self._index, "read"):
            self._connection = _open_index(self._index)
            if not self._take_export():
                return False
            _drop_damaged_rows(self._database)
            self._is_published = True
            whole = self._take_pages()
            self._is_published = self._parts.files[0].rows > 0 and self._is_any_published()
            if self._is_published and not whole:
                return False
            self._take_details()
            self._count_recordings(self._rows("SELECT bytes, error FROM recordings"), 1)
            self.counts.resumed = len(self._rows("SELECT 1 FROM resumed")) + 1
            self._database.text_factory = str
        self._insert("resumed", now.isoformat())
        self._open_files()
        self.sync()
        return True

    def _take_export(self) -> bool:
        """Refuse to continue an export with other parameters. Return ``False`` for a damaged row."""
        try:
            found = self._database.execute("SELECT format, package FROM export").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                raise
            raise self._refusal("another version") from None  # whose tables are others
        if found not in (None, (FORMAT, __version__)):
            raise self._refusal(f"version {found[1]}")
        row = self._database.execute(_SELECTS["export"]).fetchone()
        if row is None or not _is_whole(row):
            return False
        _, _, began_at, parameters, _ = row
        if different := self.parameters.differences(_PARAMETERS.decode(parameters)):
            raise ExportError(
                f"{self.target} has an unfinished export with other parameters: "
                f"{'; '.join(different)}. Use the same parameters to continue, or start again with {RESTART}."
            )
        self.began_at = datetime.fromisoformat(began_at)
        return True

    def _take_pages(self) -> bool:
        """Restore the pages up to the first damaged one, and drop the rest. Return whether all are valid."""
        for row in self._database.execute(_SELECTS["pages"]):
            page, *_, rows, newer, withheld, records, _, crc32, _ = row
            if page != self.counts.pages + 1 or not _is_whole(row):
                break
            sizes = _SIZES.decode(records).sizes
            if not self._parts.check(sizes, crc32):
                break
            self._count_page(rows, newer, withheld, sum(sizes))
        forget = "DELETE FROM pages WHERE page > ?"
        return self._database.execute(forget, (self.counts.pages,)).rowcount == 0

    def _take_details(self) -> None:
        """Restore the details. Those that were read count up to the first damaged one."""
        for _, outcome, offset, size, crc32, *_ in self._database.execute(_SELECTS["details"]):
            if outcome != "read":
                self._count_detail(outcome, 1)
            elif offset == self.counts.details_bytes and self._details.check([size], crc32):
                self._count_detail(outcome, 1, size)
        self._database.execute("DELETE FROM details WHERE offset >= ?", (self.counts.details_bytes,))

    def _open_files(self) -> None:
        if not self._is_published:
            self._parts.open()
        if self.parameters.transcripts:  # opened only when needed: some systems allow few open files
            self._details.open()
        for directory in (self.target.work, self.target.work.parent):
            sync_directory(directory)
        self._is_open = True

    def _is_any_published(self) -> bool:
        numbers = range(len(self._parts.files))
        return any(self.part_path(number).parent != self.target.work for number in numbers)

    def _refusal(self, version: str) -> ExportError:
        return ExportError(
            f"{self.target} has an unfinished export of {version} of this package, but this is version "
            f"{__version__}. Finish it with that version, or start again with {RESTART}."
        )

    def _add_detail(
        self,
        id_: str,
        outcome: str,
        offset: int | None = None,
        size: int | None = None,
        crc32: int | None = None,
        error: str | None = None,
        message: str | None = None,
    ) -> None:
        before = self._rows("SELECT outcome FROM details WHERE id = ?", id_)
        self._insert("details", id_, outcome, offset, size, crc32, error, message)
        for (replaced,) in before:  # a failed detail that was requested again
            self._count_detail(replaced, -1)
        self._count_detail(outcome, 1, size or 0)
        self._sync_sometimes(size or 0)

    def _count_page(self, rows: int, newer: int, withheld: int, size: int) -> None:
        self.counts.pages += 1
        self.counts.records += rows - newer
        self.counts.newer += newer
        self.counts.withheld += withheld
        self.counts.bytes += size

    def _count_detail(self, outcome: str, number: int, size: int = 0) -> None:
        self.counts.details += number
        self.counts.failed_details += number if outcome == "failed" else 0
        self.counts.details_bytes += size

    def _count_recordings(self, files: Iterable[tuple[int, str | None]], number: int) -> None:
        for size, error in files:
            self.counts.recordings += number
            self.counts.recordings_bytes += number * size
            self.counts.failed_recordings += number if error is not None else 0

    def _sync_sometimes(self, size: int) -> None:
        """Sync from time to time. After a power cut, damaged records fail their CRC and are read again."""
        self._unsynced_bytes += size
        seconds = time.monotonic() - self._synced_at
        if self._unsynced_bytes >= _SYNC_BYTES or seconds >= _SYNC_SECONDS:
            self.sync()

    def _insert(self, table: str, *values: object) -> None:
        with export_errors(self._index):
            _insert(self._database, table, *values)

    def _rows(self, query: str, *values: object) -> list[Any]:
        with export_errors(self._index, "read"):
            return self._database.execute(query, values).fetchall()

    def _by_key(self, query: str, limit: int) -> Iterator[Any]:
        """Yield rows in chunks by their first column, so that the index can be changed in between."""
        last = 0
        while rows := self._rows(query, last, limit):
            yield from rows
            last = rows[-1][0]

    def _pages(
        self, decoder: "msgspec.json.Decoder[_T]"
    ) -> Iterator[tuple[int, int, _T, list[int], list[int]]]:
        """Yield for each page its source, number of newer records, records, and their parts and offsets."""
        rows_before, rows_a_part = 0, self.parameters.part_rows
        for _, source, part, offset, newer, records in self._by_key(_PAGES, _PAGES_A_QUERY):
            packed = decoder.decode(records)
            filled = rows_before - part * (rows_a_part or 0)
            parts: list[int] = []
            offsets: list[int] = []
            for number, some in split_rows(len(packed.sizes), part, filled, rows_a_part):
                *begins, _ = accumulate(packed.sizes[some], initial=offset if number == part else 0)
                parts += [number] * len(begins)
                offsets += begins
            yield source, newer, packed, parts, offsets
            rows_before += len(parts)

    @contextmanager
    def _sorting(self) -> Iterator[None]:
        """Raise `ExportError` with what to do if the disk has no space for SQLite's sorting."""
        try:
            yield
        except sqlite3.Error as error:
            raise ExportError(
                f"Can't sort the records of {self.target}: {describe_sqlite_error(error)}. SQLite needs "
                "temporary files, about 300 bytes per record. Set SQLITE_TMPDIR or TMPDIR to a directory "
                "with free space."
            ) from error


@attrs.define(frozen=True)
class _Checkpoints:
    """Checkpoints that are read from the index in each iteration."""

    read: Callable[[], Iterator[tuple[int, bytes]]]

    def __iter__(self) -> Iterator[bytes]:
        return (checkpoint for _, checkpoint in self.read())


def digest_lines(rows: sqlite3.Cursor, *lines: str) -> list[str]:
    """Return the SHA-256 of the rows, one per line, for each line format."""
    digests = [hashlib.sha256() for _ in lines]
    while some := rows.fetchmany(_RECORDS_A_QUERY):
        for line, digest in zip(lines, digests, strict=True):
            digest.update("".join([line % row for row in some]).encode())
    return [digest.hexdigest() for digest in digests]


def _connect(path: Path) -> sqlite3.Connection:
    """Open a database that several threads use one after the other."""
    database = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        for pragma in _PRAGMAS:
            database.execute(pragma)
    except BaseException:
        database.close()
        raise
    return database


def _checkpoint(database: sqlite3.Connection) -> None:
    """Sync committed changes to the disk: sync the log, and move it into the database."""
    database.execute("PRAGMA main.wal_checkpoint").fetchall()


def _insert(database: sqlite3.Connection, table: str, *values: object) -> None:
    database.execute(_INSERTS[table], (*values, zlib.crc32(_ROW_ENCODER.encode(values))))


def _is_whole(row: Sequence[object]) -> bool:
    """Whether a row is unchanged. SQLite itself does not detect changed values."""
    *values, crc32 = row
    return zlib.crc32(_ROW_ENCODER.encode(values)) == crc32


@contextmanager
def _new_index(path: Path) -> Iterator[sqlite3.Connection]:
    """Create an index that appears with everything that the block puts into it, or not at all."""
    new = path.with_name(f"{path.name}.new")
    with export_errors(new):
        for stale in (new, _log_of(new)):
            stale.unlink(missing_ok=True)
        os.close(create_file(new))  # SQLite itself would create it readable for others
        with closing(_connect(new)) as database:
            database.executescript(f"BEGIN; {_TABLES} COMMIT; BEGIN;")
            yield database
            database.execute("COMMIT")
            _checkpoint(database)
        _log_of(path).unlink(missing_ok=True)  # it belongs to the replaced index
        replace_file(new, path)
    sync_directory(path.parent)


def _open_index(path: Path) -> sqlite3.Connection:
    """Open an index. From a damaged one, the readable rows are first copied to a new one."""
    for file in (path, _log_of(path)):
        if os.path.lexists(file) and not is_file(file):
            raise ExportError(f"Can't use {file}: it exists and is not a regular file.")
    if not _is_sound(path):
        with _new_index(path) as new:
            for table in _SELECTS:
                new.executemany(_INSERTS[table], _readable_rows(path, table))
    database = _connect(path)
    database.text_factory = _any_text
    return database


def _is_sound(path: Path) -> bool:
    """Whether a database passes SQLite's check and is not empty."""
    try:
        with closing(_connect(path)) as database:
            found = database.execute("PRAGMA quick_check(1)").fetchall()
            ((tables,),) = database.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        return False
    return bool(found == [("ok",)] and tables)


def _readable_rows(path: Path, table: str) -> Iterator[Any]:
    """Yield the unchanged rows of a damaged database, up to the first unreadable place."""
    try:
        with closing(_connect(path)) as database:
            database.text_factory = _any_text
            yield from filter(_is_whole, database.execute(_SELECTS[table]))
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether an error is about the content of the database, not about the disk."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_CODE
    return code in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _any_text(raw: bytes) -> str:
    """Decode text that should be UTF-8. Other text fails the CRC of its row."""
    return raw.decode("utf-8", "replace")


def _drop_damaged_rows(database: sqlite3.Connection) -> None:
    """Delete changed rows, except rows of pages."""
    for select, drop in _DROPS.items():
        damaged = [(key,) for key, *row in database.execute(select) if not _is_whole(row)]
        database.executemany(drop, damaged)


def _log_of(path: Path) -> Path:
    """Return the path of SQLite's write-ahead log."""
    return path.with_name(f"{path.name}-wal")
