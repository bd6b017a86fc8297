"""Hostile logs, made once a session, and an agent of the user's own that says hostile things."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.hostile_log import KEPT, MARKUP, NAMES, SECRET, TERMINAL, Hostile, hostile_copy
from tests.support.stories import Stories

MODULE = '''
from afk_es import Agent, PolicyEngine, PolicyRule, tool
from afk_es.evals.models import EvalCase
from afk_es.llms import LLMResponse, ToolCall
from afk_es.testing import ScriptedModel

POISON = {poison!r}

@tool(read_only=True)
def say(text: str) -> dict[str, str]:
    """Say it."""
    return {{text: text}}

def script(request):
    if request.messages[-1].role == "tool":
        return POISON
    return LLMResponse(text=POISON, tool_calls=(ToolCall(POISON, "say", {{"text": POISON}}), ToolCall("c2", POISON, {{POISON: POISON}})))

agent = Agent(name="hostile", model=ScriptedModel(script), tools=[say], instructions=POISON)
policy = PolicyEngine(rules=[PolicyRule(action="deny", condition=lambda event: True, rule_id=POISON, reason=POISON)])
suite = [EvalCase(name=POISON, agent=agent, user_message=POISON, tags=(POISON,), assertions=[lambda result: False])]
'''


@pytest.fixture(scope="session")
def obeyed(stories: Stories, tmp_path_factory: pytest.TempPathFactory) -> Hostile:
    """A log whose every text would drive a terminal."""
    return hostile_copy(stories.log, tmp_path_factory.mktemp("terminal") / "hostile.db", TERMINAL)


@pytest.fixture(scope="session")
def marked_up(stories: Stories, tmp_path_factory: pytest.TempPathFactory) -> Hostile:
    """A log whose every text would be markup that acts."""
    return hostile_copy(stories.log, tmp_path_factory.mktemp("markup") / "hostile.db", MARKUP)


@pytest.fixture(scope="session")
def confided(stories: Stories, tmp_path_factory: pytest.TempPathFactory) -> Hostile:
    """A log with a key in every text that is not what something is called."""
    return hostile_copy(stories.log, tmp_path_factory.mktemp("secret") / "confided.db", SECRET, KEPT | NAMES)


@pytest.fixture(autouse=True, scope="module")
def at_a_desk() -> Iterator[None]:
    """As for a person: goldens are written neither in CI nor by one of several workers, and here they are."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CI", "PYTEST_XDIST_WORKER"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture
def module(tmp_path: Path) -> Iterator[Path]:
    """A file of the user's: an agent, a policy and a suite that say what a terminal obeys."""
    path = tmp_path / "desk_of_security.py"
    path.write_text(MODULE.format(poison=TERMINAL))
    before = list(sys.path)
    yield path
    sys.path[:] = before
    sys.modules.pop(path.stem, None)
