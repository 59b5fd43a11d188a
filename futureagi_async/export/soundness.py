"""Whether a manifest agrees with itself."""

from collections.abc import Iterator

from futureagi_async.export.manifest import Manifest, Source
from futureagi_async.export.staging.parameters import fingerprint
from futureagi_async.export.targets import PART_NAME


def find_contradictions(manifest: Manifest) -> Iterator[str]:
    """Yield what can't all be true, a sentence each."""
    names = [part.name for part in manifest.parts]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"The manifest lists {name!r} twice."
    for name in names:
        if not PART_NAME.fullmatch(name) or not name.endswith(f".{manifest.parameters.format}"):
            yield f"The manifest lists {name!r}, which is no name of a part."
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
    return name.startswith("evaluations-")


def _unequal(what: str, total: int, of: str, added: int) -> Iterator[str]:
    if total != added:
        yield f"The manifest says {total:,} {what}, and those of {of} add up to {added:,}."


def _source_contradictions(place: int, source: Source) -> Iterator[str]:
    name = f"Source {place} ({source.source.get('kind')})"
    if source.records != source.received:
        yield f"{name} has {source.records:,} records in the files, and {source.received:,} were received."
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
