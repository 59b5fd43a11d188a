"""The cover against an exact model of the server's lists: complete is true, and found cheaply."""

import random
from collections.abc import Callable
from math import ceil
from typing import Any

import pytest

from futureagi_async._sansio.covering import Cover
from futureagi_async._sansio.covering.pages import ListTraits, PageResult
from tests.sansio.listmodel import RUN_TEST, TEST_EXECUTION, VERSION, Changes, Driver, ModelList, Run

KINDS = pytest.mark.parametrize(
    "traits", [RUN_TEST, TEST_EXECUTION, VERSION], ids=["run-test", "execution", "version"]
)
SCENES: dict[str, dict[str, Any]] = {
    "still": {},
    "ties of 4": {"tie_size": 4},
    "ties of 50": {"tie_size": 50},
    "ties of 300": {"tie_size": 300},
    "1 update/s": {"updates": 1},
    "20 updates/s": {"updates": 20},
    "100 updates/s": {"updates": 100},
    "a mix": {"updates": 10, "inserts": 0.5, "deletes": 2, "soft_deletes": 2},
    "front ties": {"ties": 2},
    "deletes": {"deletes": 10},
    "skew": {"updates": 5, "skew": 2.0},
    "late commits": {"updates": 5, "commit_delay": 3.0},
    "old entries": {"updates": 2, "old_entries": 2},
    "all rows half a second old": {"age": 0.5, "spacing": 0.0001, "warm_up_seconds": 0.0},
    "a slow server": {"updates": 10, "request_seconds": 1.5, "concurrency": 16},
}


def read(
    traits: ListTraits,
    seed: int,
    *,
    count: int = 1_200,
    tie_size: int = 1,
    age: float = 100.0,
    spacing: float = 1.0,
    request_seconds: float = 0.2,
    concurrency: int = 4,
    warm_up_seconds: float = 4.0,
    max_body_bytes: int = 0,
    make_cover: Callable[..., Cover] = Cover,
    **rates: float,
) -> Run:
    """Read a model list once; no body fits, so that a cover is needed."""
    model = ModelList(traits, random.Random(seed))
    model.fill(count, tie_size=tie_size, age=age, spacing=spacing)
    cover = make_cover(traits, page_size=100, max_body_bytes=max_body_bytes or -1)
    changes = Changes(model, **rates)
    changes(warm_up_seconds)  # so that changes are under way when the read begins
    return Driver(model, cover, changes, concurrency, request_seconds).run()


@KINDS
@pytest.mark.parametrize("scene", SCENES)
def test_complete_never_misses_a_promised_row(traits: ListTraits, scene: str) -> None:
    """Whatever the list does meanwhile, a complete list has every row that the guarantee promises."""
    runs = [read(traits, seed, **SCENES[scene]) for seed in range(3)]
    assert [run.missed for run in runs if run.conclusion.verdict == "complete"] == [
        set() for run in runs if run.conclusion.verdict == "complete"
    ]
    assert any(run.conclusion.verdict == "complete" for run in runs), runs[0].conclusion


@KINDS
@pytest.mark.parametrize(("tie_size", "at_most"), [(1, 1.2), (4, 1.2), (50, 1.7)])
def test_a_still_list_of_3000_costs_little_more_than_naive_paging(
    traits: ListTraits, tie_size: int, at_most: float
) -> None:
    """A still list is proven with a few more requests than reading its pages once."""
    run = read(traits, 1, count=3_000, tie_size=tie_size)
    assert run.conclusion.verdict == "complete"
    assert run.requests <= at_most * run.naive_requests


@KINDS
@pytest.mark.parametrize("count", [0, 1, 9, 49, 50, 51, 99, 100, 101, 374, 800])
def test_a_list_that_fits_one_page_takes_three_requests(traits: ListTraits, count: int) -> None:
    """An atomic page proves a short list in at most three requests."""
    run = read(traits, 3, count=count, tie_size=4, max_body_bytes=1 << 26, request_seconds=0.05)
    assert run.conclusion.verdict == "complete"
    assert run.got == run.promised
    assert run.requests <= 3


@pytest.mark.parametrize(
    ("key", "seconds_a_row", "tried"),
    [(1.7e9, 0.009, True), (1.7e9, 0.03, False), (None, 0.03, True), (None, 0.18, True), (None, 0.2, False)],
)
def test_one_page_is_tried_where_it_may_be_had(key: float | None, seconds_a_row: float, tried: bool) -> None:
    """In 3 s as estimated, in 60 s where the rows have no keys that could prove the list otherwise."""
    cover = Cover(RUN_TEST, page_size=10, max_body_bytes=1 << 26)
    ask = cover.next_page()
    assert ask is not None
    cover.add_result(
        PageResult(
            request=ask,
            count=251,
            ids=[str(number) for number in range(10)],
            keys=[key] * 10,
            has_next=True,
            sent_at=0.0,
            received_at=10 * seconds_a_row,
            server_time=1.7e9 + 100,
        )
    )
    following = cover.next_page()
    assert following is not None
    assert (following.limit >= 251) == tried


@pytest.mark.parametrize("traits", [RUN_TEST, TEST_EXECUTION], ids=["run-test", "execution"])
def test_overload_is_incomplete_within_the_budget(traits: ListTraits) -> None:
    """A list that changes faster than it can be read ends incomplete, within its budget of requests."""
    run = read(traits, 5, count=1_500, updates=2_000, request_seconds=1.0)
    assert run.conclusion.verdict == "incomplete"
    assert run.requests <= 6 * ceil(1_600 / 100) + 30


def test_work_per_page_does_not_grow_with_the_list() -> None:
    """A list ten times as long asks for about ten times as many pages, no more."""
    short = read(RUN_TEST, 7, count=1_000)
    long = read(RUN_TEST, 7, count=10_000)
    assert long.requests <= 10.5 * short.requests


class TestNaivePaging:
    """The way everybody else reads loses rows in the same harness."""

    def test_reading_page_after_page_loses_rows_of_a_still_list(self) -> None:
        """Ties in another order on another page lose rows although nothing changes."""
        model = ModelList(RUN_TEST, random.Random(1))
        model.fill(374, tie_size=4)
        assert len(self._walk(model, Changes(model))) < 374

    def test_reading_page_after_page_loses_rows_of_a_changing_list(self) -> None:
        """Deleted rows let others slip to a page that was read already."""
        model = ModelList(TEST_EXECUTION, random.Random(1))
        model.fill(600)
        got = self._walk(model, Changes(model, deletes=5))
        assert model.visible() - got

    @staticmethod
    def _walk(model: ModelList, change: Changes, limit: int = 7) -> set[str]:
        got: set[str] = set()
        page, count = 1, 1
        while (page - 1) * limit < count:
            chosen = model.places()[(page - 1) * limit : page * limit]
            got |= set(chosen)
            count = len(model.rows)
            change(0.2)
            page += 1
        return got
