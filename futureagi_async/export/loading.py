"""Loads the tables of a finished export: `load_tables`."""

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain, islice, repeat
from pathlib import Path, PurePosixPath
from typing import ClassVar, TypeAlias, cast

import attrs
import msgspec

from futureagi_async._sansio.decoding.fragments import JSON_ERRORS, id_of
from futureagi_async._sansio.decoding.lines import decode_line, decode_normalised, source_of
from futureagi_async._sansio.decoding.lines import left_out_of as left_out_of_line
from futureagi_async.errors import DecodingError, ExportError
from futureagi_async.export.formats import check_compression, decompression_faults, open_decompressed
from futureagi_async.export.formats.arrow_arrays import Arrow, arrow_schema
from futureagi_async.export.formats.arrow_tables import (
    MadeTables,
    TableMaker,
    conform,
    evaluations_in,
    import_pyarrow,
    select,
)
from futureagi_async.export.formats.projection import GROUPS, Projection, group_of, left_out_of
from futureagi_async.export.formats.records import Batch, lacks_transcript, with_record
from futureagi_async.export.formats.schema import CALLS, SOURCE
from futureagi_async.export.locations import Location, open_location, read_manifest_at
from futureagi_async.export.manifest import FORMER_MANIFEST, MANIFEST, Manifest, Transcripts
from futureagi_async.export.object_store import Address
from futureagi_async.export.partitions import folder_of_source
from futureagi_async.export.targets import PART_NAME, read_target
from futureagi_async.models import CallExecution
from futureagi_async.sources import CallSource, source_from_dict

_BATCH_LINES = 1_000

Opened: TypeAlias = AbstractContextManager[Path]
"""A file, or a copy of it that exists only while it is read."""


@attrs.define(frozen=True)
class Wanted:
    """The parts of an export to read."""

    evaluations: bool
    columns: Sequence[str] | None

    def names(self, projection: Projection) -> Sequence[str]:
        """Return the columns to read. Raises `ValueError` for a column that the export left out."""
        for name in self.columns or ():
            if name not in projection.calls:
                raise ValueError(f"columns names {name!r}, but the export left this column out.")
        return self.columns or tuple(projection.calls)


@attrs.define(frozen=True)
class Loaded:
    """The content of an export."""

    tables: MadeTables
    manifest: Manifest | None = None
    """``None`` for a single file."""
    sources: tuple[CallSource, ...] = ()
    """The sources of the manifest, in its order."""


def load_tables(place: Path | Address, wanted: Wanted) -> Loaded:
    """Return the content of a directory, a prefix or a file. Raises `ExportError` if it can't be read."""
    if isinstance(place, Address) or place.is_dir() or place.name in (MANIFEST, FORMER_MANIFEST):
        return _load_location(open_location(place), wanted)
    target = read_target(place, None)
    if not place.exists():
        raise ExportError(f"Can't read {place}: there is no such file or directory.")
    if target.is_directory:
        raise ExportError(f"Can't read {place}: its name does not end in .parquet or .jsonl.")
    check_format(place, target.format)
    if target.format == "parquet":
        return Loaded(_load_parquet([nullcontext(place)], [], wanted, _left_out_of_parquet(place)))
    left_out = _left_out_of_lines(place)
    loader = _LineLoader(
        [] if left_out is None else _sources_in(place),
        wanted,
        left_out=left_out or (),
        is_normalised=left_out is not None,
    )
    return Loaded(loader.load([nullcontext(place)], repeat(None)))


def check_format(path: object, format_: str) -> None:
    """Raise `ExportError` for CSV, because its transcripts are plain text."""
    if format_ == "csv":
        raise ExportError(
            f"Can't load tables from {path}: CSV has no types and no separate turns. "
            "Export as Parquet or JSON Lines, or use pandas.read_csv."
        )


def _load_location(location: Location, wanted: Wanted) -> Loaded:
    manifest = read_manifest_at(location)
    check_format(location, manifest.parameters.format)
    sources = _sources_of(manifest)
    for part in manifest.parts:
        if not PART_NAME.fullmatch(part.name) or location.size(part.name) != part.bytes:
            location.check_unchanged()
            file = location.file(part.name)
            raise ExportError(f"{file} was changed or removed after the export. Check it with verify_export.")
    calls = [location.local(part.name) for part in manifest.parts if part.records is not None]
    if manifest.parameters.format == "parquet":
        evaluations = [location.local(part.name) for part in manifest.parts if part.records is None]
        tables = _load_parquet(calls, evaluations, wanted, manifest.parameters.left_out)
    else:
        loader = _LineLoader(
            sources,
            wanted,
            left_out=manifest.parameters.left_out,
            is_normalised=manifest.parameters.normalised,
            details=manifest.transcripts,
        )
        tables = loader.load(calls, _places(manifest))
    location.check_unchanged()
    return Loaded(tables, manifest, sources)


def _sources_of(manifest: Manifest) -> tuple[CallSource, ...]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings about unknown words: the export gave them before
        try:
            return tuple(source_from_dict(entry.source) for entry in manifest.sources)
        except (TypeError, ValueError) as error:
            raise ExportError(f"Can't use the export's manifest: {error}") from error


def _places(manifest: Manifest) -> Iterator[int | None]:
    """Yield the place of the source of each line. Lines as sent don't name it, but may be in order."""
    if len(manifest.sources) == 1:
        return repeat(0)
    if manifest.parameters.partition == "source":
        return _places_by_folder(manifest)
    if not manifest.parameters.ordered or manifest.parameters.partition is not None:
        return repeat(None)
    return chain.from_iterable(repeat(place, entry.records) for place, entry in enumerate(manifest.sources))


def _places_by_folder(manifest: Manifest) -> Iterator[int | None]:
    """Yield the same for partitioned files: each list has its own folder, those of one run test share one."""
    folders = [folder_of_source(entry.source) for entry in manifest.sources]
    places = {folder: folders.index(folder) if folders.count(folder) == 1 else None for folder in folders}
    for part in manifest.parts:
        if part.records:
            yield from repeat(places.get(str(PurePosixPath(part.name).parent)), part.records)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Raise `ExportError` for any error in a file."""
    faults: tuple[type[Exception], ...]
    faults = (OSError, KeyError, DecodingError, *JSON_ERRORS, *decompression_faults(path))
    try:
        yield
    except faults as error:
        raise ExportError(f"Can't read {path}: {error}") from error


def _load_parquet(
    calls: Sequence[Opened], evaluations: Sequence[Opened], wanted: Wanted, left_out: Iterable[str]
) -> MadeTables:
    """Return the tables of calls, and of evaluations if there are files of them."""
    pa = import_pyarrow()
    projection = Projection.without(left_out)
    schema = arrow_schema(pa, {name: CALLS[name] for name in wanted.names(projection)})
    long = arrow_schema(pa, projection.evaluations)
    names = [name for name in ("id", *SOURCE, "eval_outputs") if name in projection.calls]
    needed = arrow_schema(pa, {name: CALLS[name] for name in names})
    has_evaluations = wanted.evaluations and bool(projection.evaluations)
    made, read = [schema.empty_table()], [long.empty_table()]
    for opened in calls:
        with opened as path:
            made.append(_read_parquet(path, schema))
            if has_evaluations and not evaluations:
                read.append(evaluations_in(pa, _read_parquet(path, needed), long))
    for opened in evaluations if has_evaluations else ():
        with opened as path:
            read.append(_read_parquet(path, long))
    return MadeTables(pa.concat_tables(made), pa.concat_tables(read) if has_evaluations else None)


def _left_out_of_parquet(path: Path) -> tuple[str, ...]:
    from pyarrow import parquet

    with _reading(path):
        return left_out_of(parquet.read_schema(path))


def _left_out_of_lines(path: Path) -> list[str] | None:
    """Return the columns that were left out of normalised lines; ``None`` for lines as sent.

    The keys of the first line show which. The ids of a source are an exception: they depend on its kind, and
    are present or left out together.
    """
    check_compression(path.suffix.lower())
    with _reading(path), open_decompressed(path) as file:
        first = file.readline()
        lacking = left_out_of_line(first) if first else frozenset[str]()
        if lacking is None:
            return None
        groups = {group: msgspec.json.decode(first).get(group) for group in GROUPS} if first else {}
    left_out = {name for name in CALLS if group_of(name) in lacking and name != "scenario_id"}
    left_out |= {"scenario_id"} & lacking
    for group, found in groups.items():
        if isinstance(found, dict):
            has_ids = any(key.endswith("_id") for key in found)
            keys = {name: name.removeprefix(f"{group}_") for name in GROUPS[group] if name != "scenario_id"}
            left_out |= {
                name
                for name, key in keys.items()
                if key not in found and not (has_ids and key.endswith("_id"))
            }
    return [name for name in CALLS if name in left_out]


def _read_parquet(path: Path, schema: Arrow) -> Arrow:
    pa = import_pyarrow()
    from pyarrow import parquet

    with _reading(path):
        file = parquet.ParquetFile(path)
        names = file.schema_arrow.names
        if "source_index" not in names and not left_out_of(file.schema_arrow):
            raise ValueError("it has no column source_index, so it is not an export of calls.")
        return conform(pa, file.read([name for name in schema.names if name in names]), schema)


@attrs.frozen
class _Unnamed:
    """A source of which only the place is known, because its other columns were left out."""

    place: int
    kind: ClassVar[None] = None
    ids: ClassVar[Mapping[str, str]] = {}


def _sources_in(path: Path) -> list[CallSource | None]:
    """Return the sources that normalised lines name, each at its place.

    Lines name a list without its filters. If two sources differ only in their filters, neither has a place.
    """
    found: dict[int, CallSource | None] = {}
    with _reading(path), open_decompressed(path) as file:
        for line in file:
            place, source = source_of(line)
            if place is not None:
                found[place] = source or cast(CallSource, _Unnamed(place))
    times = Counter(found.values())
    places = range(max(found, default=-1) + 1)
    return [found.get(place) if times[found.get(place)] == 1 else None for place in places]


class _LineLoader:
    """Reads JSON Lines, as sent or normalised."""

    def __init__(
        self,
        sources: Sequence[CallSource | None],
        wanted: Wanted,
        *,
        left_out: Iterable[str],
        is_normalised: bool,
        details: Transcripts | None = None,
    ) -> None:
        projection = Projection.without(left_out)
        evaluations = wanted.evaluations and bool(projection.evaluations)
        self._sources = sources
        self._maker = TableMaker(sources, evaluations=evaluations, projection=projection)
        self._columns = wanted.names(projection)
        self._is_normalised = is_normalised
        self._has_details = details is not None
        self._lacking = {*details.gone, *(failure.id for failure in details.failed)} if details else set()
        """Ids of calls whose detail could not be read."""

    def load(self, files: Sequence[Opened], places: Iterator[int | None]) -> MadeTables:
        """Return the content of files. ``places`` gives the place of the source of each line as sent."""
        columns = self._columns
        made: list[MadeTables] = []
        for opened in files:
            with opened as path:
                loaded = self._load_file(path, places)
                made += [MadeTables(select(each.calls, columns), each.evaluations) for each in loaded]
        return self._maker.join(made, columns)

    def _load_file(self, path: Path, places: Iterator[int | None]) -> Iterator[MadeTables]:
        check_compression(path.suffix.lower())
        make = self._normalised if self._is_normalised else self._as_sent
        with _reading(path), open_decompressed(path) as file:
            while lines := list(map(bytes.rstrip, islice(file, _BATCH_LINES))):
                yield self._maker.make(make(lines, places))

    def _normalised(self, lines: Sequence[bytes], _places: object) -> Batch:
        calls = [with_record(decode_normalised(line)) for line in lines]
        for call, line in zip(calls, lines, strict=True):
            place, _ = source_of(line)
            if place is not None and place < len(self._sources):
                call.source = self._sources[place] or call.source  # with the filters of its list
        return Batch([b""] * len(calls), [call.source for call in calls], restore=calls.__getitem__)

    def _as_sent(self, lines: Sequence[bytes], places: Iterator[int | None]) -> Batch:
        sources = [None if place is None else self._sources[place] for place in islice(places, len(lines))]
        has_detail = frozenset(
            place
            for place, line in enumerate(lines)
            if self._has_details and not (self._lacking and id_of(line) in self._lacking)
        )

        def restore(place: int) -> CallExecution:
            call = decode_line(lines[place], sources[place])
            if place in has_detail and lacks_transcript(call):
                call.transcript = ()  # from its detail, which is always complete
            return call

        return Batch(lines, sources, restore, has_detail)
