"""Crashes a scenario at every point, resumes it, and holds what became of it against what is promised of a run that survives.

What is promised (and named in a problem): the log only grows; its hash chain is sound; an effect whose result is in the log does not run
again; a tool in doubt that may not be repeated is not, and the log says so; one that may be is repeated under the same idempotency key;
limits hold over the crash; nobody is asked twice; every stretch ends at most once and the last one does; the result is that of the run
nobody killed, but for what is reported as unknown and for limits that calls begun again have used up; and a run that has ended stays as it
is. `survival` says how each of them is checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from afk_es.clock import SystemClock
from afk_es.core import AgentResult
from afk_es.errors import AfkError, UsageError
from afk_es.machine.values import digest
from afk_es.testing.crashes import CrashScenario, CrashTrial, Rehearsal, rehearse
from afk_es.testing.mortal import CrashPoint
from afk_es.testing.survival import Breach, Family, Promise, Survival, comparable

Check = Callable[[CrashTrial, AgentResult], Iterable[str]]
"""Looks at a trial after its run has ended, while its directory is still there, and says what is wrong, a sentence each."""

_COLUMNS: dict[str, Promise] = {
    "repeated": "repeat",
    "silent": "doubt",
    "changed": "prefix",
    "unresumable": "resume",
    "wrong": "result",
    "missed": "point",
    "unsound": "log",
    "own": "own",
}


@dataclass(frozen=True, slots=True)
class CrashOutcome:
    """How a run survived.

    Attributes:
        points: where its processes died, in order.
        reached: whether each of them came to its point.
        result: what the run came to in the end; None if it could not be resumed.
        unknown: ids of tool calls whose outcome nobody knows, and of which the model was told so.
        spent: whether the result differs because a limit on calls was used up: what was in doubt and begun again counts twice, so that
            the limit holds.
        breaches: promises that were broken.
        log: the file that the run was written to, where one was asked for and a promise was broken.
    """

    points: tuple[CrashPoint, ...]
    reached: bool
    result: AgentResult | None
    unknown: tuple[str, ...]
    spent: bool
    breaches: tuple[Breach, ...]
    log: Path | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """Promises that were broken, a sentence each."""
        return tuple(breach.sentence for breach in self.breaches)

    @property
    def repeated(self) -> int:
        """How many effects ran again although their result was in the log."""
        return sum(breach.promise == "repeat" for breach in self.breaches)

    def __str__(self) -> str:
        where = " and then ".join(map(str, self.points))
        opened = "" if self.log is None else f" (afk-es debug {self.log})"
        return "\n".join(f"{where}: {problem}{opened}" for problem in self.problems) or f"{where}: survived"


@dataclass(slots=True)
class CrashMatrix:
    """All outcomes of a scenario.

    Attributes:
        unkilled: the result of the run that nobody killed.
        seconds: how long it took, in real time.
    """

    unkilled: AgentResult
    outcomes: list[CrashOutcome] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def problems(self) -> list[str]:
        """Every broken promise, with the points at which the processes died, and the file with the run, where there is one."""
        return [line for outcome in self.outcomes if outcome.breaches for line in str(outcome).splitlines()]

    def summary(self) -> dict[str, int]:
        """The matrix in numbers.

        `points` were tried; `repeated` effects had returned and ran again; `silent` tools in doubt ran again without leave or word;
        `changed` logs; `unresumable` runs; `wrong` results; `missed` points; `unsound` logs and limits that did not hold; `own` promises
        of a check; `reported_unknown` and `spent` runs differ as they may. `problems` is the number of sentences.
        """
        found = Counter(breach.promise for outcome in self.outcomes for breach in outcome.breaches)
        return {
            "points": len(self.outcomes),
            **{column: found[promise] for column, promise in _COLUMNS.items()},
            "reported_unknown": sum(bool(outcome.unknown) for outcome in self.outcomes),
            "spent": sum(outcome.spent for outcome in self.outcomes),
            "problems": sum(found.values()),
        }


def crash_everywhere(
    scenario: CrashScenario, check: Check | None = None, *, points: int | None = None, seed: int = 0, keep: Path | None = None
) -> CrashMatrix:
    """Kill the run at each of its points, once per trial, and check what became of it.

    Args:
        check: promises of your own, see `Check`.
        points: how many points at most, drawn from `seed`; None for all.
        keep: the directory to which runs that broke a promise are written, for `afk-es debug`. None: they are not.

    Raises:
        UsageError: called where an event loop is running; or `points` is below 1.
    """
    began = SystemClock().monotonic()
    rehearsal = rehearse(scenario)
    matrix = CrashMatrix(rehearsal.result)
    for point in drawn_points(rehearsal.points, points, seed):
        matrix.outcomes.append(crash_at(scenario, (point,), rehearsal, check, keep=keep))
    matrix.seconds = SystemClock().monotonic() - began
    return matrix


def drawn_points(points: Sequence[CrashPoint], at_most: int | None, seed: int) -> Sequence[CrashPoint]:
    """As many of these, in their order; the same for the same seed.

    Raises:
        UsageError: `at_most` is below 1.
    """
    if at_most is None or at_most >= len(points):
        return points
    if at_most < 1:
        raise UsageError(f"points={at_most}: a run is killed at one point at least; leave it out for all of them")
    chosen = sorted(range(len(points)), key=lambda index: digest(f"{seed}:{index}".encode()))[:at_most]
    return [points[index] for index in sorted(chosen)]


def crash_at(
    scenario: CrashScenario,
    points: Iterable[CrashPoint],
    rehearsal: Rehearsal | None = None,
    check: Check | None = None,
    *,
    keep: Path | None = None,
) -> CrashOutcome:
    """Kill the run at these points, one process after the other, let the next one end, and check every promise.

    Args:
        rehearsal: what to compare with; default: a new one.
        check, keep: see `crash_everywhere`.
    """
    rehearsal = rehearsal or rehearse(scenario)
    points = tuple(points)
    with CrashTrial(scenario) as trial:
        survival, reached, breaches = _survival(trial, points, rehearsal)
        if survival.result is not None and check is not None:
            breaches += [Breach("own", sentence) for sentence in check(trial, survival.result)]
        saved = _saved(trial, points, keep) if keep is not None and breaches and survival.family else None
        return CrashOutcome(points, reached, survival.result, survival.unknown, survival.spent, tuple(breaches), saved)


def _survival(trial: CrashTrial, points: tuple[CrashPoint, ...], rehearsal: Rehearsal) -> tuple[Survival, bool, list[Breach]]:
    breaches: list[Breach] = []
    prefixes: list[tuple[int, Family]] = []
    result: AgentResult | None = None
    reached = True
    try:
        for point in points:
            reached = trial.run_until(point) and reached
            prefixes.append((trial.processes, trial.family()))
        result = trial.run()
        breaches += _stays_as_it_is(trial, result)
    except (AfkError, TimeoutError) as error:
        breaches.append(Breach("resume", f"the run cannot be resumed: {type(error).__name__}: {error}"))
    if not reached:
        breaches.append(Breach("point", "the run ended without coming to this point"))
    survival = Survival(trial.run_id, rehearsal.result, result, trial.family(), prefixes, trial.dispatches)
    fault = trial.verify()
    if fault is not None:
        breaches.append(Breach("log", f"the chain is broken at seq {fault.seq}: {fault.reason}"))
    return survival, reached, breaches + survival.breaches()


def _stays_as_it_is(trial: CrashTrial, result: AgentResult) -> list[Breach]:
    """Resuming a run that has ended gives its result again and does nothing."""
    if result.state == "interrupted":
        return []
    before, started = trial.events(), len(trial.dispatches)
    again = trial.run()
    if comparable(again) == comparable(result) and trial.events() == before and len(trial.dispatches) == started:
        return []
    return [Breach("prefix", "resuming the run after its end changed something")]


def _saved(trial: CrashTrial, points: tuple[CrashPoint, ...], keep: Path) -> Path:
    """The run in a file of its own, named for its points, so that it is the same file the next time."""
    keep.mkdir(parents=True, exist_ok=True)
    target = keep / f"failed-{digest(' '.join(map(str, points)).encode())[:8]}.db"
    target.unlink(missing_ok=True)
    trial.save(target)
    return target
