"""Hands things from many tasks to one: whoever gives something waits until the taker is done with it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from futureagi_async.errors import SessionMisuseError

T = TypeVar("T")


class Channel(Generic[T]):
    """One taker's place to take from. It is done with a thing when it comes back for the next one."""

    def __init__(self) -> None:
        self._send: MemoryObjectSendStream[tuple[T, anyio.Event]]
        self._receive: MemoryObjectReceiveStream[tuple[T, anyio.Event]]
        self._send, self._receive = anyio.create_memory_object_stream[tuple[T, anyio.Event]](0)
        self._done: anyio.Event | None = None
        """To be set when the taker is done with what it took last."""

    async def send(self, item: T) -> None:
        """Return when the taker is done with it."""
        done = anyio.Event()
        await self._send.send((item, done))
        await done.wait()

    async def receive(self) -> T:
        """Return the next thing, or raise `anyio.EndOfStream`; the one before is done with."""
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
        """Say that nothing more will be given."""
        self._send.close()

    def close(self) -> None:
        """Close both ends."""
        self._send.close()
        self._receive.close()


@asynccontextmanager
async def open_channel(send_all: Callable[[Channel[T]], Awaitable[None]]) -> AsyncIterator[Channel[T]]:
    """Let something give while the block takes; leaving the block cancels what is still to come.

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
