"""Slices of the commands that soak and torture, and proof that they would notice."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest import mock

import pytest

from futureagi_async._http.requester import Slots
from tests.soak import MOST_REQUESTS_AN_ITEM, Soaked, Tally, soak
from tests.torture import BLOWS, torture_all

pytestmark = pytest.mark.anyio


async def test_a_slice_of_the_soak() -> None:
    """Of a server that fails a tenth of all requests, every record comes once, as it was sent."""
    done: Soaked = await soak(rows=2_000, seed=7)
    assert done.requests <= MOST_REQUESTS_AN_ITEM * done.items
    assert sum(kind > 0 for kind in done.faults.values()) >= 18


async def test_a_soak_notices_what_is_wrong() -> None:
    """A missing record, one too many, a foreign one and a changed byte each end it."""
    with pytest.raises(AssertionError, match="records are missing"):
        Tally(1).check()
    for fault in ("wrong", "foreign", "duplicates"):
        tally = Tally(0)
        setattr(tally, fault, 1)
        with pytest.raises(AssertionError, match=f"{fault}=1"):
            tally.check()


async def test_a_slice_of_the_torture() -> None:
    """A bulk job that is cancelled, or whose session is closed, at any step leaves nothing behind."""
    struck = await torture_all(every=300, first=7)
    assert all(struck[blow] >= 3 for blow in BLOWS)


async def test_the_torture_notices_a_leak() -> None:
    """A slot that a cancelled request keeps ends it."""

    @asynccontextmanager
    async def leak(self: Slots, *, urgent: bool) -> AsyncIterator[None]:
        self._taken += 1
        yield
        self._taken -= 1

    with mock.patch.object(Slots, "acquire", leak), pytest.raises(AssertionError) as caught:
        await torture_all(every=200, first=30)
    assert "cancel at step" in caught.value.__notes__[0]
