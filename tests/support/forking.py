"""Commands that start in milliseconds: in processes forked from one that has imported everything.

A test process begins one server and starts commands through it; a shell does so by running this file. A
command has arguments, variables, a directory, streams and a limit of open files of its own, and signals as an
interpreter finds them. What is read when an interpreter starts (``PYTHON...``, the locale) is the server's.
"""

import atexit
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, NoReturn

_IMPORTED = """
    futureagi_async.__main__ futureagi_async.cli futureagi_async._http.downloads
    futureagi_async.testing._standin.server
    futureagi_async.analysis.charts futureagi_async.analysis.comparison
    futureagi_async.analysis.reading futureagi_async.analysis.summary
    futureagi_async.export.job futureagi_async.export.formats.parquet
    futureagi_async.sync.job futureagi_async.sync.delta futureagi_async.sync.duckdb
    aiohttp.web altair anyio._backends._asyncio cattrs cyclopts.help deltalake duckdb obstore.store
    pandas pyarrow.parquet scipy.stats
""".split()
# Only what has no threads can be forked safely: OpenBLAS, pyarrow and deltalake would start some.
_WITHOUT_THREADS = {
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "_RJEM_MALLOC_CONF": "background_thread:false",
}


@cache
def _server() -> str:
    """Return the address of this process's server, which the first call starts."""
    import subprocess
    import tempfile

    folder = tempfile.TemporaryDirectory()
    address = f"{folder.name}/commands"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        server = subprocess.Popen(
            [sys.executable, "-c", f"from tests.support import forking; forking.serve({listener.fileno()})"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | _WITHOUT_THREADS | {"PYTHONWARNINGS": "error"},
            cwd=Path(__file__).parents[2],
            pass_fds=[listener.fileno()],
        )

    @atexit.register
    def end() -> None:
        server.communicate()  # closes its stdin
        folder.cleanup()

    assert server.stdout is not None
    assert server.stdout.readline(), "the server that starts commands could not begin"
    return address


def command_line() -> list[str]:
    """Return the words that run a command in a shell, without its arguments."""
    return [sys.executable, "-I", "-S", __file__, _server()]


class Command:
    """A command in a process of its own, with what tests use of `subprocess.Popen`."""

    stdout: IO[str]
    stderr: IO[str]

    def __init__(
        self,
        arguments: Sequence[str],
        variables: Mapping[str, str],
        folder: Path,
        streams: Sequence[int] = (0, 1, 2),
        server: str | None = None,
    ) -> None:
        opened = [number for number in range(3) if _is_open(streams[number])]
        order = {
            "arguments": list(arguments),
            "variables": dict(variables),
            "folder": str(folder),
            "streams": opened,
            "open_files": resource.getrlimit(resource.RLIMIT_NOFILE),
        }
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(server or _server())
        socket.send_fds(self._server, [b"-"], [streams[number] for number in opened])
        self._server.sendall(json.dumps(order).encode())
        self._server.shutdown(socket.SHUT_WR)
        self.pid = self._receive()
        self.returncode: int | None = None

    @classmethod
    def on_pipes(cls, arguments: Sequence[str], variables: Mapping[str, str], folder: Path) -> "Command":
        """Start a command whose outputs are read here."""
        (out, to_out), (err, to_err) = os.pipe(), os.pipe()
        command = cls(arguments, variables, folder, (0, to_out, to_err))
        command.stdout, command.stderr = os.fdopen(out), os.fdopen(err)
        os.close(to_out)
        os.close(to_err)
        return command

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()
        self.stdout.close()
        self.stderr.close()

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Return both outputs; a command that takes longer is killed."""
        kill = threading.Timer(timeout, os.kill, (self.pid, signal.SIGKILL))
        err: list[str] = []
        read = threading.Thread(target=lambda: err.append(self.stderr.read()))
        for thread in (kill, read):
            thread.start()
        out = self.stdout.read()
        read.join()
        kill.cancel()
        self.wait(timeout)
        return out, err[0]

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code, or the negative number of the signal that ended it."""
        if self.returncode is None:
            self._server.settimeout(timeout)
            self.returncode = self._receive()
            self._server.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the command has ended."""
        with suppress(BlockingIOError):
            self.wait(0)
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the command, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def _receive(self) -> int:
        if number := self._server.recv(4):
            return int.from_bytes(number, signed=True)
        raise ConnectionError("the server that starts commands has ended")


def _is_open(descriptor: int) -> bool:
    with suppress(OSError):
        os.fstat(descriptor)
        return True
    return False


def serve(descriptor: int) -> None:
    """Start what is ordered at a listening socket, until stdin ends."""
    for name in _IMPORTED:
        with suppress(ImportError, Warning):  # whoever needs it will be told
            importlib.import_module(name)
    threads = Path("/proc/self/task")
    assert not threads.exists() or len(list(threads.iterdir())) == 1, "an import started threads"
    gc.collect()
    gc.freeze()  # collecting would copy the memory that the processes share
    running: dict[int, socket.socket] = {}
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: _tell_ends(running))
    print("ready", flush=True)  # noqa: T201 - to the process that began it
    with socket.socket(fileno=descriptor) as listener:
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            _, streams, _, _ = socket.recv_fds(connection, 1, 3)
            order = json.load(connection.makefile())
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
            if not (pid := os.fork()):
                _run(order, streams)
            running[pid] = connection
            _tell(connection, pid)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
            for stream in streams:
                os.close(stream)


def _tell_ends(running: dict[int, socket.socket]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with running.pop(pid) as connection:
            _tell(connection, os.waitstatus_to_exitcode(status))


def _tell(connection: socket.socket, number: int) -> None:
    with suppress(BrokenPipeError):  # whoever ordered it has ended
        connection.sendall(number.to_bytes(4, signed=True))


def _run(order: dict[str, Any], streams: Sequence[int]) -> NoReturn:
    """Become a command, and end as an interpreter does, but without taking all modules apart."""
    code = 1
    try:
        _become(order, streams)
        code = importlib.import_module("futureagi_async.__main__").main()
        for thread in set(threading.enumerate()) - {threading.main_thread()}:
            if not thread.daemon:
                thread.join()
    except BaseException:  # noqa: BLE001 - which ends the process, as the interpreter does
        sys.excepthook(*sys.exc_info())
    atexit._run_exitfuncs()
    gc.collect()  # what was not closed warns
    try:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
    except OSError:
        sys.excepthook(*sys.exc_info())
        code = 120
    os._exit(code)


def _become(order: dict[str, Any], streams: Sequence[int]) -> None:
    for number in range(3):
        os.close(number)
    for number, stream in zip(order["streams"], streams, strict=True):
        os.dup2(stream, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    resource.setrlimit(resource.RLIMIT_NOFILE, order["open_files"])
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["variables"])
    time.tzset()
    sys.argv = ["futureagi-async", *order["arguments"]]
    sys.stdin, sys.stdout, sys.stderr = (
        _open(sys.stdin, "r"),
        _open(sys.stdout, "w"),
        _open(sys.stderr, "w", 1),
    )
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in (signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM):
        signal.signal(name, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _open(stream: Any, mode: str, buffering: int = -1) -> Any:
    """Open a standard stream anew, as the interpreter does: one that is closed is None."""
    if _is_open(stream.fileno()):
        return os.fdopen(stream.fileno(), mode, buffering, stream.encoding, stream.errors, closefd=False)
    return None


if __name__ == "__main__":
    opened = [number for number in range(3) if _is_open(number)]
    command = Command(sys.argv[2:], os.environ, Path.cwd(), server=sys.argv[1])
    for number in opened:
        os.close(number)  # or the other end of a pipe would not learn that the command closed it
    code = command.wait()
    os._exit(code if code >= 0 else 128 - code)
