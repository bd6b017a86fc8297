"""Goal: the ready-made tools do what they say, within bounds, and tell a model in words what they will not do. Escapes: test_scoped.py."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from afk_es.errors import ConfigurationError
from afk_es.tools import Tool, ToolResult, filesystem_tools

READERS = ["list_directory", "read_file", "find_files", "search_text"]
WRITERS = ["write_file", "edit_file", "make_directory"]


class Desk:
    """The tools over a directory, called as a run calls them."""

    def __init__(self, root: Path, **options: Any) -> None:
        self.root = root
        self.tools: dict[str, Tool[..., Any]] = {each.name: each for each in filesystem_tools(root, **options)}

    async def ask(self, name: str, **arguments: Any) -> Any:
        """The output."""
        result = await self.tools[name].call(arguments)
        assert isinstance(result, ToolResult)
        assert result.success, result.error
        return result.output

    async def refusal(self, name: str, **arguments: Any) -> str:
        """What the model is told of a call that fails."""
        result = await self.tools[name].call(arguments)
        assert isinstance(result, ToolResult)
        assert not result.success
        return result.error or ""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    root = tmp_path / "root"
    (root / "src" / "deep").mkdir(parents=True)
    (root / "notes.md").write_text("# Notes\nship on Friday\n")
    (root / "src" / "shop.py").write_text("def refund():\n    return 80\n")
    (root / "src" / "deep" / "tax.py").write_text("RATE = 0.19\n")
    (root / "logo.png").write_bytes(b"\x89PNG\0\0")
    (root / ".env").write_text("KEY=1\n")
    (root / "out").symlink_to(tmp_path)
    return Desk(root, writable=True, deletable=True)


def test_what_may_be_done_is_what_was_asked_for(tmp_path: Path) -> None:
    assert list(Desk(tmp_path).tools) == READERS
    assert list(Desk(tmp_path, writable=True).tools) == READERS + WRITERS
    assert list(Desk(tmp_path, deletable=True).tools) == [*READERS, "delete_file"]
    assert list(Desk(tmp_path, prefix="docs_").tools) == [f"docs_{name}" for name in READERS]


def test_the_hints_say_what_recovery_and_forks_may_repeat(desk: Desk) -> None:
    hints = {name: (each.read_only, each.idempotent, each.destructive, each.open_world) for name, each in desk.tools.items()}
    assert hints == {
        **dict.fromkeys(READERS, (True, False, None, False)),
        "write_file": (False, True, True, False),
        "edit_file": (False, False, True, False),
        "make_directory": (False, True, False, False),
        "delete_file": (False, False, True, False),
    }


def test_file_work_is_done_in_threads(desk: Desk) -> None:
    assert not any(inspect.iscoroutinefunction(each.function) or each.signature.is_async for each in desk.tools.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [({"max_bytes": 0}, "max_bytes must be at least 1"), ({"max_results": 0}, "max_results"), ({"prefix": "a b"}, "tool name")],
)
def test_what_cannot_work_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        filesystem_tools(tmp_path, **options)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        filesystem_tools(tmp_path / "nowhere")


# ---------------------------------------------------------------------------------------------------------------------------- readers


async def test_listing(desk: Desk) -> None:
    listed = await desk.ask("list_directory")
    assert {"name": "notes.md", "kind": "file", "size": 23} in listed["entries"]
    assert {"name": "out", "kind": "link"} in listed["entries"]
    assert {"name": "src", "kind": "directory"} in listed["entries"]
    assert listed["more"] is False
    assert (await Desk(desk.root, max_results=2).ask("list_directory"))["more"] is True


async def test_reading(desk: Desk) -> None:
    assert await desk.ask("read_file", path="notes.md") == "# Notes\nship on Friday\n"
    assert await desk.ask("read_file", path="notes.md", limit=1) == "# Notes\n[more lines follow; continue with offset=2]"
    assert await desk.ask("read_file", path="notes.md", offset=2) == "ship on Friday\n"
    assert "not a text file" in await desk.refusal("read_file", path="logo.png")
    assert "offset" in await desk.refusal("read_file", path="notes.md", offset=0)
    assert "there is no 'nope' here" in await desk.refusal("read_file", path="nope")


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "out/secret", "out", "a\0b"])
async def test_escapes_are_told_to_the_model_and_name_nothing_outside(desk: Desk, path: str) -> None:
    for name in ("read_file", "list_directory"):
        told = await desk.refusal(name, path=path)
        assert str(desk.root) not in told
        assert any(reason in told for reason in ("'..'", "absolute", "links are not followed", "NUL"))


async def test_finding(desk: Desk) -> None:
    assert await desk.ask("find_files", pattern="**/*.py") == {"paths": ["src/deep/tax.py", "src/shop.py"], "more": False}
    assert await desk.ask("find_files", pattern="*") == {"paths": ["logo.png", "notes.md"], "more": False}
    assert await desk.ask("find_files", pattern=".e*") == {"paths": [".env"], "more": False}
    few = Desk(desk.root, max_results=1)
    assert await few.ask("find_files", pattern="**/*.py") == {"paths": ["src/deep/tax.py"], "more": True}


async def test_searching(desk: Desk) -> None:
    found = await desk.ask("search_text", query="return 8")
    assert found == {"matches": [{"path": "src/shop.py", "line": 2, "text": "    return 80"}], "skipped_files": 1, "more": False}
    assert (await desk.ask("search_text", query="FRIDAY"))["matches"] == []
    assert (await desk.ask("search_text", query="FRIDAY", ignore_case=True))["matches"][0]["line"] == 2
    assert (await desk.ask("search_text", query="KEY"))["matches"] == []
    assert (await desk.ask("search_text", query="KEY", pattern=".env"))["matches"][0]["path"] == ".env"
    assert (await desk.ask("search_text", query="e", pattern="src/*.py"))["matches"][0]["path"] == "src/shop.py"
    assert (await Desk(desk.root, max_results=1).ask("search_text", query="e"))["more"] is True
    assert (await Desk(desk.root, max_bytes=20).ask("search_text", query="ship"))["skipped_files"] == 3


async def test_searching_by_expression(desk: Desk) -> None:
    assert (await desk.ask("search_text", query=r"^RATE = \d\.\d+$", regex=True))["matches"][0]["path"] == "src/deep/tax.py"
    assert (await desk.ask("search_text", query=r"^rate", regex=True, ignore_case=True))["matches"][0]["line"] == 1
    for query in ("(", "(?<=a)b", r"(a)\1", "((a{1000}){1000}){100}"):
        assert "is not a regular expression here" in await desk.refusal("search_text", query=query, regex=True)


@pytest.mark.timeout(30)
async def test_no_expression_is_catastrophic(desk: Desk) -> None:
    (desk.root / "long.txt").write_text("a" * 200_000)
    assert (await desk.ask("search_text", query="(a+)+$b", regex=True))["matches"] == []
    assert (await desk.ask("search_text", query="(a|a)*c", regex=True))["matches"] == []


@pytest.mark.parametrize("query", ["", "a\nb", "x" * 501])
async def test_queries_that_find_nothing_are_refused(desk: Desk, query: str) -> None:
    assert "the query must be" in await desk.refusal("search_text", query=query)


async def test_a_long_line_is_shown_around_what_was_found(desk: Desk) -> None:
    (desk.root / "long.txt").write_text("a" * 5_000 + "needle" + "b" * 5_000)
    (match,) = (await desk.ask("search_text", query="needle"))["matches"]
    assert "needle" in match["text"]
    assert len(match["text"]) <= 242


async def test_a_search_looks_through_so_much_and_no_more(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("afk_es.tools.filesystem.MAX_SEARCHED_BYTES", 10)
    assert await desk.ask("search_text", query="refund") == {"matches": [], "skipped_files": 1, "more": True}


# ---------------------------------------------------------------------------------------------------------------------------- writers


async def test_writing(desk: Desk) -> None:
    assert await desk.ask("write_file", path="new.txt", content="härzlich\n") == "wrote new.txt"
    assert await desk.ask("write_file", path="new.txt", content="again") == "replaced new.txt"
    assert (desk.root / "new.txt").read_text() == "again"
    assert "make it first" in await desk.refusal("write_file", path="a/b.txt", content="")
    assert await desk.ask("make_directory", path="a/b") == "made a/b"
    assert await desk.ask("make_directory", path="a/b") == "it was there already: a/b"
    assert "is a directory" in await desk.refusal("write_file", path="a/b", content="")
    assert "links are not followed" in await desk.refusal("write_file", path="out/new.txt", content="")
    assert not (desk.root.parent / "new.txt").exists()
    small = Desk(desk.root, writable=True, max_bytes=3)
    assert "4 bytes, which is more than the 3" in await small.refusal("write_file", path="new.txt", content="ää")


async def test_editing_replaces_exactly_what_stands_there_once(desk: Desk) -> None:
    assert await desk.ask("edit_file", path="notes.md", old="Friday", new="Monday") == "replaced 1 place in notes.md"
    assert (desk.root / "notes.md").read_text() == "# Notes\nship on Monday\n"
    assert "does not stand in" in await desk.refusal("edit_file", path="notes.md", old="Friday", new="x")
    assert "3 times; give more" in await desk.refusal("edit_file", path="notes.md", old="o", new="0")
    assert await desk.ask("edit_file", path="notes.md", old="o", new="0", replace_all=True) == "replaced 3 places in notes.md"
    assert "at least 1 character" in await desk.refusal("edit_file", path="notes.md", old="", new="x")
    assert "not a text file" in await desk.refusal("edit_file", path="logo.png", old="P", new="x")


async def test_editing_keeps_the_line_ends_of_the_file(desk: Desk) -> None:
    (desk.root / "dos.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    await desk.ask("edit_file", path="dos.txt", old="one\ntwo", new="1\n2")
    assert (desk.root / "dos.txt").read_bytes() == b"\xef\xbb\xbf1\r\n2\r\n"


async def test_deleting(desk: Desk) -> None:
    assert await desk.ask("delete_file", path="notes.md") == "deleted notes.md"
    assert not (desk.root / "notes.md").exists()
    for path, reason in (("notes.md", "there is no"), ("src", "is a directory"), ("out", "symbolic link"), ("../x", "'..'")):
        assert reason in await desk.refusal("delete_file", path=path)
