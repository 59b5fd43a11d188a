"""A directory's ``_manifest.json``: what the files hold, how it was read, and sums to check both by."""

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
"""Begins as the names that readers of Parquet directories skip."""
FORMER_MANIFEST = "manifest.json"
"""What versions up to 0.1 called it."""
FORMAT = 1
MAX_BYTES = 256 * 1024 * 1024  # failures and recordings are listed one by one


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of an export, as its index and its manifest hold them."""

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
    """The digest of the manifest that was the base."""
    sources: list[dict[str, Any]]
    left_out: list[str] = []
    """Columns that are not in the files."""
    redacted_with: str | None = None
    """Tells by which key numbers and names were replaced, where they were."""
    partition: str | None = None
    """What the folders of a directory stand for: ``source`` or ``date``."""

    @property
    def writes_as_stored(self) -> bool:
        """Whether a finished file holds just the lines of the part files, unless some of them came again."""
        return self.format == "jsonl" and not (
            self.normalised or self.compression or self.ordered or self.partition
        )

    @property
    def has_evaluations(self) -> bool:
        """Whether there is a table of evaluations beside that of calls."""
        return self.format == "parquet" and self.layout == "directory" and "eval_outputs" not in self.left_out

    def differences(self, earlier: "Parameters") -> list[str]:
        """Say in words what differs from those of an earlier run."""
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
    """Return bytes that are equal for equal identities, whatever the order of their keys."""
    return msgspec.json.encode(identity, order="deterministic")


def _sources_difference(before: list[dict[str, Any]], now: list[dict[str, Any]]) -> str:
    earlier, later = set(map(fingerprint, before)), set(map(fingerprint, now))
    if earlier == later:
        return "the sources are the same in another order"
    return f"{len(earlier - later)} of its sources are missing and {len(later - earlier)} are new"


class Failure(msgspec.Struct, kw_only=True, frozen=True):
    """An error, in words."""

    error: str
    """The class."""
    message: str
    id: str | None = None
    """The call it was about."""

    @classmethod
    def of(cls, error: FutureAGIError, id_: str | None = None) -> "Failure":
        """Put an error into words; errors hold no keys."""
        return cls(error=type(error).__name__, message=str(error), id=id_)

    def to_error(self) -> FutureAGIError:
        """Return an error of the class and with the words that were kept."""
        found = getattr(errors, self.error, None)
        kind = found if isinstance(found, type) and issubclass(found, FutureAGIError) else FutureAGIError
        return kind(self.message)


class RecordingFile(msgspec.Struct, kw_only=True, frozen=True):
    """How the download of a recording ended: ``path`` and ``sha256``, or an ``error``."""

    call_id: str
    name: str
    url_host: str
    path: str | None
    """The file's name in the folder, such as ``<call id>-combined.mp3``."""
    bytes: int
    sha256: str | None
    error: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as a dict that ``json.dumps`` takes."""
        return msgspec.structs.asdict(self)


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
    recordings: list[RecordingFile] | None
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


def find_manifest(folder: Path) -> Path:
    """Return where an export's directory has its manifest, or would have it."""
    former = folder / FORMER_MANIFEST
    return former if is_file(former) and not os.path.lexists(folder / MANIFEST) else folder / MANIFEST


def read_text(path: Path) -> bytes | None:
    """Return what a manifest's file holds, ``None`` where there is no file."""
    if not is_file(path):
        return None
    with export_errors(path, "read"):
        if path.stat().st_size > MAX_BYTES:
            raise ExportError(f"Can't use {path}: it is too large for a manifest.")
        return path.read_bytes()


def read_manifest(path: Path) -> Manifest | None:
    """Return the manifest at a path, ``None`` where there is none; one that was changed is refused."""
    text = read_text(path)
    return parse_manifest(text, path) if text is not None else None


def parse_manifest(text: bytes, shown: Path | str) -> Manifest:
    """Return the manifest that a file holds; one that was changed is refused."""
    try:
        manifest, fits = decode_manifest(text)
    except ValueError as error:
        raise ExportError(f"Can't use {shown}: {error}.") from None
    if not fits:
        raise ExportError(f"Can't use {shown}: it was changed, since its own digest does not match.")
    return manifest


CANNOT_SEE = (
    "Calls that were deleted since are not noticed, nor are calls that entered a version list, or a list "
    "filtered by status, search or filters, with an older time of change."
)
"""What no incremental export can know: the server tells only when a call was changed last."""


@attrs.define(frozen=True)
class BaseExport:
    """The earlier export, and since when changes of each source are to be read."""

    digest: str
    changed_since: Mapping[CallSource, datetime]
    """Sources that the earlier export did not hold, or not completely, are missing here: read in full."""


Describe: TypeAlias = Callable[[CallSource], dict[str, Any]]
"""Says in a manifest what a list is read by."""


def read_base(path: Path, sources: Sequence[CallSource], describe: Describe) -> BaseExport:
    """Read an earlier export's manifest, or that of its directory; raises `ExportError` where it is none."""
    if path.is_dir():
        path = find_manifest(path)
    elif path.name in (MANIFEST, FORMER_MANIFEST):  # a newer version may have renamed it
        path = find_manifest(path.parent)
    manifest = read_manifest(path)
    if manifest is None:
        raise ExportError(f"Can't read {path}: there is no manifest of an earlier export.")
    return match_sources(manifest, sources, describe)


def match_sources(manifest: Manifest, sources: Sequence[CallSource], describe: Describe) -> BaseExport:
    """Find the sources that the earlier export held completely."""
    known = {
        fingerprint(entry.source): entry.complete_as_of
        for entry in manifest.sources
        if entry.verdict == "complete" and entry.complete_as_of is not None
    }
    moments = {source: known.get(fingerprint(describe(source))) for source in sources}
    found = {source: moment for source, moment in moments.items() if moment is not None}
    return BaseExport(manifest.digest, found)
