"""Goal: what is read back is what was appended, whatever the version, and the stored text is as small and as plain as promised."""

from __future__ import annotations

import json
from typing import Any, NotRequired, get_origin, get_type_hints

import pytest

from afk_es.errors import CorruptLogError, InvalidEventError, NewerLogError
from afk_es.log.codec import PARTS_KEPT, Codec, Row, chain_link, chain_start, pack
from afk_es.machine.events import EVENT_TYPES, SCHEMA_VERSION, AgentRunEvent
from afk_es.testing.log_contract import AGENT, event, started, turn


def stored(codec: Codec, item: AgentRunEvent) -> tuple[Row, dict[str, str]]:
    parts: dict[str, str] = {}
    encoded = codec.encode(item, epoch=1, parts=parts)
    assert encoded.packed == pack(encoded.columns)
    return (*encoded.columns, b""), parts


def restored(codec: Codec, row: Row, parts: dict[str, str]) -> AgentRunEvent:
    loaded = {key: codec.load_part(key, parts[key]) for key in codec.references([row])}
    return codec.decode(row, run_id="run_a", thread_id="thread_1", parts=loaded)


def test_usual_columns_and_defaults_take_no_room() -> None:
    allowed = turn("run_a", 1)[1]
    (_, _, at, name, state, _, message, version, text, _), _ = stored(Codec(), allowed)
    assert (state, message, name, version) == (None, None, "policy_decision", SCHEMA_VERSION)
    assert at == 1_767_225_600_002_007
    assert text == '{"action":"allow","event_type":"llm_before_execute"}'


def test_a_part_is_a_reference_in_the_stored_text() -> None:
    row, parts = stored(Codec(), started("run_a"))
    ((key, content),) = parts.items()
    assert json.loads(row[8])["agent"] == {"$part": key}
    assert json.loads(content) == AGENT


@pytest.mark.parametrize("value", [False, 0.0])
def test_what_only_equals_a_default_is_refused(value: Any) -> None:
    """False and 0.0 equal 0, and would come back as 0."""
    item = turn("run_a", 1)[2]
    item.data["model_index"] = value
    with pytest.raises(InvalidEventError, match="model_index"):
        stored(Codec(), item)


def test_every_default_belongs_to_a_key_that_must_be_there() -> None:
    """Otherwise a key that the writer left out would come back with a value."""
    for row in EVENT_TYPES.values():
        hints = get_type_hints(row.shape, include_extras=True)
        assert not [key for key in row.defaults if get_origin(hints[key]) is NotRequired], row.name
        assert not set(row.defaults) & set(row.parts), row.name


def test_old_data_is_carried_from_version_to_version() -> None:
    """v1 called the kind `sort`, v2 `kinds`; v3 has today's shape."""
    steps = {
        ("warning", 1): lambda data: {"kinds": [data["sort"]]},
        ("warning", 2): lambda data: {"kind": data["kinds"][0]},
        ("step_started", 2): lambda data: data | {"step": -1},
    }
    codec = Codec(steps, version=3)
    for version, data in ((1, {"sort": "k"}), (2, {"kinds": ["k"]}), (3, {"kind": "k"})):
        row: Row = (1, 1, 0, "warning", None, 0, None, version, json.dumps(data), b"")
        read = restored(codec, row, {})
        assert (read.data, read.schema_version) == ({"kind": "k"}, 3)


def test_an_upcaster_sees_what_was_stored_and_parts_in_place() -> None:
    seen: list[dict[str, Any]] = []

    def step(data: dict[str, Any]) -> dict[str, Any]:
        seen.append(dict(data))
        return data

    row, parts = stored(Codec(), started("run_a"))
    read = restored(Codec({("run_started", 1): step}, version=2), row, parts)
    assert seen == [started("run_a").data]
    assert read.schema_version == 2


def test_a_newer_version_of_a_known_type_is_refused_by_name() -> None:
    row: Row = (7, 1, 0, "warning", None, 0, None, SCHEMA_VERSION + 1, "{}", b"")
    with pytest.raises(NewerLogError, match=r"run_a, seq 7: warning .*upgrade"):
        restored(Codec(), row, {})


def test_another_version_than_ours_is_not_written() -> None:
    with pytest.raises(InvalidEventError, match="schema version 2"):
        stored(Codec(), event("run_a", 1, "warning", {"kind": "k"}, schema_version=2))


@pytest.mark.parametrize("text", ["{", "[]", '{"kind": 3}', "{}"])
def test_a_row_that_cannot_be_decoded_names_run_and_seq(text: str) -> None:
    row: Row = (7, 1, 0, "warning", None, 0, None, 1, text, b"")
    with pytest.raises(CorruptLogError, match=r"run run_a.*7|run run_a: warning"):
        restored(Codec(), row, {})


def test_a_lost_or_changed_part_is_damage() -> None:
    codec = Codec()
    row, parts = stored(codec, started("run_a"))
    with pytest.raises(CorruptLogError, match="not in the log"):
        codec.decode(row, run_id="run_a", thread_id="thread_1", parts={})
    ((key, content),) = parts.items()
    with pytest.raises(CorruptLogError, match=key):
        codec.load_part(key, content + " ")
    inline: Row = (*row[:8], json.dumps(started("run_a").data), b"")
    with pytest.raises(CorruptLogError, match="no reference"):
        codec.references([inline])


def test_remembered_parts_are_bounded() -> None:
    codec = Codec()
    digests = []
    for number in range(PARTS_KEPT + 1):
        _, parts = stored(codec, event("run_a", 1, "instructions_resolved", {"instructions": f"text {number}"}))
        ((key, content),) = parts.items()
        codec.load_part(key, content)
        digests.append(key)
    assert len(codec.known_parts(digests)) == PARTS_KEPT
    assert not codec.known_parts(digests[:1])


def test_the_chain_tells_apart_what_looks_alike() -> None:
    assert chain_start("ab", "c") != chain_start("a", "bc")
    alike = [(1, 1, 0, "t", None, 0, "m", 1, "{}"), (1, 1, 0, "t", "", 0, "m", 1, "{}"), (1, 1, 0, "tm", None, 0, "", 1, "{}")]
    assert len({chain_link(b"0" * 16, pack(columns)) for columns in alike}) == 3


def test_a_time_beyond_all_calendars_is_damage() -> None:
    codec = Codec()
    row, parts = stored(codec, turn("run_a", 1)[0])
    with pytest.raises(CorruptLogError, match="run run_a, seq 1"):
        restored(codec, (*row[:2], 2**62, *row[3:]), parts)
