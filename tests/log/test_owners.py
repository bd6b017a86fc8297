"""An owner's name comes out of a log, which may be anybody's; it must lead nowhere but to a lock of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from afk_es.errors import ConfigurationError, LogReadOnlyError
from afk_es.log.owners import Owners


def test_an_owner_lives_while_it_holds_its_lock(tmp_path: Path) -> None:
    holder, other = Owners(tmp_path / "log.db", "owner_1"), Owners(tmp_path / "log.db", "owner_2")
    holder.hold()
    assert other.alive("owner_1")
    holder.release()
    assert not other.alive("owner_1")


@pytest.mark.parametrize("name", ["../precious", "sub/precious", "..", "", "nul\0", "ö", "x" * 300])
def test_a_name_that_is_no_owners_is_dead_and_touches_no_file(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "log.db-owners"
    (directory / "sub").mkdir(parents=True)
    precious = [tmp_path / "precious.lock", directory / "sub" / "precious.lock"]
    for file in precious:
        file.write_text("not ours", "utf-8")
    assert not Owners(tmp_path / "log.db", "owner_1").alive(name)
    assert [file.read_text("utf-8") for file in precious] == ["not ours"] * 2


def test_an_owner_of_that_name_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be an owner"):
        Owners(tmp_path / "log.db", "../precious").hold()
    assert not (tmp_path / "log.db-owners").exists()


def test_whoever_is_refused_a_name_that_is_held_leaves_its_holder_alive(tmp_path: Path) -> None:
    holder, second = Owners(tmp_path / "log.db", "owner_1"), Owners(tmp_path / "log.db", "owner_1")
    holder.hold()
    with pytest.raises(LogReadOnlyError, match="the owner's lock cannot be taken"):
        second.hold()
    assert Owners(tmp_path / "log.db", "owner_2").alive("owner_1")
    holder.release()
    assert not (tmp_path / "log.db-owners").exists()
