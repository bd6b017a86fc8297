"""Tokens that an issuer signs: which are let in, and that all others are refused alike."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import json
import logging
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from afk_es.errors import ConfigurationError
from afk_es.serving import LOCAL, JWTs, Principal

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
SECRET = "a secret that is shared with the issuer alone"
NOW = int(dt.datetime.now(dt.UTC).timestamp())
LONG_S = 100_000
"""More than the tests take."""

GOOD: dict[str, Any] = {"sub": "alice", "aud": "orders", "iss": "https://issuer.example", "exp": NOW + LONG_S, "scope": "read refund"}
ALICE = Principal("alice", frozenset({"read", "refund"}))


def pem(private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    """The public half, as an issuer publishes it."""
    return private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def signed(claims: dict[str, Any] | None = None, *, without: str | None = None, key: Any = RSA, alg: str = "RS256", **header: Any) -> str:
    """A token with the good claims, changed."""
    told = {name: value for name, value in (GOOD | (claims or {})).items() if name != without}
    return jwt.encode(told, key, algorithm=alg, headers=header or None)


def by_hand(header: dict[str, Any], claims: dict[str, Any], signature: Callable[[bytes], bytes]) -> str:
    """A token that no library would make."""

    def encoded(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    told = b".".join(encoded(json.dumps(each).encode()) for each in (header, claims))
    return (told + b"." + encoded(signature(told))).decode()


def with_secret(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda told: hmac.new(secret, told, hashlib.sha256).digest()


def judge(**options: Any) -> JWTs:
    return JWTs(**{"key": pem(RSA), "algorithms": ("RS256",), "audience": "orders", "issuer": "https://issuer.example"} | options)


async def test_a_token_of_the_issuer_tells_its_bearer() -> None:
    assert await judge().authenticate(signed()) == ALICE


@pytest.mark.parametrize(
    ("options", "token"),
    [
        ({"key": SECRET, "algorithms": ["HS256"]}, signed(key=SECRET, alg="HS256")),
        ({"key": SECRET.encode(), "algorithms": "HS256"}, signed(key=SECRET, alg="HS256")),
        ({"key": pem(EC), "algorithms": ("ES256",)}, signed(key=EC, alg="ES256")),
        ({"key": pem(RSA), "algorithms": ("RS256", "PS256")}, signed(alg="PS256")),
        ({"audience": ("invoices", "orders")}, signed()),
        ({}, signed({"aud": ["invoices", "orders"]})),
        ({"issuer": None}, signed(without="iss")),
        ({"leeway_s": 2 * LONG_S}, signed({"exp": NOW - LONG_S})),
        ({"leeway_s": 2 * LONG_S}, signed({"nbf": NOW + LONG_S})),
        ({"scope_claim": "scp"}, signed({"scp": ["read", "refund"]})),
        ({"name_claim": "email"}, signed({"email": "alice"})),
        ({"name_claim": "email"}, signed({"email": "alice"}, without="sub")),
    ],
)
async def test_what_the_settings_allow(options: dict[str, Any], token: str) -> None:
    assert await judge(**options).authenticate(token) == ALICE


async def test_a_secret_as_long_as_its_digest_is_long_enough() -> None:
    secret = "x" * 32
    assert await judge(key=secret, algorithms=("HS256",)).authenticate(signed(key=secret, alg="HS256")) == ALICE


async def test_a_token_without_scopes_may_nothing_special() -> None:
    assert await judge().authenticate(signed(without="scope")) == Principal("alice")


REFUSED = {
    "another's signature": signed(key=OTHER_RSA),
    "a signature cut off": signed().rpartition(".")[0] + ".",
    "claims changed after signing": ".".join(
        (signed().split(".")[0], signed({"sub": "bob"}, key=OTHER_RSA).split(".")[1], signed().split(".")[2])
    ),
    "no algorithm": jwt.encode(GOOD, "", algorithm="none"),
    "no algorithm, spelt otherwise": by_hand({"alg": "nOnE", "typ": "JWT"}, GOOD, lambda _: b""),
    "an algorithm that is not a name": by_hand({"alg": ["RS256"]}, GOOD, lambda _: b"x"),
    "no word of an algorithm": by_hand({"typ": "JWT"}, GOOD, lambda _: b"x"),
    "the public key as a secret": by_hand({"alg": "HS256", "typ": "JWT"}, GOOD, with_secret(pem(RSA).encode())),
    "an algorithm that is not allowed": signed(alg="RS512"),
    "a key of its own in the header": by_hand({"alg": "RS256", "jwk": {"kty": "oct", "k": "AAAA"}}, GOOD, with_secret(b"\0\0\0")),
    "a critical extension that nobody knows": signed(crit=["magic"], magic=True),
    "expired": signed({"exp": NOW - 5}),
    "expires never": signed(without="exp"),
    "expires at no number": signed({"exp": "tomorrow"}),
    "expires at infinity": signed({"exp": float("inf")}),
    "expires at a list": signed({"exp": [NOW + 3600]}),
    "not yet valid": signed({"nbf": NOW + LONG_S}),
    "issued in the future": signed({"iat": NOW + LONG_S}),
    "for another audience": signed({"aud": "invoices"}),
    "for other audiences": signed({"aud": ["invoices", "orders "]}),
    "for nobody": signed(without="aud"),
    "for no text": signed({"aud": 7}),
    "of another issuer": signed({"iss": "https://issuer.example.evil.example"}),
    "of no issuer": signed(without="iss"),
    "of nobody": signed(without="sub"),
    "of an empty name": signed({"sub": ""}),
    "of a name with controls": signed({"sub": "alice\n2026 admin logged in"}),
    "of a name without end": signed({"sub": "a" * 300}),
    "of the user of this machine": signed({"sub": LOCAL.name}),
    "scopes that are none": signed({"scope": {"read": True}}),
    "scopes of which one is none": signed({"scope": ["read", 7]}),
    "no token": "",
    "no token at all": "alice",
    "dots": "....",
    "a character that nobody can encode": "\udcff.\udcff.\udcff",
    "depth": base64.urlsafe_b64encode(b'{"a":' * 1000).decode() + ".e30.e30",
    "a token without end": signed({"note": "x" * 9000}),
}


@pytest.mark.parametrize("token", REFUSED.values(), ids=REFUSED)
async def test_every_other_token_is_refused_alike_and_told_to_nobody(token: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert await judge().authenticate(token) is None
    parts = [part for part in token.split(".") if len(part) > 5]
    assert not any(part in caplog.text for part in parts)


@pytest.mark.parametrize("without", ["sub", "aud", "exp"])
async def test_what_is_required_is_required_of_a_secret_too(without: str) -> None:
    secretive = judge(key=SECRET, algorithms=("HS256",))
    assert await secretive.authenticate(signed(without=without, key=SECRET, alg="HS256")) is None


@given(st.one_of(st.text(max_size=60), st.lists(st.binary(max_size=20), min_size=3, max_size=3).map(lambda parts: ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts))))  # fmt: skip
async def test_garbage_is_refused_and_raises_nothing(token: str) -> None:
    assert await judge().authenticate(token) is None


async def test_the_settings_are_shown_and_the_key_is_not() -> None:
    secretive = judge(key=SECRET, algorithms=("HS256",))
    assert repr(secretive) == "JWTs(algorithms=('HS256',), audience=['orders'], issuer='https://issuer.example')"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"algorithms": ("none",)}, "not none"),
        ({"algorithms": ("RS256", "none")}, "not RS256, none"),
        ({"algorithms": ("None",)}, "not None"),
        ({"algorithms": ()}, "not none at all"),
        ({"algorithms": ("RS257",)}, "not RS257"),
        ({"algorithms": ("RS256", "HS256")}, "not allowed together"),
        ({"audience": ()}, "needs the audience"),
        ({"audience": ""}, "needs the audience"),
        ({"audience": ("orders", "")}, "needs the audience"),
        ({"key": None}, "one of key and jwks"),
        ({"jwks": {"keys": []}}, "one of key and jwks"),
        ({"key": None, "jwks": {"keys": []}}, "JSON Web Key Set"),
        ({"key": None, "jwks": {}}, "JSON Web Key Set"),
        ({"key": None, "jwks": {"keys": [{"kty": "magic"}]}}, "JSON Web Key Set"),
        ({"key": None, "jwks": "http://issuer.example/keys"}, "https://"),
        ({"key": None, "jwks": "file:///etc/passwd"}, "https://"),
        ({"key": None, "jwks": "https://issuer.example/keys", "algorithms": ("HS256",)}, "shared secret"),
        ({"key": "not a key"}, "not one for RS256"),
        ({"key": pem(EC)}, "not one for RS256"),
        ({"key": pem(RSA), "algorithms": ("HS256",)}, "not one for HS256"),
        ({"key": "x" * 31, "algorithms": ("HS256",)}, "at least 32 bytes"),
        ({"key": "x" * 63, "algorithms": ("HS256", "HS512")}, "at least 64 bytes"),
        ({"leeway_s": -1}, "leeway_s"),
        ({"leeway_s": float("inf")}, "leeway_s"),
        ({"leeway_s": float("nan")}, "leeway_s"),
    ],
)
def test_settings_that_let_in_whom_they_should_not_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as refused:
        judge(**options)
    assert refused.value.__cause__ is None
    assert not options.get("key") or str(options["key"]) not in str(refused.value)
