"""The demo keeps its word: a real kill, a refund in doubt that is not repeated, a log that verifies, commands that work."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from afk_es.cli.demo_shop import Shop
from afk_es.views import columns
from tests.cli.conftest import ROOT, Afk

pytestmark = pytest.mark.kill


def _afk(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process that has no terminal, no key, no network proxy, and a home of its own."""
    env = {"PYTHONPATH": str(ROOT), "HOME": str(home), "PATH": os.environ["PATH"], **environment}
    command = [sys.executable, "-m", "afk_es.cli", *arguments]
    return subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home directory in which the demo was shown once, as text."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def shown(home: Path) -> str:
    """The demo's screen."""
    done = _afk("demo", home=home)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Another demo, as JSON."""
    home = tmp_path_factory.mktemp("elsewhere")
    done = _afk("demo", "--dir", str(home / "demo"), "--format", "json", home=home)
    assert done.returncode == 0, done.stderr
    data: dict[str, Any] = json.loads(done.stdout)
    return data


def test_the_screen_fits_a_small_terminal_with_the_prompt_below_it(shown: str) -> None:
    lines = shown.splitlines()
    assert len(lines) <= 22
    # The commands are as long as the way to the program and the log is.
    assert max(columns(line) for line in lines[:-5]) <= 80
    assert "\x1b" not in shown


def test_the_screen_tells_what_happened(shown: str) -> None:
    assert re.search(r"track_parcel +ConnectionResetError, tried again after 0\.\d s", shown)
    assert "denied by refunds-above-100" in shown
    assert re.search(r"SIGKILL ━━ process \d+ is dead \(code -9\)", shown)
    assert "Did anything run twice? No: 1 refund in shop.db." in shown
    assert "issue_refund    1/0/0  1 denied, 1 unknown" in shown
    assert "Is the log sound? Yes" in shown


def test_every_command_on_the_screen_works_when_pasted(shown: str, home: Path) -> None:
    commands = [line for line in shown.splitlines() if " -m afk_es.cli " in line]
    assert [shlex.split(command)[3] for command in commands] == ["runs", "log", "show", "verify", "resume"]
    env = {"PYTHONPATH": str(ROOT), "HOME": str(home), "PATH": os.environ["PATH"]}
    for command in commands:
        done = subprocess.run(command, shell=True, cwd="/", env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (command, done.stderr)
        assert done.stdout


def test_the_request_it_points_to_is_where_the_model_learns_of_the_doubt(shown: str, home: Path) -> None:
    found = re.search(r"--at (\d+)", shown)
    assert found is not None
    log = home / ".local/state/afk_es/demo-1/log.db"
    request = json.loads(_afk("show", str(log), "--at", found[1], "--format", "json", home=home).stdout)["request"]
    assert "outcome of this call is unknown" in request["messages"][-1]["content"]
    assert request["proved"] is True


def test_the_process_was_killed_between_the_commit_and_the_return(story: dict[str, Any]) -> None:
    assert story["returncode"] == -9
    assert story["killed_pid"] != story["resumed_by"]
    last_words = story["events"][story["killed_at"] - 1]
    assert (last_words["type"], last_words["data"]["tool_name"]) == ("tool_started", "issue_refund")
    assert [event["type"] for event in story["events"][story["killed_at"] :]][:3] == ["run_started", "effect_in_doubt", "tool_completed"]


def test_the_refund_was_made_once_by_the_shop_s_own_books(story: dict[str, Any]) -> None:
    shop = Shop(Path(story["shop"]))
    assert [refund["amount"] for refund in shop.refunds("A-1042")] == [79.0]
    assert (story["refunds"], story["notifications"], story["state"]) == (1, 1, "completed")
    assert story["verified"]["problems"] == []


def test_each_demo_has_a_directory_of_its_own(shown: str, home: Path) -> None:
    assert _afk("demo", home=home).returncode == 0
    assert sorted(path.name for path in (home / ".local/state/afk_es").iterdir()) == ["demo-1", "demo-2"]


def test_a_home_that_cannot_be_written_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the state directory should be")
    done = _afk("demo", home=tmp_path, XDG_STATE_HOME=str(tmp_path / "state"), TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("afk-es-demo-*/log.db"))


def test_a_given_directory_is_used_again_and_kept_if_asked(tmp_path: Path) -> None:
    def runs(*options: str) -> int:
        assert _afk("demo", "--dir", "d", *options, home=tmp_path).returncode == 0
        listed = _afk("runs", "--db", "d/log.db", "--format", "json", home=tmp_path)
        return len(json.loads(listed.stdout)["runs"])

    assert [runs(), runs("--keep"), runs()] == [1, 2, 1]


def test_files_that_no_demo_made_are_left_alone(tmp_path: Path, afk: Afk) -> None:
    (tmp_path / "log.db").write_text("precious")
    result = afk("demo", "--dir", str(tmp_path))
    assert result.exit_code == 2
    assert "that no demo made" in result.stderr
    assert (tmp_path / "log.db").read_text() == "precious"


@pytest.mark.parametrize("options", [("--keep",), ("--db", "x.db")])
def test_options_that_make_no_sense_are_wrong_usage(options: tuple[str, ...], afk: Afk) -> None:
    assert afk("demo", *options).exit_code == 2


def test_a_child_that_fails_is_shown_with_its_words(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nif 'afk_es.cli.demo_child' in ' '.join(sys.orig_argv): sys.exit('broken here')")
    done = _afk("demo", "--dir", "d", home=tmp_path, PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path}")
    assert done.returncode == 1
    assert "before it came to the refund" in done.stderr
    assert "Traceback" not in done.stderr.partition("before it came")[0]


def test_the_agent_can_be_run_without_the_demo(afk: Afk, tmp_path: Path) -> None:
    """It is an example, so it must work as one: with a shop, without one, and with words it does not understand."""
    shop = Shop(tmp_path / "shop.db")
    shop.create()
    target, message = "afk_es.cli.demo_agent:agent", "Order A-1042 is broken, ada@example.com"
    result = afk("run", target, message, "--context", json.dumps({"shop": str(shop.path)}))
    assert result.stdout == "Refunded 79.00 USD for the broken desk lamp.\n"
    assert (shop.count("refunds"), shop.count("notifications")) == (1, 1)
    assert "could not find" in afk("run", target, message).stdout
    assert "the number of your order" in afk("run", target, "hello").stdout
    wrong = "Order A-9999 is broken, nobody@example.com"
    assert "could not find" in afk("run", target, wrong, "--context", json.dumps({"shop": str(shop.path)})).stdout
