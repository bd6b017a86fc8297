"""The tickets of a run, as its events and the letters that it has not taken in yet tell of them."""

from __future__ import annotations

import datetime as dt
from typing import Any

from msgspec.structs import replace

from afk_es.machine import AgentRunEvent, Draft
from afk_es.views import TicketBook

AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Story:
    """Events in the order in which they are told."""

    def __init__(self) -> None:
        self.book = TicketBook()
        self._seq = 0

    def tell(self, kind: str, step: int = 1, **data: Any) -> Any:
        self._seq += 1
        at = AT + dt.timedelta(seconds=self._seq)
        return self.book.take(AgentRunEvent(kind, "run_1", "thread_1", self._seq, at, "running", step, "", data))

    def defer(self, ticket_id: str, call_id: str = "c1", step: int = 1) -> None:
        said = {"status": "pending", "summary": "soon", "resume_hint": None}
        self.tell("tool_deferred", step, tool_name="order", tool_call_id=call_id, ticket_id=ticket_id, **said)

    def end(self, ticket_id: str, kind: str = "tool_background_resolved", **data: Any) -> Any:
        return self.tell(kind, tool_name="order", tool_call_id="c1", ticket_id=ticket_id, **{"output": "here", **data})

    @property
    def told(self) -> list[tuple[str, str, str]]:
        return [(one.ticket_id, one.tool_call_id, one.status) for one in self.book.records]


def test_a_ticket_is_pending_until_its_end_is_known() -> None:
    story = Story()
    for ticket_id in ("a", "b", "c", "d"):
        story.defer(ticket_id, f"c_{ticket_id}")
    story.end("a", letter=3)
    story.end("b", "tool_background_failed", error="no stock")
    story.end("c", "tool_background_failed", error="it expired", expired=True)
    assert [status for *_, status in story.told] == ["resolved", "failed", "expired", "pending"]
    first, second, *_ = story.book.records
    assert (first.output, first.letter, first.taken_in, first.ended_at) == ("here", 3, True, AT + dt.timedelta(seconds=5))
    assert (second.error, second.letter) == ("no stock", None)
    assert story.book.last_letter == 3


def test_what_ends_no_open_ticket_changes_nothing() -> None:
    story = Story()
    story.defer("a")
    assert story.end("nobody's") is None
    assert story.end("a") is not None
    assert story.end("a", output="twice") is None
    assert story.book.records[0].output == "here"


def test_a_ticket_id_may_be_used_again_when_its_ticket_has_ended() -> None:
    story = Story()
    story.defer("a")
    story.end("a")
    story.defer("a", step=2)
    assert [status for *_, status in story.told] == ["resolved", "pending"]
    found = story.book.find("a")
    assert found is not None
    assert found.status == "pending"


def test_a_call_that_was_refused_its_ticket_has_none() -> None:
    story = Story()
    story.defer("a", "c1")
    story.defer("a", "c2")
    story.tell("tool_completed", tool_call_id="c2")
    story.defer("b", "c3")
    story.defer("c", "c4")
    story.tell("tool_completed", tool_call_id="c3")
    story.tell("tool_completed", step=2, tool_call_id="c1")
    assert story.told == [("a", "c1", "pending"), ("c", "c4", "pending")]
    story.end("c")
    assert story.told[-1] == ("c", "c4", "resolved")
    assert story.book.find("b") is None


def test_a_ticket_whose_id_was_ended_before_a_refused_one_is_still_known() -> None:
    story = Story()
    story.defer("a", "c1")
    story.end("a")
    story.defer("a", "c2", step=2)
    story.tell("tool_completed", step=2, tool_call_id="c2")
    assert story.told == [("a", "c1", "resolved")]
    found = story.book.find("a")
    assert found is not None
    assert found.status == "resolved"


def test_a_run_that_ends_for_good_abandons_what_is_pending_and_one_that_lies_down_does_not() -> None:
    story = Story()
    story.defer("a")
    story.defer("b", "c2")
    story.end("a")
    story.tell("run_interrupted", reason="parked")
    assert [status for *_, status in story.told] == ["resolved", "pending"]
    story.tell("run_completed", state="degraded")
    assert [status for *_, status in story.told] == ["resolved", "abandoned"]


def test_the_tickets_of_a_run_that_failed_are_pending_again_when_it_is_reopened() -> None:
    story = Story()
    story.defer("a")
    story.defer("b", "c2")
    story.end("a")
    story.tell("run_failed", error="e", error_type="E")
    story.tell("run_started", resumed=True, reopened=True, epoch=2, owner="o", agent_name="a")
    assert [status for *_, status in story.told] == ["resolved", "pending"]
    story.end("b")
    assert [status for *_, status in story.told] == ["resolved", "resolved"]


def test_letters_are_looked_ahead_at_in_a_copy() -> None:
    story = Story()
    story.defer("a")
    ahead = story.book.copy()
    for position, output in ((4, "first"), (5, "second")):
        data = {"tool_name": "order", "tool_call_id": "c1", "ticket_id": "a", "output": output}
        ahead.expect(Draft("tool_background_resolved", data), AT, position)
    ahead.expect(Draft("control_requested", {"action": "pause"}), AT, 6)
    (record,) = ahead.records
    assert (record.status, record.output, record.letter, record.taken_in) == ("resolved", "first", 4, False)
    assert story.told == [("a", "c1", "pending")]


def test_a_ticket_is_told_in_a_line_by_how_far_it_has_come() -> None:
    story = Story()
    for ticket_id in ("a", "b", "c"):
        story.defer(ticket_id, f"c_{ticket_id}")
    story.end("a", output={"stock": 2})
    story.end("b", "tool_background_failed", error="no stock")
    assert [record.story for record in story.book.records] == ['{"stock":2}', "no stock", "soon"]
    (posted,) = [replace(record, taken_in=False) for record in story.book.records if record.ticket_id == "a"]
    assert posted.story == '{"stock":2} (posted; the run has not taken it in yet)'
    assert [replace(record, summary=None, error=None).story for record in story.book.records] == ['{"stock":2}', "", ""]
