"""The project's tasks: ``nox -l`` lists them; ``--no-venv`` runs them in the active environment."""

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True


def _install(session: nox.Session) -> None:
    if session.virtualenv.venv_backend != "none":
        session.install("-e", ".[all,test]")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    _install(session)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check types: the package with mypy, the public API with mypy and pyright."""
    _install(session)
    session.run("mypy")
    session.run("pyright")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the test suite."""
    _install(session)
    session.run("pytest", *session.posargs)


@nox.session
def proof(session: nox.Session) -> None:
    """Read moving lists over real sockets a thousand times, and print the table of verdicts."""
    _install(session)
    session.run("python", "-m", "tests.proof", *session.posargs)


@nox.session
def model(session: nox.Session) -> None:
    """Search for a lie with hypothesis: 2,000 examples of a list read while it changes."""
    _install(session)
    thorough = {"HYPOTHESIS_PROFILE": "thorough"}
    session.run("pytest", "-q", "tests/sansio/test_covering_machine.py", env=thorough)
