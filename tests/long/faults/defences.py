"""The defences, each with a way to take it out: the faults it stands against must be seen then."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from unittest import mock

import aiohttp
import attrs
from aiohttp.client_proto import ResponseHandler

from futureagi_async import FutureAGIError
from futureagi_async._bulk import outages, outcomes, reading
from futureagi_async._http import requester
from futureagi_async._http.clock import SystemClock
from futureagi_async._http.requester import Requester
from futureagi_async._http.transport import Transport
from futureagi_async._sansio import replies, retrying
from futureagi_async._sansio.decoding.fragments import Fragment
from futureagi_async._sansio.settings import Keys, Secret
from tests.long.faults.answer_rows import GATEWAYS_OWN
from tests.long.faults.inputs import (
    Patch,
    close_without_waiting,
    follow_the_redirect,
    keep_going_on_broken_gzip,
    let_foreign_errors_out,
    raise_for_one_record,
    read_each_page_once,
    read_json_leniently,
    retry_statuses,
    retry_without,
    run_loosely,
    send_as_connection_trouble,
    take_any_encoding,
    take_any_envelope,
    take_any_size,
    take_cut_gzip,
    take_every_cancellation_for_the_callers,
    trust_all,
    without_limit,
)

CONVERTER = import_module("futureagi_async._sansio.decoding.converter")  # its package has a function so named


@attrs.define(frozen=True)
class Defence:
    """One defence: what it does, how to take it out, and the faults that are seen without it."""

    name: str
    patches: Callable[[], list[Patch]] = attrs.field(repr=False)
    faults: tuple[str, ...]

    @contextmanager
    def taken_out(self) -> Iterator[None]:
        """Do without it, for the length of the block."""
        with ExitStack() as stack:
            for owner, name, value in self.patches():
                stack.enter_context(mock.patch.object(owner, name, value))
            yield


CUTS = (
    "closed before the answer",
    "reset before the answer",
    "reset within the headers",
    "reset within the body",
    "body cut, length known",
    "last chunk missing",
    "cut within a chunk",
)
GARBAGE = ("garbage", "huge header", "too many headers", "length and chunks", "two lengths")
NO_JSON = (
    "body cut, no framing",
    "HTML instead",
    "empty body",
    "invalid JSON",
    "invalid UTF-8",
    "NaN",
    "nested too deeply",
    "lone surrogate",
)

GATEWAYS = ("502", "503", "504", *map(str, GATEWAYS_OWN))

DEFENCES = [
    Defence(
        "certificates are checked",
        trust_all,
        ("unknown authority", "certificate of another host", "certificate expired"),
    ),
    Defence("connecting has a limit", lambda: without_limit("sock_connect"), ("connection never accepted",)),
    Defence("a try has a limit", lambda: without_limit("total"), ("headers drip", "body drips")),
    Defence(
        "silence has a limit",
        lambda: without_limit("sock_read"),
        ("stalls before the answer", "stalls within the body"),
    ),
    Defence(
        "foreign errors are put in our words",
        let_foreign_errors_out,
        ("name does not resolve", "connection refused", *CUTS, *GARBAGE),
    ),
    Defence(
        "failed tries are repeated",
        lambda: [(requester, "retry_delay_seconds", lambda *_, **__: None)],
        (*CUTS, *GATEWAYS, "408", "425"),
    ),
    Defence(
        "a kept connection that closed is replaced",
        lambda: [(retrying, "LOST_TRIES", 1)],
        ("kept connection closed",),
    ),
    Defence(
        "bytes nobody asked for close the connection",
        lambda: [(ResponseHandler, "should_close", False)],
        ("two answers to one request",),
    ),
    Defence(
        "no key may stand twice",
        lambda: [(CONVERTER, "check_keys", lambda *_: None)],
        ("a key twice",),
    ),
    Defence("a gzip body must end", take_cut_gzip, ("gzip cut",)),
    Defence(
        "a gzip body must be whole",
        keep_going_on_broken_gzip,
        ("gzip, bad checksum", "gzip that is none", "junk behind gzip"),
    ),
    Defence(
        "encodings that were not asked for are refused",
        take_any_encoding,
        ("unknown encoding", "encoded twice"),
    ),
    Defence("answers have a largest size", take_any_size, ("bomb", "body too large", "endless body")),
    Defence(
        "garbage is asked for once more only",
        lambda: [(retrying, "GARBLED_TRIES", 4)],
        (*GARBAGE, *NO_JSON, "null instead", "list instead"),
    ),
    Defence(
        "JSON is read strictly",
        read_json_leniently,
        (*NO_JSON, "null instead", "list instead"),
    ),
    Defence(
        "a value of another type costs its field alone",
        lambda: [(Fragment, "strict", True)],
        ("number beyond floats", "scalar of another type"),
    ),
    Defence("a byte order mark is skipped", lambda: [(replies, "BOM_UTF8", b"")], ("byte order mark",)),
    Defence("a bad record fails alone", raise_for_one_record, ("record without id",)),
    Defence("the envelope is checked", take_any_envelope, ("count of -1", "results are null")),
    Defence(
        "what the request did wrong is not repeated",
        retry_statuses(304, 400, 401, 403, 404, 501, 511),
        ("304", "400", "401", "403", "404", "501", "511"),
    ),
    Defence(
        "refused keys stop a job",
        lambda: [(outcomes, "STOPS_JOB", ())],
        ("401 within a job", "403 within a job"),
    ),
    Defence(
        "a page past the end ends its list",
        lambda: [(reading, "is_past_the_end", lambda _: False)],
        ("page past the end",),
    ),
    Defence(
        "Retry-After is kept to",
        lambda: [(replies, "retry_after", lambda _: None)],
        ("429, seconds", "429, a date", "429, a date long past", "429, absurd", "429, beyond the deadline"),
    ),
    Defence(
        "Retry-After must be a number",
        lambda: [(replies, "_SECONDS", re.compile("-?[0-9]+"))],
        ("429, no number",),
    ),
    Defence("Retry-After has an upper bound", lambda: retry_without("max_retry_after"), ("429, absurd",)),
    Defence(
        "no pause outlasts the deadline", lambda: retry_without("deadline"), ("429, beyond the deadline",)
    ),
    Defence(
        "a server's bug is met three times at most",
        lambda: [(retrying, "SERVER_BUG_TRIES", 4)],
        ("500", "500 for one of many"),
    ),
    Defence(
        "wrong parameters are known by their 500s",
        lambda: [(replies, "DETERMINISTIC_500S", ())],
        ("500 for a wrong parameter",),
    ),
    Defence(
        "retries share a quota",
        lambda: [(retrying.RetryQuota, "take", lambda *_: 0)],
        ("outage that is not waited for",),
    ),
    Defence(
        "a job notices an outage",
        lambda: [(retrying.OutageDetector, "is_out", False)],
        ("outage that is not waited for",),
    ),
    Defence(
        "a job waits for its server",
        lambda: [(outages, "is_unanswered", lambda _: False)],
        ("outage that ends",),
    ),
    Defence(
        "a job waits so long and no longer",
        lambda: [(retrying.Outage, "probe_delay_seconds", lambda *_: 1.0)],
        ("outage that lasts",),
    ),
    Defence(
        "redirects are not followed",
        follow_the_redirect,
        (
            "redirect within the server",
            "redirect to another port",
            "redirect to another name",
            "redirect in a circle",
        ),
    ),
    Defence(
        "cookies are not kept", lambda: [(aiohttp, "DummyCookieJar", aiohttp.CookieJar)], ("cookie set",)
    ),
    Defence(
        "cancellation passes through",
        lambda: [(Transport, "send", send_as_connection_trouble)],
        ("cancelled before the answer", "cancelled within the body"),
    ),
    Defence(
        "a cancellation from below is no cancellation",
        take_every_cancellation_for_the_callers,
        ("cancelled from below",),
    ),
    Defence("closing ends what is under way", close_without_waiting, ("closed with work under way",)),
    Defence(
        "a closed connector is noticed",
        lambda: [(aiohttp.ClientSession, "closed", False)],
        ("connector closed by its owner",),
    ),
    Defence("a stream owns its tasks", run_loosely, ("consumer breaks off", "consumer raises")),
    Defence(
        "a session knows its loop and process",
        lambda: [(Requester, "check_usable", lambda _: None)],
        ("used in another thread", "used after a fork", "used before opening"),
    ),
    Defence(
        "a session knows that it is closed",
        lambda: [(Requester, "check_usable", lambda _: None), (aiohttp.ClientSession, "closed", False)],
        ("used after closing",),
    ),
    Defence("lists are covered", read_each_page_once, ("list moves while it is read",)),
    Defence(
        "one id's failure is its own",
        lambda: [(outcomes, "STOPS_JOB", (FutureAGIError,))],
        ("record gone before its detail", "500 for one of many"),
    ),
    Defence(
        "pauses run on a monotonic clock",
        lambda: [(SystemClock, "monotonic", lambda _: time.time())],
        ("wall clock jumps",),
    ),
    Defence(
        "what the server repeats is masked",
        lambda: [(Keys, "redact", lambda _, text: text)],
        ("keys repeated by the server",),
    ),
    Defence(
        "keys hide in what is printed",
        lambda: [(Secret, "__repr__", str.__repr__)],
        ("keys repeated by the server",),
    ),
]
