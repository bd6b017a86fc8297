"""`afk-es queue`: tasks are pushed, looked at and seen to from a terminal; what they hold neither drives it nor gives secrets away."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from afk_es import PolicyEngine, PolicyRule, tool
from afk_es.cli import queue_acting
from afk_es.errors import ToolError
from afk_es.queues import TaskItem, TaskQueue, Worker
from tests.cli.conftest import Afk
from tests.security.hostile_log import SECRET, TERMINAL
from tests.security.test_terminal import obeyed_in

MODULE = '''
from afk_es import Agent, tool
from afk_es.errors import ToolError
from afk_es.queues import RunRequest, contract
from afk_es.testing import ScriptedModel

support = Agent(name="support", model=ScriptedModel(lambda request: "You said: " + request.messages[-1].content))

@tool
def double(number: int) -> int:
    """Double."""
    if number < 0:
        raise ToolError("too little")
    return 2 * number

@contract("greetings.v1")
def greeting(payload):
    return RunRequest(agent="support", user_message="Hello " + payload["name"])

several = [support, double]
def made():
    return support
_hidden = support
nothing = 7
'''

VIEWS = (("list",), ("show",), ("dead",), ("workers",), ("stats",))
FORMS = ("text", "json", "jsonl", "md")


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The path of a module with what workers need. What loading it leaves behind is put back."""
    path = tmp_path / "tasks_of_the_test.py"
    path.write_text(MODULE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield str(path)
    sys.modules.pop("tasks_of_the_test", None)


def pushed(afk: Afk, *words: str) -> str:
    """The id of a task that is pushed with these words."""
    result = afk("queue", "push", *words)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def shown(afk: Afk, task: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(afk("queue", "show", task, "--format", "json").stdout)
    assert found.pop("schema") == "afk_es.task/1"
    return found


@tool
def refuse(why: str) -> None:
    """Refuse."""
    raise ToolError(why)


def dead(log: Path, why: str) -> str:
    """The id of a task that died of this."""

    async def die() -> str:
        async with TaskQueue(log, handlers=[refuse]) as queue, Worker(queue):
            item = await queue.push_job("refuse", {"why": why})
            async for _item in queue.watch(item.id):
                pass
            return item.id

    return asyncio.run(die())


def test_a_chat_a_job_and_a_contract_are_pushed(afk: Afk, tasks: str) -> None:
    chat = pushed(afk, "--agent", "support", "--message", "Hi", "--thread", "t", "--context", '{"user_id": "ann"}', "--priority", "3")
    job = pushed(afk, "--handler", "double", "--payload", '{"number": 4}', "--queue", "mail", "--delay", "1h30m", "--key", "k")
    own = pushed(afk, "greetings.v1", "--payload", '{"name": "Ann"}', "--module", tasks, "--max-attempts", "2", "--lane", "l")
    found = shown(afk, chat)
    assert found["payload"] == {"agent": "support", "user_message": "Hi", "context": {"user_id": "ann"}, "thread_id": "t"}
    assert (found["state"], found["priority"], found["lane"]) == ("queued", 3, "t")
    found = shown(afk, job)
    assert (found["contract"], found["queue"], found["key"]) == ("job.dispatch.v1", "mail", "k")
    assert found["not_before"] > found["created_at"]
    found = shown(afk, own)
    assert (found["contract"], found["max_attempts"], found["lane"]) == ("greetings.v1", 2, "l")
    assert pushed(afk, "--handler", "double", "--payload", '{"number": 4}', "--queue", "mail", "--key", "k") == job
    listed = json.loads(afk("queue", "list", "--format", "json").stdout)
    assert [task["id"] for task in listed["tasks"]] == [own, job, chat]
    assert [json.loads(line)["id"] for line in afk("queue", "list", "--queue", "mail", "--format", "jsonl").stdout.splitlines()] == [job]
    told = json.loads(afk("queue", "push", "--agent", "support", "--format", "json").stdout)
    assert (told["schema"], told["state"]) == ("afk_es.task_pushed/1", "queued")


def test_a_message_and_a_payload_come_from_stdin(afk: Afk) -> None:
    result = afk("queue", "push", "--agent", "support", "--message", "-", input="Hello\n")
    assert shown(afk, result.stdout.strip())["payload"]["user_message"] == "Hello\n"
    result = afk("queue", "push", "--handler", "double", "--payload", "-", input='{"number": 1}')
    assert shown(afk, result.stdout.strip())["payload"]["payload"] == {"number": 1}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "say what is to be done"),
        (("a.v1", "--agent", "x"), "say what is to be done"),
        (("--agent", "x", "--payload", "{}"), "--payload goes with"),
        (("--handler", "x", "--message", "m"), "go with --agent"),
        (("none.v1",), "--module says where yours are"),
        (("--handler", "x", "--payload", "[1]"), "--payload is one JSON object"),
        (("--handler", "x", "--payload", "{"), "--payload is one JSON object"),
        (("--agent", "x", "--context", "7"), "--context is one JSON object"),
        (("--agent", "x", "--delay", "soon"), "--delay is a length of time"),
        (("--agent", "x", "--delay", "-5m"), "--delay is a length of time"),
        (("--agent", "x", "--delay", "99999w"), "delay_s"),
        (("--agent", "x", "--at", "tomorrow"), "--at is a time"),
        (("--agent", "x", "--at", "2026-12-24T18:00"), "needs a time zone"),
        (("--agent", "x", "--at", "2026-12-24"), "such as 2026-12-24T00:00+01:00"),
        (("--agent", "x", "--at", "2026-12-24T18:00Z", "--delay", "1m"), "leave one of them out"),
        (("--agent", "x", "--queue", "a b"), "a queue is named"),
        (("--agent", "x", "--priority", "99999999999"), "32 bits"),
        (("--agent", "x", "--key", ""), "key"),
        (("--agent", "x", "--max-attempts", "0"), "max_attempts"),
        (("--agent", "x", "--module", "no_such_module"), "no module 'no_such_module'"),
    ],
)
def test_what_cannot_be_is_wrong_usage_and_makes_no_log(afk: Afk, log: Path, words: tuple[str, ...], says: str) -> None:
    result = afk("queue", "push", *words)
    assert result.exit_code == 2, result.output
    assert says in result.stderr
    assert not log.exists()


def test_what_a_module_has_is_checked_where_it_is_pushed(afk: Afk, log: Path, tasks: str) -> None:
    for words, says in (
        (("--handler", "double", "--payload", '{"number": "x"}'), "number"),
        (("greetings.v1", "--payload", "{}"), "does not fit greetings.v1"),
    ):
        result = afk("queue", "push", *words, "--module", tasks)
        assert (result.exit_code, says in result.stderr) == (2, True), result.stderr
    assert not log.exists()
    assert pushed(afk, "--handler", "double", "--payload", '{"number": 1}', "--module", f"{tasks}:several")
    for target, says in ((f"{tasks}:nothing", "int in it"), (f"{tasks}:none", "has no 'none'"), ("json", "has no agent, tool, contract")):
        result = afk("queue", "push", "--agent", "x", "--module", target)
        assert (result.exit_code, says in result.stderr) == (2, True), result.stderr


def test_a_run_that_is_queued_says_that_nothing_was_done_yet(afk: Afk, tasks: str) -> None:
    task = pushed(afk, "--handler", "double", "--payload", '{"number": 1}', "--module", tasks)
    assert "interrupted before its first step, and can be resumed: queued in default" in afk("show", task).stdout
    assert "laid down before its first step, and can be resumed: queued in default" in afk("triage", task).stdout
    assert "steps 0 of 1 000 000" in afk("show", task).stdout


def test_a_log_without_tasks_is_left_as_it_is(afk: Afk, ran: Callable[..., str], log: Path) -> None:
    for view in VIEWS:
        result = afk("queue", *view)
        assert (result.exit_code, "there is no log" in result.stderr) == (3, True)
    assert not log.exists()
    ran()
    before = log.read_bytes()
    for view in VIEWS:
        assert afk("queue", *view).exit_code == (3 if view == ("show",) else 0), view
    assert afk("queue", "retry", "--all").exit_code == 0
    assert afk("queue", "cancel", "x").exit_code == 3
    assert log.read_bytes() == before
    assert afk("--db", ":memory:", "queue", "list").exit_code == 2


def test_a_task_is_named_by_a_beginning_of_its_id(afk: Afk) -> None:
    one, other = pushed(afk, "--agent", "a"), pushed(afk, "--agent", "b")
    same = 0
    while one[same] == other[same]:
        same += 1
    assert shown(afk, one[: same + 1])["id"] == one
    assert shown(afk, one.removeprefix("task_"))["id"] == one
    assert shown(afk, "@last")["id"] == other
    result = afk("queue", "show", one[:same])
    assert (result.exit_code, "beginning of several tasks" in result.stderr) == (2, True)
    for name in ("task_x", "x\0y", "%"):
        result = afk("queue", "show", name)
        assert (result.exit_code, "has no task" in result.stderr) == (3, True), result.output


def test_dead_letters_say_why_and_how_to_go_on(afk: Afk, log: Path) -> None:
    task = dead(log, "paid already")
    told = afk("queue", "dead").stdout
    assert "paid already" in told
    for command in (f"afk-es debug {task}", f"afk-es queue retry {task}", f"afk-es queue discard {task}"):
        assert command in told
    assert json.loads(afk("queue", "dead", "--format", "json").stdout)["tasks"][0]["error_type"] == "ToolFailed"
    assert "queued again" in afk("queue", "retry", task).stdout
    result = afk("queue", "retry", task)
    assert (result.exit_code, "only a dead task is retried" in result.stderr) == (2, True)
    assert afk("queue", "dead").stdout == ""
    other = dead(log, "no")
    assert afk("queue", "retry", "--all", "--queue", "other").stdout == ""
    told = json.loads(afk("queue", "discard", "--all", "--format", "json").stdout)
    assert sorted(each["task"] for each in told["changed"]) == sorted([task, other]), "the worker had taken up the first as well"
    assert afk("queue", "show", other).exit_code == 3
    assert afk("show", other).exit_code == 0, "its run is still in the log"


def test_what_ended_long_ago_is_purged_and_its_run_stays(afk: Afk, log: Path) -> None:
    task = dead(log, "no")
    cancelled = afk("queue", "push", "--agent", "nobody", "--message", "Hi").stdout.strip()
    afk("queue", "cancel", cancelled)
    assert afk("queue", "purge", "--older-than", "1h").stdout == "0 tasks purged\n"
    assert afk("queue", "purge", "--older-than", "soon").exit_code == 2
    assert json.loads(afk("queue", "purge", "--older-than", "0s", "--format", "json").stdout)["purged"] == 1
    assert afk("queue", "show", cancelled).exit_code == 3
    assert afk("queue", "show", task).exit_code == 0, "who is dead waits for an operator"


def test_what_the_module_does_not_know_is_not_pushed(afk: Afk, log: Path, tmp_path: Path) -> None:
    module = tmp_path / "shop.py"
    module.write_text("from afk_es import tool\n\n\n@tool\ndef refund(order: str) -> str:\n    return order\n")
    for words in (("--handler", "refnd", "--payload", '{"order": "7"}'), ("--agent", "supprt", "--message", "Hi")):
        result = afk("queue", "push", *words, "--module", str(module))
        assert (result.exit_code, words[1] in result.stderr) == (2, True), result.output
    assert afk("queue", "push", "--handler", "refund", "--payload", '{"order": "7"}', "--module", str(module)).exit_code == 0


def test_who_approves_a_task_is_told_that_a_worker_goes_on(afk: Afk, log: Path) -> None:
    """To resume it by hand would be to run it with whatever policies that module has."""

    async def waiting() -> str:
        ask = PolicyEngine([PolicyRule(action="request_approval", condition=lambda event: event.tool_name == "refuse")])
        async with TaskQueue(log, handlers=[refuse]) as queue, Worker(queue, policy_engine=ask):
            item = await queue.push_job("refuse", {"why": "why"})
            async for seen in queue.watch(item.id):
                if seen.state == "waiting":
                    break
            return item.id

    task = asyncio.run(waiting())
    told = afk("queue", "show", task).stdout
    assert "why        waits for an answer" in told
    assert "error" not in told
    done = afk("approve", task)
    assert done.exit_code == 0
    assert "it is a task of the queue, and goes on by a worker, which is `afk-es worker` on this log" in done.stderr
    assert "resume" not in done.stderr


def test_all_and_names_are_not_said_together(afk: Afk, log: Path) -> None:
    dead(log, "no")
    for words in (("retry",), ("retry", "@last", "--all"), ("discard",), ("discard", "@last", "--queue", "x")):
        assert afk("queue", *words).exit_code == 2


def test_each_dead_task_is_retried_once_even_where_it_dies_again_at_once(afk: Afk, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page at a time, and with a worker that is quicker than whoever retries."""
    tasks = [dead(log, f"no {number}") for number in range(3)]
    monkeypatch.setattr(queue_acting, "_PAGE", 2)
    retry = TaskQueue.retry

    async def retried_and_dead(queue: TaskQueue, task_id: str) -> TaskItem:
        item = await retry(queue, task_id)
        begun = await queue.records.begin(task_id, "w", item.updated_at)
        assert begun is not None
        await queue.records.bury(task_id, begun.attempt, "no", None)
        return item

    monkeypatch.setattr(TaskQueue, "retry", retried_and_dead)
    changed = json.loads(afk("queue", "retry", "--all", "--format", "json").stdout)["changed"]
    assert [each["task"] for each in changed] == tasks[::-1]


def test_a_task_is_cancelled(afk: Afk) -> None:
    task = pushed(afk, "--agent", "a")
    assert afk("queue", "cancel", task, "--reason", "not needed").stdout == f"{task} cancelled\n"
    assert shown(afk, task)["state"] == "cancelled"
    assert json.loads(afk("queue", "stats", "--format", "jsonl").stdout)["cancelled"] == 1


@pytest.mark.parametrize("form", FORMS)
def test_nothing_in_a_task_drives_a_terminal(afk: Afk, log: Path, form: str) -> None:
    pushed(afk, "--agent", TERMINAL, "--message", TERMINAL, "--key", TERMINAL, "--lane", TERMINAL)
    dead(log, TERMINAL)
    for view in (*VIEWS, ("show", "@last")):
        result = afk("queue", *view, "--format", form)
        assert result.exit_code == 0, result.output
        assert obeyed_in(result.output) is None


@pytest.mark.parametrize("form", FORMS)
def test_secrets_in_tasks_are_kept_back(afk: Afk, log: Path, form: str) -> None:
    first = pushed(afk, "--agent", "a", "--message", SECRET, "--context", json.dumps({"password": "hunter2hunter2"}), "--key", SECRET)
    second = dead(log, SECRET)
    for view in (("list",), ("show", first), ("show", second), ("dead",)):
        told = afk("queue", *view, "--format", form).output
        assert not [secret for secret in ("PLANTED0123", "hunter2hunter2") if secret in told], (view, told)
    assert "PLANTED0123" in afk("queue", "show", first, "--show-secrets", "--format", form).output


def test_doctor_tells_of_tasks_where_there_are_any(afk: Afk, log: Path, ran: Callable[..., str]) -> None:
    ran()
    assert "queue" not in {finding["name"] for finding in json.loads(afk("doctor", "--format", "json").stdout)["findings"]}
    pushed(afk, "--agent", "a")
    found = {finding["name"]: finding for finding in json.loads(afk("doctor", "--format", "json").stdout)["findings"]}
    assert (found["queue"]["standing"], found["queue"]["said"]) == ("ok", "1 queued, 0 running, 0 waiting, 0 dead")
    dead(log, "no")
    found = {finding["name"]: finding for finding in json.loads(afk("doctor", "--format", "json").stdout)["findings"]}
    assert found["queue"]["standing"] == "note"
    assert "afk-es queue dead" in found["queue"]["way_out"]
    assert found["workers"]["said"].startswith("0 here")


def test_on_postgresql_it_is_the_same_and_the_password_is_shown_nowhere(afk: Afk, postgres_log: str) -> None:
    where = ("--db", postgres_log.replace("postgres@", "postgres:s3cret-pw@"))
    told = [afk("queue", "push", "--agent", "a", "--message", "Hi", *where)]
    task = told[0].stdout.strip()
    told += [afk("queue", *view, *where) for view in (("list",), ("show", task), ("stats",), ("workers",), ("dead",), ("cancel", task))]
    told.append(afk("queue", "list", "--format", "json", *where))
    assert [result.exit_code for result in told] == [0] * len(told), [result.output for result in told]
    assert [each["state"] for each in json.loads(told[-1].stdout)["tasks"]] == ["cancelled"]
    told.append(afk("doctor", "--format", "json", *where))
    assert {"queue", "workers"} <= {finding["name"] for finding in json.loads(told[-1].stdout)["findings"]}
    assert not [result for result in told if "s3cret-pw" in result.output]
