"""What the demo's model says: a function of the conversation so far, so that any process that resumes the run gets the same answers."""

from __future__ import annotations

import json
import re
from typing import Any

from afk_es.llms import LLMRequest, LLMResponse, ToolCall, Usage

USER_MESSAGE = "Hi, one of the two lamps of my order A-1042 arrived broken. Please refund me. Ada (ada@example.com)"

_ORDER = re.compile(r"\bA-\d+\b")
_ADDRESS = re.compile(r"[\w.]+@[\w.]+\w")
_CHARACTERS_A_TOKEN = 4


def script(request: LLMRequest) -> LLMResponse:
    """The next move of the support desk, from what the tools have answered so far."""
    said = next((message.content for message in reversed(request.messages) if message.role == "user"), "")
    order_id, address = _ORDER.search(said), _ADDRESS.search(said)
    if order_id is None or address is None:
        return _answer(request, "Please tell me the number of your order (such as A-1042) and your e-mail address.")
    return _next_move(request, _Seen(request), order_id[0], address[0])


def _next_move(request: LLMRequest, seen: _Seen, order_id: str, address: str) -> LLMResponse:
    if not seen.results("find_order"):
        calls = (("find_customer", {"email": address}), ("find_order", {"order_id": order_id}))
        return _ask(request, "I look up your order.", *calls)
    customer, order = seen.last("find_customer"), seen.last("find_order")
    if not isinstance(customer, dict) or not isinstance(order, dict):
        return _answer(request, "I could not find that customer or that order. Please check what you wrote.")
    if not seen.results("track_parcel"):
        return _ask(request, "Let me see what the carrier says.", ("track_parcel", {"parcel_id": order["parcel_id"]}))
    refund = _refund(request, seen, order)
    if refund is not None:
        return refund
    amount = order["unit_price"]
    if not seen.results("notify_customer"):
        text = f"Hello {customer['name']}, we have refunded {amount:.2f} USD for order {order['order_id']}."
        return _ask(
            request, "The refund stands. I tell the customer.", ("notify_customer", {"customer_id": customer["customer_id"], "text": text})
        )
    return _answer(request, f"Refunded {amount:.2f} USD for the broken {order['item']}.")


def _refund(request: LLMRequest, seen: _Seen, order: dict[str, Any]) -> LLMResponse | None:
    """The move that brings the refund forward, or None once it is made: at first for the whole order, as an eager model would have it."""
    attempts = seen.results("issue_refund")
    if not attempts:
        return _pay(request, "The customer deserves it all back.", order, order["total"])
    last = attempts[-1]
    if "unknown" in last:
        if not seen.results("list_refunds"):
            order_id = {"order_id": order["order_id"]}
            return _ask(request, "I do not know whether the refund went through, so I look.", ("list_refunds", order_id))
        return None if seen.last("list_refunds") else _pay(request, "It did not go through.", order, order["unit_price"])
    if "supervisor" in last:
        return _pay(request, "Then the one broken lamp.", order, order["unit_price"])
    return None


def _pay(request: LLMRequest, text: str, order: dict[str, Any], amount: float) -> LLMResponse:
    reason = f"{order['item']} arrived broken"
    return _ask(request, text, ("issue_refund", {"order_id": order["order_id"], "amount": amount, "reason": reason}))


class _Seen:
    """What the tools have answered since the user spoke, by tool."""

    def __init__(self, request: LLMRequest) -> None:
        self._results: dict[str, list[str]] = {}
        names: dict[str, str] = {}
        for message in request.messages:
            if message.role == "user":
                self._results.clear()
            names.update({call.id: call.tool_name for call in message.tool_calls})
            if message.role == "tool":
                self._results.setdefault(names[message.tool_call_id or ""], []).append(message.content)

    def results(self, tool_name: str) -> list[str]:
        return self._results.get(tool_name, [])

    def last(self, tool_name: str) -> Any:
        """The last answer of the tool as JSON; None where it is none, as an error is."""
        # The first line marks it as a tool's, if the runner is configured so.
        for text in (self._results[tool_name][-1], self._results[tool_name][-1].partition("\n")[2]):
            try:
                return json.loads(text)
            except ValueError:
                continue
        return None


def _ask(request: LLMRequest, text: str, *calls: tuple[str, dict[str, Any]]) -> LLMResponse:
    asked = sum(len(message.tool_calls) for message in request.messages)
    tool_calls = tuple(ToolCall(f"call_{asked + index}", name, arguments) for index, (name, arguments) in enumerate(calls, start=1))
    return LLMResponse(text=text, tool_calls=tool_calls, finish_reason="tool_calls", usage=_usage(request, text), model="scripted-desk")


def _answer(request: LLMRequest, text: str) -> LLMResponse:
    return LLMResponse(text=text, finish_reason="stop", usage=_usage(request, text), model="scripted-desk")


def _usage(request: LLMRequest, text: str) -> Usage:
    """Counted in characters: the script has no tokens, and what the log does with them is worth seeing."""
    read = sum(len(message.content) for message in request.messages) // _CHARACTERS_A_TOKEN
    written = len(text) // _CHARACTERS_A_TOKEN
    return Usage(read, written, read + written)
