"""The options of every command that reads (server, limits, ids), and the session that they configure."""

import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar, cast

import attrs
from cyclopts import Group, Parameter
from cyclopts.validators import Number

import futureagi_async as sdk
from futureagi_async.cli.messages import UsageError, usage_errors
from futureagi_async.cli.running import allow_open_files, run_async
from futureagi_async.cli.sources import parse_id

if TYPE_CHECKING:
    import ssl
    from uuid import UUID

    from futureagi_async.events import Observer
    from futureagi_async.testing import StandInServer


CONNECTION = Group("Connection", sort_key=3)
AT_LEAST_ONE = Number(gte=1)
_PAGE_SIZE = Number(gte=1, lte=1_000_000)


@Parameter(name="*", group=CONNECTION)
@attrs.define(frozen=True, kw_only=True)
class Limits:
    """Options that limit the requests."""

    page_size: Annotated[
        int,
        Parameter(metavar="N", validator=_PAGE_SIZE, show_default=True, help="Calls per request."),
    ] = 100
    max_in_flight: Annotated[
        int,
        Parameter(
            metavar="N",
            validator=AT_LEAST_ONE,
            show_default=True,
            help="Requests in flight at the same time.",
        ),
    ] = 16
    max_requests_per_minute: Annotated[
        int | None,
        Parameter(
            metavar="N", validator=AT_LEAST_ONE, help="Requests in one minute at most. Default: no limit."
        ),
    ] = None


MaxOutage = Annotated[
    float,
    Parameter(
        metavar="SECONDS",
        group=CONNECTION,
        validator=Number(gte=0),
        show_default=True,
        help="How long to wait for a server that stops answering. 0: don't wait.",
    ),
]

Transcripts = Annotated[
    bool,
    Parameter(
        help="Also read the transcripts that a list does not include: one more request for each such call."
    ),
]
ProviderData = Annotated[
    bool,
    Parameter(
        help="Keep call_metadata and provider_call_data in the calls of agent versions. They may hold "
        "keys of third parties."
    ),
]
Quiet = Annotated[
    bool,
    Parameter(name=("--quiet", "-q"), help="Print only errors, and the reasons why a list is incomplete."),
]

_DEMO_LATENCY_SECONDS = 0.4  # so that the user sees the progress display
_FILES = 8  # open at once besides connections: standard streams, the event loop, a name lookup
_FILES_OF_THE_DEMO = 5  # the stand-in's event loop and its listening socket


@Parameter(name="*", group=CONNECTION)
@attrs.define(frozen=True, kw_only=True)
class Connection:
    """Options of every command that reads."""

    demo: Annotated[
        bool, Parameter(help="Read sample data from a built-in stand-in server. Needs no keys.")
    ] = False
    base_url: Annotated[
        str | None,
        Parameter(
            metavar="URL", help="The URL of the API. Default: FI_BASE_URL, else https://api.futureagi.com."
        ),
    ] = None
    allow_insecure: Annotated[
        bool, Parameter(help="Allow an http:// base URL. Anyone on the network can then read the keys.")
    ] = False
    proxy: Annotated[
        str | None,
        Parameter(
            metavar="URL",
            help="The HTTP proxy. Default: HTTPS_PROXY, else ALL_PROXY, unless NO_PROXY names the server. "
            "If the proxy needs a password, set it in HTTPS_PROXY: other users of this machine can see "
            "the command line.",
        ),
    ] = None
    ca_file: Annotated[
        Path | None,
        Parameter(
            metavar="FILE",
            help="A PEM file with certificate authorities to trust instead of the system's.",
        ),
    ] = None


@attrs.define(frozen=True)
class Endpoint:
    """The server that a command reads from."""

    connection: Connection
    stand_in: "StandInServer | None"

    def session(
        self,
        *,
        observers: "Sequence[Observer]" = (),
        max_in_flight: int = 16,
        max_requests_per_minute: int | None = None,
        files: int = _FILES,
    ) -> "sdk.Session":
        """Return a session that is not open yet. Raises `UsageError` for wrong settings.

        ``files`` is the number of files that the command has open at once, besides connections. If the
        system allows too few open files, the session has fewer requests in flight.
        """
        given, stand_in = self.connection, self.stand_in
        if stand_in is None:
            _check_keys_set()
        with usage_errors():
            return sdk.Session(
                stand_in.api_key if stand_in else None,
                stand_in.secret_key if stand_in else None,
                stand_in.base_url if stand_in else given.base_url,
                allow_insecure=given.allow_insecure,
                proxy=given.proxy,
                trust_env=stand_in is None,
                ssl_context=_trust(given.ca_file) if given.ca_file is not None else None,
                observers=observers,
                max_in_flight=self._fitting(max_in_flight, files),
                max_requests_per_minute=max_requests_per_minute,
            )

    def _fitting(self, max_in_flight: int, files: int) -> int:
        """Return how many requests may be in flight; each has a connection open."""
        beside, each = (files, 1) if self.stand_in is None else (files + _FILES_OF_THE_DEMO, 2)
        allowed = allow_open_files(beside + each * max_in_flight)
        if allowed < beside + each:
            raise UsageError(
                f"This command needs {beside + each} open files, but the system allows only {allowed}. "
                "Raise the limit with 'ulimit -n'."
            )
        return min(max_in_flight, (allowed - beside) // each)


@contextmanager
def connect(connection: Connection) -> Iterator[Endpoint]:
    """Give the endpoint to read from. A stand-in server runs until the block ends."""
    if not connection.demo:
        yield Endpoint(connection, None)
        return
    for option, value in (
        ("--base-url", connection.base_url),
        ("--proxy", connection.proxy),
        ("--ca-file", connection.ca_file),
    ):
        if value is not None:
            raise UsageError(
                f"--demo can't be used with {option}: it reads from its own server. Leave one out."
            )
    from futureagi_async.testing import StandInServer  # a web server, which few commands need

    with StandInServer(latency_seconds=_DEMO_LATENCY_SECONDS) as stand_in:
        yield Endpoint(connection, stand_in)


def _trust(ca_file: Path) -> "ssl.SSLContext":
    import ssl

    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise UsageError(f"--ca-file: {ca_file} has no certificate in PEM format.") from None
    except OSError as error:
        raise UsageError(f"--ca-file: can't read {ca_file}: {error.strerror or error}.") from error


def _check_keys_set() -> None:
    missing = [name for name in ("FI_API_KEY", "FI_SECRET_KEY") if not os.environ.get(name)]
    if missing:
        raise UsageError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set. Set both keys: "
            "export FI_API_KEY=... FI_SECRET_KEY=... (the Future AGI dashboard shows them under Settings). "
            "Without keys, try --demo."
        )


T = TypeVar("T")
AsJson = Annotated[bool, Parameter(name="--json", help="Print the JSON that the server sent.")]
ExecutionId = Annotated[
    str | None,
    Parameter(
        metavar="ID",
        help="The id of a test execution, or latest:RUN for the last one of a run "
        "test. Not needed with --demo.",
    ),
]


def choose_id(
    text: str | None,
    what: str,
    endpoint: Endpoint,
    samples: Callable[["StandInServer"], Sequence[str]],
    *,
    other: str = "",
) -> "UUID":
    """Return the given id, or with ``--demo`` the id of a sample. Errors name what ``other`` is accepted."""
    if text is not None:
        return parse_id(text, what, other=other)
    if endpoint.stand_in is None:
        raise UsageError(
            f"{what} is missing. 'futureagi-async ls' lists the ids of test executions, and an export has "
            "the ids of calls. To see a sample, try --demo."
        )
    return parse_id(samples(endpoint.stand_in)[0], what)


def read_one(
    endpoint: Endpoint, read: "Callable[[sdk.Session], Awaitable[T]]", *, observers: "Sequence[Observer]" = ()
) -> T:
    """Open a session, read one thing, and return it."""
    return run_async(partial(_read_in, endpoint.session(observers=observers), read))


def find_sources(
    endpoint: Endpoint, names: "Sequence[sdk.CallSource | sdk.SourceName]", limits: Limits
) -> "list[sdk.CallSource]":
    """Return the lists to read. Names are looked up first, in a session of their own."""
    known = [each for each in names if isinstance(each, sdk.CallSource)]
    if len(known) == len(names):
        return known
    session = endpoint.session(
        max_in_flight=limits.max_in_flight, max_requests_per_minute=limits.max_requests_per_minute
    )
    found = run_async(partial(_read_in, session, lambda opened: opened.find_sources(names)))
    if not found:
        raise sdk.NameLookupError(
            "There is nothing to read: --all found no run test and no agent version. If you gave --since, "
            "try an earlier time."
        )
    return list(found)


def choose_execution(text: str | None, endpoint: Endpoint) -> "UUID":
    """Return the given id of a test execution, or that of the last one of a run test, or of a sample."""
    if text is None or not text.startswith("latest:"):
        return choose_id(
            text,
            "A test execution's id",
            endpoint,
            lambda samples: samples.test_execution_ids,
            other=", or latest:RUN with the name of a run test",
        )
    if not text.removeprefix("latest:").strip():
        raise UsageError("latest: needs the name or id of a run test, as in 'latest:Checkout flow'.")
    with usage_errors("A test execution"):
        wanted = sdk.LatestExecution.parse(text)
    (found,) = read_one(endpoint, lambda session: session.find_sources(wanted))
    return parse_id(cast("sdk.TestExecutionCalls", found).test_execution_id, "A test execution's id")


async def _read_in(session: "sdk.Session", read: "Callable[[sdk.Session], Awaitable[T]]") -> T:
    async with session:
        with usage_errors():
            return await read(session)
