"""Key figures in both dialects: names, units, evaluations, and figures they displace."""

import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from futureagi_async._sansio import decoding, requests
from futureagi_async._sansio.decoding import Checks
from futureagi_async.errors import DecodingError
from futureagi_async.models import Column, ExecutionKPIs
from tests.support.samples import LENIENT, STRICT

SERVED: dict[str, Any] = {
    "total_calls": 12,
    "avg_score": 7.25,
    "avg_response": 1250.0,
    "calls_attempted": 11,
    "connected_calls": 10,
    "calls_connected_percentage": 90.91,
    "scenario_graphs": {"s1": {"nodes": []}, "s2": {}},
    "agent_type": "voice",
    "is_inbound": True,
    "avg_agent_latency": 900.0,
    "avg_stop_time_after_interruption": 350.0,
    "avg_talk_ratio": 1.4,
    "agent_talk_percentage": 58.3,
    "customer_talk_percentage": 41.7,
    "avg_chat_latency_ms": 0.0,
    "avg_csat_score": 0.0,
    "failed_calls": 1,
    "total_duration": 700,
    "avg_politeness": 88.5,
    "avg_was_it_kind?": 100.0,
    "next_step": {"refund": 5, "none": 7, "choices": ["refund", "none", "escalate"]},
}
DOCUMENTED: dict[str, Any] = {
    "total_calls": 12,
    "avg_score": 7.25,
    "avg_response": 1.25,
    "callsAttempted": 11,
    "connectedCalls": 10,
    "callsConnectedPercentage": 90.91,
    "scenarioGraphs": {"s1": {"nodes": []}, "s2": {}},
    "agent_type": "voice",
    "is_inbound": True,
    "avg_agent_latency": 0.9,
    "avg_stop_time_after_interruption": 0.35,
    "avg_talk_ratio": 1.4,
    "agentTalkPercentage": 58.3,
    "customerTalkPercentage": 41.7,
    "avg_chat_latency_ms": 0.0,
    "avg_csat_score": 0.0,
    "failed_calls": 1,
    "total_duration": 700,
    "avg_politeness": 88.5,
    "avg_was_it_kind?": 100.0,
    "next_step": {"refund": 5, "none": 7},
}


def decode(sent: Any, checks: Checks = LENIENT) -> ExecutionKPIs:
    """Decode key figures."""
    return decoding.decode_kpis(json.dumps(sent).encode(), requests.KPIS, checks)


@pytest.mark.parametrize("sent", [SERVED, DOCUMENTED], ids=["served", "documented"])
def test_both_dialects_read_the_same(sent: dict[str, Any]) -> None:
    """Documented names and units come out of either dialect; evaluations are sorted out by name."""
    expected = ExecutionKPIs(
        total_calls=12,
        avg_score=7.25,
        avg_response=1.25,
        calls_attempted=11,
        connected_calls=10,
        calls_connected_percentage=90.91,
        scenario_graphs={"s1": {"nodes": []}, "s2": {}},
        agent_type="voice",
        is_inbound=True,
        avg_agent_latency=0.9,
        avg_stop_time_after_interruption=0.35,
        avg_talk_ratio=1.4,
        agent_talk_percentage=58.3,
        customer_talk_percentage=41.7,
        avg_chat_latency_ms=0.0,
        avg_csat_score=0.0,
        failed_calls=1,
        total_duration=700,
        eval_averages={"politeness": 88.5, "was_it_kind?": 100.0},
        choice_counts={"next_step": {"refund": 5, "none": 7}},
    )
    kpis = decode(sent)
    assert kpis == expected
    assert json.loads(kpis.raw) == sent


@pytest.mark.parametrize("sent", [{}, {"total_calls": None, "avg_response": None, "is_inbound": None}])
def test_absent_and_null_figures_are_none(sent: dict[str, Any]) -> None:
    """A figure that is absent or null is None; nothing is made up."""
    assert decode(sent) == ExecutionKPIs()


def test_unknown_keys_are_extra() -> None:
    """What is neither a figure nor an evaluation is kept as sent."""
    odd = {"avg_new": None, "avg_flag": True, "avg_text": "5", "new": 5, "graph": {"a": {}}, "empty": {}}
    odd |= {"fractions": {"a": 0.5}, "flags": {"a": True}, "list": [1]}
    kpis = decode(odd)
    assert kpis == ExecutionKPIs(extra=odd)


def test_keys_of_the_other_dialect_are_extra() -> None:
    """Where both spellings are sent, the documented one counts, in seconds, and the other is kept."""
    kpis = decode({"callsAttempted": 5, "calls_attempted": 6, "avg_response": 1.5})
    assert (kpis.calls_attempted, kpis.avg_response) == (5, 1.5)
    assert kpis.extra == {"calls_attempted": 6}


CHOICES = {"voice": 3, "text": 9, "choices": ["voice", "text"]}


@pytest.mark.parametrize("name", ["agent_type", "is_inbound", "failed_calls", "avg_score", "scenario_graphs"])
def test_choices_that_took_a_figures_name(name: str) -> None:
    """A choice evaluation named like a figure is flagged, its counts are kept, and the figure is None."""
    kpis = decode({**SERVED, name: CHOICES})
    assert getattr(kpis, name) is None
    assert kpis.collisions == {name: CHOICES}
    assert kpis.choice_counts[name] == {"voice": 3, "text": 9}
    rest = attrs.evolve(kpis, **{name: getattr(decode(SERVED), name)}, collisions={})
    assert attrs.asdict(rest) | {"choice_counts": 0, "raw": 0} == attrs.asdict(decode(SERVED)) | {
        "choice_counts": 0,
        "raw": 0,
    }


def test_collision_of_a_documented_spelling() -> None:
    """In the documented dialect the key that was sent is flagged."""
    kpis = decode({**DOCUMENTED, "callsAttempted": CHOICES})
    assert kpis.calls_attempted is None
    assert set(kpis.collisions) == {"callsAttempted"}


def evaluations(*names: str | None) -> list[Column]:
    """Return the columns of evaluations."""
    return [Column(f"e{number}", name, type="evaluation") for number, name in enumerate(names)]


@pytest.mark.parametrize("sent", [SERVED, DOCUMENTED], ids=["served", "documented"])
def test_figures_named_like_an_evaluation_are_doubtful(sent: dict[str, Any]) -> None:
    """With the names of evaluations, a figure that one of them may have replaced is kept as sent, apart."""
    kpis = decoding.mark_collisions(decode(sent), evaluations("Politeness", "Score", "agent LATENCY", None))
    assert (kpis.avg_score, kpis.avg_agent_latency, kpis.avg_response) == (None, None, 1.25)
    assert kpis.collisions == {"avg_score": 7.25, "avg_agent_latency": sent["avg_agent_latency"]}
    assert kpis.eval_averages == decode(sent).eval_averages
    with pytest.raises(TypeError):
        kpis.collisions["x"] = 1  # type: ignore[index]


def test_names_of_no_figure_and_other_columns_are_no_collisions() -> None:
    """Only averages of evaluations can be mistaken: not figures without avg_, nor columns of a dataset."""
    kpis = decode({**SERVED, "agent_type": CHOICES})
    columns = [*evaluations("total_duration", "failed calls", "Score!"), Column("score", "Score")]
    assert decoding.mark_collisions(kpis, columns) is kpis
    marked = decoding.mark_collisions(kpis, evaluations("score", "csat_score", "agent_type"))
    assert marked.collisions == {"agent_type": CHOICES, "avg_score": 7.25, "avg_csat_score": 0.0}
    assert decoding.mark_collisions(decode({}), evaluations("score")).collisions == {}


@pytest.mark.parametrize(
    ("sent", "counts"),
    [
        ({"a": 1}, {"a": 1}),
        ({"a": 0, "b": 2, "choices": []}, {"a": 0, "b": 2}),
        ({"choices": ["a"]}, {}),
        ({"choices": 4, "other": 5}, {"choices": 4, "other": 5}),
    ],
)
def test_choice_counts(sent: dict[str, Any], counts: dict[str, int]) -> None:
    """The list of names among the counts is left out, but a choice called so is counted."""
    assert decode({"mood": sent}).choice_counts == {"mood": counts}


NO_FIGURES: list[tuple[str, Any]] = [
    *(
        (name, value)
        for name in ("total_calls", "calls_attempted", "connected_calls", "failed_calls")
        for value in ("5", True, 5.5, [], {"a": "b"})
    ),
    ("avg_score", "7.25"),
    ("avg_score", True),
    ("avg_score", []),
    ("total_duration", "700"),
    ("avg_response", {"a": {}}),
    ("agent_type", 5),
    ("agent_type", True),
    ("is_inbound", "true"),
    ("is_inbound", 1),
    ("scenario_graphs", []),
    ("avg_response", 10**400),
    ("avg_agent_latency", -(10**400)),
]


@pytest.mark.parametrize(("name", "value"), NO_FIGURES)
def test_figures_are_not_coerced(name: str, value: Any) -> None:
    """A figure of another type is None and a misfit; strictly it is an error with its path."""
    kpis = decode({**SERVED, name: value})
    assert getattr(kpis, name) is None
    assert kpis.misfits == {name: value}
    assert kpis.extra == {}
    rest = attrs.asdict(kpis) | {name: getattr(decode(SERVED), name), "misfits": {}, "raw": b""}
    assert rest == attrs.asdict(decode(SERVED)) | {"raw": b""}
    with pytest.raises(DecodingError) as caught:
        decode({**SERVED, name: value}, STRICT)
    error = caught.value
    assert (error.endpoint, error.json_path, error.retryable) == (requests.KPIS, f"$.{name}", False)


def test_misfits_have_the_fields_name_and_paths_the_key_that_was_sent() -> None:
    """In the documented dialect the path holds the documents' spelling."""
    sent = {**DOCUMENTED, "callsAttempted": "11"}
    assert decode(sent).misfits == {"calls_attempted": "11"}
    with pytest.raises(DecodingError, match=r"\$\.callsAttempted"):
        decode(sent, STRICT)


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"1" * 5000])
def test_numbers_beyond_python_are_their_text(number: bytes) -> None:
    """A number that no float or int holds spoils no other one, under whatever key it stands."""
    body = b'{"total_calls": 5, "avg_score": %s, "avg_tone": %s, "x": %s}' % (number, number, number)
    kpis = decoding.decode_kpis(body, requests.KPIS)
    text = number.decode()
    assert kpis == ExecutionKPIs(total_calls=5, misfits={"avg_score": text, "avg_tone": text, "x": text})
    with pytest.raises(DecodingError):
        decoding.decode_kpis(body, requests.KPIS, STRICT)


def test_key_figures_are_read_only() -> None:
    """Mappings of key figures refuse to be changed."""
    kpis = decode(SERVED)
    for mapping in (
        kpis.scenario_graphs,
        kpis.eval_averages,
        kpis.choice_counts,
        kpis.collisions,
        kpis.extra,
    ):
        with pytest.raises(TypeError):
            mapping["x"] = 1  # type: ignore[index]


WORDS = st.sampled_from([*SERVED, *DOCUMENTED, "avg_x", "x"])
FIGURES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
SHAPES = (
    FIGURES
    | st.text(max_size=3)
    | st.dictionaries(st.sampled_from(["a", "choices"]), FIGURES | st.just(["a"]))
)


@given(st.dictionaries(WORDS, SHAPES))
def test_any_figures_are_sorted(sent: dict[str, Any]) -> None:
    """Every key sent with a value ends in exactly one place."""
    kpis = decode(sent)
    averages = {f"avg_{name}" for name in kpis.eval_averages}
    found = [*averages, *kpis.choice_counts, *kpis.extra]
    assert len(found) == len(set(found))
    assert set(kpis.collisions) <= set(kpis.choice_counts)
    fixed = {key for key, value in sent.items() if value is not None} - set(found)
    fields = {
        name
        for name, value in attrs.asdict(kpis).items()
        if name not in ("raw", "extra", "misfits") and value is not None
    }
    assert fields.isdisjoint(kpis.misfits)
    fields |= set(kpis.misfits)
    camel = {
        "".join(word.title() if i else word for i, word in enumerate(name.split("_"))) for name in fields
    }
    assert fixed <= fields | camel
