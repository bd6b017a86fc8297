"""A golden file is reviewed, merged and edited by people: what can be folded is loaded, and what cannot says where and why."""

# ruff: noqa: ASYNC240 - the files of these tests are small, and nothing else goes on meanwhile
from __future__ import annotations

import difflib
import errno
import json
import multiprocessing
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from afk_es.errors import UsageError
from afk_es.evals import Golden, GoldenError
from afk_es.log.memory import MemoryEventLog
from afk_es.log.upcast import UPCASTERS, Upcaster
from afk_es.tools import tool
from tests.evals.recorded import check_whole, desk, look, ran, small

NAME = "small.golden.jsonl"
Lines = list[dict[str, Any]]


@pytest.fixture
async def written(tmp_path: Path) -> Path:
    """The file of a small golden."""
    path = tmp_path / NAME
    (await small()).write(path)
    return path


def edited(path: Path, change: Callable[[Lines], object]) -> Path:
    """The file with its lines changed."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    change(lines)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def line_of(lines: Lines, kind: str, **fields: Any) -> int:
    """The index of the first fact of this kind with these fields."""
    return next(
        i for i, line in enumerate(lines) if line.get("fact") == kind and all(line.get(key) == item for key, item in fields.items())
    )


def event(lines: Lines, event_type: str) -> dict[str, Any]:
    """The first event of a type."""
    return lines[line_of(lines, "event", type=event_type)]


async def test_a_file_is_private_to_nobody_and_ends_with_a_line_end(written: Path) -> None:
    assert written.stat().st_mode & 0o777 == 0o644
    assert written.read_bytes().endswith(b"}\n")


async def test_only_golden_files_are_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends with \.golden\.jsonl"):
        (await small()).write(tmp_path / "small.json")


async def test_a_full_disk_names_the_file_and_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system names no file then, and otherwise the one beside it, of which nobody knows."""
    target = tmp_path / NAME
    target.write_text("what was there")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left on device") as raised:
        (await small()).write(target)
    assert raised.value.filename == str(target)
    assert [each.name for each in tmp_path.iterdir()] == [NAME]
    assert target.read_text() == "what was there"


async def test_a_file_that_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(GoldenError, match="there is no such file; record it first"):
        Golden.read(tmp_path / NAME)


HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", r":1: the file is empty"),
    "not text": (b"\x00\xff\xfe\n", r":1: it is not JSON"),
    "a list": (b"[1]\n", r":1: a line is an object"),
    "no golden": (b'{"schema":"afk_es.export/1"}\n', r":1: the first line of a golden has the schema afk_es.golden/1"),
    "of a newer version": (b'{"schema":"afk_es.golden/2"}\n', r":1: it has the schema 'afk_es.golden/2'.*upgrade afk_es"),
    "of an older version": (b'{"schema":"afk_es.golden/0"}\n', r":1: it has the schema 'afk_es.golden/0'.*record the golden anew"),
    "a header of nothing": (b'{"schema":"afk_es.golden/1"}\n', r":1: the header makes no sense: .*name"),
    "nested too deeply": (b'{"a":' + b"[" * 5_000 + b"]" * 5_000 + b"}\n", r":1: it is nested deeper than 200 levels"),
    "a merge conflict": (b"<<<<<<< HEAD\n", r":1: a merge conflict"),
    "lone surrogate": (b'{"schema":"\\ud800"}\n', r":1: "),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_file_that_is_no_golden_says_so_with_its_line(tmp_path: Path, content: tuple[bytes, str]) -> None:
    path = tmp_path / NAME
    path.write_bytes(content[0])
    with pytest.raises(GoldenError, match=content[1]) as raised:
        Golden.read(path)
    assert str(raised.value).startswith(f"{path}:")


BROKEN: dict[str, tuple[Callable[[Lines], object], str]] = {
    "an event is gone": (lambda lines: lines.pop(line_of(lines, "event", seq=4)), r"seq 5 of run run_1 stands where seq 4 belongs"),
    "an event stands twice": (lambda lines: lines.insert(12, lines[11]), r"stands where seq \d+ belongs"),
    "the outcome is gone": (lambda lines: lines.pop(), r"run run_1 has no outcome: the file was cut off"),
    "a tool is gone": (lambda lines: lines.pop(line_of(lines, "tool", id="look")), r"refers to the tool 'look', which is not in the file"),
    "an agent twice": (lambda lines: lines.insert(2, lines[line_of(lines, "tool")]), r"tool 'look' is said twice"),
    "a run nobody has": (lambda lines: lines[0].update(runs=["run_7"]), r":1: the header names run 'run_7'"),
    "no runs": (lambda lines: lines[0].update(runs=[]), r":1: `runs` names the runs"),
    "newer events": (lambda lines: lines[0]["recorded"].update(event_schema=99), r":1: its events have schema version 99"),
    "a newer event": (lambda lines: event(lines, "llm_called").update(schema_version=99), r"schema version 99, this afk_es understands"),
    "a fact of tomorrow": (lambda lines: lines.append({"fact": "mood"}), r"a fact of the kind 'mood', which this afk_es does not know"),
    "a line without a kind": (lambda lines: lines.append({"x": 1}), r"says under `fact` what it is"),
    "an event of another run": (
        lambda lines: event(lines, "llm_called").update(run="run_2"),
        r"an event of run 'run_2' stands in run run_1",
    ),
    "a time that is none": (lambda lines: event(lines, "llm_called").update(at="noon"), r"an event has a type, `at` in seconds"),
    "a time without end": (lambda lines: event(lines, "llm_called").update(at=1e300), r"an event has a type, `at` in seconds"),
    "data of another shape": (lambda lines: event(lines, "llm_called")["data"].update(ordinal="one"), r"llm_called at seq 4: .*ordinal"),
    "a result nobody asked for": (
        lambda lines: event(lines, "tool_completed")["data"].update(tool_call_id="call_9"),
        r"it cannot happen here: .*call_9",
    ),
    "a model that there is not": (
        lambda lines: event(lines, "llm_called")["data"].update(model_index=7),
        r"llm_called at seq 4: IndexError",
    ),
    "a history that is not there": (
        lambda lines: event(lines, "run_started")["data"].update(history=[{"run_id": "run_0", "seq": 1}]),
        r"what run run_1 builds on is missing",
    ),
    "a history that is none": (lambda lines: event(lines, "run_started")["data"].update(history=7), r"what run run_1 builds on is missing"),
    "an agent that is none": (
        lambda lines: lines[line_of(lines, "agent")].update(value={"agent_name": 7}),
        r"it cannot happen here: .*agent_name",
    ),
    "tools that are no list": (
        lambda lines: lines[line_of(lines, "agent")]["value"].update(tools="look"),
        r"`tools` of an agent is a list",
    ),
    "an outcome that is none": (lambda lines: lines[-1].update(tokens="many"), r"the outcome makes no sense: .*tokens"),
    "an id that cannot be": (
        lambda lines: [line.update(thread="a\0b") for line in lines if line.get("fact") == "run"],
        r"run run_1 cannot be stored: .*no id",
    ),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
async def test_what_cannot_be_folded_names_the_line_and_the_reason(written: Path, broken: tuple[Callable[[Lines], object], str]) -> None:
    edited(written, broken[0])
    with pytest.raises(GoldenError, match=broken[1]) as raised:
        await Golden.read(written).open_log()
    place = str(raised.value).removeprefix(f"{written}:").partition(":")[0]
    assert 1 <= int(place) <= len(written.read_text().splitlines())


async def test_a_file_that_was_cut_off_anywhere_is_refused_and_nothing_else_happens(written: Path) -> None:
    content = written.read_bytes()
    for length in range(0, len(content) - 1, 131):
        written.write_bytes(content[:length])
        with pytest.raises(GoldenError, match=f"{NAME}:"):
            await Golden.read(written).open_log()


async def test_a_flipped_character_is_refused_with_its_line_or_loaded_and_known_to_be_edited(written: Path) -> None:
    content = written.read_bytes()
    chance = random.Random(7)
    refused: list[str] = []
    loaded: list[Golden] = []
    first_fact = content.index(b"\n")
    for _time in range(150):
        place = chance.randrange(first_fact + 1, len(content) - 1)
        flipped = bytes([content[place] ^ (1 << chance.randrange(7))])
        written.write_bytes(content[:place] + flipped + content[place + 1 :])
        try:
            golden = Golden.read(written)
            await golden.open_log()
        except GoldenError as error:
            refused.append(str(error))
        else:
            loaded.append(golden)
    assert [message for message in refused if not message.startswith(f"{written}:")] == []
    assert [golden for golden in loaded if not golden.edited] == []
    assert len(loaded) > 10, "many characters are texts, which may be anything"


EDITS: dict[str, Callable[[Lines], object]] = {
    "an argument": lambda lines: event(lines, "llm_completed")["data"]["tool_calls"][0]["arguments"].update(q="tables"),
    "the instructions": lambda lines: lines[line_of(lines, "instructions")].update(value="Be rude."),
    "a tool's description": lambda lines: lines[line_of(lines, "tool", id="look")]["value"].update(description="Look."),
    "a result": lambda lines: event(lines, "tool_completed")["data"].update(output="nothing"),
    "the outcome": lambda lines: lines[-1].update(final_text="Not sent."),
    "a limit": lambda lines: lines[line_of(lines, "limits")]["value"].update(max_steps=7),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
async def test_an_edit_by_hand_is_loaded_verifies_and_is_known_as_one(written: Path, edit: Callable[[Lines], object]) -> None:
    golden = Golden.read(edited(written, edit))
    assert golden.edited
    assert await check_whole(golden) == 3


async def test_reformatting_is_no_edit(written: Path) -> None:
    assert not Golden.read(edited(written, lambda lines: None)).edited
    written.write_text(written.read_text().replace("\n", "\r\n\n"))
    assert not Golden.read(written).edited


async def test_an_event_of_an_older_schema_is_upcast(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def older(data: dict[str, Any]) -> dict[str, Any]:
        return {**{key: item for key, item in data.items() if key != "number"}, "step": data["number"]}

    def change(lines: Lines) -> None:
        line = event(lines, "step_started")
        line["schema_version"] = 0
        line["data"]["number"] = line["data"].pop("step")

    monkeypatch.setitem(cast(dict[tuple[str, int], Upcaster], UPCASTERS), ("step_started", 0), older)
    log = await Golden.read(edited(written, change)).open_log()
    assert (await log.read("run_1"))[1].data["step"] == 1


# ----------------------------------------------------------------------------------------------------------------------- differences


async def lines_changed(one: Golden, other: Golden) -> list[str]:
    """The kinds of the lines that a review shows as changed; the header is ""."""
    left, right = one.text().splitlines(), other.text().splitlines()
    changed = [line[2:] for line in difflib.ndiff(left, right) if line.startswith("+ ")]
    return [json.loads(line).get("fact", "") for line in changed]


async def of(agent: Any) -> Golden:
    log = MemoryEventLog()
    await log.open()
    return await Golden.of(log, await ran(log, agent), name="small")


async def test_a_change_of_the_agent_changes_one_line_and_the_header() -> None:
    before = await of(desk())

    @tool(name="look", read_only=True)
    async def described(q: str) -> str:
        """Look something up, but better."""
        return f"found {q}"

    assert await lines_changed(before, await of(desk(looking=described))) == ["", "tool"]
    assert await lines_changed(before, await of(desk(instructions="Be quick."))) == ["", "instructions"]

    @tool(name="look", read_only=True)
    async def other(q: str) -> str:
        """Look something up."""
        return f"lost {q}"

    assert await lines_changed(before, await of(desk(looking=other))) == ["", "event", "event"], "it is called twice"
    assert look.spec().name == "look"


# ----------------------------------------------------------------------------------------------------------------------- many at once


def _write(path: Path, times: int) -> None:
    golden = Golden.read(path)
    for number in range(times):
        # Each write says something else, so that none is left out.
        renamed = msgspec.structs.replace(golden, header=msgspec.structs.replace(golden.header, update=f"{number} {'x' * 5_000}"))
        renamed.write(path)


async def test_processes_that_write_one_golden_leave_it_whole_at_every_moment(written: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(written, 10)) for _each in range(2)]
    for writer in writers:
        writer.start()
    looks = 0
    while any(writer.is_alive() for writer in writers):
        assert not Golden.read(written).edited
        looks += 1
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert looks > 1
    assert [path.name for path in written.parent.iterdir()] == [NAME], "nothing is left beside it"


async def test_the_order_of_keys_in_a_file_means_nothing(written: Path) -> None:
    """What a model is shown of a tool's output is text, and so has an order: the one that a log gives back."""

    def backwards(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: backwards(value[key]) for key in sorted(value, reverse=True)}
        return [backwards(item) for item in value] if isinstance(value, list) else value

    def change(lines: Lines) -> None:
        event(lines, "tool_completed")["data"]["output"] = {"b": 1, "a": {"d": 2, "c": 3}}
        lines[:] = [backwards(line) for line in lines]

    assert await check_whole(Golden.read(edited(written, change))) == 3
