"""Whether an export's directory, or its file, still holds what was written: `verify_export`."""

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
    """What `verify_export` found."""

    added = ("ok",)

    directory: Path | str
    """What was checked; the file, where that is a single one; an address as text."""
    problems: tuple[str, ...]
    """What is wrong, a sentence each."""
    complete: bool | None = None
    """Whether the export says it holds all that was asked for; ``None`` where it does not say."""
    records: int | None = None
    """How many records the export says it holds; of a single file how many it holds."""
    files: int = 0
    """How many files were checked."""
    unchecked: str = ""
    """What can't be noticed in a single file, which has no manifest."""

    @property
    def ok(self) -> bool:
        """Whether everything is as it was written."""
        return not self.problems


def verify_place(place: Path | Address) -> VerifyReport:
    """Do what `verify_export` says."""
    if isinstance(place, Path) and place.name not in (MANIFEST, FORMER_MANIFEST):
        if place.is_file():
            return verify_file(place)
        if not place.exists() and place.with_name(f".{place.name}{WORK}").exists():
            raise ExportError(f"Can't read {place}: the export is not finished. Run it again.")
    return verify_location(open_location(place))


def verify_location(location: Location) -> VerifyReport:
    """Compare an export's files with its manifest."""
    text, name = location.manifest_text(), location.manifest_name()
    if text is None:
        problem = f"There is no {MANIFEST}.{location.hint}"
        return VerifyReport(directory=location.place, problems=(problem,))
    try:
        manifest, fits = decode_manifest(text)
    except ValueError as error:
        return VerifyReport(directory=location.place, problems=(f"{name} can't be used: {error}.",))
    problems = [] if fits else [f"{name} was changed: its own digest does not match."]
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


_NO_SUMS = "A single file has no manifest: changed values and records that are missing are not noticed"


def verify_file(path: Path) -> VerifyReport:
    """Check what a single file shows by itself: it can be read to its end, and no list has a call twice."""
    target = _target_of(path)
    problems: list[str] = []
    with closing(IdDigests()) as ids:
        is_normalised = target.format == "jsonl" and _names_sources(path)
        try:
            ids.add(read_ids(path, target.format, normalised=is_normalised))
        except ExportError as error:
            problems.append(str(error))
        if twice := ids.twice():
            problems.append(f"Calls that stand in it twice for one list: {twice:,}.")
        records = ids.counts.total()
        more = ", nor are calls that stand there twice: its lines name no list." if ids.counts[None] else "."
    return VerifyReport(
        directory=path,
        problems=tuple(problems),
        complete=False if (target.work / INDEX).exists() else None,
        records=records,
        files=1,
        unchecked=_NO_SUMS + more,
    )


def _target_of(path: Path) -> Target:
    """Return the file as the target of an export, or raise `ExportError` where it can't be one."""
    try:
        target = read_target(path, None)
    except ValueError:
        target = None
    if target is None or target.is_directory:
        raise ExportError(
            f"Can't verify {path}: exports end in .jsonl, .csv (perhaps with .gz or .zst) or .parquet."
        )
    return target


def _names_sources(path: Path) -> bool:
    """Whether the first line of JSON Lines says of which source its record is, as normalised ones do."""
    try:
        with open_decompressed(path) as file:
            first = msgspec.json.decode(file.readline() or b"null")
    except (OSError, ValueError, EOFError):  # which reading it whole will tell
        return False
    source = first.get("source") if isinstance(first, dict) else None
    return isinstance(source, dict) and "index" in source


@attrs.define
class _Check:
    """Compares the files of a directory with its manifest, of whose names it believes none."""

    location: Location
    manifest: Manifest
    ids: "IdDigests"

    def problems(self, names: set[str]) -> Iterator[str]:
        """Yield what is wrong with the files, ``names`` being those of all that could be parts."""
        parts = {part.name: part for part in self.manifest.parts if PART_NAME.fullmatch(part.name)}
        sound = True
        for part in parts.values():
            found = list(self._part_problems(part))
            sound = sound and not found
            yield from found
        for name in sorted(names - parts.keys()):
            yield f"{name} is not a part of this export, according to its manifest."
        if sound:
            yield from self._id_problems()
        yield from self._recording_problems()

    def _part_problems(self, part: Part) -> Iterator[str]:
        size = self.location.size(part.name)
        if size is None:
            yield f"{part.name} is missing."
            return
        if size != part.bytes:
            yield f"{part.name} has {size:,} bytes, and the manifest says {part.bytes:,}."
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
            yield f"The records in {part.name} number {rows:,}, and the manifest says {part.records or 0:,}."

    def _id_problems(self) -> Iterator[str]:
        if self.ids.ids() != self.manifest.ids_sha256:
            yield "The ids in the parts are not those that were written: the manifest's sum of them differs."
        elif self.ids.pairs() not in (None, self.manifest.pairs_sha256):
            yield "Ids in the parts are not of the sources that they were written with."

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
    """Collects ids in a temporary database, so that memory stays flat; to be closed."""

    def __init__(self) -> None:
        self.counts: Counter[int | None] = Counter()
        """How many records were added of each source."""
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute(f"PRAGMA cache_size = {-_CACHE_KIBIBYTES}")
        self._database.execute("CREATE TABLE records (source INTEGER, id TEXT)")

    def close(self) -> None:
        """Drop the database."""
        self._database.close()

    def add(self, pairs: Iterable[tuple[int | None, str]]) -> None:
        """Add records: the place of the source, ``None`` where it is not known, and the id."""
        self._database.execute("BEGIN")
        try:
            self._database.executemany("INSERT INTO records VALUES (?, ?)", map(self._count, pairs))
        finally:
            self._database.execute("COMMIT")

    def _count(self, pair: tuple[int | None, str]) -> tuple[int | None, str]:
        self.counts[pair[0]] += 1
        return pair

    def ids(self) -> str:
        """Return the SHA-256 of the sorted ids, a line each."""
        (digest,) = digest_lines(self._database.execute("SELECT id FROM records ORDER BY id"), "%s\n")
        return digest

    def twice(self) -> int:
        """Return how many ids some source has more than once, as far as sources are known."""
        (number,) = self._database.execute(
            "SELECT count(*) FROM (SELECT 1 FROM records WHERE source IS NOT NULL "
            "GROUP BY source, id HAVING count(*) > 1)"
        ).fetchone()
        return int(number)

    def pairs(self) -> str | None:
        """Return the SHA-256 of the sorted pairs, a line each; ``None`` where some source is not known."""
        if self.counts[None]:
            return None
        rows = self._database.execute("SELECT source, id FROM records ORDER BY source, id")
        (digest,) = digest_lines(rows, "%d %s\n")
        return digest


def check_manifest(manifest: Manifest) -> Iterator[str]:
    """Yield what can't all be true, a sentence each."""
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
        yield "The manifest tells of other sources than were asked for."
    for place, source in enumerate(manifest.sources):
        yield from _source_contradictions(place, source)
    yield from _completeness_contradictions(manifest)


def name_of_evaluations(name: str) -> bool:
    """Whether a part holds evaluations, not calls."""
    return PurePath(name).name.startswith("evaluations-")


def _unequal(what: str, total: int, of: str, added: int) -> Iterator[str]:
    if total != added:
        yield f"The manifest's total of {what} is {total:,}, and those of {of} add up to {added:,}."


def _source_contradictions(place: int, source: Source) -> Iterator[str]:
    name = f"Source {place} ({source.source.get('kind')})"
    if source.records != source.received:
        yield f"{name}: {source.received:,} were received, and {source.records:,} are in the files."
    if source.verdict not in ("complete", "incomplete"):
        yield f"{name} has the verdict {source.verdict!r}, which there is not."
    if source.complete_as_of is None and source.verdict == "complete":
        yield f"{name} is called complete, without a time up to which it is."


def _completeness_contradictions(manifest: Manifest) -> Iterator[str]:
    transcripts, recordings = manifest.transcripts, manifest.recordings or ()
    failed = transcripts.failed if transcripts is not None else ()
    lists = all(source.verdict == "complete" for source in manifest.sources)
    whole = lists and not failed and not any(recording.error for recording in recordings)
    if manifest.complete != whole:
        said, is_ = ("complete", "is not") if manifest.complete else ("incomplete", "is complete")
        yield f"The manifest calls the export {said}, and by its own entries it {is_}."
    if (transcripts is not None) != manifest.parameters.transcripts:
        yield "The manifest disagrees with itself on whether transcripts were asked for."
    if (manifest.recordings is not None) != manifest.parameters.recordings:
        yield "The manifest disagrees with itself on whether recordings were asked for."
    if (manifest.since.manifest if manifest.since else None) != manifest.parameters.since:
        yield "The manifest disagrees with itself on which export it builds on."
