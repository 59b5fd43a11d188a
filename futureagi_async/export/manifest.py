"""A directory's ``manifest.json``: what the files hold, how it was read, and sums to check both by."""

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from futureagi_async.errors import ExportError
from futureagi_async.export.staging.entries import Downloaded, Failure
from futureagi_async.export.staging.files import explained, is_file
from futureagi_async.export.staging.parameters import Parameters

FORMAT = 1
MAX_BYTES = 256 * 1024 * 1024  # failures and recordings are listed one by one


class Part(msgspec.Struct, kw_only=True, frozen=True):
    """One file of the export."""

    name: str
    records: int | None
    """Calls; ``None`` for a file of evaluations."""
    bytes: int
    sha256: str
    misfits: int = 0
    """Calls whose column ``misfits`` is filled, with what the other columns can't hold, as sent."""


class Source(msgspec.Struct, kw_only=True, frozen=True):
    """What was read of one source."""

    source: dict[str, Any]
    """``kind``, ids, and what it was filtered by."""
    verdict: str
    reason: str
    complete_as_of: datetime | None
    changed_since: datetime | None
    """Where only changes were read: since then."""
    expected: int | None
    records: int
    """Records of it in the files."""
    received: int
    duplicates: int
    updates: int
    requests: int
    retries: int
    sweeps: int
    gaps_repaired: int
    overlapping_rows: int
    failures: list[Failure]
    misfits: int = 0
    """Of the received, records with a value of a type that the documents do not allow."""


class Transcripts(msgspec.Struct, kw_only=True, frozen=True):
    """What became of the details that were asked for."""

    fetched: int
    gone: list[str]
    failed: list[Failure]


class Since(msgspec.Struct, kw_only=True, frozen=True):
    """The export whose changes this one holds."""

    manifest: str
    """That manifest's digest."""
    cannot_see: str


class Manifest(msgspec.Struct, kw_only=True, frozen=True):
    """The whole manifest; ``docs/exports.md`` describes it for readers in other languages."""

    manifest: int
    package: str
    started_at: datetime
    finished_at: datetime
    resumed: int
    complete: bool
    records: int
    bytes: int
    parameters: Parameters
    sources: list[Source]
    parts: list[Part]
    ids_sha256: str
    """Of the sorted ids, a line each."""
    pairs_sha256: str
    """Of the sorted pairs of a source's place and an id."""
    transcripts: Transcripts | None
    recordings: list[Downloaded] | None
    recordings_folder: str | None
    """Its name, where it is in the export's directory."""
    since: Since | None
    digest: str
    """Of the manifest itself, with an empty text here."""


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the manifest's text with its digest."""
    fields = msgspec.to_builtins(manifest)
    fields["digest"] = digest_of(fields)
    return msgspec.json.format(msgspec.json.encode(fields), indent=2) + b"\n"


def digest_of(fields: dict[str, Any]) -> str:
    """Return the SHA-256 of a manifest: compact, keys sorted, UTF-8, ``digest`` empty."""
    return hashlib.sha256(msgspec.json.encode({**fields, "digest": ""}, order="sorted")).hexdigest()


def decode_manifest(text: bytes) -> tuple[Manifest, bool]:
    """Return a manifest, and whether its digest fits; raises `ValueError` for what is no manifest."""
    try:
        fields = msgspec.json.decode(text, type=dict[str, Any])
        if not isinstance(fields.get("manifest"), int):
            raise ValueError("it is no export's manifest")  # noqa: TRY004 - of what a file holds
        if fields["manifest"] != FORMAT:
            raise ValueError(f"it is of version {fields['manifest']}, and only version {FORMAT} is known")
        return msgspec.json.decode(text, type=Manifest), fields.get("digest") == digest_of(fields)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ValueError(f"it can't be understood ({error})") from None


def read_text(path: Path) -> bytes | None:
    """Return what a manifest's file holds, ``None`` where there is no file."""
    if not is_file(path):
        return None
    with explained(path, "read"):
        if path.stat().st_size > MAX_BYTES:
            raise ExportError(f"Can't use {path}: it is too large for a manifest.")
        return path.read_bytes()


def read_manifest(path: Path) -> Manifest | None:
    """Return the manifest at a path, ``None`` where there is none; one that was changed is refused."""
    text = read_text(path)
    if text is None:
        return None
    try:
        manifest, fits = decode_manifest(text)
    except ValueError as error:
        raise ExportError(f"Can't use {path}: {error}.") from None
    if not fits:
        raise ExportError(f"Can't use {path}: its own digest does not fit, so it was changed.")
    return manifest
