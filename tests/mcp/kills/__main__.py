"""Kills the shop, the clerk, or both, before and after every event of a call: `python -m tests.mcp.kills [--tool pay] [--keep DIRECTORY]`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from tests.mcp.kills.scene import Scene, kill, told
from tests.support.zygote import Zygote, zygote

OF_THE_SHOP = (
    "run_started",
    "step_started",
    "policy_decision",
    "llm_called",
    "llm_completed",
    "tool_batch_started",
    "tool_started",
    "tool_completed",
    "run_completed",
)
PLACES = (*(f"{when} {event}" for event, when in product(OF_THE_SHOP, ("before", "after"))), "before effect", "after effect")


def rows() -> Iterator[tuple[str, str, str]]:
    """Who dies, the tool, and the place."""
    for tool, place in product(("pay", "put"), PLACES):
        yield "the shop", tool, place
        yield "both", tool, place
        if "effect" not in place and "run_started" not in place:
            yield "the clerk", tool, place


def problem(born: Zygote, directory: Path, who: str, tool: str, place: str) -> str | None:
    """What is wrong with what they left; None where nothing is."""
    scene = Scene(born, directory, "http")
    try:
        shop = scene.shop(stop="" if who == "the clerk" else place)
        clerk = scene.clerk(tool, trusted=True, again=True, stop=place if who == "the clerk" else "")
        (clerk if who == "the clerk" else shop).hear("at")
        if who != "the shop":
            kill(clerk)
        if who != "the clerk":
            kill(shop)
            scene.shop()
        ended = told(clerk if who == "the shop" else scene.clerk(tool, trusted=True, again=True, resumes=True))
        scene.check()
        times = len(scene.effects())
        if ended.state != "completed":
            return f"the run is {ended.state}"
        if f"{tool} tea" not in ended.text and "unknown" not in ended.text:
            return f"the clerk was told {ended.text!r}"
        return None if times >= 1 or "unknown" in ended.text else "the clerk was told of an effect that did not take place"
    except (AssertionError, TimeoutError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        born.end_all()


def main() -> int:
    """Try them all, and say which broke a promise."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--tool", choices=["pay", "put"])
    arguments.add_argument("--keep", type=Path, help="where the logs are left; default: nowhere")
    options = arguments.parse_args()
    broken = tried = 0
    with zygote("tests.mcp.kills.shop", "tests.mcp.kills.preloaded") as born, tempfile.TemporaryDirectory() as scratch:
        for number, (who, tool, place) in enumerate(rows()):
            if options.tool not in (None, tool):
                continue
            directory = (options.keep or Path(scratch)) / str(number)
            directory.mkdir(parents=True)
            tried += 1
            if (found := problem(born, directory, who, tool, place)) is not None:
                broken += 1
                sys.stdout.write(f"{number}: {who}, {tool}, {place}: {found}\n")
    sys.stdout.write(f"{tried} deaths, {broken} broken promises\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
