"""Goal: nothing outside of a root is read or written through it. Method: each kind of escape by name, then trees and paths made up."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afk_es.errors import ConfigurationError, ToolError
from afk_es.tools import scoped
from afk_es.tools.pages import read_page
from afk_es.tools.relative_path import MAX_DEPTH, path_parts
from afk_es.tools.scoped import ScopedDirectory
from afk_es.tools.walk import Walk

SECRET = "the secret outside"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory with a file and a directory, beside one that is none of its business."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text(SECRET)
    inside = tmp_path / "root"
    (inside / "sub").mkdir(parents=True)
    (inside / "sub" / "file.txt").write_text("inside")
    return inside


def every_use(scope: ScopedDirectory, path: str) -> Iterator[Callable[[], Any]]:
    """All that can be done with a path, what changes something last."""
    yield lambda: scope.read(path, 1_000)
    yield lambda: scope.entries(path, 100)
    yield lambda: scope.within(path).entries(".", 100)
    yield lambda: list(Walk(scope, path))
    yield lambda: scope.write(path, b"overwritten")
    yield lambda: scope.make_directory(path)
    yield lambda: scope.delete(path)


# ------------------------------------------------------------------------------------------------------------------------------ paths


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("..", "contains '..'"),
        ("sub/../../outside/secret.txt", "contains '..'"),
        ("/etc/passwd", "is an absolute path"),
        ("//etc/passwd", "is an absolute path"),
        ("sub\0/../..", "NUL"),
        ("a" * 5_000, "5000 characters"),
        ("a/" * (MAX_DEPTH + 1), "levels deep"),
        ("\ud800", "no file name can have"),
    ],
)
def test_paths_that_are_refused_before_anything_is_opened(root: Path, path: str, message: str) -> None:
    for use in every_use(ScopedDirectory(root), path):
        with pytest.raises(ToolError, match=message):
            use()
    assert sorted(each.name for each in root.parent.iterdir()) == ["outside", "root"]


def test_empty_components_and_dots_mean_nothing() -> None:
    assert path_parts("./a//b/.") == ("a", "b")
    assert path_parts("") == path_parts(".") == ()


def test_a_name_that_the_file_system_finds_too_long_is_refused_in_words(root: Path) -> None:
    with pytest.raises(ToolError, match="cannot be used: File name too long"):
        ScopedDirectory(root).read("a" * 300, 10)
    with pytest.raises(ToolError, match="cannot be used: File name too long"):
        ScopedDirectory(root).kind("a" * 300)
    assert ScopedDirectory(root).kind(".") == "directory"


# ------------------------------------------------------------------------------------------------------------------------------ links


@pytest.mark.parametrize("target", ["../outside", "/", "sub"], ids=["outside", "the top of the system", "inside"])
def test_a_link_to_a_directory_is_not_gone_through_wherever_it_points(root: Path, target: str) -> None:
    (root / "link").symlink_to(target)
    scope = ScopedDirectory(root)
    for path in ("link/secret.txt", "link/file.txt", "link/etc", "link/new"):
        for use in list(every_use(scope, path))[:3] + list(every_use(scope, path))[4:]:
            with pytest.raises(ToolError, match=r"links are not followed|does not exist"):
                use()
    assert [path for path, _entry in Walk(scope, "**/*")] == ["link", "sub", "sub/file.txt"]
    assert [entry.name for entry in scope.entries(".", 9)[0] if entry.kind == "link"] == ["link"]
    assert (root.parent / "outside" / "secret.txt").read_text() == SECRET


def test_a_link_to_a_file_is_not_followed_and_not_replaced(root: Path) -> None:
    (root / "link").symlink_to("../outside/secret.txt")
    scope = ScopedDirectory(root)
    for use in (lambda: scope.read("link", 100), lambda: scope.write("link", b"x"), lambda: scope.delete("link")):
        with pytest.raises(ToolError, match="is a symbolic link, and links are not followed"):
            use()
    assert (root / "link").is_symlink()


def test_the_root_itself_may_be_reached_by_a_link(root: Path) -> None:
    (root.parent / "door").symlink_to("root")
    assert ScopedDirectory(root.parent / "door").read("sub/file.txt", 100) == b"inside"


def test_a_file_that_becomes_a_link_after_it_was_looked_at_is_not_opened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The race that a check before the use would lose: the link is there in between, every time."""
    look = os.stat

    def look_and_swap(path: Any, *args: Any, **options: Any) -> os.stat_result:
        status = look(path, *args, **options)
        if path == "file.txt":
            (root / "sub" / "file.txt").unlink()
            (root / "sub" / "file.txt").symlink_to(root.parent / "outside" / "secret.txt")
        return status

    monkeypatch.setattr(os, "stat", look_and_swap)
    monkeypatch.setattr(os, "supports_dir_fd", os.supports_dir_fd | {look_and_swap})
    with pytest.raises(ToolError, match="links are not followed"):
        ScopedDirectory(root).read("sub/file.txt", 100)


def test_a_directory_that_becomes_a_link_while_it_is_open_is_still_the_directory(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look = os.stat

    def look_and_swap(path: Any, *args: Any, **options: Any) -> os.stat_result:
        if path in ("file.txt", "secret.txt") and not (root / "sub").is_symlink():
            (root / "sub").rename(root / "elsewhere")
            (root / "sub").symlink_to(root.parent / "outside")
        return look(path, *args, **options)

    monkeypatch.setattr(os, "stat", look_and_swap)
    monkeypatch.setattr(os, "supports_dir_fd", os.supports_dir_fd | {look_and_swap})
    assert ScopedDirectory(root).read("sub/file.txt", 100) == b"inside"
    with pytest.raises(ToolError, match="links are not followed"):
        ScopedDirectory(root).read("sub/secret.txt", 100)


def test_writing_does_not_write_through_a_hard_link(root: Path) -> None:
    os.link(root.parent / "outside" / "secret.txt", root / "same")
    ScopedDirectory(root).write("same", b"mine")
    assert (root / "same").read_text() == "mine"
    assert (root.parent / "outside" / "secret.txt").read_text() == SECRET


# ------------------------------------------------------------------------------------------------------------------- what is no file


@pytest.mark.timeout(20)
def test_pipes_and_sockets_are_refused_and_do_not_hang(root: Path) -> None:
    os.mkfifo(root / "pipe")
    here = Path.cwd()
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(root)  # The name of a socket must be short.
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
    scope = ScopedDirectory(root)
    uses: list[Callable[[str], Any]] = [scope.delete, lambda path: scope.read(path, 1), lambda path: scope.write(path, b"")]
    for name in ("pipe", "socket"):
        for use in uses:
            with pytest.raises(ToolError, match="is a device, a pipe or a socket"):
                use(name)
        with pytest.raises(ToolError, match="no directory"):
            scope.entries(name, 1)
    assert {entry.name: entry.kind for entry in scope.entries(".", 9)[0]} == {"pipe": "other", "socket": "other", "sub": "directory"}


def test_devices_are_refused() -> None:
    with pytest.raises(ToolError, match="is a device"):
        ScopedDirectory("/dev").read("zero", 10)


def test_directories_are_no_files_and_files_no_directories(root: Path) -> None:
    scope = ScopedDirectory(root)
    for use in (scope.delete, lambda path: scope.read(path, 1), lambda path: scope.write(path, b"")):
        for path in ("sub", ".", ""):
            with pytest.raises(ToolError, match="is a directory, not a file"):
                use(path)
    for path in ("sub/file.txt/x", "sub/file.txt"):
        with pytest.raises(ToolError, match="no directory"):
            scope.make_directory(path)


def test_what_is_not_there(root: Path) -> None:
    scope = ScopedDirectory(root)
    assert scope.kind("nothing") is None
    assert scope.kind("sub/nothing/at/all") is None
    for use in (scope.delete, lambda path: scope.read(path, 1), lambda path: scope.entries(path, 1)):
        with pytest.raises(ToolError, match="there is no 'nothing' here"):
            use("nothing")
    with pytest.raises(ToolError, match="the directory of 'no/file' does not exist; make it first"):
        scope.write("no/file", b"")


@pytest.mark.parametrize("path", ["nowhere", "file", "a\0b", "loop"])
def test_a_root_must_be_a_directory(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ConfigurationError, match=r"cannot be used|is not a directory"):
        ScopedDirectory(tmp_path / path)


def test_a_system_without_openat_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "supports_dir_fd", set())
    with pytest.raises(ConfigurationError, match="use Linux or macOS"):
        ScopedDirectory(tmp_path)


# ------------------------------------------------------------------------------------------------------------------ reading and writing


def test_sizes_are_bounded(root: Path) -> None:
    scope = ScopedDirectory(root)
    assert scope.read("sub/file.txt", 6) == b"inside"
    with pytest.raises(ToolError, match="has 6 bytes, which is more than the 5 allowed"):
        scope.read("sub/file.txt", 5)
    assert scope.entries("sub", 1) == ([("file.txt", "file", 6)], False)
    (root / "sub" / "more").touch()
    assert scope.entries("sub", 1)[1]


def test_a_written_file_is_whole_keeps_its_permissions_and_leaves_nothing_beside_it(root: Path) -> None:
    scope = ScopedDirectory(root)
    (root / "sub" / "file.txt").chmod(0o640)
    assert scope.write("sub/file.txt", b"new") is False
    assert scope.write("sub/other.txt", b"other") is True
    assert stat.S_IMODE((root / "sub" / "file.txt").stat().st_mode) == 0o640
    assert sorted(each.name for each in (root / "sub").iterdir()) == ["file.txt", "other.txt"]


@pytest.mark.parametrize("fails", ["rename", "fsync"])
def test_a_write_that_fails_changes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    def full(*args: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    scope = ScopedDirectory(root)
    monkeypatch.setattr(os, fails, full)
    with pytest.raises(ToolError, match="No space left"):
        scope.write("sub/file.txt", b"new")
    assert [each.name for each in (root / "sub").iterdir()] == ["file.txt"]
    assert (root / "sub" / "file.txt").read_text() == "inside"


def test_what_a_dead_process_left_unfinished_is_no_obstacle(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoped, "_UNFINISHED", iter([7, 8]))
    (root / f".afk_es-unfinished-{os.getpid()}-7").touch()
    assert ScopedDirectory(root).write("new", b"x")
    assert (root / "new").read_text() == "x"


def test_directories_are_made_with_those_above_them(root: Path) -> None:
    scope = ScopedDirectory(root)
    assert scope.make_directory("a/b/c") is True
    assert scope.make_directory("a/b/c") is False
    assert (root / "a" / "b" / "c").is_dir()


# ------------------------------------------------------------------------------------------------------------------ trees made up

NAMES = st.sampled_from(["a", "b", "c", "secret.txt", "..", ".", ""])
PATHS = st.one_of(
    st.lists(NAMES, min_size=1, max_size=5).map("/".join),
    st.text(st.sampled_from("ab./\0~\\*"), max_size=8),
    st.sampled_from(["/", "~", "{outside}", "{outside}/secret.txt", "a/{outside}/secret.txt"]),
)
TARGETS = st.sampled_from(["{outside}", "{outside}/secret.txt", "..", "../outside", "../../outside", "a", "b", ".", "/", "../outside/new"])
TREES = st.lists(st.tuples(st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join), TARGETS | st.none()), max_size=8)


def planted(tree: list[tuple[str, str | None]], inside: Path, outside: Path) -> None:
    """Files (no target) and links, and the directories that they are in, as far as their names are not taken."""
    for path, target in tree:
        place = inside / path
        # Links in the way may be followed here: only inside of the trial's own directory, or the planting fails.
        with suppress(OSError, RuntimeError):
            if not place.parent.resolve().is_relative_to(inside):
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            if target is None:
                place.write_text("inside")
            else:
                place.symlink_to(target.format(outside=outside))


def image(directory: Path) -> dict[str, str]:
    """All that is in a directory."""
    return {str(path): path.read_text() if path.is_file() else "directory" for path in sorted(directory.rglob("*"))}


@settings(max_examples=300, deadline=None)
@given(tree=TREES, paths=st.lists(PATHS, min_size=1, max_size=6))
def test_whatever_the_tree_and_the_path_nothing_outside_is_read_or_written(tree: list[tuple[str, str | None]], paths: list[str]) -> None:
    top = Path(tempfile.mkdtemp()).resolve()
    try:
        inside, outside = top / "root", top / "outside"
        inside.mkdir()
        outside.mkdir()
        (outside / "secret.txt").write_text(SECRET)
        planted(tree, inside, outside)
        scope, before = ScopedDirectory(inside), image(outside)
        for path in paths:
            for use in every_use(scope, path.format(outside=outside) if "{o" in path else path):
                try:
                    told = repr(use())
                except ToolError:
                    continue
                assert SECRET not in told
                assert "secret.txt" not in told or any("secret.txt" in each for each in (*paths, *os.listdir(inside)))
        for path, entry in Walk(scope, "**/*"):
            assert (inside / path).parent.resolve().is_relative_to(inside)
            if entry.kind == "file":
                assert SECRET.encode() not in scope.read(path, 1_000)
        assert image(outside) == before
        assert sorted(os.listdir(top)) == ["outside", "root"]
    finally:
        shutil.rmtree(top)


# ------------------------------------------------------------------------------------------------------------------------- walks, pages


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*", ["a.md", "docs"]),
        ("*.md", ["a.md"]),
        ("**/*.md", ["a.md", "docs/b.md", "docs/deep/c.md"]),
        ("docs/**", ["docs", "docs/b.md", "docs/deep", "docs/deep/c.md"]),
        ("docs/*.md", ["docs/b.md"]),
        ("**/deep/**/*.md", ["docs/deep/c.md"]),
        ("d?cs/[b-c].md", ["docs/b.md"]),
        (".*", [".hidden"]),
        ("**/.hidden", [".hidden"]),
        ("**/**/**/**/c.md", ["docs/deep/c.md"]),
        ("nothing/*", []),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, found: list[str]) -> None:
    (tmp_path / "docs" / "deep").mkdir(parents=True)
    for name in ("a.md", "docs/b.md", "docs/deep/c.md", ".hidden"):
        (tmp_path / name).touch()
    assert [path for path, _entry in Walk(ScopedDirectory(tmp_path), pattern)] == found


@pytest.mark.parametrize("pattern", ["", ".", "../*", "/etc/*", "*" * 600])
def test_patterns_that_are_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ToolError):
        Walk(ScopedDirectory(tmp_path), pattern)


@pytest.mark.timeout(20)
def test_a_hostile_pattern_takes_no_longer_than_another(tmp_path: Path) -> None:
    (tmp_path / ("a" * 250)).touch()
    assert list(Walk(ScopedDirectory(tmp_path), "*a" * 120 + "b")) == []
    assert list(Walk(ScopedDirectory(tmp_path), "**/" * 60 + "b")) == []


def test_a_walk_is_bounded_and_says_so(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / str(number)).touch()
    walk = Walk(ScopedDirectory(tmp_path), "*", max_visited=4)
    assert len(list(walk)) == 4
    assert walk.cut
    whole = Walk(ScopedDirectory(tmp_path), "*")
    assert len(list(whole)) == 10
    assert not whole.cut


def test_the_bound_of_a_walk_is_for_all_of_it_and_not_for_each_directory(tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / str(number // 3)).mkdir(exist_ok=True)
        (tmp_path / str(number // 3) / str(number)).touch()
    walk = Walk(ScopedDirectory(tmp_path), "**", max_visited=7)
    assert len(list(walk)) == 7
    assert walk.cut


def test_a_walk_does_not_go_deeper_than_a_path_may(tmp_path: Path) -> None:
    (tmp_path / "/".join("d" * 70)).mkdir(parents=True)
    walk = Walk(ScopedDirectory(tmp_path), "**")
    paths = [path for path, _entry in walk]
    assert max(len(path_parts(path)) for path in paths) < MAX_DEPTH
    assert walk.cut


def test_what_cannot_be_read_is_left_out_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shut").mkdir()
    look = os.scandir
    asked: list[Any] = []

    def shut(directory: Any) -> Any:
        asked.append(directory)
        if len(asked) > 1:
            raise PermissionError(13, "Permission denied")
        return look(directory)

    monkeypatch.setattr(os, "scandir", shut)
    walk = Walk(ScopedDirectory(tmp_path), "**")
    assert [path for path, _entry in walk] == ["shut"]
    assert walk.cut


def page(content: bytes, offset: int = 1, limit: int = 100, chars: int = 200, directory: str | None = None) -> str:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        return read_page(file, "f", offset, limit, chars)


def test_pages_are_whole_lines_and_say_where_to_go_on() -> None:
    text = b"".join(b"line %d\n" % number for number in range(1, 101))
    assert page(b"") == ""
    assert page(b"one") == "one"
    assert page(b"\xef\xbb\xbfone\r\n") == "one\r\n"
    assert page(text, limit=2) == "line 1\nline 2\n[more lines follow; continue with offset=3]"
    assert page(text, offset=100) == "line 100\n"
    assert page(text, offset=99, limit=2) == "line 99\nline 100\n"
    shown = page(text)
    assert len(shown) <= 200
    assert shown.endswith("line 16\n[more lines follow; continue with offset=17]")


def test_reading_on_from_where_a_page_ends_reads_all_of_it() -> None:
    text = "".join(f"{'ä€😀' * (number % 30)}{number}\n" for number in range(1, 200))
    offset, read = 1, ""
    while True:
        shown = page(text.encode(), offset=offset, chars=300)
        body, mark, after = shown.rpartition("[more lines follow; continue with offset=")
        read += body if mark else after
        if not mark:
            break
        offset = int(after[:-1])
    assert read == text


def test_a_line_that_is_longer_than_a_page_is_cut_and_the_next_one_found() -> None:
    long = "€" * 10_000
    shown = page(f"{long}\nnext\n".encode())
    assert shown == f"{'€' * 120}\n[the end of line 1 is left out, it is too long; continue with offset=2]"
    assert page(f"{long}\nnext\n".encode(), offset=2) == "next\n"
    assert page(long.encode()).endswith("[the end of line 1 is left out, it is too long]")
    for shift in range(4):
        assert page(f"{'x' * shift}{'😀' * 10_000}".encode()).startswith(f"{'x' * shift}{'😀' * (120 - shift)}\n[the end of line 1")
    assert page(f"{'x' * 190}\nnext".encode()).endswith("continue with offset=2]")


@pytest.mark.parametrize("content", [b"\x00", b"text\0text", b"\xff\xfe", "naïve".encode("latin-1"), b"\xe2\x82", b"x" * 700 + b"\xff"])
def test_what_is_not_text_is_refused(content: bytes) -> None:
    with pytest.raises(ToolError, match="'f' is not a text file: it is binary, or not in UTF-8"):
        page(content)


def test_a_page_beyond_the_end_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ToolError, match="has fewer than 3 lines"):
        page(b"one\ntwo\n", offset=3)
    monkeypatch.setattr("afk_es.tools.pages.MAX_SCANNED_BYTES", 10)
    with pytest.raises(ToolError, match="too large to be read that far in"):
        page(b"0123456789\n\n\n", offset=3)
