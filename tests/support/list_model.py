"""An exact model of the server's lists, and a driver that reads one with a cover. No loop, no sockets."""

import heapq
import random
from collections.abc import Callable, Sequence
from functools import partial
from math import ceil

import attrs

from futureagi_async._sansio.covering import Cover
from futureagi_async._sansio.covering.pages import Conclusion, ListTraits, PageRequest, PageResult

RUN_TEST = ListTraits(counted_first=False, rows_enter_with_old_keys=False)
TEST_EXECUTION = ListTraits(counted_first=True, rows_enter_with_old_keys=False)
VERSION = ListTraits(counted_first=True, rows_enter_with_old_keys=True)


@attrs.define
class Row:
    """A row as the server stores it."""

    key: float
    deleted: bool = False
    """Soft-deleted: on run tests it keeps its slot and is not delivered."""


@attrs.define
class ModelList:
    """Rows sorted by key, newest first, ties in a new random order for each query."""

    traits: ListTraits
    rng: random.Random
    now: float = 1_000_000.0
    rows: dict[str, Row] = attrs.field(factory=dict)
    removed: list[str] = attrs.field(factory=list)
    """Ids in the order in which they left the list."""
    made: int = 0

    def fill(self, count: int, *, tie_size: int = 1, spacing: float = 1.0, age: float = 100.0) -> None:
        """Add rows with old keys."""
        for number in range(count):
            self.insert(self.now - age - spacing * (number // tie_size))

    def insert(self, key: float | None = None) -> str:
        """Add a row at the front, or with an old key."""
        self.made += 1
        name = f"row-{self.made}"
        self.rows[name] = Row(self.now if key is None else key)
        return name

    def update(self, name: str, key: float | None = None) -> None:
        """Change a row, which moves it to the front."""
        if not self.rows[name].deleted:
            self.rows[name].key = self.now if key is None else key

    def delete(self, name: str) -> None:
        """Remove a row from the list."""
        del self.rows[name]
        self.removed.append(name)

    def soft_delete(self, name: str) -> None:
        """Hide a row; on run tests its slot stays, at the front."""
        if self.traits.counted_first:
            self.delete(name)
        else:
            self.rows[name] = Row(self.now, deleted=True)
            self.removed.append(name)

    def delete_execution(self, names: Sequence[str]) -> None:
        """Hide calls in one statement that leaves their keys alone; on run tests their slots stay."""
        for name in names:
            if self.traits.counted_first:
                self.delete(name)
            else:
                self.rows[name].deleted = True
                self.removed.append(name)

    def visible(self) -> set[str]:
        """Return the ids a reader could be given now."""
        return {name for name, row in self.rows.items() if not row.deleted}

    def places(self) -> list[str]:
        """Return all ids in one query's order."""
        return sorted(self.rows, key=lambda name: (-self.rows[name].key, self.rng.random()))

    def read(self, ask: PageRequest, between: Callable[[], None]) -> tuple[int, list[tuple[str, float]]]:
        """Answer a page request in the server's statements, with changes ``between`` them."""
        if self.traits.counted_first:
            count = len(self.rows)
            between()
            chosen = self.places()[ask.offset : min(ask.end, count)]
            return count, [(name, self.rows[name].key) for name in chosen]
        chosen = self.places()[ask.offset : ask.end]
        between()
        content = [
            (name, self.rows[name].key)
            for name in chosen
            if name in self.rows and not self.rows[name].deleted
        ]
        between()
        return len(self.rows), content


@attrs.define
class Run:
    """What a driven read came to."""

    conclusion: Conclusion
    got: set[str]
    promised: set[str]
    """The rows that the guarantee promises of a complete list."""
    requests: int
    naive_requests: int
    rows: int
    """Rows that the server returned, again and again included."""

    @property
    def missed(self) -> set[str]:
        """Rows promised and not delivered."""
        return self.promised - self.got


@attrs.define
class Driver:
    """Reads a list with a cover, page by page, with changes in between."""

    model: ModelList
    cover: Cover
    change: "Changes"
    concurrency: int = 4
    request_seconds: float = 0.2
    row_seconds: float = 0.0
    """What each row of a page takes besides."""
    got: set[str] = attrs.field(factory=set)
    page_size: int = 100
    _last_front_sent: float = attrs.field(default=0.0, init=False)
    _rows: int = attrs.field(default=0, init=False)

    def run(self) -> Run:
        """Read until there is a conclusion."""
        model, rng = self.model, self.model.rng
        start_ids = model.visible()
        naive = ceil(len(model.rows) / self.page_size)
        removed_before = len(model.removed)
        promises: dict[float, set[str]] = {}
        waiting: list[tuple[PageRequest, float, set[str], int]] = []
        while self.cover.conclusion is None:
            while len(waiting) < self.concurrency and (ask := self.cover.next_page()) is not None:
                if ask.not_before > model.now:
                    self.change(ask.not_before - model.now)
                waiting.append((ask, model.now, model.visible(), len(model.removed)))
            if self.cover.conclusion is not None:
                break
            assert waiting, "the cover asks for nothing and finds nothing"
            ask, sent_at, visible, removed = waiting.pop(rng.randrange(len(waiting)))
            self._answer(ask, sent_at)
            promises[sent_at] = visible - set(model.removed[removed:])
        conclusion = self.cover.conclusion
        promised: set[str] = set()
        if conclusion.verdict == "complete":
            sent_at = max(moment for moment in promises if moment <= self._last_front_sent + 1e-9)
            promised = promises[sent_at]
            if model.traits.rows_enter_with_old_keys:
                promised &= start_ids - set(model.removed[removed_before:])
        return Run(conclusion, self.got, promised, self.cover.requests, naive, self._rows)

    def _answer(self, ask: PageRequest, sent_at: float) -> None:
        model = self.model
        rows_asked = max(0, min(ask.end, len(model.rows)) - ask.offset)
        step = (self.request_seconds + self.row_seconds * rows_asked) / self.concurrency
        self.change(step * 0.4)
        count, rows = model.read(ask, lambda: self.change(step * 0.2))
        server_time = float(int(model.now))
        self.change(step * 0.2)
        if ask.page == 1:
            self._last_front_sent = sent_at
        self.got |= {name for name, _ in rows}
        self._rows += len(rows)
        past_end = model.traits.counted_first and ask.page > 1 and ask.offset >= count
        self.cover.add_result(
            PageResult(
                request=ask,
                count=None if past_end else count,
                ids=[name for name, _ in rows],
                keys=[key for _, key in rows],
                has_next=ask.end < count,
                sent_at=sent_at,
                received_at=model.now,
                server_time=server_time,
            )
        )


@attrs.define
class Changes:
    """A script of changes at given rates a second, driven by the model's own randomness."""

    model: ModelList
    updates: float = 0.0
    inserts: float = 0.0
    deletes: float = 0.0
    soft_deletes: float = 0.0
    ties: float = 0.0
    """Groups of 50 rows that get one and the same key."""
    old_entries: float = 0.0
    """Rows that enter with an old key, where the list allows it."""
    skew: float = 0.0
    """How far keys may be off, either way."""
    commit_delay: float = 0.0
    """A change shows up to so many seconds after the time it carries."""
    _late: list[tuple[float, int, Callable[[], object]]] = attrs.field(factory=list, init=False)

    def __call__(self, seconds: float) -> None:
        """Let so much time pass."""
        model, rng = self.model, self.model.rng
        until = model.now + seconds
        kinds = {
            self._update: self.updates,
            self._insert: self.inserts,
            self._delete: self.deletes,
            self._soft_delete: self.soft_deletes,
            self._tie: self.ties,
            self._enter_old: self.old_entries if model.traits.rows_enter_with_old_keys else 0.0,
        }
        total = sum(kinds.values())
        while total and model.now < until:
            model.now = min(until, model.now + rng.expovariate(total))
            self._show_late()
            if model.now < until:
                rng.choices(list(kinds), list(kinds.values()))[0]()
        model.now = until
        self._show_late()

    def _key(self) -> float:
        return self.model.now + self.model.rng.uniform(-self.skew, self.skew)

    def _pick(self, count: int = 1) -> list[str]:
        names = list(self.model.rows)
        chosen = self.model.rng.sample(names, min(count + 8, len(names)))
        return [name for name in chosen if not self.model.rows[name].deleted][:count]

    def _commit(self, act: Callable[[], object]) -> None:
        if not self.commit_delay:
            act()
            return
        due = self.model.now + self.model.rng.uniform(0, self.commit_delay)
        heapq.heappush(self._late, (due, self.model.rng.getrandbits(60), act))

    def _show_late(self) -> None:
        while self._late and self._late[0][0] <= self.model.now:
            heapq.heappop(self._late)[2]()

    def _update(self) -> None:
        key = self._key()
        for name in self._pick():
            self._commit(partial(self._apply_update, name, key))

    def _apply_update(self, name: str, key: float) -> None:
        if name in self.model.rows:
            self.model.update(name, key)

    def _insert(self) -> None:
        key = self._key()
        self._commit(lambda: self.model.insert(key))

    def _enter_old(self) -> None:
        self.model.insert(self.model.now - self.model.rng.uniform(0, 3_000))

    def _delete(self) -> None:
        for name in self._pick():
            self.model.delete(name)

    def _soft_delete(self) -> None:
        for name in self._pick():
            self.model.soft_delete(name)

    def _tie(self) -> None:
        key = self._key()
        for name in self._pick(50):
            self.model.update(name, key)
