"""What two servers of the command line have in common: how one says where they listen, who may call, and how often."""

from __future__ import annotations

import pytest

from afk_es.cli.a2a_serve import serve as a2a
from afk_es.cli.callers import RATE_S, Door, address, rate_limit
from afk_es.cli.mcp_serve import serve as mcp
from afk_es.errors import ConfigurationError
from afk_es.serving import JWTs, Limited

ALIKE = ("--http", "--token-env", "--jwks", "--audience", "--issuer", "--algorithm", "--rate", "--allow-host", "--allow-origin", "--policy")


@pytest.mark.parametrize("option", ALIKE)
def test_both_servers_are_told_alike(option: str) -> None:
    (one,) = [each for each in mcp.params if option in each.opts]
    (other,) = [each for each in a2a.params if option in each.opts]
    assert (one.opts, one.name, one.metavar, one.multiple) == (other.opts, other.name, other.metavar, other.multiple)
    if option != "--http":
        assert one.to_info_dict() == other.to_info_dict()


def test_only_what_has_another_way_listens_nowhere_by_itself() -> None:
    assert [each.default for command in (mcp, a2a) for each in command.params if "--http" in each.opts] == [None, "127.0.0.1:0"]


@pytest.mark.parametrize(
    ("text", "found"), [("127.0.0.1:8000", ("127.0.0.1", 8000)), ("[::1]:0", ("::1", 0)), ("localhost:1", ("localhost", 1))]
)
def test_an_address_is_a_host_and_a_port(text: str, found: tuple[str, int]) -> None:
    assert address(text) == found


@pytest.mark.parametrize("text", ["8000", ":8000", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:x", ""])
def test_anything_else_is_none(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--http is HOST:PORT"):
        address(text)


def test_a_rate_without_seconds_is_of_a_minute() -> None:
    assert rate_limit("100") == Limited(100, RATE_S) == Limited(100, 60.0)
    assert rate_limit("3/0.5") == Limited(3, 0.5)
    (help_,) = [each.to_info_dict()["help"] for each in mcp.params if "--rate" in each.opts]
    assert "SECONDS is 60 if left out" in help_


def test_tokens_of_an_issuer_are_told_by_options_too() -> None:
    door = Door(address=("127.0.0.1", 0), jwks="https://issuer.example/keys", audience="me", issuer="https://issuer.example", rate="5")
    door.check()
    settings = door.settings()
    assert isinstance(settings["authenticator"], JWTs)
    assert settings["rate_limit"] == Limited(5, 60.0)
    assert Door().settings() == {}
