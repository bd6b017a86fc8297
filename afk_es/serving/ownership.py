"""Whose a run is, and under which id a request is done once. It knows no tokens: who calls was found out before."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from afk_es.errors import ConfigurationError
from afk_es.machine import AgentRunEvent
from afk_es.serving.principals import Principal

_DOOR = re.compile(r"[a-z][a-z0-9]{0,15}")


def run_id_of(door: str, principal: str, key: str) -> str:
    """The id of the run that stands for a caller's request: the same request always has the same, also after a restart, and two callers, or two
    doors, never share one.

    Args:
        door: the protocol, in up to 16 lower-case letters and digits, such as "mcp"; the id begins with it.
        principal: the name of the caller.
        key: what the caller names the request by; anything. It cannot be had back from the id.

    Raises:
        ConfigurationError: a door that is not such a name.
    """
    if not _DOOR.fullmatch(door):
        raise ConfigurationError(f"a door is named by up to 16 lower-case letters and digits, not {door!r}")
    parts = (part.encode(errors="surrogatepass") for part in (door, principal, key))
    # The lengths keep ("ab", "c") and ("a", "bc") apart.
    told = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return f"{door}-{hashlib.sha256(told).hexdigest()[:32]}"


def served_context(door: str, principal: Principal, context: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The context of a run that a caller starts at a door: what the caller may set, and then who it is.

    Args:
        context: what comes from the caller, where the door allows any; its `user_id` and `door` are overruled.
    """
    return {**(context or {}), "user_id": principal.name, "door": door}


def owned(first_event: AgentRunEvent | None, door: str, principal: Principal) -> bool:
    """Whether a run was started by this caller at this door. A door treats every other run as if there were none.

    Args:
        first_event: the run's first event; None where there is no such run.
    """
    if first_event is None:
        return False
    context = first_event.data.get("context")
    return isinstance(context, Mapping) and context.get("user_id") == principal.name and context.get("door") == door
