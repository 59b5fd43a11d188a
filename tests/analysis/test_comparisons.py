"""`compare`: differences, what is beyond chance, pairs, scenarios, and the calls to look at."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from futureagi_async import AgentVersionCalls, EvalOutput, export_calls
from futureagi_async.analysis import compare, summarise, write_report
from futureagi_async.testing import StandInServer
from tests.support.figures import make_call, passing, report, scored, verdict
from tests.support.sessions import open_session

RNG = np.random.default_rng(8)
SCORES = RNG.normal(7, 1, 60)


def test_a_difference_beyond_chance_is_named() -> None:
    """A score that fell for certain is marked, with both values, n, interval and p-value."""
    before = summarise(scored([*SCORES, None]))
    after = summarise(scored(SCORES - 2, first=100))
    found = compare(before, after).difference("overall_score.mean")
    assert found is not None
    assert (found.n_before, found.n_after, found.pairs) == (60, 60, 0)
    assert found.before == before.measures["overall_score"].mean
    assert found.difference == pytest.approx(-2)
    assert found.interval is not None
    assert -2.5 < found.interval.low < -2 < found.interval.high < -1.5
    assert found.beyond_chance
    assert found.p_value is not None
    assert found.p_value < 1e-6


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize(
    ("before", "after", "means"),
    [
        ([1e308], [1.0], (None, 1.0)),
        ([1e308], [1e308], (None, None)),
        ([1e308, -1e308], [1.0, 2.0], (None, 1.5)),
        ([1e200, 2e200], [1e199, 3.0], (1.5e200, 5e198)),
    ],
)
def test_numbers_near_the_end_of_the_doubles(
    tmp_path: Path, before: list[float], after: list[float], means: tuple[float, float], paired: bool
) -> None:
    """A figure that no double holds is none, and then there is no interval and no test; nothing warns."""
    earlier = summarise(scored([*before] * 10))
    later = summarise(scored([*after] * 10, first=0 if paired else 100))
    compared = compare(earlier, later)
    found = compared.difference("overall_score.mean")
    assert found is not None
    assert (found.before, found.after) == pytest.approx(means)
    assert earlier.measures["overall_score"].mean == found.before
    if None in means:
        assert found.difference is None
    for each in compared.differences:
        assert each.interval is None or np.isfinite((each.interval.low, each.interval.high)).all()
        assert each.p_value is None or 0 <= each.p_value <= 1
    assert earlier.measures["overall_score"].interval() is None or None not in means
    json.dumps([compared.to_dict(), earlier.to_dict(), later.to_dict()], allow_nan=False)
    write_report(tmp_path / "report.html", compared)


def test_what_is_alike_is_not_beyond_chance() -> None:
    """Of many runs without a difference, hardly one figure is called different."""
    rng = np.random.default_rng(2)
    called = 0
    for _ in range(20):
        first, second = rng.normal(size=(2, 40, 6))
        names = ("overall_score", "duration", "response_time", "user_wpm", "bot_wpm", "turn_count")
        runs = [
            [make_call(n, **dict(zip(names, row, strict=True))) for n, row in enumerate(table.tolist())]
            for table in (first, second)
        ]
        called += any(each.beyond_chance for each in compare(*runs, resamples=400).differences)
    assert called <= 3


def test_chance_is_corrected_over_all_figures() -> None:
    """One small p-value among many figures is what chance brings."""
    one = compare(scored(SCORES[:30]), scored(SCORES[:30] - 0.75))
    alone = one.difference("overall_score.mean")
    assert alone is not None
    assert alone.beyond_chance
    rng = np.random.default_rng(1)
    others = {
        f"e{number}": [
            EvalOutput(f"e{number}", f"E{number}", float(value), "score") for value in rng.normal(size=60)
        ]
        for number in range(40)
    }
    runs = [
        [
            make_call(
                n, overall_score=SCORES[n] - shift, evaluations={k: v[n + first] for k, v in others.items()}
            )
            for n in range(30)
        ]
        for first, shift in ((0, 0.0), (30, 0.75))
    ]
    among = compare(*runs).difference("overall_score.mean")
    assert among is not None
    assert among.p_value == pytest.approx(alone.p_value, rel=0.3)
    assert not among.beyond_chance


def test_calls_of_the_same_row_are_pairs() -> None:
    """Calls of one scenario and dataset row are compared with each other; rows that come twice are not."""
    offsets = np.linspace(-0.2, 0.2, 60)
    rows = [f"row {number}" for number in range(60)]
    before = [make_call(n, overall_score=s, row=r) for n, (s, r) in enumerate(zip(SCORES, rows, strict=True))]
    after = [
        make_call(100 + n, overall_score=s + 0.1 + o, row=r)
        for n, (s, o, r) in enumerate(zip(SCORES, offsets, rows, strict=True))
    ]
    paired = compare(before, after)
    lone = compare(
        before, [make_call(200 + n, overall_score=call.overall_score) for n, call in enumerate(after)]
    )
    assert (paired.pairs, lone.pairs) == (60, 0)
    differences = [each.difference("overall_score.mean") for each in (paired, lone)]
    assert [found is not None and found.beyond_chance for found in differences] == [True, False]
    assert differences[0] is not None
    assert differences[0].pairs == 60
    again = [make_call(300 + n, overall_score=5.0, row=row) for n, row in enumerate(rows)]
    assert compare([*before, *again], after).pairs == 0
    assert compare(before, after[:40]).pairs == 40
    elsewhere = [
        make_call(500 + n, scenario="Other", overall_score=1.0, row=row) for n, row in enumerate(rows)
    ]
    assert compare(before, elsewhere).pairs == 0


def test_rows_as_documented_are_pairs_too() -> None:
    """A row as an array of cells is the same row as one by column name."""
    before = [make_call(n, overall_score=SCORES[n], row=f"row {n}") for n in range(10)]
    after = [
        make_call(
            50 + n,
            overall_score=SCORES[n],
            scenario_columns=[{"column_name": "situation", "value": f"row {n}"}],
        )
        for n in range(10)
    ]
    assert compare(before, after).pairs == 10


def test_shares_and_choices_are_compared() -> None:
    """Pass rates, choices, and the share of each status, by Newcombe's interval."""
    before = passing([True] * 45 + [False] * 5)
    after = [*passing([True] * 25 + [False] * 25, first=100), make_call(999, status="failed")]
    found = compare(before, after)
    rate = found.difference("eval.polite.pass_rate")
    assert rate is not None
    assert (rate.before, rate.after, rate.n_before, rate.n_after) == (0.9, 0.5, 50, 50)
    assert rate.beyond_chance
    assert rate.evaluation_id == "e"
    failed = found.difference("status.failed.share")
    assert failed is not None
    assert (failed.before, failed.after, failed.beyond_chance) == (0, 1 / 51, False)
    mood = [[make_call(1, evaluations={"m": EvalOutput("m", "Mood", [word], "choices")})] for word in "ab"]
    names = {each.name: (each.before, each.after) for each in compare(*mood).differences}
    assert names["eval.mood.share.a"] == (1.0, 0.0)
    assert names["eval.mood.share.b"] == (0.0, 1.0)


def test_evaluations_belong_together_by_id_or_lone_name() -> None:
    """An id goes before a name; a name that several have is not guessed, and what is alone is told."""
    before = [*passing([True] * 4, id_="a"), *passing([True] * 4, first=10, id_="b", name="Helpful")]
    after = [*passing([False] * 4, id_="c"), *passing([True] * 4, first=10, id_="b", name="Renamed")]
    found = compare(before, after)
    polite = found.difference("eval.polite.pass_rate")
    assert polite is not None
    assert (polite.before, polite.after, polite.evaluation_id) == (1.0, 0.0, "c")
    assert found.difference("eval.renamed.pass_rate") is not None
    twice = compare(before, [*after, *passing([True], first=20, id_="d")])
    assert twice.difference("eval.polite.pass_rate") is None
    assert twice.unmatched == (
        "Evaluation 'Polite' stands for several, with other ids: they are not compared.",
    )
    alone = compare(before, passing([True], id_="z", name="New"))
    assert "Evaluation 'New' is only in the later calls." in alone.unmatched
    assert "Evaluation 'Polite' is only in the earlier calls." in alone.unmatched


def test_scenarios_have_differences_of_their_own() -> None:
    """What fell in one scenario alone is named there."""
    runs = []
    for first, fall in ((0, 0.0), (500, 3.0)):
        good = scored(SCORES, first=first, scenario="Good")
        runs.append([*good, *scored(SCORES - fall, first=first + 200, scenario="Bad")])
    found = compare(*runs)
    assert [(each.name, each.calls_before, each.calls_after) for each in found.scenarios] == [
        ("Bad", 60, 60),
        ("Good", 60, 60),
    ]
    marked = [
        {each.name for each in scenario.differences if each.beyond_chance} for scenario in found.scenarios
    ]
    assert marked == [{"overall_score.mean", "overall_score.median"}, set()]


@pytest.mark.parametrize("paired", [True, False])
def test_newly_failing_calls_come_first(paired: bool) -> None:
    """Calls that fail what their pair, or else their scenario, passed; then the lowest scores."""
    before = [make_call(n, row=n if paired else None, evaluations={"e": verdict(n != 3)}) for n in range(6)]
    after = [
        make_call(
            100 + n,
            row=n if paired else None,
            overall_score=float(9 - n),
            evaluations={"e": verdict(n not in (2, 3))},
        )
        for n in range(6)
    ]
    if not paired:
        before = before[:3]
    found = compare(before, after).calls_to_look_at
    failing = [call for call in found if call.reason == "newly failing"]
    expected = [after[2].id] if paired else [after[2].id, after[3].id]
    assert [call.call_id for call in failing] == expected
    assert failing[0].evaluations == ("Polite",)
    assert failing[0].before_call_id == (before[2].id if paired else None)
    assert failing[0].scenario == "Refund"
    lowest = [call.score for call in found if call.reason == "low score"]
    assert lowest == [4, 5, 6, 7, 8, 9]


def test_small_and_empty_runs_have_no_intervals() -> None:
    """One value a side gives no interval, none no difference; neither is beyond chance."""
    one = compare(scored([5.0]), scored([1.0])).difference("overall_score.mean")
    assert one is not None
    assert (one.difference, one.interval, one.p_value, one.beyond_chance) == (-4, None, None, False)
    none = compare(scored([5.0, 6.0]), []).difference("overall_score.mean")
    assert none is not None
    assert (none.before, none.after, none.difference, none.n_after) == (5.5, None, None, 0)
    assert compare([], []).differences == ()


def test_the_same_seed_gives_the_same_intervals() -> None:
    """Whoever compares again finds the same figures; another seed draws others."""
    runs = scored(SCORES), scored(SCORES + 0.3)
    first, again, other = (compare(*runs, seed=seed).to_dict() for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_completeness_is_carried() -> None:
    """A comparison with an incomplete read says so, in its text form, too."""
    good = summarise(scored(SCORES), report=report())
    bad = summarise(scored(SCORES), report=report(complete=False))
    assert compare(good, good).complete
    found = compare(good, bad)
    assert not found.complete
    assert found.to_dict()["complete"] is False
    assert found.to_dict()["after"]["completeness"] == "incomplete"
    assert json.loads(json.dumps(found.to_dict()))["pairs"] == 0
    assert repr(found).startswith("<Comparison of run test ")


@pytest.mark.anyio
@pytest.mark.parametrize("dialect", ["served", "documented"])
async def test_versions_from_a_server_and_from_exports(dialect: Any, tmp_path: Path) -> None:
    """Two agent versions differ alike as they are read and as exports."""
    with StandInServer(dialect=dialect) as server:
        async with open_session(server) as session:
            runs = [AgentVersionCalls(*pair) for pair in server.agent_versions[:2]]
            read = [summarise(await session.fetch_calls(run)) for run in runs]
            for name, run in zip("ab", runs, strict=True):
                await export_calls(session, run, tmp_path / name, format="parquet", ordered=True)
    found, exported = compare(*read), compare(tmp_path / "a", tmp_path / "b")
    assert [(each.name, each.before, each.n_after) for each in found.differences] == [
        (each.name, each.before, each.n_after) for each in exported.differences
    ]
    assert "eval.politeness.mean" in {each.name for each in found.differences}
    for one, other in zip(found.differences, exported.differences, strict=True):
        assert one.difference == pytest.approx(other.difference)
        assert one.interval is not None
        assert other.interval is not None
        assert one.interval.low < (one.difference or 0) < one.interval.high


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"seed": -1}, ValueError),
        ({"seed": 1.5}, TypeError),
        ({"seed": True}, TypeError),
        ({"resamples": 99}, ValueError),
        ({"resamples": "many"}, TypeError),
    ],
)
def test_wrong_options_are_refused(options: Mapping[str, Any], error: type[Exception]) -> None:
    """Seed and resamples are whole numbers, and enough."""
    with pytest.raises(error, match=next(iter(options))):
        compare([], [], **options)


def test_wrong_data_are_refused() -> None:
    """What can't be summarised can't be compared."""
    with pytest.raises(TypeError, match="data must be"):
        compare([], 5)  # type: ignore[arg-type]
