"""What each model of a run used up, on the command line."""

from __future__ import annotations

from pathlib import Path

from afk_es import Agent, FailSafeConfig, Runner
from afk_es.errors import LLMConfigurationError
from afk_es.llms import LLMResponse, Usage
from afk_es.testing import ScriptedModel
from tests.cli.conftest import Afk


def test_a_run_of_several_models_tells_what_each_used_up(afk: Afk, log: Path) -> None:
    def wrong(request: object) -> Exception:
        return LLMConfigurationError("unknown model")

    fallback = ScriptedModel([LLMResponse(text="hello", usage=Usage(10, 5, 15), cost_usd=0.02)], model="plan b")
    agent = Agent(model=ScriptedModel(wrong, model="plan a"), fail_safe=FailSafeConfig(fallback_model_chain=(fallback,)))
    Runner(log=log).run_sync(agent, user_message="Hi")
    shown = afk("show").stdout.splitlines()
    assert "  plan a: 1 request, 0 answered; 0 tokens; cost -" in shown
    assert "  plan b: 1 request, 1 answered; 15 tokens; cost $0.020" in shown


def test_a_run_of_one_model_says_it_once(afk: Afk, log: Path) -> None:
    Runner(log=log).run_sync(Agent(model=ScriptedModel(["hello"])), user_message="Hi")
    assert "answered" not in afk("show").stdout
