"""What a model is asked and what becomes of its answer: instructions, parameters, structured output."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from afk_es.core import Runner
from afk_es.errors import ConfigurationError
from afk_es.llms import LLMResponse
from afk_es.testing import ScriptedModel
from tests.core.scenario import Counted, agent, asks, limits, log_of, model_of, only, says, turns, types

# -------------------------------------------------------------------------------------------------------------------- instructions


async def test_instructions_lead_every_request_and_are_not_part_of_the_thread(runner: Runner) -> None:
    described = agent([says("one"), says("two")], instructions="be kind")
    first = await runner.run(described, user_message="hello")
    await runner.run(described, user_message="again", thread_id=first.thread_id)
    assert turns(model_of(described).requests[1]) == [
        ("system", "be kind"),
        ("user", "hello"),
        ("assistant", "one"),
        ("user", "again"),
    ]


def by_function(context: dict[str, Any]) -> str:
    return f"serve {context['customer']}"


async def by_coroutine(context: dict[str, Any]) -> str:
    return f"serve {context['customer']}"


@pytest.mark.parametrize("instructions", [by_function, by_coroutine])
async def test_dynamic_instructions_are_asked_at_each_step_and_recorded(instructions: Any, runner: Runner) -> None:
    asked = []

    def counted(context: dict[str, Any]) -> Any:
        asked.append(dict(context))
        context["customer"] = "nobody"  # What a function is handed is a copy.
        return instructions(asked[-1])

    described = agent([asks(("work", {})), says("done")], Counted().tool, instructions=counted, context_defaults={"customer": "Ada"})
    result = await runner.run(described, context={"seat": 1})
    assert result.state == "completed"
    assert asked == [{"customer": "Ada", "seat": 1}] * 2
    resolved = only(await log_of(runner, result.run_id), "instructions_resolved")
    assert [event.data["instructions"] for event in resolved] == ["serve Ada"] * 2
    assert [request.messages[0].content for request in model_of(described).requests] == ["serve Ada"] * 2


def raising(context: dict[str, Any]) -> str:
    raise LookupError("no such customer")


def wordless(context: dict[str, Any]) -> Any:
    return None


@pytest.mark.parametrize(("instructions", "why"), [(raising, "no such customer"), (wordless, "returned a NoneType")])
@pytest.mark.parametrize(("policy", "state"), [("retry_then_fail", "failed"), ("retry_then_degrade", "degraded")])
async def test_instructions_that_fail_are_a_failed_model_call(instructions: Any, why: str, policy: Any, state: str, runner: Runner) -> None:
    described = agent([says("never")], instructions=instructions, fail_safe=limits(llm_failure_policy=policy))
    result = await runner.run(described)
    assert (result.state, len(model_of(described).requests)) == (state, 0)
    assert why in (result.error or "")
    (failed,) = only(await log_of(runner, result.run_id), "llm_failed")
    assert failed.data["classification"] == "terminal"


# -------------------------------------------------------------------------------------------------------------------------- models


async def test_what_a_request_carries(runner: Runner) -> None:
    described = agent([says("ok")], Counted().tool, reasoning_effort="high", reasoning_max_tokens=100)
    result = await runner.run(described, user_message="hello")
    (request,) = model_of(described).requests
    assert request.model == "scripted-1"
    assert [tool.name for tool in request.tools] == ["work"]
    assert (request.reasoning_effort, request.reasoning_max_tokens, request.reasoning_enabled) == ("high", 100, None)
    assert request.metadata == {"run_id": result.run_id, "thread_id": result.thread_id}


async def test_a_resolver_finds_the_model_of_a_name(runner: Runner) -> None:
    found = ScriptedModel([says("found")])
    described = agent(found, model="house/large", model_resolver={"house/large": found}.__getitem__)
    result = await runner.run(described)
    assert (result.final_text, result.requested_model, found.requests[0].model) == ("found", "house/large", "house/large")


async def test_a_resolver_that_finds_no_model_is_a_mistake_before_anything_is_written(runner: Runner) -> None:
    with pytest.raises(ConfigurationError, match="model_resolver"):
        await runner.run(agent([], model="house/large", model_resolver=lambda name: None))
    assert await runner.log.runs() == []


# ---------------------------------------------------------------------------------------------------------------- structured output


class Invoice(BaseModel):
    """An answer with all that makes a second validation hard: aliases, strict dates, a computed default."""

    model_config = ConfigDict(extra="forbid", strict=True)

    number: int = Field(alias="invoiceNumber")
    due: dt.date
    lines: tuple[str, ...] = ()

    @field_validator("number")
    @classmethod
    def _positive(cls, number: int) -> int:
        if number <= 0:
            raise ValueError("invoice numbers begin at 1")
        return number


GOOD = '{"invoiceNumber": 7, "due": "2026-11-30", "lines": ["tea"]}'
INVOICE = Invoice(invoiceNumber=7, due=dt.date(2026, 11, 30), lines=("tea",))


@pytest.mark.parametrize("text", [GOOD, f"```json\n{GOOD}\n```", f"```\n{GOOD}\n```\n", f"  {GOOD}\n"])
async def test_an_answer_with_or_without_a_code_fence(text: str, runner: Runner) -> None:
    described = agent([says(text)], output_type=Invoice)
    result = await runner.run(described)
    assert (result.state, result.final_structured, result.final_text) == ("completed", INVOICE, text)
    assert (await runner.resume(described, run_id=result.run_id)).final_structured == INVOICE


async def test_the_providers_structured_response_goes_before_the_text(runner: Runner) -> None:
    answer = LLMResponse(text="here you are", structured_response={"invoiceNumber": 7, "due": "2026-11-30", "lines": ["tea"]})
    result = await runner.run(agent([answer], output_type=Invoice))
    assert result.final_structured == INVOICE


async def test_the_schema_goes_with_the_request(runner: Runner) -> None:
    described = agent([says(GOOD)], output_type=Invoice)
    await runner.run(described)
    schema = model_of(described).requests[0].response_format
    assert schema is not None
    assert schema["required"] == ["invoiceNumber", "due"]


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ("I think it is seven", "not JSON"),
        ('{"invoiceNumber": 7}', "Field required"),
        ('{"invoiceNumber": 0, "due": "2026-11-30"}', "invoice numbers begin at 1"),
        ("", "not JSON"),
    ],
)
async def test_an_answer_that_does_not_validate_goes_back_with_the_reason(bad: str, told: str, runner: Runner) -> None:
    described = agent([says(bad), says(GOOD)], output_type=Invoice)
    result = await runner.run(described)
    assert (result.state, result.final_structured) == ("completed", INVOICE)
    last = model_of(described).requests[1].messages[-1]
    assert last.role == "user"
    assert told in last.content
    assert types(await log_of(runner, result.run_id))[-2:] == ["output_validated", "run_completed"]


@pytest.mark.parametrize(("policy", "state"), [("retry_then_fail", "failed"), ("retry_then_degrade", "degraded")])
async def test_an_answer_that_never_validates_ends_at_max_steps(policy: Any, state: str, runner: Runner) -> None:
    described = agent([says("no")] * 9, output_type=Invoice, fail_safe=limits(max_steps=3, llm_failure_policy=policy))
    result = await runner.run(described)
    assert (result.state, len(model_of(described).requests), result.final_structured) == (state, 3, None)
    assert "max_steps" in (result.error or "")


async def test_a_validator_with_a_bug_is_told_to_the_model_like_any_other_fault(runner: Runner) -> None:
    class Fragile(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def _known(cls, name: str) -> str:
            return {"ada": "Ada"}[name]

    described = agent([says('{"name": "bob"}'), says('{"name": "ada"}')], output_type=Fragile)
    result = await runner.run(described)
    assert result.final_structured == Fragile(name="ada")
    assert "KeyError" in model_of(described).requests[1].messages[-1].content
