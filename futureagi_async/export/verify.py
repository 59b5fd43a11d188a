"""Checks that the directory or the file of an export is unchanged: `verify_export`."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path, PurePath

import attrs
import msgspec

from futureagi_async.errors import ExportError
from futureagi_async.export.files import digest_file
from futureagi_async.export.formats import open_decompressed
from futureagi_async.export.formats.ids import read_ids
from futureagi_async.export.locations import Location, open_location
from futureagi_async.export.manifest import (
    FORMER_MANIFEST,
    MANIFEST,
    Manifest,
    Part,
    RecordingFile,
    Source,
    decode_manifest,
    fingerprint,
)
from futureagi_async.export.object_store import Address
from futureagi_async.export.store import INDEX, digest_lines
from futureagi_async.export.targets import (
    PART_NAME,
    RECORDING_NAME,
    RECORDINGS_FOLDER,
    WORK,
    Target,
    read_target,
)
from futureagi_async.models.plain import Plain

_CACHE_KIBIBYTES = 64  # ids are read in the order in which they were added: more is no quicker


@attrs.define(frozen=True, kw_only=True)
class VerifyReport(Plain):
    """The result of `verify_export`."""

    added = ("ok",)

    directory: Path | str
    """The directory, the single file, or the address (as text) that was checked."""
    problems: tuple[str, ...]
    """What is wrong, one sentence for each problem."""
    complete: bool | None = None
    """Whether the export was complete when it was written; ``None`` if it does not say."""
    records: int | None = None
    """The number of records according to the manifest; in a single file, the number that was read."""
    files: int = 0
    """The number of files that were checked."""
    unchecked: str = ""
    """What could not be checked in a single file, because it has no manifest."""

    @property
    def ok(self) -> bool:
        """Whether no problem was found."""
        return not self.problems


def verify_place(place: Path | Address) -> VerifyReport:
    """Return the report of `verify_export`."""
    if isinstance(place, Path) and place.name not in (MANIFEST, FORMER_MANIFEST):
        if place.is_file():
            return verify_file(place)
        if not place.exists() and place.with_name(f".{place.name}{WORK}").exists():
            raise ExportError(f"Can't read {place}: the export is not finished. Run it again.")
    return verify_location(open_location(place))


def verify_location(location: Location) -> VerifyReport:
    """Return the report of an export's files, compared with its manifest."""
    text, name = location.manifest_text(), location.manifest_name()
    if text is None:
        problem = f"There is no {MANIFEST}.{location.hint}"
        return VerifyReport(directory=location.place, problems=(problem,))
    try:
        manifest, fits = decode_manifest(text)
    except ValueError as error:
        return VerifyReport(directory=location.place, problems=(f"{name} can't be used: {error}.",))
    problems = [] if fits else [f"{name} was changed: its digest does not match its content."]
    problems += check_manifest(manifest)
    with closing(IdDigests()) as ids:
        problems += _Check(location, manifest, ids).problems(location.names())
    location.check_unchanged()
    return VerifyReport(
        directory=location.place,
        problems=tuple(problems),
        complete=manifest.complete,
        records=manifest.records,
        files=len(manifest.parts),
    )


_UNCHECKED = "A single file has no manifest. So verify can't find changed values"


def verify_file(path: Path) -> VerifyReport:
    """Check that a single file can be read to its end, and that no list in it has a call twice."""
    target = _target_of(path)
    problems: list[str] = []
    with closing(IdDigests()) as ids:
        is_normalised = target.format == "jsonl" and _names_sources(path)
        try:
            ids.add(read_ids(path, target.format, normalised=is_normalised))
        except ExportError as error:
            problems.append(str(error))
        if twice := ids.twice():
            problems.append(f"Calls that are in the file twice for the same list: {twice:,}.")
        records = ids.counts.total()
        # lines without their list do not tell a repeated call from a call that is in two lists
        more = ", missing records or repeated calls." if ids.counts[None] else " or missing records."
    return VerifyReport(
        directory=path,
        problems=tuple(problems),
        complete=False if (target.work / INDEX).exists() else None,
        records=records,
        files=1,
        unchecked=_UNCHECKED + more,
    )


def _target_of(path: Path) -> Target:
    """Return the file as the target of an export, or raise `ExportError` if it can't be one."""
    try:
        target = read_target(path, None)
    except ValueError:
        target = None
    if target is None or target.is_directory:
        raise ExportError(
            f"Can't verify {path}: exports end in .jsonl, .csv (also with .gz or .zst) or .parquet."
        )
    return target


def _names_sources(path: Path) -> bool:
    """Whether the first line of JSON Lines names its source, as normalised lines do."""
    try:
        with open_decompressed(path) as file:
            first = msgspec.json.decode(file.readline() or b"null")
    except (OSError, ValueError, EOFError):  # which reading it whole will tell
        return False
    source = first.get("source") if isinstance(first, dict) else None
    return isinstance(source, dict) and "index" in source


@attrs.define
class _Check:
    """Compares the files of a directory with its manifest. It opens only files with valid names."""

    location: Location
    manifest: Manifest
    ids: "IdDigests"

    def problems(self, names: set[str]) -> Iterator[str]:
        """Yield what is wrong with the files. ``names`` are all names that part files can have."""
        parts = {part.name: part for part in self.manifest.parts if PART_NAME.fullmatch(part.name)}
        sound = True
        for part in parts.values():
            found = list(self._part_problems(part))
            sound = sound and not found
            yield from found
        for name in sorted(names - parts.keys()):
            yield f"{name} does not belong to this export: its manifest does not list it."
        if sound:
            yield from self._id_problems()
        yield from self._recording_problems()

    def _part_problems(self, part: Part) -> Iterator[str]:
        size = self.location.size(part.name)
        if size is None:
            yield f"{part.name} is missing."
            return
        if size != part.bytes:
            yield f"{part.name} has {size:,} bytes, but the manifest says {part.bytes:,}."
        with self.location.local(part.name) as path:
            if digest_file(path) != part.sha256:
                yield f"{part.name} was changed: its SHA-256 does not match."
            if not name_of_evaluations(part.name):
                yield from self._row_problems(path, part)

    def _row_problems(self, path: Path, part: Part) -> Iterator[str]:
        before = self.ids.counts.total()
        try:
            parameters = self.manifest.parameters
            self.ids.add(read_ids(path, parameters.format, normalised=parameters.normalised))
        except (ExportError, ValueError) as error:
            yield f"{part.name} can't be read: {error}"
            return
        rows = self.ids.counts.total() - before
        if rows != part.records:
            yield f"Records in {part.name}: {rows:,}, but the manifest says {part.records or 0:,}."

    def _id_problems(self) -> Iterator[str]:
        if self.ids.ids() != self.manifest.ids_sha256:
            yield "The ids in the part files were changed: their checksum differs from the manifest."
        elif self.ids.pairs() not in (None, self.manifest.pairs_sha256):
            yield "The sources of ids in the part files were changed: the checksum differs from the manifest."

    def _recording_problems(self) -> Iterator[str]:
        name = self.manifest.recordings_folder
        if name is None:
            return
        if not RECORDINGS_FOLDER.fullmatch(name):
            yield f"The manifest lists {name!r}, which is not the name of a folder here."
            return
        for recording in self.manifest.recordings or ():
            if recording.path is not None:
                yield from self._file_problems(name, recording.path, recording)

    def _file_problems(self, folder: str, name: str, recording: RecordingFile) -> Iterator[str]:
        if not RECORDING_NAME.fullmatch(name):
            yield f"The manifest lists {name!r}, which is not the name of a recording."
        elif self.location.size(f"{folder}/{name}") is None:
            yield f"Recording {name} is missing."
        else:
            with self.location.local(f"{folder}/{name}") as path:
                if digest_file(path) != recording.sha256:
                    yield f"Recording {name} was changed: its SHA-256 does not match."


class IdDigests:
    """Collects ids in a temporary database, so that memory use is constant. Close it after use."""

    def __init__(self) -> None:
        self.counts: Counter[int | None] = Counter()
        """The number of records added, by source."""
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute(f"PRAGMA cache_size = {-_CACHE_KIBIBYTES}")
        self._database.execute("CREATE TABLE records (source INTEGER, id TEXT)")

    def close(self) -> None:
        """Remove the database."""
        self._database.close()

    def add(self, pairs: Iterable[tuple[int | None, str]]) -> None:
        """Add records: for each the place of its source (``None`` if unknown) and its id."""
        self._database.execute("BEGIN")
        try:
            self._database.executemany("INSERT INTO records VALUES (?, ?)", map(self._count, pairs))
        finally:
            self._database.execute("COMMIT")

    def _count(self, pair: tuple[int | None, str]) -> tuple[int | None, str]:
        self.counts[pair[0]] += 1
        return pair

    def ids(self) -> str:
        """Return the SHA-256 of the sorted ids, one per line."""
        (digest,) = digest_lines(self._database.execute("SELECT id FROM records ORDER BY id"), "%s\n")
        return digest

    def twice(self) -> int:
        """Return how many ids occur more than once in the same source, for known sources."""
        (number,) = self._database.execute(
            "SELECT count(*) FROM (SELECT 1 FROM records WHERE source IS NOT NULL "
            "GROUP BY source, id HAVING count(*) > 1)"
        ).fetchone()
        return int(number)

    def pairs(self) -> str | None:
        """Return the SHA-256 of the sorted pairs, one per line; ``None`` if a source is unknown."""
        if self.counts[None]:
            return None
        rows = self._database.execute("SELECT source, id FROM records ORDER BY source, id")
        (digest,) = digest_lines(rows, "%d %s\n")
        return digest


def check_manifest(manifest: Manifest) -> Iterator[str]:
    """Yield the contradictions in a manifest, one sentence each."""
    names = [part.name for part in manifest.parts]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"The manifest lists {name!r} twice."
    for name in names:
        if not PART_NAME.fullmatch(name) or not name.endswith(f".{manifest.parameters.format}"):
            yield f"The manifest lists {name!r}, which is not the name of a part."
    calls = [part.records or 0 for part in manifest.parts if not name_of_evaluations(part.name)]
    yield from _unequal("records", manifest.records, "its parts", sum(calls))
    yield from _unequal(
        "records", manifest.records, "its sources", sum(source.records for source in manifest.sources)
    )
    yield from _unequal("bytes", manifest.bytes, "its parts", sum(part.bytes for part in manifest.parts))
    asked = list(map(fingerprint, manifest.parameters.sources))
    if asked != [fingerprint(source.source) for source in manifest.sources]:
        yield "The sources in the manifest are not the sources that were requested."
    for place, source in enumerate(manifest.sources):
        yield from _source_contradictions(place, source)
    yield from _completeness_contradictions(manifest)


def name_of_evaluations(name: str) -> bool:
    """Whether a part holds evaluations, not calls."""
    return PurePath(name).name.startswith("evaluations-")


def _unequal(what: str, total: int, of: str, added: int) -> Iterator[str]:
    if total != added:
        yield f"The manifest's total of {what} is {total:,}, but those of {of} add up to {added:,}."


def _source_contradictions(place: int, source: Source) -> Iterator[str]:
    name = f"Source {place} ({source.source.get('kind')})"
    if source.records != source.received:
        yield f"{name}: {source.received:,} were received, but {source.records:,} are in the files."
    if source.verdict not in ("complete", "incomplete"):
        yield f"{name} has an unknown verdict: {source.verdict!r}."
    if source.complete_as_of is None and source.verdict == "complete":
        yield f"{name} is marked complete, but has no time up to which it is complete."


def _completeness_contradictions(manifest: Manifest) -> Iterator[str]:
    transcripts, recordings = manifest.transcripts, manifest.recordings or ()
    failed = transcripts.failed if transcripts is not None else ()
    lists = all(source.verdict == "complete" for source in manifest.sources)
    whole = lists and not failed and not any(recording.error for recording in recordings)
    if manifest.complete != whole:
        said, is_ = ("complete", "is not") if manifest.complete else ("incomplete", "is complete")
        yield f"The manifest marks the export as {said}, but by its own entries it {is_}."
    if (transcripts is not None) != manifest.parameters.transcripts:
        yield "The manifest contradicts itself about whether transcripts were requested."
    if (manifest.recordings is not None) != manifest.parameters.recordings:
        yield "The manifest contradicts itself about whether recordings were requested."
    if (manifest.since.manifest if manifest.since else None) != manifest.parameters.since:
        yield "The manifest contradicts itself about which earlier export it is based on."
