"""The journal and the staged records: what is cut or changed is noticed, and what is whole is kept."""

import zlib
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futureagi_async import ExportError, RunTestCalls
from futureagi_async.export.id_sums import IdSums
from futureagi_async.export.manifest import Parameters, identify
from futureagi_async.export.staging.entries import (
    FORMAT,
    Begun,
    Detailed,
    Entry,
    Failure,
    Replacing,
    Resumed,
    Staged,
    decode_lines,
    encode_line,
)
from futureagi_async.export.staging.layout import Cursor
from futureagi_async.export.staging.records import Record, ordered_records, staged_records
from futureagi_async.export.staging.state import State

NOW = datetime(2026, 1, 5, tzinfo=UTC)
SOURCE = RunTestCalls("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed")


def make_parameters(**changed: Any) -> Parameters:
    """Return the parameters of an export into parts of two records."""
    usual: dict[str, Any] = {
        "layout": "directory",
        "format": "jsonl",
        "compression": None,
        "normalised": False,
        "ordered": False,
        "page_size": 100,
        "part_rows": 2,
        "include_provider_data": False,
        "transcripts": False,
        "recordings": False,
        "since": None,
        "sources": [identify(SOURCE)],
    }
    return Parameters(**{**usual, **changed})


def begun(**changed: Any) -> Begun:
    """Return a journal's first entry."""
    return Begun(format=FORMAT, package="1.0", at=NOW, parameters=make_parameters(**changed))


def page(ids: str, *, newer: int = 0, keys: list[float | None] | None = None, source: int = 0) -> Staged:
    """Return a page of records that are called by letters, each ten bytes long."""
    return Staged(
        source=source,
        mark=b"mark",
        newer=newer,
        ids=list(ids),
        keys=keys if keys is not None else [None] * len(ids),
        sizes=[10] * len(ids),
        sums=["sum"],
        details=[],
    )


ENTRIES: list[Entry] = [
    begun(),
    page("abc"),
    Detailed(ids=["a"], sizes=[5], sums=["x"], gone=["b"], failed=[Failure(error="E", message="m", id="c")]),
    Resumed(at=NOW),
    page("é\ud800"[:1], newer=1),
    Replacing(names=["calls-00000.jsonl"]),
]


def text_of(entries: list[Entry]) -> bytes:
    """Return a journal's text."""
    lines, checksum = [], 0
    for entry in entries:
        line, checksum = encode_line(entry, checksum)
        lines.append(line)
    return b"".join(lines)


def entries_in(text: bytes) -> list[Entry]:
    """Return what a journal's text holds."""
    return [entry for entry, _, _ in decode_lines(text.splitlines(keepends=True))]


def test_entries_come_back_as_they_were() -> None:
    """Each kind of entry is read as it was written."""
    assert entries_in(text_of(ENTRIES)) == ENTRIES


@given(st.data())
def test_a_cut_journal_holds_what_was_whole(data: st.DataObject) -> None:
    """Wherever a journal was cut, the entries before the cut are there, and no other."""
    text = text_of(ENTRIES)
    cut = data.draw(st.integers(0, len(text)))
    whole = text[:cut].count(b"\n")
    assert entries_in(text[:cut]) == ENTRIES[:whole]


@given(st.data())
def test_a_changed_bit_ends_the_journal(data: st.DataObject) -> None:
    """An entry with any bit changed, and all after it, are not believed."""
    text = bytearray(text_of(ENTRIES))
    place, bit = data.draw(st.integers(0, len(text) - 1)), data.draw(st.integers(0, 7))
    hit = bytes(text[:place]).count(b"\n")
    text[place] ^= 1 << bit
    assert entries_in(bytes(text)) == ENTRIES[:hit]


def test_entries_that_changed_places_are_not_believed() -> None:
    """A checksum covers what stood before, so that lost or moved lines show."""
    lines = text_of(ENTRIES).splitlines(keepends=True)
    assert entries_in(b"".join([lines[0], lines[2]])) == ENTRIES[:1]
    assert entries_in(b"".join([lines[0], lines[2], lines[1]])) == ENTRIES[:1]


def test_an_entry_of_another_version_is_refused() -> None:
    """What is whole but not understood is not thrown away: the error says so."""
    body = b'{"entry": "of tomorrow"}'
    line = b"%08x %b\n" % (zlib.crc32(body), body)
    with pytest.raises(ExportError, match="another version"):
        entries_in(line)


@given(st.lists(st.lists(st.integers(1, 50), max_size=7), max_size=8), st.integers(1, 5) | st.none())
def test_records_lie_one_behind_the_other(pages: list[list[int]], rows: int | None) -> None:
    """Every record has a place of its own, no file holds more than it may, and all but the last are full."""
    cursor, ends, counts = Cursor(rows), {}, {}
    for sizes in pages:
        blocks = cursor.advance(sizes)
        assert [size for block in blocks for size in sizes[block.start : block.stop]] == sizes
        for block in blocks:
            assert block.offset == ends.get(block.number, 0)
            ends[block.number] = block.offset + block.size
            counts[block.number] = counts.get(block.number, 0) + block.stop - block.start
    assert list(counts) == list(range(len(counts)))
    if rows is not None:
        assert all(count == rows for count in list(counts.values())[:-1])
        assert all(count <= rows for count in counts.values())


def test_the_newest_version_of_a_record_counts() -> None:
    """A record that came again is written once, from where its newest version lies."""
    entries: list[Entry] = [begun(part_rows=3), page("ab"), page("cab", newer=2), page("a", newer=1)]
    state = State(begun(part_rows=3))
    for entry in entries[1:]:
        state.add(entry)
    found = [(record.id, record.number, record.offset) for record in staged_records(entries, state)]
    assert found == [("c", 0, 20), ("b", 1, 10), ("a", 1, 20)]
    assert (state.records, state.rows, state.pages) == (3, 6, 3)


@given(
    st.lists(
        st.builds(
            Record,
            st.integers(0, 3),
            st.text(st.characters(exclude_characters="\0"), max_size=3),  # NUL ends an id while sorting
            st.none() | st.floats(0, 4e9, allow_subnormal=False),
            st.none() | st.text("0123abc-", min_size=1),
            st.integers(0, 9),
            st.integers(0, 2**40),
            st.integers(0, 2**30),
        ),
        unique_by=lambda record: (record.source, record.id),
    )
)
def test_order_is_by_source_then_newest_then_id(records: list[Record]) -> None:
    """Records come back whole, in an order that says nothing of how they arrived."""
    expected = sorted(
        records, key=lambda r: (r.source, -(r.key or 0.0), r.id.encode("utf-8", "surrogatepass"))
    )
    found = list(ordered_records(records))
    assert [record._replace(key=record.key or 0.0) for record in expected] == found
    assert list(ordered_records(reversed(records))) == found


def sums_of(*pairs: tuple[int | None, str]) -> tuple[str, str | None]:
    """Return the sums of ids and of pairs."""
    with closing(IdSums()) as sums:
        sums.add(pairs)
        assert sums.counts.total() == len(pairs)
        return sums.ids(), sums.pairs()


def test_sums_of_ids_tell_sources_apart_where_they_are_known() -> None:
    """The same ids in other sources have another sum; in any order they have the same."""
    one, other = sums_of((0, "a"), (1, "b")), sums_of((1, "a"), (0, "b"))
    assert one[0] == other[0]
    assert one[1] != other[1]
    assert sums_of((1, "b"), (0, "a")) == one
    assert sums_of((None, "a"), (1, "b")) == (one[0], None)
    assert sums_of((0, "a"), (1, "b"), (1, "b"))[0] != one[0]
