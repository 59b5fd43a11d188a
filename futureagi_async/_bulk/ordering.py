"""Sorts the calls of a bulk read on disk, for ``ordered=True``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil
from tempfile import SpooledTemporaryFile
from typing import Self, TypeAlias

import attrs

from futureagi_async._bulk.reading import Step
from futureagi_async.errors import FutureAGIError
from futureagi_async.models import CallExecution, CallPage
from futureagi_async.sources import CallSource

Restore: TypeAlias = Callable[[bytes, CallSource], CallExecution]
"""Decodes a record again from its bytes."""

_IN_MEMORY_BYTES = 32 * 1024 * 1024


@attrs.define(frozen=True)
class _Place:
    key: float
    record_id: str
    start: int
    size: int


class ExternalSort:
    """Keeps records as bytes in an unnamed temporary file, and about 300 bytes per record in memory."""

    def __init__(self, sources: tuple[CallSource, ...], restore: Restore) -> None:
        self._sources = sources
        self._restore = restore
        self._places: list[dict[str, _Place]] = [{} for _ in sources]
        self._file = SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, step: Step) -> None:
        """Keep the calls of a page. A newer version of a call replaces the older one."""
        for call in (*step.page.calls, *step.newer):
            with _explained():
                start = self._file.tell()
                self._file.write(call.raw)
            key = call.timestamp.timestamp() if call.timestamp else 0.0
            self._places[step.index][call.id] = _Place(key, call.id, start, len(call.raw))

    def pages(self, page_size: int) -> Iterator[CallPage]:
        """Yield all calls: by source, then newest first, then by id."""
        for source, places in zip(self._sources, self._places, strict=True):
            ordered = sorted(places.values(), key=lambda place: (-place.key, place.record_id))
            total = max(1, ceil(len(ordered) / page_size))
            for number in range(1, total + 1):
                chosen = ordered[(number - 1) * page_size : number * page_size]
                yield CallPage(
                    count=len(ordered),
                    has_next=number < total,
                    total_pages=total,
                    current_page=number,
                    calls=tuple(self._restore(self._read(place), source) for place in chosen),
                )

    def _read(self, place: _Place) -> bytes:
        with _explained():
            self._file.seek(place.start)
            return self._file.read(place.size)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FutureAGIError(
            f"Can't sort in a temporary file: {error.strerror or error}. Set TMPDIR to a directory with more "
            "space."
        ) from error
