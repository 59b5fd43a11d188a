"""Checks that the server applies the filters of a source, by its error messages and its columns."""

from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from futureagi_async.errors import FilterIgnoredError
from futureagi_async.filters import BUILT_IN_COLUMNS, EVALUATION_PREFIX, Filter
from futureagi_async.models import Column
from futureagi_async.sources import CallSource, TestExecutionCalls
from futureagi_async.words import nearest

_PERSONA_FIELDS: Final = (
    "name description gender age_group occupation location personality communication_style language "
    "languages accent conversation_speed multilingual background_sound finished_speaking_sensitivity "
    "interrupt_sensitivity keywords tone verbosity punctuation slang_usage typos_frequency regional_mix "
    "emoji_usage additional_instruction"
)
_PERSONA_COLUMNS: Final = frozenset(f"persona.{field}" for field in _PERSONA_FIELDS.split())
_ALWAYS_APPLIED: Final = BUILT_IN_COLUMNS | _PERSONA_COLUMNS
_COLUMN_TYPES: Final = frozenset({"scenario_dataset_column", "evaluation", "tool_evaluation"})

# What no call has, of the types that a filter on a column of an execution's own can be of.
_NO_TEXT: Final = "no-call-says-this-7f3a90c1"
_NO_NUMBER: Final = -987_654_321  # within 32 bits, and far below every score and measure
_MOST_NAMES: Final = 10


def check_filters_applied(source: CallSource, messages: Sequence[str]) -> None:
    """Raise `FilterIgnoredError` if the server complained about filters and sent unfiltered rows."""
    if not messages or not isinstance(source, TestExecutionCalls) or not (source.filters or source.search):
        return
    said = "; ".join(messages)[:500]
    error = FilterIgnoredError(f"The server skipped a filter and answered with unfiltered rows: {said}")
    error.error_messages = tuple(messages)
    raise error


def names_evaluations(source: TestExecutionCalls) -> bool:
    """Whether a filter uses the name of an evaluation, and so must go through `resolve_evaluations` first."""
    return any(item.evaluation_name is not None for item in source.filters)


def resolve_evaluations(source: TestExecutionCalls, columns: Sequence[Column]) -> TestExecutionCalls:
    """Return the source with evaluation ids in place of names.

    Raises `FilterIgnoredError` if no evaluation of the execution, or more than one, has a name.
    """
    return attrs.evolve(source, filters=[_resolved(item, columns) for item in source.filters])


def _resolved(item: Filter, columns: Sequence[Column]) -> Filter:
    name = item.evaluation_name
    if name is None:
        return item
    ids = [column.id for column in columns if column.type == "evaluation" and column.column_name == name]
    if len(ids) == 1:
        return attrs.evolve(item, column_id=ids[0])
    if ids:
        raise FilterIgnoredError(
            f"{len(ids)} evaluations of this test execution are named {name!r}: filter by one of their ids, "
            f"{' or '.join(ids)}."
        )
    raise FilterIgnoredError(
        f"No evaluation of this test execution is named {name!r}. {_instead(item.column_id, columns)}"
    )


def doubtful_filters(source: TestExecutionCalls, columns: Sequence[Column]) -> list[Filter]:
    """Return the filters that the server may ignore, because their columns are not among the execution's.

    The server may still apply some of them: evaluations that were added later, and columns of newer servers.
    A response without columns says nothing about filters.
    """
    if not columns:
        return []
    known = set(_ids_of(columns)) | _ALWAYS_APPLIED
    return [item for item in source.filters if item.column_id not in known and not _is_dataset_form(item)]


def _ids_of(columns: Iterable[Column]) -> Iterable[str]:
    """Yield the ids that the server knows for an execution's own columns."""
    for column in columns:
        if column.type in _COLUMN_TYPES:
            yield column.id
            ids = column.extra.get("dataset_column_ids")
            yield from (str(id_).lower() for id_ in (ids if isinstance(ids, list) else ()))


def _is_dataset_form(item: Filter) -> bool:
    """Whether the column is given with scenario and dataset; the server always knows such columns."""
    return item.column_id.startswith("scenario_") and "_dataset_" in item.column_id


def probe(source: TestExecutionCalls, item: Filter) -> TestExecutionCalls:
    """Return a source that must be empty if the server applies filters on the column."""
    if item.filter_type == "boolean":
        impossible = [attrs.evolve(item, filter_op="equals", filter_value=word) for word in ("true", "false")]
    else:
        value = _NO_NUMBER if item.filter_type == "number" else _NO_TEXT
        impossible = [attrs.evolve(item, filter_op="equals", filter_value=value)]
    return TestExecutionCalls(source.test_execution_id, filters=impossible)


def unknown_column(item: Filter, columns: Sequence[Column]) -> FilterIgnoredError:
    """Return the error for an unknown column, with the most similar known ones."""
    return FilterIgnoredError(
        f"The server knows no column {item.column_id!r} of this test execution: it ignores the filter and "
        f"sends every row. {_instead(item.column_id, columns)}"
    )


def _instead(given: str, columns: Sequence[Column]) -> str:
    spellings = _spellings(columns)
    found = list(dict.fromkeys(spellings[word] for word in nearest(given, spellings)))
    if found:
        return f"Similar columns: {', '.join(map(repr, found))}."
    own = list(dict.fromkeys(name for name in spellings.values() if name not in _ALWAYS_APPLIED))
    if not own:
        return "The test execution has no columns of its own; deleted evaluations do not count."
    more = f" and {len(own) - _MOST_NAMES} more" if len(own) > _MOST_NAMES else ""
    names = ", ".join(map(repr, own[:_MOST_NAMES]))
    return f"Its own columns are {names}{more}; deleted evaluations do not count."


def _spellings(columns: Sequence[Column]) -> dict[str, str]:
    """Return what the user may have meant, by its possible spellings."""
    spellings = {name: name for name in sorted(_ALWAYS_APPLIED)}
    names = [column.column_name for column in columns if column.type == "evaluation"]
    for column in columns:
        name = column.column_name or column.id
        if column.type == "evaluation":
            given = f"{EVALUATION_PREFIX}{name}" if names.count(column.column_name) == 1 else column.id
            spellings |= {name: given, f"{EVALUATION_PREFIX}{name}": given}
        elif column.type in _COLUMN_TYPES or column.id in BUILT_IN_COLUMNS:
            spellings |= {name: column.id, column.id: column.id}
    return spellings
