"""Errors as words for journal and manifest, and back."""

from futureagi_async import errors
from futureagi_async.errors import FutureAGIError
from futureagi_async.export.staging.entries import Failure


def describe(error: FutureAGIError, id_: str | None = None) -> Failure:
    """Put an error into words; errors hold no keys."""
    return Failure(error=type(error).__name__, message=str(error), id=id_)


def rebuild(failure: Failure) -> FutureAGIError:
    """Return an error of the class and with the words that were kept."""
    found = getattr(errors, failure.error, None)
    kind = found if isinstance(found, type) and issubclass(found, FutureAGIError) else FutureAGIError
    return kind(failure.message)
