"""`Session`: the one entry point. One method per endpoint, and the bulk reads over them."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from ssl import SSLContext
from types import TracebackType
from typing import Literal, NoReturn, Self, TypeAlias, TypeVar

from futureagi_async import bulk
from futureagi_async._checks import (
    check_at_least_one,
    check_changed_since,
    check_deadline,
    check_kind,
    check_kind_or_none,
    check_observers,
    check_page_size,
    check_sources,
    check_word,
    choose_proxy,
)
from futureagi_async._clock import Clock, SystemClock
from futureagi_async._fanout import BulkOptions, OnError
from futureagi_async._many_reads import ManyReads
from futureagi_async._pages import restore_call
from futureagi_async._reading import Consistency
from futureagi_async._requester import Requester
from futureagi_async._sansio.settings import read_keys, read_origin
from futureagi_async._transport import Connector, Transport
from futureagi_async.bulk import CallStream
from futureagi_async.events import Observer
from futureagi_async.models import (
    FetchResult,
)
from futureagi_async.options import Priority, RetryPolicy, Timeouts
from futureagi_async.sources import CallSource

T = TypeVar("T")
Validate: TypeAlias = Literal["lazy", "eager"]

DEFAULT_MAX_RESPONSE_BYTES = 64 * 1024 * 1024


class Session(ManyReads):
    """A connection pool to the simulate API; use it as ``async with Session() as session:``.

    Made anywhere (no event loop is needed), opened once, used in the event loop that opened it.
    Many tasks may share it. Missing or malformed keys, and an ``http://`` base URL that is not
    this machine's own, are a `ValueError` here, before any request.

    Args:
        api_key: Sent as ``X-Api-Key``; default ``FI_API_KEY`` from the environment.
        secret_key: Sent as ``X-Secret-Key``; default ``FI_SECRET_KEY``.
        base_url: Default ``FI_BASE_URL``, else ``https://api.futureagi.com``.
        max_in_flight: Requests under way at once; waiting for a free slot counts towards no timeout.
        timeouts: Limits in seconds for each request.
        retry: How often failed requests are sent again.
        max_requests_per_minute: Never send more than this in any minute.
        max_response_bytes: Largest decoded answer; also bounds memory, times ``max_in_flight``.
        proxy: URL of an HTTP proxy to use.
        ssl_context: For private certificate authorities or client certificates.
        connector: An aiohttp connector to use instead of an own pool; it is not closed.
        trust_env: Use the proxy of the environment (``HTTPS_PROXY``, ``NO_PROXY``). Netrc is never
            read: its ``Authorization`` header would displace the keys.
        observers: Called with each `futureagi_async.events.Event`.
        allow_insecure: Allow ``http://`` to other machines, which shows the keys to the network.
        validate: ``"lazy"`` checks transcript, evaluations and other nested parts when they are first
            read, ``"eager"`` with the record they belong to.
        clock: Time and chance; for tests.
    """

    def __init__(
        self,
        api_key: str | None = None,
        secret_key: str | None = None,
        base_url: str | None = None,
        *,
        max_in_flight: int = 16,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        max_requests_per_minute: int | None = None,
        max_response_bytes: int = DEFAULT_MAX_RESPONSE_BYTES,
        proxy: str | None = None,
        ssl_context: SSLContext | None = None,
        connector: Connector | None = None,
        trust_env: bool = False,
        observers: Sequence[Observer] = (),
        allow_insecure: bool = False,
        validate: Validate = "lazy",
        clock: Clock | None = None,
    ) -> None:
        try:
            keys = read_keys(api_key, secret_key, os.environ)
            origin = read_origin(base_url, os.environ, allow_insecure=allow_insecure)
            through = choose_proxy(proxy, origin, trust_env=trust_env)
        finally:
            del api_key, secret_key, proxy  # some tracebacks show a frame's variables
        check_at_least_one("max_in_flight", max_in_flight)
        check_at_least_one("max_response_bytes", max_response_bytes)
        if max_requests_per_minute is not None:
            check_at_least_one("max_requests_per_minute", max_requests_per_minute)
        self._timeouts = check_kind("timeouts", timeouts, Timeouts)
        self._retry = check_kind("retry", retry, RetryPolicy)
        self._priority: Priority | None = None
        self._origin = origin
        self._max_response_bytes = max_response_bytes
        self._eager = check_word("validate", validate, Validate) == "eager"
        transport = Transport(
            origin,
            keys,
            connections=max_in_flight,
            max_response_bytes=max_response_bytes,
            proxy=through,
            ssl_context=check_kind_or_none("ssl_context", ssl_context, SSLContext),
            connector=check_kind_or_none("connector", connector, Connector),
        )
        self._requester = Requester(
            transport,
            keys,
            max_in_flight=max_in_flight,
            max_requests_per_minute=max_requests_per_minute,
            clock=clock or SystemClock(),
            observers=check_observers(observers),
        )

    async def __aenter__(self) -> Self:
        await self._requester.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Cancel requests under way, wait for them to end, and close the pool; again is harmless."""
        await self._requester.close()

    @property
    def max_in_flight(self) -> int:
        """Requests under way at once, at most."""
        return self._requester.max_in_flight

    @property
    def max_requests_per_minute(self) -> int | None:
        """Requests in any minute, at most; ``None`` for no limit."""
        return self._requester.max_requests_per_minute

    def with_options(
        self,
        *,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        priority: Priority | None = None,
    ) -> "Session":
        """Return a view of this session, on the same pool and limits, with other patience or urgency.

        Args:
            timeouts: For instance ``Timeouts(deadline=2)`` for what a user waits for.
            retry: How often failed requests are sent again.
            priority: Whose turn it is when a slot is free: ``"interactive"`` goes before ``"bulk"``.
                By default reads of one thing are interactive, and reads of many (streams, exports,
                ``fetch_...``) are bulk, so that an export never keeps a handler waiting for more than
                a slot.
        """
        view = self._view()
        view._timeouts = check_kind_or_none("timeouts", timeouts, Timeouts) or self._timeouts  # noqa: SLF001
        view._retry = check_kind_or_none("retry", retry, RetryPolicy) or self._retry  # noqa: SLF001
        if priority is not None:
            view._priority = check_word("priority", priority, Priority)  # noqa: SLF001
        return view

    def stream_calls(
        self,
        sources: Iterable[CallSource] | CallSource,
        *,
        page_size: int = 100,
        ordered: bool = False,
        on_error: OnError = "raise",
        consistency: Consistency = "complete",
        updates: bool = False,
        deadline: float | None = None,
        changed_since: Mapping[CallSource, datetime] | None = None,
        resume: Iterable[bytes] = (),
    ) -> AbstractAsyncContextManager[CallStream]:
        """Read the calls of all sources at once: ``async with session.stream_calls(...) as stream``.

        Pages arrive as they are read and are held back while the caller is busy; leaving the block
        early cancels the rest. A call is delivered once per source. ``stream.report`` tells of each
        source whether it is provably complete.

        Args:
            sources: What to read; a source given twice is read twice.
            page_size: Rows a request, about; pages overlap a little.
            ordered: Yield by source, then newest first, then by id, whatever arrives first. Nothing
                is yielded until everything was read; records wait in a temporary file.
            on_error: ``"raise"`` ends at the first failed page or record. ``"collect"`` reads on
                and reports them; refused keys end the job all the same.
            consistency: ``"complete"`` reads until the list is provably covered. ``"fast"`` reads
                each page once, and says ``incomplete`` of all but lists of one page.
            updates: Yield a call again where a newer version of it was read.
            deadline: Seconds after which reading stops; the report then says ``incomplete``.
            changed_since: For some of the sources: read only what changed since then, for instance since
                the ``complete_as_of`` of an earlier report. That can't show which calls were deleted, nor
                which entered a version list or a filtered list with an older change.
            resume: Marks of the `Step` objects that an earlier stream over the same sources gave, in the
                order they came: go on from there. What those steps brought is not delivered again.
        """
        checked = check_sources(sources)
        options = BulkOptions(
            page_size=check_page_size(page_size),
            on_error=check_word("on_error", on_error, OnError),
            consistency=check_word("consistency", consistency, Consistency),
            ordered=ordered,
            updates=updates,
            deadline_seconds=check_deadline(deadline),
            changed_since=check_changed_since(changed_since),
            max_in_flight=self._requester.max_in_flight,
            max_body_bytes=self._max_response_bytes,
        )
        return bulk.open_stream(
            checked,
            self._in_bulk()._read_page,  # noqa: SLF001 - of the same class
            restore_call,
            options,
            tuple(resume) if isinstance(resume, Iterator) else resume,
            self._requester.clock,
            self._requester.tell,
        )

    async def fetch_calls(
        self,
        sources: Iterable[CallSource] | CallSource,
        *,
        page_size: int = 100,
        ordered: bool = False,
        on_error: OnError = "raise",
        consistency: Consistency = "complete",
        deadline: float | None = None,
        changed_since: Mapping[CallSource, datetime] | None = None,
    ) -> FetchResult:
        """Return all calls of all sources in one list, with the report on them; see `stream_calls`.

        Of a call that changed while the list was read, the newest version is kept.
        """
        async with self.stream_calls(
            sources,
            page_size=page_size,
            ordered=ordered,
            on_error=on_error,
            consistency=consistency,
            deadline=deadline,
            changed_since=changed_since,
        ) as stream:
            return await stream.collect()

    def __repr__(self) -> str:
        return f"<Session {vars(self).get('_origin', 'not made')}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A session can't be pickled; open one in each process.")
