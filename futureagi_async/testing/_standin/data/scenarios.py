"""Scenarios with their dataset rows, and evaluations with their stored results."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from futureagi_async.testing._standin.data.values import seeded_random, seeded_uuid

Cells = dict[str, Any]


@frozen(eq=False)
class DatasetColumn:
    """A column of the dataset that feeds a scenario."""

    id: str
    name: str
    data_type: str


@frozen(eq=False)
class Dataset:
    """Columns in their order, and sample rows: a cell is a string, a persona is an object."""

    id: str
    columns: tuple[DatasetColumn, ...]
    rows: tuple[Cells, ...]


@frozen(eq=False)
class Scenario:
    """What the simulated customer is after."""

    id: str
    name: str
    graph: dict[str, Any]
    graph_id: str | None
    dataset: Dataset | None
    deleted: bool = False


_ROWS: tuple[Cells, ...] = (
    {
        "persona": {"name": "Chloé", "gender": "female", "age_group": "35-44", "language": "fr"},
        "situation": "Has waited three weeks for a parcel",
        "Ideal Outcome": "parcel traced",
        "priority": "1",
    },
    {
        "persona": {"name": "يوسف", "gender": "male", "language": "ar"},
        "situation": "第二次来电 仍未解决",
        "Ideal Outcome": "escalated",
        "priority": "12",
    },
    {
        "persona": {},
        "situation": 'first line\nsecond line\t"quoted"',
        "Ideal Outcome": "=1+1",
        "priority": "3",
    },
    {"persona": {}, "situation": "", "Ideal Outcome": "", "priority": ""},
)
_COLUMNS = (("persona", "json"), ("situation", "text"), ("Ideal Outcome", "text"), ("priority", "integer"))


def _dataset(seed: int) -> Dataset:
    columns = tuple(DatasetColumn(seeded_uuid(seed, "column", name), name, kind) for name, kind in _COLUMNS)
    return Dataset(seeded_uuid(seed, "dataset"), columns, _ROWS)


def sample_scenarios(seed: int) -> tuple[Scenario, ...]:
    """Four scenarios: with dataset and graph, with neither, with wildcards in the name, and a deleted one."""
    graph = {
        "nodes": [{"id": "open", "type": "conversation", "data": {"prompt": "Guten Tag"}}],
        "edges": [{"id": "e1", "source": "open", "target": "end"}],
    }

    def make(name: str, *, full: bool = False, deleted: bool = False) -> Scenario:
        graph_id = seeded_uuid(seed, "graph", name) if full else None
        dataset = _dataset(seed) if full else None
        return Scenario(
            seeded_uuid(seed, "scenario", name), name, graph if full else {}, graph_id, dataset, deleted
        )

    return (
        make("Lost parcel", full=True),
        make("Umtausch — 交換 & “Zweitgerät”"),
        make("50% off_coupon (v2) [draft]"),
        make("Retired: old tariff", deleted=True),
    )


StoredEvals = dict[str, Any]
"""Evaluation id to the stored entry, mostly an object."""


@frozen(eq=False)
class EvalConfig:
    """A configured evaluation; `removed` ones linger in stored results."""

    id: str
    name: str
    output_type: str
    choices: tuple[str, ...] = ()
    removed: bool = False
    never_ran: bool = False


def _config(
    seed: int,
    name: str,
    output_type: str,
    choices: tuple[str, ...] = (),
    *,
    removed: bool = False,
    never_ran: bool = False,
) -> EvalConfig:
    return EvalConfig(seeded_uuid(seed, "eval", name), name, output_type, choices, removed, never_ran)


def voice_evals(seed: int) -> tuple[EvalConfig, ...]:
    return (
        _config(seed, "Politeness", "score"),
        _config(seed, "Goal Reached", "Pass/Fail"),
        _config(seed, "Caller Mood", "choices", ("Calm", "Mixed", "Angry")),
        _config(seed, "Old Check", "Pass/Fail", removed=True),
        _config(seed, "Not Started", "score", never_ran=True),
    )


def text_evals(seed: int) -> tuple[EvalConfig, ...]:
    return (
        _config(seed, "Helpfulness", "score"),
        _config(seed, "Safe Answer", "Pass/Fail"),
        _config(seed, "Main Topic", "choices", ("Billing", "Technik", "その他")),
    )


def colliding_evals(seed: int) -> tuple[EvalConfig, ...]:
    """Return evaluations whose KPI names fall on fixed ones: `avg_score` and `agent_type`."""
    return (_config(seed, "Score", "score"), _config(seed, "Agent Type", "choices", ("warm", "cold")))


def stored_evals(configs: tuple[EvalConfig, ...], call_id: str, number: int, *, slim: bool) -> StoredEvals:
    """Return the stored results of one call; its number decides which of the known shapes they have."""
    ran = [config for config in configs if not config.never_ran]
    if slim:
        return {ran[0].id: entry_of(ran[0].name, "score", round(number % 11 / 10, 1), None)}
    shapes = {"score": _score, "Pass/Fail": _pass_fail, "choices": _choice}
    return {config.id: shapes[config.output_type](config, call_id, number) for config in ran}


def entry_of(name: str, output_type: str | None, output: Any, reason: str | None) -> dict[str, Any]:
    """Return a stored result."""
    return {
        "name": name,
        "output": output,
        "reason": reason,
        "status": "Completed",
        "output_type": output_type,
    }


def _score(config: EvalConfig, call_id: str, number: int) -> Any:
    value = round(seeded_random(call_id, config.id).random(), 2)
    special: dict[int, Any] = {
        1: {"status": "pending"},
        3: {"name": config.name, "output": 0, "reason": None, "output_type": "score"},
        5: entry_of(
            config.name, "score", {"score": value, "explanation": "three turns weighed"}, "an object"
        ),
        7: entry_of(config.name, None, None, "nobody spoke") | {"status": "skipped", "skipped": True},
        9: entry_of(config.name, "score", None, "timed out") | {"status": "Failed", "error": "error"},
        10: entry_of(config.name, "score", 1, "perfect ⭐"),
    }
    return special.get(number % 12, entry_of(config.name, "score", value, "weighed turn by turn"))


def _pass_fail(config: EvalConfig, call_id: str, number: int) -> Any:
    if config.removed:
        return "legacy-string" if number % 4 == 1 else entry_of(config.name, "Pass/Fail", "Passed", "stale")
    passed = seeded_random(call_id, config.id).random() < 2 / 3
    return entry_of(config.name, "Pass/Fail", "Passed" if passed else "Failed", "…erledigt oder nicht")


def _choice(config: EvalConfig, call_id: str, number: int) -> Any:
    first, second = seeded_random(call_id, config.id).sample(config.choices, 2)
    outputs: tuple[Any, ...] = (
        first,
        [first],
        {"choice": first, "score": 0.1},
        {"choices": [first, second]},
        [first, second],
        None,
    )
    output = outputs[number % len(outputs)]
    entry = entry_of(config.name, "choices", output, "heard in the last turn")
    return entry | {"status": "Failed", "error": True} if output is None else entry
