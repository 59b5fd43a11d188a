"""``python -m tests.long NAME``: the checks that run longer than the suite, one command each."""

import runpy
import sys

COMMANDS = {
    "proof": "read moving lists over real sockets, and hold every verdict to the server's own record",
    "worlds": "read lists of a few rows in every way that changes may fall between statements",
    "faults": "bring about every fault, then take each defence out once",
    "soak": "read 100,000 records from a server that fails a tenth of all requests",
    "torture": "cancel a job, and close its session, at each of its steps",
    "fuzz": "answer with malformed JSON, cut pages and broken HTTP",
    "crash": "kill exports at random moments and at each write, sync, rename and commit",
    "intervals": "count how often the intervals of comparisons hold the true difference",
    "syncs": "kill syncs into DuckDB and Delta tables at random moments",
    "buckets": "kill exports into a bucket at each put and at random",
    "shares": "kill exports in shares, and their commits, at each write, sync, link and rename",
    "powercut": "resume exports from states of the disk that a power cut may leave (needs strace)",
}


def main() -> None:
    """Run one command; the arguments behind its name are its own."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name not in COMMANDS:
        print("usage: python -m tests.long NAME [-h] ...\n")  # noqa: T201
        print("\n".join(f"  {command:9} {purpose}" for command, purpose in COMMANDS.items()))  # noqa: T201
        sys.exit(0 if name in ("-h", "--help") else 2)
    del sys.argv[1]
    runpy.run_module(f"tests.long.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
