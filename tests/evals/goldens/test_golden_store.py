"""A directory of goldens: names that become files anywhere, and updates that are refused where nobody looks at them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from afk_es.errors import ConfigurationError, UsageError
from afk_es.evals import CheckReport, Golden, GoldenError, GoldenStore, UpdatePolicy, UpdateRefusedError
from afk_es.evals.goldens.store import file_stem
from tests.evals.recorded import small


@pytest.fixture
def store(tmp_path: Path) -> GoldenStore:
    """A store on somebody's own machine."""
    return GoldenStore(tmp_path / "goldens", environ={})


async def named(name: str) -> Golden:
    """A small golden of this name."""
    return await small(name=name)


async def test_what_was_written_is_found_and_read_by_its_name(store: GoldenStore) -> None:
    assert store.names() == ()
    store.write(await named("refund"))
    store.write(await named("tests/test_shop.py::test_refund[gpt 5]"))
    assert store.names() == ("refund", "tests/test_shop.py::test_refund[gpt 5]")
    assert "refund" in store
    assert "else" not in store
    assert store.path("refund").name == "refund.golden.jsonl"
    assert store.read("tests/test_shop.py::test_refund[gpt 5]").name == "tests/test_shop.py::test_refund[gpt 5]"


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/etc/passwd", "a\\b", "C:con", "con", "NUL.x", "a\nb", "..", ".hidden", "x" * 400, "Ünïcode", "a b", "-rf", "\ud800", "a\0b"],
)  # fmt: skip
def test_any_name_becomes_a_file_in_the_directory_and_no_two_become_one(store: GoldenStore, name: str) -> None:
    path = store.path(name)
    assert path.parent == store.directory
    stem = file_stem(name)
    assert stem.isascii()
    assert 0 < len(stem) < 120
    assert not stem.startswith((".", "-"))
    assert stem != file_stem(name + "!"), "the digest tells them apart"


def test_a_name_is_needed(store: GoldenStore) -> None:
    with pytest.raises(UsageError, match="a golden has a name"):
        store.path("  ")


async def test_a_file_of_another_name_is_neither_read_nor_overwritten(store: GoldenStore) -> None:
    store.write(await named("refund"))
    store.path("refund").rename(store.path("other"))
    with pytest.raises(GoldenError, match=r"this is the golden 'refund', and not 'other': two names .* or a file that was renamed"):
        store.read("other")
    with pytest.raises(GoldenError, match="this is the golden 'refund'"):
        store.write(await named("other"))


async def test_a_broken_file_is_replaced(store: GoldenStore) -> None:
    store.directory.mkdir()
    store.path("refund").write_text("<<<<<<< HEAD\n")
    assert store.names() == ("refund",)
    store.write(await named("refund"))
    assert store.read("refund").name == "refund"


def test_a_directory_is_needed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="is no directory"):
        GoldenStore(tmp_path / "file")


@pytest.mark.parametrize("environ", [{"CI": "true"}, {"PYTEST_XDIST_WORKER": "gw0"}])
async def test_nothing_is_written_or_deleted_in_ci_or_by_a_worker(store: GoldenStore, environ: dict[str, str]) -> None:
    store.write(await named("refund"))
    guarded = GoldenStore(store.directory, environ=environ)
    before = store.path("refund").read_bytes()
    other = await named("other")
    for update in (lambda: guarded.write(other), lambda: guarded.delete("refund")):
        with pytest.raises(UpdateRefusedError, match="goldens are not updated"):
            update()
    with pytest.raises(UpdateRefusedError, match="goldens are not updated"):
        await guarded.rewrite("refund")
    assert store.names() == ("refund",)
    assert store.path("refund").read_bytes() == before
    assert guarded.read("refund").name == "refund"


def test_a_golden_that_is_missing_is_an_error_that_says_what_to_do_where(store: GoldenStore) -> None:
    with pytest.raises(GoldenError, match="there is no golden 'refund'; record it with `pytest --golden-update=new`"):
        store.read("refund")
    with pytest.raises(GoldenError, match="record it on your own machine and commit it"):
        GoldenStore(store.directory, environ={"CI": "1"}).read("refund")


async def test_a_file_that_would_be_written_in_another_way_is_stale_and_can_be_rewritten(store: GoldenStore) -> None:
    store.write(await named("refund"))
    path = store.path("refund")
    assert store.stale("refund") is None
    written = path.read_text()
    path.write_text(written.replace('","', '" , "'))
    assert store.stale("refund") == "its lines are written in another way today"
    await store.rewrite("refund")
    assert path.read_text() == written
    path.write_text(written.replace("Be kind.", "Be rude."))
    assert "edited by hand" in (store.stale("refund") or "")
    await store.rewrite("refund")
    assert store.stale("refund") is None
    assert not store.read("refund").edited


async def test_a_plan_says_what_there_is_to_do_and_does_nothing(store: GoldenStore) -> None:
    for name in ("same", "gone"):
        store.write(await named(name))
    stale = store.path("same")
    stale.write_text(stale.read_text().replace('"at":0.0,', '"at":0,'))
    before = {path.name: path.read_bytes() for path in store.directory.iterdir()}
    passed = CheckReport("same", str(stale), "strict", "passed")
    plan = store.plan(asked=["same", "born"], reports=[passed], complete=True, policy=UpdatePolicy.parse("unused"))
    assert [(update.category, update.name, update.accepted) for update in plan] == [
        ("new", "born", False),
        ("representation", "same", False),
        ("unused", "gone", True),
    ]
    assert {path.name: path.read_bytes() for path in store.directory.iterdir()} == before
    store.delete("gone")
    store.delete("gone")
    assert store.names() == ("same",)


async def test_a_name_with_capitals_is_no_other_files_name_where_case_is_not_told_apart(store: GoldenStore) -> None:
    store.write(await named("Refund"))
    golden = store.read("Refund")
    path = store.path("Refund")
    path.write_text(msgspec.structs.replace(golden, header=msgspec.structs.replace(golden.header, name="refund")).text())
    with pytest.raises(GoldenError, match="two names that this file system does not tell apart"):
        store.read("Refund")
