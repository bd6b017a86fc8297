"""Goal: every Python example of the README runs as it stands there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from afk_es import tool
from afk_es.queues import TaskQueue, Worker
from tests.evals.plugin.conftest import entry_point_in
from tests.support.openai_server import OpenAIServer
from tests.support.stories import Stories

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
EXAMPLES = [block for block in BLOCKS if not block.startswith("# test_")]


def run(code: str, directory: Path, **environment: str) -> str:
    (directory / "desk.py").write_text(code, encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OPENAI_API_KEY": "test", **environment}
    done = subprocess.run([sys.executable, "-W", "error", "desk.py"], cwd=directory, env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


def shop_model(body: dict[str, Any]) -> dict[str, Any]:
    """Look the order up, try too much, then pay back what may be paid back."""
    turn = sum(message["role"] == "assistant" for message in body["messages"])
    calls = [
        ("find_order", '{"order_id": "A-17"}'),
        ("refund", '{"order_id": "A-17", "amount": 800}'),
        ("refund", '{"order_id": "A-17", "amount": 80}'),
    ]
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    if turn == len(calls):
        return {"role": "assistant", "content": body["messages"][-1]["content"], "usage": usage}
    name, arguments = calls[turn]
    call = {"id": f"call_{turn}", "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call], "usage": usage}


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 4


def test_the_first_agent_runs_against_an_openai_server_and_its_log_can_be_read(tmp_path: Path) -> None:
    assert "# desk.py" in EXAMPLES[0]
    with OpenAIServer(shop_model) as server:
        # The server's model has no price that LiteLLM knows under another name, so the example's own name is used.
        out = run(EXAMPLES[0], tmp_path, OPENAI_BASE_URL=server.url, OPENAI_API_BASE=server.url)
    assert out.startswith("completed")
    assert "refunded 80.00 USD" in out
    verbs = [line.split("#")[0].split() for line in README.splitlines() if line.startswith("afk-es --db runs.db")]
    assert len(verbs) == 5
    for verb in verbs:
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-m", "afk_es.cli", *verb[1:]], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, (verb, done.stdout, done.stderr)


SERVER = "postgresql://agents@db.internal/agents"
"""The log of the example on PostgreSQL, for which the tests have a server of their own."""


@pytest.mark.parametrize("number", range(1, len(EXAMPLES)))
def test_example(number: int, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    code = EXAMPLES[number]
    if SERVER in code:
        code = code.replace(SERVER, request.getfixturevalue("postgres_log"))
    assert run(code, tmp_path).strip()


ROLES = re.findall(r"```sql\n(.*?)```", README, re.DOTALL)


def test_the_roles_that_are_advised_are_legal(postgres_log: str, tmp_path: Path) -> None:
    """The statements stand in the README; that such a role is enough is shown by tests/log/test_postgres_tables.py."""
    statements, _of_queues = ROLES
    schema = postgres_log.rpartition("schema=")[2]
    code = (
        "import asyncio, asyncpg, sys\nfrom afk_es.log import open_log\nasync def main():\n"
        "    log = open_log(sys.argv[1])\n    await log.open()\n    await log.close()\n"
        "    connection = await asyncpg.connect(sys.argv[1].rpartition('&')[0])\n"
        "    transaction = connection.transaction()\n    await transaction.start()\n    await connection.execute(sys.argv[2])\n"
        "    await transaction.rollback()\n    await connection.close()\nasyncio.run(main())\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, postgres_log, statements.replace("afk_es", schema)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=tmp_path, env=env, check=True, timeout=60)


async def test_the_role_that_is_advised_for_queues_is_enough(postgres_log: str) -> None:
    """And no more than the log's own role has is granted on the log: a worker of that role does what is pushed by it."""
    schema = postgres_log.rpartition("schema=")[2]
    role = f"role_{schema}"

    @tool
    def double(number: int) -> int:
        """Double."""
        return 2 * number

    async with TaskQueue(postgres_log) as owner:
        await owner.push("runner.chat.v1", {"agent": "nobody"}, queue="other")
        granted = re.sub(r"(?<=SCHEMA )afk_es|\bafk_es(?=\.)", schema, "".join(ROLES)).replace("agents", role)
        connection = await asyncpg.connect(postgres_log.rpartition("&")[0])
        try:
            await connection.execute(granted)
            log = postgres_log.replace("postgres@", f"{role}@")
            async with TaskQueue(log, handlers=[double]) as queue, Worker(queue):
                task = await queue.push_job("double", {"number": 4}, lane="numbers")
                assert await queue.result(task.id, timeout_s=20) == 8
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"SET ROLE {role}; UPDATE {schema}.events SET type = 'x'")
        finally:
            await connection.execute(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")
            await connection.close()


SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE))
LOOKING = ("When a run went wrong", "Questions to a run")


def commands(section: str) -> list[str]:
    """The `afk-es` commands in the shell examples of a section."""
    blocks = re.findall(r"```(?:sh|console)\n(.*?)```", SECTIONS[section], re.DOTALL)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.removeprefix("$ ").startswith("afk-es ")]


@pytest.mark.parametrize("command", [command for section in LOOKING for command in commands(section)])
def test_a_command_that_looks_at_runs_works_on_the_demo_s(command: str, stories: Stories, tmp_path: Path) -> None:
    (tmp_path / "check.py").write_text("import sys\nsys.exit('refund_charge' in open(sys.argv[1]).read())\n", encoding="utf-8")
    words = shlex.split(command, comments=True)
    log = stories.copied(tmp_path).log
    env = {**os.environ, "PYTHONPATH": str(ROOT), "AFK_ES_LOG": str(log), "AFK_ES_CACHE": str(tmp_path), "COLUMNS": "80"}
    line = [sys.executable, "-m", "afk_es.cli", *words[1:]]
    done = subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, 1), done.stderr  # 1 is a negative answer: two runs differ, nothing is found.
    assert done.stdout.strip() or done.returncode


GOLDENS = "From a bug to a golden"
SHELL = """
afk-es() {{ "{python}" -m afk_es.cli "$@"; }}
pytest() {{ "{python}" -m pytest -p no:cacheprovider -p no:benchmark "$@"; }}
python() {{ "{python}" "$@"; }}
set -o pipefail
"""
SETTINGS = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"


@pytest.mark.timeout(240)
def test_the_way_from_a_bug_to_a_golden_can_be_gone_as_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one shell; every command passes, but those of which it is said that they fail."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", SECTIONS[GOLDENS], re.DOTALL | re.MULTILINE)
    tests = [text for kind, text in blocks if kind == "python"]
    (tmp_path / "pytest.ini").write_text(SETTINGS)
    for text in tests:
        (tmp_path / text.split()[1]).write_text(text, encoding="utf-8")
    lines = [line.removeprefix("$ ") for kind, text in blocks if kind == "console" for line in text.splitlines()]
    assert sum(line.startswith("pytest ") for line in lines) == 7
    script = SHELL.format(python=sys.executable)
    script += "".join(f'{line}\necho "@@ $?"\n' for line in lines)
    for name in ("CI", "PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    # A dozen processes; all but the first find bytecode.
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    (tmp_path / "site").mkdir()
    path = os.pathsep.join([str(entry_point_in(tmp_path / "site")), str(ROOT)])
    env = {**os.environ, "PYTHONPATH": path, "PYTHONPYCACHEPREFIX": str(tmp_path / "bytecode"), "COLUMNS": "100"}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=220, stdin=subprocess.DEVNULL
    )
    codes = [int(line.removeprefix("@@ ")) for line in done.stdout.splitlines() if line.startswith("@@ ")]
    assert codes == [int("# fails" in line) for line in lines], done.stdout + done.stderr
    (shown,) = (text for kind, text in blocks if not kind)
    assert [line.strip() for line in shown.splitlines() if line.strip() not in done.stdout] == []
    assert sorted(path.name for path in tmp_path.glob("goldens/test_shop/*")) == [
        "double_charge.golden.jsonl", "test_a_double_charge_is_refunded.golden.jsonl"
    ]  # fmt: skip


PROOF = "Prove it: property tests"


def test_the_property_test_finds_the_planted_bug_and_passes_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in CI, where the examples are the same every time."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", SECTIONS[PROOF], re.DOTALL | re.MULTILINE)
    test, own = (text for kind, text in blocks if kind == "python")
    (shown,) = (text for kind, text in blocks if not kind)
    monkeypatch.setenv("CI", "true")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def tested(code: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "test_desk.py").write_text(code, encoding="utf-8")
        words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:benchmark", "-p", "no:asyncio", "test_desk.py"]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=100)

    failed = tested(test)
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert [line.strip() for line in shown.splitlines() if line.strip() not in failed.stdout] == []
    # What a newcomer sees: the test, what was violated, and nothing of ours in between.
    assert len(failed.stdout.splitlines()) < 40
    assert "exploration.py" not in failed.stdout
    passed = tested(test.replace('{"gt": 50}', '{"ge": 50}'))
    assert passed.returncode == 0, passed.stdout + passed.stderr
    passed = tested(own)
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "4 passed" in passed.stdout


def test_who_may_call_is_shown_as_it_is(tmp_path: Path) -> None:
    section = SECTIONS["Security"].partition("### Who may call")[2]
    code, shown = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", section, re.DOTALL).groups()  # type: ignore[union-attr]
    assert run(code, tmp_path) == shown


ASSISTANTS = SECTIONS["MCP"].partition("### The log for coding assistants")[2].partition("\n### ")[0]


async def test_the_config_for_coding_assistants_starts_a_server_of_the_log(stories: Stories, tmp_path: Path) -> None:
    """As written there, but for where the program and the log are."""
    from afk_es.mcp import read_config

    (config,) = re.findall(r"```json\n(.*?)```", ASSISTANTS, re.DOTALL)
    servers = json.loads(config)
    own = servers["mcpServers"]["afk-es"]
    assert Path(own["command"]).name == "afk-es"
    own["command"], own["args"] = sys.executable, ["-m", "afk_es.cli", *own["args"][:-1], str(stories.log)]
    own["env"] = {"PYTHONPATH": str(ROOT), "AFK_ES_CACHE": os.devnull}
    (tmp_path / "mcp.json").write_text(json.dumps(servers))
    (client,) = read_config(tmp_path / "mcp.json")
    async with client:
        assert [tool.name.removeprefix("afk-es_") for tool in await client.tools()][:3] == ["triage", "why", "context"]


async def test_what_an_assistant_sees_is_what_is_shown(stories: Stories) -> None:
    from afk_es.debugger import debugger_tools
    from afk_es.tools import ToolContext

    tools = {tool.name: tool for tool in debugger_tools(stories.log)}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("triage", {"run": "run_failing"}),
        ("why", {"run": "run_failing", "at": 28}),
        ("context", {"run": "run_failing", "at": 24, "whole": True}),
    ]
    said = [str((await tools[name].call(arguments, ToolContext())).output["text"]) for name, arguments in calls]  # type: ignore[union-attr]
    (shown,) = (text for kind, text in re.findall(r"^```(\w*)\n(.*?)^```$", ASSISTANTS, re.DOTALL | re.MULTILINE) if not kind)
    lines = shown.splitlines()
    assert len(lines) == len(said)
    assert [line for line, text in zip(lines, said, strict=True) if line not in text] == []


def test_an_agent_is_served_as_it_is_shown(tmp_path: Path) -> None:
    section = SECTIONS["A2A"].partition("### Serve an agent")[2]
    code, shown = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", section, re.DOTALL).groups()  # type: ignore[union-attr]
    assert run(code, tmp_path) == shown


SERVED = SECTIONS["MCP"].partition("### Serve your tools")[2].partition("\n### ")[0]


def test_tools_are_served_as_it_is_shown(tmp_path: Path) -> None:
    code, shown = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", SERVED, re.DOTALL).groups()  # type: ignore[union-attr]
    assert run(code, tmp_path) == shown


@pytest.mark.parametrize("way", ["stdio", "http"])
def test_a_command_that_serves_tools_does(way: str, tmp_path: Path) -> None:
    """Over stdio a client starts it, and ends it; over HTTP it says where it is, and a signal ends it."""
    (code,) = re.findall(r"```python\n(.*?)```", SERVED, re.DOTALL)
    (tmp_path / "desk.py").write_text(code, encoding="utf-8")
    lines = [line.removeprefix("$ ") for line in SERVED.splitlines() if line.startswith("$ ")]
    (words,) = (shlex.split(line)[1:] for line in lines if ("--http" in line) == (way == "http"))
    command = [sys.executable, "-m", "afk_es.cli", *(word.replace("127.0.0.1:8000", "127.0.0.1:0") for word in words)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "ALICE_TOKEN": "a-token-of-alice-s"}
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    asks = json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}) + "\n"
    with subprocess.Popen(
        command, cwd=tmp_path, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            if way == "http":
                assert process.stderr.readline().startswith("serving find_order, refund, clerk at http://127.0.0.1:")
                process.terminate()
            else:
                process.stdin.write(asks)
                process.stdin.flush()
                assert json.loads(process.stdout.readline())["result"]["serverInfo"]["name"] == "afk_es"
                process.stdin.close()
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()


CLIENTS = SECTIONS["MCP"].partition("### Tools of other servers")[2].partition("\n### ")[0]


def test_tools_of_other_servers_are_called_as_it_is_shown(tmp_path: Path) -> None:
    code, shown = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", CLIENTS, re.DOTALL).groups()  # type: ignore[union-attr]
    assert run(code, tmp_path) == shown


def test_a_config_file_is_listed_as_it_is_shown(tmp_path: Path) -> None:
    (text,) = re.findall(r"```console\n(.*?)```", CLIENTS, re.DOTALL)
    _cat, config, command, *shown = text.splitlines()
    (tmp_path / "mcp.json").write_text(config, encoding="utf-8")
    line = [sys.executable, "-m", "afk_es.cli", *shlex.split(command.removeprefix("$ "))[1:]]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.splitlines()) == (0, shown)


def test_a_remote_agent_is_shown_as_it_is(tmp_path: Path) -> None:
    section = SECTIONS["A2A"].partition("### A remote agent as a subagent")[2]
    code, shown = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", section, re.DOTALL).groups()  # type: ignore[union-attr]
    assert run(code, tmp_path) == shown
