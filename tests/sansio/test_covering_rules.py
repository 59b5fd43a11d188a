"""Each rule of the cover is there for a reason: taken out, some scene lies or runs on."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Any

import pytest

from futureagi_async._sansio.covering import Cover, keycover, keyranges, passes, tails
from futureagi_async._sansio.covering.keycover import KeyCover
from futureagi_async._sansio.covering.pages import ListTraits, PageResult
from tests.sansio.listmodel import RUN_TEST, TEST_EXECUTION, VERSION, Run
from tests.sansio.test_covering import read

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


@pytest.mark.parametrize("rule", LYING)
def test_without_the_rule_a_complete_list_misses_rows(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the rule no run lies; without it some do."""
    take_out, traits, seeds, scene = LYING[rule]
    assert not _lies(_runs(traits, seeds, **scene))
    take_out(monkeypatch)
    assert _lies(_runs(traits, seeds, **scene))


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
