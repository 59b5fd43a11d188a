"""The journal's entries: one JSON object a line, behind a checksum that covers all lines before, too."""

import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TypeAlias

import msgspec

from futureagi_async.errors import ExportError
from futureagi_async.export.manifest import Downloaded, Failure, Parameters

FORMAT = 1
"""The journal's version: another one is not read."""


class Begun(msgspec.Struct, tag="begun", tag_field="entry", kw_only=True):
    """The first entry: what the export is of."""

    format: int
    package: str
    """The version of the package, as the marks are only its own."""
    at: datetime
    parameters: Parameters


class Resumed(msgspec.Struct, tag="resumed", tag_field="entry", kw_only=True):
    """The export went on after an interruption."""

    at: datetime


class Staged(msgspec.Struct, tag="page", tag_field="entry", kw_only=True):
    """A page's records stand in the stage files; columns of one value a record."""

    source: int
    """The place of the page's source among those given."""
    mark: bytes
    """What the stream needs to go on behind this page."""
    newer: int
    """How many of the records, the last ones, are newer versions of records staged before."""
    ids: list[str]
    keys: list[float | None]
    """When the record was changed last, in Unix seconds."""
    sizes: list[int]
    sums: list[str]
    """The sum of each stage file touched, up to the end of these records."""
    details: list[str | None]
    """Whose detail holds the transcript that the list withholds; empty where nobody asked."""


class Detailed(msgspec.Struct, tag="details", tag_field="entry", kw_only=True):
    """Details of calls were read, and what is needed of them stands in the details file."""

    ids: list[str]
    sizes: list[int]
    sums: list[str]
    gone: list[str]
    """Calls that exist no longer."""
    failed: list[Failure]


class Replacing(msgspec.Struct, tag="replacing", tag_field="entry", kw_only=True):
    """The files of an earlier export in this directory are about to be replaced."""

    names: list[str]


Entry: TypeAlias = Begun | Resumed | Staged | Detailed | Downloaded | Replacing

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Entry)


def encode_line(entry: Entry, checksum: int) -> tuple[bytes, int]:
    """Return an entry's line, and the checksum for the next one."""
    body = _ENCODER.encode(entry)
    checksum = zlib.crc32(body, checksum)
    return b"%08x %b\n" % (checksum, body), checksum


def decode_lines(lines: Iterable[bytes]) -> Iterator[tuple[Entry, int, int]]:
    """Yield entries with the file's size and the checksum behind each, up to the first that is not whole."""
    size = checksum = 0
    for line in lines:
        body = line[9:-1]
        checksum = zlib.crc32(body, checksum)
        if line[:9] != b"%08x " % checksum or line[-1:] != b"\n":
            return
        try:
            entry = _DECODER.decode(body)
        except msgspec.MsgspecError:
            raise ExportError("The journal holds entries of another version of this package.") from None
        size += len(line)
        yield entry, size, checksum
