"""The exact request of a past model call, rebuilt from the log and proved by the hash that was recorded before it was sent."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from afk_es.errors import UsageError
from afk_es.machine import AgentRunEvent, evolve, initial_state
from afk_es.machine.requests import ModelRequest, model_request
from afk_es.machine.values import Messages


class RebuiltRequest(msgspec.Struct, frozen=True):
    """What a model was asked.

    Attributes:
        seq: of the `llm_called`.
        request: the request as the machine makes it of the state before that event.
        recorded_hash: the hash in the event, written before the request was sent.
    """

    seq: int
    request: ModelRequest
    recorded_hash: str

    @property
    def proved(self) -> bool:
        """Whether the rebuilt request has the recorded hash: it is then what was sent, to the byte of its canonical form."""
        return self.request.hash == self.recorded_hash


def request_at(events: Iterable[AgentRunEvent], seq: int, history: Messages | None = None) -> RebuiltRequest:
    """The request of the `llm_called` at `seq`.

    Args:
        events: the run from its first event; those after `seq` are not looked at.
        history: what the thread remembered when the run began.

    Raises:
        UsageError: there is no `llm_called` at `seq`; the message names where there are some.
        InvariantError: the events before it do not fold.
    """
    called: list[int] = []
    state = None
    for event in events:
        if state is None:
            state = initial_state(event.run_id, event.thread_id, history)
        if event.type == "llm_called":
            called.append(event.seq)
            if event.seq == seq:
                evolve(state, event)  # An event that does not fit has no request.
                return RebuiltRequest(seq, model_request(state, event.data["model_index"]), event.data["request_hash"])
        if event.seq >= seq:
            break
        state = evolve(state, event)
    before = f"the last one before it is at seq {called[-1]}" if called else "there is none before it"
    raise UsageError(f"there is no llm_called at seq {seq}; {before}")
