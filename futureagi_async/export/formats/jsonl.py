"""Records as JSON Lines: the bytes that the server sent, one record a line."""

from collections.abc import Iterable

import msgspec
from msgspec import Raw

PROVIDER_KEYS = ("call_metadata", "provider_call_data")
"""Version rows pass on what the voice provider knows, which may include its customers' keys."""

_SNAPSHOTS = "rerun_snapshots"  # of test execution rows: each a record that holds provider data again
_CONCERNED = frozenset((*PROVIDER_KEYS, _SNAPSHOTS))
_FIELDS = msgspec.json.Decoder(dict[str, Raw])  # no slower than looking for the keys' bytes


def encode_lines(records: Iterable[bytes], *, include_provider_data: bool = False) -> list[bytes]:
    """Return one line a record, each with its newline."""
    if not include_provider_data:
        records = map(without_provider_data, records)
    return [b"%b\n" % record for record in on_one_line_each(records)]


def without_provider_data(record: bytes) -> bytes:
    """Return the record without `PROVIDER_KEYS`, its other values byte for byte.

    A record that has none of them is returned as it is.
    """
    fields = _FIELDS.decode(record)
    if _CONCERNED.isdisjoint(fields):
        return record
    kept = {key: value for key, value in fields.items() if key not in PROVIDER_KEYS}
    if _SNAPSHOTS in kept:
        kept[_SNAPSHOTS] = _without_nested(kept[_SNAPSHOTS])
    unchanged = len(kept) == len(fields) and kept.get(_SNAPSHOTS) is fields.get(_SNAPSHOTS)
    return record if unchanged else msgspec.json.encode(kept)


def _without_nested(snapshots: Raw) -> Raw:
    """Return the list itself where nothing is left out, and null for what is no list of records."""
    try:
        before = [bytes(snapshot) for snapshot in msgspec.json.decode(snapshots, type=list[Raw] | None) or ()]
        after = [without_provider_data(snapshot) for snapshot in before]
    except msgspec.ValidationError:
        return Raw(b"null")
    return snapshots if after == before else Raw(b"[%b]" % b",".join(after))


def on_one_line_each(records: Iterable[bytes]) -> list[bytes]:
    """Return the records without newlines; looks itself, as it is called for every record of an export."""
    return [on_one_line(record) if b"\n" in record or b"\r" in record else record for record in records]


def on_one_line(record: bytes) -> bytes:
    """Return the record without newlines, which JSON allows between its tokens."""
    if b"\n" in record or b"\r" in record:
        return msgspec.json.format(record, indent=-1)
    return record
