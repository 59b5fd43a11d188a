"""A search for a lie: hypothesis changes a model list between any two answers of a cover.

``HYPOTHESIS_PROFILE=thorough`` runs 2,000 examples (``nox -s model``); the suite runs a slice.
"""

import os
import random
from collections.abc import Callable
from math import ceil
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from futureagi_async._sansio.covering import Cover
from futureagi_async._sansio.covering.pages import PageRequest, PageResult
from tests.support.list_model import RUN_TEST, TEST_EXECUTION, VERSION, ModelList

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"


class ReadingMachine(RuleBasedStateMachine):
    """One list, one reader; every rule takes some time."""

    @initialize(
        traits=st.sampled_from([RUN_TEST, TEST_EXECUTION, VERSION]),
        seed=st.integers(0, 1_000),
        count=st.integers(0, 260),
        tie_size=st.sampled_from([1, 4, 15]),
        atomic=st.booleans(),
    )
    def begin(self, traits: Any, seed: int, count: int, tie_size: int, atomic: bool) -> None:
        """Fill the list with old rows."""
        self.model = ModelList(traits, random.Random(seed))
        self.model.fill(count, tie_size=tie_size)
        self.make_cover = lambda: Cover(traits, page_size=20, max_body_bytes=1 << 26 if atomic else -1)
        self.cover = self.make_cover()
        self.ahead = 0.0  # our clock, against the server's
        self.epoch = self.last_answer = self.model.now  # when the read began, and heard of the list, by ours
        self.waiting: list[tuple[PageRequest, float, set[str], int]] = []
        self.asked: list[PageRequest] = []
        self.history: list[Callable[[float], None]] = []
        self.got: set[str] = set()
        self.start_ids = self.model.visible()
        self.front_promise: tuple[float, set[str]] = (0.0, set())
        self.checked = False

    def _pick(self, data: Any) -> str | None:
        names = sorted(name for name, row in self.model.rows.items() if not row.deleted)
        return data.draw(st.sampled_from(names)) if names else None

    def _pass(self, seconds: float = 0.05) -> None:
        self.model.now += seconds

    @rule(data=st.data())
    def update(self, data: Any) -> None:
        """A call changes, and moves to the front."""
        if (name := self._pick(data)) is not None:
            self._pass()
            self.model.update(name)

    @rule()
    def insert(self) -> None:
        """A call is added."""
        self._pass()
        self.model.insert()

    @rule(data=st.data())
    def delete(self, data: Any) -> None:
        """A call goes."""
        if (name := self._pick(data)) is not None:
            self._pass()
            self.model.soft_delete(name)

    @rule(start=st.floats(0, 1), share=st.floats(0, 1), spread=st.integers(1, 3))
    def delete_execution(self, start: float, share: float, spread: int) -> None:
        """The calls of one execution go: neighbours, or every second or third of a stretch."""
        self._pass()
        names = [name for name in self.model.places() if not self.model.rows[name].deleted]
        first = int(start * len(names))
        last = first + ceil(share * (len(names) - first))
        self.model.delete_execution(names[first:last:spread])

    @rule(data=st.data(), size=st.integers(2, 30))
    def tie(self, data: Any, size: int) -> None:
        """A job gives many calls one key."""
        self._pass()
        names = sorted(name for name, row in self.model.rows.items() if not row.deleted)
        moment = self.model.now
        for name in self.model.rng.sample(names, min(size, len(names))):
            self.model.update(name, moment)

    @rule(seconds=st.sampled_from([0.2, 1.0, 6.0]))
    def wait(self, seconds: float) -> None:
        """Nothing happens for a while."""
        self._pass(seconds)

    @precondition(lambda self: self.cover.conclusion is None)
    @rule(pages=st.integers(1, 3))
    def send(self, pages: int) -> None:
        """The reader asks for some pages."""
        for _ in range(pages):
            self._ask()
        self._check()

    def _ask(self) -> bool:
        ask = self.cover.next_page()
        self.history.append(self._ask_again)
        if ask is None:
            return False
        self.asked.append(ask)
        self._send(ask)
        return True

    def _number(self, ask: PageRequest) -> int:
        return next(number for number, asked in enumerate(self.asked) if asked is ask)

    def _send(self, ask: PageRequest) -> None:
        self.model.now = max(self.model.now, ask.not_before - self.ahead)
        self.waiting.append((ask, self.model.now, self.model.visible(), len(self.model.removed)))

    def _ask_again(self, _epoch: float) -> None:
        if (ask := self.cover.next_page()) is not None:
            self.asked.append(ask)

    @precondition(lambda self: self.cover.conclusion is None)
    @rule(seconds=st.sampled_from([0.1, 30.0]), ahead=st.sampled_from([-999_000.0, 5e5]))
    def interrupt(self, seconds: float, ahead: float) -> None:
        """The reader dies, with all it asked for; another one does the same again, by another clock."""
        unanswered = [self._number(ask) for ask, *_ in self.waiting]
        self._pass(seconds)
        self.ahead += ahead
        self.cover, self.asked, self.waiting = self.make_cover(), [], []
        heard_after = self.last_answer - self.epoch
        self.last_answer = self.model.now + self.ahead
        self.epoch = self.last_answer - heard_after
        for happen in self.history:
            happen(self.epoch)
        self.cover.resume()
        for number in unanswered:
            self._send(self.asked[number])

    @precondition(lambda self: self.cover.conclusion is None and bool(self.waiting))
    @rule(data=st.data(), entering=st.booleans())
    def answer(self, data: Any, entering: bool) -> None:
        """One of the pages asked for is answered; a row may change between the server's statements."""
        index = data.draw(st.integers(0, len(self.waiting) - 1))
        self._answer(index, between=self._change_one if entering else lambda: None)
        self._check()

    def _change_one(self) -> None:
        names = [name for name, row in self.model.rows.items() if not row.deleted]
        self._pass(0.01)
        if names:
            self.model.update(self.model.rng.choice(names))

    def _answer(self, index: int, between: Any) -> None:
        ask, sent_at, visible, removed = self.waiting.pop(index)
        self._pass()
        count, rows = self.model.read(ask, between)
        server_time = float(int(self.model.now))
        self._pass(0.02)
        self.got |= {name for name, _ in rows}
        if ask.page == 1 and sent_at >= self.front_promise[0]:
            self.front_promise = sent_at, visible - set(self.model.removed[removed:])
        past_end = self.model.traits.counted_first and ask.page > 1 and ask.offset >= count
        seen = PageResult(
            request=ask,
            count=None if past_end else count,
            ids=[name for name, _ in rows],
            keys=[key for _, key in rows],
            has_next=ask.end < count,
            sent_at=sent_at + self.ahead,
            received_at=self.model.now + self.ahead,
            server_time=server_time,
        )
        number = self._number(ask)
        self.cover.add_result(seen)
        self.last_answer = seen.received_at
        logged = _moved(seen, -self.epoch)
        self.history.append(
            lambda epoch: self.cover.add_result(
                attrs.evolve(_moved(logged, epoch), request=self.asked[number])
            )
        )

    def _check(self) -> None:
        finding = self.cover.conclusion
        if finding is None or finding.verdict != "complete" or self.checked:
            return
        self.checked = True
        promised = self.front_promise[1]
        if self.model.traits.rows_enter_with_old_keys:
            promised = promised & self.start_ids - set(self.model.removed)
        assert promised <= self.got, (finding, sorted(promised - self.got))

    def teardown(self) -> None:
        """Let the read come to its end, and hold it to its word."""
        if not hasattr(self, "cover"):
            return
        for _ in range(2_000):
            if self.cover.conclusion is not None:
                break
            if not self._ask() and self.waiting:
                self._answer(0, between=lambda: None)
        assert self.cover.conclusion is not None, "the read does not end"
        self._check()


def _moved(seen: PageResult, seconds: float) -> PageResult:
    return attrs.evolve(seen, sent_at=seen.sent_at + seconds, received_at=seen.received_at + seconds)


TestReading = pytest.mark.timeout(0 if THOROUGH else 60)(ReadingMachine.TestCase)
TestReading.settings = settings(
    max_examples=2_000 if THOROUGH else 40,
    stateful_step_count=60 if THOROUGH else 40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
