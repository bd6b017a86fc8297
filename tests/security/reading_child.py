"""Calls verbs on files of others in a process with little memory, and says of each call how it ended. Started by test_hostile_files.py."""

from __future__ import annotations

import faulthandler
import json
import resource
import sys
import time
import traceback

import click
from click.testing import CliRunner

from afk_es.cli import main

LONGEST_S = 20
"""Seconds that a call may take, on a machine that does much else."""


def limited(gigabytes: float) -> None:
    """No more address space than this from here on."""
    size = int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def called(words: list[str]) -> dict[str, object]:
    """How a call ended."""
    began = time.perf_counter()
    faulthandler.dump_traceback_later(LONGEST_S, exit=True)
    result = CliRunner().invoke(main, words, input="")
    faulthandler.cancel_dump_traceback_later()
    failed = result.exception is not None and not isinstance(result.exception, SystemExit)
    return {
        "words": words,
        "code": result.exit_code,
        "took_s": time.perf_counter() - began,
        "traceback": "".join(traceback.format_exception(result.exception)) if failed and result.exception is not None else None,
        "said": result.output[-400:],
        "whole": len(result.output),
    }


if __name__ == "__main__":
    for name in main.list_commands(click.Context(main)):  # Their code is not what is measured.
        main.get_command(click.Context(main), name)
    limited(float(sys.argv[1]))
    for line in sys.stdin:
        print(json.dumps(called(json.loads(line))), flush=True)
