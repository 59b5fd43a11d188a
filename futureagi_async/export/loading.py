"""Tables of what a finished export holds: `load_tables`."""

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice, repeat
from pathlib import Path

import attrs

from futureagi_async._sansio.decoding.fragments import JSON_ERRORS, id_of
from futureagi_async._sansio.decoding.lines import decode_line, is_normalised, source_of
from futureagi_async.errors import DecodingError, ExportError
from futureagi_async.export.files import export_errors, is_file
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
from futureagi_async.export.formats.records import Batch, lacks_transcript, with_record
from futureagi_async.export.formats.schema import CALLS, EVALUATIONS, SOURCE
from futureagi_async.export.manifest import MANIFEST, Manifest, read_manifest
from futureagi_async.export.targets import PART_NAME, WORK, read_target
from futureagi_async.models import CallExecution
from futureagi_async.sources import CallSource, source_from_dict

_MANIFESTS = tuple(dict.fromkeys((MANIFEST, "_manifest.json", "manifest.json")))
"""Names that a manifest has, or had."""
_BATCH_LINES = 1_000


@attrs.define(frozen=True)
class Wanted:
    """What is to be read of an export."""

    evaluations: bool
    columns: Sequence[str] | None


@attrs.define(frozen=True)
class Loaded:
    """What an export holds."""

    tables: MadeTables
    manifest: Manifest | None = None
    """``None`` for a single file."""
    sources: tuple[CallSource, ...] = ()
    """Those of the manifest, in its order."""


def load_tables(path: Path, wanted: Wanted) -> Loaded:
    """Read a directory or a file; raises `ExportError` for one that can't be read as what it should be."""
    if path.name in _MANIFESTS:
        path = path.parent
    if path.is_dir():
        return _load_directory(path, wanted)
    target = read_target(path, None)
    if not path.exists():
        raise ExportError(f"Can't read {path}: there is no such file or directory.")
    if target.is_directory:
        raise ExportError(f"Can't read {path}: its name does not end in .parquet or .jsonl.")
    check_format(path, target.format)
    if target.format == "parquet":
        return Loaded(_load_parquet([path], [], wanted))
    return Loaded(_LineLoader(_sources_in(path), wanted).load([path], repeat(None)))


def check_format(path: Path, format_: str) -> None:
    """Raise `ExportError` for CSV, in which transcripts are texts for people."""
    if format_ == "csv":
        raise ExportError(
            f"Can't read {path} as the tables that were exported: CSV has no types and no turns. "
            "Export as Parquet or JSON Lines, or use pandas.read_csv."
        )


def _load_directory(folder: Path, wanted: Wanted) -> Loaded:
    manifest = _read_manifest(folder)
    check_format(folder, manifest.parameters.format)
    sources = _sources_of(manifest)
    paths = {part.name: folder / part.name for part in manifest.parts}
    for part in manifest.parts:
        path = paths[part.name]
        if not PART_NAME.fullmatch(part.name) or not is_file(path) or path.stat().st_size != part.bytes:
            raise ExportError(f"{path} is not as the export left it. Look with verify_export.")
    calls = [paths[part.name] for part in manifest.parts if part.records is not None]
    if manifest.parameters.format == "parquet":
        evaluations = [paths[part.name] for part in manifest.parts if part.records is None]
        return Loaded(_load_parquet(calls, evaluations, wanted), manifest, sources)
    loader = _LineLoader(sources, wanted, manifest)
    return Loaded(loader.load(calls, _places(manifest)), manifest, sources)


def _read_manifest(folder: Path) -> Manifest:
    with export_errors(folder, "read"):
        names = {path.name for path in folder.iterdir()}
    for name in _MANIFESTS:
        if name in names and (manifest := read_manifest(folder / name)) is not None:
            return manifest
    unfinished = " The export is not finished: run it again." if WORK in names else ""
    raise ExportError(f"Can't read {folder}: there is no {MANIFEST} of an export.{unfinished}")


def _sources_of(manifest: Manifest) -> tuple[CallSource, ...]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of unknown words: whoever exported was told
        try:
            return tuple(source_from_dict(entry.source) for entry in manifest.sources)
        except (TypeError, ValueError) as error:
            raise ExportError(f"Can't use the export's manifest: {error}") from error


def _places(manifest: Manifest) -> Iterator[int | None]:
    """Yield the place of each line's source; lines as sent name none, but may stand in order."""
    if len(manifest.sources) == 1:
        return repeat(0)
    if not manifest.parameters.ordered:
        return repeat(None)
    return chain.from_iterable(repeat(place, entry.records) for place, entry in enumerate(manifest.sources))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Raise `ExportError` for whatever is wrong with a file."""
    faults: tuple[type[Exception], ...]
    faults = (OSError, KeyError, DecodingError, *JSON_ERRORS, *decompression_faults(path))
    try:
        yield
    except faults as error:
        raise ExportError(f"Can't read {path}: {error}") from error


def _load_parquet(calls: Sequence[Path], evaluations: Sequence[Path], wanted: Wanted) -> MadeTables:
    """Read files of calls, and those of evaluations, if there are any."""
    pa = import_pyarrow()
    schema = arrow_schema(pa, {name: CALLS[name] for name in wanted.columns or CALLS})
    made = pa.concat_tables([schema.empty_table(), *(_read_parquet(path, schema) for path in calls)])
    if not wanted.evaluations:
        return MadeTables(made, None)
    long = arrow_schema(pa, EVALUATIONS)
    if evaluations or not calls:
        read = [_read_parquet(path, long) for path in evaluations]
    else:
        needed = arrow_schema(pa, {name: CALLS[name] for name in ("id", *SOURCE, "eval_outputs")})
        read = [evaluations_in(pa, _read_parquet(path, needed)) for path in calls]
    return MadeTables(made, pa.concat_tables([long.empty_table(), *read]))


def _read_parquet(path: Path, schema: Arrow) -> Arrow:
    pa = import_pyarrow()
    from pyarrow import parquet

    with _reading(path):
        file = parquet.ParquetFile(path)
        names = file.schema_arrow.names
        if "source_index" not in names:
            raise ValueError("it has no column source_index, so it is no export of calls.")
        return conform(pa, file.read([name for name in schema.names if name in names]), schema)


def _sources_in(path: Path) -> list[CallSource | None]:
    """Return the sources that normalised lines name, each at its place.

    Lines name a list without what was chosen of it: where that makes two sources one, neither has a place.
    """
    found: dict[int, CallSource | None] = {}
    with _reading(path), open_decompressed(path) as file:
        for number, line in enumerate(file):
            if number == 0 and not is_normalised(line):
                return []
            place, source = source_of(line)
            if place is not None:
                found[place] = source
    times = Counter(found.values())
    places = range(max(found, default=-1) + 1)
    return [found.get(place) if times[found.get(place)] == 1 else None for place in places]


class _LineLoader:
    """Reads JSON Lines, as sent or normalised."""

    def __init__(
        self, sources: Sequence[CallSource | None], wanted: Wanted, manifest: Manifest | None = None
    ) -> None:
        self._sources = sources
        self._maker = TableMaker(sources, evaluations=wanted.evaluations)
        self._wanted = wanted
        details = manifest.transcripts if manifest is not None else None
        self._has_details = details is not None
        self._lacking = {*details.gone, *(failure.id for failure in details.failed)} if details else set()
        """Calls whose detail could not be read."""

    def load(self, paths: Sequence[Path], places: Iterator[int | None]) -> MadeTables:
        """Return what files hold; ``places`` gives the place of the source of each line as sent."""
        columns = self._wanted.columns
        made = [
            MadeTables(select(each.calls, columns), each.evaluations)
            for path in paths
            for each in self._load_file(path, places)
        ]
        return self._maker.join(made, columns)

    def _load_file(self, path: Path, places: Iterator[int | None]) -> Iterator[MadeTables]:
        check_compression(path.suffix.lower())
        make = None
        with _reading(path), open_decompressed(path) as file:
            while lines := list(map(bytes.rstrip, islice(file, _BATCH_LINES))):
                make = make or (self._normalised if is_normalised(lines[0]) else self._as_sent)
                yield self._maker.make(make(lines, places))

    def _normalised(self, lines: Sequence[bytes], _places: object) -> Batch:
        calls = [with_record(decode_line(line)) for line in lines]
        for call, line in zip(calls, lines, strict=True):
            place, _ = source_of(line)
            if place is not None and place < len(self._sources):
                call.source = self._sources[place] or call.source  # with what was chosen of its list
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
                call.transcript = ()  # its detail said so, and withholds nothing
            return call

        return Batch(lines, sources, restore, has_detail)
