"""Calls with given figures, built by hand, for analyses."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from futureagi_async import CallExecution, EvalOutput, FetchReport, RunTestCalls, Scenario, SourceReport

LIST = RunTestCalls(UUID(int=7))


def make_call(
    number: int,
    *,
    scenario: str | None = "Refund",
    row: object = None,
    evaluations: Mapping[str, EvalOutput] | None = None,
    **fields: Any,
) -> CallExecution:
    """Return a call; ``row`` is what its dataset row holds."""
    return CallExecution(
        id=str(UUID(int=number)),
        **{
            "status": "completed",
            "scenario": None if scenario is None else Scenario(f"id of {scenario}", scenario),
            "scenario_columns": {} if row is None else {"situation": {"value": row, "visible": True}},
            "eval_outputs": evaluations or {},
            **fields,
        },
    )


def scored(scores: Iterable[float | None], *, first: int = 0, **fields: Any) -> list[CallExecution]:
    """Return calls with these scores."""
    return [make_call(number, overall_score=score, **fields) for number, score in enumerate(scores, first)]


def passing(results: Iterable[bool], *, first: int = 0, id_: str = "e", name: str = "Polite") -> list[Any]:
    """Return calls that passed or failed one evaluation."""
    return [
        make_call(number, evaluations={id_: verdict(passed, id_, name)})
        for number, passed in enumerate(results, first)
    ]


def verdict(passed: bool, id_: str = "e", name: str = "Polite") -> EvalOutput:
    """Return the result of an evaluation that is passed or failed."""
    return EvalOutput(id_, name, "Passed" if passed else "Failed", "Pass/Fail")


def report(*, complete: bool = True, reason: str = "proven", sources: Sequence[Any] = (LIST,)) -> FetchReport:
    """Return the report of a read."""
    return FetchReport(
        tuple(
            SourceReport(
                source=source,
                verdict="complete" if complete else "incomplete",
                reason=reason,
                expected=None,
                received=0,
            )
            for source in sources
        )
    )
