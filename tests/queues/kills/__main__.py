"""Tasks by the thousand, on workers that are killed, stopped past their lease and drained:
`python -m tests.queues.kills --runs 10000 --workers 8 --store sqlite --kill-every 1 --stop-every 5 --minutes 15`.

What it says at the end is a table of what happened and of every promise that was broken; it returns 1 if one was. `--bug NAME` gives the processes
a mistake that has to be found, and then returns 1 if it was not.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.queues.kills.judge import PROMISES, Violation
from tests.queues.kills.scene import Trial
from tests.queues.kills.slips import SLIPS
from tests.queues.kills.trying import MODULES, Tried, tried
from tests.support.postgres import Server, server_directory
from tests.support.zygote import zygote

_SHOWN = 20
_ID = re.compile(r"task[_-][0-9a-f]{16,}")
_FIGURES = (
    "runs",
    "pushed twice",
    "events",
    "effects",
    "takeovers",
    "changes of worker",
    "reopened",
    "repeats, same key",
    "in doubt, run again",
    "in doubt, reported",
    "announced, never begun",
    "done after a takeover",
)


def main(words: list[str]) -> int:
    """Try each store, and say what was found."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.queues.kills", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--store", choices=["sqlite", "postgres", "both"], default="both")
    parser.add_argument("--kill-every", type=float, default=0.5, metavar="S", help="seconds between two SIGKILLs on average; 0: never")
    parser.add_argument("--stop-every", type=float, default=1.5, metavar="S", help="between two SIGSTOPs")
    parser.add_argument("--drain-every", type=float, default=10.0, metavar="S", help="between two SIGTERMs")
    parser.add_argument("--minutes", type=float, default=15.0, help="after which no more is pushed, and nobody is disturbed any more")
    parser.add_argument("--lease", type=float, default=2.0, metavar="S")
    parser.add_argument("--at-once", type=int, default=8, help="tasks of one worker")
    parser.add_argument("--linger", type=float, default=0.03, metavar="S", help="how long an effect is under way")
    parser.add_argument("--durability", choices=["full", "normal"], default="normal", help="processes die, the machine does not")
    parser.add_argument("--patience", type=float, default=120.0, metavar="S", help="how long after --minutes the last may still end")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bug", choices=sorted(SLIPS), default="", help="a mistake in the workers, which has to be found")
    parser.add_argument("--keep", type=Path, help="where all of it is left")
    options = parser.parse_args(words)
    stores = ["sqlite", "postgres"] if options.store == "both" else [options.store]
    broken = missed = 0
    with zygote(*MODULES) as born:
        for store in stores:
            with place(store, options.keep) as (directory, log):
                found = tried(
                    born,
                    Trial(
                        directory=directory,
                        log=log,
                        runs=options.runs,
                        workers=options.workers,
                        seed=options.seed,
                        kill_every_s=options.kill_every,
                        stop_every_s=options.stop_every,
                        drain_every_s=options.drain_every,
                        minutes=options.minutes,
                        lease_s=options.lease,
                        at_once=options.at_once,
                        linger_s=options.linger,
                        durability=options.durability,
                        patience_s=options.patience,
                        bug=options.bug,
                    ),
                )
                print(report(store, found), flush=True)
                if options.keep is not None:
                    (directory / "wrong.txt").write_text("\n\n".join(told_of(found)))
                broken += bool(found.verdict.violations)
                missed += (
                    bool(options.bug) and not {violation.promise for violation in found.verdict.violations} & SLIPS[options.bug].breaks
                )
    return int(bool(missed)) if options.bug else int(bool(broken))


@contextlib.contextmanager
def place(store: str, keep: Path | None) -> Iterator[tuple[Path, str]]:
    """A directory for what is said and written, and a log of that store: a file there, or a server of its own."""
    with contextlib.ExitStack() as stack:
        directory = keep / store if keep is not None else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        directory.mkdir(parents=True, exist_ok=keep is None)
        if store == "sqlite":
            yield directory, str(directory / "runs.db")
            return
        server = Server(server_directory(f"afk-pg-kills-{os.getpid()}"))
        stack.callback(shutil.rmtree, server.directory, ignore_errors=True)
        server.make()
        server.start(shared_buffers="256MB", autovacuum="on", fsync="off")
        stack.callback(server.stop)
        yield directory, f"{server.url}&schema=kills"


def report(store: str, found: Tried) -> str:
    """The table."""
    told, verdict, _ = found
    done = sorted(told.done.items())
    lines = [
        f"== {store}: {verdict.figures['runs']:,} runs in {told.seconds:.1f} s, {verdict.figures['runs'] / max(told.seconds, 1e-9):.1f}/s"
    ]
    lines += [f"{name:<28}{verdict.figures[name]:>10,}" for name in _FIGURES]
    lines += [f"{name:<28}{times:>10,}" for name, times in done]
    lines.append(f"{'not ended':<28}{told.unfinished:>10,}")
    broken = Counter(violation.promise for violation in verdict.violations)
    lines += [
        f"{'violations':<28}{len(verdict.violations):>10,}",
        *(f"  {name:<10}{broken[name]:>6,}  {what}" for name, what in PROMISES.items()),
    ]
    return "\n".join([*lines, *_some(verdict.violations)])


def told_of(found: Tried) -> Iterator[str]:
    """Each violation, with the rows, the events and the journal's lines of the tasks that it names."""
    evidence = found.evidence
    for violation in found.verdict.violations:
        yield f"{violation.promise}: {violation.sentence}"
        for task_id in dict.fromkeys(_ID.findall(violation.sentence)):
            yield str(evidence.items.get(task_id))
            lines: list[Any] = [event for event in evidence.runs.get(task_id, ()) if event.type != "policy_decision"]
            yield "\n".join(f"{event.seq} {event.at:%H:%M:%S.%f} {event.type} {event.data}"[:400] for event in lines)
            yield "\n".join(str(line) for line in evidence.journal if line.get("run") == task_id)


def _some(violations: list[Violation]) -> list[str]:
    shown = [f"{violation.promise}: {violation.sentence}" for violation in violations[:_SHOWN]]
    return shown + ([f"... and {len(violations) - _SHOWN} more"] if len(violations) > _SHOWN else [])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
