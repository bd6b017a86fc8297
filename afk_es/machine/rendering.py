"""temp"""

from typing import Any

import msgspec

from afk_es.machine.spec import Rendering


def render_output(output: Any, rendering: Rendering) -> str:
    return output if isinstance(output, str) else msgspec.json.encode(output).decode()


def render_error(error: str, rendering: Rendering) -> str:
    return "Error: " + error
