"""When a failed request is sent again, after how long, and at what cost."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futureagi_async import errors
from futureagi_async._sansio.pacing import ConcurrencyLimit, is_throttling
from futureagi_async._sansio.replies import GATEWAY_STATUSES, Reply, error_of
from futureagi_async._sansio.retrying import (
    OUTAGE_FAILURES,
    QUOTA_CAPACITY,
    QUOTA_COST,
    QUOTA_COST_TIMEOUT,
    Outage,
    OutageDetector,
    RetryQuota,
    is_answered,
    is_asked_again,
    is_unanswered,
    max_attempts,
    retry_delay_seconds,
)
from futureagi_async.errors import APITimeoutError, FutureAGIError, InternalServerError, RateLimitError
from futureagi_async.options import RetryPolicy

POLICY = RetryPolicy(attempts=4)


def garbled() -> FutureAGIError:
    """Make the error for an answer that is not HTTP."""
    error = errors.APIConnectionError("not HTTP", retryable=True)
    error.garbled = True
    return error


def answered(status: int, body: bytes = b"") -> Callable[[], FutureAGIError]:
    """Make the error of an answer with this status."""
    return lambda: error_of(Reply(status, {}, body))


TRIES = {
    "refused connection": (lambda: errors.APIConnectionError("refused", retryable=True), 4),
    "timeout": (lambda: errors.APITimeoutError("late", retryable=True), 4),
    "bad base URL": (lambda: errors.APIConnectionError("unusable"), 1),
    "not HTTP": (garbled, 2),
    "not JSON": (lambda: errors.DecodingError.at("no", endpoint="/e/", retryable=True), 2),
    "wrong shape": (lambda: errors.DecodingError.at("no", endpoint="/e/"), 1),
    "certificate": (lambda: errors.TLSError("unknown CA"), 1),
    "too large": (lambda: errors.ResponseTooLargeError("large"), 1),
    "ignored filter": (lambda: errors.FilterIgnoredError("ignored"), 1),
    "misuse": (lambda: errors.SessionMisuseError("closed"), 1),
    "301": (answered(301), 1),
    "302": (answered(302), 1),
    "307": (answered(307), 1),
    "400": (answered(400), 1),
    "401": (answered(401), 1),
    "403": (answered(403), 1),
    "404": (answered(404), 1),
    "405": (answered(405), 1),
    "408": (answered(408), 4),
    "414": (answered(414), 1),
    "425": (answered(425), 4),
    "429": (answered(429), 4),
    "500": (answered(500), 3),
    "500, a wrong parameter": (answered(500, b'{"message": "invalid literal for int()"}'), 1),
    "500, no such execution": (answered(500, b'{"message": "No TestExecution matches"}'), 1),
    "304": (answered(304), 1),
    "501": (answered(501), 1),
    "511": (answered(511), 1),
    **{str(status): (answered(status), 4) for status in sorted(GATEWAY_STATUSES)},
}


@pytest.mark.parametrize("attempt", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("case", TRIES)
def test_which_errors_are_tried_again(case: str, attempt: int) -> None:
    """An error is tried again until its number of tries is reached, and no longer."""
    make, tries = TRIES[case]
    pause = retry_delay_seconds(make(), attempt=attempt, policy=POLICY, seconds_left=100, jitter=0.5)
    assert (pause is not None) == (attempt < tries)


@pytest.mark.parametrize(("attempts", "tries"), [(1, 2), (2, 2), (4, 4)])
def test_a_lost_connection_is_replaced_at_once(attempts: int, tries: int) -> None:
    """One that was kept may end just then, so that this is no failure of the server; after that it is one."""
    lost = errors.APIConnectionError("lost", retryable=True)
    lost.lost = True
    policy = RetryPolicy(attempts=attempts)
    pauses = [
        retry_delay_seconds(lost, attempt=attempt, policy=policy, seconds_left=100, jitter=0.5)
        for attempt in range(1, tries + 1)
    ]
    assert pauses == [*[0.0, 0.25, 0.5][: tries - 1], None]
    assert retry_delay_seconds(lost, attempt=1, policy=policy, seconds_left=0, jitter=0.5) is None


@pytest.mark.parametrize("attempts", [1, 2, 3, 10])
@pytest.mark.parametrize("case", TRIES)
def test_policy_bounds_every_error(case: str, attempts: int) -> None:
    """No error gets more tries than the policy allows."""
    make, tries = TRIES[case]
    expected = attempts if tries == 4 else min(tries, attempts)
    assert max_attempts(make(), RetryPolicy(attempts=attempts)) == expected


LOST = errors.APIConnectionError("lost", retryable=True)
POLICIES = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 2000),
    base_delay=st.floats(0.001, 100),
    max_delay=st.floats(0.001, 100),
    max_retry_after=st.floats(0.001, 1000),
)
JITTER = st.floats(0, 1, exclude_max=True)


@given(policy=POLICIES, attempt=st.integers(1, 2000), jitter=JITTER)
def test_full_jitter_stays_in_bounds(policy: RetryPolicy, attempt: int, jitter: float) -> None:
    """A pause is a random share of the doubled delay, capped, for any number of attempts."""
    pause = retry_delay_seconds(LOST, attempt=attempt, policy=policy, seconds_left=1e9, jitter=jitter)
    if attempt >= policy.attempts:
        assert pause is None
        return
    assert pause is not None
    longest = policy.base_delay * 2.0 ** min(attempt - 1, 60)
    assert 0 <= pause <= min(policy.max_delay, longest)


@pytest.mark.parametrize(
    ("attempt", "longest"), [(1, 0.25), (2, 0.5), (3, 1.0), (7, 16.0), (8, 20.0), (9, 20.0)]
)
def test_delays_double_up_to_the_cap(attempt: int, longest: float) -> None:
    """The longest pause doubles with each retry until ``max_delay``."""
    policy = RetryPolicy(attempts=10)
    pause = retry_delay_seconds(LOST, attempt=attempt, policy=policy, seconds_left=1e9, jitter=0.5)
    assert pause == longest / 2


def told_to_wait(seconds: float) -> FutureAGIError:
    """Make a 429 whose Retry-After is so long."""
    return errors.RateLimitError("slow down", status=429, retry_after=seconds, retryable=True)


@given(seconds=st.floats(0, 1e12), policy=POLICIES.filter(lambda policy: policy.attempts > 1), jitter=JITTER)
def test_retry_after_takes_the_delays_place(seconds: float, policy: RetryPolicy, jitter: float) -> None:
    """The server's wish, capped, is never cut short, and spread by less than a second."""
    pause = retry_delay_seconds(
        told_to_wait(seconds), attempt=1, policy=policy, seconds_left=1e9, jitter=jitter
    )
    assert pause is not None
    asked = min(seconds, policy.max_retry_after)
    assert asked <= pause <= asked + 1


def test_retry_after_beyond_the_deadline_gives_up() -> None:
    """A wait that would outlast the deadline is not begun; one that fits is."""
    wait = told_to_wait(30)
    assert retry_delay_seconds(wait, attempt=1, policy=POLICY, seconds_left=30, jitter=0.0) is None
    assert retry_delay_seconds(wait, attempt=1, policy=POLICY, seconds_left=30.4, jitter=0.5) is None
    assert retry_delay_seconds(wait, attempt=1, policy=POLICY, seconds_left=30.6, jitter=0.5) == 30.5


@given(left=st.floats(-100, 10), jitter=JITTER, attempt=st.integers(1, 3))
def test_no_pause_outlasts_the_deadline(left: float, jitter: float, attempt: int) -> None:
    """A pause is always shorter than what is left of the deadline."""
    pause = retry_delay_seconds(LOST, attempt=attempt, policy=POLICY, seconds_left=left, jitter=jitter)
    assert pause is None or pause < left


def test_retry_after_does_not_make_errors_retryable() -> None:
    """A 404 with a Retry-After is still final."""
    error = errors.NotFoundError("gone", status=404, retry_after=1.0)
    assert retry_delay_seconds(error, attempt=1, policy=POLICY, seconds_left=100, jitter=0.5) is None


def retries_until_empty(quota: RetryQuota, error: FutureAGIError) -> int:
    """Count the retries that a quota pays for when none succeeds."""
    count = 0
    while quota.take(error, 1) is not None:
        count += 1
        assert count < 10_000
    return count


def test_dead_server_costs_a_hundred_retries() -> None:
    """With no success in between, a whole session retries at most 100 times, 50 after timeouts."""
    assert retries_until_empty(RetryQuota(), LOST) == 100
    assert retries_until_empty(RetryQuota(), errors.APITimeoutError("late", retryable=True)) == 50


def test_quota_is_returned_on_success() -> None:
    """A retry that succeeds returns what it cost, so that it can be spent again."""
    quota = RetryQuota()
    cost = quota.take(LOST, 1)
    assert cost == QUOTA_COST
    assert quota.tokens == QUOTA_CAPACITY - QUOTA_COST
    quota.give_back(cost)
    assert quota.tokens == QUOTA_CAPACITY


def test_first_successes_refill_slowly() -> None:
    """A request that succeeds at once returns one token; the quota never grows beyond its capacity."""
    quota = RetryQuota()
    assert retries_until_empty(quota, LOST) == 100
    for _ in range(QUOTA_COST):
        assert quota.take(LOST, 1) is None
        quota.give_back(0)
    assert quota.take(LOST, 1) == QUOTA_COST
    for _ in range(2 * QUOTA_CAPACITY):
        quota.give_back(QUOTA_COST_TIMEOUT)
    assert quota.tokens == QUOTA_CAPACITY


def test_retry_after_costs_nothing() -> None:
    """Waiting as the server asked is paid for by nobody, even when the quota is used up."""
    quota = RetryQuota(tokens=0)
    assert quota.take(told_to_wait(5), 1) == 0
    assert quota.take(LOST, 1) is None
    assert quota.tokens == 0


def test_a_lost_connection_is_replaced_for_nothing_once() -> None:
    """A kept connection may end at any time, which says nothing of the server; ending again does."""
    lost = errors.APIConnectionError("gone", retryable=True)
    lost.lost = True
    quota = RetryQuota(tokens=0)
    assert quota.take(lost, 1) == 0
    assert quota.take(lost, 2) is None


def test_quota_never_goes_into_debt() -> None:
    """Where a timeout costs more than is left, nothing is taken."""
    quota = RetryQuota(tokens=QUOTA_COST)
    assert quota.take(errors.APITimeoutError("late", retryable=True), 1) is None
    assert quota.tokens == QUOTA_COST
    assert quota.take(LOST, 1) == QUOTA_COST


OUTAGES = ("refused connection", "timeout", "not HTTP", *map(str, GATEWAY_STATUSES))


@pytest.mark.parametrize("trouble", TRIES)
def test_an_outage_is_many_requests_in_a_row_that_reached_nobody(trouble: str) -> None:
    """Answers about the request itself, a server's own bugs too, show that it lives."""
    make, _ = TRIES[trouble]
    watch = OutageDetector()
    for _ in range(OUTAGE_FAILURES - 1):
        watch.failed(make())
    assert not watch.is_out
    watch.failed(make())
    assert watch.is_out == (trouble in OUTAGES)


@pytest.mark.parametrize("news", ["a success", "a 404"])
def test_a_sign_of_life_ends_an_outage(news: str) -> None:
    """Then the count begins again."""
    watch = OutageDetector(failures=OUTAGE_FAILURES - 1)
    if news == "a success":
        watch.succeeded()
    else:
        watch.failed(error_of(Reply(404, {}, b"")))
    assert watch == OutageDetector()


ANSWERS = {trouble for trouble in TRIES if trouble[0].isdigit()} - set(OUTAGES) | {"wrong shape"}


@pytest.mark.parametrize("trouble", TRIES)
def test_which_errors_are_answers_of_the_api(trouble: str) -> None:
    """Gateways and garbage are nobody's answer, all other statuses and shapes are the API's."""
    error = TRIES[trouble][0]()
    if isinstance(error, errors.DecodingError):
        error.status = 200  # as a requester notes it
    assert is_unanswered(error) == (trouble in OUTAGES)
    assert is_answered(error) == (trouble in ANSWERS)


def test_what_was_not_sent_is_not_answered() -> None:
    """An error of the session's own says nothing of the server."""
    assert not is_answered(errors.RateLimitError("wait", retry_after=100, retryable=True))


def probes_of(max_seconds: float, jitter: float) -> tuple[list[float], float]:
    """Return the pauses before the probes of an outage that does not end, and when it is given up."""
    outage, now, pauses = Outage(100.0, max_seconds), 100.0, list[float]()
    while True:
        outage.probes += 1
        pause = outage.probe_delay_seconds(now, jitter)
        if pause is None:
            return pauses, now - 100.0
        pauses.append(pause)
        now += pause


@given(max_seconds=st.floats(0.01, 100_000), jitter=JITTER)
def test_an_outage_is_waited_out_for_so_long(max_seconds: float, jitter: float) -> None:
    """The last probe is sent when the time is up; pauses grow to 30 s, so that there are few."""
    pauses, waited = probes_of(max_seconds, jitter)
    assert waited == pytest.approx(max_seconds)
    assert all(0 < pause <= 30 for pause in pauses)
    steady = [pause for pause in pauses if pause != pauses[-1]]
    assert steady == sorted(steady)
    assert len(pauses) <= 7 + max_seconds / 15


def test_pauses_between_probes_double() -> None:
    """From half a second to a second at first, up to half a minute."""
    assert probes_of(100, jitter=0.0)[0][:7] == [0.5, 1, 2, 4, 8, 15, 15]
    longest = probes_of(100, jitter=0.999999)[0][:6]
    assert longest == pytest.approx([1, 2, 4, 8, 16, 30], rel=1e-5)


def test_an_answer_moves_the_end_of_the_wait() -> None:
    """The seconds are counted from the last one, that of a request sent before the outage, too."""
    outage = Outage(100.0, 60.0)
    assert outage.probe_delay_seconds(160.0, 0.5) is None
    outage.answered_at = 110.0
    assert outage.probe_delay_seconds(160.0, 0.5) is not None


@pytest.mark.parametrize(
    ("was_out", "optional", "times"), [(False, False, 1), (False, True, 0), (True, False, 4), (True, True, 1)]
)
def test_how_often_a_request_that_nobody_answered_is_asked_again(
    was_out: bool, optional: bool, times: int
) -> None:
    """Once where others are answered, some times where none was; what has another way less often."""
    again = [is_asked_again(failures, was_out=was_out, optional=optional) for failures in range(1, 9)]
    assert again == [failures <= times for failures in range(1, 9)]


def test_it_begins_low_and_grows_with_every_success() -> None:
    """Without throttling the limit starts at 4 and gains one for each success, up to the most."""
    pacer = ConcurrencyLimit(8)
    limits = [pacer.limit]
    for _ in range(6):
        pacer.succeeded()
        limits.append(pacer.limit)
    assert limits == [4, 5, 6, 7, 8, 8, 8]


def test_it_begins_no_higher_than_the_most() -> None:
    """A session of one request at a time stays so."""
    assert ConcurrencyLimit(1).limit == 1


def test_throttling_takes_it_down_once_per_round_trip() -> None:
    """Several requests of one round that are throttled count as one."""
    pacer = ConcurrencyLimit(100)
    for _ in range(96):
        pacer.succeeded()
    pacer.throttled(sent_at=1.0, now=2.0)
    pacer.throttled(sent_at=1.5, now=2.1)
    assert pacer.limit == 70
    pacer.throttled(sent_at=2.5, now=3.0)
    assert pacer.limit == 49


def test_after_throttling_it_grows_by_one_a_round() -> None:
    """Once throttled, as many successes as the limit add about one."""
    pacer = ConcurrencyLimit(100)
    for _ in range(16):
        pacer.succeeded()
    pacer.throttled(sent_at=0.0, now=1.0)
    before = pacer.limit
    for _ in range(before + 1):
        pacer.succeeded()
    assert pacer.limit == before + 1


@given(st.integers(1, 64), st.lists(st.booleans(), max_size=200))
def test_the_limit_stays_between_one_and_the_most(most: int, answers: list[bool]) -> None:
    """Whatever the server answers, the limit stays within its bounds."""
    pacer = ConcurrencyLimit(most)
    for moment, good in enumerate(answers):
        if good:
            pacer.succeeded()
        else:
            pacer.throttled(sent_at=moment, now=moment + 0.5)
        assert 1 <= pacer.limit <= most


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RateLimitError("slow down", status=429), True),
        (InternalServerError("busy", status=503, retry_after=3.0), True),
        (InternalServerError("busy", status=503), False),
        (InternalServerError("bug", status=500), False),
        (APITimeoutError("late"), False),
    ],
)
def test_only_throttling_counts(error: FutureAGIError, expected: bool) -> None:
    """Slow and broken answers are no reason to send fewer."""
    assert is_throttling(error) is expected
