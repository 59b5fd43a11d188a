"""A raw server that ends only when every connection has ended on both sides."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.servers import Play, RawServer, wait_until


def open_files() -> int:
    """Return how many files and sockets this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@asynccontextmanager
async def raw_server(*plays: Play, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    """Run a raw server; in the end its client must leave no socket open, not even one in a handshake."""
    async with RawServer(*plays, tls=tls) as server:
        files = open_files()
        yield server
        await wait_until(lambda: open_files() <= files)
