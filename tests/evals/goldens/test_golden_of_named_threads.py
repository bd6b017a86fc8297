"""Goal: a thread may have a name that stands in the agent as well. Method: a golden of such a run, checked by the agent that made it."""

from __future__ import annotations

from afk_es.agents import Agent
from afk_es.core import Runner
from afk_es.evals import Golden, check_golden
from afk_es.testing import ScriptedModel


async def test_what_the_agents_author_wrote_is_not_renamed_with_the_thread() -> None:
    def desk() -> Agent:
        return Agent(model=ScriptedModel(["Done."], model="tau-46-0"), instructions="You answer for tau-46-0.", name="desk")

    async with Runner(log=":memory:") as runner:
        result = await runner.run(desk(), user_message="This is tau-46-0.", thread_id="tau-46-0")
        golden = await Golden.of(runner.log, result.run_id, name="named")
    report = await check_golden(golden, desk())
    assert report.ok, report.first
    assert "This is thread_1." in golden.text(), "what the user said is: it is data"
