"""An answer as one text, for whoever puts a model's texts before it as they are: a line of JSON to go on with, and the page under it.

As JSON a page has its quotation marks and line ends escaped, which costs a model tokens and makes it hard to read.
"""

from __future__ import annotations

from typing import Any

import msgspec

from afk_es.debugger.assistant.desk import Answer


def sheet(answer: Answer) -> str:
    """The text of an answer: what it is about and the next calls in the first line; the lists that the page shows too are left out."""
    head = {key: value for key, value in answer.items() if key == "next" or not (key == "text" or isinstance(value, (dict, list)))}
    return f"{msgspec.json.encode(head).decode()}\n{answer['text']}"


def on_a_sheet(answered: dict[str, Any]) -> dict[str, Any]:
    """`sheet`, as a posthook of the tools."""
    return {**answered, "output": sheet(answered["output"])}
