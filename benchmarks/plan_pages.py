"""Whether deciding what to read next gets dearer as lists grow: CPU a page, at two sizes each.

Run ``python -m benchmarks.plan_pages``. Answers are made up in memory; nothing is sent.
"""

import random
import time
from collections import deque

from futureagi_async._sansio.covering import Cover
from futureagi_async._sansio.covering.pages import ListTraits, PageRequest, PageResult

TRAITS = ListTraits(counted_first=False, rows_enter_with_old_keys=False)
NOW = 1_700_000_000.0
PAGE_SIZE = 100


def answer(ask: PageRequest, count: int) -> PageResult:
    """Return a page of a still list whose keys are one second apart."""
    places = range(ask.offset, min(ask.end, count))
    return PageResult(
        request=ask,
        count=count,
        ids=[],
        keys=[NOW - 100 - place for place in places],
        has_next=ask.end < count,
        sent_at=0.0,
        received_at=0.1,
        server_time=NOW,
    )


def read(counts: list[int], in_flight: int = 16) -> tuple[float, int]:
    """Read lists of these lengths side by side; return CPU seconds in the planner, and pages."""
    covers = [
        (Cover(TRAITS, page_size=PAGE_SIZE, max_body_bytes=-1 if count > 1_000 else 1 << 26), count)
        for count in counts
    ]
    turns = deque(covers)
    waiting: deque[tuple[Cover, int, PageRequest]] = deque()
    spent, pages = 0.0, 0
    while turns or waiting:
        began = time.process_time()
        while turns and len(waiting) < in_flight:
            cover, count = turns.popleft()
            if (ask := cover.next_page()) is not None:
                waiting.append((cover, count, ask))
                turns.append((cover, count))
        spent += time.process_time() - began
        if not waiting:
            break
        cover, count, ask = waiting.popleft()
        seen = answer(ask, count)
        began = time.process_time()
        cover.add_result(seen)
        spent += time.process_time() - began
        pages += 1
        if cover.conclusion is None and (cover, count) not in turns:
            turns.append((cover, count))
    assert all(cover.conclusion and cover.conclusion.verdict == "complete" for cover, _ in covers)
    return spent, pages


def main() -> None:
    """Print microseconds a page, and the ratios."""
    random.seed(0)
    scenes = {
        "one list of 20,000 rows": [20_000],
        "one list of 200,000 rows": [200_000],
        "100 lists of 100 rows": [100] * 100,
        "1,000 lists of 100 rows": [100] * 1_000,
    }
    best: dict[str, float] = {}
    for _ in range(5):
        for label, counts in scenes.items():
            spent, pages = read(counts)
            best[label] = min(best.get(label, 1e9), spent / pages * 1e6)
    for label, microseconds in best.items():
        print(f"{label:26} {microseconds:8.1f} us a page")
    small, large, few, many = best.values()
    print(f"ten times the rows: {large / small:.2f} times the CPU a page")
    print(f"ten times the lists: {many / few:.2f} times the CPU a page")


if __name__ == "__main__":
    main()
