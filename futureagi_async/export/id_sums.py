"""Sums of all ids of an export, which tell whether a record is missing or too many."""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing

from futureagi_async.sources import CallSource

_TABLE = "CREATE TABLE records (source INTEGER, id BLOB)"
_INSERT = "INSERT INTO records VALUES (?, ?)"
_IDS = "SELECT id FROM records ORDER BY id"
_PAIRS = "SELECT id, source FROM records ORDER BY source, id"
_UNKNOWN = "SELECT 1 FROM records WHERE source IS NULL LIMIT 1"
_CACHE_KIBIBYTES = 64  # records are read in the order they were written: a larger one is no quicker


class IdSums:
    """Collects ids in a temporary database, so that memory stays flat; to be closed."""

    def __init__(self, sources: Sequence[CallSource] = ()) -> None:
        self.counts: Counter[int | None] = Counter()
        """How many records were added of each source."""
        self._first = [sources.index(source) for source in sources]
        # steps of one export may run in one thread after the other
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute(f"PRAGMA cache_size = {-_CACHE_KIBIBYTES}")
        self._database.execute(_TABLE)

    def close(self) -> None:
        """Drop the database."""
        self._database.close()

    def add(self, pairs: Iterable[tuple[int | None, str]]) -> None:
        """Add records: the place of the source, ``None`` where it is not known, and the id.

        Of equal sources the first one's place counts: that is what a record in a file names.
        """
        self._database.execute("BEGIN")
        try:
            self._database.executemany(_INSERT, map(self._row, pairs))
        finally:
            self._database.execute("COMMIT")

    def _row(self, pair: tuple[int | None, str]) -> tuple[int | None, bytes]:
        source, id_ = pair
        self.counts[source] += 1
        first = source if source is None or not self._first else self._first[source]
        return first, id_.encode("utf-8", "surrogatepass")

    def ids(self) -> str:
        """Return the SHA-256 of the sorted ids, a line each."""
        return self._digest(_IDS)

    def pairs(self) -> str | None:
        """Return the SHA-256 of the sorted pairs, a line each; ``None`` where some source is not known."""
        if self._database.execute(_UNKNOWN).fetchone() is not None:
            return None
        return self._digest(_PAIRS)

    def _digest(self, query: str) -> str:
        digest = hashlib.sha256()
        with closing(self._database.execute(query)) as rows:
            for id_, *source in rows:
                digest.update(b"%d %b\n" % (source[0], id_) if source else id_ + b"\n")
        return digest.hexdigest()
