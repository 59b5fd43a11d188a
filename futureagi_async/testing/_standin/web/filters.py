"""The `filters` and `search` parameters: which rows they keep, column by column."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

from attrs import frozen

from futureagi_async.testing._standin.data.facts import facts_of
from futureagi_async.testing._standin.data.records import Call, CallFacts, Row, RunTest, Snapshot
from futureagi_async.testing._standin.web.filter_syntax import (
    BadDatetimeError,
    Filter,
    FilterRefusedError,
    moment_test,
    number_test,
    text_test,
    to_number,
)
from futureagi_async.testing._standin.wire.served_versions import raw_call_type

CallTest = Callable[[Call], bool]

_WORDS = {"text", "categorical", "list"}


class ServerFaultError(Exception):
    """A filter the server answers with 500; the text is the end of its message."""


class ReportedError(ValueError):
    """A filter the server skips and reports in `error_messages`; the text is the whole message."""


def column_test(run_test: RunTest, wanted: Filter) -> CallTest | None:
    """Build the test of one filter; `None` when the server accepts it and then ignores it.

    Raises:
        ReportedError, ValueError, TypeError: the filter is skipped, and said to be.
        ServerFaultError: the whole request fails.

    """
    if wanted.column_id in _NUMBERS:
        return _number_column(wanted)
    if wanted.column_id in {"timestamp", "created_at"}:
        return _moment_column(wanted)
    if wanted.column_id in {"status", "scenario", "call_type", "simulation_call_type"}:
        return _word_column(wanted)
    if wanted.column_id == "call_execution_id":
        return _id_column(wanted)
    if any(config.id == wanted.column_id and not config.removed for config in run_test.evals):
        return _eval_column(wanted)
    if wanted.column_id.startswith("persona."):
        raise ReportedError(f"Unsupported persona op: {wanted.operator}")
    return _dataset_column(run_test, wanted)


def all_of(tests: list[CallTest]) -> Callable[[Row], bool] | None:
    """Combine tests that must all hold; snapshots pass none, and no tests are no condition."""
    return (lambda row: isinstance(row, Call) and all(test(row) for test in tests)) if tests else None


_NUMBERS: dict[str, Callable[[CallFacts], tuple[float | None, ...]]] = {
    "overall_score": lambda f: (f.score,),
    "response_time": lambda f: (f.response_ms,),
    "duration": lambda f: (f.duration_seconds,),
    "duration_seconds": lambda f: (f.duration_seconds,),
    "latency": lambda f: (f.speech.agent_latency_ms,),
    "latency_ms": lambda f: (f.speech.agent_latency_ms,),
    "avg_agent_latency_ms": lambda f: (f.speech.agent_latency_ms,),
    "cost": lambda f: (f.costs.simulation, f.costs.customer),
    "cost_cents": lambda f: (f.costs.simulation, f.costs.customer),
    "customer_cost_cents": lambda f: (f.costs.customer,),
}


def _number_column(wanted: Filter) -> CallTest | None:
    if wanted.type != "number":
        return None
    value = wanted.value
    if wanted.column_id == "response_time":
        value = to_number(value) * 1000  # a list of two is no number: ranges end in error_messages
    test, read = number_test(wanted.operator, value), _NUMBERS[wanted.column_id]
    if test is None:
        return None
    together = all if wanted.operator.startswith("not_") else any
    return lambda call: together(test(number) for number in read(facts_of(call)))


def _moment_column(wanted: Filter) -> CallTest | None:
    """`timestamp` filters the creation time, although the row's `timestamp` is the last update."""
    if wanted.type != "datetime":
        return None
    test = moment_test(wanted.operator, wanted.value, wanted.column_id)
    return None if test is None else lambda call: test(call.created_us)


def _word_column(wanted: Filter) -> CallTest | None:
    if wanted.type not in _WORDS:
        return None
    if wanted.column_id == "scenario" and wanted.operator in {"in", "not_in"}:
        return None
    if wanted.column_id == "status" and type(wanted.value) in {int, float}:
        raise ServerFaultError("function upper(integer) does not exist")
    test = text_test(wanted.operator, _provider_words(wanted), exact_case=wanted.column_id == "scenario")
    read: Callable[[Call], str | None] = {
        "status": lambda call: call.status,
        "scenario": lambda call: facts_of(call).scenario.name,
        "call_type": lambda call: raw_call_type(call, facts_of(call)),
        "simulation_call_type": lambda call: call.kind,
    }[wanted.column_id]
    return None if test is None else lambda call: test(read(call))


def _provider_words(wanted: Filter) -> Any:
    """`Inbound` stands for the provider's `inboundPhoneCall` in the stored column."""
    if wanted.column_id != "call_type" or wanted.operator in {"contains", "not_contains"}:
        return wanted.value
    values = wanted.value if isinstance(wanted.value, list) else [wanted.value]
    known = {"inbound": "inboundPhoneCall", "outbound": "outboundPhoneCall"}
    return [known.get(str(value).lower(), value) for value in values]


def _id_column(wanted: Filter) -> CallTest | None:
    if (wanted.type, wanted.operator) not in {("categorical", "in"), ("list", "in")}:
        return None
    ids = set()
    for value in wanted.value:
        try:
            ids.add(str(uuid.UUID(str(value))))
        except ValueError:
            raise ValueError(f"['“{value}” is not a valid UUID.']") from None
    return lambda call: call.id in ids


def _eval_column(wanted: Filter) -> CallTest | None:
    if wanted.type == "boolean" and not isinstance(wanted.value, str):
        raise ValueError(f"'{type(wanted.value).__name__}' object has no attribute 'lower'")
    if wanted.operator in {"in", "not_in", "not_contains", "is_null", "is_not_null"}:
        return None
    if wanted.type == "number":
        return _eval_number(wanted)
    test = text_test(wanted.operator, [str(wanted.value)] if wanted.operator != "contains" else wanted.value)
    return None if test is None else lambda call: test(_output_text(call, wanted.column_id))


def _eval_number(wanted: Filter) -> CallTest | None:
    """Build the test of a score: the filter speaks of 0 to 100, the stored output is 0 to 1."""
    if wanted.operator == "not_equals":
        return None
    scaled = [to_number(v) / 100 for v in wanted.value] if isinstance(wanted.value, list) else None
    test = number_test(wanted.operator, scaled if scaled is not None else to_number(wanted.value) / 100)
    return None if test is None else lambda call: test(_output_number(call, wanted.column_id))


def _output(call: Call, eval_id: str) -> Any:
    entry = facts_of(call).evals.get(eval_id)
    return entry.get("output") if isinstance(entry, dict) else None


def _output_number(call: Call, eval_id: str) -> float | None:
    output = _output(call, eval_id)
    return output if isinstance(output, int | float) and not isinstance(output, bool) else None


def _output_text(call: Call, eval_id: str) -> str | None:
    output = _output(call, eval_id)
    return None if output is None else str(output)


def _dataset_column(run_test: RunTest, wanted: Filter) -> CallTest | None:
    """Build the test of a dataset column, by name or id; any other is an unknown column and ignored."""
    name = _column_names(run_test).get(wanted.column_id.rpartition("_dataset_")[2])
    if name is None:
        return None
    if wanted.type == "number":
        test = number_test(wanted.operator, wanted.value)
        return None if test is None else lambda call: test(_cast(_cell(call, name)))
    words = text_test(wanted.operator, [str(wanted.value)] if wanted.operator == "equals" else wanted.value)
    return None if words is None else lambda call: words(_cell_text(call, name))


def _cell(call: Call, name: str) -> Any:
    return (facts_of(call).cells or {}).get(name)


def _cell_text(call: Call, name: str) -> str | None:
    cell = _cell(call, name)
    return None if cell is None else str(cell)


def _column_names(run_test: RunTest) -> dict[str, str]:
    columns = run_test.dataset_columns
    return {column.name: column.name for column in columns} | {column.id: column.name for column in columns}


def _cast(value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        return float(value)
    except (ValueError, TypeError):
        raise ServerFaultError(f'invalid input syntax for type numeric: "{value}"') from None


@frozen
class Applied:
    """`wanted` is `None` when no filter takes effect, which a failed one does not."""

    wanted: Callable[[Row], bool] | None
    error_messages: list[str]


def apply_filters(run_test: RunTest, filters: list[Filter]) -> Applied:
    """Combine the filters; all must hold, and those that fail are left out with a message."""
    tests: list[CallTest] = []
    messages: list[str] = []
    for one in filters:
        try:
            test = column_test(run_test, one)
        except (BadDatetimeError, ReportedError) as error:
            messages.append(str(error))
        except (ValueError, TypeError) as error:
            messages.append(f"Error applying filter for column {one.column_id}: {error}")
        else:
            tests += [test] if test else []
    return Applied(all_of(tests), messages)


def apply_documented_filters(run_test: RunTest, filters: list[Filter]) -> Callable[[Row], bool] | None:
    """Combine the filters; all must hold.

    Raises:
        FilterRefusedError: for a column or value the documents do not know.

    """
    return all_of([_test(run_test, one) for one in filters])


def _test(run_test: RunTest, wanted: Filter) -> CallTest:
    try:
        if wanted.column_id == "call_execution_id":
            return _id_test(wanted)
        if wanted.column_id == "response_time":
            return _response_seconds_test(wanted)
        test = column_test(run_test, wanted)
    except (ValueError, TypeError) as error:
        raise FilterRefusedError(f"{wanted.column_id}: {error}") from None
    if test is None:
        raise FilterRefusedError(f"{wanted.column_id}: '{wanted.operator}' is not supported.")
    return test


def _id_test(wanted: Filter) -> CallTest:
    ids = wanted.value if isinstance(wanted.value, list) else [wanted.value]
    if wanted.operator == "not_equals":
        return lambda call: call.id not in ids
    return lambda call: call.id in ids


def _response_seconds_test(wanted: Filter) -> CallTest:
    test = number_test(wanted.operator, wanted.value)
    if test is None:
        raise ValueError(f"'{wanted.operator}' is not supported.")

    def holds(call: Call) -> bool:
        ms = facts_of(call).response_ms
        return test(None if ms is None else ms / 1000)

    return holds


def _like(pattern: str) -> re.Pattern[str]:
    """Compile SQL's `ILIKE '%pattern%'`: `%` and `_` are wildcards, a backslash takes them literally."""
    parts: list[str] = []
    characters = iter(pattern)
    for character in characters:
        if character == "\\":
            parts.append(re.escape(next(characters, "")))
        else:
            parts.append({"%": ".*", "_": "."}.get(character) or re.escape(character))
    return re.compile("".join(parts), re.IGNORECASE | re.DOTALL)


def found_on_run_test(text: str) -> Callable[[Row], bool]:
    """Tell whether phone number or scenario name match, with SQL's wildcards."""
    pattern = _like(text.strip())

    def found(row: Row) -> bool:
        facts = facts_of(row.call if isinstance(row, Snapshot) else row)
        return any(pattern.search(value) for value in (facts.phone, facts.scenario.name) if value)

    return found


def found_on_execution(text: str) -> Callable[[Row], bool]:
    """Tell whether anything said or known about the call contains the text, except messages of chats."""
    plain, pattern = text.casefold(), _like(text)

    def found(row: Row) -> bool:
        if not isinstance(row, Call):
            return False
        facts = facts_of(row)
        known = [facts.phone, facts.scenario.name, facts.customer_number, facts.summary]
        spoken = [turn.text for turn in facts.turns] if row.kind == "voice" else []
        if any(plain in value.casefold() for value in [*known, *spoken] if value):
            return True
        return any(pattern.search(cell) for cell in _cells(facts))

    return found


def _cells(facts: CallFacts) -> list[str]:
    return [str(cell) for cell in (facts.cells or {}).values()]
