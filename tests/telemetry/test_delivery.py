"""Whatever a sink does, the run does not feel it, nothing is lost silently, and the program ends."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from afk_es.agents import Agent
from afk_es.core import Runner, RunnerConfig
from afk_es.machine import AgentRunEvent
from afk_es.redaction import MARK, MOST_VALUES, Redaction
from afk_es.telemetry import Delivery
from afk_es.telemetry import delivery as module
from afk_es.testing import ScriptedModel
from afk_es.tools import ToolContext, tool
from tests.telemetry.sinks import Hanging, Raising, Remembering
from tests.views.runs import calls, eventful

ROOT = Path(__file__).parents[2]
LOGGER = "afk_es.telemetry"


def greeting() -> Agent:
    return Agent(model=ScriptedModel(lambda request: "Good morning."))


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == LOGGER]


# ----------------------------------------------------------------------------------------------------------------------- what is told


async def test_a_sink_is_told_what_is_in_the_log_in_its_order_and_from_another_thread() -> None:
    sink = Remembering()
    async with Runner(log=":memory:", telemetry=sink) as runner:
        result = await runner.run(greeting(), user_message="hello")
        log = await runner.log.read(result.run_id)
    assert sink.events == log
    assert sink.threads == {"afk_es.telemetry"}
    assert sink.flushes >= 1
    assert sink.closes == 0, "whoever made the sink closes it"


async def test_pieces_of_text_are_not_told() -> None:
    sink = Remembering()
    async with Runner(log=":memory:", telemetry=sink) as runner:
        handle = await runner.run_stream(greeting(), user_message="hello")
        streamed = [event.type async for event in handle]
    assert "text_delta" in streamed
    assert "text_delta" not in sink.types
    assert sink.types[-1] == "run_completed"


def test_run_sync_has_told_everything_when_it_returns_however_often() -> None:
    sink = Remembering()
    runner = Runner(log=":memory:", telemetry=sink)
    for count in (1, 2, 3):
        runner.run_sync(greeting())
        assert sink.types.count("run_completed") == count


async def test_runs_at_once_are_told_each_in_its_order() -> None:
    sink = Remembering()
    async with Runner(log=":memory:", telemetry=sink) as runner:
        await asyncio.gather(*(runner.run(greeting()) for _ in range(50)))
    by_run: dict[str, list[int]] = {}
    for event in sink.events:
        by_run.setdefault(event.run_id, []).append(event.seq)
    assert len(by_run) == 50
    assert all(seqs == list(range(1, len(seqs) + 1)) for seqs in by_run.values())


async def test_a_resumed_run_is_told_of_its_new_stretch() -> None:
    sink = Remembering()
    async with Runner(log=":memory:") as runner:
        handle = await runner.run_handle(Agent(model=ScriptedModel([_never, "well"])))
        async for event in handle.events:
            if event.type == "llm_called":
                await handle.interrupt()
        async with Runner(log=runner.log, telemetry=sink) as second:
            await second.resume(Agent(model=ScriptedModel(["well"])), run_id=handle.run_id)
    assert sink.types[0] == "run_started"
    assert sink.events[0].data["resumed"] is True
    assert sink.types[-1] == "run_completed"


async def _never(request: object) -> str:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


# --------------------------------------------------------------------------------------------------------------------------- redaction


@tool
async def leak(ctx: ToolContext) -> dict[str, str]:
    """Answers with what it was told in confidence."""
    return {"said": f"the key is {ctx.secrets['shop']}!", "password": "another"}


def leaking() -> Agent:
    return Agent(model=ScriptedModel([calls(("leak", {})), "done with hunter22-of-the-shop"]), tools=[leak])


def provided(context: ToolContext) -> Mapping[str, str]:
    return {"shop": "hunter22-of-the-shop", "short": "abc"}


async def test_what_a_tools_secret_scope_gives_is_kept_back_and_the_log_keeps_what_happened() -> None:
    sink = Remembering()
    config = RunnerConfig(secret_scope_provider=provided)
    async with Runner(log=":memory:", telemetry=sink, config=config) as runner:
        result = await runner.run(leaking())
        log = await runner.log.read(result.run_id)
    assert result.final_text == "done with hunter22-of-the-shop"
    (told,) = [event for event in sink.events if event.type == "tool_completed"]
    assert told.data["output"] == {"said": f"the key is {MARK}!", "password": MARK}
    assert "hunter22" not in repr(sink.events)
    assert "hunter22" in repr(log)


async def test_a_config_names_more_or_shows_everything() -> None:
    for redaction, shown in ((Redaction(keys=["said"]), MARK), (None, "the key is hunter22-of-the-shop!")):
        sink = Remembering()
        config = RunnerConfig(secret_scope_provider=provided, redaction=redaction)
        async with Runner(log=":memory:", telemetry=sink, config=config) as runner:
            await runner.run(leaking())
        (told,) = [event for event in sink.events if event.type == "tool_completed"]
        assert told.data["output"]["said"] == shown


def test_secrets_that_are_new_with_every_call_are_bounded() -> None:
    delivery = Delivery(Remembering(), Redaction())
    for number in range(MOST_VALUES * 2):
        delivery.register([f"secret-{number:06}", 7])
    assert len(delivery._secrets) <= MOST_VALUES + 1


def test_a_scope_that_is_no_mapping_is_the_tools_affair() -> None:
    delivery = Delivery(Remembering(), Redaction())
    assert delivery.registering(lambda context: None)(None) is None  # type: ignore[arg-type,return-value]  # as a user's may be wrong


# --------------------------------------------------------------------------------------------------------------------- sinks that fail


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt(), BaseException("all"), asyncio.CancelledError()])
@pytest.mark.parametrize("when_flushed", [False, True])
async def test_a_sink_that_raises_is_said_once_and_the_run_goes_on(
    error: BaseException, when_flushed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    sink = Raising(error, when_flushed=when_flushed)
    async with Runner(log=":memory:", telemetry=sink) as runner:
        assert (await runner.run(greeting())).state == "completed"
        assert (await runner.run(greeting())).state == "completed"
    assert sink.types.count("run_completed") == 2, "it is asked again every time"
    (line,) = said(caplog)
    assert f"telemetry sink Raising raised {type(error).__name__}" in line


async def test_what_a_sink_raises_is_redacted_too(caplog: pytest.LogCaptureFixture) -> None:
    async with Runner(log=":memory:", telemetry=Raising(ValueError("refused: api_key=hunter22"))) as runner:
        await runner.run(greeting())
    assert said(caplog)
    assert "hunter22" not in caplog.text


async def test_a_sink_that_hangs_costs_the_end_its_patience_once_and_the_run_nothing(caplog: pytest.LogCaptureFixture) -> None:
    sink = Hanging()
    runner = Runner(log=":memory:", telemetry=sink)
    assert runner._delivery is not None
    runner._delivery._patience_s = 0.2
    async with runner:
        result = await asyncio.wait_for(runner.run(greeting()), 10)
        assert result.state == "completed"
        await asyncio.to_thread(sink.reached.wait, 10)
    (line,) = said(caplog)
    assert "did not take everything within 0.2 s" in line
    runner._delivery._patience_s = 30.0
    began = time.perf_counter()
    async with runner:
        await runner.run(greeting())
    assert time.perf_counter() - began < 15, "nobody waits again for a sink that has not moved"
    sink.let_go.set()
    async with runner:
        # It moves again, so it is waited for again.
        await asyncio.to_thread(_until, lambda: sink.types.count("run_completed") == 2)
        await runner.run(greeting())
    assert sink.types.count("run_completed") == 3
    assert len(said(caplog)) == 1


def _until(holds: Any) -> None:
    for _ in range(1_000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to that")


async def test_what_does_not_fit_is_dropped_counted_and_said(caplog: pytest.LogCaptureFixture) -> None:
    events = await eventful()
    sink = Hanging()
    delivery = Delivery(sink, None, capacity=4)
    delivery.publish(events[0])
    await asyncio.to_thread(sink.reached.wait, 10)
    for event in events[1:]:
        delivery.publish(event)
    assert delivery.dropped == len(events) - 5
    sink.let_go.set()
    assert await delivery.flush()
    assert sink.events == events[:5]
    assert (delivery.delivered, delivery.failed) == (5, 0)
    (line,) = said(caplog)
    assert f"{delivery.dropped} events did not fit into its queue of 4" in line


async def test_what_a_sink_keeps_is_flushed_when_nothing_comes_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.02)
    sink = Remembering()
    delivery = Delivery(sink, None)
    delivery.publish((await eventful())[0])
    await asyncio.to_thread(_until, lambda: sink.flushes == 1)
    await asyncio.to_thread(_until, lambda: delivery._thread is None)
    delivery.publish((await eventful())[0])
    assert await delivery.flush(), "another thread took over"
    assert len(sink.events) == 2


async def test_without_a_thread_left_events_wait_for_the_next_try(monkeypatch: pytest.MonkeyPatch) -> None:
    events = await eventful()
    sink = Remembering()
    delivery = Delivery(sink, None)

    def none_left(thread: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none_left)
        delivery.publish(events[0])
    delivery.publish(events[1])
    assert await delivery.flush()
    assert sink.events == events[:2]


async def test_a_flush_outlives_its_event_loop_quietly(caplog: pytest.LogCaptureFixture) -> None:
    sink = Hanging()
    delivery = Delivery(sink, None, patience_s=0.05)
    event = (await eventful())[0]

    def in_a_loop_of_its_own() -> bool:
        async def flush() -> bool:
            delivery.publish(event)
            return await delivery.flush()

        return asyncio.run(flush())

    assert await asyncio.to_thread(in_a_loop_of_its_own) is False
    sink.let_go.set()
    await asyncio.to_thread(_until, lambda: delivery._thread is None or sink.flushes)
    assert len(said(caplog)) == 1


# ------------------------------------------------------------------------------------------------------------------ programs that end

PROGRAM = """
import asyncio, sys, threading
from afk_es import Agent, Runner
from afk_es.testing import ScriptedModel

class Sink:
    def export(self, event):
        {export}
    def flush(self):
        {flush}
    def close(self):
        pass

async def main():
    result = await Runner(log=":memory:", telemetry=Sink()).run(Agent(model=ScriptedModel(["done"])))
    print(result.state, flush=True)

{main}
"""


@pytest.mark.parametrize(
    ("export", "flush"),
    [
        ("threading.Event().wait()", "pass"),
        ("pass", "threading.Event().wait()"),
        ("raise SystemExit(7)", "raise KeyboardInterrupt"),
        ("sys.exit(7)", "pass"),
    ],
)
@pytest.mark.parametrize(
    "main", ["asyncio.run(main())", "Runner(log=':memory:', telemetry=Sink()).run_sync(Agent(model=ScriptedModel(['x'])))"]
)
def test_the_program_ends_in_time_and_well(export: str, flush: str, main: str, tmp_path: Path) -> None:
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(export=export, flush=flush, main=main)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "telemetry sink Sink" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.perf_counter() - began < 20


def test_what_is_on_its_way_when_a_program_ends_is_told(tmp_path: Path) -> None:
    """Events that were published after the last flush are waited for at the end of the interpreter."""
    code = """
import datetime as dt, time
from afk_es.machine import AgentRunEvent
from afk_es.telemetry import Delivery, JsonSink

class Slow(JsonSink):
    def export(self, event):
        time.sleep(0.02)
        super().export(event)

delivery = Delivery(Slow("told.jsonl"), None)
for seq in range(1, 21):
    delivery.publish(AgentRunEvent("warning", "r", "t", seq, dt.datetime.now(dt.UTC), "running", 0, "", {"kind": "k"}))
"""
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=tmp_path, timeout=60, check=True)
    assert len((tmp_path / "told.jsonl").read_text().splitlines()) == 20


def test_without_telemetry_nothing_of_it_is_loaded(tmp_path: Path) -> None:
    code = """
import sys
from afk_es import Agent, Runner
from afk_es.testing import ScriptedModel
Runner(log=":memory:").run_sync(Agent(model=ScriptedModel(["x"])))
assert not [name for name in sys.modules if name.startswith(("afk_es.telemetry", "opentelemetry"))]
"""
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=tmp_path, timeout=60, check=True)


def test_telemetry_without_opentelemetry_loads_none_of_it(tmp_path: Path) -> None:
    code = """
import sys
from afk_es import Agent, Runner
from afk_es.testing import ScriptedModel
Runner(log=":memory:", telemetry="console").run_sync(Agent(model=ScriptedModel(["x"])))
assert not [name for name in sys.modules if name.startswith(("opentelemetry", "requests", "google"))]
"""
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=tmp_path, timeout=60, check=True)


def test_the_events_of_a_run_are_published_once(tmp_path: Path) -> None:
    sink = Remembering()
    result = Runner(log=tmp_path / "runs.db", telemetry=sink).run_sync(greeting())
    assert [event.seq for event in sink.events] == list(range(1, result.state_snapshot.seq + 1))
    assert all(isinstance(event, AgentRunEvent) for event in sink.events)


def test_the_loggers_name_is_what_the_docs_say() -> None:
    assert logging.getLogger(LOGGER) is module._log
