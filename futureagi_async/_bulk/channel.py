"""Passes items from many tasks to one consumer: a sender waits until the consumer is done with its item."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from futureagi_async.errors import SessionMisuseError

T = TypeVar("T")


class Channel(Generic[T]):
    """Holds one item at a time. The consumer is done with it when it asks for the next one."""

    def __init__(self) -> None:
        self._send: MemoryObjectSendStream[tuple[T, anyio.Event]]
        self._receive: MemoryObjectReceiveStream[tuple[T, anyio.Event]]
        self._send, self._receive = anyio.create_memory_object_stream[tuple[T, anyio.Event]](0)
        self._done: anyio.Event | None = None
        """Set when the consumer is done with the item that it received last."""

    async def send(self, item: T) -> None:
        """Send an item, and return when the consumer is done with it."""
        done = anyio.Event()
        await self._send.send((item, done))
        del item  # it is the consumer's alone now, who may let go of it piece by piece
        await done.wait()

    async def receive(self) -> T:
        """Return the next item, or raise `anyio.EndOfStream`; the consumer is done with the one before."""
        if self._done is not None:
            self._done.set()
        try:
            item, self._done = await self._receive.receive()
        except anyio.ClosedResourceError:
            raise SessionMisuseError("The stream is closed. Use it inside its 'async with' block.") from None
        return item

    def __aiter__(self) -> "Channel[T]":
        return self

    async def __anext__(self) -> T:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    def end(self) -> None:
        """Say that no item follows."""
        self._send.close()

    def close(self) -> None:
        """Close both ends."""
        self._send.close()
        self._receive.close()


@asynccontextmanager
async def open_channel(send_all: Callable[[Channel[T]], Awaitable[None]]) -> AsyncIterator[Channel[T]]:
    """Run ``send_all`` while the block receives; leaving the block cancels it.

    What is raised in the block leaves it as it is, not in a group.
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
