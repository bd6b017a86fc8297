"""Keys of an issuer that has several, and changes them."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import jwt
import pytest

from afk_es.clock import SimulatedClock
from afk_es.serving import JWTs, Principal
from afk_es.serving.signing_keys import FetchedKeys
from tests.serving.test_jwts import EC, OTHER_RSA, RSA, SECRET, judge, signed


def published(private: Any, kid: str | None, **more: str) -> dict[str, Any]:
    """The public half, as it stands in a key set."""
    kind = jwt.algorithms.ECAlgorithm if private is EC else jwt.algorithms.RSAAlgorithm
    named = {} if kid is None else {"kid": kid}
    found: dict[str, Any] = json.loads(kind.to_jwk(private.public_key()))
    return found | named | more


def by_set(*keys: dict[str, Any], **options: Any) -> JWTs:
    return judge(**{"key": None, "jwks": {"keys": list(keys)}} | options)


async def test_the_token_names_the_key_and_the_key_its_algorithm() -> None:
    both = by_set(published(RSA, "one"), published(OTHER_RSA, "two"), published(EC, "three"), algorithms=("RS256", "ES256"))
    assert await both.authenticate(signed(kid="one")) == await both.authenticate(signed(key=OTHER_RSA, kid="two"))
    assert isinstance(await both.authenticate(signed(key=EC, alg="ES256", kid="three")), Principal)
    for wrong in (
        signed(kid="two"),
        signed(kid="four"),
        signed(kid=""),
        signed(),
        signed(alg="RS512", kid="one"),
        signed(key=EC, alg="ES256", kid="one"),
    ):
        assert await both.authenticate(wrong) is None


async def test_without_a_name_it_is_the_only_key() -> None:
    assert isinstance(await by_set(published(RSA, None)).authenticate(signed()), Principal)
    assert isinstance(await by_set(published(RSA, "one"), published(EC, "two", use="enc")).authenticate(signed()), Principal)


async def test_a_key_for_encryption_checks_no_signature() -> None:
    assert await by_set(published(RSA, "one", use="enc")).authenticate(signed(kid="one")) is None


async def test_a_key_for_another_algorithm_is_not_used_for_this_one() -> None:
    assert await by_set(published(RSA, "one", alg="PS256"), algorithms=("RS256", "PS256")).authenticate(signed(kid="one")) is None


async def test_a_public_key_of_the_set_is_no_secret() -> None:
    token = signed(key=SECRET, alg="HS256", kid="one")
    assert await by_set(published(RSA, "one")).authenticate(token) is None


class Issuer:
    """Answers in the place of the network."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.keys: list[dict[str, Any]] | None = [published(RSA, "one")]
        self.asked = 0
        self.clock = SimulatedClock()
        self.found = FetchedKeys("https://issuer.example/keys", clock=self.clock)
        monkeypatch.setattr(self.found._client, "get_jwk_set", self.get)

    def get(self, refresh: bool) -> jwt.PyJWKSet:
        assert refresh
        self.asked += 1
        if self.keys is None:
            raise jwt.PyJWKClientConnectionError("https://user:password@issuer.example is down")
        return jwt.PyJWKSet(self.keys)

    async def knows(self, kid: str | None) -> bool:
        return await self.found.key(kid) is not None


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Issuer:
    return Issuer(monkeypatch)


async def test_keys_are_fetched_once_and_again_when_they_are_old(issuer: Issuer) -> None:
    assert [await issuer.knows("one") for _ in range(3)] == [True] * 3
    assert issuer.asked == 1
    issuer.clock.advance(299)
    assert await issuer.knows("one")
    assert issuer.asked == 1
    issuer.clock.advance(1)
    assert await issuer.knows("one")
    assert issuer.asked == 2


async def test_a_new_key_is_found_and_a_withdrawn_one_is_not(issuer: Issuer) -> None:
    assert await issuer.knows("one")
    issuer.keys = [published(EC, "two")]
    issuer.clock.advance(30)
    assert await issuer.knows("two")
    assert not await issuer.knows("one")


async def test_tokens_that_name_keys_which_do_not_exist_do_not_hammer_the_issuer(issuer: Issuer) -> None:
    assert not any([await issuer.knows(f"no such key {number}") for number in range(100)])
    assert issuer.asked == 1
    issuer.clock.advance(30)
    assert not await issuer.knows("no such key")
    assert issuer.asked == 2


async def test_many_at_once_wait_for_one_answer(issuer: Issuer) -> None:
    assert await asyncio.gather(*(issuer.knows("one") for _ in range(20))) == [True] * 20
    assert issuer.asked == 1


async def test_who_gives_up_waiting_takes_nothing_from_those_who_wait(issuer: Issuer) -> None:
    first, second = [asyncio.create_task(issuer.knows("one")) for _ in range(2)]
    await asyncio.sleep(0)
    first.cancel()
    assert await second
    assert issuer.asked == 1


async def test_an_issuer_that_is_down_for_a_while_shuts_nobody_out(issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    assert await issuer.knows("one")
    issuer.keys = None
    issuer.clock.advance(3000)
    assert await issuer.knows("one")
    assert issuer.asked == 2
    assert caplog.messages == ["the signing keys of https://issuer.example cannot be had: PyJWKClientConnectionError"]
    issuer.clock.advance(600)
    assert not await issuer.knows("one")
    issuer.keys = [published(RSA, "one")]
    issuer.clock.advance(30)
    assert await issuer.knows("one")


async def test_an_issuer_that_was_never_there_lets_nobody_in(issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    issuer.keys = None
    assert not await issuer.knows("one")
