"""Contracts: what a payload means is known where it is pushed, and whatever does not fit is refused there, with the place."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from afk_es import Agent, tool
from afk_es.core import Runner
from afk_es.errors import ConfigurationError, PayloadError, UnregisteredError
from afk_es.llms import Image
from afk_es.machine.values import canonical_json
from afk_es.queues import Contract, JobRequest, Known, RunRequest, contract
from afk_es.queues.contracts import chat_payload, outcome_of, plain_payload
from afk_es.testing import ScriptedModel

SUPPORT = Agent(name="support", model=ScriptedModel(["hello"]))


@tool
def resize(width: int, name: str = "photo") -> str:
    """Resize a picture."""
    return f"{name} {width}"


class Invoice(BaseModel):
    number: int
    to: str = "ann"


@contract("invoices.send.v1", payload=Invoice)
def send_invoice(invoice: Invoice) -> RunRequest:
    return RunRequest(agent="support", user_message=f"Send invoice {invoice.number} to {invoice.to}", thread_id=invoice.to)


@contract("pictures.v1")
def picture(payload: dict[str, Any]) -> JobRequest:
    return JobRequest(handler="resize", payload={"width": payload["w"]})


KNOWN = Known([SUPPORT], [resize], [send_invoice, picture])

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=3),
    max_leaves=10,
)


def asked(name: str, payload: dict[str, Any]) -> Any:
    return KNOWN.contract(name).request(plain_payload(payload), KNOWN)


def test_a_chat_asks_for_a_run_of_a_registered_agent() -> None:
    run = asked("runner.chat.v1", {"agent": "support", "user_message": "Hi", "context": {"a": 1}, "thread_id": "t"})
    assert run.agent is SUPPORT
    assert (run.user_message, run.context, run.thread_id) == ("Hi", {"a": 1}, "t")


def test_a_chat_carries_images_as_the_log_has_them() -> None:
    said: list[str | Image] = [
        "What is this?",
        Image(url="https://example.com/a.png"),
        Image(data=b"\x89PNG\r\n\x1a\n", media_type="image/png"),
    ]
    payload = chat_payload("support", said, None, None)
    assert plain_payload(payload) == payload, "it is JSON"
    again = asked("runner.chat.v1", payload).user_message
    assert chat_payload("support", again, None, None) == payload
    assert list(again)[1:] == said[1:]


def test_a_custom_contract_is_a_function_of_a_valid_payload() -> None:
    run = asked("invoices.send.v1", {"number": 7})
    assert (run.agent, run.user_message, run.thread_id) == (SUPPORT, "Send invoice 7 to ann", "ann")
    job = asked("pictures.v1", {"w": 3})
    assert job.agent.name == "job_resize"
    assert job.agent is asked("pictures.v1", {"w": 4}).agent, "a Runner binds it once"


@pytest.mark.parametrize(
    ("name", "payload", "says"),
    [
        ("runner.chat.v1", {}, "agent is missing"),
        ("runner.chat.v1", {"agent": ""}, "non-empty"),
        ("runner.chat.v1", {"agent": None}, "not null"),
        ("runner.chat.v1", {"agent": "support", "mesage": "x"}, "no 'mesage'"),
        ("runner.chat.v1", {"agent": "support", "context": [1]}, "context is an object"),
        ("runner.chat.v1", {"agent": "support", "thread_id": " "}, "thread_id"),
        ("runner.chat.v1", {"agent": "support", "user_message": 7}, "user_message"),
        ("runner.chat.v1", {"agent": "support", "user_message": []}, "user_message"),
        ("runner.chat.v1", {"agent": "support", "user_message": [{"type": "sound"}]}, "sound"),
        ("runner.chat.v1", {"agent": "support", "user_message": [7]}, "user_message"),
        ("runner.chat.v1", {"agent": "support", "user_message": [{"type": "image", "url": "file:///etc/passwd"}]}, "user_message"),
        ("job.dispatch.v1", {"payload": {}}, "handler is missing"),
        ("job.dispatch.v1", {"handler": 7}, "handler is the name"),
        ("job.dispatch.v1", {"handler": "resize", "payload": []}, "payload is an object"),
        ("job.dispatch.v1", {"handler": "resize", "payload": {"width": "wide"}}, "width"),
        ("invoices.send.v1", {"number": "seven"}, "number"),
        ("pictures.v1", {}, "KeyError"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused_with_the_place(name: str, payload: dict[str, Any], says: str) -> None:
    with pytest.raises(PayloadError, match=says):
        asked(name, payload)


def test_all_that_does_not_fit_a_handler_stands_in_one_line() -> None:
    """As an error of a task in a list, where the lines that a model is told would be escaped."""
    with pytest.raises(PayloadError, match=r"^invalid arguments for resize: width: .*; height: [^\n]*$"):
        asked("job.dispatch.v1", {"handler": "resize", "payload": {"width": "wide", "height": 1}})


def test_what_is_not_registered_is_said_with_what_is() -> None:
    with pytest.raises(UnregisteredError, match=r"no contract 'x'.*invoices\.send\.v1, job\.dispatch\.v1"):
        KNOWN.contract("x")
    with pytest.raises(UnregisteredError, match=r"no agent 'other'.*support"):
        asked("runner.chat.v1", {"agent": "other"})
    with pytest.raises(UnregisteredError, match=r"no job handler 'other'.*resize"):
        asked("job.dispatch.v1", {"handler": "other"})
    with pytest.raises(UnregisteredError, match="there is none"):
        Known().run_of(RunRequest(agent="support"))


def test_two_of_one_name_are_refused_and_two_of_what_is_known_add_up() -> None:
    with pytest.raises(ConfigurationError, match="two agents are named 'support'"):
        Known([SUPPORT, Agent(name="support", model=ScriptedModel([]))])
    with pytest.raises(ConfigurationError, match=r"two contracts.*job\.dispatch\.v1"):
        Known(contracts=[Contract("job.dispatch.v1", picture)])
    with pytest.raises(ConfigurationError, match="of the type Agent"):
        Known(["support"])  # type: ignore[list-item]
    assert (Known([SUPPORT]) | Known(handlers=[resize])).run_of(JobRequest(handler="resize", payload={"width": 1})).agent.tools
    assert Known([SUPPORT, SUPPORT]).agents == {"support": SUPPORT}


def test_a_contract_has_a_name_that_can_stand_in_a_queue() -> None:
    for name in ("", " ", "a b", "ä", "x" * 129, ".x"):
        with pytest.raises(ConfigurationError, match="a contract is named"):
            Contract(name, picture)


def test_a_contract_is_no_coroutine() -> None:
    with pytest.raises(ConfigurationError, match="and not async"):

        @contract("slow.v1")  # type: ignore[arg-type]
        async def slow(payload: dict[str, Any]) -> RunRequest:
            return RunRequest(agent="support")


def test_a_contract_that_asks_for_nothing_known_is_the_callers_mistake() -> None:
    @contract("odd.v1")
    def odd(payload: dict[str, Any]) -> RunRequest:
        return "run it"  # type: ignore[return-value]

    with pytest.raises(ConfigurationError, match="gave a str"):
        odd.asked({})


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ([1], "not list"),
        ("{}", "not str"),
        (None, "not NoneType"),
        ({"a": {"b": [math.nan]}}, r"no nan; it stands at payload\.a\.b\[0\]"),
        ({"a": -math.inf}, "no -inf"),
        ({1: "a"}, "keys are strings"),
        ({"a": object()}, "object is not"),
        ({"a": b"x"}, "bytes is not"),
        ({"a": {1, 2}}, "set is not"),
    ],
)
def test_a_payload_is_json(payload: object, says: str) -> None:
    with pytest.raises(PayloadError, match=says):
        plain_payload(payload)


def test_a_payload_is_not_nested_without_end() -> None:
    nested: dict[str, Any] = {}
    for _ in range(200):
        nested = {"a": nested}
    with pytest.raises(PayloadError, match="at most 100 deep"):
        plain_payload(nested)
    circle: dict[str, Any] = {}
    circle["a"] = circle
    with pytest.raises(PayloadError, match="at most 100 deep"):
        plain_payload(circle)


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), JSON, max_size=3))
def test_what_is_json_is_stored_as_it_is(payload: dict[str, Any]) -> None:
    assert canonical_json(plain_payload(payload)) == canonical_json(payload)


async def test_the_outcome_of_a_chat_is_its_structured_answer_as_json_or_its_text() -> None:
    plain = await Runner(log=":memory:").run(Agent(model=ScriptedModel(["hello"])), user_message="Hi")
    assert outcome_of(plain) == "hello"
    model = ScriptedModel(['{"number": 7}'])
    structured = await Runner(log=":memory:").run(Agent(model=model, output_type=Invoice), user_message="Hi")
    assert outcome_of(structured) == {"number": 7, "to": "ann"}
