"""Text of others in markup: inert, and as it is. Everything of a log goes through here on its way into a page or a picture."""

from __future__ import annotations

from html import escape

from afk_es.views import visible

_NO_CHARACTERS = {0xFFFE: "\ufffd", 0xFFFF: "\ufffd"}
"""What XML 1.0 does not allow beside the controls, which are shown as escapes."""


def inert(text: str) -> str:
    """The text for the content or a quoted attribute of HTML, SVG or XML: nothing in it is markup, a control or a change of direction."""
    return escape(visible(text, multiline=True).translate(_NO_CHARACTERS), quote=True)


def cut(text: str, limit: int) -> str:
    """The text, at most that many characters of it, saying how many are left out."""
    return text if len(text) <= limit else f"{text[:limit]}\n… {len(text) - limit:,} more characters"


def element(name: str, content: str = "", /, **attributes: object) -> str:
    """An element of SVG or HTML. The content is markup; attributes are text, an underscore in a name is a hyphen, None leaves one out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{inert(_number(value) if isinstance(value, float) else str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{given}>{content}</{name}>" if content else f"<{name}{given}/>"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
