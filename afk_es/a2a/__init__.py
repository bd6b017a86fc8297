"""Agents of others by the A2A protocol, and one's own for others, by the official SDK. Nothing here is loaded by the rest of the package.

A name is loaded when it is first used, and needs the extra: `pip install "afk-es[a2a]"`.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from afk_es.a2a.client.client import A2AClient
    from afk_es.a2a.client.failures import RemoteTaskError
    from afk_es.a2a.client.tasks import RemoteArtifact, RemoteCard, RemoteFile, RemoteSkill, RemoteState, RemoteTask, RemoteUpdate
    from afk_es.a2a.server.cards import ServedAgent
    from afk_es.a2a.server.server import A2AServer
    from afk_es.serving import ApiKeys, JWTs, Limited, Principal

_CLIENT = "afk_es.a2a.client.client"
_FAILURES = "afk_es.a2a.client.failures"
_SERVER = "afk_es.a2a.server.server"
_SERVING = "afk_es.serving"
_TASKS = "afk_es.a2a.client.tasks"
_SERVER = "afk_es.a2a.server.server"
_SERVING = "afk_es.serving"

_HOMES = {
    "A2AClient": _CLIENT,
    "A2AServer": _SERVER,
    "ApiKeys": _SERVING,
    "JWTs": _SERVING,
    "Limited": _SERVING,
    "Principal": _SERVING,
    "RemoteArtifact": _TASKS,
    "RemoteCard": _TASKS,
    "RemoteFile": _TASKS,
    "RemoteSkill": _TASKS,
    "RemoteState": _TASKS,
    "RemoteTask": _TASKS,
    "RemoteTaskError": _FAILURES,
    "RemoteUpdate": _TASKS,
    "ServedAgent": "afk_es.a2a.server.cards",
}

__all__ = [
    "A2AClient",
    "A2AServer",
    "ApiKeys",
    "JWTs",
    "Limited",
    "Principal",
    "RemoteArtifact",
    "RemoteCard",
    "RemoteFile",
    "RemoteSkill",
    "RemoteState",
    "RemoteTask",
    "RemoteTaskError",
    "RemoteUpdate",
    "ServedAgent",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if find_spec("a2a") is None:
        raise ImportError(f'{__name__}.{name} needs the A2A SDK: pip install "afk-es[a2a]"')
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
