"""What is to be updated of a golden, and doing it: the part that `golden update` and `golden review` share."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from afk_es.agents import Agent
from afk_es.cli import output
from afk_es.cli.asking import runner_for
from afk_es.cli.goldens import Agents, checked
from afk_es.cli.invocation import Invocation
from afk_es.debugger.figures import dollars
from afk_es.errors import AfkError, UsageError
from afk_es.evals.goldens.check_report import CheckReport
from afk_es.evals.goldens.check_text import verdict_text
from afk_es.evals.goldens.checking import check_golden
from afk_es.evals.goldens.divergence import MatchMode
from afk_es.evals.goldens.golden import Golden
from afk_es.evals.goldens.live_recording import record_live, said_in
from afk_es.evals.goldens.rewriting import rewritten
from afk_es.evals.goldens.store import staleness
from afk_es.evals.goldens.updates import UpdateCategory, check_may_update, of_report


class Finding(msgspec.Struct, frozen=True):
    """A golden, and what there is to update about it.

    Attributes:
        category: of the update that would make it hold; None where nothing is to be done, or an update could not help.
        reason: why, in a sentence; "" where it holds.
        done: whether it was updated.
        cost_usd: what a live run for it has cost; None where there was none, or nobody knows.
        report: of the check before it.
    """

    name: str
    path: str
    category: UpdateCategory | None
    reason: str
    report: CheckReport
    done: bool = False
    cost_usd: float | None = None

    @property
    def holds(self) -> bool:
        """Whether there is nothing to do."""
        return self.report.ok and self.category is None


async def found(path: Path, agents: Agents, mode: MatchMode | None) -> Finding:
    """What there is to update about the golden in a file."""
    report = await checked(path, agents, mode)
    verdict = of_report(report)
    if verdict is None:
        stale = staleness(Golden.read(path), path)
        return Finding(report.name, str(path), "representation" if stale else None, stale or "", report)
    category, reason = verdict
    return Finding(report.name, str(path), category if _has_agent(path, agents) else None, reason, report)


def _has_agent(path: Path, agents: Agents) -> bool:
    """Whether it can be read, and today's agent loaded: without them there is nothing to record anew."""
    try:
        agents.of(Golden.read(path))
    except (AfkError, OSError):
        return False
    return True


async def updated(invocation: Invocation, finding: Finding, agents: Agents) -> Finding:
    """The finding, carried out if that is possible; otherwise with the reason why it is not.

    Raises:
        UpdateRefusedError: in CI, or in a parallel worker of pytest.
    """
    check_may_update(os.environ)
    path = Path(finding.path)
    golden = Golden.read(path)
    try:
        agent = agents.of(golden)
        if finding.category == "behaviour":
            return await _recorded_anew(invocation, finding, golden, agent, agents)
        made = await golden.rewritten() if finding.report.ok else await rewritten(golden, agent, policy_engine=agents.policy_engine)
        return await _written(finding, made, agent, agents, None)
    except UsageError as error:
        return msgspec.structs.replace(finding, reason=str(error))


async def _recorded_anew(invocation: Invocation, finding: Finding, golden: Golden, agent: Agent, agents: Agents) -> Finding:
    """A live run, written once its check against itself passes: a golden that differs each time is of no use to anybody."""
    said = await said_in(golden)
    output.note(f"golden {golden.name}: running {agent.name} live; models are asked and tools are run, which may cost", "mark")
    runner = runner_for(invocation.location, None, golden.spec().interaction, agents.policy_engine)
    recorded = await record_live(runner, agent, said, name=golden.name, mode=golden.mode, agent_ref=agents.reference(golden))
    cost = recorded.result.total_cost_usd
    output.note(f"golden {golden.name}: the live run {recorded.result.run_id} is {recorded.result.state}; it cost {dollars(cost)}")
    return await _written(finding, recorded.golden, agent, agents, cost)


async def _written(finding: Finding, golden: Golden, agent: Agent, agents: Agents, cost: float | None) -> Finding:
    report = await check_golden(golden, agent, mode=finding.report.mode, policy_engine=agents.policy_engine)
    if not report.ok:
        reason = f"it was not written, since offline the agent does not do again what it has just done: {verdict_text(report)}"
        return msgspec.structs.replace(finding, reason=reason, cost_usd=cost)
    golden.write(finding.path)
    return msgspec.structs.replace(finding, done=True, cost_usd=cost)
