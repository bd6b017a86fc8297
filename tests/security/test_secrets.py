"""A secret that stands anywhere in a run is in nothing that is shown or sent, unless somebody says --show-secrets."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afk_es.debugger.exchange.markup import inert
from afk_es.log import open_log
from afk_es.redaction import MARK, Redaction
from afk_es.telemetry.console import ConsoleSink
from afk_es.telemetry.jsonl import JsonSink
from afk_es.views import redacted_event, visible_json
from tests.security.command_lines import LEFT_OUT, verbs
from tests.security.hostile_log import SECRET, Hostile
from tests.security.test_terminal import LONG, STORIES, Desk

PLANTED = "PLANTED0123"

EXACT = frozenset({"run", "resume", "fork"})
"""Verbs that run an agent of the user's, and write its answer as it was given."""


@pytest.mark.parametrize("verb", sorted(set(verbs()) - LEFT_OUT.keys() - EXACT))
def test_no_view_or_export_shows_a_planted_secret(verb: str, confided: Hostile, module: Path) -> None:
    """Texts of models, tools, people, errors, contexts and letters hold a key; every verb is asked with every option, in every form."""
    assert PLANTED in SECRET
    module.write_text(
        module.read_text().split("POISON = ")[0] + "POISON = 'hello'\n" + module.read_text().split("POISON = ")[1].split("\n", 1)[1]
    )
    desk = Desk(confided, module)
    shown: list[object] = []
    if verb.startswith(("golden", "import")):
        desk.given("failing")
    for story in STORIES if LONG else STORIES[:1]:
        for index, words in enumerate(desk.lines(verb, story)):
            if not LONG:
                words = desk.lines(verb, STORIES[-1 - index % len(STORIES)])[index]
            if {"--show-secrets", "--no-redact"} & set(words) or not (LONG or index % 2 == 0):
                continue
            for form in ("text", "json", "jsonl", "md") if LONG else ("text", "json") if index == 0 else ("text",):
                result = desk.call(words, form)
                shown += [(words, form, line[:300]) for line in result.output.splitlines() if PLANTED in line]
    # An export to a database is the log itself, and says so.
    written = [path for path in module.parent.rglob("*") if path.is_file() and path.suffix != ".db" and "-" not in path.suffix]
    shown += [path.name for path in written if PLANTED.encode() in path.read_bytes()]
    assert not shown, shown[:5]


@pytest.mark.parametrize("story", STORIES)
async def test_no_sink_is_told_a_planted_secret(story: str, confided: Hostile) -> None:
    console, lines = io.StringIO(), io.StringIO()
    log = open_log(confided.log, read_only=True)
    await log.open()
    try:
        events = await log.read(confided.run_ids[story])
    finally:
        await log.close()
    assert PLANTED in str(msgspec.json.encode(events))
    for event in events:
        redacted = redacted_event(event, Redaction())
        ConsoleSink(console).export(redacted)
        JsonSink(lines).export(redacted)
    assert PLANTED not in console.getvalue() + lines.getvalue()
    assert MARK in lines.getvalue()


LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def _of(alphabet: str, least: int, most: int) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=least, max_size=most)


@dataclasses.dataclass(frozen=True)
class Shape:
    """A kind of secret that is known by how it looks, or by what stands before it.

    Attributes:
        before: what stands before the secret part, and may stay.
        secret: what must not be seen.
    """

    before: str
    secret: st.SearchStrategy[str]


SHAPES = {
    "a key of a model provider": Shape(
        "", st.builds("sk-{}{}".format, st.sampled_from(["proj-", "ant-", "live_", "or-"]), _of(LETTERS, 16, 60))
    ),
    "a key of Google": Shape("", st.builds("AIza{}".format, _of(LETTERS + "-_", 30, 40))),
    "a key of AWS": Shape(
        "", st.builds("{}{}".format, st.sampled_from(["AKIA", "ASIA"]), _of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 16, 16))
    ),
    "a token of GitHub": Shape("", st.builds("gh{}_{}".format, st.sampled_from("pousr"), _of(LETTERS, 36, 40))),
    "a token of GitLab": Shape("", st.builds("glpat-{}".format, _of(LETTERS, 20, 24))),
    "a token of Slack": Shape("", st.builds("xoxb-{}-{}".format, _of("0123456789", 10, 12), _of(LETTERS, 16, 24))),
    "a token of Hugging Face": Shape("", st.builds("hf_{}".format, _of(LETTERS, 30, 36))),
    "a JSON web token": Shape("", st.builds("eyJ{}.eyJ{}.{}".format, _of(LETTERS, 16, 30), _of(LETTERS, 16, 30), _of(LETTERS, 16, 30))),
    "a header": Shape("Authorization: Bearer ", _of(LETTERS + "._-", 12, 60)),
    "a cookie": Shape("Cookie: session=", _of(LETTERS, 12, 40)),
    "a password in an address": Shape("postgres://admin:", _of(LETTERS, 8, 30)),
    "a value under its name": Shape("password=", _of(LETTERS, 8, 30)),
    "a token under its name": Shape("access_token: ", _of(LETTERS, 8, 30)),
    "a private key": Shape("-----BEGIN RSA PRIVATE KEY-----\n", _of(LETTERS + "+/", 60, 64)),
}

AFTER = {"a password in an address": "@db.example/shop", "a private key": "\n-----END RSA PRIVATE KEY-----"}

PLACES: dict[str, Callable[[str], object]] = {
    "a text": lambda text: text,
    "in a sentence": lambda text: f"it said: {text} and went on",
    "in a list": lambda text: ["a", ["b", text]],
    "in an object": lambda text: {"a": {"note": text}},
    "as a name": lambda text: {text: 1},
    "in JSON in a text": lambda text: msgspec.json.encode({"a": [text]}).decode(),
    "on a line of its own": lambda text: f"line\n{text}\nline",
}
"""Where a run may hold it: an argument, an output, an error, words of a person, a provider's message."""


@pytest.mark.parametrize("shape", SHAPES)
@settings(derandomize=True, max_examples=200 if LONG else 15, deadline=None)
@given(data=st.data())
def test_a_secret_of_a_known_shape_is_kept_back_wherever_it_stands(shape: str, data: st.DataObject) -> None:
    """And stays so in JSON for terminals and in markup, which are made of what is left."""
    secret = data.draw(SHAPES[shape].secret)
    text = f"{SHAPES[shape].before}{secret}{AFTER.get(shape, '')}"
    place = data.draw(st.sampled_from(sorted(PLACES)))
    redacted = Redaction().value({"output": PLACES[place](text)})
    for shown in (str(redacted), visible_json(redacted).decode(), inert(str(redacted))):
        assert secret not in shown, (place, text)
    assert MARK in str(redacted)


def texts_in(value: object) -> list[str]:
    """Every text of JSON data, names included."""
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in (key, *texts_in(item))]
    if isinstance(value, list):
        return [text for item in value for text in texts_in(item)]
    return [value] if isinstance(value, str) else []


@settings(derandomize=True, max_examples=300 if LONG else 40, deadline=None)
@given(secret=st.text(min_size=6, max_size=40), place=st.sampled_from(sorted(PLACES)))
def test_a_registered_value_is_kept_back_wherever_it_stands(secret: str, place: str) -> None:
    """Whatever characters it has, in a text, in JSON, as a name."""
    value = f"§{secret.encode('utf-8', 'replace').decode()}§"
    redacted = Redaction(values=[value]).value({"output": PLACES[place](f"({value})")})
    spelled = msgspec.json.encode(value)[1:-1].decode()
    assert not [text for text in texts_in(redacted) if value in text or spelled in text]
