"""Names that a log holds never choose where we write, and no name leads out of where it belongs."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from afk_es.cli import main
from tests.support.stories import Stories

NAMES = {
    "upwards": "../../x",
    "absolute": "/tmp/afk_es_of_somebody",
    "backwards": "..\\..\\x",
    "here": ".",
    "above": "..",
    "a device": "con",
    "NUL": "a\0b",
    "very long": "x" * 5_000,
    "home": "~root/x",
    "an option": "--force",
    "a command": "$(touch owned); `touch owned`\ntouch owned",
    "code": '"""\nopen("owned", "w")\n"""',
    "hidden": ".bashrc",
    "nothing but signs": "///",
    "letters of others": "имя/../файл",
}


class Place:
    """A directory in a directory in a directory, and all that lies around it."""

    def __init__(self, root: Path, stories: Stories) -> None:
        self._root = root
        self.here = root / "a" / "b" / "here"
        self.here.mkdir(parents=True)
        self.log = root / "log.db"
        shutil.copy(stories.log, self.log)

    def renamed(self, name: str, column: str = "run_id") -> None:
        """Give the run that is looked at this id, or this thread."""
        connection = sqlite3.connect(self.log)
        for (trigger,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute(f"UPDATE runs SET {column} = ? WHERE run_id = 'run_complete'", (name,))
        connection.commit()
        connection.close()

    def call(self, *words: str) -> Result:
        """Call a verb from here."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.here)
            result = CliRunner(env={"AFK_ES_LOG": str(self.log), "HOME": str(self._root / "home")}).invoke(main, words)
        assert result.exception is None or isinstance(result.exception, SystemExit), (words, result.exc_info)
        return result

    def outside(self) -> set[str]:
        """What lies around the directory, and does not belong there."""
        found = {str(path.relative_to(self._root)) for path in self._root.rglob("*") if not path.is_relative_to(self.here)}
        return found - {"a", "a/b", "log.db", "log.db-wal", "log.db-shm", "home"}

    def inside(self) -> list[str]:
        """What was made here."""
        return [path.name for path in self.here.rglob("*") if path.is_file()]


@pytest.fixture
def place(tmp_path: Path, stories: Stories) -> Place:
    return Place(tmp_path, stories)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_runs_id_chooses_no_place(name: str, place: Place) -> None:
    """What is named after a run stands here, under a name without a sign that means anything."""
    place.renamed(name)
    done = 0
    for form in ("db", "golden", "pytest"):
        done += place.call("export", "@last", "--to", form).exit_code == 0
    for form in ("html", "jsonl"):
        place.call("export", "@last", "--to", form, "-o", f"out.{form}")
    place.call("golden", "record", "@last")
    assert done or name == NAMES["very long"]
    assert place.outside() == set()
    assert not [found for found in place.inside() if not set(found) <= set("_-.") | {each for each in found if each.isalnum()}]
    assert "owned" not in place.inside()


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_goldens_name_chooses_no_place(name: str, place: Place) -> None:
    for words in (("golden", "record", "@last", "--name", name), ("golden", "record", "@last", f"--name={name}", "--dir", "goldens")):
        place.call(*words)
    assert place.outside() == set()


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_the_name_in_a_goldens_first_line_chooses_no_place(name: str, place: Place) -> None:
    """It is rewritten where it lies, whatever it calls itself, its runs and its agent."""
    import msgspec

    made = place.call("golden", "record", "run_failing", "--name", "g", "--mode", "contract")
    file = place.here / "goldens" / "g.golden.jsonl"
    if not file.exists():
        made = place.call("export", "run_failing", "--to", "golden", "-o", str(file))
        assert made.exit_code == 0, made.output
    first, *rest = file.read_bytes().splitlines(keepends=True)
    header = msgspec.json.decode(first)
    header["name"], header["agent"] = name, f"{name}:agent"
    file.write_bytes(msgspec.json.encode(header) + b"\n" + b"".join(rest))
    for words in (("check",), ("update", "--accept", "representation,behaviour,new,unused"), ("list",), ("check", "--report", "r.json")):
        place.call("golden", *words)
    place.call("import", str(file), "--db", str(place.here / "new.db"))
    assert place.outside() == set()
    assert "owned" not in place.inside()


EVIL = "open({place!r}, 'w').close()\nfrom afk_es import Agent\nagent = Agent(name='a', model='m')\ndef make(): return agent\n"


@pytest.mark.parametrize(
    "way",
    [
        "a file elsewhere",
        "a file above",
        "a module elsewhere",
        "a link",
        "a function of the library",
        "a function of the interpreter",
        "the program itself",
        "what a module imported",
    ],
)
def test_code_is_not_run_because_a_golden_names_it(way: str, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what lies below the working directory is imported on a golden's word; whoever wants other code says --agent."""
    import msgspec

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    owned = tmp_path / "elsewhere" / "owned"
    (elsewhere / "evil_of_security.py").write_text(EVIL.format(place=str(owned)))
    (place.here / "good_of_security.py").write_text("import os, shutil\n")
    reference = {
        "a file elsewhere": f"{elsewhere}/evil_of_security.py:agent",
        "a file above": "../../../elsewhere/evil_of_security.py:agent",
        "a module elsewhere": "evil_of_security:agent",
        "a link": "linked.py:agent",
        "a function of the library": "os:getcwd",
        # Frozen: its origin is a word that, taken for a path, would lie in the working directory.
        "a function of the interpreter": "__hello__:main",
        "the program itself": "__main__:main",
        "what a module imported": "good_of_security:os.getcwd",
    }[way]
    (place.here / "linked.py").symlink_to(elsewhere / "evil_of_security.py")
    monkeypatch.syspath_prepend(str(elsewhere))
    file = place.here / "goldens" / "g.golden.jsonl"
    assert place.call("export", "run_failing", "--to", "golden", "-o", str(file)).exit_code == 0
    first, *rest = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(msgspec.json.encode({**msgspec.json.decode(first), "agent": reference}) + b"\n" + b"".join(rest))
    for verb in (("check",), ("review",), ("update", "--accept", "representation")):
        result = place.call("golden", *verb)
        assert result.exit_code != 0
        assert "--agent" in result.output.replace("\n", " ")
    assert not owned.exists()
