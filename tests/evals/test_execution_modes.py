"""How many cases run at once: one, as many as may, or as many as the provider bears."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from afk_es import Agent, FailSafeConfig
from afk_es.evals.models import EvalCase
from afk_es.evals.widths import Width
from afk_es.llms import LLMRequest, LLMResponse, LLMRetryableError
from afk_es.testing import ScriptedModel
from tests.evals.suites import answer, ran


class Provider:
    """A model that notes how many ask it at once, and refuses those beyond what it bears."""

    def __init__(self, bears: int = 100) -> None:
        self.most = 0
        self.refused = 0
        self._now = 0
        self._bears = bears

    async def reply(self, request: LLMRequest) -> LLMResponse:
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            for _turn in range(20):
                await asyncio.sleep(0)
            if self._now > self._bears:
                self.refused += 1
                raise LLMRetryableError("slow down", status_code=429)
            return answer()
        finally:
            self._now -= 1

    def cases(self, count: int) -> list[EvalCase]:
        """So many cases that ask it once, and fail when they are refused."""
        described = Agent(model=ScriptedModel(self.reply), fail_safe=FailSafeConfig(llm_failure_policy="fail_fast"))
        return [EvalCase(name=f"case-{n}", agent=described, user_message="hi", expected_state="any") for n in range(count)]


@pytest.mark.parametrize(("mode", "at_most"), [("sequential", 1), ("parallel", 3), ("adaptive", 3)])
def test_no_more_run_at_once_than_the_mode_allows(mode: str, at_most: int) -> None:
    provider = Provider()
    suite = ran(*provider.cases(12), execution_mode=mode, max_concurrency=3)
    assert (suite.passed, suite.widest, provider.most <= at_most) == (12, at_most, True)


def test_adaptive_is_refused_less_often_than_parallel() -> None:
    """A provider that bears two: parallel goes on with eight at once, adaptive steps back each time."""
    refused: dict[str, int] = {}
    for mode in ("parallel", "adaptive"):
        provider = Provider(bears=2)
        ran(*provider.cases(48), execution_mode=mode, max_concurrency=8)
        refused[mode] = provider.refused
    assert refused["adaptive"] < refused["parallel"] / 2


def test_the_width_grows_by_one_and_halves_between_one_and_the_maximum() -> None:
    width = Width("adaptive", 5)
    seen = [width.now]
    for crowded in (False, False, False, False, False, True, False, True, True, True):
        width.ended(crowded=crowded)
        seen.append(width.now)
    assert seen == [1, 2, 3, 4, 5, 5, 2, 3, 1, 1, 1]


@pytest.mark.parametrize(("mode", "now"), [("sequential", 1), ("parallel", 5)])
def test_a_fixed_width_stays(mode: Any, now: int) -> None:
    width = Width(mode, 5)
    for crowded in (True, False, True):
        width.ended(crowded=crowded)
        assert width.now == now


def test_a_thousand_cases_in_memory() -> None:
    described = Agent(model=ScriptedModel(lambda request: answer()))
    cases = [EvalCase(name=f"case-{n}", agent=described, user_message="hi") for n in range(1_000)]
    suite = ran(*cases)
    assert (suite.passed, suite.widest) == (1_000, 4)
    assert suite.duration_s < 30
