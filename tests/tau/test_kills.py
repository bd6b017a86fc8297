"""Conversations whose process is killed with SIGKILL, again and again, and which end as if nothing had happened.

The server kills the process when it has a certain request in hand, so the model is asked and nobody will hear the answer; a tool kills its
own process when it has begun and not returned. Nothing here waits for a time.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from afk_es.log import open_log
from tests.support.openai_server import OpenAIServer, Reply
from tests.support.tau import FIXTURE, Recording
from tests.tau.airline import airline_responder, answer_to
from tests.tau.checks import check_log, recorded_answers

pytestmark = [pytest.mark.tau, pytest.mark.kill]

_REPOSITORY = Path(__file__).parents[2]
_RECORDING = Recording.load(FIXTURE)


class _Scene:
    """A conversation, the server it talks to, and the log and journal that its processes leave behind."""

    def __init__(self, key: str, directory: Path, *, streamed: bool = False) -> None:
        self.conversation = _RECORDING.conversations[key]
        self.log = directory / "airline.db"
        self.journal = directory / "journal"
        self.journal.touch()
        self._streamed = streamed
        self._respond = airline_responder(_RECORDING)
        self._kill_at: int | None = None
        self._child: subprocess.Popen[str] | None = None
        self.refused: list[Any] = []
        self.server = OpenAIServer(self._answer)

    def _answer(self, body: dict[str, Any]) -> Reply:
        reply = self._respond(body)
        if not isinstance(reply, dict):
            self.refused.append(reply)
        if len(self.server.requests) == self._kill_at:
            assert self._child is not None
            self._child.send_signal(signal.SIGKILL)
        return reply

    def process(
        self, *, kill_at_request: int | None = None, die_in_tool: int | None = None, die_after_runs: int | None = None
    ) -> list[str]:
        """Let a process live its life, and return the final texts it prints; none if it was killed.

        Args:
            kill_at_request: the how-maniest request to the server since it began.
            die_in_tool: the how-maniest start of a tool since the journal began.
            die_after_runs: how many runs of the conversation are to be over.
        """
        self._kill_at = kill_at_request
        command = [sys.executable, "-W", "error", "-m", "tests.tau.mortal", self.conversation.key, "--recording", str(FIXTURE)]
        command += ["--url", self.server.url, "--log", str(self.log), "--journal", str(self.journal)]
        command += [] if die_in_tool is None else ["--die-in-tool", str(die_in_tool)]
        command += [] if die_after_runs is None else ["--die-after-runs", str(die_after_runs)]
        command += ["--streamed"] if self._streamed else []
        environment = {**os.environ, "PYTHONPATH": str(_REPOSITORY)}
        with subprocess.Popen(
            command, cwd=_REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as child:
            self._child = child
            out, err = child.communicate(timeout=60)
        killed = (kill_at_request, die_in_tool, die_after_runs) != (None, None, None)
        assert child.returncode == (-signal.SIGKILL if killed else 0), err
        assert killed or not err
        return [json.loads(line) for line in out.splitlines()]

    def ran(self) -> list[list[Any]]:
        """Every start of a tool: call id, name, arguments, idempotency key."""
        return [json.loads(line) for line in self.journal.read_text().splitlines()]

    def check(self) -> None:
        """The log tells the recorded conversation, and the server saw no other."""
        assert not self.refused
        asyncio.run(self._check_log())

    async def _check_log(self) -> None:
        log = open_log(self.log)
        await log.open()
        try:
            await check_log(log, _RECORDING, self.conversation, [received.body for received in self.server.requests])
        finally:
            await log.close()

    @property
    def texts(self) -> list[str]:
        """The final texts of all runs, as they were recorded."""
        return [answer_to(run) for run in self.conversation.runs]

    @property
    def calls(self) -> list[list[Any]]:
        """The recorded tool calls of all runs: call id, name, arguments."""
        return [list(call) for run in self.conversation.runs for call in run.calls]


@pytest.mark.parametrize(("key", "streamed"), [("tau-24-1", False), ("tau-12-0", True)])
def test_killed_while_the_model_was_asked_a_run_asks_it_again_and_runs_no_tool_twice(key: str, streamed: bool, tmp_path: Path) -> None:
    scene = _Scene(key, tmp_path, streamed=streamed)
    with scene.server:
        assert scene.process(kill_at_request=1) == []
        assert scene.process(kill_at_request=6) == []
        assert scene.process() == scene.texts
        scene.check()
        assert scene.process() == scene.texts, "what has ended is told again, and nobody is asked"
    assert [call[:3] for call in scene.ran()] == scene.calls
    assert len(scene.server.requests) == sum(len(recorded_answers(run)) for run in scene.conversation.runs) + 2


def test_killed_in_a_tool_a_run_starts_that_one_again_with_its_key_and_no_other(tmp_path: Path) -> None:
    """The first is a tool that only looks, which is always run again; the second changes a booking, which is so because we said "retry"."""
    scene = _Scene("tau-20-3", tmp_path)
    with scene.server:
        assert scene.process(die_in_tool=1) == []
        assert scene.process(die_in_tool=4) == []
        assert scene.process() == scene.texts
        scene.check()
    ran = scene.ran()
    assert ran[0] == ran[1]
    assert ran[3] == ran[4]
    assert (ran[0][1], ran[3][1]) == ("get_reservation_details", "update_reservation_flights")
    once = [call[:3] for position, call in enumerate(ran) if position not in (1, 4)]
    assert once == scene.calls


def test_killed_between_two_runs_a_conversation_goes_on_with_the_next(tmp_path: Path) -> None:
    scene = _Scene("tau-32-3", tmp_path)
    with scene.server:
        assert scene.process(die_after_runs=1) == []
        assert scene.process(die_after_runs=5) == []
        assert scene.process() == scene.texts
        scene.check()
    assert [call[:3] for call in scene.ran()] == scene.calls
    assert len(scene.server.requests) == sum(len(recorded_answers(run)) for run in scene.conversation.runs)
