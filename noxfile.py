"""The project's tasks: ``nox -l`` lists them; ``--no-venv`` runs them in the active environment."""

import shutil
import sys
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True

LONG = [
    "proof",
    "worlds",
    "faults",
    "soak",
    "torture",
    "fuzz",
    "crash",
    "buckets",
    "shares",
    "powercut",
    "syncs",
    "intervals",
]


def _install(session: nox.Session, *requirements: str) -> None:
    if session.virtualenv.venv_backend != "none":
        session.install(*(requirements or ("-e", ".[all,test]")))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting, spelling, and who may import whom."""
    _install(session)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("codespell")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Check types: the package with mypy, the public API with mypy and pyright."""
    _install(session, "-e", ".[all,test,ray]")
    session.run("mypy")
    session.run("pyright")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the test suite."""
    _install(session)
    session.run("pytest", *session.posargs)


@nox.session(python=["3.11", "3.12", "3.13"])
def pythons(session: nox.Session) -> None:
    """Run the test suite on each supported Python that is on this machine."""
    _install(session)
    session.run("pytest", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """Run the tests that the suite leaves out: the same promises, longer and more often."""
    _install(session)
    session.run("pytest", "-m", "slow or hypothesis", "--hypothesis-profile=slow", *session.posargs)


@nox.session
def ray(session: nox.Session) -> None:
    """Run what needs Ray, on a small one on this machine: exports, and the example in docs/examples."""
    _install(session, "-e", ".[all,test,ray]")
    tests = ("-m", "slow or not slow", "tests/integrations/test_ray.py")
    session.run("pytest", "-n", "0", *tests, *session.posargs, env={"RAY": "1"})


@nox.session
def browser(session: nox.Session) -> None:
    """Open reports in a Chromium that is on the PATH: no error, no request, no overflow."""
    _install(session, "-e", ".[all,test]", "playwright>=1.48")
    session.run("pytest", "-n", "0", "tests/browser", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site into docs/_build/html; a warning is an error."""
    _install(session, "-e", ".[docs]")
    session.run("sphinx-build", "-q", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")


@nox.session
def links(session: nox.Session) -> None:
    """Ask every address on the site whether it is still there; needs a network."""
    _install(session, "-e", ".[docs]")
    session.run("sphinx-build", "-q", "-b", "linkcheck", "docs", "docs/_build/linkcheck")


@nox.session
def build(session: nox.Session) -> None:
    """Build sdist and wheel into dist/, and use the wheel in an environment that has nothing else."""
    _install(session, "build", "twine")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build")  # the wheel is built from the sdist
    session.run("twine", "check", "--strict", *map(str, Path("dist").iterdir()))
    empty = Path(session.create_tmp(), "empty")
    session.run(sys.executable, "-m", "venv", "--clear", str(empty), external=True)
    python = str(empty / ("Scripts" if sys.platform == "win32" else "bin") / "python")
    (wheel,) = Path("dist").glob("*.whl")
    for step in (
        ["pip", "install", "-q", f"{wheel}[cli]"],
        ["pip", "check"],
        ["futureagi_async", "export", "--demo", "-o", str(empty / "calls.jsonl")],
    ):
        session.run(python, "-m", *step, external=True)


@nox.session
def model(session: nox.Session) -> None:
    """Search for a lie with hypothesis: 2,000 examples of a list read while it changes."""
    _install(session)
    thorough = {"HYPOTHESIS_PROFILE": "thorough"}
    session.run("pytest", "-q", "tests/sansio/test_covering_machine.py", env=thorough)


@nox.session
def azure(session: nox.Session) -> None:
    """Export into Azurite, which npm installs; skipped where there is no node."""
    if shutil.which("npm") is None:
        session.skip("Azurite needs node and npm")
    _install(session)
    folder = Path(session.create_tmp()).resolve()
    session.run("npm", "install", "--silent", "--prefix", str(folder), "azurite@3", external=True)
    azurite = folder / "node_modules" / ".bin" / "azurite-blob"
    session.run("pytest", "-n", "0", "tests/export/test_azure.py", env={"AZURITE": str(azurite)})


@nox.session
def engines(session: nox.Session) -> None:
    """Run the scripts of docs/many-machines.md on Dask, Spark (where there is Java) and Daft."""
    _install(session, "-e", ".[all,test]", "dask", "distributed", "pyspark", "daft")
    session.run("pytest", "-n", "0", "tests/integrations/test_engines.py", *session.posargs)


@nox.session
def long(session: nox.Session) -> None:
    """Run the checks of tests/long: all of them, or those that are named."""
    _install(session)
    for command in session.posargs or LONG:
        if command == "powercut" and shutil.which("strace") is None:
            session.warn("powercut needs strace, and is left out")
        else:
            session.run("python", "-m", "tests.long", command)
