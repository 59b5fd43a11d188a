"""How items are handed over: one at a time, to a consumer who is done with one when asking for the next."""

import asyncio

import anyio
import pytest

from futureagi_async import SessionMisuseError
from futureagi_async._bulk.channel import Channel, open_channel

pytestmark = pytest.mark.anyio


async def test_a_sender_waits_until_the_consumer_is_done() -> None:
    """That is when the next item is asked for, not when its own is taken; items come in their order."""
    channel = Channel[str]()
    done: list[str] = []

    async def send(item: str) -> None:
        await channel.send(item)
        done.append(item)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send, "a")
        tasks.start_soon(send, "b")
        assert await channel.receive() == "a"
        await anyio.wait_all_tasks_blocked()
        assert done == []
        assert await channel.receive() == "b"
        await anyio.wait_all_tasks_blocked()
        assert done == ["a"]
        channel.end()
        with pytest.raises(anyio.EndOfStream):
            await channel.receive()
    assert done == ["a", "b"]


async def test_a_cancelled_sender_takes_its_item_back() -> None:
    """The consumer gets the next one; what it has already, it keeps."""
    channel = Channel[str]()
    senders = [asyncio.create_task(channel.send(item)) for item in "abc"]
    assert await channel.receive() == "a"
    for sender in senders[:2]:
        sender.cancel()
    await asyncio.wait(senders[:2])
    assert await channel.receive() == "c"
    channel.end()
    with pytest.raises(anyio.EndOfStream):
        await channel.receive()
    await senders[2]


async def test_a_cancelled_consumer_loses_nothing() -> None:
    """Cancelled while it waits, or with an item there to take: it can be asked for again."""
    channel = Channel[str]()
    waiting = asyncio.create_task(channel.receive())
    await anyio.wait_all_tasks_blocked()
    waiting.cancel()
    await asyncio.wait([waiting])
    sender = asyncio.create_task(channel.send("a"))
    await anyio.wait_all_tasks_blocked()
    taking = asyncio.create_task(channel.receive())
    await asyncio.sleep(0)
    taking.cancel()
    await asyncio.wait([taking])
    assert taking.cancelled()
    assert await channel.receive() == "a"
    sender.cancel()


async def test_a_slow_consumer_lets_other_tasks_run() -> None:
    """Between two items that were both there before they were asked for, others have a turn."""
    channel = Channel[int]()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with anyio.create_task_group() as tasks:
        for item in range(20):
            tasks.start_soon(channel.send, item)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(count)
        for item in range(20):
            before = turns
            assert await channel.receive() == item
            assert item == 0 or turns > before
        tasks.cancel_scope.cancel()


async def test_outside_of_its_block_it_is_closed() -> None:
    """What was not taken is gone, and asking for more is an error that says so."""

    async def send_all(channel: Channel[int]) -> None:
        async with anyio.create_task_group() as tasks:
            for item in range(3):
                tasks.start_soon(channel.send, item)

    async with open_channel(send_all) as channel:
        assert await anext(channel) == 0
    with pytest.raises(SessionMisuseError, match="The stream is closed"):
        await anext(channel)
