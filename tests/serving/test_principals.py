"""Who may call by a fixed key, and what is said to whom it is not."""

from __future__ import annotations

import hmac

import pytest

from afk_es.errors import ConfigurationError
from afk_es.serving import LOCAL, ApiKeys, Principal

ALICE = "alice-0123456789abcdef"
BOB = "bob-0123456789abcdef"


@pytest.mark.parametrize("name", ["", "a" * 257, "a\nb", "a\x00", 7, None])
def test_a_name_is_something_that_a_log_can_show(name: str) -> None:
    with pytest.raises(ConfigurationError, match="1 to 256 printable characters"):
        Principal(name)


async def test_a_key_tells_whose_it_is() -> None:
    keys = ApiKeys({ALICE: "alice", BOB: Principal("bob", frozenset({"refund"})), ALICE + "2": "alice"})
    assert await keys.authenticate(ALICE) == await keys.authenticate(ALICE + "2") == Principal("alice")
    assert await keys.authenticate(BOB) == Principal("bob", frozenset({"refund"}))


@pytest.mark.parametrize("token", ["", ALICE[:-1], ALICE + "x", ALICE.upper(), "\udcff" * 20, "é" * 20, "x" * 100_000])
async def test_every_other_token_is_nobodys(token: str) -> None:
    assert await ApiKeys({ALICE: "alice"}).authenticate(token) is None


async def test_every_key_is_compared_in_constant_time_whichever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ApiKeys({ALICE: "alice", BOB: "bob"})
    compared: list[tuple[bytes, bytes]] = []

    def counted(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return left == right

    monkeypatch.setattr(hmac, "compare_digest", counted)
    for token in (ALICE, BOB, "x"):
        compared.clear()
        await keys.authenticate(token)
        assert [len(left) + len(right) for left, right in compared] == [64, 64]


def test_no_key_is_in_what_is_kept_or_shown() -> None:
    keys = ApiKeys({ALICE: "alice"})
    assert ALICE not in repr(keys) + str(vars(keys))


@pytest.mark.parametrize("key", ["", "short", "x" * 9000, "a space in 0123456789", "ümlaut-0123456789ab", "line\n0123456789abcdef"])
def test_a_key_that_is_no_key_is_refused_and_not_told(key: str) -> None:
    with pytest.raises(ConfigurationError, match="an API key") as refused:
        ApiKeys({key: "alice"})
    assert not key or key not in str(refused.value)


def test_no_keys_at_all_is_a_mistake() -> None:
    with pytest.raises(ConfigurationError, match="nobody"):
        ApiKeys({})


def test_no_key_makes_anybody_the_user_of_this_machine() -> None:
    with pytest.raises(ConfigurationError, match="without a token"):
        ApiKeys({ALICE: LOCAL.name})
