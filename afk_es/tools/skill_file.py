"""SKILL.md: the frontmatter that says what a skill is, in the Agent Skills format (agentskills.io/specification).

This is no YAML parser. Of the frontmatter it reads lines `key: value` at the margin, where a value is plain, in quotes, or a block (`>` or
`|`) of indented lines. Whatever is indented below another key is skipped, anchors and aliases are not expanded, and where `name` or
`description` is anything else than a text, the file is refused.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from afk_es.errors import ToolError

FILE_NAME = "SKILL.md"
MAX_FILE_BYTES = 262_144
MAX_FRONTMATTER_CHARS = 16_384
MAX_NAME_CHARS = 64
MAX_DESCRIPTION_CHARS = 1_024

SKILL_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
"""Lower-case letters, digits and single hyphens between them, as the format has it."""

_KEY = re.compile(r"([A-Za-z0-9_-]+):(?:[ \t]+(.*))?")
_BLOCK = re.compile(r"([>|])[-+]?")
_NO_TEXT = tuple("&*![]{}%@`#,")


class Heading(NamedTuple):
    """What the frontmatter says."""

    name: str
    description: str


def read_heading(text: str) -> Heading:
    """The name and the description of a skill, from the text of its SKILL.md.

    Raises:
        ToolError: it has no frontmatter, or one that breaks the format, saying how it should be.
    """
    values: dict[str, str] = {}
    lines = _frontmatter(text)
    for index, line in enumerate(lines):
        if not line.strip() or line[0] in " \t#":
            continue
        found = _KEY.fullmatch(line)
        if found is None:
            raise ToolError(f"line {index + 2} of its frontmatter is not of the form `key: value`: {line[:60]!r}")
        key, written = found[1], (found[2] or "").strip()
        if key in ("name", "description"):
            if key in values:
                raise ToolError(f"its frontmatter has two lines `{key}:`")
            values[key] = _value(key, written, _indented(lines[index + 1 :]))
    return Heading(_name(values.get("name", "")), _description(values.get("description", "")))


def _frontmatter(text: str) -> list[str]:
    # The end is looked for in the beginning alone, however long the file is.
    lines = text[:MAX_FRONTMATTER_CHARS].removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    if lines[0].rstrip() != "---":
        raise ToolError("it does not begin with a frontmatter: a line `---`, `name: ...`, `description: ...`, and a line `---`")
    for index, line in enumerate(lines[1:], 1):
        if line.rstrip() == "---":
            return lines[1:index]
    raise ToolError(f"its frontmatter does not end with a line `---` within {MAX_FRONTMATTER_CHARS} characters")


def _indented(following: list[str]) -> list[str]:
    block = []
    for line in following:
        if line.strip() and line[0] not in " \t":
            break
        block.append(line.strip())
    return block


def _value(key: str, written: str, block: list[str]) -> str:
    style = _BLOCK.fullmatch(written)
    if style is not None:
        return ("\n" if style[1] == "|" else " ").join(block).strip()
    if written.startswith(('"', "'")):
        return _unquoted(key, written)
    if written.startswith(_NO_TEXT):
        raise ToolError(f"the {key} in its frontmatter is not a plain text; put it in quotes")
    # As in YAML, what is indented below goes on with the text, and a comment ends it.
    return " ".join(part for part in (re.split(r"[ \t]#", written, maxsplit=1)[0].strip(), *block) if part)


def _unquoted(key: str, written: str) -> str:
    if written[0] == "'" and re.fullmatch(r"'(?:[^']|'')*'", written):
        return written[1:-1].replace("''", "'")
    if written[0] == '"':
        try:
            # Of YAML's escapes these are the ones that JSON has as well.
            return str(json.loads(written))
        except ValueError:
            pass
    raise ToolError(f"the {key} in its frontmatter is not a text in quotes that ends on its line")


def _name(name: str) -> str:
    if not name:
        raise ToolError("its frontmatter has no name; add a line `name: ...` with the name of its directory")
    if len(name) > MAX_NAME_CHARS or SKILL_NAME.fullmatch(name) is None:
        raise ToolError(f"its name {name[:80]!r} is not 1 to {MAX_NAME_CHARS} lower-case letters, digits and single hyphens")
    return name


def _description(description: str) -> str:
    if not description:
        raise ToolError("its frontmatter has no description; add a line `description: ...` that says what it does and when to use it")
    if len(description) > MAX_DESCRIPTION_CHARS:
        raise ToolError(f"its description has {len(description)} characters; at most {MAX_DESCRIPTION_CHARS} are allowed")
    return description
