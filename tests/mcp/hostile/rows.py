"""What a run must come to, lie by lie. A lie that has no row is a defect of this table, which `test_hostile_servers.py` finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.mcp.hostile.trial import Transport, Trial

LONG = "a" * 60 + "!"
"""What an expression of the kind `(a|a)+` takes longer over than anybody waits."""


@dataclass(frozen=True)
class Refused:
    """The run does not begin, nothing is written, and the error names the server and these words."""

    words: tuple[str, ...] = ()

    def problems(self, trial: Trial) -> list[str]:
        """What is otherwise."""
        said = str(trial.error)
        if trial.error is None:
            return ["the run began"]
        return [f"{word!r} is not in {said!r}" for word in ("far", *self.words) if word.lower() not in said.lower()]


@dataclass(frozen=True)
class Fails:
    """The call fails: an event says so, with one of these classifications, and the run goes on to its end."""

    words: tuple[str, ...] = ()
    classification: tuple[str, ...] = ("retryable", "terminal")
    calls: int = 1

    def problems(self, trial: Trial) -> list[str]:
        """What is otherwise."""
        if trial.result is None:
            return [f"the run did not come to an end: {trial.error}"]
        ending = trial.ending()
        found = [] if trial.result.state == "completed" and not ending["success"] else [f"it went well: {ending['output']!r:.80}"]
        found += [f"{word!r} is not in {ending['error']!r}" for word in self.words if word.lower() not in str(ending["error"]).lower()]
        classification = ending.get("classification")
        found += [] if classification in self.classification else [f"it is {classification}: {ending['error']}"]
        return found + ([] if trial.calls <= self.calls else [f"the server was called {trial.calls} times"])


@dataclass(frozen=True)
class Answers:
    """The call succeeds, with these words in what the model is told and none of the others, and was made once."""

    words: tuple[str, ...] = ()
    never: tuple[str, ...] = ()

    def problems(self, trial: Trial) -> list[str]:
        """What is otherwise."""
        if trial.result is None:
            return [f"the run did not come to an end: {trial.error}"]
        found = [f"{word!r} is not in {trial.result.final_text!r:.200}" for word in self.words if word not in trial.result.final_text]
        found += [f"{word!r} is in {trial.result.final_text!r:.200}" for word in self.never if word in trial.result.final_text]
        found += [] if trial.ending()["success"] else [f"it failed: {trial.ending()['error']}"]
        return found + ([] if trial.calls == 1 else [f"the server was called {trial.calls} times"])


@dataclass(frozen=True)
class Idles:
    """The run goes on without any tool of the server."""

    def problems(self, trial: Trial) -> list[str]:
        """What is otherwise."""
        return [] if trial.result is not None and trial.result.final_text == "no tool" else [f"not without: {trial.result} {trial.error}"]


@dataclass(frozen=True)
class Row:
    """A lie, and what a run must come to.

    Attributes:
        over: the transports over which it can be told, the first of them that of the gate.
        within_s: the longest time it may take.
        text: what the model calls the tool with.
        offers: the only tools there may be, by their names without prefix; None where it does not matter.
        options: of the client.
    """

    lie: str
    must: Refused | Fails | Answers | Idles
    over: tuple[Transport, ...] = ("http", "stdio")
    within_s: float = 8.0
    text: str = "hi"
    offers: tuple[str, ...] | None = None
    options: dict[str, Any] = field(default_factory=dict)


PIPE: tuple[Transport, ...] = ("stdio",)
WEB: tuple[Transport, ...] = ("http",)
PIPE_FIRST: tuple[Transport, ...] = ("stdio", "http")
ECHO = ("echo",)

QUICK = {"timeout_s": 0.5, "connect_timeout_s": 0.5}
"""Where nothing comes, this is what is waited. Elsewhere a slow machine has its time."""

CONNECTING = (
    Row("honest", Answers(("hi",)), PIPE_FIRST),
    Row("silent from the start", Refused(("0.5 s",)), options=QUICK),
    Row("silent at initialize", Refused(("0.5 s",)), PIPE_FIRST, options=QUICK),
    Row("dies at once", Refused(), PIPE_FIRST),
    Row("dies at initialize", Refused(), options=QUICK),
    Row("closes at initialize", Refused(), PIPE_FIRST, options=QUICK),
    Row("no json at initialize", Refused(), options=QUICK),
    Row("drips at initialize", Refused(), options=QUICK),
    Row("pours at initialize", Refused(), PIPE_FIRST),
    Row("deep at initialize", Refused(), options=QUICK),
    Row("no result at initialize", Refused()),
    Row("of no known version", Refused()),
    Row("banner", Answers(("hi",)), PIPE),
)

LISTING = (
    Row("silent at list", Refused(("0.5 s",)), options=QUICK),
    Row("dies at list", Refused(), PIPE_FIRST),
    Row("no json at list", Refused(), options=QUICK),
    Row("drips at list", Refused(), options=QUICK),
    Row("pours at list", Refused()),
    Row("list is a word", Refused()),
    Row("list of numbers", Refused()),
    Row("no list", Refused()),
    Row("pages without end", Refused()),
    Row("one page for ever", Refused()),
    Row("ten thousand tools", Refused()),
    Row("a description of four megabytes", Answers(("hi",))),
    Row("one name twice", Idles(), offers=("other",)),
    Row("names that meet", Answers(("hi",))),
    Row("illegal names", Answers(("hi",))),
    Row("half a character in a name", Refused()),
    Row("orders in the description", Answers(("hi",)), offers=ECHO),
    Row("orders in the schema", Answers(("hi",)), offers=ECHO),
    Row("a name that is not seen", Answers(("hi",)), offers=ECHO),
    Row("schema is a word", Refused(("inputSchema",))),
    Row("no schema", Refused(("inputSchema",))),
    Row("schema of a list", Refused(("inputSchema",))),
    Row("schema is no schema", Answers(("hi",)), offers=ECHO),
    Row("schema elsewhere", Answers(("hi",)), offers=ECHO),
    Row("schema in a file", Answers(("hi",)), offers=ECHO),
    Row("schema of itself", Answers(("hi",)), offers=ECHO),
    Row("schema that is nothing but itself", Answers(("hi",))),
    Row("schema that is deep", Answers(("hi",)), offers=ECHO),
    Row("schema deeper than can be read", Refused()),
    Row("schema that is large", Answers(("hi",)), offers=ECHO),
    Row("expression that takes years", Fails(("match",), ("non_fatal",), 0), text=LONG),
    Row("expression in the names", Answers(("hi",))),
    Row("hints", Answers(("hi",)), offers=ECHO),
    Row("hints of wrong types", Answers(("hi",))),
    Row("other schema when called", Answers(("done",))),
    Row("no schema when called", Fails(("inputSchema",), calls=0), options={"list_max_age_s": 0.0}),
    Row("gone when called", Fails(("Unknown tool",))),
    Row("says that the session has ended", Fails(("Session terminated",))),
    Row("changes without end", Answers(("done",)), options={"timeout_s": 5.0}),
)

CALLING = (
    Row("silent at call", Fails(("0.5 s",), ("retryable",)), options=QUICK),
    Row("silent at call, with hints", Fails(("0.5 s",), ("retryable",)), options=QUICK),
    Row("dies at call", Fails((), ("retryable",)), PIPE_FIRST),
    Row("closes at call", Fails((), ("retryable",)), PIPE_FIRST, options=QUICK),
    Row("half an answer", Fails(), options=QUICK),
    Row("no json at call", Fails(), options=QUICK),
    Row("drips at call", Fails((), ("retryable",)), options=QUICK),
    Row("pours at call", Fails(("bytes",)), PIPE_FIRST),
    Row("deep at call", Fails()),
    Row("huge", Fails(("bytes",)), PIPE_FIRST),
    Row("other id", Fails((), ("retryable",)), PIPE_FIRST, options=QUICK),
    Row("twice", Answers(("first",), ("second",)), PIPE_FIRST),
    Row("to nobody", Answers(("done",), ("nobody",)), PIPE_FIRST, options={"timeout_s": 5.0}),
    Row("in a batch", Fails(), options=QUICK),
    Row("no version", Fails(), options=QUICK),
    Row("content is a number", Fails()),
    Row("content of no kind", Fails()),
    Row("no content", Fails()),
    Row("result is a word", Fails()),
    Row("error that is none", Answers(("it went well",))),
    Row("fails with orders", Fails(("Ignore all previous",))),
    Row("orders in the result", Answers(("Ignore all previous",))),
    Row("controls in the result", Answers(("a",))),
    Row("half a character", Fails()),
    Row("no number", Answers()),
    Row("a number of 400 digits", Answers(("10000",))),
    Row("other than its schema", Fails(("said it would be", "integer"))),
    Row("nothing of its schema", Fails(("said it would be",))),
    Row("output schema that takes years", Fails()),
    Row("a picture and a link", Answers()),
    Row("progress without end", Answers(("done",)), options={"timeout_s": 5.0}),
    Row("elicits", Answers(("refused",))),
    Row("samples", Answers(("refused",))),
    Row("wants roots", Answers(("refused",))),
    Row("asks what is unknown", Answers(("refused",))),
    Row("asks without end", Fails()),
    Row("loud", Answers(("done",)), PIPE),
    Row("loud at call", Answers(("done",)), PIPE),
    Row("stays on", Answers(("hi",)), PIPE),
    Row("stays on, silent", Fails(("0.5 s",), ("retryable",)), PIPE, options=QUICK),
)

OF_HTTP = (
    Row("401", Refused(("401",)), WEB),
    Row("403", Refused(("403",)), WEB),
    Row("404", Refused(("not found",)), WEB),
    Row("429", Refused(("429",)), WEB),
    Row("500", Refused(("500",)), WEB),
    Row("500 at call", Fails(("500",)), WEB),
    Row("429 at call", Fails(("429",)), WEB),
    Row("a page", Refused(), WEB),
    Row("a page at call", Fails(), WEB),
    Row("nothing at call", Fails(), WEB),
    Row("sent elsewhere", Refused(), WEB),
    Row("sent elsewhere at call", Fails(), WEB),
    Row("sent in a circle", Refused(), WEB),
)

ROWS: tuple[Row, ...] = (*CONNECTING, *LISTING, *CALLING, *OF_HTTP, Row("has no tools", Idles()))
