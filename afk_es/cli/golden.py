"""`afk-es golden`: the verbs of goldens, by name; each is loaded when it is called."""

from __future__ import annotations

from typing import ClassVar

import click

from afk_es.cli import LazyGroup
from afk_es.cli.invocation import common_options

GOLDEN_VERBS: dict[str, tuple[str, str]] = {
    "record": ("afk_es.cli.golden_record", "Make a golden of a recorded run."),
    "check": ("afk_es.cli.golden_check", "Run today's agents on what is recorded, offline, and compare."),
    "review": ("afk_es.cli.golden_review", "Go through what differs, one golden after another, and accept it or not."),
    "update": ("afk_es.cli.golden_update", "Write goldens anew, as far as that is accepted."),
    "list": ("afk_es.cli.golden_list", "List goldens."),
}


class GoldenGroup(LazyGroup):
    """The group of these verbs."""

    table: ClassVar[dict[str, tuple[str, str]]] = GOLDEN_VERBS


@click.group("golden", cls=GoldenGroup, short_help="Record, check and update goldens: recorded runs that today's agent has to keep to.")
@common_options
def golden() -> None:
    """Goldens: recorded runs that today's agent has to keep to, one file each.

    GOLDEN is a file, a directory of them, or a name in the directory of --dir (default goldens). They are checked offline and for free: the
    agent runs, and models, tools and people are answered for by the record.

    \b
    afk-es golden record @last --name refund --agent shop.support:agent
    afk-es golden check
    afk-es golden review
    """
