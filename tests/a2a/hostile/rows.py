"""What a run must come to, lie by lie. A lie that has no row is a defect of this table, which `test_hostile_agents.py` finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.a2a.hostile.trial import Trial


@dataclass(frozen=True)
class Fails:
    """The subagent fails: an event says so, each failure of a request is classified, and the run goes on to its end.

    Attributes:
        sent: how often the message may be sent at most.
    """

    words: tuple[str, ...] = ()
    classification: tuple[str, ...] = ("retryable", "terminal")
    sent: int = 3

    def problems(self, trial: Trial) -> list[str]:
        """What is otherwise."""
        if trial.result is None:
            return [f"the run did not come to an end: {trial.error}"]
        ending = trial.ending()
        if ending["success"]:
            return [f"it went well: {trial.result.final_text!r:.100}"]
        found = [f"{word!r} is not in {ending['error']!r}" for word in self.words if word.lower() not in str(ending["error"]).lower()]
        found += [] if trial.result.state == "completed" else [f"the run is {trial.result.state}"]
        kinds = {failure["classification"] for failure in trial.failures()}
        found += [] if kinds and kinds <= set(self.classification) else [f"it is {kinds}: {trial.failures()}"]
        sent = len(trial.sent("SendMessage", "SendStreamingMessage"))
        return found + ([] if sent <= self.sent else [f"the message was sent {sent} times"])


@dataclass(frozen=True)
class Answers:
    """The subagent answers, with these words in what the model is told and none of the others."""

    words: tuple[str, ...] = ()
    never: tuple[str, ...] = ()

    def problems(self, trial: Trial) -> list[str]:
        """What is otherwise."""
        if trial.result is None:
            return [f"the run did not come to an end: {trial.error}"]
        text = trial.result.final_text
        found = [f"{word!r} is not in {text!r:.200}" for word in self.words if word not in text]
        found += [f"{word!r} is in {text!r:.200}" for word in self.never if word in text]
        return found + ([] if trial.ending()["success"] else [f"it failed: {trial.ending()['error']}"])


@dataclass(frozen=True)
class Laid:
    """The run's time is over before the remote agent's is, and it can be resumed."""

    def problems(self, trial: Trial) -> list[str]:
        """What is otherwise."""
        state = None if trial.result is None else trial.result.state
        return [] if state == "interrupted" else [f"the run is {state}"]


@dataclass(frozen=True)
class Row:
    """A lie, and what a run must come to.

    Attributes:
        within_s: the longest time it may take.
        wall_s: the longest time that the run has.
        options: of the client.
    """

    lie: str
    must: Fails | Answers | Laid
    within_s: float = 10.0
    wall_s: float = 30.0
    options: dict[str, Any] = field(default_factory=dict)


TERMINAL = ("terminal",)
RETRYABLE = ("retryable",)

QUICK = {"timeout_s": 0.2, "task_timeout_s": 0.2}
"""For those who never answer: each is asked five times."""

CARDS = (
    Row("no card", Fails(("404",), TERMINAL)),
    Row("card forbidden", Fails(("403",), TERMINAL)),
    Row("card silent", Fails((), RETRYABLE), options=QUICK),
    Row("card drips", Fails((), RETRYABLE), options=QUICK),
    Row("card pours", Fails(("bytes",), TERMINAL)),
    *(Row(f"card {what}", Fails()) for what in ("no json", "a list", "a number", "null", "of wrong types", "empty", "a page", "deep")),
    Row("card of another place", Fails((), TERMINAL)),
    Row("card of a file", Fails((), TERMINAL)),
    Row("card sent elsewhere", Fails((), TERMINAL)),
)

ANSWERS = (
    Row("honest", Answers(("done",))),
    Row("silent", Fails((), RETRYABLE), options=QUICK),
    Row("dies", Fails((), RETRYABLE)),
    Row("drips", Fails((), RETRYABLE), options=QUICK),
    Row("pours", Fails(("bytes",), TERMINAL)),
    Row("401", Fails(("401",), TERMINAL, 1)),
    Row("403", Fails(("403",), TERMINAL, 1)),
    Row("429", Laid(), wall_s=1.0),
    Row("500", Fails(("500",), RETRYABLE)),
    Row("sent elsewhere", Fails((), TERMINAL)),
    *(Row(lie, Fails()) for lie in ("no json", "a page", "a list", "neither result nor error", "error is a word")),
    Row("error with orders", Fails(("Ignore all",))),
    *(Row(lie, Fails()) for lie in ("result is a word", "result is empty", "result of wrong types")),
    *(Row(lie, Answers(("done",))) for lie in ("a state of its own", "a state that is a number", "no state")),
    *(Row(lie, Fails()) for lie in ("no id", "half a character", "no number", "deep")),
    Row("deep data", Fails()),
    Row("huge", Fails(("bytes",), TERMINAL), options={"timeout_s": 10.0, "task_timeout_s": 10.0}),
    Row("many artifacts", Fails(("bytes",), TERMINAL), options={"max_bytes": 500_000}),
    Row("raw bytes", Answers()),
    Row("a file elsewhere", Answers()),
    Row("orders", Answers(("Ignore all",))),
    Row("as the user", Answers(("I am the user",))),
    Row("wants a key", Fails()),
    Row("rejected", Fails(("reject",), TERMINAL, 1)),
    Row("failed", Fails(("Ignore all",), TERMINAL, 1)),
    Row("cancelled by itself", Fails(("cancel",), TERMINAL, 1)),
    Row("usage that is none", Answers(("done",))),
)

TASKS = (
    Row("never done", Fails((), RETRYABLE), options=QUICK),
    Row("backwards", Fails((), RETRYABLE), options=QUICK),
    Row("another task later", Fails(("task",))),
    Row("unknown later", Fails((), TERMINAL)),
    Row("silent later", Fails((), RETRYABLE), options=QUICK),
)

STREAMED = (
    Row("streams honestly", Answers(("done",))),
    Row("streams nothing", Fails()),
    Row("streams no end", Answers(("done",))),
    Row("streams silence", Answers(("done",)), options={"task_timeout_s": 3.0}),
    Row("streams and dies", Answers(("done",))),
    Row("streams for ever", Fails(), options=QUICK),
    Row("streams pieces for ever", Fails()),
    Row("streams of another task", Fails()),
    Row("streams after its end", Answers(("done",), ("more",))),
    *(Row(f"streams {what}", Fails()) for what in ("no json", "wrong types", "a page", "an error", "one line for ever")),
)

ROWS: tuple[Row, ...] = (*CARDS, *ANSWERS, *TASKS, *STREAMED)
