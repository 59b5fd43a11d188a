"""What a program did to the files in a folder, by strace, and what a power cut may then leave of them.

Of what was written to a file and not synced since, any sectors may be there or not, in any order. Of new,
renamed and removed names, any may be missing whose directory was not synced since. Left out is what would
be too much to expect of a disk: renaming is atomic, a sector of 512 bytes is written or not, and what was
synced stays.
"""

import os
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Literal, TypeAlias

import attrs

SECTOR = 512
DIRECTORY = 0
"""The number of every directory, in place of a file's."""

_CALLS = (
    "?open,openat,?creat,close,write,writev,pwrite64,pwritev,lseek,ftruncate,fallocate,?rename,renameat,renameat2,"
    "?link,linkat,?symlink,symlinkat,?unlink,unlinkat,?mkdir,mkdirat,?rmdir,fsync,fdatasync,sync_file_range"
)
_LINE = re.compile(r"\d+ +(\w+)\((.*)\) += (-?\d+)")
_UNFINISHED = re.compile(r"(\d+) +(.*) <unfinished \.\.\.>")
_RESUMED = re.compile(r"(\d+) +<\.\.\. \w+ resumed>(.*)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@attrs.define(frozen=True)
class Write:
    """Bytes were written into a file, which is a number, as its names may change."""

    file: int
    offset: int
    data: bytes = attrs.field(repr=False)


@attrs.define(frozen=True)
class Truncate:
    """A file got another size."""

    file: int
    size: int


@attrs.define(frozen=True)
class Sync:
    """A file was brought onto the disk."""

    file: int


@attrs.define(frozen=True)
class Rename:
    """Names changed, at once: which file each stands for from now on, ``None`` for one that is gone."""

    names: Mapping[PurePath, int | None]

    @property
    def directory(self) -> PurePath:
        """The directory that has to be synced to bring it onto the disk."""
        return max(self.names, key=lambda name: self.names[name] is not None).parent


@attrs.define(frozen=True)
class SyncDirectory:
    """The names in a directory were brought onto the disk."""

    path: PurePath


Event: TypeAlias = Write | Truncate | Sync | Rename | SyncDirectory
Fate: TypeAlias = Literal["lost", "kept", "torn"]
"""What becomes of what was not synced: ``torn`` is any part of it, in any order."""


def can_record() -> bool:
    """Whether system calls can be recorded here."""
    if shutil.which("strace") is None:
        return False
    return (
        subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False).returncode == 0
    )


def record(command: Sequence[str], folder: Path) -> list[Event]:
    """Run a command, and return what it did to the files in a folder, in the order in which it did."""
    with tempfile.NamedTemporaryFile() as file:
        tracing = ["strace", "-f", "-xx", "-s", str(2**26), "-e", f"trace={_CALLS}", "-o", file.name]
        subprocess.run([*tracing, *command], check=True)
        lines = Path(file.name).read_text().splitlines()
    recorder = _Recorder(folder)
    return [event for call in _whole_calls(lines) for event in recorder.understand(*call)]


def _whole_calls(lines: Sequence[str]) -> Iterator[tuple[str, str, int]]:
    """Yield name, arguments and result of each call that succeeded; those of threads may be interleaved."""
    begun: dict[str, str] = {}
    for line in lines:
        if found := _UNFINISHED.fullmatch(line):
            begun[found[1]] = found[2]
            continue
        if found := _RESUMED.fullmatch(line):
            line = f"{found[1]} {begun.pop(found[1])}{found[2]}"
        if (found := _LINE.match(line)) and int(found[3]) >= 0:
            yield found[1], found[2], int(found[3])


class _Recorder:
    """Knows which file each descriptor and each name stands for, and so understands calls."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[PurePath, int] = {folder: DIRECTORY}
        self._files: dict[int, int] = {}
        self._offsets: dict[int, int] = {}
        self._directories: dict[int, PurePath] = {}
        self._last = DIRECTORY

    def understand(self, name: str, arguments: str, result: int) -> Iterator[Event]:
        """Yield what a call did to the folder."""
        match name:
            case "open" | "openat":
                yield from self._opened(self._paths(arguments)[0], arguments, result)
            case "close":
                self._forget(int(arguments))
            case "lseek":
                self._offsets[_descriptor(arguments)] = result
            case "rename" | "renameat" | "renameat2":
                yield from self._renamed(*self._paths(arguments))
            case "unlink" | "unlinkat" | "rmdir":
                yield from self._named(self._paths(arguments)[0], None)
            case "mkdir" | "mkdirat":
                yield from self._named(self._paths(arguments)[0], DIRECTORY)
            case _ if arguments[0].isdigit():
                yield from self._done_to(_descriptor(arguments), name, arguments, result)
            case _:
                assert not any(map(self._is_inside, self._paths(arguments))), f"{name} is not modelled"

    def _opened(self, path: PurePath, arguments: str, descriptor: int) -> Iterator[Event]:
        self._forget(descriptor)
        if not self._is_inside(path):
            return
        if path not in self._names:
            self._last += 1
            yield from self._named(path, self._last)
        if self._names[path] == DIRECTORY:
            self._directories[descriptor] = path
            return
        self._files[descriptor], self._offsets[descriptor] = self._names[path], 0
        assert "O_TRUNC" not in arguments
        assert "O_APPEND" not in arguments

    def _renamed(self, before: PurePath, after: PurePath) -> Iterator[Event]:
        if self._is_inside(before):
            self._names[after] = self._names.pop(before)
            yield Rename({before: None, after: self._names[after]})

    def _named(self, path: PurePath, file: int | None) -> Iterator[Event]:
        if self._is_inside(path):
            self._names.pop(path, None)
            if file is not None:
                self._names[path] = file
            yield Rename({path: file})

    def _done_to(self, descriptor: int, name: str, arguments: str, result: int) -> Iterator[Event]:
        if descriptor in self._directories:
            assert name in ("fsync", "fdatasync")
            yield SyncDirectory(self._directories[descriptor])
        if descriptor not in self._files:
            return
        file = self._files[descriptor]
        match name:
            case "write" | "writev":
                yield Write(file, self._offsets[descriptor], _data(arguments, result))
                self._offsets[descriptor] += result
            case "pwrite64":
                yield Write(file, int(arguments.rsplit(", ", 1)[1]), _data(arguments, result))
            case "ftruncate":
                yield Truncate(file, int(arguments.rsplit(", ", 1)[1]))
            case "fsync" | "fdatasync":
                yield Sync(file)
            case _:
                raise AssertionError(f"{name} is not modelled")

    def _forget(self, descriptor: int) -> None:
        self._files.pop(descriptor, None)
        self._directories.pop(descriptor, None)

    def _paths(self, arguments: str) -> list[PurePath]:
        """Return the paths that a call names; those that are not absolute are in a directory that is open."""
        paths = [PurePath(os.fsdecode(_bytes(text))) for text in _TEXT.findall(arguments)]
        if arguments[0].isdigit():
            directory = self._directories.get(_descriptor(arguments), PurePath("/elsewhere"))
            paths = [directory / path for path in paths]
        return paths

    def _is_inside(self, path: PurePath) -> bool:
        return path.is_relative_to(self._folder)


def _descriptor(arguments: str) -> int:
    return int(arguments.split(",", 1)[0])


def _data(arguments: str, size: int) -> bytes:
    data = b"".join(map(_bytes, _TEXT.findall(arguments)))[:size]
    assert len(data) == size, "strace did not record all of it"
    return data


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


@attrs.define(frozen=True)
class PowerCut:
    """A moment, and what becomes of what was not synced until then."""

    after: int
    """How many events."""
    content: Fate
    names: Fate


State: TypeAlias = dict[PurePath, bytes | None]
"""What each name stands for: a file's content, or ``None`` for a directory."""


def state_after(events: Sequence[Event], cut: PowerCut, chance: random.Random) -> State:
    """Return what the disk may hold after a power cut."""
    done = events[: cut.after]
    names: dict[PurePath, int] = {}
    for change in _kept_names(done, cut.names, chance):
        for path, file in change.names.items():
            if file is None:
                names.pop(path, None)
            else:
                names[path] = file
    state: State = {}
    for path, file in names.items():
        state[path] = None if file == DIRECTORY else _content(done, file, cut.content, chance)
    made = {
        path for event in done if isinstance(event, Rename) for path, file in event.names.items() if not file
    }
    lost = made - state.keys()
    return {path: content for path, content in state.items() if lost.isdisjoint(path.parents)}


def _kept_names(done: Sequence[Event], fate: Fate, chance: random.Random) -> list[Rename]:
    synced = {event.path: place for place, event in enumerate(done) if isinstance(event, SyncDirectory)}
    return [
        event
        for place, event in enumerate(done)
        if isinstance(event, Rename) and (place < synced.get(event.directory, -1) or _survives(fate, chance))
    ]


def _survives(fate: Fate, chance: random.Random) -> bool:
    return fate == "kept" or (fate == "torn" and chance.random() < 0.5)


def _content(done: Sequence[Event], file: int, fate: Fate, chance: random.Random) -> bytes:
    """Return a file's content: what was synced, and of the rest what survives, sector by sector."""
    content = bytearray()
    own = [event for event in done if isinstance(event, Write | Truncate | Sync) and event.file == file]
    synced = max((place for place, event in enumerate(own) if isinstance(event, Sync)), default=-1)
    for place, event in enumerate(own):
        if isinstance(event, Truncate):
            if place < synced or _survives(fate, chance):
                _resize(content, event.size)
        elif isinstance(event, Write):
            if place < synced:
                _put(content, event.offset, event.data)
                continue
            if fate == "torn" and chance.random() < 0.5:  # the size is there, the bytes are not all
                _resize(content, max(len(content), event.offset + len(event.data)))
            for offset, piece in _sectors(event):
                if _survives(fate, chance):
                    _put(content, offset, piece)
    return bytes(content)


def _sectors(write: Write) -> Iterator[tuple[int, bytes]]:
    start = 0
    while start < len(write.data):
        stop = start + SECTOR - (write.offset + start) % SECTOR
        yield write.offset + start, write.data[start:stop]
        start = stop


def _put(content: bytearray, offset: int, data: bytes) -> None:
    _resize(content, max(len(content), offset + len(data)))
    content[offset : offset + len(data)] = data


def _resize(content: bytearray, size: int) -> None:
    del content[size:]
    content.extend(bytes(size - len(content)))
