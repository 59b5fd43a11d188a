"""What the voice provider knows of a call, and a record's bytes without it."""

from typing import Final

import msgspec
from msgspec import Raw

from futureagi_async._sansio.decoding.fragments import decode_fields
from futureagi_async.models.call import PROVIDER_DATA

SNAPSHOTS: Final = "rerun_snapshots"
"""Of test execution rows: each a record that may hold provider data again."""
SNAPSHOT_LEVELS: Final = 20
"""How far snapshots inside snapshots are followed: the same with every Python, however deep its stack is.

The server nests none in others.
"""

_CONCERNED = frozenset((*PROVIDER_DATA, SNAPSHOTS))
_decode_records = msgspec.json.Decoder(list[Raw] | None).decode


def without_provider_data(record: bytes, levels: int = SNAPSHOT_LEVELS) -> bytes:
    """Return the record without `PROVIDER_DATA`, its other values byte for byte.

    A record that has none of them is returned as it is. Snapshots more than ``levels`` deep become null.
    """
    fields = decode_fields(record)  # no slower than looking for the keys' bytes
    if _CONCERNED.isdisjoint(fields):
        return record
    kept = {key: value for key, value in fields.items() if key not in PROVIDER_DATA}
    if SNAPSHOTS in kept:
        kept[SNAPSHOTS] = _each_without(kept[SNAPSHOTS], levels)
    unchanged = len(kept) == len(fields) and kept.get(SNAPSHOTS) is fields.get(SNAPSHOTS)
    return record if unchanged else msgspec.json.encode(kept)


def _each_without(snapshots: Raw, levels: int) -> Raw:
    """Return the list itself where nothing is left out, and null for what is no list of records."""
    if not levels:
        return Raw(b"null")
    try:
        before = list(map(bytes, _decode_records(snapshots) or ()))
        after = [without_provider_data(each, levels - 1) for each in before]
    except (msgspec.ValidationError, RecursionError):
        return Raw(b"null")
    return snapshots if after == before else Raw(b"[%b]" % b",".join(after))
