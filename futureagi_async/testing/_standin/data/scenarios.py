"""Scenarios and the dataset rows behind them."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from futureagi_async.testing._standin.seeding import seeded_uuid

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
