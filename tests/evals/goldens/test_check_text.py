"""A report as lines: what a person reads first, in the width that there is, and nothing that could act on a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from afk_es.evals import CheckReport, Divergence, LeftOver, Place, check_golden, compare_with_golden, report_lines
from afk_es.evals.goldens.check_report import DIVERGENCES_KEPT, CheckedRun
from afk_es.evals.goldens.check_text import category, divergence_text, verdict_text
from afk_es.views import columns
from tests.evals.desk import INSTRUCTIONS, LOOK, NOTIFY, agent, asks, edited, events_in, ran, recorded, rules, says

HOSTILE = "\x1b[2Jowned\x07\r\n\u202egnirts\u2028 end"


def texts(report: CheckReport, width: int = 80) -> list[str]:
    return [text for text, _tone in report_lines(report, width)]


def place(**changed: Any) -> Place:
    return msgspec.structs.replace(Place("run_1", 7, 2, ("desk",), "tool_completed", "look -> {}", "look", "call_1"), **changed)


def report(*found: Divergence, **changed: Any) -> CheckReport:
    outcome = "diverged" if found else "passed"
    given = {"outcome": outcome, "divergences": found, "runs": (CheckedRun("run_1", "run_2", 25, 6),), "served": 6, **changed}
    return CheckReport("lost-order", "tests/goldens/lost-order.golden.jsonl", "strict", **given)


async def test_a_pass_is_one_line() -> None:
    passed = await check_golden(await recorded(), agent(), policy_engine=rules())
    assert report_lines(passed, 80) == (("golden lost-order (strict) passed: 25 events, 6 answers served", "good"),)


async def test_instructions_that_differ_are_a_diff_of_their_lines() -> None:
    found = await check_golden(await recorded(), agent(instructions=INSTRUCTIONS.replace("brief", "very brief")), policy_engine=rules())
    assert texts(found) == [
        "golden lost-order (strict) diverged: prompt instructions",
        "",
        "prompt  instructions",
        "  the instructions are not those that were recorded",
        "  golden @1 step 0 run_started desk: Where is order 7?",
        "  today  @1 step 0 run_started desk: Where is order 7?",
        "  - expected  + actual",
        "  ...",
        "    You are the returns desk.",
        "    Look every order up before you pay anything back.",
        "  - Be brief, and never promise a date.",
        "  + Be very brief, and never promise a date.",
        "",
        "If this is meant, one of:",
        "  pytest --golden-update=behaviour",
        "  afk-es golden update --accept behaviour lost-order",
    ]


async def test_short_values_stand_one_above_the_other_and_the_rest_follows_in_a_line_each() -> None:
    script = (asks(LOOK), asks(("refund", {"order": 7, "amount": 50}), NOTIFY), says("Done."))
    log, result = await ran(agent(*script))
    found = texts(await compare_with_golden(await recorded(), log, result.run_id))
    assert found[0] == "golden lost-order (strict) diverged: params arguments.amount, and 2 more"
    assert found[2:4] == ["params  arguments.amount", "  refund is called with another amount"]
    assert found[6:8] == ["  - expected: 20", "  + actual:   50"]
    assert found[8:12] == [
        "",
        "then:",
        "  result output @19 refund: refunded 20 for 7 -> refunded 50 for 7",
        "  result final_text @24: Order 7 was lost; 20 EUR are on their way bac… -> Done.",
    ]


async def test_values_that_are_data_differ_by_their_paths() -> None:
    old, new = {"order": 7, "lines": [1, 2, 3]}, {"order": 8, "lines": [1, 3], "new": True}
    found = texts(report(Divergence("params", "arguments", old, new, place(), place(), "look is called with others")))
    assert found[6:] == [
        "  expected -> actual",
        "  ~ order    7 -> 8",
        "  - lines[1] 2",
        "  + new      true",
        "",
        "If this is meant, one of:",
        "  pytest --golden-update=behaviour",
        "  afk-es golden update --accept behaviour tests/goldens/lost-order.golden.jsonl",
        "The golden, step by step:",
        "  afk-es debug tests/goldens/lost-order.golden.jsonl",
    ]


async def test_one_changed_word_in_a_long_paragraph_is_one_changed_line() -> None:
    words = " ".join(f"word{number}" for number in range(400))
    found = texts(report(Divergence("prompt", "instructions", words, words.replace("word200 ", "WORD200 "), place(), place(), "m")))
    changed = [line for line in found if line.startswith(("  - ", "  + ")) and "expected" not in line]
    assert len(changed) == 2
    assert "WORD200" in changed[1]


async def test_what_is_not_there_is_nothing() -> None:
    found = texts(report(Divergence("extra", "tool_name", None, "refund", None, place(), "refund is called today, and not in the golden")))
    assert "  - expected: nothing" in found
    assert "  + actual:   refund" in found
    assert not any(line.startswith("  golden ") for line in found)


@pytest.mark.parametrize("width", [20, 40, 80, 200])
async def test_every_line_fits_and_nothing_acts(width: int, tmp_path: Path) -> None:
    """Whatever was said by a model, a tool, or whoever edited the file."""
    awful = place(text=HOSTILE * 9, tool_name=HOSTILE, run_id=HOSTILE, agent_path=("desk", HOSTILE))
    values: list[Any] = [HOSTILE * 30, {HOSTILE: HOSTILE * 40}, [HOSTILE], "\n".join([HOSTILE] * 100), "漢字" * 300, None, 7]
    for expected in values:
        for actual in values:
            found = Divergence("result", f"output[{HOSTILE!r}]", expected, actual, awful, awful, HOSTILE * 5)
            one = report(found, found, leftovers=(LeftOver(awful, HOSTILE),), notes=(HOSTILE,) * 12, more=3)
            for text in texts(one, width):
                assert columns(text) <= width
                assert text.isprintable(), text
                assert not any(mark in text for mark in ("\x1b", "\u202e", "\u2028"))


async def test_a_diff_of_anything_is_bounded() -> None:
    long = [{"key": number} for number in range(5_000)]
    other = [{"key": -number} for number in range(5_000)]
    assert len(texts(report(Divergence("result", "output", long, other, place(), place(), "m")))) < 60
    text = "\n".join(f"line {number}" for number in range(100_000))
    assert len(texts(report(Divergence("result", "output", text, text.upper(), place(), place(), "m")))) < 60
    many = [Divergence("result", f"f{number}", number, None, place(), None, "m") for number in range(DIVERGENCES_KEPT)]
    found = texts(report(*many, more=1_000))
    assert len(found) < 50
    assert "  and 1 029 more" in found


async def test_not_measurable_says_why_and_what_to_do() -> None:
    found = report_lines(report(outcome="not_measurable", reason="the agent cannot be made: KeyError: 'API_KEY'"), 80)
    assert found[0] == ("golden lost-order (strict) is not measurable", "mark")
    assert found[1] == ("  the agent cannot be made: KeyError: 'API_KEY'", "plain")
    assert found[-1] == ("golden anew.", "quiet")


async def test_leftovers_and_notes_are_told() -> None:
    found = texts(report(leftovers=(LeftOver(place(), "tool look"),), notes=("contract mode ignores 1 difference of class prompt",)))
    assert "  tool look: @7 step 2 tool_completed look -> {}" in found
    assert "  note: contract mode ignores 1 difference of class prompt" in found


async def test_of_several_runs_the_run_is_named() -> None:
    runs = (CheckedRun("run_1", "run_8", 1, 1), CheckedRun("run_2", "run_9", 1, 1))
    found = texts(report(Divergence("extra", "tool_name", None, "x", None, place(run_id="run_9"), "m"), runs=runs))
    assert "  today  run_9 @7 step 2 tool_completed look -> {}" in found


async def test_the_category_is_representation_where_only_afk_es_is_another_version() -> None:
    newer = Divergence("engine_version", "type", None, "model_weighed", None, place(), "m")
    assert category(report(newer)) == "representation"
    assert category(report(newer, Divergence("prompt", "instructions", "a", "b", place(), place(), "m"))) == "behaviour"


async def test_an_edited_file_names_itself(tmp_path: Path) -> None:
    def other(lines: list[dict[str, Any]]) -> None:
        events_in(lines, "llm_completed")[2]["data"]["text"] = "No."

    found = texts(await check_golden(edited(await recorded(), tmp_path, other), agent(), policy_engine=rules()))
    assert any("the golden contradicts itself" in line for line in found)
    assert any("edited by hand" in line for line in found)


def test_sentences_of_a_report() -> None:
    found = Divergence("order", "tool_name", "look", "refund", None, place(), "m")
    assert verdict_text(report(found, found, more=4)) == "golden lost-order (strict) diverged: order tool_name, and 5 more"
    assert divergence_text(found) == "order tool_name @7 look: look -> refund"
    assert divergence_text(msgspec.structs.replace(found, today=None, recorded=place())) == (
        "order tool_name @7 of the golden look: look -> refund"
    )
    assert divergence_text(msgspec.structs.replace(found, today=None)) == "order tool_name the golden: look -> refund"
    long = texts(report(reason="one two three", outcome="not_measurable"), 12)
    assert long[long.index("  one two") + 1] == "  three", "further lines stand under the first"
