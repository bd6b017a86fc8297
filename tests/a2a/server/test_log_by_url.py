"""Goal: agents are served from a log that is named by its URL; callbacks outlive a server there too, in a file that does not tell the URL."""

from __future__ import annotations

from pathlib import Path

import pytest
from a2a.types.a2a_pb2 import TaskPushNotificationConfig

from afk_es.a2a import A2AServer
from tests.a2a.server.asking import COMPLETED, INPUT_REQUIRED, URL, asker
from tests.a2a.server.test_push import listening, sent, server_of
from tests.a2a.server.test_questions import Shop

PASSWORD = "s3cret-pw"


def files_in(directory: Path) -> list[Path]:
    return [file for file in directory.rglob("*") if file.is_file()]


async def test_a_task_and_its_callback_are_gone_on_with_by_the_next_server(
    postgres_log: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("XDG_STATE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    log = postgres_log.replace("postgres@", f"postgres:{PASSWORD}@")
    shop = Shop()
    async with listening() as (listener, url):
        async with asker(server_of(shop, log)) as client:
            task = await sent(client, TaskPushNotificationConfig(url=url))
            assert task.status.state == INPUT_REQUIRED
            await listener.states("INPUT_REQUIRED")
        async with asker(A2AServer(shop.agent, log=log, url=URL, push=False)) as client:
            assert (await client.send("yes", "m2", task_id=task.id)).status.state == COMPLETED
        async with server_of(shop, log):
            assert (await listener.states("COMPLETED"))[-1] == "COMPLETED"
    (file,) = files_in(tmp_path)
    assert file.is_relative_to(tmp_path / "state")
    assert file.name.endswith("-push.db")
    assert PASSWORD not in str(file)
    assert PASSWORD.encode() not in file.read_bytes()
