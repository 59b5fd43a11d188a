"""The manifest ``_manifest.json`` of a directory: its files, how they were read, and checksums of both."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import msgspec

from futureagi_async import errors
from futureagi_async.errors import ExportError, FutureAGIError
from futureagi_async.export.files import export_errors, is_file
from futureagi_async.sources import CallSource

MANIFEST = "_manifest.json"
"""The name begins with an underscore, so readers of Parquet directories skip the file."""
FORMER_MANIFEST = "manifest.json"
"""The name of the manifest in versions up to 0.1."""
FORMAT = 1
MAX_BYTES = 256 * 1024 * 1024  # large, because it lists every failure and every recording


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of an export, as stored in its index and its manifest."""

    layout: str
    """``file`` or ``directory``."""
    format: str
    compression: str | None
    normalised: bool
    ordered: bool
    page_size: int
    part_rows: int | None
    include_provider_data: bool
    transcripts: bool
    recordings: bool
    since: str | None
    """The digest of the manifest of the earlier export (``since``)."""
    sources: list[dict[str, Any]]
    left_out: list[str] = []
    """The columns that are not in the files."""
    redacted_with: str | None = None
    """The id of the key that replaced phone numbers and names; ``None`` without ``redact``."""
    partition: str | None = None
    """What the folders of a directory mean: ``source`` or ``date``."""

    @property
    def writes_as_stored(self) -> bool:
        """Whether a finished file has exactly the lines of the part files, unless newer versions came."""
        return self.format == "jsonl" and not (
            self.normalised or self.compression or self.ordered or self.partition
        )

    @property
    def has_evaluations(self) -> bool:
        """Whether there is also a table of evaluations."""
        return self.format == "parquet" and self.layout == "directory" and "eval_outputs" not in self.left_out

    def differences(self, earlier: "Parameters") -> list[str]:
        """Return sentences about the differences from the parameters of an earlier run."""
        words = {
            name: (getattr(earlier, name), getattr(self, name))
            for name in self.__struct_fields__
            if name != "sources"
        }
        found = [
            f"{name} was {before!r} and is now {now!r}"
            for name, (before, now) in words.items()
            if before != now
        ]
        if self.sources != earlier.sources:
            found.append(_sources_difference(earlier.sources, self.sources))
        return found


def fingerprint(identity: Mapping[str, Any]) -> bytes:
    """Return bytes that are equal for equal values, whatever the order of their keys."""
    return msgspec.json.encode(identity, order="deterministic")


def _sources_difference(before: list[dict[str, Any]], now: list[dict[str, Any]]) -> str:
    earlier, later = set(map(fingerprint, before)), set(map(fingerprint, now))
    if earlier == later:
        return "the sources are the same in another order"
    return f"{len(earlier - later)} of its sources are missing and {len(later - earlier)} are new"


class Failure(msgspec.Struct, kw_only=True, frozen=True):
    """An error as text."""

    error: str
    """The name of the error class."""
    message: str
    id: str | None = None
    """The id of the call that the error is about."""

    @classmethod
    def of(cls, error: FutureAGIError, id_: str | None = None) -> "Failure":
        """Return an error as text. Errors hold no keys."""
        return cls(error=type(error).__name__, message=str(error), id=id_)

    def to_error(self) -> FutureAGIError:
        """Return an error with the stored class and message."""
        found = getattr(errors, self.error, None)
        kind = found if isinstance(found, type) and issubclass(found, FutureAGIError) else FutureAGIError
        return kind(self.message)


class RecordingFile(msgspec.Struct, kw_only=True, frozen=True):
    """The result of the download of a recording: ``path`` and ``sha256``, or an ``error``."""

    call_id: str
    name: str
    url_host: str
    path: str | None
    """The name of the file in the folder, such as ``<call id>-combined.mp3``."""
    bytes: int
    sha256: str | None
    error: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict for ``json.dumps``."""
        return msgspec.structs.asdict(self)


class Part(msgspec.Struct, kw_only=True, frozen=True):
    """One part file of the export."""

    name: str
    records: int | None
    """The number of calls; ``None`` for a file of evaluations."""
    bytes: int
    sha256: str
    misfits: int = 0
    """The number of calls with ``misfits``: values as sent that the other columns can't hold."""


class Source(msgspec.Struct, kw_only=True, frozen=True):
    """The report of one source."""

    source: dict[str, Any]
    """``kind``, ids and filters of the source."""
    verdict: str
    reason: str
    complete_as_of: datetime | None
    changed_since: datetime | None
    """The time since which changes were read; ``None`` if the source was read in full."""
    expected: int | None
    records: int
    """The number of its records in the files."""
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
    """The number of received records with a value of an undocumented type."""


class Transcripts(msgspec.Struct, kw_only=True, frozen=True):
    """The results of reading details."""

    fetched: int
    gone: list[str]
    failed: list[Failure]


class Since(msgspec.Struct, kw_only=True, frozen=True):
    """The earlier export, if this one has only the changes since then."""

    manifest: str
    """The digest of its manifest."""
    cannot_see: str


class Manifest(msgspec.Struct, kw_only=True, frozen=True):
    """The whole manifest. ``docs/manifest.md`` describes the file for readers in other languages."""

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
    """The SHA-256 of the sorted ids, one per line."""
    pairs_sha256: str
    """The SHA-256 of the sorted pairs of a source's place and an id."""
    transcripts: Transcripts | None
    recordings: list[RecordingFile] | None
    recordings_folder: str | None
    """The name of the folder of recordings, if it is in the directory of the export."""
    since: Since | None
    digest: str
    """The SHA-256 of the manifest itself, computed with an empty text here."""


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the text of the manifest, with its digest."""
    fields = msgspec.to_builtins(manifest)
    fields["digest"] = digest_of(fields)
    return msgspec.json.format(msgspec.json.encode(fields), indent=2) + b"\n"


def digest_of(fields: dict[str, Any]) -> str:
    """Return the SHA-256 of a manifest as compact JSON in UTF-8, with sorted keys and an empty ``digest``."""
    return hashlib.sha256(msgspec.json.encode({**fields, "digest": ""}, order="sorted")).hexdigest()


def decode_manifest(text: bytes) -> tuple[Manifest, bool]:
    """Return a manifest, and whether its digest matches. Raises `ValueError` if the text is no manifest."""
    try:
        fields = msgspec.json.decode(text, type=dict[str, Any])
        if not isinstance(fields.get("manifest"), int):
            raise ValueError("it is not the manifest of an export")  # noqa: TRY004 - of what a file holds
        if fields["manifest"] != FORMAT:
            raise ValueError(
                f"its version is {fields['manifest']}, but this package reads only version {FORMAT}"
            )
        return msgspec.json.decode(text, type=Manifest), fields.get("digest") == digest_of(fields)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ValueError(f"it can't be decoded ({error})") from None


def find_manifest(folder: Path) -> Path:
    """Return the path of the manifest in the directory of an export, even if there is none."""
    former = folder / FORMER_MANIFEST
    return former if is_file(former) and not os.path.lexists(folder / MANIFEST) else folder / MANIFEST


def read_text(path: Path) -> bytes | None:
    """Return the text of a manifest file; ``None`` if there is no file."""
    if not is_file(path):
        return None
    with export_errors(path, "read"):
        if path.stat().st_size > MAX_BYTES:
            raise ExportError(f"Can't use {path}: it is too large for a manifest.")
        return path.read_bytes()


def read_manifest(path: Path) -> Manifest | None:
    """Return the manifest at a path; ``None`` if there is none. A changed manifest is refused."""
    text = read_text(path)
    return parse_manifest(text, path) if text is not None else None


def parse_manifest(text: bytes, shown: Path | str) -> Manifest:
    """Return the manifest in a text. A changed manifest is refused."""
    try:
        manifest, fits = decode_manifest(text)
    except ValueError as error:
        raise ExportError(f"Can't use {shown}: {error}.") from None
    if not fits:
        raise ExportError(f"Can't use {shown}: it was changed. Its digest does not match its content.")
    return manifest


CANNOT_SEE = (
    "An incremental export can't find deleted calls. It also can't find calls that newly appear in the list "
    "of an agent version, or in a list with status, search or filters, if they were last changed earlier."
)
"""The limits of an incremental export: the server tells only when a call was last changed."""


@attrs.define(frozen=True)
class BaseExport:
    """The earlier export, and for each source the time since which changes are read."""

    digest: str
    changed_since: Mapping[CallSource, datetime]
    """Sources that are missing here are read in full: the earlier export did not have them completely."""


Describe: TypeAlias = Callable[[CallSource], dict[str, Any]]
"""Returns the description of a list in a manifest."""


def read_base(path: Path, sources: Sequence[CallSource], describe: Describe) -> BaseExport:
    """Return the manifest of an earlier export by its path or directory. Raises `ExportError` if invalid."""
    if path.is_dir():
        path = find_manifest(path)
    elif path.name in (MANIFEST, FORMER_MANIFEST):  # a newer version of this package may have renamed it
        path = find_manifest(path.parent)
    manifest = read_manifest(path)
    if manifest is None:
        raise ExportError(f"Can't read {path}: there is no manifest of an earlier export.")
    return match_sources(manifest, sources, describe)


def match_sources(manifest: Manifest, sources: Sequence[CallSource], describe: Describe) -> BaseExport:
    """Return the sources that are complete in the earlier export."""
    known = {
        fingerprint(entry.source): entry.complete_as_of
        for entry in manifest.sources
        if entry.verdict == "complete" and entry.complete_as_of is not None
    }
    moments = {source: known.get(fingerprint(describe(source))) for source in sources}
    found = {source: moment for source, moment in moments.items() if moment is not None}
    return BaseExport(manifest.digest, found)
