"""How people are asked: the port, and two ways to do it."""

from afk_es.interaction.memory import InMemoryInteraction
from afk_es.interaction.port import (
    ApprovalDecision,
    ApprovalRequest,
    InputDecision,
    InputRequest,
    InteractionProvider,
    PendingRequest,
)
from afk_es.interaction.terminal import TerminalInteraction

__all__ = [
    "ApprovalDecision",
    "ApprovalRequest",
    "InMemoryInteraction",
    "InputDecision",
    "InputRequest",
    "InteractionProvider",
    "PendingRequest",
    "TerminalInteraction",
]
