"""`afk-es a2a`: the verbs of the A2A protocol, by name; each is loaded when it is called."""

from __future__ import annotations

from typing import ClassVar

import click

from afk_es.cli import LazyGroup
from afk_es.cli.invocation import common_options

A2A_VERBS: dict[str, tuple[str, str]] = {
    "serve": ("afk_es.cli.a2a_serve", "Serve agents to other programs over HTTP."),
}


class A2AGroup(LazyGroup):
    """The group of these verbs."""

    table: ClassVar[dict[str, tuple[str, str]]] = A2A_VERBS


@click.group("a2a", cls=A2AGroup, short_help="Serve agents by the A2A protocol.")
@common_options
def a2a() -> None:
    """Serve agents by the A2A protocol. It needs the extra: pip install "afk-es[a2a]"."""
