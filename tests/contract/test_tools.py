"""contract.md, "Tools": the decorator, its forms, the order around a call, and what the model is told of it."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import inspect
import threading
from typing import Any, get_overloads

import msgspec
import pytest
from pydantic import BaseModel

from afk_es import Agent, PolicyEngine, PolicyRule, Runner, tool
from afk_es.clock import SimulatedClock
from afk_es.core import AgentResult, RunnerConfig
from afk_es.llms import ToolCall
from afk_es.tools import ToolContext, ToolResult, middleware, posthook, prehook
from tests.core.scenario import Counted, Stuck, agent, asks, limits, log_of, model_of, only, says

OPTIONS: dict[str, Any] = {
    "name": None,
    "description": None,
    "timeout": None,
    "prehooks": (),
    "posthooks": (),
    "middlewares": (),
    "raise_on_error": False,
    "read_only": False,
    "idempotent": False,
    "destructive": None,
    "open_world": None,
}
"""The decorator's keyword-only options. The contract leaves the default of the first six open: there the empty one."""


class Order(BaseModel):
    order_id: str
    amount: float = 1.0


async def called(runner: Runner, function: Any, arguments: dict[str, Any] | str, **fields: Any) -> tuple[AgentResult, str]:
    """The result of a run that calls the tool once, and what the model was shown of it."""
    name = getattr(function, "name", None) or function.__name__
    described = agent([asks((name, arguments)), says("ok")], function, **fields)  # type: ignore[arg-type]
    result = await runner.run(described, user_message="go")
    return result, model_of(described).requests[1].messages[-1].content


# ---------------------------------------------------------------------------------------------------------------------- the decorator


@pytest.mark.parametrize("option", OPTIONS)
def test_each_option_is_keyword_only_with_its_default(option: str) -> None:
    decorator, _bare = get_overloads(tool)
    parameter = inspect.signature(decorator).parameters[option]
    assert (parameter.kind, parameter.default) == (inspect.Parameter.KEYWORD_ONLY, OPTIONS[option])


def test_name_and_description_are_the_functions_where_none_is_given() -> None:
    @tool
    def plain() -> None:
        """Do nothing."""

    assert (plain.name, plain.description) == ("plain", "Do nothing.")


def test_options_by_position_are_refused() -> None:
    decorate: Any = tool
    with pytest.raises(TypeError):
        decorate(Order, "name")


def test_each_option_can_be_given() -> None:
    @prehook
    def before(args: dict[str, Any]) -> dict[str, Any]:
        return args

    @posthook
    def after(result: dict[str, Any]) -> dict[str, Any]:
        return result

    @middleware
    async def around(call_next: Any, args: Any) -> Any:
        return await call_next(args)

    @tool(
        Order,
        name="pay",
        description="Pay.",
        timeout=3,
        prehooks=[before],
        posthooks=[after],
        middlewares=[around],
        raise_on_error=True,
        read_only=False,
        idempotent=True,
        destructive=True,
        open_world=True,
    )
    def function(args: Order) -> str:
        return args.order_id

    spec = function.spec()
    assert (spec.name, spec.description, spec.timeout_s, spec.raise_on_error) == ("pay", "Pay.", 3, True)
    assert (spec.read_only, spec.idempotent, spec.destructive, spec.open_world) == (False, True, True, True)


def test_without_args_model_the_schema_comes_from_the_typed_signature() -> None:
    @tool
    def refund(order_id: str, amount: float = 1.0) -> str:
        """Pay money back."""
        return order_id

    parameters = refund.spec().parameters
    assert {name: shape["type"] for name, shape in parameters["properties"].items()} == {"order_id": "string", "amount": "number"}
    assert parameters["required"] == ["order_id"]


def test_with_args_model_the_schema_is_the_models() -> None:
    @tool(Order)
    def refund(args: Order) -> str:
        return args.order_id

    assert set(refund.spec().parameters["properties"]) == {"order_id", "amount"}


@tool(Order)
def args_alone(args: Order) -> str:
    return f"{args.order_id} {args.amount}"


@tool(Order)
def args_ctx(args: Order, ctx: ToolContext) -> str:
    return f"{args.order_id} {args.amount} {ctx.tool_call_id}"


@tool(Order)
async def ctx_args(ctx: ToolContext, args: Order) -> str:
    return f"{args.order_id} {args.amount} {ctx.tool_call_id}"


@tool
async def plain_parameters(order_id: str, amount: float = 1.0) -> str:
    return f"{order_id} {amount}"


@pytest.mark.parametrize(
    ("function", "output"),
    [(args_alone, "A 2.0"), (args_ctx, "A 2.0 c1"), (ctx_args, "A 2.0 c1"), (plain_parameters, "A 2.0")],
    ids=["(args)", "(args, ctx)", "(ctx, args)", "plain typed parameters"],
)
async def test_the_forms_of_a_function_sync_or_async(function: Any, output: str, runner: Runner) -> None:
    result, _shown = await called(runner, function, {"order_id": "A", "amount": 2})
    assert result.tool_executions[0].output == output


async def test_sync_functions_run_in_a_thread_never_blocking_the_loop(runner: Runner) -> None:
    may_go = threading.Event()
    threads: list[int] = []

    def wait() -> str:
        threads.append(threading.get_ident())
        assert may_go.wait(10)
        return "done"

    async def release() -> str:
        may_go.set()
        return "released"

    described = agent([asks(("wait", {}), ("release", {})), says("ok")], wait, release)
    result = await runner.run(described, user_message="go")
    assert [record.success for record in result.tool_executions] == [True, True]
    assert threads != [threading.get_ident()]


@pytest.mark.parametrize(("hint", "ran"), [({}, 1), ({"read_only": True}, 2), ({"idempotent": True}, 2), ({"destructive": True}, 1)])
async def test_the_hints_decide_recovery(hint: dict[str, Any], ran: int, runner: Runner) -> None:
    stuck = Stuck(**hint)
    described = agent([asks(("stuck", {})), says("ok")], stuck.tool)
    handle = await runner.run_handle(described, user_message="go")
    await stuck.begun.wait()
    await handle.interrupt()
    await handle.await_result()
    stuck.let_go.set()
    assert (await runner.resume(described, run_id=handle.run_id)).state == "completed"
    assert stuck.ran == ran


async def test_raise_on_error_fails_the_run(runner: Runner) -> None:
    result = await runner.run(agent([asks(("work", {}))], Counted(RuntimeError("broke"), raise_on_error=True).tool), user_message="go")
    assert result.state == "failed"
    assert "broke" in result.final_text


# ----------------------------------------------------------------------------------------------------------------------------- order


async def test_the_order_around_a_call(runner: Runner) -> None:
    """Validate, policy gate, prehooks (revalidated), middleware (first outermost), function, posthooks, sanitise, return."""
    seen: list[str] = []

    @prehook
    def before(args: dict[str, Any]) -> dict[str, Any]:
        seen.append(f"prehook {sorted(args.items())}")
        return {**args, "amount": "7"}

    def named(name: str) -> Any:
        @middleware
        async def around(call_next: Any, args: Any) -> Any:
            seen.append(f"{name} in")
            output = await call_next(args)
            seen.append(f"{name} out")
            return output

        return around

    @posthook
    def after(result: dict[str, Any]) -> dict[str, Any]:
        seen.append(f"posthook {sorted(result)} {result['output']} of {result['tool_name']}")
        return {**result, "output": "<|im_start|>after"}

    @tool(prehooks=[before], middlewares=[named("first"), named("second")], posthooks=[after])
    async def refund(order_id: str, amount: float = 1.0) -> str:
        seen.append(f"function {order_id} {amount}")
        return "paid"

    def gate(event: Any) -> bool:
        seen.append(f"policy {sorted(event.tool_args.items())}")
        return False

    engine = PolicyEngine([PolicyRule(action="deny", condition=gate, subjects=("tool",))])
    result, shown = await called(runner, refund, {"order_id": "A"}, policy_engine=engine)
    assert seen == [
        "policy [('amount', 1.0), ('order_id', 'A')]",
        "prehook [('amount', 1.0), ('order_id', 'A')]",
        "first in",
        "second in",
        "function A 7.0",
        "second out",
        "first out",
        "posthook ['output', 'tool_name'] paid of refund",
    ]
    assert result.tool_executions[0].output == "<|im_start|>after"
    assert "<|im_start|>" not in shown


async def test_validation_comes_before_the_policy_gate(runner: Runner) -> None:
    asked: list[Any] = []

    def gate(event: Any) -> bool:
        asked.append(event)
        return False

    engine = PolicyEngine([PolicyRule(action="deny", condition=gate, subjects=("tool",))])
    await called(runner, plain_parameters, {"amount": 3}, policy_engine=engine)
    assert asked == []


async def test_what_a_prehook_returns_is_revalidated(runner: Runner) -> None:
    ran = False

    @prehook
    def spoil(args: dict[str, Any]) -> dict[str, Any]:
        return {**args, "amount": "a lot"}

    @tool(prehooks=[spoil])
    async def refund(order_id: str, amount: float = 1.0) -> str:
        nonlocal ran
        ran = True
        return "paid"

    result, shown = await called(runner, refund, {"order_id": "A"})
    assert (result.tool_executions[0].success, ran) == (False, False)
    assert "amount" in shown


# ----------------------------------------------------------------------------------------------------------------------- ToolContext


async def test_tool_context(clock: SimulatedClock) -> None:
    told: list[ToolContext] = []

    async def look(ctx: ToolContext) -> str:
        told.append(ctx)
        return "seen"

    async with Runner(log=":memory:", clock=clock, config=RunnerConfig(secret_scope_provider=lambda ctx: {"key": "k"})) as runner:
        described = agent([asks(("look", {})), says("ok")], look, name="scout")
        result = await runner.run(described, user_message="go", context={"user_id": "ada", "region": "eu"})
    (ctx,) = told
    assert (ctx.run_id, ctx.thread_id, ctx.tool_call_id) == (result.run_id, result.thread_id, "c1")
    assert (ctx.user_id, ctx.metadata["region"], ctx.secrets["key"], ctx.agent_name, ctx.step) == ("ada", "eu", "k", "scout", 1)
    assert ctx.idempotency_key
    fields = ["run_id", "thread_id", "tool_call_id", "idempotency_key", "user_id", "metadata", "secrets", "agent_name", "step"]
    assert set(fields) <= set(ctx.__struct_fields__)


async def test_the_idempotency_key_is_stable_across_retries_and_resumes(runner: Runner) -> None:
    keys: list[str] = []
    stuck = asyncio.Event()

    @tool(idempotent=True)
    async def pay(ctx: ToolContext) -> str:
        keys.append(ctx.idempotency_key)
        if len(keys) == 1:
            raise RuntimeError("try again")
        if len(keys) == 2:
            stuck.set()
            await asyncio.Event().wait()
        return "paid"

    described = agent([asks(("pay", {})), asks(("pay", {})), says("ok")], pay, fail_safe=limits(tool_failure_policy="retry_then_fail"))
    handle = await runner.run_handle(described, user_message="go")
    await stuck.wait()
    await handle.interrupt()
    await handle.await_result()
    assert (await runner.resume(described, run_id=handle.run_id)).state == "completed"
    first, again, resumed, other = keys
    assert first == again == resumed != other


# ----------------------------------------------------------------------------------------------------------------- non-JSON outputs


@dataclasses.dataclass
class Point:
    x: int
    y: int


@pytest.mark.parametrize(
    ("output", "rendered"),
    [
        (Order(order_id="A"), {"order_id": "A", "amount": 1.0}),
        (Point(1, 2), {"x": 1, "y": 2}),
        (dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC), "2026-01-02T03:04:00Z"),
        (b"bytes", "bytes"),
        ((1, 2), [1, 2]),
        ({1: dt.date(2026, 1, 2)}, {"1": "2026-01-02"}),
    ],
    ids=["a model", "a dataclass", "a datetime", "bytes", "a tuple", "nested"],
)
async def test_non_json_outputs_become_json_the_way_pydantic_renders_them(output: Any, rendered: Any, runner: Runner) -> None:
    async def look() -> Any:
        return output

    result, _shown = await called(runner, look, {})
    assert result.tool_executions[0].output == rendered


async def test_a_tool_result_says_by_itself_whether_it_went_well(runner: Runner) -> None:
    async def look() -> ToolResult:
        return ToolResult(success=False, error="nothing there")

    result, shown = await called(runner, look, {})
    assert not result.tool_executions[0].success
    assert "nothing there" in shown


# --------------------------------------------------------------------------------------- "errors the model sees (and can correct)"


async def corrected(runner: Runner, wrong: tuple[str, Any], *tools: Any, **fields: Any) -> str:
    """What the model was told of a call that did not work; it then gets on with its work."""
    described: Agent = agent([asks(wrong), says("I see")], *tools, **fields)
    result = await runner.run(described, user_message="go")
    assert (result.state, result.final_text) == ("completed", "I see")
    return model_of(described).requests[1].messages[-1].content


async def test_invalid_arguments_with_pydantics_text(runner: Runner) -> None:
    told = await corrected(runner, ("plain_parameters", {"amount": "many"}), plain_parameters)
    assert "order_id" in told
    assert "Field required" in told
    assert "Input should be a valid number" in told


async def test_arguments_that_are_no_json(runner: Runner) -> None:
    assert "JSON" in await corrected(runner, ("plain_parameters", '{"order_id": '), plain_parameters)


async def test_an_unknown_tool(runner: Runner) -> None:
    told = await corrected(runner, ("plain_parameter", {}), plain_parameters)
    assert "'plain_parameter'" in told
    assert "plain_parameters" in told


async def test_a_timeout(runner: Runner) -> None:
    @tool(timeout=0.01)
    async def slow() -> str:
        await asyncio.Event().wait()
        return "never"

    assert "0.01 s" in await corrected(runner, ("slow", {}), slow)


async def test_the_exceptions_text(runner: Runner) -> None:
    assert "no such order" in await corrected(runner, ("work", {}), Counted(LookupError("no such order")).tool)


async def test_the_denials_reason(runner: Runner) -> None:
    engine = PolicyEngine([PolicyRule(action="deny", condition=lambda event: True, subjects=("tool",), reason="closed on Sundays")])
    assert "closed on Sundays" in await corrected(runner, ("work", {}), Counted().tool, policy_engine=engine)


async def test_the_tool_call_turn_and_the_results_go_back_as_such_each_with_its_call_id(runner: Runner) -> None:
    described = agent([asks(("work", {"n": 1}), ("work", {"n": 2}), text="let me see"), says("ok")], Counted().tool)
    await runner.run(described, user_message="go")
    user, assistant, *results = model_of(described).requests[1].messages
    assert (user.role, user.content) == ("user", "go")
    assert (assistant.role, assistant.content) == ("assistant", "let me see")
    assert tuple(assistant.tool_calls) == (ToolCall("c1", "work", {"n": 1}), ToolCall("c2", "work", {"n": 2}))
    assert [(message.role, message.tool_call_id) for message in results] == [("tool", "c1"), ("tool", "c2")]
    assert [message.content.splitlines()[-1] for message in results] == ["done 1", "done 2"]


async def test_a_tools_start_is_durable_before_it_runs(runner: Runner) -> None:
    in_log: list[str] = []

    async def look(ctx: ToolContext) -> str:
        in_log.append((await log_of(runner, ctx.run_id))[-1].type)
        return "seen"

    result, _shown = await called(runner, look, {})
    assert in_log == ["tool_started"]
    assert len(only(await log_of(runner, result.run_id), "tool_started")) == 1


def test_the_context_is_frozen() -> None:
    assert issubclass(ToolContext, msgspec.Struct)
    context: Any = ToolContext()
    with pytest.raises(AttributeError):
        context.run_id = "other"
