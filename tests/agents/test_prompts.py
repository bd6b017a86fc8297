"""Where instructions come from and what a subagent's context begins with: files, directories, skills, and keys that are inherited."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from afk_es.agents import Agent
from afk_es.agents.inheritance import inherited_context
from afk_es.agents.prompts import MAX_PROMPT_BYTES, joined
from afk_es.errors import ConfigurationError
from afk_es.tools import SkillPolicy
from tests.support.skills import skill

# ------------------------------------------------------------------------------------------------------------------------------ files


def test_a_byte_order_mark_is_dropped_and_all_else_is_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes("\ufeffBe {kind}, %s.\r\n".encode())
    assert Agent(model="m", instruction_file=tmp_path / "a.md").static_instructions() == "Be {kind}, %s.\r\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"caf\xe9", "cannot be read: 'utf-8' codec"),
        (b"x" * (MAX_PROMPT_BYTES + 1), "more than 1000000 bytes"),
        (None, "cannot be read: .*No such file"),
    ],
)
def test_a_file_that_cannot_be_the_instructions_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "agent.md").write_bytes(content)
    given: list[dict[str, Any]] = [{"instruction_file": tmp_path / "agent.md"}, {"prompts_dir": tmp_path}]
    for fields in given:
        with pytest.raises(ConfigurationError, match=f"agent.md .*{message}|agent.md has {message}"):
            Agent(model="m", **fields)


@pytest.mark.timeout(20)
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            Agent(model="m", instruction_file=path)


@pytest.mark.parametrize("path", ["../secret.md", "{top}/secret.md", "link.md", "sub/../../secret.md"])
def test_an_instruction_file_does_not_leave_the_prompts_directory(tmp_path: Path, path: str) -> None:
    prompts = tmp_path / "prompts"
    (prompts / "sub").mkdir(parents=True)
    (tmp_path / "secret.md").write_text("secret")
    (prompts / "link.md").symlink_to(tmp_path / "secret.md")
    with pytest.raises(ConfigurationError, match="is not in prompts_dir"):
        Agent(model="m", prompts_dir=prompts, instruction_file=path.format(top=tmp_path))
    with pytest.raises(ConfigurationError, match="is not in prompts_dir"):
        Agent(model="m", prompts_dir=prompts, name="link")


def test_links_within_the_prompts_directory_are_followed(tmp_path: Path) -> None:
    """As Kubernetes mounts configuration: each file is a link into a hidden directory beside it."""
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "agent.md").write_text("mounted")
    (tmp_path / "agent.md").symlink_to("..data/agent.md")
    assert Agent(model="m", prompts_dir=tmp_path).static_instructions() == "mounted"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [((), None), ((None, None), None), (("", None), ""), (("a", None, "b"), "a\n\nb"), ((None, "", "b"), "b")],
)
def test_texts_are_joined_by_a_blank_line(texts: tuple[str | None, ...], expected: str | None) -> None:
    assert joined(*texts) == expected


# ----------------------------------------------------------------------------------------------------------------------------- skills


def test_listing_skills_is_what_adds_four_tools_and_their_list(tmp_path: Path) -> None:
    skill(tmp_path)

    def lookup(word: str) -> str:
        return word

    agent = Agent(model="m", instructions="Be brief.", tools=[lookup], skills=["reports"], skills_dir=tmp_path)
    assert [each.name for each in agent.tools] == ["lookup"]
    assert [each.name for each in agent.offered_tools()] == [
        "lookup",
        "list_skills",
        "read_skill_md",
        "read_skill_file",
        "run_skill_command",
    ]
    told = agent.static_instructions() or ""
    assert told.startswith("Be brief.\n\nYou have these skills.")
    assert told.endswith("\n- reports: Makes reports.")
    assert (Agent(model="m", skills=["reports"], skills_dir=tmp_path).static_instructions() or "").startswith("You have these skills.")
    assert Agent(model="m").offered_tools() == ()
    without = agent.model_copy(update={"tools": ()})
    assert [each.name for each in without.offered_tools()][:1] == ["list_skills"]


def test_skills_must_be_listed_and_there(tmp_path: Path) -> None:
    skill(tmp_path)
    skill(tmp_path, "taxes")
    with pytest.raises(ConfigurationError, match=r"no skill of it is listed; there are: skills=\['reports', 'taxes'\]"):
        Agent(model="m", skills_dir=tmp_path)
    with pytest.raises(ConfigurationError, match=r"agent 'clerk': .* has no directory 'nope' .* it has: reports, taxes"):
        Agent(model="m", name="clerk", skills=["nope"], skills_dir=tmp_path)
    with pytest.raises(ConfigurationError, match=r"'../x' is no name of a skill"):
        Agent(model="m", skills=["../x"], skills_dir=tmp_path)
    assert Agent(model="m", skills=[], skills_dir=tmp_path).offered_tools() == ()


def test_a_tool_of_the_users_must_not_have_a_skill_tools_name(tmp_path: Path) -> None:
    skill(tmp_path)

    def list_skills() -> str:
        return "mine"

    with pytest.raises(ConfigurationError, match="two tools are named 'list_skills'"):
        Agent(model="m", tools=[list_skills], skills=["reports"], skills_dir=tmp_path)
    Agent(model="m", tools=[list_skills])


def test_the_policy_is_told_in_the_tools_description(tmp_path: Path) -> None:
    skill(tmp_path)
    policy = SkillPolicy(command_allowlist=("python report.py",))
    agent = Agent(model="m", skills=["reports"], skills_dir=tmp_path, skill_policy=policy)
    assert "begin with: python report.py." in agent.offered_tools()[3].description
    assert agent.skill_policy == policy


# ------------------------------------------------------------------------------------------------------------------------ inheritance


def test_a_subagent_gets_its_defaults_and_the_keys_it_names() -> None:
    agent = Agent(model="m", context_defaults={"tone": "dry", "user_id": "nobody"}, inherit_context_keys=["user_id", "orders", "missing"])
    parent: dict[str, Any] = {"user_id": "u1", "orders": [{"id": 1}], "secret": "x"}
    context = inherited_context(agent, parent)
    assert context == {"tone": "dry", "user_id": "u1", "orders": [{"id": 1}]}
    context["orders"][0]["id"] = 2
    assert parent["orders"] == [{"id": 1}]


def test_nothing_is_inherited_unless_it_is_named() -> None:
    assert inherited_context(Agent(model="m"), {"user_id": "u1"}) == {}
    assert inherited_context(Agent(model="m", inherit_context_keys=["a"]), {"a": None}) == {"a": None}
