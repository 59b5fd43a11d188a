"""``export --ray``: an export by tasks of a Ray cluster."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import attrs
from cyclopts import Group, Parameter

import futureagi_async as sdk
from futureagi_async.cli.connection import AT_LEAST_ONE, Endpoint, Limits
from futureagi_async.cli.messages import UsageError
from futureagi_async.cli.running import StoppedBySignalError

if TYPE_CHECKING:
    from types import FrameType

CLUSTER = Group("Many machines", sort_key=4)
_CONNECT_SECONDS = 10.0


@Parameter(name="*", group=CLUSTER)
@attrs.define(frozen=True, kw_only=True)
class ClusterOptions:
    """Options that spread the reading over many machines."""

    ray: Annotated[
        list[str] | None,
        Parameter(
            consume_multiple=(0, 1),
            metavar="ADDRESS",
            help="Read with tasks of the Ray cluster at ADDRESS. Default: RAY_ADDRESS, else a new cluster on "
            "this machine. Set the keys in the environment of its workers.",
        ),
    ] = None
    fetchers: Annotated[
        int,
        Parameter(
            metavar="N", validator=AT_LEAST_ONE, show_default=True, help="With --ray: the number of tasks."
        ),
    ] = 2

    @property
    def by_ray(self) -> bool:
        """Whether ``--ray`` is given."""
        return self.ray is not None


def export_by_ray(
    endpoint: Endpoint,
    sources: "Sequence[sdk.CallSource]",
    target: str,
    cluster: ClusterOptions,
    limits: Limits,
    options: Mapping[str, Any],
) -> "sdk.ExportReport":
    """Export with Ray. Ctrl-C ends the tasks and raises `StoppedBySignalError`."""
    try:
        from futureagi_async.integrations.ray import export_calls
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise UsageError(f"--ray needs Ray (the extra [ray]): {str(error).partition(': ')[2]}") from None
    connection = endpoint.connection
    with _connected(endpoint, cluster), _interrupted_by_signals():
        return export_calls(
            sources,
            target,
            requests_per_minute=_check_limit(limits),
            fetchers=cluster.fetchers,
            page_size=limits.page_size,
            max_in_flight=limits.max_in_flight,
            base_url=endpoint.stand_in.base_url if endpoint.stand_in else connection.base_url,
            allow_insecure=connection.allow_insecure,
            trust_env=endpoint.stand_in is None,
            **options,
        )


def check_fits(
    cluster: ClusterOptions, endpoint: Endpoint, limits: Limits, refused: Mapping[str, bool]
) -> None:
    """Raise `UsageError` if an option is given that can't be used with ``--ray``."""
    if not cluster.by_ray:
        return
    connection = endpoint.connection
    ours = {"--proxy": connection.proxy is not None, "--ca-file": connection.ca_file is not None}
    for option, is_given in {**ours, **refused}.items():
        if is_given:
            raise UsageError(f"--ray can't be used with {option}: leave one out.")
    if cluster.ray and endpoint.stand_in is not None:
        raise UsageError("--demo reads from a server on this machine: leave out the address after --ray.")
    _check_limit(limits)


def _check_limit(limits: Limits) -> int:
    if limits.max_requests_per_minute is None:
        raise UsageError(
            "--ray needs --max-requests-per-minute, the limit for all tasks together. For example: 600."
        )
    return limits.max_requests_per_minute


@contextmanager
def _connected(endpoint: Endpoint, cluster: ClusterOptions) -> Iterator[None]:
    """Connect to the cluster, or start one that has the keys of this process."""
    import logging

    import ray

    address = next(iter(cluster.ray or ()), None)
    keys = {}
    if endpoint.stand_in is not None:
        keys = {"FI_API_KEY": endpoint.stand_in.api_key, "FI_SECRET_KEY": endpoint.stand_in.secret_key}
        address = "local"
    if address is not None:
        _check_listening(address)
    os.environ.update(keys)  # only of the demo's server, which ends with this process
    try:
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        (reason, *_) = str(error).splitlines() or [type(error).__name__]
        raise UsageError(f"--ray: {reason}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_listening(address: str) -> None:
    """Raise `UsageError` if nothing listens: Ray itself retries for minutes and fills the terminal."""
    import socket

    host, colon, port = address.rpartition(":")
    if not colon or "://" in address or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"--ray: no cluster listens at {address} ({reason}).") from None


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Treat the signals that end a process like Ctrl-C, and raise `StoppedBySignalError` for each."""
    import signal

    before = {}
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, _interrupt)
    try:
        yield
    except KeyboardInterrupt:
        raise StoppedBySignalError from None
    finally:
        for number, handler in before.items():
            with suppress(TypeError):  # a handler that was not set by Python
                signal.signal(number, handler)


def _interrupt(_number: int, _frame: "FrameType | None") -> NoReturn:
    raise KeyboardInterrupt
