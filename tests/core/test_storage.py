"""Storage grows with what happened, and not with the length of the conversation that each step sends."""

from __future__ import annotations

from pathlib import Path

import pytest

from afk_es.core import Runner, RunnerConfig
from afk_es.llms import LLMRequest, LLMResponse, ToolCall
from tests.core.scenario import Counted, agent, limits


def _bytes_a_step(path: Path, steps: int) -> float:
    def script(request: LLMRequest) -> LLMResponse:
        step = len(request.messages) // 2
        if step == steps:
            return LLMResponse(text="done")
        return LLMResponse(text="x" * 200, tool_calls=(ToolCall(f"c{step}", "work", {"n": step}),))

    described = agent(script, Counted().tool, fail_safe=limits(max_steps=steps + 1, max_llm_calls=steps + 1, max_tool_calls=steps))
    result = Runner(log=path, config=RunnerConfig(durability="normal")).run_sync(described, user_message="go")
    assert (result.state, result.state_snapshot.tool_calls) == ("completed", steps)
    return path.stat().st_size / steps


def test_bytes_a_step_are_constant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AFK_ES_ALWAYS_REPLAY")  # To refold after each write takes quadratic time.
    early, late = _bytes_a_step(tmp_path / "100.db", 100), _bytes_a_step(tmp_path / "1000.db", 1_000)
    assert late < 1.05 * early < 4_000
