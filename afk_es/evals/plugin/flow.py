"""What comes of a golden that a test asks for: checked, recorded, recorded again or refused. Knows agents and files, and nothing of pytest."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from afk_es.agents import Agent, PolicyEngine
from afk_es.core import Runner, RunnerConfig
from afk_es.debugger.exchange.golden_facts import SUFFIX
from afk_es.errors import AfkError
from afk_es.evals.goldens.check_report import CheckReport
from afk_es.evals.goldens.check_text import report_lines, verdict_text
from afk_es.evals.goldens.checking import RunnerFactory, check_golden
from afk_es.evals.goldens.divergence import MatchMode
from afk_es.evals.goldens.golden import Golden
from afk_es.evals.goldens.live_recording import Said, record_live, said_in
from afk_es.evals.goldens.recorded_config import recorded_config
from afk_es.evals.goldens.rewriting import rewritten
from afk_es.evals.goldens.store import file_stem, staleness
from afk_es.evals.goldens.updates import UpdateCategory, check_may_update, in_ci, of_report
from afk_es.evals.plugin.said import said_otherwise
from afk_es.evals.plugin.uses import Came, GoldenUse
from afk_es.log.memory import MemoryEventLog

WIDTH = 100
"""Columns of the text of a divergence. A worker of xdist has no terminal to ask."""


@dataclass(frozen=True)
class Asked:
    """What a test asks a golden for.

    Attributes:
        name: of the golden; None where only its file was named.
        path: its file.
        shown: the file as people are told of it.
        agent: as it is today.
        said: what the run begins with; None where only the golden knows.
        thread_id: of that run.
        mode: None for that of the golden.
        policy_engine, config, runner_factory: with what it runs.
    """

    name: str | None
    path: Path
    shown: str
    agent: Agent
    said: Said | None = None
    thread_id: str | None = None
    mode: MatchMode | None = None
    policy_engine: PolicyEngine | None = None
    config: RunnerConfig | None = None
    runner_factory: RunnerFactory | None = None

    @property
    def called(self) -> str:
        """What the golden is called, or is to be called."""
        return self.name if self.name is not None else self.path.name.removesuffix(SUFFIX)

    def runner(self, recorded: RunnerConfig | None = None) -> Runner:
        """The Runner of a live run, set up as the recorded one was where the test does not say how."""
        log, config = MemoryEventLog(), self.config or recorded or RunnerConfig()
        if self.runner_factory is not None:
            return self.runner_factory(log, config)
        return Runner(log=log, policy_engine=self.policy_engine, config=config)


@dataclass(frozen=True)
class Answer:
    """What came of it.

    Attributes:
        use: for the session.
        report: the check behind it; where nothing could be checked, one that says why.
    """

    use: GoldenUse
    report: CheckReport


async def came_of(asked: Asked, update: frozenset[str]) -> Answer:
    """Check the golden, or write it where that is accepted. What is wrong with a file or a recording is an answer, and no exception.

    Args:
        update: the categories of updates that are accepted.

    Raises:
        Exception: what code of the user raises, such as a `runner_factory`.
    """
    try:
        if not asked.path.exists():
            if asked.said is None or "new" not in update:
                return _missing(asked)
            return await _recorded(asked, asked.runner(), [asked.said], asked.mode or "strict")
        golden = Golden.read(asked.path)
        if _clashes(golden, asked):
            return _unusable(asked, f"it is the golden {golden.name!r}, which differs in upper and lower case only: rename one of them")
        report = await _checked(asked, golden)
        # What is written otherwise today is not looked for where nobody would write it anew.
        category = _category(report, golden, asked) if update else None
        if category == "behaviour" and category in update:
            said = [asked.said] if asked.said is not None else await said_in(golden)
            return await _recorded(asked, asked.runner(recorded_config(golden)), said, golden.mode, golden)
        if category == "representation" and category in update:
            return await _rewritten(asked, golden, report)
    except (AfkError, OSError) as error:
        return _unusable(asked, str(error).replace(str(asked.path), asked.shown))
    return _answer(asked, report.outcome, report)


def _clashes(golden: Golden, asked: Asked) -> bool:
    """Whether the file is another test's, by a file system that does not tell upper from lower case."""
    if asked.name is None or golden.name == asked.name:
        return False
    return file_stem(golden.name).casefold() == file_stem(asked.name).casefold()


async def _checked(asked: Asked, golden: Golden) -> CheckReport:
    report = await check_golden(
        golden, asked.agent, mode=asked.mode, policy_engine=asked.policy_engine, config=asked.config, runner_factory=asked.runner_factory
    )
    return report if asked.said is None else await said_otherwise(report, golden, asked.said, asked.agent, asked.thread_id)


async def _recorded(asked: Asked, runner: Runner, said: Sequence[Said], mode: MatchMode, old: Golden | None = None) -> Answer:
    """A live run, written as a golden once that has been checked against itself: one that differs each time is of no use to anybody."""
    check_may_update(os.environ)
    ref = old.header.agent if old is not None else None
    golden, result = await record_live(runner, asked.agent, said, name=asked.called, mode=mode, thread_id=asked.thread_id, agent_ref=ref)
    report = await _checked(asked, golden)
    if not report.ok:
        answer = _answer(asked, report.outcome, report)
        why = f"golden {asked.called} was not recorded: offline, the agent does not do again what it has just done"
        return replace(answer, use=replace(answer.use, lines=((why, "bad"), *answer.use.lines)))
    asked.path.parent.mkdir(parents=True, exist_ok=True)
    golden.write(asked.path)
    outcome: Came = "new" if old is None else "updated"
    return _answer(asked, outcome, report, category="new" if old is None else "behaviour", state=result.state)


def _category(report: CheckReport, golden: Golden, asked: Asked) -> UpdateCategory | None:
    """In which category the golden is to be updated; None where it is not."""
    found = of_report(report)
    if found is not None:
        return found[0]
    renamed = asked.name not in (None, golden.name)
    return "representation" if renamed or staleness(golden, asked.path) is not None else None


async def _rewritten(asked: Asked, golden: Golden, report: CheckReport) -> Answer:
    """The same in today's writing: the file's own words where they pass, those of its replay where only the engine has others."""
    check_may_update(os.environ)
    if report.ok:
        golden = await golden.rewritten()
    else:
        golden = await rewritten(
            golden, asked.agent, policy_engine=asked.policy_engine, config=asked.config, runner_factory=asked.runner_factory
        )
        report = await _checked(asked, golden)
        if not report.ok:
            return _unusable(asked, "written anew, the golden would not say the same; record it anew with --golden-update=behaviour")
    name = asked.name or golden.name
    header = msgspec.structs.replace(golden.header, name=name, update=golden.header.update.replace(golden.name, name))
    msgspec.structs.replace(golden, header=header).write(asked.path)
    return _answer(asked, "updated", report, category="representation")


def _answer(asked: Asked, outcome: Came, report: CheckReport, *, category: str = "", state: str = "") -> Answer:
    report = msgspec.structs.replace(report, path=asked.shown)
    lines = () if report.ok else report_lines(report, WIDTH)
    return Answer(GoldenUse(str(asked.path), outcome, category, state, lines, msgspec.to_builtins(report)), report)


def short_text(answer: Answer) -> str:
    """What a failed test says: the verdict and the first divergence. All of it is in the session's section, which tells it once."""
    report = answer.report
    if not report.divergences:
        return "\n".join(text for text, _tone in answer.use.lines)
    first = msgspec.structs.replace(report, divergences=report.divergences[:1], leftovers=(), notes=())
    lines = [text for text, _tone in report_lines(first, WIDTH, way_out=False)]
    return "\n".join([verdict_text(report), *lines[1:]])


def _unusable(asked: Asked, why: str) -> Answer:
    report = CheckReport(asked.called, asked.shown, asked.mode or "strict", "not_measurable", reason=why)
    return _answer(asked, "not_measurable", report)


def _missing(asked: Asked) -> Answer:
    if in_ci(os.environ):
        way = "in CI a missing golden fails: record it on your own machine, and commit the file"
    elif asked.said is not None:
        way = "record it by one live run: pytest --golden-update=new"
    else:
        way = f"record a run of a log as this golden: afk-es golden record RUN -o {shlex.quote(asked.shown)}"
    reason = f"there is no golden {asked.called}; {way}"
    report = CheckReport(asked.called, asked.shown, asked.mode or "strict", "not_measurable", reason=reason)
    return Answer(GoldenUse(str(asked.path), "missing", lines=((reason, "bad"),), report=msgspec.to_builtins(report)), report)
