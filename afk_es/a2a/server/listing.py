"""Lists a caller's tasks with an agent: filtered, in pages, those that changed last first. It reads whole only what is on the page."""

from __future__ import annotations

from collections import OrderedDict

import msgspec
from a2a.types.a2a_pb2 import ListTasksRequest, ListTasksResponse, TaskState
from a2a.utils.constants import DEFAULT_LIST_TASKS_PAGE_SIZE
from a2a.utils.errors import InvalidParamsError
from a2a.utils.task import ListTasksCursor, apply_history_length, decode_list_tasks_cursor, encode_list_tasks_cursor

from afk_es.a2a.server.desk import DOOR, Desk
from afk_es.a2a.server.tasks import asked_of, folded, timestamp
from afk_es.log import RunRecord
from afk_es.machine import AgentRunEvent
from afk_es.serving import Principal, owned

MOST_SCANNED = 10_000
"""Runs of the log, the newest, among which a caller's tasks are looked for."""

_PAGE = 500
_KEPT = 20_000


class _Place(msgspec.Struct, frozen=True):
    """What of a run never changes: whose task it is, and in which context. Of a run that is no task here the owner is None."""

    owner: str | None
    context_id: str = ""


class TaskList:
    """The tasks of one agent. It remembers whose each run is, which never changes, and nothing else."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._places: OrderedDict[str, _Place] = OrderedDict()

    async def page(self, principal: Principal, params: ListTasksRequest) -> ListTasksResponse:
        """A page of the caller's tasks.

        Raises:
            InvalidParamsError: a page token that this server did not make.
        """
        after = decode_list_tasks_cursor(params.page_token) if params.page_token else None
        if params.page_token and after is None:
            raise InvalidParamsError("page_token is none that this server gave")
        records = await self._records(principal, params)
        records.sort(key=_sort_key, reverse=True)
        size = params.page_size or DEFAULT_LIST_TASKS_PAGE_SIZE
        rest = [record for record in records if after is None or _sort_key(record) < after.sort_key()]
        shown = rest[:size]
        response = ListTasksResponse(page_size=size, total_size=len(records))
        if len(rest) > size:
            last = _sort_key(shown[-1])
            response.next_page_token = encode_list_tasks_cursor(ListTasksCursor(timestamp_ns=last[1], task_id=last[2]))
        for record in shown:
            task = await self._desk.task(folded(await self._desk.runner.log.read(record.run_id)))
            if not params.include_artifacts:
                task.ClearField("artifacts")
            response.tasks.append(apply_history_length(task, params))
        return response

    async def _records(self, principal: Principal, params: ListTasksRequest) -> list[RunRecord]:
        log, found = self._desk.runner.log, []
        since = params.status_timestamp_after.ToNanoseconds() if params.HasField("status_timestamp_after") else None
        before: str | None = None
        scanned = 0
        while scanned < MOST_SCANNED and (page := await log.runs(limit=_PAGE, before=before)):
            before, scanned = page[-1].run_id, scanned + len(page)
            for record in page:
                if record.agent_name != self._desk.offer.name or record.parent_run_id is not None:
                    continue
                if since is not None and _sort_key(record)[1] < since:
                    continue
                place = await self._place(principal, record.run_id)
                if place.owner != principal.name or params.context_id not in ("", place.context_id):
                    continue
                if params.status and not await self._is_in(record, params.status):
                    continue
                found.append(record)
        return found

    async def _place(self, principal: Principal, run_id: str) -> _Place:
        place = self._places.get(run_id)
        if place is None:
            first = await self._desk.runner.log.read(run_id, limit=1)
            place = self._places[run_id] = _place_of(first[0]) if first else _Place(None)
            if len(self._places) > _KEPT:
                self._places.popitem(last=False)
        return place

    async def _is_in(self, record: RunRecord, status: TaskState) -> bool:
        if record.ended and record.state in _KNOWN:
            return status == _KNOWN[record.state]
        return folded(await self._desk.runner.log.read(record.run_id)).state == status


_KNOWN = {
    "completed": TaskState.TASK_STATE_COMPLETED,
    "degraded": TaskState.TASK_STATE_COMPLETED,
    "cancelled": TaskState.TASK_STATE_CANCELED,
}
"""States of runs that say all of a task's."""


def _place_of(first: AgentRunEvent) -> _Place:
    context = first.data.get("context") or {}
    name = context.get("user_id")
    if not isinstance(name, str) or not owned(first, DOOR, Principal(name)):
        return _Place(None)
    return _Place(name, asked_of(first).get("context_id", first.thread_id))


def _sort_key(record: RunRecord) -> tuple[bool, int, str]:
    """As the SDK's cursor has it: tasks with a time, by that time, and then by their ids."""
    return True, timestamp(record.updated_at).ToNanoseconds(), record.run_id
