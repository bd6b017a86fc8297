"""Goal: a skill's command is in doubt when its process dies before it has answered, and what was only read is read again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from afk_es.agents import Agent
from afk_es.core import AgentResult, RunnerConfig
from afk_es.llms import LLMRequest, LLMResponse, ToolCall
from afk_es.testing import CrashScenario, CrashTrial, ScriptedModel, crash_everywhere
from afk_es.tools import SkillPolicy
from tests.crash.scenarios import UNKNOWN, short, since_user
from tests.support.skills import skill


def clerk(directory: Path) -> Agent:
    """Reads its skill, and then runs a command that takes effect."""
    if not (directory / "skills").exists():
        skill(directory / "skills", run="echo ran >> ../../effects; echo paid")

    def answer(request: LLMRequest) -> LLMResponse:
        said = since_user(request)
        match sum(bool(message.tool_calls) for message in said):
            case 0:
                return LLMResponse(tool_calls=(ToolCall("c1", "read_skill_md", {"skill": "reports"}),))
            case 1:
                return LLMResponse(tool_calls=(ToolCall("c2", "run_skill_command", {"skill": "reports", "command": "sh run"}),))
            case _:
                return LLMResponse(text=" / ".join(short(message.content) for message in said if message.role == "tool"))

    policy = SkillPolicy(command_allowlist=("sh run",))
    model = ScriptedModel(answer)
    return Agent(name="clerk", model=model, skills=["reports"], skills_dir=directory / "skills", skill_policy=policy)


def effects(trial: CrashTrial) -> int:
    """How often the command took effect."""
    file = trial.directory / "effects"
    return len(file.read_text().splitlines()) if file.exists() else 0


def at_most_once(trial: CrashTrial, result: AgentResult) -> Iterator[str]:
    """The command took effect once, or its outcome is unknown and it took effect once or not at all."""
    ran = effects(trial)
    if ran > 1:
        yield f"the command ran {ran} times"
    if UNKNOWN not in result.final_text and ran != 1:
        yield f"the command is said to have returned, and ran {ran} times"


def test_a_command_in_doubt_is_not_run_again_and_the_model_is_told() -> None:
    matrix = crash_everywhere(CrashScenario(agent=clerk, user_message="Do it"), at_most_once)
    assert matrix.problems == []
    assert matrix.summary()["missed"] == 0
    unknown = {call for outcome in matrix.outcomes for call in outcome.unknown}
    assert unknown == {"c2"}
    for outcome in matrix.outcomes:
        assert outcome.result is not None
        assert (UNKNOWN in outcome.result.final_text) == ("c2" in outcome.unknown)
        assert "# How to" in outcome.result.final_text


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_command_that_was_cut_between_its_start_and_its_result(when: str) -> None:
    scenario = CrashScenario(agent=clerk, user_message="Do it")
    with CrashTrial(scenario) as rehearsal:
        rehearsal.run()
        points = rehearsal.passed
    (point,) = (point for point in points if point.when == when and point.about == "run_skill_command")
    with CrashTrial(scenario) as trial:
        trial.run_until(point)
        assert effects(trial) == (when == "after")
        result = trial.run()
        assert UNKNOWN in result.final_text
        assert effects(trial) == (when == "after")


def test_where_it_is_to_be_tried_again_it_is() -> None:
    scenario = CrashScenario(agent=clerk, user_message="Do it", config=RunnerConfig(in_doubt="retry"))
    assert crash_everywhere(scenario).problems == []
