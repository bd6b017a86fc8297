"""Whether a test says to the agent what its golden was recorded with: the recorded words are what a check sends, so it would not notice."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from afk_es.agents import Agent
from afk_es.evals.goldens.check_report import CheckReport
from afk_es.evals.goldens.divergence import Divergence
from afk_es.evals.goldens.golden import Golden
from afk_es.evals.goldens.live_recording import Said, first_events
from afk_es.llms.content import content_of
from afk_es.machine.values import plain
from afk_es.redaction import MARK

THREAD = "thread_1"
"""What a golden calls its thread, wherever the thread's id stood."""


async def said_otherwise(report: CheckReport, golden: Golden, said: Said, agent: Agent, thread_id: str | None) -> CheckReport:
    """The report, with a divergence in front of the others where the test says something else than was recorded.

    Args:
        thread_id: of the test; in the golden it has another name.
    """
    first = (await first_events(golden))[-1].data
    text, parts = content_of(said.user_message)
    now: dict[str, Any] = {"user_message": parts or text, "context": plain({**agent.context_defaults, **(said.context or {})})}
    then: dict[str, Any] = {"user_message": first.get("user_parts") or first.get("user_message"), "context": first.get("context", {})}
    found = [
        Divergence(
            kind="prompt",
            field=field,
            expected=then[field],
            actual=now[field],
            recorded=None,
            today=None,
            message=f"the test gives another {field} than the golden was recorded with; record it anew with --golden-update=behaviour",
        )
        for field in now
        if not _same(then[field], now[field], thread_id)
    ]
    if not found:
        return report
    return msgspec.structs.replace(report, outcome="diverged", divergences=(*found, *report.divergences), reason="")


def _same(then: Any, now: Any, thread_id: str | None) -> bool:
    """Whether they are the same but for what a golden calls otherwise or keeps back."""
    recorded, given = (json.dumps(value, sort_keys=True, ensure_ascii=False) for value in (then, now))
    if thread_id is not None:
        given = given.replace(thread_id, THREAD)
    if MARK not in recorded:
        return recorded == given
    # Where a secret was kept back, what stands around it has to be the same.
    return _fits(recorded.split(MARK), given)


def _fits(pieces: list[str], text: str) -> bool:
    """Whether the text has these pieces, in order, with anything between them."""
    first, *middle, last = pieces
    if not text.startswith(first) or not text.endswith(last):
        return False
    at = len(first)
    for piece in middle:
        at = text.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return at <= len(text) - len(last)
