"""The fixture `golden`: checks today's agent on what is recorded, and records what is not, where the session accepts that."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from afk_es.agents import Agent, PolicyEngine
from afk_es.core import RunnerConfig
from afk_es.errors import UsageError
from afk_es.evals.goldens.check_report import CheckReport
from afk_es.evals.goldens.checking import RunnerFactory
from afk_es.evals.goldens.divergence import MatchMode
from afk_es.evals.goldens.live_recording import Said
from afk_es.evals.goldens.store import GoldenStore
from afk_es.evals.plugin.flow import Answer, Asked, came_of, short_text
from afk_es.evals.plugin.naming import name_of_test
from afk_es.evals.plugin.session import USES, GoldenSession
from afk_es.llms import UserMessage


class GoldenFixture:
    """A golden of a test, and how the test asks for it.

    Attributes:
        name: of the golden; None where its file was named.
        path: its file, whether it is there or not.
    """

    def __init__(self, name: str | None, path: Path, test: pytest.Item, session: GoldenSession) -> None:
        self.name: str | None = name
        self.path: Path = path
        self._test = test
        self._session = session

    @classmethod
    def of_test(cls, test: pytest.Item, session: GoldenSession) -> GoldenFixture:
        """The golden that is named after the test."""
        names = [node.name for node in test.listchain() if isinstance(node, (pytest.Class, pytest.Item))]
        return cls._named(name_of_test(names), test, session)

    @classmethod
    def _named(cls, name: str, test: pytest.Item, session: GoldenSession) -> GoldenFixture:
        return cls(name, GoldenStore(test.path.parent / session.directory / test.path.stem).path(name), test, session)

    def __call__(self, name: str) -> GoldenFixture:
        """Another golden of this test module, by a name that its tests may share."""
        return self._named(name, self._test, self._session)

    def open(self, path: str | Path) -> GoldenFixture:
        """The golden in this file; a relative path begins where the test file is."""
        return GoldenFixture(None, self._test.path.parent / path, self._test, self._session)

    def check(
        self,
        agent: Agent,
        *,
        mode: MatchMode | None = None,
        policy_engine: PolicyEngine | None = None,
        config: RunnerConfig | None = None,
        runner_factory: RunnerFactory | None = None,
    ) -> CheckReport:
        """`acheck` for tests that are no coroutines."""
        settings = {"mode": mode, "policy_engine": policy_engine, "config": config, "runner_factory": runner_factory}
        return self._at_once("check", agent, None, None, settings)

    async def acheck(
        self,
        agent: Agent,
        *,
        mode: MatchMode | None = None,
        policy_engine: PolicyEngine | None = None,
        config: RunnerConfig | None = None,
        runner_factory: RunnerFactory | None = None,
    ) -> CheckReport:
        """Run today's agent on what is recorded. No model is asked and no tool is run.

        Args:
            agent: as it is today.
            mode: strict, contract or trajectory; default the setting `golden_mode`, and without it how the golden was recorded.
            policy_engine, config: of the Runner, where no `runner_factory` says so.
            runner_factory: makes the Runner, with its policy and settings; also that of a live run, under `--golden-update=behaviour`.

        Returns:
            What the check came to: it passed, or the golden was written anew.

        Raises:
            pytest.fail.Exception: the agent does something else, the golden is not there or cannot be read, or nothing was measured.
        """
        settings = {"mode": mode, "policy_engine": policy_engine, "config": config, "runner_factory": runner_factory}
        return self._told(await self._answer(agent, None, None, settings))

    def run(
        self,
        agent: Agent,
        *,
        user_message: UserMessage | None = None,
        context: dict[str, Any] | None = None,
        thread_id: str | None = None,
        mode: MatchMode | None = None,
        policy_engine: PolicyEngine | None = None,
        config: RunnerConfig | None = None,
        runner_factory: RunnerFactory | None = None,
    ) -> CheckReport:
        """`arun` for tests that are no coroutines."""
        settings = {"mode": mode, "policy_engine": policy_engine, "config": config, "runner_factory": runner_factory}
        return self._at_once("run", agent, Said(user_message, context), thread_id, settings)

    async def arun(
        self,
        agent: Agent,
        *,
        user_message: UserMessage | None = None,
        context: dict[str, Any] | None = None,
        thread_id: str | None = None,
        mode: MatchMode | None = None,
        policy_engine: PolicyEngine | None = None,
        config: RunnerConfig | None = None,
        runner_factory: RunnerFactory | None = None,
    ) -> CheckReport:
        """As `acheck`; and a golden that is not there is recorded under `--golden-update=new`, by one live run.

        Args:
            user_message, context, thread_id: what the run begins with, as `Runner.run` takes it. A golden that was recorded with something
                else has diverged.
            mode, policy_engine, config, runner_factory: as of `acheck`; the live run has them too.
        """
        settings = {"mode": mode, "policy_engine": policy_engine, "config": config, "runner_factory": runner_factory}
        return self._told(await self._answer(agent, Said(user_message, context), thread_id, settings))

    def _at_once(self, name: str, agent: Agent, said: Said | None, thread_id: str | None, settings: dict[str, Any]) -> CheckReport:
        if _loop_is_running():
            raise UsageError(f"an event loop is running, as in every async test; use `await golden.a{name}(...)`")
        return self._told(asyncio.run(self._answer(agent, said, thread_id, settings)))

    async def _answer(self, agent: Agent, said: Said | None, thread_id: str | None, settings: dict[str, Any]) -> Answer:
        if not isinstance(agent, Agent):
            raise UsageError(f"golden.check and golden.run take an Agent, not {type(agent).__name__}")
        mode = settings["mode"] or self._session.mode or None
        asked = Asked(self.name, self.path, self._session.shown(self.path), agent, said, thread_id, **{**settings, "mode": mode})
        return await came_of(asked, self._session.update)

    def _told(self, answer: Answer) -> CheckReport:
        """Notes the answer for the session, and fails the test with it where it failed."""
        __tracebackhide__ = True
        self._test.stash.setdefault(USES, []).append(answer.use)
        if answer.use.failed:
            pytest.fail(short_text(answer), pytrace=False)
        return answer.report


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
