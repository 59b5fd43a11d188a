"""The exceptions of this package. Wrong arguments raise ``ValueError`` or ``TypeError`` instead.

::

    FutureAGIError
    ├── APIConnectionError          no usable response arrived
    │   ├── APITimeoutError         ... within the limits of Timeouts
    │   ├── ResponseTooLargeError   ... within max_response_bytes
    │   └── TLSError                ... because the TLS connection is not trusted
    ├── APIStatusError              the server answered with an error status
    │   ├── RedirectError           3xx; never followed
    │   ├── BadRequestError         400
    │   ├── AuthenticationError     401
    │   ├── PermissionDeniedError   403
    │   ├── NotFoundError           404, and the 500 that means "no such test execution"
    │   ├── RateLimitError          429
    │   └── InternalServerError     5xx
    ├── DecodingError               a response, or one record of it, has the wrong shape
    ├── FilterIgnoredError          the server ignored a filter and sent unfiltered rows
    ├── SessionMisuseError          the session was used before opening, after closing, in another
    │                               event loop, or after a fork
    ├── BudgetError                 the session's request budget failed
    ├── NameLookupError             no run test, agent or version has this name, or several have it
    ├── WaitTimeoutError            a wait timed out; has the last state; defined in `models`
    ├── ExportError                 an export's files could not be written, or belong to another export
    └── SyncError                   a database is in use, or not ours, or was changed by another program

Wrong arguments raise ``ValueError`` or ``TypeError`` before any request.
"""

from typing import Self


class FutureAGIError(Exception):
    """Base class of all errors of this package. Fields are ``None`` if their value is unknown.

    Errors can be pickled. They contain no key and no request header.
    """

    def __init__(
        self,
        message: str,
        *,
        method: str | None = None,
        path: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        attempts: int = 0,
        elapsed: float | None = None,
        retry_after: float | None = None,
        body: str | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.method = method
        self.path = path
        """The path of the request, without host and query."""
        self.status = status
        """The HTTP status; ``None`` if no response arrived."""
        self.request_id = request_id
        """The server's ``x-request-id``; quote it when you contact the vendor's support."""
        self.attempts = attempts
        """How often the request was sent."""
        self.elapsed = elapsed
        """Seconds from the first attempt to the error, pauses included."""
        self.retry_after = retry_after
        """Seconds that the server asked the client to wait."""
        self.body = body
        """The start of the response body, at most 2,000 characters."""
        self.retryable = retryable
        """Whether the same request may succeed later."""

    def about(self, method: str, path: str, attempts: int, elapsed: float) -> Self:
        """Set which request failed, and return the error."""
        self.method, self.path, self.attempts, self.elapsed = method, path, attempts, elapsed
        return self

    def __str__(self) -> str:
        facts = [f"{self.method} {self.path}"] if self.method else []
        if self.status is not None:
            facts.append(f"status {self.status}")
        if self.attempts > 1:
            spent = f" in {self.elapsed:.1f} s" if self.elapsed is not None else ""
            facts.append(f"{self.attempts} attempts{spent}")
        if self.retry_after is not None:
            facts.append(f"retry after {self.retry_after:g} s")
        if self.request_id is not None:
            facts.append(f"request id {self.request_id}")
        return f"{self.message} ({', '.join(facts)})" if facts else self.message

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message), self.__dict__


def _rebuild(kind: type[FutureAGIError], message: str) -> FutureAGIError:
    error = kind.__new__(kind, message)
    FutureAGIError.__init__(error, message)
    return error


class APIConnectionError(FutureAGIError):
    """No usable response arrived: name resolution or connecting failed, or the response was cut off."""

    garbled: bool = False
    """Whether the received bytes were not HTTP."""
    lost: bool = False
    """Whether the connection ended before the first byte of a response arrived."""


class APITimeoutError(APIConnectionError):
    """The response did not arrive within the limits of `Timeouts`."""


class ResponseTooLargeError(APIConnectionError):
    """The decompressed response is larger than the session's ``max_response_bytes``."""


class TLSError(APIConnectionError):
    """The server's certificate or the TLS handshake is not trusted; never retried."""


class APIStatusError(FutureAGIError):
    """The server answered with an error status; ``status`` and ``message`` come from the response."""


class RedirectError(APIStatusError):
    """The server answered 3xx. Redirects are never followed, so that no other server gets the keys."""


class BadRequestError(APIStatusError):
    """400: the server rejected a parameter."""


class AuthenticationError(APIStatusError):
    """401: the keys are missing, wrong or disabled."""


class PermissionDeniedError(APIStatusError):
    """403: the keys are valid, but may not read this workspace."""


class NotFoundError(APIStatusError):
    """404, or the 500 of the served API for a test execution that does not exist."""


class RateLimitError(APIStatusError):
    """429: too many requests; ``retry_after`` has the seconds that the server asked to wait."""


class InternalServerError(APIStatusError):
    """5xx. The served API also answers 500 to some wrong parameters; those errors are not ``retryable``."""


class DecodingError(FutureAGIError):
    """A response, or one record of it, does not have the documented shape."""

    endpoint: str | None = None
    """The path template of the endpoint, such as ``/simulate/call-executions/{call_execution_id}/``."""
    json_path: str | None = None
    """The position in the response, such as ``$.results[2].transcript[0].content``."""

    @classmethod
    def at(cls, problem: str, *, endpoint: str, json_path: str = "$", retryable: bool = False) -> Self:
        """Build the error for one position in a response."""
        error = cls(f"{problem} at {json_path} of {endpoint}", retryable=retryable)
        error.endpoint, error.json_path = endpoint, json_path
        return error


class FilterIgnoredError(FutureAGIError):
    """The server answered 200 with rows that a filter should have excluded; no row is delivered.

    The server skips filters that it can't apply, and filters on columns that it does not know. A session also
    raises this error if a filter's evaluation name matches no evaluation, or several.
    """

    error_messages: tuple[str, ...] = ()
    """What the server said about the skipped filters; empty if it said nothing."""


class NameLookupError(FutureAGIError):
    """No item has this name, or several items have it: use one of the ids in ``candidates``."""

    candidates: tuple[tuple[str, str], ...] = ()
    """Ids and names of the items with this name; if no item has it, those of the existing items."""


class SessionMisuseError(FutureAGIError):
    """The session can't be used here: not open, closed, in another event loop, or in a forked process."""


class BudgetError(FutureAGIError):
    """The session's `RequestBudget` raised an error or did not answer in time; the request was not sent."""


class ExportError(FutureAGIError):
    """The files of an export could not be written, or they belong to another export."""


class SyncError(FutureAGIError):
    """A database could not be synced: it is in use, or not ours, or was changed by another program."""


STOPS_JOB = (AuthenticationError, BudgetError, PermissionDeniedError, SessionMisuseError, TLSError)
"""Errors that every other request of the job would get too: the job stops at once."""
