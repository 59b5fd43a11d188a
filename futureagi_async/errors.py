"""Everything this package raises besides ``ValueError`` and ``TypeError``.

::

    FutureAGIError
    ├── APIConnectionError          no usable answer arrived
    │   ├── APITimeoutError         ... in time
    │   ├── ResponseTooLargeError   ... within max_response_bytes
    │   └── TLSError                ... over a connection that can be trusted
    ├── APIStatusError              the server answered, but not with the data
    │   ├── RedirectError           3xx; never followed
    │   ├── BadRequestError         400
    │   ├── AuthenticationError     401
    │   ├── PermissionDeniedError   403
    │   ├── NotFoundError           404, and the 500 that means "no such test execution"
    │   ├── RateLimitError          429
    │   └── InternalServerError     5xx
    ├── DecodingError               an answer, or one record of it, has the wrong shape
    ├── FilterIgnoredError          the server ignores a filter and sends unfiltered rows
    ├── SessionMisuseError          the session was used before opening, after closing, in another
    │                               event loop, or after a fork
    ├── BudgetError                 the budget that a session asks before each request failed
    ├── NameLookupError             no run test, agent or version has this name, or several have
    ├── WaitTimeoutError            what was waited for was not final in time; in `models`, with its state
    ├── ExportError                 the files of an export could not be written or do not belong to it
    └── SyncError                   a database is in use, is not ours, or was changed by something else

Wrong arguments are ``ValueError`` or ``TypeError``, raised before any request.
"""

from typing import Self


class FutureAGIError(Exception):
    """The root of the tree; every error carries these facts, ``None`` where unknown.

    Errors can be pickled, and hold no key and no request header.
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
        """The path asked for, without host and query."""
        self.status = status
        """The HTTP status, ``None`` where no answer arrived."""
        self.request_id = request_id
        """The server's ``x-request-id``, worth quoting to the vendor's support."""
        self.attempts = attempts
        """How often the request was sent."""
        self.elapsed = elapsed
        """Seconds from the first sending until the error, pauses included."""
        self.retry_after = retry_after
        """Seconds the server asked to wait."""
        self.body = body
        """The start of the answer's body, at most 2,000 characters."""
        self.retryable = retryable
        """Whether the same request may succeed later."""

    def about(self, method: str, path: str, attempts: int, elapsed: float) -> Self:
        """Fill in which request failed, and return the error."""
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
    """No usable answer arrived: name lookup, connecting, a cut or garbled answer."""

    garbled: bool = False
    """Whether what arrived was not HTTP."""
    lost: bool = False
    """Whether the connection ended before anything of an answer arrived."""


class APITimeoutError(APIConnectionError):
    """The answer did not arrive within the limits of `Timeouts`."""


class ResponseTooLargeError(APIConnectionError):
    """The decoded answer is larger than the session's ``max_response_bytes``."""


class TLSError(APIConnectionError):
    """The server's certificate or the TLS handshake cannot be trusted; never retried."""


class APIStatusError(FutureAGIError):
    """The server answered with an error; ``status`` and ``message`` are its own."""


class RedirectError(APIStatusError):
    """The server answered 3xx. Redirects are never followed, so that keys stay with their origin."""


class BadRequestError(APIStatusError):
    """400: the server refused a parameter."""


class AuthenticationError(APIStatusError):
    """401: the keys are missing, wrong or disabled."""


class PermissionDeniedError(APIStatusError):
    """403: the keys are good but may not read this workspace."""


class NotFoundError(APIStatusError):
    """404, or the served API's 500 for a test execution that does not exist."""


class RateLimitError(APIStatusError):
    """429: too many requests; ``retry_after`` holds the seconds the server asked for."""


class InternalServerError(APIStatusError):
    """5xx. The served API answers 500 to some wrong parameters too; those are not ``retryable``."""


class DecodingError(FutureAGIError):
    """An answer, or one record of it, does not have the documented shape."""

    endpoint: str | None = None
    """The path template of the endpoint, such as ``/simulate/call-executions/{call_execution_id}/``."""
    json_path: str | None = None
    """Where in the answer, such as ``$.results[2].transcript[0].content``."""

    @classmethod
    def at(cls, problem: str, *, endpoint: str, json_path: str = "$", retryable: bool = False) -> Self:
        """Build the error for one place of an answer."""
        error = cls(f"{problem} at {json_path} of {endpoint}", retryable=retryable)
        error.endpoint, error.json_path = endpoint, json_path
        return error


class FilterIgnoredError(FutureAGIError):
    """The server answered 200 with rows that a filter should have left out; none of them is delivered.

    It skips filters that it can't apply, and ignores those on a column that it does not know. The same error
    tells of an evaluation's name that stands for none, or for several.
    """

    error_messages: tuple[str, ...] = ()
    """What the server said about the filters it skipped; empty where it said nothing."""


class NameLookupError(FutureAGIError):
    """A name that nothing has, or several things have: use one of the ids.

    ``candidates`` are the ids and names of those that have it; where none has, of what there is.
    """

    candidates: tuple[tuple[str, str], ...] = ()


class SessionMisuseError(FutureAGIError):
    """The session can't be used here: not open, closed, in another event loop, or after a fork."""


class BudgetError(FutureAGIError):
    """The session's `RequestBudget` raised, or did not answer in time; the request was not sent."""


class ExportError(FutureAGIError):
    """The files of an export could not be written, or belong to another export."""


class SyncError(FutureAGIError):
    """A database could not be synced: it is in use, not one of ours, or was changed by something else."""


STOPS_JOB = (AuthenticationError, BudgetError, PermissionDeniedError, SessionMisuseError, TLSError)
"""Errors of one request that all other requests of a job would meet too: the job ends at once."""
