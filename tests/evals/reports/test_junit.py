"""JUnit XML that the schemas of its readers allow, and that says what they show."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import msgspec
import pytest
import xmlschema

from afk_es.evals.reports import Account, account_of, report_text
from tests.evals.reports.results import DIVERGED, HELD, HOSTILE, LOG, UNMEASURED, a_bad_day, a_good_day, a_hostile_day, row, suite

SCHEMA = xmlschema.XMLSchema(Path(__file__).with_name("junit.xsd"))
EVERYTHING = account_of(a_bad_day(), checks=[HELD, DIVERGED, UNMEASURED], title="Nightly")


def parsed(account: Account) -> ET.Element:
    text = report_text(account, "junit")
    SCHEMA.validate(text)
    return ET.fromstring(text)


def case(root: ET.Element, name: str) -> ET.Element:
    return next(each for each in root.iter("testcase") if each.get("name") == name)


def text(element: ET.Element, tag: str) -> str:
    return element.findtext(tag) or ""


@pytest.mark.parametrize(
    "account",
    [
        EVERYTHING,
        account_of(a_good_day()),
        account_of(a_hostile_day(), title=HOSTILE),
        account_of([HELD, DIVERGED, UNMEASURED]),
        account_of([]),
        account_of(suite([])),
        account_of(suite([row("long", duration_s=123_456.789)])),
    ],
    ids=["everything", "good", "hostile", "goldens", "nothing", "empty", "long"],
)
def test_it_validates(account: Account) -> None:
    parsed(account)


def test_the_schema_refuses_what_its_readers_would() -> None:
    """Else it would prove nothing."""
    good = report_text(EVERYTHING, "junit")
    for part, strange in (
        ('type="failed"', ""),
        ('time="1.240"', 'time="1.2e3"'),
        ("<properties>", "<properties/><properties>"),
        ("</failure>", "</failure><other/>"),
    ):
        bad = good.replace(part, strange, 1)
        assert bad != good
        with pytest.raises(xmlschema.XMLSchemaValidationError):
            SCHEMA.validate(bad)


def test_what_failed_what_broke_and_what_did_not_run_are_three_things() -> None:
    root = parsed(EVERYTHING)
    cases, goldens = root.findall("testsuite")
    counted = ("tests", "failures", "errors", "skipped")
    assert [cases.get(name) for name in counted] == ["9", "3", "1", "1"]
    assert [goldens.get(name) for name in counted] == ["3", "1", "1", "0"]
    assert [root.get(name) for name in ("tests", "failures", "errors")] == ["12", "4", "2"]
    assert [child.tag for child in case(root, "seat map")] == ["error", "system-out"]
    assert case(root, "pets").find("skipped") is not None
    assert [child.tag for child in case(root, "cancel in time")] == ["system-out"]


def test_a_failure_says_why_in_its_message_and_in_its_text_with_the_difference_and_where_to_look() -> None:
    failed = case(parsed(EVERYTHING), "refund of a fare without refund")
    failure = failed.find("failure")
    assert failure is not None
    assert failure.get("message") == "never(refund): refund was called with amount=1200"
    said = text(failed, "failure")
    assert "tone: scored 0.31, and 0.5 is asked for" in said
    assert "Offer compensation." in said
    assert said.endswith(f"afk-es debug {LOG}:run_refund")


def test_the_output_of_a_case_has_its_run_its_figures_and_its_checks() -> None:
    lines = text(case(parsed(EVERYTHING), "refund of a fare without refund"), "system-out").splitlines()
    assert {"run: run_refund", f"log: {LOG}", "tokens: 1,830", "cost: $0.0042"} <= set(lines)
    assert "not exercised: precedes(confirm, book): book was never called" in lines
    assert "FAILED: tone 0.310: scored 0.31, and 0.5 is asked for" in lines


def test_the_suite_has_its_totals_as_properties() -> None:
    properties = {each.get("name"): each.get("value") for each in parsed(EVERYTHING).iter("property")}
    assert properties["tokens"] == "34120"
    assert properties["known_cost_usd"] == "0.1193"
    assert "cost_usd" not in properties, "it is not known"
    assert properties["not_exercised"] == "precedes(confirm, book)"


def test_a_golden_that_diverged_is_a_failure_of_its_class_and_one_that_measured_nothing_an_error() -> None:
    root = parsed(account_of([DIVERGED, UNMEASURED]))
    failure, error = case(root, "refund").find("failure"), case(root, "lounge").find("error")
    assert failure is not None
    assert failure.get("type") == "prompt"
    assert error is not None
    assert error.get("message") == "the agent asked for nothing that was recorded"


def test_no_two_cases_have_one_name() -> None:
    """GitLab shows the first of two."""
    again = msgspec.structs.replace(HELD, path="other/cancel-in-time.golden.jsonl")
    root = parsed(account_of(a_bad_day(), checks=[HELD, again]))
    names = [(each.get("classname"), each.get("name")) for each in root.iter("testcase")]
    assert len(set(names)) == len(names)


def test_a_case_that_is_called_as_anothers_second_attempt_keeps_a_name_of_its_own() -> None:
    root = parsed(account_of(suite([row("a"), row("a", attempt=2), row("a#2")])))
    names = [each.get("name") for each in root.iter("testcase")]
    assert len(set(names)) == 3


def test_characters_that_xml_does_not_have_are_shown_and_not_written() -> None:
    root = parsed(account_of(a_hostile_day()))
    everything = "".join([*root.itertext(), *(value for each in root.iter() for value in each.attrib.values())])
    assert "\\x1b[31m" in everything
    assert "<script>alert(1)</script>" in everything, "as text"
    assert not any(character in everything for character in "\x00\x07\x1b\u202e\ufffe")
    assert not list(root.iter("script"))


def test_a_huge_output_is_cut() -> None:
    """GitLab reads no file beyond 30 MB."""
    facts: dict[str, Any] = {"output": "x" * 5_000_000, "error": "y" * 5_000_000}
    assert len(report_text(account_of(suite([row("huge", "failed", **facts)])), "junit")) < 100_000
