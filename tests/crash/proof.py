"""The pieces of the crash proof: each is named, is done by itself in any process, and comes to a row of numbers and what went wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from afk_es.errors import UsageError
from afk_es.testing import Breach, CrashMatrix, CrashOutcome, GoldenCrashes, crash_at, crash_everywhere, crash_golden, rehearse
from tests.crash.generated import drawn_deaths, generated_run
from tests.crash.goldens import OF_TEAMS, RECORDED, conversation_golden, golden_of, story_golden
from tests.crash.killed import KilledRun, contended, killed, usurped
from tests.crash.test_matrix import what_the_world_saw
from tests.crash.test_teams import about
from tests.crash.test_teams import what_the_world_saw as what_the_world_saw_of_teams

Part = Literal["scenario", "golden", "story", "conversation", "generated", "killed", "contended", "usurped"]

PARTS: dict[Part, str] = {
    "scenario": "crash scenarios",
    "golden": "goldens of them",
    "story": "goldens of the demo",
    "conversation": "goldens of tau_airline",
    "generated": "generated runs",
    "killed": "killed by SIGKILL",
    "contended": "two at one run",
    "usurped": "stale owners",
}

PROMISES = ("repeat", "doubt", "prefix", "resume", "result", "point", "log", "own")
"""In the order of the table's columns; see `afk_es.testing.survival.Promise`."""


class Piece(NamedTuple):
    """A piece of work.

    Attributes:
        name: of the scenario, story or conversation; or a seed. A run that is really killed may be either.
        points: how many points of a run at most; for a generated run, how many deaths. None: all.
        path: a file that it needs.
    """

    part: Part
    name: str
    points: int | None = None
    path: Path | None = None


class Row(NamedTuple):
    """What became of a piece.

    Attributes:
        runs: how many there were in it; 0 where it cannot be tried, for the reason in `left_out`.
        points: deaths that were tried.
        unknown: runs whose model was told that an outcome is unknown, which may then differ.
        broken: the kind of each promise that was broken.
        problems: where, what, and the file to open.
    """

    piece: Piece
    runs: int = 0
    points: int = 0
    unknown: int = 0
    broken: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    seconds: float = 0.0
    left_out: str = ""


def done(piece: Piece, keep: Path | None = None) -> Row:
    """Do a piece.

    Args:
        keep: where runs that broke a promise are written.
    """
    began = time.perf_counter()
    row = _DOING[piece.part](piece, keep)
    return row._replace(seconds=time.perf_counter() - began)


def _scenario(piece: Piece, keep: Path | None) -> Row:
    scenario = RECORDED[piece.name]
    of_team = piece.name.startswith(OF_TEAMS)
    matrix = crash_everywhere(scenario, what_the_world_saw_of_teams if of_team else what_the_world_saw, points=piece.points, keep=keep)
    row = _of_matrix(piece, matrix)
    # How far a child has come when its parent is cancelled depends on when that is.
    told = tuple(about(piece.name.removeprefix(OF_TEAMS), row.problems) if of_team else row.problems)
    return row if told == row.problems else row._replace(problems=told, broken=("result",) * len(told))


def _golden(piece: Piece, keep: Path | None) -> Row:
    scenario = RECORDED[piece.name]
    return _tried(
        piece,
        lambda: crash_golden(
            golden_of(scenario, piece.name),
            scenario.agent,
            config=scenario.config,
            policy_engine=scenario.policy_engine,
            points=piece.points,
            keep=keep,
        ),
    )


def _story(piece: Piece, keep: Path | None) -> Row:
    path = _path(piece)
    return _tried(piece, lambda: crash_golden(*story_golden(piece.name, path), points=piece.points, keep=keep))


def _conversation(piece: Piece, keep: Path | None) -> Row:
    path = _path(piece)
    return _tried(piece, lambda: crash_golden(*conversation_golden(piece.name, path), points=piece.points, keep=keep))


def _path(piece: Piece) -> Path:
    assert piece.path is not None
    return piece.path


def _tried(piece: Piece, crash: Callable[[], GoldenCrashes]) -> Row:
    try:
        crashes = crash()
    except UsageError as error:
        return Row(piece, left_out=str(error))
    rows = [_of_matrix(piece, matrix) for matrix in crashes.matrices.values()]
    broken = tuple(promise for row in rows for promise in row.broken)
    return Row(piece, len(rows), sum(row.points for row in rows), sum(row.unknown for row in rows), broken, tuple(crashes.problems))


def _generated(piece: Piece, keep: Path | None) -> Row:
    run = generated_run(int(piece.name))
    rehearsal = rehearse(run.scenario)
    at_most = piece.points if piece.points is not None else len(rehearsal.points)
    deaths = drawn_deaths(run.seed, run.scenario, rehearsal.points, at_most)
    outcomes = [crash_at(run.scenario, points, rehearsal, run.check, keep=keep) for points in deaths]
    return _of_outcomes(piece, outcomes, run.name)


def _of_matrix(piece: Piece, matrix: CrashMatrix) -> Row:
    return _of_outcomes(piece, matrix.outcomes, piece.name)


def _of_outcomes(piece: Piece, outcomes: Iterable[CrashOutcome], name: str) -> Row:
    outcomes = list(outcomes)
    problems = tuple(f"{name}: {outcome}" for outcome in outcomes if outcome.breaches)
    points = sum(len(outcome.points) for outcome in outcomes)
    unknown = sum(bool(outcome.unknown) for outcome in outcomes)
    return Row(piece, 1, points, unknown, _broken(breach for outcome in outcomes for breach in outcome.breaches), problems)


def _real(trial: Callable[..., KilledRun]) -> Callable[[Piece, Path | None], Row]:
    def tried(piece: Piece, keep: Path | None) -> Row:
        of_seed = piece.name.isdigit()
        run = trial(int(piece.name) if of_seed else piece.name, int(piece.name) if of_seed else 0, keep=keep)
        return Row(piece, 1, len(run.deaths), 0, _broken(run.breaches), (str(run),) if run.breaches else ())

    return tried


def _broken(breaches: Iterable[Breach]) -> tuple[str, ...]:
    return tuple(breach.promise for breach in breaches)


_DOING: dict[Part, Callable[[Piece, Path | None], Row]] = {
    "scenario": _scenario,
    "golden": _golden,
    "story": _story,
    "conversation": _conversation,
    "generated": _generated,
    "killed": _real(killed),
    "contended": _real(contended),
    "usurped": _real(usurped),
}
