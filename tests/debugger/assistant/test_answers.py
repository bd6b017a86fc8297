"""The tools by which a model asks a log: what they answer of the demo's runs, in pages, with the calls to go on with."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from afk_es import Agent, Runner
from afk_es.core import RunnerConfig
from afk_es.debugger import debugger_tools
from afk_es.debugger.assistant.pages import NOTICE, page
from afk_es.errors import ConfigurationError, ToolError
from afk_es.llms import LLMResponse, ToolCall
from afk_es.log import EventLog
from afk_es.log.memory import MemoryEventLog
from afk_es.machine.rendering import PREAMBLE
from afk_es.testing import ScriptedModel
from afk_es.tools import ToolContext, ToolResult
from tests.debugger.conftest import ran
from tests.support.stories import Stories

Answer = dict[str, Any]
NAMES = ("triage", "why", "context", "runs", "log", "show", "state", "diff")


class Assistant:
    """Calls the tools as a model would."""

    def __init__(self, log: str | Path | EventLog, **options: Any) -> None:
        self.tools = {tool.name: tool for tool in debugger_tools(log, **options)}

    async def call(self, name: str, arguments: dict[str, Any], ctx: ToolContext | None = None) -> ToolResult:
        """What calling a tool comes to."""
        result = await self.tools[name].call(arguments, ctx or ToolContext())
        assert isinstance(result, ToolResult)
        return result

    async def ask(self, name: str, **arguments: Any) -> Answer:
        """What a tool answers. What it refuses raises."""
        result = await self.call(name, arguments)
        if not result.success:
            raise ToolError(result.error or "")
        json.dumps(result.output)
        return dict(result.output)

    async def refused(self, name: str, **arguments: Any) -> str:
        """Why a tool refuses."""
        result = await self.call(name, arguments)
        assert not result.success, result.output
        return result.error or ""

    async def go_on(self, answer: Answer, index: int = 0) -> Answer:
        """Do what an answer proposes."""
        call = answer["next"][index]
        return await self.ask(call["tool"], **call["arguments"])

    async def to_the_end(self, name: str, **arguments: Any) -> list[Answer]:
        """All pages of an answer."""
        pages = [await self.ask(name, **arguments)]
        while any(call["tool"] == name and {"after", "after_line"} & set(call["arguments"]) for call in pages[-1]["next"]):
            pages.append(await self.go_on(pages[-1]))
            assert len(pages) < 500
        return pages


def quoted(pages: list[Answer]) -> str:
    """What the pages quote, as one text; a line that was too long for one is whole again."""
    lines = [line for answer in pages for line in answer["text"].split("\n")[1:]]
    return re.sub(r"\n\|\+ ", "", "\n".join(lines))


@pytest.fixture
def assistant(stories: Stories) -> Assistant:
    return Assistant(stories.log)


def test_they_are_eight_and_none_changes_anything() -> None:
    tools = debugger_tools("nowhere.db")
    assert tuple(tool.name for tool in tools) == NAMES
    assert all((tool.read_only, tool.idempotent, tool.open_world, tool.server) == (True, True, False, None) for tool in tools)
    assert all(tool.description for tool in tools)
    # All that a client puts before its model at each request.
    assert sum(len(json.dumps(tool.spec().parameters)) + len(tool.description) for tool in tools) < 10_000


def test_names_take_a_prefix_and_answers_keep_to_it(stories: Stories) -> None:
    assert [tool.name for tool in debugger_tools(stories.log, prefix="log_")][:2] == ["log_triage", "log_why"]


async def test_from_a_failure_to_its_cause_in_three_calls(assistant: Assistant) -> None:
    """The first error of the run is a wrong amount, which the model was told to send in cents, of a currency that has none."""
    triage = await assistant.ask("triage", run="failing")
    assert triage["status"] == "failed"
    assert triage["places"]["fatal"] == ["76"]
    assert "amount (845000) is greater" in triage["text"]
    why = await assistant.go_on(triage)
    assert why["at"] == int(triage["places"]["first error"][0])
    assert "was asked for by @24 llm_completed" in why["text"]
    context = await assistant.go_on(why)
    assert context["proved"]
    assert "Amounts of money go to the gateway in cents" in context["text"]
    assert '"amount":8450,"charge_id":"ch_7Qd2wB"' in context["text"]
    assert '"currency":"JPY"' in context["text"]


async def test_the_runs_of_a_log_are_listed_page_by_page(assistant: Assistant) -> None:
    whole = await assistant.ask("runs", limit=100)
    pages = await assistant.to_the_end("runs", limit=3)
    assert [run for answer in pages for run in answer["runs"]] == whole["runs"]
    assert {run["run"] for run in whole["runs"]} >= {"run_failing", "run_crashed"}
    wrong = await assistant.ask("runs", state=["crashed"])
    assert [run["run"] for run in wrong["runs"]] == ["run_crashed"]
    assert wrong["next"][-1] == {"tool": "triage", "arguments": {"run": "run_crashed"}}
    assert (await assistant.ask("runs", thread="thread_failing"))["runs"] == [{"run": "run_failing", "status": "failed"}]
    assert (await assistant.ask("runs", thread="none"))["text"] == "no run fits"


async def test_a_list_that_has_no_room_goes_on_where_it_was_cut(stories: Stories) -> None:
    narrow = Assistant(stories.log, max_chars=1_000)
    pages = await narrow.to_the_end("runs")
    assert len(pages) > 2
    assert [run for answer in pages for run in answer["runs"]] == (await Assistant(stories.log).ask("runs"))["runs"]


async def test_the_events_of_a_run_page_by_page(assistant: Assistant, stories: Stories) -> None:
    whole = await assistant.ask("log", run="failing", limit=500)
    assert (whole["first"], whole["last"], whole["events"], whole["next"]) == (1, 76, 76, [])
    pages = await Assistant(stories.log, max_chars=1_500).to_the_end("log", run="failing", limit=20)
    assert [answer["first"] for answer in pages[1:]] == [answer["last"] + 1 for answer in pages[:-1]]
    # Every page begins with the heading.
    assert len(quoted(pages).splitlines()) - len(pages) == 76
    failed = await assistant.ask("log", run="failing", types=["tool_failed"], limit=2)
    assert (failed["first"], failed["last"]) == (28, 37)
    assert (await assistant.go_on(failed))["first"] == 48
    assert (await assistant.ask("log", run="failing", where='tool = "close_case" and error ~ "ledger"'))["first"] == 74
    around = await assistant.ask("log", run="failing", at="@28")
    assert (around["first"], around["last"], around["next"]) == (23, 33, [])
    assert (await assistant.ask("log", run="failing", types=["approval_*"]))["text"] == "no event fits"


async def test_the_start_of_a_call_is_shown_with_its_arguments(assistant: Assistant) -> None:
    shown = await assistant.ask("show", run="failing", at=27)
    assert 'refund_charge(amount=845000, charge_id="ch_7Qd2wB"' in shown["text"]
    assert '"type": "tool_started"' in shown["text"]


async def test_a_run_at_a_glance_and_the_exact_request_of_a_call(assistant: Assistant) -> None:
    glance = await assistant.ask("show", run="team")
    assert "subagents (3)" in glance["text"]
    request = await assistant.ask("show", run="failing", at="llm:3")
    assert "its hash is the recorded one" in request["text"]
    assert "| system     You are the refund desk" in request["text"]
    assert "tool refund_charge: " in request["text"]


async def test_a_crashed_run_says_so(assistant: Assistant) -> None:
    triage = await assistant.ask("triage", run="run_crashed")
    assert triage["status"] == "crashed"
    assert "its process died" in triage["text"]
    assert (await assistant.ask("show", run="run_crashed"))["status"] == "crashed"


async def test_the_state_and_parts_of_it(assistant: Assistant) -> None:
    state = await assistant.ask("state", run="failing")
    assert "| state.status  failed" in state["text"]
    part = await assistant.ask("state", run="failing", at=5, path="messages[-1].content")
    assert "I look up the customer" in part["text"]
    assert "state has no 'nope'; it has answer, at, batch" in await assistant.refused("state", run="failing", path="nope")


async def test_what_differs_between_places_and_between_runs(assistant: Assistant) -> None:
    places = await assistant.ask("diff", run="failing", vs=-3)
    assert (places["vs"], places["at"], places["equal"]) == (73, 76, False)
    assert "state.status  running -> failed" in places["text"]
    same = await assistant.ask("diff", run="failing", vs="end")
    assert same["equal"]
    assert "the states are the same" in same["text"]
    runs = await assistant.ask("diff", run="trial_1", other_run="trial_2")
    assert not runs["equal"]
    parted = await assistant.ask("diff", run="trial_1", other_run="trial_2", first=True)
    assert "they part in text" in parted["text"]
    assert "state.requested[0].tool_name" in parted["text"]
    assert (await assistant.ask("diff", run="trial_1", other_run="trial_1", first=True))["equal"]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("triage", {}),
        ("show", {}),
        ("show", {"at": "llm:8"}),
        ("state", {}),
        ("state", {"path": "spec"}),
        ("why", {}),
        ("context", {"whole": True}),
        ("diff", {}),
        ("diff", {"run": "trial_1", "other_run": "trial_2"}),
    ],
)
async def test_pages_are_bounded_and_come_to_the_whole(name: str, arguments: dict[str, Any], stories: Stories) -> None:
    arguments = {"run": "failing", **arguments}
    whole = await Assistant(stories.log, max_chars=1_000_000).ask(name, **arguments)
    pages = await Assistant(stories.log, max_chars=1_600).to_the_end(name, **arguments)
    assert len(pages) > 1
    assert all(len(answer["text"]) <= 1_600 for answer in pages)
    assert quoted(pages) == quoted([whole])


async def test_an_answer_is_small_whatever_is_asked(long_run: Any) -> None:
    """Of a run of twenty thousand events: no answer is beyond five thousand tokens of four characters, and none takes a second look."""
    assistant = Assistant(long_run.log)
    asked: dict[str, dict[str, Any]] = {"triage": {}, "why": {}, "log": {"limit": 500}, "context": {}, "diff": {"vs": "50%"}}
    for name, arguments in asked.items():
        answer = await assistant.ask(name, **arguments)
        assert len(json.dumps(answer, ensure_ascii=False)) < 20_000, name


async def test_an_agent_is_shown_an_answer_whole(assistant: Assistant) -> None:
    """By default; the pages are full, and as JSON longer by their escapes."""
    limit = RunnerConfig().tool_output_max_chars - len(PREAMBLE)
    answers = [await assistant.ask(name, run="looping") for name in ("show", "why")]
    answers += [await assistant.ask("log", run="looping", limit=500), await assistant.ask("context", run="looping", whole=True)]
    assert all(answer["next"] for answer in answers)
    assert all(len(json.dumps(answer, ensure_ascii=False)) <= limit for answer in answers)
    assert all([*answer][-1] == "text" for answer in answers)


@pytest.mark.parametrize("name", NAMES)
async def test_as_a_text_an_answer_is_a_line_to_go_on_with_and_its_page(name: str, assistant: Assistant, stories: Stories) -> None:
    arguments = {} if name == "runs" else {"run": "failing"}
    answer = await assistant.ask(name, **arguments)
    text = (await Assistant(stories.log, as_text=True).call(name, arguments)).output
    head, _, page = text.partition("\n")
    assert page == answer["text"]
    lists = {"runs", "places", "causes", "consequences"}
    assert json.loads(head) == {key: value for key, value in answer.items() if key not in {"text", *lists}}
    assert len(head) < 1_000
    assert len(text) < len(json.dumps(answer, ensure_ascii=False))


async def test_a_value_of_megabytes_is_read_to_its_end(tmp_path: Path) -> None:
    """Though it stands in one line."""
    said = "".join(f"{number:06}" for number in range(50_000))
    result = await Runner(log=tmp_path / "log.db").run(Agent(model=ScriptedModel([said])), user_message="count")
    assistant = Assistant(tmp_path / "log.db", max_chars=60_000)
    pages = await assistant.to_the_end("state", run=result.run_id, path="messages[-1].content")
    assert len(pages) == 6
    assert quoted(pages) == f"| {said}"


async def test_a_run_with_too_many_events_for_a_glance_is_shown_in_other_ways(
    monkeypatch: pytest.MonkeyPatch, assistant: Assistant
) -> None:
    monkeypatch.setattr("afk_es.debugger.assistant.record.SHOWN_WHOLE", 75)
    assert "has 76 events, too many to be shown at a glance; use triage" in await assistant.refused("show", run="failing")
    assert (await assistant.ask("show", run="failing", at=3))["at"] == 3


async def test_a_search_for_runs_of_a_state_looks_at_so_many_and_goes_on(monkeypatch: pytest.MonkeyPatch, assistant: Assistant) -> None:
    whole = await assistant.ask("runs", limit=100)
    monkeypatch.setattr("afk_es.debugger.assistant.record.RUNS_LOOKED_AT", 4)
    pages = await assistant.to_the_end("runs", state=["failed"])
    assert len(pages) > 2
    assert [run for answer in pages for run in answer["runs"]] == [run for run in whole["runs"] if run["status"] == "failed"]


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("triage", {"run": "run_faling"}, "has no run 'run_faling'"),
        ("triage", {"run": "run_faling"}, "Did you mean run_failing"),
        ("triage", {"run": "trial"}, "is the beginning of several runs"),
        ("triage", {"run": "qqqq"}, "The newest are run_complete"),
        ("triage", {"run": "@first"}, "there are @last and @last-failed"),
        ("why", {"at": 1_000_000}, "there is no event 1000000; the run has 1 to"),
        ("why", {"at": "the end"}, "is no position; one is:"),
        ("log", {"types": ["tol_*"]}, "fits no event type; there are: run_started"),
        ("log", {"where": "nope = 1"}, "there is no name 'nope'"),
        ("log", {"limit": 0}, "limit"),
        ("runs", {"after": "run_none"}, "run_none"),
        ("context", {"run": "failing", "at": 2}, "no model call at or before seq 2"),
    ],
)
async def test_a_mistake_is_answered_with_the_way_out(assistant: Assistant, name: str, arguments: dict[str, Any], reason: str) -> None:
    assert reason in await assistant.refused(name, **arguments)


async def test_progress_is_told_in_percents(stories: Stories) -> None:
    told: list[tuple[float, float | None, str]] = []
    context = ToolContext(progress=lambda done, total, what: told.append((done, total, what)))
    assert (await Assistant(stories.log).call("triage", {"run": "failing"}, context)).success
    assert told == [(76, 76, "events read")]


async def test_a_log_in_memory_is_asked_as_it_is() -> None:
    log = MemoryEventLog()
    await log.open()
    run_id = await ran(log)
    assert (await Assistant(log).ask("triage"))["run"] == run_id
    await log.close()


async def test_an_agent_can_debug_agents(stories: Stories, tmp_path: Path) -> None:
    """With the tools as they are; what it did is in its own log."""

    def script(request: Any) -> LLMResponse:
        steps = [
            ("triage", {"run": "failing"}),
            ("why", {"run": "failing", "at": "28"}),
            ("context", {"run": "failing", "at": 24, "whole": True}),
        ]
        done = sum(message.role == "tool" for message in request.messages)
        if done < len(steps):
            name, arguments = steps[done]
            return LLMResponse(tool_calls=(ToolCall(f"c{done}", name, arguments),))
        return LLMResponse(text="cents of a yen" if "to the gateway in cents" in request.messages[-1].content else "no idea")

    detective = Agent(name="detective", model=ScriptedModel(script), tools=debugger_tools(stories.log))
    result = await Runner(log=tmp_path / "own.db").run(detective, user_message="Why did the last refund fail?")
    assert result.final_text == "cents of a yen"
    assert all(record.success for record in result.tool_executions)


@pytest.mark.parametrize("options", [{"max_chars": 999}, {"prefix": "a b"}, {"timeout_s": 0}])
def test_arguments_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        debugger_tools("log.db", **options)


def test_a_page_has_a_line_in_any_case_and_leads_to_the_end() -> None:
    lines: Callable[[], list[str]] = lambda: ["a" * 30, "b\nc", "d" * 1_500]  # noqa: E731 - made anew for each page
    after, said = 0, []
    while True:
        found = page(lines(), after=after, room=1)
        notice, line = found.text.split("\n")
        assert notice == NOTICE
        said.append(line)
        if found.next is None:
            break
        assert found.next == after + 1
        after = found.next
    assert said == ["| " + "a" * 30, "| b", "| c", "| " + "d" * 1_000, "|+ " + "d" * 500]
