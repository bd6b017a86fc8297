"""A run with images on the command line: they are named to people, and whole for programs."""

from __future__ import annotations

import json
from pathlib import Path

from afk_es import Agent, Runner
from afk_es.llms import Image
from afk_es.testing import ScriptedModel
from tests.cli.conftest import Afk

PNG = b"\x89PNG\r\n\x1a\n" + bytes(12_000)
NAMED = "[image image/png, 12 kB]"


def test_images_are_named_to_people_and_whole_for_programs(afk: Afk, log: Path) -> None:
    agent = Agent(model=ScriptedModel(["A cat."]))
    Runner(log=log).run_sync(agent, user_message=["What is this?", Image(data=PNG), Image(url="https://example.org/\x7e.png")])
    shown = {verb: afk(*verb.split()).stdout for verb in ("log", "show", "show --at 1", "show --at 4", "verify")}
    assert all("AAAAAAAA" not in text for text in shown.values())
    assert NAMED in shown["log"]
    assert NAMED in shown["show"]
    assert '"data": "(12008 bytes, base64)"' in shown["show --at 1"]
    assert NAMED in shown["show --at 4"], "the rebuilt request of the llm_called"
    assert "its hash is the recorded one" in shown["show --at 4"]
    (_text, image, _url) = json.loads(afk("show", "--at", "1", "--format", "json").stdout)["data"]["user_parts"]
    assert len(image["data"]) > len(PNG)
    said = json.loads(afk("show", "--format", "json").stdout)["conversation"][0]
    assert (said["content"], len(said["parts"])) == ("What is this?", 3)
