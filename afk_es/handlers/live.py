"""The table of handlers of a live run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from afk_es.handlers.binding import Binding, Emit, Report
from afk_es.handlers.instructions import InstructionsHandler
from afk_es.handlers.models import ModelHandler
from afk_es.handlers.outputs import OutputHandler
from afk_es.handlers.people import PeopleHandler
from afk_es.handlers.policies import PolicyHandler
from afk_es.handlers.routing import RouteHandler
from afk_es.handlers.summaries import SummaryHandler
from afk_es.handlers.tools import ToolHandler
from afk_es.machine import Draft, RunState
from afk_es.machine.effects import (
    AskPerson,
    CallModel,
    EvaluatePolicy,
    ExecuteTool,
    ResolveInstructions,
    RouteSubagents,
    Summarise,
    ValidateOutput,
)


def live_handlers(
    binding: Binding, emit: Emit | None = None, report: Report | None = None
) -> dict[type, Callable[[Any, RunState], Awaitable[Draft]]]:
    """Handlers that really ask, really run and really decide.

    Args:
        emit: takes pieces of the model's text as they come, for streamed runs.
        report: takes what tools say of their progress.
    """
    return {
        AskPerson: PeopleHandler(binding),
        CallModel: ModelHandler(binding, emit),
        EvaluatePolicy: PolicyHandler(binding),
        ExecuteTool: ToolHandler(binding, report),
        ResolveInstructions: InstructionsHandler(binding),
        Summarise: SummaryHandler(binding),
        RouteSubagents: RouteHandler(binding),
        ValidateOutput: OutputHandler(binding),
    }
