"""Skills: directories with a SKILL.md that a model reads when it needs them, and four tools to read them and to run their commands.

Names and descriptions are read once, when the agent is made. Everything else is read when the model asks for it, through a
`ScopedDirectory`, so it is an output of a tool: in the log, and shown to the model as data.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from afk_es.errors import ConfigurationError, ToolError
from afk_es.machine.rendering import neutralised
from afk_es.machine.values import clean_text
from afk_es.tools.command import run_command
from afk_es.tools.decorator import tool
from afk_es.tools.definition import Tool
from afk_es.tools.pages import PAGE_CHARS, read_page, text_of_bytes
from afk_es.tools.sandbox import SandboxCommand, SandboxProfile, command_words
from afk_es.tools.scoped import ScopedDirectory
from afk_es.tools.skill_file import FILE_NAME, MAX_FILE_BYTES, MAX_NAME_CHARS, SKILL_NAME, Heading, read_heading
from afk_es.tools.walk import Walk

MAX_SKILLS = 100
MAX_LISTED_CHARS = 8_000
"""Characters of all descriptions in the instructions together, about: each is cut to its share. `list_skills` has them whole."""

MAX_LISTED_FILES = 50
"""Files of one skill that `list_skills` names."""

SkillName = Annotated[str, Field(description="the skill's name")]
Line = Annotated[int, Field(ge=1)]


class SkillPolicy(BaseModel):
    """What a model may run of its skills. The default is nothing; what may be read is not its affair.

    Attributes:
        command_allowlist: beginnings of allowed commands, word by word: "python scripts/report.py" allows that script with any arguments,
            and "python" any program in Python. Default (), no command. None allows any command.
        deny_shell_operators: refuse pipes, redirections, substitutions and further commands; default True, in which case there is no
            shell. False hands the command to /bin/sh, and takes `command_allowlist=None`, because a beginning says nothing about what
            follows an operator.
        max_output_chars: of a command's output, and of a page of a file; default 20 000.
        command_timeout_s: seconds until a command is killed with its children; default 30.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    command_allowlist: tuple[str, ...] | None = ()
    deny_shell_operators: bool = True
    max_output_chars: int = Field(default=20_000, ge=1)
    command_timeout_s: float = Field(default=30.0, gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> SkillPolicy:
        if self.command_allowlist is not None and not self.deny_shell_operators:
            raise ValueError(
                "deny_shell_operators=False takes command_allowlist=None: a beginning says nothing about what follows an operator"
            )
        for prefix in self.command_allowlist or ():
            try:
                empty = not command_words(prefix)
            except ValueError as error:
                raise ValueError(f"command_allowlist: {prefix!r} cannot be read: {error}") from error
            if empty:
                raise ValueError("command_allowlist: an empty beginning allows nothing; for any command, command_allowlist=None")
        return self

    def profile(self) -> SandboxProfile:
        """The same as `run_command` takes it."""
        return SandboxProfile(
            allow_command_execution=True,
            allowed_command_prefixes=self.command_allowlist,
            deny_shell_operators=self.deny_shell_operators,
            command_timeout_s=self.command_timeout_s,
            max_output_chars=self.max_output_chars,
        )

    def described(self) -> str:
        """What may be run, for the model."""
        if self.command_allowlist is None:
            return "Any command is allowed."
        allowed = ", ".join(self.command_allowlist)
        return f"Allowed are commands that begin with: {allowed}." if allowed else "No command is allowed."


class SkillLibrary:
    """The skills of an agent: some of the directories in one directory.

    Args:
        directory: holds the skills, each in a directory of its name.
        names: which of them.
        policy: what may be run.

    Raises:
        ConfigurationError: a skill is not there, or its SKILL.md is not as it should be; the message names the skill and the way out.
    """

    def __init__(self, directory: str | os.PathLike[str], names: Iterable[str], policy: SkillPolicy) -> None:
        self._scope = ScopedDirectory(directory)
        self._policy = policy
        wanted = tuple(names)
        if len(wanted) > MAX_SKILLS:
            raise ConfigurationError(f"{len(wanted)} skills are listed, and a model can be told of {MAX_SKILLS} at most")
        for index, name in enumerate(wanted):
            if name in wanted[:index]:
                raise ConfigurationError(f"the skill {name!r} is listed twice")
        self.skills: tuple[Heading, ...] = tuple(self._listed(name) for name in wanted)

    def instructions(self) -> str:
        """What the agent's instructions say of its skills."""
        share = max(MAX_LISTED_CHARS // len(self.skills), 80)
        lines = [f"- {name}: {_in_a_line(description, share)}" for name, description in self.skills]
        lead = "You have these skills. Before you do what one of them is for, read it with read_skill_md and follow it."
        return "\n".join([lead, *lines])

    def tools(self) -> tuple[Tool[..., Any], ...]:
        """list_skills, read_skill_md, read_skill_file, run_skill_command."""
        description = (
            "Run a command in the directory of a skill, for as long as the policy lets it. "
            f"{self._policy.described()} The answer has its exit_code, and its output and errors as they came."
        )
        return (
            tool(read_only=True, open_world=False)(self.list_skills),
            tool(read_only=True, open_world=False)(self.read_skill_md),
            tool(read_only=True, open_world=False)(self.read_skill_file),
            tool(open_world=True, description=description)(self.run_skill_command),
        )

    def list_skills(self) -> list[dict[str, Any]]:
        """List the skills: what each is for, and which files it has."""
        return [{"name": name, "description": description, "files": self._files(name)} for name, description in self.skills]

    def read_skill_md(self, skill: SkillName, offset: Line = 1, limit: Line = 2_000) -> str:
        """Read the SKILL.md of a skill, which says how to do what it is for.

        Args:
            offset: the first line, counted from 1.
            limit: lines at most.
        """
        return self.read_skill_file(skill, FILE_NAME, offset, limit)

    def read_skill_file(
        self,
        skill: SkillName,
        path: Annotated[str, Field(description="relative to the directory of the skill")],
        offset: Line = 1,
        limit: Line = 2_000,
    ) -> str:
        """Read lines of a text file of a skill. Where more follow, the last line says where to continue.

        Args:
            offset: the first line, counted from 1.
            limit: lines at most.
        """
        with self._of(skill).open(path) as file:
            return read_page(file, path, offset, limit, min(self._policy.max_output_chars, PAGE_CHARS))

    async def run_skill_command(
        self, skill: SkillName, command: Annotated[str, SandboxCommand(), Field(description="with its arguments, as in a shell")]
    ) -> dict[str, Any]:
        """Run a command in the directory of a skill."""
        scope = self._of(skill)
        profile = self._policy.profile()
        objection = profile.command_objection(command)
        if objection is not None:
            raise ToolError(f"{objection}. {self._policy.described()}")
        if self._policy.deny_shell_operators:
            _check_program(scope, command_words(command)[0])
        result = await run_command(profile, command, cwd=scope.root)
        return result.model_dump()

    def _of(self, skill: str) -> ScopedDirectory:
        if not any(skill == name for name, _description in self.skills):
            known = ", ".join(name for name, _description in self.skills)
            raise ToolError(f"there is no skill {skill!r}; the skills are: {known}")
        if self._scope.kind(skill) != "directory":
            raise ToolError(f"the skill {skill!r} is not there any more")
        return self._scope.within(skill)

    def _files(self, skill: str) -> list[str]:
        found: list[str] = []
        for path, entry in Walk(self._scope, f"{skill}/**/*", max_visited=1_000):
            if entry.kind == "file" and len(found) < MAX_LISTED_FILES:
                found.append(clean_text(path.removeprefix(f"{skill}/")))
        return found

    def _listed(self, name: str) -> Heading:
        if len(name) > MAX_NAME_CHARS or SKILL_NAME.fullmatch(name) is None:
            raise ConfigurationError(f"{name!r:.80} is no name of a skill: lower-case letters, digits and single hyphens")
        try:
            if self._scope.kind(name) != "directory":
                raise ConfigurationError(f"{self._scope.root} has no directory {name!r} (links are not followed); {self._there_are()}")
            path = f"{name}/{FILE_NAME}"
            heading = read_heading(text_of_bytes(self._scope.read(path, MAX_FILE_BYTES), path))
        except ToolError as error:
            raise ConfigurationError(f"the skill {name!r} in {self._scope.root} cannot be used: {error}") from error
        if heading.name != name:
            raise ConfigurationError(
                f"the skill in {self._scope.root / name} calls itself {heading.name!r}; its directory must have that name"
            )
        return heading

    def _there_are(self) -> str:
        found = skills_in(self._scope)
        return f"it has: {', '.join(found)}" if found else "it has no directory with a SKILL.md"


def skills_in(scope: ScopedDirectory) -> list[str]:
    """The names of the directories that have a SKILL.md, the first hundred."""
    entries, _more = scope.entries(".", 1_000)
    return [entry.name for entry in entries if entry.kind == "directory" and scope.kind(f"{entry.name}/{FILE_NAME}") == "file"][:MAX_SKILLS]


def _in_a_line(text: str, limit: int) -> str:
    line = neutralised(" ".join(text.split()))
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def _check_program(scope: ScopedDirectory, program: str) -> None:
    """Refuse a program named by a path that leaves the skill. An absolute path is the policy's affair."""
    if "/" in program and not program.startswith("/") and scope.kind(program) != "file":
        raise ToolError(f"the skill has no file {program!r} to run; links are not followed")
