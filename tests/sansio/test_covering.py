"""The cover against an exact model of the server's lists: complete is true, and found cheaply."""

import random
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import pairwise
from math import ceil, inf
from statistics import mean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futureagi_async import RunTestCalls, Session, TestExecutionCalls, column
from futureagi_async._sansio.covering import Cover, keycover, keyranges, passes, tails
from futureagi_async._sansio.covering.keycover import KeyCover
from futureagi_async._sansio.covering.keyranges import KeyRanges, Span
from futureagi_async._sansio.covering.pages import ListTraits, PageResult
from futureagi_async._sansio.covering.windows import tail_window, window_from
from futureagi_async.testing import Motion, StandInServer
from tests.long.proof import SharedClock
from tests.long.worlds import SMALL
from tests.support.list_model import RUN_TEST, TEST_EXECUTION, VERSION, Changes, Driver, ModelList, Run
from tests.support.slow import slow

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
    row_seconds: float = 0.0,
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
    return Driver(model, cover, changes, concurrency, request_seconds, row_seconds).run()


@pytest.mark.quick(15)
@KINDS
@pytest.mark.parametrize("scene", SCENES)
def test_complete_never_misses_a_promised_row(traits: ListTraits, scene: str) -> None:
    """Whatever the list does meanwhile, a complete list has every row that the guarantee promises."""
    runs = [read(traits, seed, **SCENES[scene]) for seed in range(3)]
    assert [run.missed for run in runs if run.conclusion.verdict == "complete"] == [
        set() for run in runs if run.conclusion.verdict == "complete"
    ]
    assert any(run.conclusion.verdict == "complete" for run in runs), runs[0].conclusion


@pytest.mark.quick(3)
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
def test_a_list_at_rest_is_read_with_less_overlap(traits: ListTraits) -> None:
    """Where nothing changed for a minute, hardly any row comes twice; else windows share a tenth."""
    resting = read(traits, 1, count=3_000, age=61)
    moving = read(traits, 1, count=3_000, age=50)
    assert resting.conclusion.verdict == moving.conclusion.verdict == "complete"
    assert resting.rows <= 1.1 * 3_000
    assert moving.rows > resting.rows + 100


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("traits", "scene", "at_most"),
    [
        (RUN_TEST, {"updates": 100, "request_seconds": 0.1}, 1.2),
        (TEST_EXECUTION, {"updates": 100, "request_seconds": 0.1}, 1.2),
        (TEST_EXECUTION, {"updates": 2, "ties": 0.5, "request_seconds": 0.025}, 0.5),
    ],
    ids=["run-test, 100/s", "execution, 100/s", "execution, groups of 50"],
)
def test_a_front_that_is_read_once_keeps_a_moving_list_cheap(
    traits: ListTraits, scene: dict[str, float], at_most: float
) -> None:
    """Page 1 reaches far enough at the first try, whatever came to the front meanwhile."""
    runs = [read(traits, seed, count=3_000, concurrency=1, **scene) for seed in range(3)]
    assert all(run.conclusion.verdict == "complete" for run in runs)
    assert mean(run.requests / run.naive_requests for run in runs) <= at_most


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


@pytest.mark.slow
@pytest.mark.parametrize("traits", [RUN_TEST, *slow(TEST_EXECUTION)], ids=["run-test", "execution"])
def test_overload_is_incomplete_within_the_budget(traits: ListTraits) -> None:
    """A list that changes faster than it can be read ends incomplete, within its budget of requests."""
    run = read(traits, 5, count=1_500, updates=2_000, request_seconds=1.0)
    assert run.conclusion.verdict == "incomplete"
    assert run.requests <= 6 * ceil(1_600 / 100) + 30


@pytest.mark.quick(1)
@pytest.mark.parametrize("traits", [RUN_TEST, TEST_EXECUTION], ids=["run-test", "execution"])
@pytest.mark.parametrize(("workers", "complete"), [(1, False), (4, True)])
def test_a_busy_list_costs_at_most_six_times_its_rows(
    traits: ListTraits, workers: int, complete: bool
) -> None:
    """With 14 ms a row, 20 changes a second and 50 rows every two seconds, a read ends, if not complete."""
    busy: dict[str, Any] = {"count": 2_200, "updates": 20, "ties": 0.5, "max_body_bytes": 1 << 26}
    busy |= {"request_seconds": 0.1, "row_seconds": 0.014, "concurrency": workers}
    run = read(traits, 1, **busy)
    assert not run.missed
    assert run.rows <= 6 * 2_200
    assert (run.conclusion.verdict == "complete") == complete, run.conclusion
    assert complete or "changes faster than it can be read" in run.conclusion.reason


def _read_few(count: int, pages: list[list[float]], then: list[float]) -> Cover:
    """Read a list of a few rows, in pages of three: as scripted, then as it stays."""
    cover = Cover(TEST_EXECUTION, page_size=3, max_body_bytes=-1, sizes=SMALL)
    script = iter(pages)
    while cover.conclusion is None and (request := cover.next_page()) is not None:
        sent_at = float(cover.requests)
        keys = next(script, then[request.offset : request.end])
        count = count if cover.requests <= len(pages) else len(then)
        cover.add_result(
            PageResult(
                request=request,
                count=count,
                ids=[str(key) for key in keys],
                keys=[1e6 + key for key in keys],
                has_next=request.end < count,
                sent_at=sent_at,
                received_at=sent_at + 0.5,
                server_time=1e6 + sent_at,
            )
        )
    return cover


@pytest.mark.parametrize("gone", [1, 2])
def test_rows_that_leave_the_end_leave_no_gap_behind(gone: int) -> None:
    """Where the oldest rows go before two pages were joined there, nothing is looked for below the end.

    A row also went between the statements of the third page, which shows two of the three that were counted.
    """
    old = [-100.0, -101.0, -102.0, -103.0, -104.0, -105.0]
    cover = _read_few(6, [old[:3], old[:5], old[4:]], [*old[:3], *old[4:-gone]])
    assert cover.conclusion is not None
    assert cover.conclusion.verdict == "complete"
    assert cover.requests <= 8


def test_a_list_that_changed_as_a_whole_is_read_to_its_end() -> None:
    """Where each row is younger than the reading, a page of them all is confirmed like any other."""
    cover = _read_few(3, [[-100.0, -101.0, -102.0]] * 2, [2.5, 2.5, 2.4])
    assert cover.conclusion is not None
    assert cover.conclusion.verdict == "complete"


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


Patch = Callable[[pytest.MonkeyPatch], None]


def _runs(traits: ListTraits, seeds: int, **scene: Any) -> list[Run]:
    return [read(traits, seed, **scene) for seed in range(seeds)]


def _lies(runs: list[Run]) -> int:
    return sum(bool(run.missed) for run in runs if run.conclusion.verdict == "complete")


def _complete(runs: list[Run]) -> int:
    return sum(run.conclusion.verdict == "complete" for run in runs)


def trust_every_key(patch: pytest.MonkeyPatch) -> None:
    """Bound intervals by keys that may be newer than the row's place."""

    def all_keys(seen: PageResult, *_: object) -> list[float]:
        return [key for key in seen.keys if key is not None]

    patch.setattr(keycover, "trusted_keys", all_keys)


def begin_at_the_first_row(patch: pytest.MonkeyPatch) -> None:
    """Sweep from the newest key of page 1 instead of from the server's clock at its sending."""
    begin = KeyCover.begin

    def remember(self: KeyCover, first: PageResult) -> None:
        self.first_key = first.keys[0]
        begin(self, first)

    patch.setattr(KeyCover, "begin", remember)
    patch.setattr(KeyCover, "_trusted_until", lambda self: self.first_key - self._delta)


def believe_the_end_at_once(patch: pytest.MonkeyPatch) -> None:
    """Take a page without a next page for the end of the list."""
    patch.setattr(tails.EndConfidence, "reads_needed", lambda _self: 1)


def join_at_equal_ends(patch: pytest.MonkeyPatch) -> None:
    """Let two scans join that only share an end."""
    patch.setattr(keyranges, "bisect_right", bisect_left)
    patch.setattr(keyranges, "bisect_left", bisect_right)


def overlap_regardless_of_ties(patch: pytest.MonkeyPatch) -> None:
    """Overlap by a tenth of a page, however many rows share a key."""
    patch.setattr(passes, "largest_tie", lambda _keys: 1)


def take_an_empty_front_for_covered(patch: pytest.MonkeyPatch) -> None:
    """Let a front page without a believable key stand for "nothing newer"."""
    add = passes.Pass.add

    def add_and_believe(self: passes.Pass, seen: PageResult, keys: list[float]) -> None:
        add(self, seen, keys)
        lowest = self.ranges.lowest
        if seen.request.page == 1 and not keys:
            low = 1e9 if lowest is None else lowest.low
            self.ranges.add(low, float("inf"), keyranges.Span(0, 0, 0))

    patch.setattr(passes.Pass, "add", add_and_believe)
    take_front = KeyCover._take_front

    def believe_nothing(self: KeyCover, seen: PageResult, keys: list[float]) -> None:
        take_front(self, seen, keys)
        if not keys:
            self.covered_at = seen.sent_at

    patch.setattr(KeyCover, "_take_front", believe_nothing)


def wait_for_no_transaction(patch: pytest.MonkeyPatch) -> None:
    """Assume that a change shows up at the very time it carries."""
    init = Cover.__init__
    patch.setattr(
        Cover, "__init__", lambda self, *args, **kwargs: init(self, *args, **{**kwargs, "delta": 0.0})
    )


LYING: dict[str, tuple[Patch, ListTraits, int, dict[str, Any]]] = {
    "the end is read again": (believe_the_end_at_once, TEST_EXECUTION, 12, {"inserts": 40}),
    "ends must overlap strictly": (join_at_equal_ends, RUN_TEST, 12, {"tie_size": 300, "count": 2_000}),
    "an empty front proves nothing": (
        take_an_empty_front_for_covered,
        RUN_TEST,
        8,
        {"soft_deletes": 150, "updates": 20, "count": 1_500},
    ),
    "delta exceeds the longest transaction": (
        wait_for_no_transaction,
        VERSION,
        4,
        {"updates": 100, "commit_delay": 3.0, "count": 3_000},
    ),
}
RUNNING_ON: dict[str, tuple[Patch, ListTraits, int, dict[str, Any]]] = {
    "only trusted keys bound an interval": (trust_every_key, RUN_TEST, 4, {"updates": 30, "count": 1_500}),
    "T is the server's clock when the pass began": (
        begin_at_the_first_row,
        TEST_EXECUTION,
        4,
        {"age": 0.5, "spacing": 0.0001, "count": 2_500, "warm_up_seconds": 0.0},
    ),
    "overlaps exceed ties": (overlap_regardless_of_ties, RUN_TEST, 4, {"tie_size": 15, "count": 1_000}),
}


@pytest.mark.quick(1)
@pytest.mark.parametrize("rule", LYING)
def test_without_the_rule_a_complete_list_misses_rows(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the rule no run lies; without it some do."""
    take_out, traits, seeds, scene = LYING[rule]
    assert not _lies(_runs(traits, seeds, **scene))
    take_out(monkeypatch)
    assert _lies(_runs(traits, seeds, **scene))


@pytest.mark.quick(1)
@pytest.mark.parametrize("rule", RUNNING_ON)
def test_without_the_rule_reading_runs_on(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the rule lists are proven; without it fewer are, or at far more requests."""
    take_out, traits, seeds, scene = RUNNING_ON[rule]
    kept = _runs(traits, seeds, **scene)
    assert _complete(kept) == seeds
    take_out(monkeypatch)
    without = _runs(traits, seeds, **scene)
    requests = [sum(run.requests for run in runs) for runs in (kept, without)]
    assert _complete(without) < seeds or requests[1] > 1.2 * requests[0]


SIZES = st.integers(20, 400)
OFFSETS = st.integers(0, 200_000)


@given(SIZES, OFFSETS, st.integers(1, 240))
def test_a_window_holds_its_start_and_gets_further(page_size: int, known_to: int, overlap: int) -> None:
    """A window begins at or before the wanted offset and shows rows that were not known yet."""
    start = max(0, known_to - min(overlap, page_size * 3 // 5))
    ask = window_from(start, known_to, page_size)
    assert ask.offset <= start < ask.end
    assert ask.end > known_to
    assert page_size // 2 <= ask.limit <= 2 * page_size


@given(SIZES, OFFSETS)
def test_far_from_the_front_windows_waste_little(page_size: int, known_to: int) -> None:
    """With the usual overlap of a tenth, a window far inside brings at least a quarter of a page."""
    known_to += 40 * page_size
    ask = window_from(known_to - page_size // 10, known_to, page_size)
    assert ask.end - known_to >= page_size // 4


def test_most_windows_bring_two_thirds_of_a_page() -> None:
    """Less comes at fewer than one offset in a hundred."""
    brought = [
        window_from(known_to - size // 10, known_to, size).end - known_to - size * 2 // 3
        for size in (20, 40, 100)
        for known_to in range(40 * size, 40 * size + 2_000)
    ]
    assert sum(more < 0 for more in brought) < len(brought) / 100


@given(st.integers(0, 100_000), st.integers(0, 300), SIZES)
def test_a_tail_begins_before_the_end_and_reaches_past_it(count: int, margin: int, page_size: int) -> None:
    """The tail holds the last rows of the list, with the margin before them."""
    ask = tail_window(count, margin, page_size)
    assert ask.offset <= max(0, count - margin)
    assert ask.end > count


def test_a_tail_far_from_the_front_shows_few_other_rows() -> None:
    """Of the pages that do, the one is read that begins last."""
    asks = [(count, tail_window(count, 10, 100)) for count in range(3_000, 4_000)]
    assert max(count - ask.offset for count, ask in asks) <= 20


SCANS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=12)


def _ranges(scans: list[tuple[int, int]]) -> KeyRanges:
    ranges = KeyRanges()
    for low, high in scans:
        ranges.add(low, high, Span(-high, -low, 0))
    return ranges


def _covered_in_quarters(scans: list[tuple[int, int]]) -> set[int]:
    """Keys strictly inside some scan, in quarters so that ends and insides are told apart."""
    return {quarter for low, high in scans for quarter in range(4 * low + 1, 4 * high)}


@given(SCANS, st.integers(0, 20))
def test_gaps_are_exactly_the_keys_no_scan_holds_inside(scans: list[tuple[int, int]], top: int) -> None:
    """A key up to the top lies in a gap if and only if no scan holds it strictly inside."""
    gaps = _ranges(scans).gaps(-1, top)
    covered = _covered_in_quarters(scans)
    for quarter in range(-3, 4 * top + 1):
        in_gap = any(4 * gap.low <= quarter <= 4 * gap.high and quarter > -4 for gap in gaps)
        assert in_gap == (quarter not in covered), quarter / 4


@given(SCANS)
def test_order_of_scans_does_not_matter(scans: list[tuple[int, int]]) -> None:
    """The same scans in another order leave the same gaps."""
    forward, backward = _ranges(scans), _ranges(scans[::-1])
    keys = [[(gap.low, gap.high) for gap in ranges.gaps(-inf, inf)] for ranges in (forward, backward)]
    assert keys[0] == keys[1]


def test_equal_ends_do_not_join() -> None:
    """Two scans that only share an end may both miss rows of that key, so they leave a gap there."""
    ranges = _ranges([(5, 10), (0, 5)])
    assert [(gap.low, gap.high) for gap in ranges.gaps(0, 9)] == [(5, 5)]
    ranges.add(4, 6, Span(0, 0, 0))
    assert ranges.gaps(0, 9) == []


def test_an_empty_scan_adds_nothing() -> None:
    """A page that shows a single key covers no range."""
    assert _ranges([(5, 5), (7, 6)]).lowest is None


YEARS = ("2025-01-01T00:00:00Z", "2026-01-15T00:00:00Z", "2026-02-01T00:00:00Z", "2027-01-01T00:00:00Z")


def _session(server: StandInServer) -> Session:
    return Session(server.api_key, server.secret_key, server.base_url, clock=SharedClock(server.clock))


@pytest.mark.anyio
async def test_the_oracle_agrees_with_the_cover() -> None:
    """Windows of creation time, each read as one page, give the same calls as the cover of the list."""
    async with StandInServer(demo=False, request_seconds=0.1) as server:
        execution = server.add_test_execution(1_800, tie_size=4, slim=True)
        server.move(execution, Motion(seed=1, updates=5.0))
        async with _session(server) as session:
            cover = await session.fetch_calls(TestExecutionCalls(execution))
            windows = [
                TestExecutionCalls(execution, filters=[column("created_at").between(start, end)])
                for start, end in pairwise(YEARS)
            ]
            oracle = await session.fetch_calls(windows)
        assert cover.report.complete
        assert {call.id for call in cover.calls} == {call.id for call in oracle.calls}
        assert {call.id for call in cover.calls} == set(server.test_execution_rows(execution))


@pytest.mark.anyio
async def test_rows_without_keys_are_read_in_windows_of_creation_time() -> None:
    """A test execution in the documented dialect shows no keys; windows of creation time prove it."""
    async with StandInServer(dialect="documented", demo=False) as server:
        execution = server.add_test_execution(1_500, slim=True)
        async with Session(server.api_key, server.secret_key, server.base_url) as session:
            result = await session.fetch_calls(TestExecutionCalls(execution))
        report = result.report.sources[0]
        assert report.verdict == "complete"
        assert "creation time" in report.reason
        assert {call.id for call in result.calls} == set(server.test_execution_rows(execution))
        assert all(call.source == TestExecutionCalls(execution) for call in result.calls)


@pytest.mark.anyio
async def test_rows_without_keys_and_without_filters_are_delivered_and_called_incomplete() -> None:
    """A long run test in the documented dialect can't be proven; all its pages are read all the same."""
    async with StandInServer(dialect="documented", demo=False) as server:
        run_test = server.add_run_test(1_500, slim=True)
        async with Session(server.api_key, server.secret_key, server.base_url) as session:
            result = await session.fetch_calls(RunTestCalls(run_test))
        report = result.report.sources[0]
        assert report.verdict == "incomplete"
        assert "no time of last change" in report.reason
        assert len(result.calls) == 1_500
