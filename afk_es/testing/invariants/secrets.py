"""No secret in the log: the values that tools are given to use are in no event, unless a model, a tool or a person has said them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

import msgspec

from afk_es.machine import AgentRunEvent, RunState
from afk_es.testing.invariants.invariant import Invariant
from afk_es.testing.simulation.asks import Ask
from afk_es.testing.simulation.facts import Fact, ToolRuns
from afk_es.testing.simulation.observing import ObservedRun

_SHORTEST = 6
"""Shorter values occur by chance, and are not looked for."""


class NoSecretInTheLog(Invariant):
    """The secrets that `secret_scope_provider` gives to tools, and those it is told of, are in no event and in no request to a model.

    Args:
        values: further ones, such as those that a tool under test holds.
    """

    name = "no secret in the log"

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._secrets: dict[str, bytes] = {}
        for value in values:
            self._keep(value)
        self._planted = frozenset(self._secrets)

    def asked(self, ask: Ask) -> None:
        """Learn the secrets of a call; look through a request."""
        if ask.context is not None and ask.context.secrets:
            for value in ask.context.secrets.values():
                self._keep(value)
        if ask.kind == "model" and self._secrets:
            for message in ask.about.messages:
                for secret in self._secrets:
                    if secret in message.content:
                        raise self.violated(f"{ask.key}: a secret is shown to the model", ask.run_id)

    def answered(self, ask: Ask, fact: Fact) -> None:
        """What the world itself says is no leak of ours; what a tool's own code says may be one."""
        if self._secrets and not isinstance(fact, ToolRuns):
            said = msgspec.json.encode(fact)
            for secret in [secret for secret, text in self._secrets.items() if text in said and secret not in self._planted]:
                del self._secrets[secret]

    def appended(self, run: ObservedRun, event: AgentRunEvent, before: RunState, after: RunState) -> None:
        """Look through the event."""
        if not self._secrets:
            return
        text = msgspec.json.encode([event.data, event.message])
        for secret in self._secrets.values():
            if secret in text:
                raise self.violated(f"{event.type} holds a secret", run)

    def _keep(self, value: str) -> None:
        if len(value) >= _SHORTEST:
            self._secrets[value] = json.dumps(value, ensure_ascii=False)[1:-1].encode("utf-8", "replace")


def keeps_secret(*values: str) -> Callable[[], Invariant]:
    """That these values are in no event and in no request to a model, whoever says them.

    Args:
        values: at least six characters each.
    """
    return lambda: NoSecretInTheLog(values)
