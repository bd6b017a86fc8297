"""One call of a client, from its request to its result: begins the run that the call is, or joins it, tells its progress, and puts its questions
before the person at the client.
"""

from __future__ import annotations

import asyncio
import os
import shlex
from typing import Any, Final

from mcp.server import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from afk_es.clock import SystemClock
from afk_es.core import AgentResult, AgentRunEvent, AttachedRun, Runner
from afk_es.errors import AgentMismatchError, RunExistsError, UsageError
from afk_es.interaction import ApprovalRequest, InputRequest
from afk_es.mcp.elicitation import can_be_asked, form_of, key_of, say
from afk_es.mcp.keys import Key
from afk_es.mcp.laid_down import LaidDown, Requests
from afk_es.mcp.listing import Served
from afk_es.mcp.owners import Owners, Waiting
from afk_es.mcp.results import IDEMPOTENCY_KEY, RUN_ID, WAITS_FOR, failure
from afk_es.serving import LOCAL, Principal, served_context

DOOR: Final = "mcp"

_ROUNDS: Final = 32
"""How often a call may stop for a person, or change its process, before it is said to be at its end."""

_BY_CHARACTERS: Final = 180


class ServedCall:
    """A request for a call.

    Args:
        asks: whether the person at the client may answer what the run asks; otherwise only whoever has the log may.
    """

    def __init__(
        self,
        runner: Runner,
        owners: Owners,
        laid_down: LaidDown,
        ctx: ServerRequestContext[Any, Any],
        params: CallToolRequestParams,
        served: Served,
        *,
        principal: Principal,
        message: str,
        key: Key,
        run_id: str,
        asks: bool,
    ) -> None:
        self._runner = runner
        self._owners = owners
        self._laid_down = laid_down
        self._ctx = ctx
        self._params = params
        self._served = served
        self._principal = principal
        self._message = message
        self._key = key
        self._run_id = run_id
        self._asks = asks and can_be_asked(ctx.session.client_capabilities)
        self._by = by_of(principal)
        self._after = 0
        self._told: float | None = None
        self.waits_for_people: bool = False

    async def result(self, waiting: Waiting) -> CallToolResult | InputRequiredResult:
        """What the call came to.

        Raises:
            MCPError: the key names another call.
        """
        if not self._asks and (pending := await self._laid_down.still_waits(self._run_id, self._message)):
            self.waits_for_people = True
            return await self._waits(pending)
        answers = dict(self._params.input_responses or {})
        for _round in range(_ROUNDS):
            try:
                run = await self._owners.started(waiting, self._begun())
                result = await self._ended(run)
            except RunExistsError:
                named = f"{IDEMPOTENCY_KEY} {self._key.text!r} names another call; a key stands for one call"
                raise MCPError(INVALID_PARAMS, named if self._key.given else "requestState is of another call") from None
            except AgentMismatchError as error:
                return self._failed(f"the call was begun with another {self._served.agent.name} than there is now: {error}")
            except _NobodyDrives:
                continue
            self.waits_for_people = bool(result.pending)
            if not result.pending:
                return self._served.result(result, **self._meta())
            if not self._asks:
                return await self._waits(result.pending)
            asked = await self._ask(result, answers)
            answers = {}
            if asked is not None:
                return asked
        return self._failed("the call has stopped too often for a person; it waits in the log")

    async def _begun(self) -> AttachedRun:
        return await self._runner.run_once(
            self._served.agent,
            run_id=self._run_id,
            by=self._by,
            user_message=self._message,
            context=served_context(DOOR, self._principal),
        )

    async def _ended(self, run: AttachedRun) -> AgentResult:
        if self._tells:
            async for event in run.live(after=self._after):
                self._after = max(self._after, event.seq)
                await self._tell(event)
        try:
            return await run.await_result()
        except UsageError as error:
            # Another process drove it, and is gone: the next round goes on with it here.
            raise _NobodyDrives from error

    # --------------------------------------------------------------------------------------------------------------------- progress

    @property
    def _tells(self) -> bool:
        """Whether the client wants to know how far it is. In the SDK's in-process connection no token says so."""
        wanted = "progress_token" in (self._ctx.meta or {})
        return wanted or (self._ctx.request is None and self._ctx.protocol_version in MODERN_PROTOCOL_VERSIONS)

    async def _tell(self, event: AgentRunEvent) -> None:
        data = event.data
        if event.type == "tool_progress" and not self._served.is_agent:
            # The tool's own measure; the protocol has it that it only grows.
            if self._told is None or data["progress"] > self._told:
                self._told = data["progress"]
                await self._ctx.session.report_progress(data["progress"], data["total"], event.message or None)
        elif self._served.is_agent and (text := _step_text(event)) is not None:
            self._told = (self._told or 0.0) + 1
            await self._ctx.session.report_progress(self._told, None, text)

    # -------------------------------------------------------------------------------------------------------------------- questions

    async def _ask(self, result: AgentResult, answers: dict[str, Any]) -> CallToolResult | InputRequiredResult | None:
        """Put the run's questions before the person. None where something was said, and the run can go on."""
        if any([await self._say(request, answers.get(key_of(request))) for request in result.pending]):
            return None
        if any(isinstance(answer, ElicitResult) and answer.action == "cancel" for answer in answers.values()):
            return await self._waits(result.pending)
        forms = {key_of(request): form_of(request) for request in result.pending}
        if self._ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
            # The state is the call's key: whoever makes one up names a call of their own, since run ids are derived from who calls.
            return InputRequiredResult(
                input_requests={key: ElicitRequest(params=form) for key, form in forms.items()}, request_state=self._key.text
            )
        said = False
        for request in result.pending:
            answer = await self._elicited(request, forms[key_of(request)])
            said = await self._say(request, answer) or said
        return None if said else await self._waits(result.pending)

    async def _elicited(self, request: ApprovalRequest | InputRequest, form: ElicitRequestFormParams) -> ElicitResult | None:
        """The person's answer, as long as the question's term lasts."""
        left_s = (request.expires_at - SystemClock().now()).total_seconds() if request.expires_at is not None else None
        try:
            async with asyncio.timeout(left_s):
                return await self._ctx.session.elicit_form(form.message, form.requested_schema, related_request_id=self._ctx.request_id)
        except TimeoutError:
            # Its term is over: the next round finds what the fallback says.
            return ElicitResult(action="accept")
        except MCPError:
            # The client cannot after all, or will not.
            return None

    async def _say(self, request: ApprovalRequest | InputRequest, answer: object) -> bool:
        if not isinstance(answer, ElicitResult):
            return False
        run = await self._runner.attach(run_id=request.run_id, by=self._by)
        try:
            return await say(run, request, answer)
        except UsageError:
            # Somebody else has answered meanwhile, or the term is over. Either way the run can go on.
            return True

    async def _waits(self, pending: Requests) -> CallToolResult:
        """The call waits for somebody elsewhere. The key is told in any case, as a program may come again with it that has given none."""
        await self._laid_down.note(self._run_id, self._message, pending)
        waits_for = [request.request_id for request in pending]
        return failure(self._how_to_answer(pending), **{**self._meta(), IDEMPOTENCY_KEY: self._key.text, WAITS_FOR: waits_for})

    def _how_to_answer(self, pending: Requests) -> str:
        log = f" --db {shlex.quote(_from_anywhere(str(self._runner.log.location)))}" if self._principal == LOCAL else ""
        lines = [f"{self._served.agent.name} waits for a person, and has not run:"]
        for request in pending:
            rule = f" (rule {request.rule})" if request.rule else ""
            if isinstance(request, InputRequest):
                asks = f"asks for words{rule}: afk-es answer {request.run_id} TEXT --request {request.request_id}{log}"
            else:
                asks = f"asks for approval{rule}: afk-es approve {request.run_id} {request.request_id}{log}"
            lines.append(f"- {request.tool_name} {asks}")
        again = f", with the same {IDEMPOTENCY_KEY}" if self._key.given else ""
        lines.append(f"After that make the same call again{again}: it goes on where it is.")
        return "\n".join(lines)

    def _failed(self, text: str) -> CallToolResult:
        return failure(text, **self._meta())

    def _meta(self) -> dict[str, Any]:
        return {RUN_ID: self._run_id}


def by_of(principal: Principal) -> str:
    """Who a client is in the log."""
    return f"{principal.name[:_BY_CHARACTERS]} (MCP client)"


class _NobodyDrives(Exception):
    """The process that drove the run is gone."""


def _from_anywhere(location: str) -> str:
    """A log's place as it can be said in any directory: nobody knows in which one a client started its server."""
    return location if "://" in location or location == ":memory:" else os.path.abspath(location)


def _step_text(event: AgentRunEvent) -> str | None:
    """What there is to tell of an agent's step, or None."""
    data = event.data
    match event.type:
        case "step_started":
            return f"step {data['step']}"
        case "tool_started":
            return f"{data['tool_name']} ..."
        case "tool_progress":
            of = f" of {data['total']:g}" if data["total"] is not None else ""
            return f"{data['tool_name']}: {data['progress']:g}{of} {event.message}".rstrip()
        case "tool_completed":
            return f"{data['tool_name']} {'is done' if data['success'] else 'failed'}"
        case "subagent_started":
            return f"{data['subagent_name']} ..."
        case _:
            return None
