"""The ledger: what came before is known again, whatever the ids look like, in little memory."""

import tracemalloc
from collections.abc import Callable, Sequence
from math import inf, nextafter
from random import Random
from typing import TypeAlias
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from futureagi_async._sansio.covering.seen_ids import SeenIds

Record: TypeAlias = tuple[str, float | None]

BEGINNINGS = st.binary(max_size=16).map(lambda some: UUID(bytes=some.ljust(16, b"\0")))
ENDS = st.binary(max_size=16).map(lambda some: UUID(bytes=some.rjust(16, b"\0")))
UUIDS = st.uuids() | BEGINNINGS | ENDS
TEXTS = st.sampled_from(["", " ", "call-7", "\ud800", "0" * 32, "-" * 36]) | st.text(max_size=40)
KEYS = st.none() | st.sampled_from([-1.0, 0.0, 1.0]) | st.floats(allow_nan=False, allow_infinity=False)
RECORDS = st.tuples(UUIDS.map(str), KEYS)
PAGES = st.lists(RECORDS, max_size=40) | st.lists(RECORDS | st.tuples(TEXTS, KEYS), max_size=40)


class Model:
    """A ledger beside a dict that does the same."""

    def __init__(self) -> None:
        self.seen_ids = SeenIds()
        self.keys: dict[str, float] = {}
        self.entries: list[str] = []

    def enter(self, page: Sequence[Record]) -> None:
        """Enter a page into both, which must agree."""
        expected = [self._expect(*record) for record in page]
        ids, keys = [record_id for record_id, _ in page], [key for _, key in page]
        assert self.seen_ids.add_all(ids, keys) == expected
        self.entries += expected
        assert len(self.seen_ids) == len(self.keys)
        assert self.seen_ids.repeats == len(self.entries) - len(self.keys)
        assert self.seen_ids.updates == self.entries.count("newer")

    def _expect(self, record_id: str, key: float | None) -> str:
        now = key or 0.0
        before = self.keys.get(record_id)
        self.keys[record_id] = now if before is None else max(before, now)
        return "new" if before is None else "newer" if now > before else "again"

    def check_all(self) -> None:
        """Find every record again with just the key that it had."""
        known = list(self.keys.items())
        self.enter(known)
        self.enter([(record_id, nextafter(key, inf)) for record_id, key in known])


@given(st.lists(PAGES, max_size=6))
def test_a_ledger_tells_records_apart_as_a_dict_would(pages: list[list[Record]]) -> None:
    """A record is new once, newer where its key has grown, and else known."""
    model = Model()
    for page in pages:
        model.enter(page)
    model.check_all()


KINDS: dict[str, Callable[[int, Random], int]] = {
    "random": lambda _, random: random.getrandbits(128),
    "successive": lambda place, _: 2**127 + place,
    "of one moment": lambda place, random: (place // 8) << 80 | random.getrandbits(76),
    "unlike in front": lambda place, _: place << 112,
    "of two bytes alone": lambda place, _: int.from_bytes(map(int, f"{place:016b}")),
}


@pytest.mark.quick(2)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=6)
@given(random=st.randoms(use_true_random=False), size=st.integers(100, 1_500), page_size=st.integers(1, 400))
def test_a_ledger_stays_right_while_it_grows(kind: str, random: Random, size: int, page_size: int) -> None:
    """Behind several doublings all records are known, each with its own key, whatever their ids share."""
    model = Model()
    ids = [str(UUID(int=KINDS[kind](place, random))) for place in range(size)]
    for start in range(0, size, page_size):
        fresh = range(start, min(start + page_size, size))
        again = [random.randrange(fresh.stop) for _ in fresh]
        model.enter([(ids[place], float(place)) for place in fresh])
        model.enter([(ids[place], place + random.choice([-0.5, 0.0, 0.5])) for place in again])
    model.check_all()


@given(st.lists(UUIDS, min_size=1, max_size=12), st.integers(1, 23), KEYS)
def test_bytes_of_two_neighbours_are_no_third_record(
    neighbours: list[UUID], start: int, key: float | None
) -> None:
    """An id that could be read across what is kept of two others is new, and then known."""
    model = Model()
    model.enter([(str(neighbour), None) for neighbour in neighbours])
    kept = b"".join(neighbour.bytes + bytes(8) for neighbour in neighbours)
    across = [kept[place : place + 16] for place in range(start, len(kept) - 15, 24)]
    model.enter([(str(UUID(bytes=some)), key) for some in across])
    model.check_all()


UUID_TEXT = "6162636a-6566-6768-696a-6b6c6d6e6f70"
OTHERS = (
    UUID_TEXT.upper(),
    UUID_TEXT.replace("-", ""),
    f"urn:uuid:{UUID_TEXT}",
    f"{{{UUID_TEXT}}}",
    f"{UUID_TEXT}-",
    f"{UUID_TEXT} {UUID_TEXT}",
    *(f"{UUID_TEXT[:at]}{UUID_TEXT[at + 1]}-{UUID_TEXT[at + 2 :]}" for at in (8, 13, 18, 23)),
    "6162636a-6566-6768-696a-6b6c6d6e6f7 ",
    "6162636a-6566-6768-696a-6b6c6d6e 6f7",
    "6162636a-6566-6768-696a-6b6c6d6e  6f",
    "6162636a-6566-6768-696a-6b6c6d-e6f70",
    "6162636a-6566-6768-696a-6b6c6d6e6fzz",
    "-" * 36,
    "abcjefghijklmnop",
)


@pytest.mark.parametrize("other", OTHERS)
def test_only_the_same_text_is_the_same_id(other: str) -> None:
    """No other spelling of an id, nor what has the same bytes, is taken for it."""
    for page in ([UUID_TEXT, other], [other, UUID_TEXT], [other], [other, other]):
        model = Model()
        model.enter([(UUID_TEXT, 1.0)])
        model.enter([(record_id, None) for record_id in page])
        model.check_all()


def test_ids_of_a_page_do_not_run_into_each_other() -> None:
    """Texts that would make UUIDs together are kept apart."""
    both = f"{UUID_TEXT} {UUID_TEXT}"
    for cut in range(1, len(both)):
        for page in ([both[:cut], both[cut:]], [both[:cut], both[cut + 1 :]]):
            model = Model()
            model.enter([(UUID_TEXT, None)])
            model.enter([(text, None) for text in page])
            model.check_all()


@pytest.mark.parametrize(("records", "most_bytes"), [(50, 3_000), (50_000, 40 * 50_000)])
def test_a_ledger_takes_little_memory(records: int, most_bytes: int) -> None:
    """Many records take some 30 bytes each, and few do not pay for many."""
    random = Random(7)
    ids = [str(UUID(int=random.getrandbits(128))) for _ in range(records)]
    keys = [1.7e9 + place for place in range(records)]
    tracemalloc.start()
    try:
        ledger = SeenIds()
        for start in range(0, records, 50):
            ledger.add_all(ids[start : start + 50], keys[start : start + 50])
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(ledger) == records
    assert taken <= most_bytes
