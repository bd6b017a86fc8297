"""The SDK's request handler for one agent: what each method of the protocol does. Transports, and who may call at all, are settled before it is asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from a2a.server.context import ServerCallContext
from a2a.server.events import Event
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.types.a2a_pb2 import (
    AgentCard,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse,
    ListTasksRequest,
    ListTasksResponse,
    Message,
    SendMessageConfiguration,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
    TaskPushNotificationConfig,
    TaskState,
)
from a2a.utils.errors import (
    ContentTypeNotSupportedError,
    PushNotificationNotSupportedError,
    UnsupportedOperationError,
)
from a2a.utils.task import apply_history_length, validate_history_length, validate_page_size

from afk_es.a2a.server.callers import caller
from afk_es.a2a.server.desk import Desk, Taken, speaker
from afk_es.a2a.server.failures import told, told_in_stream
from afk_es.a2a.server.following import settled, updates
from afk_es.a2a.server.listing import TaskList
from afk_es.a2a.server.messages import said_by
from afk_es.a2a.server.notifier import Notifier
from afk_es.a2a.server.tasks import FINAL, folded
from afk_es.serving import Principal


class Requests(RequestHandler):
    """Answers the requests to one agent.

    Args:
        desk: the agent's tasks.
        notifier: calls clients back; None where they cannot ask for that.
        extended_card: makes the card for those who were let in; None where there is no other than the public one.
    """

    def __init__(self, desk: Desk, notifier: Notifier | None, extended_card: Callable[[], AgentCard] | None) -> None:
        self._desk = desk
        self._notifier = notifier
        self._extended_card = extended_card
        self._list = TaskList(desk)

    # --------------------------------------------------------------------------------------------------------------------------- messages

    @told
    async def on_message_send(self, params: SendMessageRequest, context: ServerCallContext) -> Task | Message:
        """Take a message, and answer with its task: once it has ended or waits for somebody, or at once where the client says so."""
        taken = await self._taken(params, caller(context), streamed=False)
        if params.configuration.return_immediately:
            events = await self._desk.runner.log.read(taken.run.run_id)
            task = await self._desk.task(folded(events), taken.note)
        else:
            task = await settled(self._desk, taken.run, taken.note)
        return apply_history_length(task, params.configuration)

    @told_in_stream
    async def on_message_send_stream(self, params: SendMessageRequest, context: ServerCallContext) -> AsyncGenerator[Event, None]:
        """Take a message, and tell of its task until it has ended or waits for somebody."""
        taken = await self._taken(params, caller(context), streamed=True)
        async with aclosing(updates(self._desk, taken.run, begun=taken.begun, note=taken.note)) as told_of:
            async for event in told_of:
                yield apply_history_length(event, params.configuration) if isinstance(event, Task) else event

    async def _taken(self, params: SendMessageRequest, principal: Principal, *, streamed: bool) -> Taken:
        validate_history_length(params.configuration)
        _check_output(params.configuration, self._desk.offer.output_modes)
        said = said_by(params.message, images=self._desk.offer.images)
        asked = params.configuration.HasField("task_push_notification_config")
        config = params.configuration.task_push_notification_config
        if asked:
            # Before anything begins: a task that cannot call back as it was asked to is not begun.
            await self._pushing().check(config)
        taken = await self._desk.take(principal, said, streamed=streamed)
        if asked:
            await self._pushing().configure(principal, self._desk, taken.run.run_id, config, begun=taken.begun)
        elif self._notifier is not None and not taken.begun:
            # Nobody can have asked to be called back about a task that has just begun.
            await self._notifier.follow(self._desk, taken.run.run_id)
        return taken

    # ------------------------------------------------------------------------------------------------------------------------------ tasks

    @told
    async def on_get_task(self, params: GetTaskRequest, context: ServerCallContext) -> Task | None:
        """A task as it stands."""
        validate_history_length(params)
        events = await self._desk.events(caller(context), params.id)
        return apply_history_length(await self._desk.task(folded(events)), params)

    @told
    async def on_list_tasks(self, params: ListTasksRequest, context: ServerCallContext) -> ListTasksResponse:
        """A page of the caller's tasks, those that changed last first."""
        validate_history_length(params)
        if params.HasField("page_size"):
            validate_page_size(params.page_size)
        return await self._list.page(caller(context), params)

    @told
    async def on_cancel_task(self, params: CancelTaskRequest, context: ServerCallContext) -> Task | None:
        """End a task for good."""
        return await self._desk.cancel(caller(context), params.id)

    @told_in_stream
    async def on_subscribe_to_task(self, params: SubscribeToTaskRequest, context: ServerCallContext) -> AsyncGenerator[Event, None]:
        """Tell of a task from where it stands, and go on with it where the process that worked on it is gone."""
        principal = caller(context)
        events = await self._desk.events(principal, params.id)
        state = folded(events).state
        if state in FINAL:
            raise UnsupportedOperationError(f"the task has ended ({TaskState.Name(state)})")
        await self._desk.go_on(events)
        if self._notifier is not None:
            await self._notifier.follow(self._desk, params.id)
        run = await self._desk.runner.attach(run_id=params.id, by=speaker(principal))
        async with aclosing(updates(self._desk, run)) as told_of:
            async for event in told_of:
                yield event

    # --------------------------------------------------------------------------------------------------------------- push notifications

    @told
    async def on_create_task_push_notification_config(
        self, params: TaskPushNotificationConfig, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        """Call back about a task from now on."""
        pushing, principal = self._pushing(), caller(context)
        await self._desk.events(principal, params.task_id)
        await pushing.check(params)
        return await pushing.configure(principal, self._desk, params.task_id, params)

    @told
    async def on_get_task_push_notification_config(
        self, params: GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        """One of a task's callbacks."""
        pushing, principal = self._pushing(), caller(context)
        await self._desk.events(principal, params.task_id)
        return await pushing.config(params.task_id, params.id)

    @told
    async def on_list_task_push_notification_configs(
        self, params: ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> ListTaskPushNotificationConfigsResponse:
        """A task's callbacks, all on one page."""
        pushing, principal = self._pushing(), caller(context)
        await self._desk.events(principal, params.task_id)
        return ListTaskPushNotificationConfigsResponse(configs=await pushing.configs(params.task_id))

    @told
    async def on_delete_task_push_notification_config(
        self, params: DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        """Call back no more. One that is not there is gone already."""
        pushing, principal = self._pushing(), caller(context)
        await self._desk.events(principal, params.task_id)
        await pushing.forget(params.task_id, params.id)

    def _pushing(self) -> Notifier:
        if self._notifier is None:
            raise PushNotificationNotSupportedError
        return self._notifier

    # ------------------------------------------------------------------------------------------------------------------------------- card

    @told
    async def on_get_extended_agent_card(self, params: GetExtendedAgentCardRequest, context: ServerCallContext) -> AgentCard:
        """The card for those who were let in."""
        if self._extended_card is None:
            # The error of a capability that the card does not claim (A2A 1.0, 3.1.11).
            raise UnsupportedOperationError("there is no other card than the public one")
        return self._extended_card()


def _check_output(configuration: SendMessageConfiguration, gives: tuple[str, ...]) -> None:
    """Refuse a client that could not read the answer."""
    wanted = set(configuration.accepted_output_modes)
    wide = {"*/*", *(f"{mode.partition('/')[0]}/*" for mode in gives)}
    if wanted and wanted.isdisjoint({*gives, *wide}):
        raise ContentTypeNotSupportedError(f"the agent answers in {', '.join(gives)}, and none of these is accepted")
