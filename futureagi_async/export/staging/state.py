"""What a journal's entries add up to."""

from typing import TypeAlias

import attrs

from futureagi_async.export.staging.entries import (
    Begun,
    Detailed,
    Downloaded,
    Entry,
    Failure,
    Replacing,
    Resumed,
    Staged,
)
from futureagi_async.export.staging.layout import Cursor

Key: TypeAlias = tuple[int, str]
"""A source's place, and the id of a record of it."""


@attrs.define
class State:
    """How far an export is. Of most records nothing is remembered here, so that memory stays flat."""

    begun: Begun
    resumed: int = 0
    pages: int = 0
    rows: int = 0
    """Staged, newer versions of records included."""
    records: int = 0
    """Different ones."""
    bytes: int = 0
    newest: dict[Key, int] = attrs.field(factory=dict)
    """Of records that came again: which of all rows is the newest version."""
    wanted: dict[str, None] = attrs.field(factory=dict)
    """Calls whose detail holds a transcript that the list withholds, in the order they came."""
    details: dict[str, tuple[int, int]] = attrs.field(factory=dict)
    """Where in the details file a call's detail is: offset and size."""
    gone: dict[str, None] = attrs.field(factory=dict)
    failed: dict[str, Failure] = attrs.field(factory=dict)
    downloads: dict[tuple[str, str], Downloaded] = attrs.field(factory=dict)
    downloads_bytes: int = 0
    downloaded_bytes: int = 0
    replaced: set[str] = attrs.field(factory=set)
    """Files of an earlier export that are to go."""
    _details_end: Cursor = attrs.field(factory=Cursor)

    def add(self, entry: Entry) -> None:
        """Take one entry more into account."""
        match entry:
            case Staged():
                self._add_page(entry)
            case Detailed():
                self._add_details(entry)
            case Downloaded():
                self._add_download(entry)
                self.downloaded_bytes += entry.bytes
            case Resumed():
                self.resumed += 1
            case Replacing():
                self.replaced.update(entry.names)
            case Begun():
                pass

    @property
    def details_bytes(self) -> int:
        """Size of the details read."""
        return self._details_end.offset

    def missing_details(self) -> list[str]:
        """Return the calls whose detail is still to be read."""
        return [id_ for id_ in self.wanted if id_ not in self.details and id_ not in self.gone]

    def _add_page(self, page: Staged) -> None:
        fresh = len(page.ids) - page.newer
        for place, id_ in enumerate(page.ids[fresh:], self.rows + fresh):
            self.newest[page.source, id_] = place
        self.pages += 1
        self.rows += len(page.ids)
        self.records += fresh
        self.bytes += sum(page.sizes)
        self.wanted.update((id_, None) for id_ in page.details if id_ is not None)

    def _add_download(self, entry: Downloaded) -> None:
        before = self.downloads.get((entry.call_id, entry.name))
        self.downloads_bytes += entry.bytes - (before.bytes if before is not None else 0)
        self.downloads[entry.call_id, entry.name] = entry

    def _add_details(self, entry: Detailed) -> None:
        offset = self._details_end.offset
        self._details_end.advance(entry.sizes)
        for id_, size in zip(entry.ids, entry.sizes, strict=True):
            self.details[id_] = (offset, size)
            offset += size
            self.failed.pop(id_, None)
        for id_ in entry.gone:
            self.gone[id_] = None
            self.failed.pop(id_, None)
        self.failed.update((failure.id or "", failure) for failure in entry.failed)
