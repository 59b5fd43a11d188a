"""What a list withholds of a call, taken from the call's detail, byte for byte."""

import msgspec
from msgspec import Raw

_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_TAKEN = ("transcript", "recordings")


def extract(detail: bytes) -> bytes:
    """Return of a call's detail what a record may lack: an object with its transcript and recordings."""
    fields = _FIELDS.decode(detail)
    return msgspec.json.encode({key: fields[key] for key in _TAKEN if key in fields})


def merge(record: bytes, extracted: bytes) -> bytes:
    """Return the record with the detail's transcript, and its recordings where the record names none."""
    fields, found = _FIELDS.decode(record), _FIELDS.decode(extracted)
    if "recordings" in found and _names_any(fields.get("recordings")):
        del found["recordings"]
    return msgspec.json.encode({**fields, **found})


def _names_any(recordings: Raw | None) -> bool:
    return recordings is not None and bool(msgspec.json.decode(recordings))
