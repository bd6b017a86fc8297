"""A run leaves in every form: exact where it is for programs, inert where it is for people, whole or not at all in its file."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import pytest

from afk_es.agents import Agent
from afk_es.clock import SeededIds, SimulatedClock
from afk_es.core import Runner
from afk_es.debugger import Recording
from afk_es.debugger.exchange import FORMS, export_run, import_files
from afk_es.debugger.exchange.exporting import TEXTS, Form, export_text
from afk_es.debugger.exchange.report import report_of
from afk_es.debugger.exchange.transcript import TranscriptError
from afk_es.debugger.exchange.writing import write_text
from afk_es.debugger.triage import triage
from afk_es.errors import LLMConfigurationError, UsageError
from afk_es.llms import LLMResponse, ToolCall
from afk_es.log import EventLog, open_log
from afk_es.log.memory import MemoryEventLog
from afk_es.redaction import Redaction
from afk_es.testing import ScriptedModel
from tests.debugger.exchange.conftest import Import, asks, gives, says, sound, user
from tests.debugger.exchange.family import HOSTILE, SECRET, recorded
from tests.debugger.exchange.test_atif import TRAJECTORY

V1 = Path(__file__).parents[3] / "fixtures" / "logs" / "v1.db"


@pytest.fixture
async def run_id(log: EventLog) -> str:
    return await recorded(log)


async def text(log: EventLog, run_id: str, form: Form, redaction: Redaction | None = None) -> str:
    return "".join([piece async for piece in export_text(log, run_id, form, redaction=redaction)])


async def opened(path: Path) -> EventLog:
    log = open_log(path, read_only=True)
    await log.open()
    return log


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


# ----------------------------------------------------------------------------------------------------------------- exact forms


async def test_lines_can_be_read_back_into_a_log_exactly(log: EventLog, run_id: str, tmp_path: Path) -> None:
    """With the earlier run and the subagent's, event for event, and every request proved."""
    await export_run(log, run_id, "jsonl", tmp_path / "run.jsonl")
    other = MemoryEventLog()
    await other.open()
    report = await import_files(other, [tmp_path / "run.jsonl"])
    assert len(report.runs) == 3
    for run in report.runs:
        assert await sound(other, run.run_id) == await log.read(run.run_id)
        assert run.notes == ()
    with pytest.raises(TranscriptError, match=r"has run run_\w+ already"):
        await import_files(other, [tmp_path / "run.jsonl"])
    await other.close()


async def test_a_log_of_its_own_has_all_that_the_run_needs(log: EventLog, run_id: str, tmp_path: Path) -> None:
    target = tmp_path / "one.db"
    assert await export_run(log, run_id, "db", target) == (target,)
    assert _names(tmp_path) == ["one.db"]
    copy = await opened(target)
    try:
        assert {record.run_id for record in await copy.runs()} == {record.run_id for record in await log.runs()}
        for record in await copy.runs():
            assert await sound(copy, record.run_id) == await log.read(record.run_id)
        assert [head.run_id for head in await copy.thread("thread_one")] == [head.run_id for head in await log.thread("thread_one")]
    finally:
        await copy.close()


async def test_a_run_that_other_runs_follow_leaves_without_them(log: EventLog, run_id: str, tmp_path: Path) -> None:
    first = (await log.thread("thread_one"))[0].run_id
    await export_run(log, first, "db", tmp_path / "one.db")
    copy = await opened(tmp_path / "one.db")
    assert [record.run_id for record in await copy.runs()] == [first]
    await copy.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:-1], "it was cut off"),
        (lambda lines: [*lines[:3], *lines[4:]], "follows seq"),
        (lambda lines: [*lines[:2], lines[2].replace('"step":1', '"step":"x"'), *lines[3:]], "line 3: it is no event"),
        (lambda lines: [line.replace("Be kind.", "Be rude.") for line in lines], "request_hash"),
        (lambda lines: [*lines[:2], '{"schema":"afk_es.event/1"}', *lines[3:]], "line 3: it is no event"),
        (lambda lines: [lines[0].replace("afk_es.export/1", "afk_es.export/9"), *lines[1:]], "has the schema afk_es.export/1"),
    ],
)
async def test_lines_that_were_changed_are_refused(log: EventLog, run_id: str, tmp_path: Path, change: Any, message: str) -> None:
    lines = (await text(log, run_id, "jsonl")).splitlines()
    file = tmp_path / "run.jsonl"
    file.write_text("\n".join(change(lines)), encoding="utf-8")
    other = MemoryEventLog()
    await other.open()
    with pytest.raises(TranscriptError, match=message):
        await import_files(other, [file])
    assert await other.runs() == []
    await other.close()


async def test_redacted_lines_are_read_back_and_said_to_prove_nothing(log: EventLog, run_id: str, tmp_path: Path) -> None:
    await export_run(log, run_id, "jsonl", tmp_path / "run.jsonl", redaction=Redaction())
    assert SECRET not in (tmp_path / "run.jsonl").read_text(encoding="utf-8")
    other = MemoryEventLog()
    await other.open()
    report = await import_files(other, [tmp_path / "run.jsonl"])
    assert any("cannot be proved" in note for run in report.runs for note in run.notes)
    await other.close()


@pytest.mark.parametrize("at", [0, 9])
async def test_a_fork_leaves_with_the_run_that_it_shares_events_with(log: EventLog, run_id: str, tmp_path: Path, at: int) -> None:
    """As lines and as a log, exactly; the lines have what is shared once."""
    fork = await Runner(log=log).fork(None, run_id=run_id, at=at, models="recorded", tools="recorded")
    assert fork.state == "completed", fork.error
    lines, database = tmp_path / "fork.jsonl", tmp_path / "fork.db"
    await export_run(log, fork.run_id, "jsonl", lines)
    await export_run(log, fork.run_id, "db", database)
    other, copy = MemoryEventLog(), await opened(database)
    await other.open()
    report = await import_files(other, [lines])
    assert {run_id, fork.run_id} <= {run.run_id for run in report.runs}
    for run in report.runs:
        assert await sound(other, run.run_id) == await log.read(run.run_id) == await copy.read(run.run_id)
    assert sum(run.events for run in report.runs if run.run_id == fork.run_id) == len(await log.read(fork.run_id)) - at
    await other.close()
    await copy.close()


# ----------------------------------------------------------------------------------------------------------------- trajectories


async def test_a_trajectory_comes_back_as_it_went(imported: Import, log: EventLog, tmp_path: Path) -> None:
    """ATIF in, ATIF out: the steps say the same."""
    report = await imported(TRAJECTORY)
    given = json.loads(await text(log, report.runs[0].run_id, "atif"))
    assert given["schema_version"] == "ATIF-v1.7"
    for step, original in zip(given["steps"], TRAJECTORY["steps"], strict=True):
        for key in ("step_id", "source", "message", "reasoning_content", "tool_calls", "observation", "metrics"):
            assert step.get(key) == original.get(key), key
    assert given["agent"] == {"name": "terminus", "version": "2.0", "model_name": "big-model"}
    assert given["final_metrics"]["total_prompt_tokens"] == 230
    file = tmp_path / "again.json"
    file.write_text(json.dumps(given), encoding="utf-8")
    again = await import_files(log, [file], clock=SimulatedClock(), ids=SeededIds(99))
    first, second = await sound(log, report.runs[0].run_id), await sound(log, again.runs[0].run_id)
    assert [event.type for event in first] == [event.type for event in second]
    assert [event.data for event in first if event.type == "tool_completed"] == [
        event.data for event in second if event.type == "tool_completed"
    ]


async def test_a_run_of_ours_is_a_trajectory_with_its_subagents(log: EventLog, run_id: str, tmp_path: Path) -> None:
    """And comes back with the failure, what the model saw before it, and the subagent's run beside it."""
    given = json.loads(await text(log, run_id, "atif"))
    assert [step["step_id"] for step in given["steps"]] == list(range(1, len(given["steps"]) + 1))
    assert [(step["source"], step.get("is_copied_context")) for step in given["steps"]] == [
        ("system", None), ("user", True), ("agent", True), ("user", None), ("agent", None), ("agent", None), ("agent", None)
    ]  # fmt: skip
    (below,) = given["subagent_trajectories"]
    ref = given["steps"][5]["observation"]["results"][0]["subagent_trajectory_ref"]
    assert ref == [{"trajectory_id": below["trajectory_id"]}]
    file = tmp_path / "t.json"
    file.write_text(json.dumps(given), encoding="utf-8")
    other = MemoryEventLog()
    await other.open()
    report = await import_files(other, [file])
    outcomes = [
        (event.data["tool_name"], event.data["outcome"])
        for run in report.runs
        for event in await sound(other, run.run_id)
        if event.type == "tool_completed"
    ]
    assert outcomes == [("look", "returned"), ("look", "failed"), ("transfer_to_helper", "returned"), ("look", "returned")]
    await other.close()


# ----------------------------------------------------------------------------------------------------------------- for people


class _Page(HTMLParser):
    """What a browser would see of a page: elements, their attributes, and text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        self.texts[self._inside] = self.texts.get(self._inside, "") + data


async def test_a_page_needs_nothing_else_and_nothing_in_a_log_comes_alive_in_it(log: EventLog, run_id: str) -> None:
    """No address leaves the page, no handler is in it, and its policy allows this one style and this one script."""
    page = await text(log, run_id, "html")
    seen = _Page(page)
    assert sum(tag == "script" for tag, _attributes in seen.found) == 1
    assert not {tag for tag, _attributes in seen.found} & {"iframe", "object", "embed", "link", "base", "form", "video", "audio"}
    images = [attributes["src"] for tag, attributes in seen.found if tag == "img"]
    assert len(images) == 1
    assert str(images[0]).startswith("data:image/png;base64,")
    for tag, attributes in seen.found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        assert not {"srcset", "action", "formaction", "ping", "background", "poster", "data"} & attributes.keys()
        assert str(attributes.get("href", "#e1")).startswith("#e")
    policy = next(attributes["content"] for tag, attributes in seen.found if attributes.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    for tag in ("style", "script"):
        content = page.split(f"<{tag}>", 1)[1].split(f"</{tag}>", 1)[0]
        assert f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'" in policy
    for sign in ("\u202e", "\x07", "\x1b", "\ufffe"):
        assert sign not in page
    assert "\\u202e" in page


async def test_a_page_shows_every_event_and_what_was_said_and_called(log: EventLog, run_id: str) -> None:
    seen = _Page(await text(log, run_id, "html"))
    events = await log.read(run_id)
    ids = {attributes.get("id") for _tag, attributes in seen.found}
    assert {f"e{event.seq}" for event in events} <= ids
    assert all(str(attributes["href"])[1:] in ids for tag, attributes in seen.found if tag == "a")
    whole = "".join(seen.texts.values())
    assert "</script><script>alert(1)</script>" in whole, "it is shown as the text it is"
    assert "1 earlier message" in whole or "2 earlier messages" in whole
    assert "helper" in whole


async def test_secrets_are_kept_back_from_what_people_are_given(log: EventLog, run_id: str) -> None:
    for form in sorted(TEXTS):
        assert SECRET not in await text(log, run_id, get_form(form), Redaction()), form
    assert SECRET in await text(log, run_id, "html")
    assert SECRET in await text(log, run_id, "atif")


def get_form(name: str) -> Form:
    return next(form for form in FORMS if form == name)


async def test_a_picture_is_sound_xml_with_a_lane_for_each_kind_of_work(log: EventLog, run_id: str) -> None:
    root = ET.fromstring(await text(log, run_id, "svg"))
    space = "{http://www.w3.org/2000/svg}"
    texts = ["".join(each.itertext()) for each in root.iter(f"{space}text")]
    assert {"model", "tools", "subagents"} <= set(texts)
    assert any("desk" in each for each in texts)
    assert not list(root.iter(f"{space}script"))
    assert not [each for each in root.iter() if any(name.startswith("on") or name.endswith("href") for name in each.attrib)]
    bars = [each for each in root.iter(f"{space}rect") if "bar" in each.attrib.get("class", "")]
    events = await log.read(run_id)
    assert len(bars) == sum(event.type in ("llm_called", "tool_started", "subagent_started") for event in events)
    assert all(100 <= float(bar.attrib["x"]) <= 1180 for bar in bars)


async def test_a_report_holds_what_a_log_says_in_code(log: EventLog, run_id: str) -> None:
    """Outside of code there is nothing of it that Markdown or HTML would obey."""
    report = await text(log, run_id, "md")
    outside = re.sub(r"^(`{3,})text\n.*?^\1$", "", report, flags=re.DOTALL | re.MULTILINE)
    outside = re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", outside)
    assert "<script>" not in outside
    assert "javascript:" not in outside
    assert "| look |" not in outside
    assert "## Tool calls" in outside


@pytest.mark.parametrize("form", sorted(TEXTS))
async def test_runs_of_every_kind_can_be_exported(form: str) -> None:
    """Those of the oldest log: retried, refused, deferred, resumed, limited and cancelled ones."""
    log = await opened(V1)
    try:
        for record in await log.runs():
            assert len(await text(log, record.run_id, get_form(form), Redaction())) > 500
    finally:
        await log.close()


# ----------------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("form", ["md", "jsonl", "db"])
async def test_what_is_there_is_not_overwritten_unless_it_is_asked_for(log: EventLog, run_id: str, tmp_path: Path, form: Form) -> None:
    target = tmp_path / "there"
    target.write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        await export_run(log, run_id, form, target)
    assert target.read_text() == "mine"
    await export_run(log, run_id, form, target, force=True)
    assert target.read_bytes()[:4] != b"mine"
    assert _names(tmp_path) == ["there"]


async def test_an_export_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[str]:
        yield "half"
        raise RuntimeError("the disk of the log is gone")

    for before in (None, "mine"):
        target = tmp_path / "half"
        if before is not None:
            target.write_text(before)
        with pytest.raises(RuntimeError):
            await write_text(target, broken(), force=True)
        assert _names(tmp_path) == ([] if before is None else ["half"])
        assert before is None or target.read_text() == before


async def test_a_run_that_is_no_page_to_read_is_told_where_it_can_go(log: EventLog, run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("afk_es.debugger.exchange.report.MOST_EVENTS", 10)
    with pytest.raises(UsageError, match="`export --to db` or jsonl takes it"):
        await text(log, run_id, "html")


async def test_a_read_only_log_is_left_as_it_is(tmp_path: Path) -> None:
    """Byte for byte, whatever is exported of it."""
    source = tmp_path / "v1.db"
    source.write_bytes(V1.read_bytes())
    log = await opened(source)
    (record, *_others) = await log.runs()
    for form in get_args(Form):
        await export_run(log, record.run_id, form, tmp_path / f"out.{form}")
    await log.close()
    assert source.read_bytes() == V1.read_bytes()


def test_the_forms_are_those_that_are_told_of() -> None:
    assert set(FORMS) == set(get_args(Form))


@pytest.mark.parametrize("form", ["html", "svg", "md"])
async def test_names_that_others_gave_are_inert_as_well(imported: Import, log: EventLog, form: Form) -> None:
    """Of agents, models, tools, calls and threads, which an import takes as they are."""
    turn = asks((HOSTILE, HOSTILE, {HOSTILE: HOSTILE}), text=HOSTILE)
    value = {"messages": [user(HOSTILE), turn, gives(HOSTILE, HOSTILE), says(HOSTILE)], "model": HOSTILE, "agent_name": HOSTILE}
    report = await imported({**value, "note": HOSTILE}, thread="x <script>")
    given = await text(log, report.runs[0].run_id, form)
    if form == "html":
        tags = [tag for tag, _attributes in _Page(given).found]
        assert (tags.count("script"), tags.count("img")) == (1, 0)
    elif form == "svg":
        assert not list(ET.fromstring(given).iter("{http://www.w3.org/2000/svg}script"))
    else:
        assert "\u202e" not in given


async def test_errors_are_counted_as_triage_counts_them(log: EventLog) -> None:
    """The end of a failed run is an error as well, wherever errors are counted."""
    model = ScriptedModel([LLMResponse(tool_calls=(ToolCall("c1", "no_such_tool", {}),)), LLMConfigurationError("gone")])
    async with Runner(log=log, clock=SimulatedClock(), ids=SeededIds(3)) as runner:
        run = await runner.run(Agent(model=model), user_message="go")
    await log.open()
    seen = await triage(await Recording.open(log, run.run_id))
    assert seen.errors == 4
    assert (await report_of(log, run.run_id, None)).errors == seen.errors
