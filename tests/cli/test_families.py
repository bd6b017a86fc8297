"""A family of runs at the command line: children are marked in the list, and `show` prints the tree and the way up."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from afk_es import Agent, PolicyEngine, PolicyRule, Runner, tool
from afk_es.agents import PolicyRuleCondition
from afk_es.cli import main
from afk_es.core import RunnerConfig
from afk_es.llms import LLMResponse, ToolCall
from afk_es.testing import ScriptedModel


def delegating(name: str) -> ScriptedModel:
    return ScriptedModel([LLMResponse(tool_calls=(ToolCall("c", f"transfer_to_{name}", {"task": f"ask {name}"}),)), "said"])


def shown(db: Path, *arguments: str) -> str:
    done = CliRunner().invoke(main, ["--db", str(db), *arguments], env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    return done.output


def test_children_are_marked_and_the_tree_is_shown(tmp_path: Path) -> None:
    db = tmp_path / "runs.db"
    low = Agent(name="low", model=ScriptedModel(["low says"]))
    middle = Agent(name="middle", model=delegating("low"), subagents=[low])
    result = Runner(log=db).run_sync(Agent(name="top", model=delegating("middle"), subagents=[middle]), user_message="go")

    listed = shown(db, "runs", "--format", "text")
    assert listed.count("\u21b3") == 2
    tree = shown(db, "show", result.run_id, "--format", "text").partition("subagents (2)")[2].splitlines()
    middle_line, low_line = [line for line in tree if line.strip()]
    assert middle_line.startswith("  middle")
    assert low_line.startswith("    low")
    assert all(line.endswith("completed") for line in (middle_line, low_line))
    above = shown(db, "show", result.subagent_executions[0].run_id, "--format", "text")
    assert result.run_id in above.partition("subagent of")[2]
    assert "0 problems" in shown(db, "verify", "--format", "text")


def test_an_answer_to_a_subagent_names_the_run_that_goes_on_with_it(tmp_path: Path) -> None:
    """Resuming the child alone would leave its parent, which waits for it, where it is."""
    db = tmp_path / "runs.db"

    @tool
    def pay() -> str:
        """Pay."""
        return "paid"

    rule = PolicyRule(action="request_approval", subjects=("tool",), condition=PolicyRuleCondition(tool_name="pay"))
    wish = ScriptedModel([LLMResponse(tool_calls=(ToolCall("c", "pay", {}),)), "paid"])
    low = Agent(name="low", model=wish, tools=[pay], policy_engine=PolicyEngine([rule]))
    top = Agent(name="top", model=delegating("low"), subagents=[low])
    parked = Runner(log=db, config=RunnerConfig(interaction_mode="external")).run_sync(top, user_message="go")

    said = shown(db, "approve", parked.pending[0].run_id, "--by", "ann", "--format", "text")
    assert parked.pending[0].run_id != parked.run_id, "what the subagent waits with is what its parent waits with"
    assert f"resume {parked.run_id} MODULE:AGENT" in said
