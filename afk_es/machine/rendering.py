"""temp"""

import msgspec
from typing import Any
from afk_es.machine.spec import Rendering


def render_output(output: Any, rendering: Rendering) -> str:
    return output if isinstance(output, str) else msgspec.json.encode(output).decode()


def render_error(error: str, rendering: Rendering) -> str:
    return "Error: " + error
