"""What is known of a list's places: which of them deliver no row, and which were read already."""

from bisect import bisect_left, bisect_right

from futureagi_async._sansio.covering.pages import PageRequest, PageResult


class Holes:
    """Where fewer rows are delivered than there are places: deleted calls, on run-test lists.

    A page costs by its rows, not by its places. Lists that move shift their holes; so this is an estimate.
    """

    def __init__(self) -> None:
        self._count = 0
        self._ends: list[int] = []
        self._segments: list[tuple[int, int, float]] = []
        """Start, end and missing rows of stretches that lack some, in order."""
        self._missing = 0.0

    def note(self, result: PageResult) -> None:
        """Learn from a page, instead of what was known of its places."""
        if result.count is None:
            return
        if result.count < self._count and self._ends and self._ends[-1] > result.count:
            self._replace(result.count, self._ends[-1], 0)
        self._count = result.count
        start, end = result.request.offset, min(result.request.end, result.count)
        missing = end - start - len(result.keys) - result.undecoded
        if end > start and (missing > 0 or self._segments):
            self._replace(start, end, max(0, missing))

    def _replace(self, start: int, end: int, missing: float) -> None:
        first = bisect_right(self._ends, start)
        last = first
        kept = [(start, end, missing)] if missing else []
        while last < len(self._segments) and self._segments[last][0] < end:
            old_start, old_end, old = self._segments[last]
            density = old / (old_end - old_start)
            if old_start < start:
                kept.insert(0, (old_start, start, (start - old_start) * density))
            if old_end > end:
                kept.append((end, old_end, (old_end - end) * density))
            last += 1
        self._missing += sum(each[2] for each in kept) - sum(each[2] for each in self._segments[first:last])
        self._segments[first:last] = kept
        self._ends[first:last] = [each[1] for each in kept]

    def rows(self, start: int, end: int) -> float:
        """Return how many rows a page of these places is expected to show."""
        end = min(end, self._count)
        if end <= start:
            return 0.0
        if start == 0 and end == self._count:
            return max(0.0, end - self._missing)
        rows = float(end - start)
        for number in range(bisect_right(self._ends, start), len(self._segments)):
            old_start, old_end, missing = self._segments[number]
            if old_start >= end:
                break
            shared = min(end, old_end) - max(start, old_start)
            rows -= missing * shared / (old_end - old_start)
        return max(0.0, rows)

    def places(self, request: PageRequest) -> int:
        """Return how many places of the list a page spans."""
        return max(0, min(request.end, self._count) - request.offset)

    def limit_for(self, rows: float) -> int:
        """Return how many places from the front hold so many rows."""
        place = 0
        for start, end, missing in self._segments:
            if start - place >= rows:
                break
            rows -= start - place
            place = start
            shown = end - start - missing
            if shown >= rows:
                return place + round(rows * (end - start) / shown)
            rows -= shown
            place = end
        return place + round(rows)


class ReadPlaces:
    """Which places of a list were read, so that rows that are meant to come again are told from others."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, end: int) -> int:
        """Take the places in; return how many of them were read before."""
        if end <= start:
            return 0
        first = bisect_left(self._ends, start)
        last = bisect_right(self._starts, end)
        again = sum(
            max(0, min(end, old_end) - max(start, old_start))
            for old_start, old_end in zip(self._starts[first:last], self._ends[first:last], strict=True)
        )
        if first < last:
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]
        return again
