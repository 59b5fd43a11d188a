"""The ladder of modules: who may import whom, and which third parties."""

import ast
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path

import attrs

import futureagi_async

PACKAGE = "futureagi_async"
ROOT = Path(futureagi_async.__file__).parent

FLOOR = ("errors", "options", "filters")
LEAVES = (*FLOOR, "columns", "sources", "models", "models.*", "events")
PUBLIC = ("", "testing", "export", "events")
"""What users may import, and so our own commands and integrations; ``""`` is the package itself."""

# module: (modules of ours, third parties); the first pattern that fits counts
TABLE: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "": (
        (*LEAVES, "_fanout", "_reading", "_version", "bulk", "export", "naming", "session", "source_sets"),
        (),
    ),
    "__main__": (("cli", "cli.*"), ()),
    "_version": ((), ()),
    "errors": ((), ("attrs",)),
    "options": ((), ("attrs",)),
    "filters": ((), ("attrs",)),
    "columns": (("filters",), ("attrs",)),
    "sources": (FLOOR, ("attrs",)),
    "naming": ((*FLOOR, "sources"), ()),
    "source_sets": ((*FLOOR, "naming", "sources"), ()),
    "models": ((*FLOOR, "sources", "models.*"), ("attrs",)),
    "models.*": ((*FLOOR, "sources", "models.*"), ("attrs",)),
    "events": ((*FLOOR, "sources", "models", "models.*"), ("attrs",)),
    "_sansio.replies": ((*LEAVES, "_sansio.*"), ("attrs", "msgspec")),
    "_sansio.decoding": (("_sansio.decoding.*",), ()),
    "_sansio.decoding.*": (
        (*LEAVES, "_sansio.decoding", "_sansio.decoding.*"),
        ("attrs", "cattrs", "msgspec"),
    ),
    "_sansio.covering": (("_sansio.covering.*",), ()),
    "_sansio.covering.*": ((*LEAVES, "_sansio.covering.*"), ("attrs",)),
    "_sansio": ((), ()),
    "_sansio.*": ((*LEAVES, "_sansio.*"), ("attrs",)),
    "_clock": ((), ("anyio",)),
    "_transport": ((*LEAVES, "_sansio.*", "_version"), ("aiohttp", "anyio", "yarl")),
    "_download": (
        ("errors", "_sansio.addresses", "_sansio.downloads", "_transport", "_version"),
        ("aiohttp", "attrs", "yarl"),
    ),
    "_telling": ((*LEAVES, "_sansio.*"), ("attrs",)),
    "_slots": ((), ("anyio",)),
    "_requester": (
        (*LEAVES, "_sansio.*", "_transport", "_clock", "_slots", "_telling"),
        ("aiolimiter", "anyio", "attrs"),
    ),
    "_marks": ((*LEAVES, "_sansio.*"), ("msgspec",)),
    "_reading": ((*LEAVES, "_sansio.*", "_marks"), ("attrs",)),
    "_spool": ((*LEAVES, "_reading"), ("attrs",)),
    "_handover": (("errors",), ("anyio",)),
    "_fanout": ((*LEAVES, "_sansio.*", "_clock", "_handover", "_marks", "_reading"), ("anyio", "attrs")),
    "bulk": ((*LEAVES, "_clock", "_fanout", "_handover", "_reading", "_spool"), ("anyio", "attrs")),
    "_endpoint_reads": (
        (*LEAVES, "_sansio.*", "_checks", "_pages", "_reading", "_requester"),
        (),
    ),
    "_each": ((*LEAVES, "_sansio.*", "_fanout", "_handover"), ("anyio", "attrs")),
    "_many_reads": ((*LEAVES, "_each", "_endpoint_reads"), ()),
    "_pages": ((*LEAVES, "_sansio.*", "_reading", "_requester"), ("anyio", "attrs")),
    "_checks": ((*LEAVES, "_sansio.*"), ()),
    "session": (
        (
            *LEAVES,
            "_sansio.*",
            "_checks",
            "_clock",
            "_fanout",
            "_many_reads",
            "_marks",
            "_pages",
            "_reading",
            "_requester",
            "_transport",
            "bulk",
        ),
        ("anyio", "attrs"),
    ),
    "export.audio.audio_file": ((*FLOOR, "_sansio.downloads", "export.staging.files"), ()),
    "export.audio.recordings": (
        (*FLOOR, "_clock", "_download", "_sansio.*", "export.*"),
        ("anyio", "attrs"),
    ),
    "export.formats.details": ((*LEAVES, "_sansio.decoding", "_sansio.decoding.*"), ("msgspec",)),
    "export.formats.arrow_*": (
        (*LEAVES, "_sansio.decoding.wire", "_sansio.decoding.withholding", "export.formats.*"),
        ("attrs", "msgspec"),
    ),
    "export.formats.fillers": ((*LEAVES, "_sansio.decoding.copying", "export.formats.*"), ()),
    "export.formats.shapes": ((*LEAVES, "_sansio.decoding.wire", "export.formats.*"), ("attrs", "msgspec")),
    "export.formats.compressed": (("errors",), ("backports", "compression")),
    "export.staging.workspace": ((*LEAVES, "_version", "export.*"), ()),
    "export.summing": ((*LEAVES, "_version", "export.*"), ("attrs", "msgspec")),
    "export": ((*LEAVES, "export.*"), ("anyio", "attrs", "pyarrow")),
    "export.formats.*": ((*LEAVES, "export.formats.*"), ("attrs", "msgspec", "pyarrow")),
    "export.staging.*": ((*LEAVES, "export.formats.*", "export.staging.*"), ("attrs", "msgspec")),
    "export.audio.*": ((*LEAVES, "export.staging.*", "export.audio.*"), ("anyio", "attrs", "msgspec")),
    "export.*": ((*LEAVES, "export.*"), ("anyio", "attrs", "msgspec")),
    "cli": ((*PUBLIC, "cli.*"), ("anyio", "attrs", "cyclopts", "rich")),
    "cli.*": ((*PUBLIC, "cli", "cli.*"), ("anyio", "attrs", "cyclopts", "msgspec", "rich")),
    "integrations": ((), ()),
    "integrations.fastapi": (
        (*PUBLIC, "export.formats.jsonl", "integrations._bodies"),
        ("anyio", "fastapi", "starlette"),
    ),
    "integrations._bodies": ((*PUBLIC, "export.formats.jsonl"), ("attrs",)),
    "integrations.*": (PUBLIC, ("anyio", "attrs", "opentelemetry")),
    "testing": (("testing.*",), ("aiohttp", "anyio", "attrs", "pytest")),
    "testing.*": (("testing", "testing.*"), ("aiohttp", "anyio", "attrs", "multidict", "pytest", "yarl")),
}
IMPURE = {"asyncio", "anyio", "os", "random", "secrets", "socket", "threading", "time"}
OPTIONAL = {
    "cyclopts": ("cli", "cli.*"),
    "rich": ("cli", "cli.*"),
    "fastapi": ("integrations.fastapi",),
    "starlette": ("integrations.fastapi",),
    "opentelemetry": ("integrations.*",),
    "pyarrow": (),
    "backports": (),
    "compression": (),
}
"""Optional libraries: the modules that may import them at their top."""


@attrs.frozen
class Import:
    """One name imported by one of our modules."""

    module: str
    """The importing module, without the package's name."""
    target: str
    """The imported module, absolute."""
    line: int
    at_top: bool
    """Whether it stands outside of functions."""

    @property
    def ours(self) -> str | None:
        """Which of our modules is imported, without the package's name."""
        name, _, rest = self.target.partition(".")
        return rest if name == PACKAGE else None

    def __str__(self) -> str:
        return f"{MODULES[self.module].relative_to(ROOT.parent)}:{self.line} imports {self.target}"


MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").removesuffix("."): path
    for path in sorted(ROOT.rglob("*.py"))
}


def imports_in(module: str) -> Iterator[Import]:
    """Find every import of a module, in functions and for type checkers too."""
    nodes: list[tuple[ast.AST, bool]] = [(ast.parse(MODULES[module].read_text(), MODULES[module].name), True)]
    while nodes:
        node, at_top = nodes.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            for target in targets_of(node):
                yield Import(module, target, node.lineno, at_top)
        elif not isinstance(node, ast.expr):
            at_top = at_top and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            nodes += [(child, at_top) for child in ast.iter_child_nodes(node)]


def targets_of(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """Name the modules that an import statement loads; relative ones are refused by another test."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    for alias in node.names:
        name = f"{base}.{alias.name}"
        yield name if name.removeprefix(f"{PACKAGE}.") in MODULES else base


IMPORTS = {module: tuple(dict.fromkeys(imports_in(module))) for module in MODULES}
RULES = {
    module: next((rule for pattern, rule in TABLE.items() if fnmatch(module, pattern)), None)
    for module in MODULES
}


def fits(name: str, patterns: tuple[str, ...]) -> bool:
    """Tell whether a module's name fits one of the patterns."""
    return any(fnmatch(name, pattern) for pattern in patterns)


def names(found: list[Import]) -> str:
    """Say which imports are wrong."""
    return "; ".join(map(str, found))


def test_every_module_has_a_place() -> None:
    """The table has a rule for each."""
    assert not [str(MODULES[module]) for module, rule in RULES.items() if rule is None]


def test_modules_import_downwards_only() -> None:
    """A module imports those of ours that its place on the ladder allows."""
    wrong = [
        found
        for module, rule in RULES.items()
        for found in IMPORTS[module]
        if rule is not None and found.ours is not None and not fits(found.ours, rule[0])
    ]
    assert not wrong, names(wrong)


def test_third_parties_stay_in_their_places() -> None:
    """A module imports the third parties that its place allows, besides the standard library."""
    wrong = [
        found
        for module, rule in RULES.items()
        for found in IMPORTS[module]
        if rule is not None
        and found.target.split(".")[0] not in {*sys.stdlib_module_names, PACKAGE, *rule[1]}
    ]
    assert not wrong, names(wrong)


def test_pure_floor_is_pure() -> None:
    """Nothing in the pure floor can read a clock, roll dice, wait, or touch network and environment."""
    pure = [module for module in MODULES if module.startswith("_sansio")]
    wrong = [found for module in pure for found in IMPORTS[module] if found.target.split(".")[0] in IMPURE]
    assert len(pure) > 20
    assert not wrong, names(wrong)


def test_only_two_files_know_aiohttp() -> None:
    """One client file imports it for the API and one, without keys, for recordings; the stand-in may."""
    users = {
        module
        for module in MODULES
        if any(found.target.split(".")[0] == "aiohttp" for found in IMPORTS[module])
    }
    assert {module for module in users if not module.startswith("testing")} == {"_download", "_transport"}


def test_bulk_knows_no_wire() -> None:
    """The bulk reader knows which pages to ask for, not how they look, nor who fetches them."""
    known = {found.ours for found in (*IMPORTS["bulk"], *IMPORTS["_fanout"])}
    assert "_sansio.covering" in known
    assert not known & {"session", "_requester", "_transport"}
    pure = {name for name in known if name and name.startswith("_sansio.") and "covering" not in name}
    assert pure <= {"_sansio.retrying"}


def test_optional_libraries_are_optional() -> None:
    """What may be missing is imported at a module's top in its own folder only; pyarrow in functions only."""
    wrong = [
        found
        for module in MODULES
        for found in IMPORTS[module]
        if found.at_top and not fits(module, OPTIONAL.get(found.target.split(".")[0], ("*",)))
    ]
    assert not wrong, names(wrong)


def graph() -> dict[str, set[str]]:
    """Return which of our modules each one imports, in functions and for type checkers too."""
    return {module: {found.ours for found in IMPORTS[module] if found.ours in MODULES} for module in MODULES}


def test_there_are_no_cycles() -> None:
    """No module imports itself, by whatever way round, in functions and for types included."""
    left = graph()
    while free := [module for module, targets in left.items() if not targets & left.keys()]:
        for module in free:
            del left[module]
    assert not left, f"in a cycle, or above one: {', '.join(left)}; for example {names(one_cycle(left))}"


def one_cycle(left: dict[str, set[str]]) -> list[Import]:
    """Follow imports from any module until one comes up again."""
    path = [next(iter(left))]
    while path[-1] not in path[:-1]:
        path.append(min(target for target in left[path[-1]] if target in left))
    steps = pairwise(path[path.index(path[-1]) :])
    return [next(found for found in IMPORTS[one] if found.ours == other) for one, other in steps]


def test_every_import_is_absolute() -> None:
    """Modules of ours are imported by their full names, so that each line says whose they are."""
    relative = [
        f"{path}:{node.lineno}"
        for path in MODULES.values()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not relative


def test_imports_are_found_at_all() -> None:
    """The search sees packages, modules and single names, at the top and in functions."""
    assert Import("session", f"{PACKAGE}.bulk", 13, at_top=True).ours == "bulk"
    assert Import("session", "anyio", 3, at_top=True).ours is None
    assert {"bulk", "_transport", "_many_reads"} <= graph()["session"]
    assert "errors" in graph()["_sansio.bodies"]
    assert len(MODULES) > 25
    assert fits("models.call", LEAVES)
    assert not fits("session", LEAVES)
