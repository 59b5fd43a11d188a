"""Calls as JSON Lines: the bytes that the server sent, or our names and units."""

from collections.abc import Iterable
from typing import BinaryIO

from futureagi_async.export.formats.batch import Batch
from futureagi_async.export.formats.jsonl import encode_lines
from futureagi_async.export.formats.normalised import normalise
from futureagi_async.export.formats.origins import Origins
from futureagi_async.sources import CallSource


class LinesWriter:
    """Writes the records as they are in ``file``: the bytes that the server sent, one record a line."""

    misfits = 0
    """None: nothing can fail to fit."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, batch: Batch) -> None:
        """Append one line a record; provider data stays where the records still hold it."""
        self._file.writelines(encode_lines(batch.raws, include_provider_data=True))

    def close(self) -> None:
        """Do nothing: each record is written at once."""


class NormalisedWriter:
    """Writes calls into ``file`` in our names and units, one a line."""

    misfits = 0
    """Calls with a part of no known shape: it is under ``misfits``."""

    def __init__(self, file: BinaryIO, *, sources: Iterable[CallSource] = ()) -> None:
        self._file = file
        self._origins = Origins(sources)

    def write(self, batch: Batch) -> None:
        """Append one line a call."""
        made = [normalise(call, self._origins) for call in batch.calls()]
        self._file.writelines(encode_lines((line for line, _ in made), include_provider_data=True))
        self.misfits += sum(misfit for _, misfit in made)

    def close(self) -> None:
        """Do nothing: each call is written at once."""
