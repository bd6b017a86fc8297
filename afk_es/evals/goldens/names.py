"""Names that stay the same from recording to recording, in place of ids that chance made: runs, threads, calls of models, tickets.

A call's id is renamed by its ordinal in its run, since models repeat theirs. An id that chance made is also found in texts, such as a
tool's output that names its ticket; a short one is not, because it would be found in innocent words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from afk_es.machine import AgentRunEvent

SHORTEST_IN_TEXT = 6
"""Characters of the shortest id that is looked for in texts. It has a digit or an underscore as well, which names of people's choice may lack."""

_TOKEN = re.compile(r"\w+(?:-\w+)*")
_TIMER = re.compile(r"^([a-z_]+:)(\d+)$")


class Names:
    """The names of all runs, threads, tickets and letters of a golden.

    Args:
        runs, threads: the new names by the old ones.
    """

    def __init__(self, runs: Mapping[str, str], threads: Mapping[str, str]) -> None:
        self.runs: dict[str, str] = dict(runs)
        self.threads: dict[str, str] = dict(threads)
        self.tickets: dict[str, str] = {}
        self.letters: dict[int, int] = {}
        self._in_texts: dict[str, str] = {}
        self._odd: dict[str, str] = {}
        for old, new in (*self.runs.items(), *self.threads.items()):
            self.found_in_texts(old, new)

    def found_in_texts(self, old: str, new: str) -> None:
        """Rename this id in texts as well, if it cannot be mistaken for a word."""
        if old == new or len(old) < SHORTEST_IN_TEXT or not any(each.isdigit() or each == "_" for each in old):
            return
        if _TOKEN.fullmatch(old):
            self._in_texts[old] = new
        else:
            self._odd[old] = new

    def ticket(self, ticket_id: str) -> str:
        """The name of a ticket: by the order in which they were first heard of."""
        name = self.tickets.get(ticket_id)
        if name is None:
            name = self.tickets[ticket_id] = f"ticket_{len(self.tickets) + 1}"
            self.found_in_texts(ticket_id, name)
        return name

    def order_letters(self, positions: Iterable[int]) -> None:
        """Number the letters of all runs from 1, in the order in which they were posted."""
        self.letters = {position: number for number, position in enumerate(sorted(set(positions)), start=1)}

    def text(self, text: str) -> str:
        """The text with new names for ids."""
        for old, new in self._odd.items():
            text = text.replace(old, new)
        return _TOKEN.sub(self._token, text) if len(text) >= SHORTEST_IN_TEXT else text

    def _token(self, found: re.Match[str]) -> str:
        token = found[0]
        name = self._in_texts.get(token)
        if name is not None:
            return name
        if "-" not in token:
            return token
        return "-".join([self._in_texts.get(piece, piece) for piece in token.split("-")])

    def value(self, value: Any) -> Any:
        """JSON data with new names in all its texts; the argument is not changed."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self.value(item) for key, item in value.items()}
        return [self.value(item) for item in value] if isinstance(value, list) else value


class CallNames:
    """The names of the calls of one run, while its events go by."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._count = 0
        self._now: dict[str, str] = {}
        """Of the batch under way. The ids of a router's plan are its author's, and keep their names."""
        self._ever: dict[str, str] = {}
        self._of_tickets: dict[str, str] = {}

    def of(self, event: AgentRunEvent) -> dict[str, Any]:
        """The keys of the event's data that name calls, with the new names."""
        data = event.data
        if event.type == "llm_completed":
            return {"tool_calls": self._asked(data["tool_calls"])} if data["tool_calls"] else {}
        if event.type == "subagents_routed" and data["plan"] is not None:
            self._now = {node["id"]: node["id"] for node in data["plan"]["nodes"]}
            return {}
        found: dict[str, Any] = {}
        if "tool_call_ids" in data:
            found["tool_call_ids"] = [self.name(each) for each in data["tool_call_ids"]]
        if isinstance(call_id := data.get("tool_call_id"), str):
            found["tool_call_id"] = self.name(call_id)
            if event.type == "tool_deferred":
                self._of_tickets[data["ticket_id"]] = found["tool_call_id"]
            elif event.type in ("tool_background_resolved", "tool_background_failed"):
                # It may be of a step long ago, and its id another call's by now.
                found["tool_call_id"] = self._of_tickets.get(data["ticket_id"], found["tool_call_id"])
        return found

    def name(self, call_id: str) -> str:
        """The name of a call by its id, of those under way first."""
        return self._now.get(call_id) or self._ever.get(call_id, call_id)

    def _asked(self, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        self._now = {}
        named = []
        for call in calls:
            if call["id"] not in self._now:
                self._count += 1
                self._now[call["id"]] = f"call_{self._count}"
                self._names.found_in_texts(call["id"], self._now[call["id"]])
            named.append({**call, "id": self._now[call["id"]]})
        self._ever |= self._now
        return named


def timer_at(timer: str, seqs: Mapping[int, int]) -> str:
    """The name of a timer, which holds the seq of the event that began it, where events have other seqs than they had."""
    found = _TIMER.match(timer)
    return f"{found[1]}{seqs.get(int(found[2]), int(found[2]))}" if found is not None else timer
