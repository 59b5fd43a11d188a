"""Cuts the records off a list's answer and decodes them, without first looking for the end of each.

Mostly, all records of a list begin with the same two keys. An answer is cut where they occur. That is only a
guess: nested objects may begin like that, too. It is proven by what follows. Each piece must be an object of
its own, and the answer without the pieces must be a list's answer: JSON has no other way to read the whole
then. Where a piece is none, it stays in the answer with all that follows, to be read in the ordinary way.

It takes two thirds of what finding the records' ends takes, and decoding them from there.
"""

import re
from collections.abc import Generator
from typing import Final, NamedTuple

import msgspec

from futureagi_async._sansio.decoding.fragments import JSON_ERRORS, decode_fields
from futureagi_async._sansio.decoding.wire import RecordWire


class CutRecord(NamedTuple):
    """A record, and what the JSON decoder made of it; ``None`` where not all values have their types."""

    raw: bytes
    wire: RecordWire | None


_BEGINNING: Final = re.compile(
    rb'(\{[^{}\[\]\\]*"results":\[)\{("[^"\\]*":)(?:"[^"\\]*"|[^{}\[\]",]*),("[^"\\]*":)'
)
"""An answer up to the second key of its first record. Before the records it has no other object, no list and
no escapes, so that its ``"results"`` can be nothing but the key."""
_REACH: Final = 256
"""In so many bytes before its second key, a record begins."""
_SAMPLE_BYTES, _MANY = 16 * 1024, 4
"""Where more records begin in so many bytes, they are small: to find the end of each takes no longer."""
_A_TURN: Final = 25
"""Records that are decoded between two chances for other tasks to run."""

_decode = msgspec.json.Decoder(RecordWire).decode


def cut_records(body: bytes) -> Generator[None, None, tuple[list[CutRecord], bytes]]:
    """Return the first records of an answer, and the answer without them, which holds the others.

    Only if that proves to be a list's answer, these are its records. Yields now and then, for other tasks to
    run.
    """
    found = _BEGINNING.match(body)
    if found is None:
        return [], body
    between, second = b"},{" + found[2], b"," + found[3]
    if body.count(second, 0, _SAMPLE_BYTES) > _MANY:
        return [], body
    records: list[CutRecord] = []
    start, at = found.end(1), found.end()
    while (at := body.find(second, at)) >= 0:
        end = body.rfind(between, max(start, at - _REACH), at)
        at += len(second)
        if end < 0:
            continue
        piece = body[start : end + 1]
        try:
            records.append(CutRecord(piece, _decode(piece)))
        except JSON_ERRORS:
            if not _is_object(piece):
                break
            records.append(CutRecord(piece, None))
        start = end + len(b"},")
        if len(records) % _A_TURN == 0:
            yield
    return records, found[1] + body[start:] if records else body


def _is_object(piece: bytes) -> bool:
    try:
        decode_fields(piece)
    except JSON_ERRORS:
        return False
    return True
