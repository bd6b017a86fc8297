"""What comes of a golden that a test asks for: checked, recorded, recorded again or refused. Knows agents and files, and nothing of pytest."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from afk_es.agents import Agent, PolicyEngine
from afk_es.core import Runner, RunnerConfig
from afk_es.errors import AfkError
from afk_es.evals.check_report import CheckReport
from afk_es.evals.check_text import report_lines
from afk_es.evals.checking import check_golden
from afk_es.evals.divergence import MatchMode
from afk_es.evals.golden import Golden
from afk_es.evals.live_recording import Said, record_live, said_in
from afk_es.evals.plugin.naming import SUFFIX
from afk_es.evals.plugin.said import said_otherwise
from afk_es.evals.plugin.uses import Came, GoldenUse

RunnerFactory = Callable[[], Runner]

WIDTH = 100
"""Columns of the text of a divergence. A worker of xdist has no terminal to ask."""


@dataclass(frozen=True)
class Asked:
    """What a test asks a golden for.

    Attributes:
        path: the golden's file.
        agent: as it is today.
        said: what the run begins with; None where only the golden knows.
        thread_id: of that run.
        mode: None for that of the golden.
        policy_engine, config, runner_factory: with what it runs.
    """

    path: Path
    agent: Agent
    said: Said | None = None
    thread_id: str | None = None
    mode: MatchMode | None = None
    policy_engine: PolicyEngine | None = None
    config: RunnerConfig | None = None
    runner_factory: RunnerFactory | None = None

    def own_runner(self) -> Runner:
        """The Runner of a live run, where no factory makes it."""
        return Runner(log=":memory:", policy_engine=self.policy_engine, config=self.config)


@dataclass(frozen=True)
class Answer:
    """What came of it.

    Attributes:
        use: for the session.
        report: the check behind it; None where nothing was checked.
    """

    use: GoldenUse
    report: CheckReport | None = None


async def came_of(asked: Asked, *, update: frozenset[str], ci: bool) -> Answer:
    """Check the golden, or record it where `update` accepts that. What is wrong with a file or a recording is an answer, and no exception.

    Raises:
        Exception: what code of the user raises, such as a `runner_factory`.
    """
    try:
        if not asked.path.exists():
            if asked.said is None or "new" not in update:
                return _missing(asked, ci=ci)
            return await _recorded(asked, [asked.said], asked.mode or "strict", "new")
        golden = Golden.read(asked.path)
        report = await _checked(asked, golden)
        if report.outcome == "diverged" and "behaviour" in update:
            return await _recorded(asked, await _to_say(asked, golden), golden.mode, "behaviour")
        if report.ok and "representation" in update and golden.text().encode() != asked.path.read_bytes():
            golden.write(asked.path)
            return _answer(asked, "updated", report, category="representation")
    except (AfkError, OSError) as error:
        return unreadable(asked, f"golden {asked.path.name} cannot be used: {error}")
    return _answer(asked, report.outcome, report)


def unreadable(asked: Asked, why: str) -> Answer:
    """An answer where nothing could be measured."""
    return Answer(GoldenUse(str(asked.path), "not_measurable", lines=((why, "bad"),)))


async def _checked(asked: Asked, golden: Golden) -> CheckReport:
    report = await check_golden(
        golden, asked.agent, mode=asked.mode, policy_engine=asked.policy_engine, config=asked.config, runner_factory=asked.runner_factory
    )
    return report if asked.said is None else await said_otherwise(report, golden, asked.said, asked.agent, asked.thread_id)


async def _to_say(asked: Asked, golden: Golden) -> list[Said]:
    return [asked.said] if asked.said is not None else await said_in(golden)


async def _recorded(asked: Asked, said: Sequence[Said], mode: MatchMode, category: str) -> Answer:
    """A live run, written as a golden once that has been checked against itself: one that differs each time is of no use to anybody."""
    name = asked.path.name.removesuffix(SUFFIX)
    golden, result = await record_live(
        asked.agent, said, name=name, mode=mode, thread_id=asked.thread_id, runner_factory=asked.runner_factory or asked.own_runner
    )
    report = await _checked(asked, golden)
    if not report.ok:
        answer = _answer(asked, report.outcome, report)
        why = f"golden {name} was not recorded: offline, the agent does not do again what it has just done"
        return replace(answer, use=replace(answer.use, lines=((why, "bad"), *answer.use.lines)))
    asked.path.parent.mkdir(parents=True, exist_ok=True)
    golden.write(asked.path)
    return _answer(asked, "new" if category == "new" else "updated", report, category=category, state=result.state)


def _answer(asked: Asked, outcome: Came, report: CheckReport, *, category: str = "", state: str = "") -> Answer:
    report = msgspec.structs.replace(report, path=str(asked.path))
    lines = () if report.ok else tuple(report_lines(report, WIDTH))
    return Answer(GoldenUse(str(asked.path), outcome, category, state, lines, msgspec.to_builtins(report)), report)


def _missing(asked: Asked, *, ci: bool) -> Answer:
    lines = [(f"there is no golden {asked.path}", "bad")]
    if ci:
        lines.append(("in CI a missing golden fails: record it where you develop, and commit the file", "plain"))
    elif asked.said is not None:
        lines.append(("record it by running the agent live, once: --golden-update=new", "plain"))
    else:
        lines.append((f"record a run of yours as this golden: afk-es golden record RUN -o {shlex.quote(str(asked.path))}", "plain"))
    return Answer(GoldenUse(str(asked.path), "missing", lines=tuple(lines)))
