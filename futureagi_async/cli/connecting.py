"""Where to read from: the API with the keys of the environment, or the stand-in of ``--demo``."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import attrs
from cyclopts import Group, Parameter

from futureagi_async import Session
from futureagi_async.cli.running import UsageError, usage_errors
from futureagi_async.events import Observer

if TYPE_CHECKING:
    from futureagi_async.testing import StandInServer

CONNECTION = Group("Connection", sort_key=3)
_DEMO_LATENCY_SECONDS = 0.4  # so that there is something to watch


@Parameter(name="*", group=CONNECTION)
@attrs.define(frozen=True, kw_only=True)
class Connection:
    """Options of every command that reads."""

    demo: Annotated[
        bool, Parameter(help="Read sample data from a built-in stand-in server; needs no keys.")
    ] = False
    base_url: Annotated[
        str | None,
        Parameter(
            metavar="URL", help="Where the API is. Default: FI_BASE_URL, else https://api.futureagi.com."
        ),
    ] = None
    allow_insecure: Annotated[
        bool, Parameter(help="Allow an http:// base URL, which shows the keys to the network.")
    ] = False


@attrs.define(frozen=True)
class Place:
    """What a command reads from."""

    connection: Connection
    stand_in: "StandInServer | None"

    def session(
        self,
        *,
        observers: Sequence[Observer] = (),
        max_in_flight: int = 16,
        max_requests_per_minute: int | None = None,
    ) -> Session:
        """Return a session, not yet opened; settings that can't be used are a `UsageError`."""
        if (stand_in := self.stand_in) is None:
            _check_keys_set()
        with usage_errors():
            return Session(
                stand_in.api_key if stand_in else None,
                stand_in.secret_key if stand_in else None,
                stand_in.base_url if stand_in else self.connection.base_url,
                allow_insecure=self.connection.allow_insecure,
                observers=observers,
                max_in_flight=max_in_flight,
                max_requests_per_minute=max_requests_per_minute,
            )


@contextmanager
def connect(connection: Connection) -> Iterator[Place]:
    """Give the place to read from; a stand-in runs as long as the block."""
    if not connection.demo:
        yield Place(connection, None)
        return
    if connection.base_url is not None:
        raise UsageError("--demo reads from its own server: leave out --base-url, or --demo.")
    from futureagi_async.testing import StandInServer  # a web server, which few commands need

    with StandInServer(latency_seconds=_DEMO_LATENCY_SECONDS) as stand_in:
        yield Place(connection, stand_in)


def _check_keys_set() -> None:
    missing = [name for name in ("FI_API_KEY", "FI_SECRET_KEY") if not os.environ.get(name)]
    if missing:
        raise UsageError(
            f"{' and '.join(missing)} not set. Set both keys with 'export FI_API_KEY=... FI_SECRET_KEY=...'; "
            "the Future AGI dashboard shows them under Settings. Without keys, try --demo."
        )
