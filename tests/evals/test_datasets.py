"""Cases from files: in their order, and where a row is none, with file, place, field and the way out."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from afk_es.errors import ConfigurationError
from afk_es.evals.assertions.answers import Contains
from afk_es.evals.datasets import load_cases
from afk_es.evals.models import EvalBudget, EvalCase
from afk_es.evals.suite import run_suite
from tests.evals.suites import agent, answer, in_memory

AGENT = agent(answer())
ROOT = Path(__file__).parents[2]

WHOLE: dict[str, Any] = {
    "name": "refund",
    "user_message": "Refund A-17",
    "context": {"user": "ada"},
    "thread_id": "thread_1",
    "tags": ["money", "smoke"],
    "budget": {"max_steps": 4, "max_total_tokens": 1000},
    "assertions": [{"contains": "refunded"}, {"tool_called": {"tool_name": "refund", "times": 1}}],
    "expected_state": ["completed", "degraded"],
    "expected_output": {"amount": 80},
    "metadata": {"ticket": 7},
    "golden": "goldens/refund.golden.jsonl",
    "golden_mode": "contract",
    "repeats": 3,
    "timeout_s": 20,
}

YAML = """
cases:
  - name: refund
    user_message: Refund A-17
    context: {user: ada}
    thread_id: thread_1
    tags: [money, smoke]
    budget: {max_steps: 4, max_total_tokens: 1000}
    assertions:
      - contains: refunded
      - tool_called: {tool_name: refund, times: 1}
    expected_state: [completed, degraded]
    expected_output: {amount: 80}
    metadata: {ticket: 7}
    golden: goldens/refund.golden.jsonl
    golden_mode: contract
    repeats: 3
    timeout_s: 20
"""


def written(directory: Path, name: str, content: Any) -> Path:
    """A file with this content, as JSON unless it is a text."""
    file = directory / name
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return file


def loaded(file: Path, **options: Any) -> list[EvalCase]:
    """Its cases."""
    return list(load_cases(file, agent=AGENT, **options))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cases.json", [WHOLE]),
        ("cases.json", {"cases": [WHOLE]}),
        ("cases.jsonl", json.dumps(WHOLE) + "\n\n"),
        ("cases.ndjson", "\ufeff" + json.dumps(WHOLE)),
        ("cases.yaml", YAML),
        ("cases.YML", YAML),
    ],
)
def test_every_format_has_every_field_that_is_data(tmp_path: Path, name: str, content: Any) -> None:
    (case,) = loaded(written(tmp_path, name, content))
    assert (case.name, case.user_message, case.context, case.thread_id) == ("refund", "Refund A-17", {"user": "ada"}, "thread_1")
    assert case.agent is AGENT
    assert case.tags == ("money", "smoke")
    assert case.budget == EvalBudget(max_steps=4, max_total_tokens=1000)
    assert [getattr(assertion, "name", "") for assertion in case.assertions] == ["contains 'refunded'", "tool_called refund x1"]
    assert isinstance(case.assertions[0], Contains)
    assert case.expected_state == ("completed", "degraded")
    assert (case.expected_output, case.metadata) == ({"amount": 80}, {"ticket": 7})
    assert (case.golden, case.golden_mode) == (tmp_path / "goldens/refund.golden.jsonl", "contract")
    assert (case.repeats, case.timeout_s) == (3, 20)


def test_nothing_is_required_and_a_row_without_a_name_has_its_files_and_its_number(tmp_path: Path) -> None:
    cases = loaded(written(tmp_path, "desk.jsonl", '{"user_message": "a"}\n{"name": 17}\n{}\n'))
    assert [case.name for case in cases] == ["desk-1", "17", "desk-3"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("c.jsonl", '{"user_message": "a"}\n{"user_mesage": "b"}', r"c\.jsonl:2: user_mesage: .* did you mean 'user_message'\?"),
        ("c.jsonl", '{"agent": "b"}', r"c\.jsonl:1: agent: a case has no such field; there are name, "),
        ("c.jsonl", "{}\nnot json", r"c\.jsonl:2: column 1: it is no JSON"),
        ("c.jsonl", "[1]", r"c\.jsonl:1: a case is an object, not list"),
        ("c.jsonl", '{"name": "a", "name": "b"}', r"c\.jsonl:1: the key 'name' stands twice"),
        ("c.jsonl", '{"timeout_s": NaN}', r"c\.jsonl:1: NaN is no JSON number"),
        ("c.jsonl", '{"name": "a"}\n{"name": "a"}', r"c\.jsonl:2: name: 'a' is the name of the case at .*c\.jsonl:1"),
        ("c.json", '[{}, {"budget": {"max_steps": 0}}]', r"c\.json: cases\[1\]: budget\.max_steps: .*; it is 0"),
        ("c.json", '[{"budget": {"max_stepz": 1}}]', r"c\.json: cases\[0\]: budget\.max_stepz: "),
        ("c.json", '[{"expected_state": "done"}]', r"c\.json: cases\[0\]: expected_state"),
        ("c.json", '[{"assertions": [{"contains": "a"}, {"contain": "b"}]}]', r"cases\[0\]: assertions\[1\]: .*did you mean 'contains'\?"),
        ("c.json", '[{"assertions": [{"tool_called": 3}]}]', r"cases\[0\]: assertions\[0\]: tool_called takes a non-empty text"),
        ("c.json", '[{"golden": 3}]', r"cases\[0\]: golden: it is the path"),
        ("c.json", '[{"user_message": 3}]', r"cases\[0\]: user_message: it is a text, not 3"),
        ("c.json", "{\n nonsense", r"c\.json:2: column 2: it is no JSON"),
        ("c.json", '{"rows": []}', "whose only key is 'cases'"),
        ("c.yaml", "cases: [\n", r"c\.yaml:\d+: column \d+: it is no YAML"),
        ("c.yaml", "- name: a\n  name: b\n", r"c\.yaml:2: column 3: it is no YAML: the key 'name' stands twice"),
        ("c.yaml", "- !!python/object/apply:os.system [echo]\n", "it is no YAML"),
        ("c.yaml", "- name: a\n  metadata: {v: .inf}\n", r"c\.yaml:2: column 17: it is no YAML: \.inf is no number that JSON has"),
        ("c.yaml", "- name: a\n  metadata: {v: !!int many}\n", r"c\.yaml:2: column 17: it is no YAML: it is no value of tag:yaml"),
        ("c.yaml", "- name: a\n  context: {v: !!binary aGk=}\n", r"c\.yaml:2: column 16: it is no YAML: .*binary"),
        ("c.yaml", "- name: a\n  metadata: &m {again: *m}\n", r"c\.yaml:2: column 13: .*an alias stands within what it stands for"),
        ("c.yaml", f"- metadata: {{v: {'9' * 5000}}}\n", r"c\.yaml:1: column 17: it is no YAML"),
        ("c.jsonl", f'{{}}\n{{"timeout_s": {"9" * 5000}}}', r"c\.jsonl:2: a number is too long to be read"),
        ("c.jsonl", '{}\n{"metadata": {"v": 1e999}}', r"c\.jsonl:2: 1e999 is beyond what a number can be"),
        ("c.json", '[{"expected_state": []}]', r"cases\[0\]: expected_state"),
        ("c.json", '[{"assertions": {"trajectory": {"calls": 5}}}]', r"cases\[0\]: assertions\[0\]: trajectory cannot be made of "),
        ("c.json", '[{"assertions": {"within": {"steps": "4"}}}]', r"assertions\[0\]: within: steps is a number"),
        ("c.toml", "", r"a dataset ends in \.json, "),
    ],
)
def test_what_is_no_case_is_named_with_its_place_its_field_and_the_way_out(tmp_path: Path, name: str, content: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        loaded(written(tmp_path, name, content))


def test_a_file_that_is_not_there_and_one_that_is_no_text_are_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no such file"):
        load_cases(tmp_path / "none.json", agent=AGENT)
    (tmp_path / "latin.json").write_bytes(b'[{"name": "\xe4"}]')
    with pytest.raises(ConfigurationError, match="it is no UTF-8 at byte 11"):
        loaded(tmp_path / "latin.json")


def test_yaml_dates_stay_text_and_anchors_are_followed(tmp_path: Path) -> None:
    text = "- &one\n  name: one\n  context: {day: 2026-01-31}\n- <<: *one\n  name: two\n"
    one, two = loaded(written(tmp_path, "c.yaml", text))
    assert (one.context, two.context, two.name) == ({"day": "2026-01-31"}, {"day": "2026-01-31"}, "two")


def test_a_few_lines_of_aliases_that_stand_for_millions_are_refused_before_anything_is_made_of_them(tmp_path: Path) -> None:
    """The "billion laughs": ten levels of ten aliases each; and the same by merges, which are multiplied as the file is read."""
    levels = ["    l0: &l0 [lol]"] + [f"    l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 11)]
    merges = ["    l0: &l0 {a: 1}"] + [f"    l{n}: &l{n} {{<<: [{', '.join([f'*l{n - 1}'] * 10)}]}}" for n in range(1, 11)]
    for each in (levels, merges):
        with pytest.raises(ConfigurationError, match=r"c\.yaml:1: .*aliases stand for more than 1,000,000 values"):
            loaded(written(tmp_path, "c.yaml", "- metadata:\n" + "\n".join(each)))


def test_what_is_put_into_a_field_goes_beside_what_the_row_has_there(tmp_path: Path) -> None:
    row = {"about": {"topic": "refund"}, "id": 7, "note": "late"}
    file = written(tmp_path, "rows.json", [row])
    (case,) = loaded(file, fields={"metadata.id": "id", "metadata": "about"})
    assert case.metadata == {"topic": "refund", "id": 7}
    with pytest.raises(ConfigurationError, match=r"cases\[0\]: metadata: 'metadata.id' is to stand in it, and it is no object: 'late'"):
        loaded(file, fields={"metadata": "note", "metadata.id": "id"})


def test_several_agents_are_told_apart_by_name(tmp_path: Path) -> None:
    other = agent(answer(), name="other")
    file = written(tmp_path, "c.json", [{"agent": "a"}, {"agent": "b"}, {"agent": "c"}])
    cases = load_cases(file, agent={"a": AGENT, "b": other})
    assert [case.agent for case in itertools.islice(cases, 2)] == [AGENT, other]
    with pytest.raises(ConfigurationError, match=r"cases\[2\]: agent: it is one of a, b, not 'c'"):
        next(cases)


def test_rows_of_another_form_are_mapped() -> None:
    """The recorded conversations of an airline's desk, which know nothing of our fields."""
    cases = list(
        load_cases(
            ROOT / "fixtures/tau_airline/conversations.jsonl",
            agent=AGENT,
            fields={
                "name": "{task_id}-{trial}",
                "user_message": "messages[0].content",
                "metadata.reward": "reward",
                "expected_output": "nowhere",
            },
        )
    )
    assert len(cases) == 5
    assert cases[0].name == "12-0"
    assert cases[0].user_message == "Hi! I need to cancel my flights from MCO to CLT and get a refund, please."
    assert (cases[0].metadata, cases[0].expected_output) == ({"reward": 1.0}, None)


@pytest.mark.parametrize("fields", [{"message": "a"}, {"name.first": "a"}, {"metadata.": "a"}, {"name": "a..b"}, {"name": "[x"}])
def test_a_mapping_of_what_is_no_field_or_no_path_is_refused_at_once(tmp_path: Path, fields: dict[str, str]) -> None:
    file = written(tmp_path, "c.json", [])
    with pytest.raises(ConfigurationError, match=r"is no field of a case|is no path"):
        load_cases(file, agent=AGENT, fields=fields)


def test_json_lines_are_read_as_they_are_wanted(tmp_path: Path) -> None:
    """A huge file is not held: what stands behind the cases that are taken is not even looked at."""
    file = tmp_path / "huge.jsonl"
    with file.open("w", encoding="utf-8") as out:
        out.writelines(f'{{"name": "case-{number}"}}\n' for number in range(10_000))
        out.write("this is no JSON\n")
    cases: Iterator[EvalCase] = load_cases(file, agent=AGENT)
    assert [case.name for case in itertools.islice(cases, 3)] == ["case-0", "case-1", "case-2"]
    with pytest.raises(ConfigurationError, match=r"huge\.jsonl:10001"):
        list(cases)


def test_a_suite_takes_the_path_of_a_dataset_with_an_agent(tmp_path: Path) -> None:
    file = written(tmp_path, "c.json", [{"name": "one", "user_message": "hi", "assertions": {"contains": "done"}}])
    suite = run_suite(runner_factory=in_memory, cases=file, agent=agent(answer()))
    assert (suite.ok, suite.results[0].name) == (True, "one")


def test_an_agent_that_is_none_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="agent is an Agent"):
        load_cases(written(tmp_path, "c.json", []), agent="desk")  # type: ignore[arg-type]
