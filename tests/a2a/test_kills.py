"""Goal: whoever is killed in the middle of a task between two of our agents, its effect takes place at most once, and the task comes to its end.

Method: as `tests/mcp/test_kills.py`: a shop and a clerk as processes, killed with SIGKILL at named places. What one side does alone is in
`server/test_killed.py` and `client/test_asked_again.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mcp.kills.scene import Scene, kill, told
from tests.support.zygote import Zygote, zygote

pytestmark = pytest.mark.kill

UNKNOWN = "unknown"


@pytest.fixture(scope="module")
def born() -> Iterator[Zygote]:
    """Where processes come from."""
    with zygote("tests.a2a.kills.shop", "tests.a2a.kills.preloaded") as one:
        yield one


@pytest.fixture
def scene(born: Zygote, tmp_path: Path) -> Iterator[Scene]:
    """A shop and a clerk."""
    yield Scene(born, tmp_path, "http", "tests.a2a.kills.shop")
    born.end_all()


DEATHS_OF_THE_SHOP = [
    ("after run_started", 1, "pay tea"),
    ("after tool_started", 0, UNKNOWN),
    ("before effect", 0, UNKNOWN),
    ("after effect", 1, UNKNOWN),
    ("before tool_completed", 1, UNKNOWN),
    ("after tool_completed", 1, "pay tea"),
    ("before run_completed", 1, "pay tea"),
    ("after run_completed", 1, "pay tea"),
]


@pytest.mark.parametrize(("place", "times", "text"), DEATHS_OF_THE_SHOP)
def test_the_shop_dies_and_the_clerk_asks_for_the_same_task(scene: Scene, place: str, times: int, text: str) -> None:
    """Its stream was cut in the middle; the next shop goes on with the task by itself."""
    shop = scene.shop(stop=place)
    clerk = scene.clerk("pay")
    shop.hear("at")
    kill(shop)
    scene.shop()
    ended = told(clerk)
    assert ended.state == "completed"
    assert text in ended.text
    assert len(scene.effects()) == times
    scene.check()


@pytest.mark.parametrize("place", ["after llm_called", "before llm_completed"])
def test_the_clerk_dies_and_finds_its_task_again(scene: Scene, place: str) -> None:
    """In its subagent's run: the message was not sent, or was answered and the answer is not in the log."""
    scene.shop()
    clerk = scene.clerk("pay", stop=f"{place} far")
    clerk.hear("at")
    kill(clerk)
    ended = told(scene.clerk("pay", resumes=True))
    assert "pay tea" in ended.text
    assert len(scene.effects()) == 1
    scene.check()


@pytest.mark.parametrize("place", ["before effect", "after effect"])
def test_the_clerk_dies_while_the_shop_works(scene: Scene, place: str) -> None:
    shop = scene.shop(stop=place)
    clerk = scene.clerk("pay")
    shop.hear("at")
    kill(clerk)
    again = scene.clerk("pay", resumes=True)
    again.hear("begun")
    scene.go()
    assert "pay tea" in told(again).text
    assert len(scene.effects()) == 1
    scene.check()


@pytest.mark.parametrize(
    ("place", "times", "text"), [("before effect", 0, UNKNOWN), ("after effect", 1, UNKNOWN), ("after tool_completed", 1, "pay tea")]
)
def test_both_die(scene: Scene, place: str, times: int, text: str) -> None:
    shop = scene.shop(stop=place)
    clerk = scene.clerk("pay")
    shop.hear("at")
    kill(clerk)
    kill(shop)
    scene.shop()
    ended = told(scene.clerk("pay", resumes=True))
    assert text in ended.text
    assert len(scene.effects()) == times
    scene.check()


def test_the_shop_stands_still_for_a_while(scene: Scene) -> None:
    """For longer than the clerk waits for one answer, and not for as long as it waits for the task."""
    shop = scene.shop(stop="before effect")
    clerk = scene.clerk("pay", timeout_s=0.5)
    shop.hear("at")
    shop.stop()
    scene.go()
    with pytest.raises(TimeoutError):
        clerk.hear_within(1.5, "result")
    shop.go_on()
    assert "pay tea" in told(clerk).text
    assert len(scene.effects()) == 1
    scene.check()
