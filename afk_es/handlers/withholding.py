"""Keeps back of a run what its recording kept back, so that both say the same: of today's agent, and of what its code answers.

A secret is known by its name or its shape; or it was one under its name elsewhere, or a value that only the recording's author knew. For
these two the recorded text shows where they stood: where today's text is the same but for one word in the place of each mark, that word is
the secret, and is kept back from then on wherever it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from afk_es.errors import UsageError
from afk_es.handlers.binding import Binding
from afk_es.machine import AgentRunEvent, Draft
from afk_es.machine.spec import RunSpec
from afk_es.machine.values import canonical_json
from afk_es.redaction import MARK, Redaction
from afk_es.views.redaction import redacted_data

_SHORTEST = 8
"""Characters of the shortest value that is looked for elsewhere."""
_DEEPEST = 100


class Withholding:
    """What one replay, or one comparison, keeps back. It learns values while the run goes on.

    Attributes:
        redaction: with all that is known by now.
    """

    def __init__(self, redaction: Redaction) -> None:
        self.redaction: Redaction = redaction
        self._known: set[str] = set()
        self._names: set[str] = set()
        self._bound: dict[int, tuple[Binding, Binding]] = {}

    def binding(self, binding: Binding, recorded: Mapping[str, Any]) -> Binding:
        """The binding with the spec as the log may hold it. Its objects, which do the work, stay as they are.

        Args:
            recorded: the spec that the recording has in its place, as data.

        Raises:
            UsageError: a setting of the agent reads like a secret, so that nothing could be run without it.
        """
        known = self._bound.get(id(binding))
        if known is not None:
            return known[1]
        self.spare(names_in(binding.data))
        data = self.data("run_started", {"agent": binding.data}, {"agent": recorded})["agent"]
        kept = binding
        if data != binding.data:
            try:
                kept = replace(binding, spec=msgspec.convert(data, RunSpec), data=data)
            except msgspec.ValidationError as error:
                raise UsageError(
                    f"a setting of agent {binding.spec.agent_name} reads like a secret and cannot be kept back ({error}); register other values"
                ) from error
        # What it was made of is kept with it, so that its id stays taken.
        self._bound[id(binding)] = binding, kept
        return kept

    def draft(self, draft: Draft, recorded: AgentRunEvent | None) -> Draft:
        """The answer of live code as the log may hold it.

        Args:
            recorded: the answer that the recording has in its place; None where it has none.
        """
        if recorded is not None and recorded.type == draft.type and _tells(recorded, draft):
            return draft
        data = self.data(draft.type, draft.data, recorded.data if recorded is not None else {})
        return Draft(draft.type, data, self.redaction.text(draft.message))

    def data(self, event_type: str, data: dict[str, Any], recorded: Mapping[str, Any]) -> dict[str, Any]:
        """The data of an event as the log may hold it; of data that the recording has like this, the very same."""
        if all(key in recorded and recorded[key] == item for key, item in data.items()):
            return data
        self.learn(named_secrets(data, self.redaction))
        kept = redacted_data(event_type, data, self.redaction)
        if self.learn(_in_the_place_of_marks(recorded, kept, self.redaction.mark)):
            kept = redacted_data(event_type, kept, self.redaction)
        return kept

    def spare(self, names: Iterable[str]) -> None:
        """Take no secret for one that reads like these."""
        self._names.update(names)

    def learn(self, values: Iterable[str]) -> bool:
        """Keep these back as well, but for what reads like the name of an agent, a model or a tool; whether any of them is new."""
        found = sorted(_no_names(set(values) - self._known, self._names))
        if found:
            self._known.update(found)
            self.redaction = self.redaction.with_values(found)
        return bool(found)

    def holds_mark(self, value: Any) -> bool:
        """Whether something of it was kept back, so that it is not what really was there."""
        return self.redaction.mark.encode() in canonical_json(value)


def _tells(recorded: AgentRunEvent, draft: Draft) -> bool:
    return recorded.message == draft.message and all(recorded.data.get(key) == item for key, item in draft.data.items())


def secrets_of(events: Iterable[AgentRunEvent], redaction: Redaction) -> list[str]:
    """Values that stand under a secret's name somewhere in the events, and may stand elsewhere without it.

    What reads like the name of an agent, a model or a tool of theirs is none: without that, nothing would hold together.
    """
    found: set[str] = set()
    names: set[str] = set()
    for event in events:
        found.update(named_secrets(event.data, redaction))
        if event.type == "run_started" and isinstance(agent := event.data.get("agent"), dict):
            names.update(names_in(agent))
    return sorted(_no_names(found, names))


def _no_names(values: set[str], names: set[str]) -> set[str]:
    return {value for value in values if not any(value in name for name in names)}


def names_in(agent: Mapping[str, Any]) -> Iterator[str]:
    """The names of an agent, its models and its tools, of a spec as data."""
    yield agent["agent_name"]
    yield from (model["model"] for model in agent.get("models", ()))
    yield from (tool["name"] for tool in agent.get("tools", ()))


def named_secrets(value: Any, redaction: Redaction, level: int = 0) -> Iterator[str]:
    """Values in the data that stand under a secret's name, and are long and odd enough to be looked for elsewhere."""
    if level > _DEEPEST:
        return
    if isinstance(value, list):
        for item in value:
            yield from named_secrets(item, redaction, level + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "properties" and isinstance(item, dict):
                yield from _named_defaults(item, redaction, level + 1)
            elif not isinstance(item, str):
                yield from named_secrets(item, redaction, level + 1)
            elif _is_odd(item) and MARK not in item and redaction.is_secret_name(key):
                yield item


def _named_defaults(properties: Mapping[str, Any], redaction: Redaction, level: int) -> Iterator[str]:
    """Of the properties of a JSON Schema: what stands under a name there describes it, but for a value that it has by itself."""
    for name, described in properties.items():
        if isinstance(described, dict):
            for key in ("default", "const"):
                yield from named_secrets({name: described.get(key)}, redaction, level)
            yield from named_secrets(described, redaction, level)


def _is_odd(text: str) -> bool:
    return len(text) >= _SHORTEST and not text.isalpha()


def _in_the_place_of_marks(recorded: Any, today: Any, mark: str, level: int = 0) -> Iterator[str]:
    """The words of today that stand where the recording has marks, of texts that are the same otherwise."""
    if level > _DEEPEST or not mark:
        return
    if isinstance(recorded, str) and isinstance(today, str):
        yield from _words_at_marks(recorded, today, mark)
    elif isinstance(recorded, dict) and isinstance(today, dict):
        for key, item in today.items():
            yield from _in_the_place_of_marks(recorded.get(key), item, mark, level + 1)
    elif isinstance(recorded, (list, tuple)) and isinstance(today, (list, tuple)):
        for before, now in zip(recorded, today, strict=False):
            yield from _in_the_place_of_marks(before, now, mark, level + 1)


def _words_at_marks(recorded: str, today: str, mark: str) -> list[str]:
    if mark not in recorded or recorded == today:
        return []
    first, *pieces = recorded.split(mark)
    if not today.startswith(first):
        return []
    found: list[str] = []
    position = len(first)
    for number, piece in enumerate(pieces, start=1):
        if number == len(pieces):
            end = len(today) - len(piece)
            if end < position or not today.endswith(piece):
                return []
        else:
            end = today.find(piece, position + 1) if piece else -1
            if end < 0:
                return []
        word = today[position:end]
        if word != mark:
            if not _is_odd(word) or any(letter.isspace() for letter in word) or mark in word:
                return []
            found.append(word)
        position = end + len(piece)
    return found
