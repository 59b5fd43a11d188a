"""Passes items from many tasks to one consumer. A sender waits until the consumer has processed its item."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

import anyio

from futureagi_async.errors import SessionMisuseError

T = TypeVar("T")


class Channel(Generic[T]):
    """Passes one item at a time. An item counts as processed when the consumer requests the next one.

    A memory object stream of anyio with an event per item would take 10 µs more per item.
    """

    def __init__(self) -> None:
        self._items: OrderedDict[asyncio.Event, T] = OrderedDict()
        """Items that were not received yet, by the event that is set when an item was processed."""
        self._done: asyncio.Event | None = None
        """That event for the item that the consumer received last."""
        self._changed = asyncio.Event()
        """Set when there is an item, or when no item will follow."""
        self._ended = self._closed = False

    async def send(self, item: T) -> None:
        """Send an item, and return when the consumer has processed it."""
        done = asyncio.Event()
        self._items[done] = item
        del item  # it is the consumer's alone then, who may let go of it piece by piece
        self._changed.set()
        try:
            await done.wait()
        finally:
            self._items.pop(done, None)  # a sender that is cancelled takes back what nobody took

    async def receive(self) -> T:
        """Return the next item, or raise `anyio.EndOfStream`. The previous item then counts as processed."""
        if self._done is not None:
            self._done.set()
        if self._items:
            await asyncio.sleep(0)  # a consumer that is slower than the senders must not stall other tasks
        while not self._items:
            if self._closed:
                raise SessionMisuseError("The stream is closed. Use it inside its 'async with' block.")
            if self._ended:
                raise anyio.EndOfStream
            self._changed.clear()
            await self._changed.wait()
        self._done, item = self._items.popitem(last=False)
        return item

    def __aiter__(self) -> "Channel[T]":
        return self

    async def __anext__(self) -> T:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    def end(self) -> None:
        """Declare that no item follows."""
        self._ended = True
        self._changed.set()

    def close(self) -> None:
        """Declare that the consumer is gone. Unreceived items stay with their senders."""
        self._closed = True
        self._changed.set()


@asynccontextmanager
async def open_channel(send_all: Callable[[Channel[T]], Awaitable[None]]) -> AsyncIterator[Channel[T]]:
    """Run ``send_all`` while the block receives. Leaving the block cancels it.

    An exception of the block is raised as it is, not in a group.
    """
    channel = Channel[T]()
    callers_error: BaseException | None = None
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_send_all, send_all, channel)
            try:
                yield channel
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as error:  # noqa: BLE001 - raised again, outside of the group
                callers_error = error
            finally:
                tasks.cancel_scope.cancel()
    finally:
        channel.close()
    if callers_error is not None:
        raise callers_error


async def _send_all(send_all: Callable[[Channel[T]], Awaitable[None]], channel: Channel[T]) -> None:
    try:
        await send_all(channel)
    finally:
        channel.end()
