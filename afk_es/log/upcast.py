"""How the data of an older shape becomes data of today's: one pure step per type and version, applied in sequence on reading.

The stored bytes are never touched. There is no production step yet, because every log so far has version 1; the first change of a shape
adds its step to `UPCASTERS` and raises `SCHEMA_VERSION`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes the data of one version, gives that of the next. A key that was left out of the stored text because it had its default then is
missing here: a step that changes such a default puts the old one in."""

Upcasters = Mapping[tuple[str, int], Upcaster]
"""Steps by (event type, version they start from)."""

UPCASTERS: Upcasters = {}


def upcast(upcasters: Upcasters, event_type: str, data: dict[str, Any], *, stored: int, wanted: int) -> dict[str, Any]:
    """The data carried from the stored version to the wanted one. A version in which the type did not change needs no step."""
    for version in range(stored, wanted):
        step = upcasters.get((event_type, version))
        if step is not None:
            data = step(data)
    return data
