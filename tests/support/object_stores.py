"""An S3 server on loopback, what is in its buckets, and faults between it and its users."""

import asyncio
import json
import logging
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import attrs
import boto3
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDc4n4ry", "AWS_SECRET_ACCESS_KEY": "c4n4ry-secret-4e5f"}
"""Which the server does not check, and nothing may show."""
BUCKET = "lake"


class S3Server:
    """moto's S3 server, and a client of another maker to look into it."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        keys = dict(zip(("aws_access_key_id", "aws_secret_access_key"), KEYS.values(), strict=True))
        config = Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"})
        self.client: Any = boto3.client(
            "s3", endpoint_url=endpoint, region_name="us-east-1", config=config, **keys
        )

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to use the server."""
        return {
            **KEYS,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
        }

    def objects(self, prefix: str = "", bucket: str = BUCKET) -> dict[str, bytes]:
        """Return all objects, by name behind the prefix."""
        return {name: self.read(prefix + name, bucket) for name in self.names(prefix, bucket)}

    def names(self, prefix: str = "", bucket: str = BUCKET) -> list[str]:
        """Return the names of all objects, behind the prefix."""
        listed = self.client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", ())
        return [each["Key"][len(prefix) :] for each in listed]

    def clear(self) -> None:
        """Delete all objects."""
        if names := self.names():
            keys = [{"Key": name} for name in names]
            self.client.delete_objects(Bucket=BUCKET, Delete={"Objects": keys})

    def read(self, key: str, bucket: str = BUCKET) -> bytes:
        """Return an object."""
        body: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def write(self, key: str, content: bytes) -> None:
        """Put an object, whatever is there."""
        self.client.put_object(Bucket=BUCKET, Key=key, Body=content)

    def manifest(self, prefix: str) -> Any:
        """Return a manifest, decoded."""
        return json.loads(self.read(f"{prefix}_manifest.json"))


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run a server with one empty bucket."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    try:
        host, port = running.get_host_and_port()
        server = S3Server(f"http://{host}:{port}")
        server.client.create_bucket(Bucket=BUCKET)
        yield server
    finally:
        running.stop()


def use_store(monkeypatch: pytest.MonkeyPatch, server: S3Server, cache: Any) -> None:
    """Let this process find the server, and keep what is unfinished out of the user's directory."""
    for name, value in {**server.environment, "XDG_CACHE_HOME": str(cache)}.items():
        monkeypatch.setenv(name, value)


@attrs.define(frozen=True)
class Fault:
    """What an unreliable store does to a request."""

    status: int = 503
    code: str = "SlowDown"
    done: bool = False
    """Whether the request takes effect all the same, and just its answer is lost."""
    until: threading.Event | None = None
    """Do nothing before this is set."""
    then: Callable[[], None] = lambda: None
    """Called before it is answered."""


NO_FAULT = Fault(status=0)


class UnreliableStore:
    """Stands before a server, notes what is asked of it, and brings about faults."""

    def __init__(self, server: S3Server) -> None:
        self.requests: list[str] = []
        """Method and key of each."""
        self.copied: list[str] = []
        """Keys that the store was told to copy other objects to."""
        self.fault: Callable[[str], Fault | None] = lambda _: None
        """Called with method and key."""
        self._behind = urlsplit(server.endpoint).netloc
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def puts(self) -> list[str]:
        """Return the keys that were put, in that order, and forget all requests."""
        found = [request.partition(" ")[2] for request in self.requests if request.startswith("PUT ")]
        self.requests.clear()
        return found

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        path, _, query = handler.path.partition("?")
        request = f"{handler.command} {unquote(path).removeprefix(f'/{BUCKET}/')}"
        self.requests.append(f"{request}?{query}" if "uploadId" in query else request)
        if "x-amz-copy-source" in handler.headers:
            self.copied.append(request.removeprefix("PUT "))
        fault = self.fault(request) or NO_FAULT
        if fault.until is not None:
            fault.until.wait(30)
        status, headers, content = 0, {}, b""
        if not fault.status or fault.done:
            status, headers, content = self._forward(handler, body)
        fault.then()
        if fault.status:
            status, headers = fault.status, {}
            content = f"<Error><Code>{fault.code}</Code><Id>{KEYS['AWS_ACCESS_KEY_ID']}</Id></Error>".encode()
        with suppress(OSError):  # who asked may have gone
            handler.send_response_only(status)
            for name, value in headers.items():
                handler.send_header(name, value)
            if "Content-Length" not in headers:
                handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            if handler.command != "HEAD":
                handler.wfile.write(content)

    def _forward(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection(self._behind, timeout=30)
        try:
            connection.request(handler.command, handler.path, body, dict(handler.headers.items()))
            answer = connection.getresponse()
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP_BY_HOP}
            return answer.status, headers, answer.read()
        finally:
            connection.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer = self._answer

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def handle(self) -> None:
                with suppress(ConnectionError):  # who asked may be killed
                    super().handle()

            def handle_any(self) -> None:
                answer(self)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815 - names of http.server

        return Handler


_HOP_BY_HOP = ("connection", "transfer-encoding", "date", "server")


@contextmanager
def s3_server_process() -> Iterator[S3Server]:
    """Run a server with one empty bucket in a process of its own, so as not to slow this one."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(send,), daemon=True)
    process.start()
    try:
        server = S3Server(receive.recv())
        yield server
    finally:
        process.kill()
        process.join()


def _serve(send: Connection) -> None:
    with s3_server() as server:
        send.send(server.endpoint)
        threading.Event().wait()


class SlowNetwork:
    """Passes bytes on to a server, no more a second than a rate allows, in its own process; 0 is no limit."""

    def __init__(self, endpoint: str, bytes_a_second: float) -> None:
        self.endpoint = endpoint
        self._behind = urlsplit(endpoint)
        self._rate = bytes_a_second
        self._process: Any = None

    def __enter__(self) -> Self:
        if self._rate:
            context = multiprocessing.get_context("spawn")
            receive, send = context.Pipe(duplex=False)
            arguments = (str(self._behind.hostname), self._behind.port, self._rate, send)
            self._process = context.Process(target=_pass_on, args=arguments, daemon=True)
            self._process.start()
            self.endpoint = f"http://127.0.0.1:{receive.recv()}"
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()


def _pass_on(host: str, port: int, rate: float, send: Connection) -> None:
    free_at = 0.0

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, slowly: bool) -> None:
        nonlocal free_at
        with suppress(ConnectionError):
            while data := await reader.read(_PIECE_BYTES):
                if slowly:
                    free_at = max(free_at, time.monotonic()) + len(data) / rate
                    await asyncio.sleep(free_at - time.monotonic())
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection(host, port)
        await asyncio.gather(copy(reader, ours, slowly=True), copy(theirs, writer, slowly=False))

    async def run() -> None:
        listening = await asyncio.start_server(serve, "127.0.0.1", 0)
        send.send(listening.sockets[0].getsockname()[1])
        await asyncio.Event().wait()

    asyncio.run(run())


_PIECE_BYTES = 64 * 1024
