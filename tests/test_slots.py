"""Slots: as many as allowed at once, the urgent first, and none lost to whoever gives up waiting."""

import asyncio
from contextlib import suppress

import anyio
import pytest

from futureagi_async import RunTestCalls
from futureagi_async._http.requester import Slots
from futureagi_async.testing import StandInServer
from tests.servers import FakeClock, open_session, wait_until

pytestmark = pytest.mark.anyio


class Users:
    """Tasks that take a slot each and keep it until told."""

    def __init__(self, slots: Slots, tasks: anyio.abc.TaskGroup) -> None:
        self.inside: list[str] = []
        self._slots = slots
        self._tasks = tasks
        self._leaving: dict[str, anyio.Event] = {}
        self._running: dict[str, asyncio.Task[None] | None] = {}

    async def come(self, name: str, *, urgent: bool = False) -> None:
        """Let one come and wait in line."""
        self._leaving[name] = anyio.Event()

        async def use() -> None:
            self._running[name] = asyncio.current_task()
            with suppress(asyncio.CancelledError):
                async with self._slots.acquire(urgent=urgent):
                    self.inside.append(name)
                    await self._leaving[name].wait()
                    self.inside.remove(name)

        self._tasks.start_soon(use)
        await anyio.wait_all_tasks_blocked()

    async def leave(self, name: str) -> None:
        """Let one give its slot back."""
        self._leaving[name].set()
        await anyio.wait_all_tasks_blocked()

    def give_up(self, name: str) -> None:
        """Cancel one, wherever it is."""
        task = self._running[name]
        assert task is not None
        task.cancel()


async def test_the_urgent_go_first_and_the_others_in_turn() -> None:
    """A free slot goes to whoever is urgent and waited longest, else to whoever waited longest."""
    slots = Slots(1)
    async with anyio.create_task_group() as tasks:
        users = Users(slots, tasks)
        for name in ("a", "b", "c"):
            await users.come(name)
        await users.come("urgent", urgent=True)
        await users.come("urgent too", urgent=True)
        for name in ("a", "urgent", "urgent too", "b", "c"):
            assert users.inside == [name]
            await users.leave(name)


async def test_the_number_changes() -> None:
    """More slots let waiters in at once; fewer are reached as they are given back."""
    slots = Slots(1)
    async with anyio.create_task_group() as tasks:
        users = Users(slots, tasks)
        for name in "abcd":
            await users.come(name)
        slots.set_limit(3)
        await anyio.wait_all_tasks_blocked()
        assert users.inside == ["a", "b", "c"]
        slots.set_limit(1)
        await users.leave("a")
        await users.leave("b")
        assert users.inside == ["c"]
        await users.leave("c")
        assert users.inside == ["d"]
        await users.leave("d")


@pytest.mark.parametrize("given", [False, True])
async def test_who_gives_up_takes_no_slot_along(given: bool) -> None:
    """Cancelled while waiting, or in the very moment the slot was given: the next one gets it."""
    slots = Slots(1)
    async with anyio.create_task_group() as tasks:
        users = Users(slots, tasks)
        for name in "abc":
            await users.come(name)
        if given:
            users._leaving["a"].set()
            slots.set_limit(2)  # gives b the slot; b has not run since
        users.give_up("b")
        await anyio.wait_all_tasks_blocked()
        await users.leave("a")
        assert users.inside == ["c"]
        slots.set_limit(1)
        await users.leave("c")
        await users.come("d")
        assert users.inside == ["d"]
        await users.leave("d")


async def test_an_interactive_request_overtakes_a_bulk_read(futureagi_server: StandInServer) -> None:
    """It waits behind at most the pages in flight, and behind those that are urgent, too."""
    server = futureagi_server
    source = RunTestCalls(server.add_run_test(3_000, slim=True))
    async with open_session(server, max_in_flight=4, clock=FakeClock()) as session:
        waited_behind: list[int] = []

        async def ask() -> None:
            before = len(server.requests)
            await session.get_kpis(server.test_execution_ids[0])
            arrived = [request.path.endswith("/kpis/") for request in server.requests]
            waited_behind.append(arrived.index(True, before) - before)

        async with session.stream_calls(source, page_size=20) as stream, anyio.create_task_group() as tasks:
            pages = stream.pages()
            for _ in range(20):
                await anext(pages)
            for _ in range(8):
                tasks.start_soon(ask)
            async for _ in pages:
                pass
    assert min(waited_behind) <= 4
    assert max(waited_behind) <= 4 + 8
    await wait_until(lambda: not server.in_flight)
