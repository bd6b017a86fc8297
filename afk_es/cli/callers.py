"""The door of a server of the command line: where it listens, who may call, and how often. From its options to what knows callers; it knows no
protocol.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import click
import msgspec

from afk_es.cli import output
from afk_es.errors import ConfigurationError

if TYPE_CHECKING:
    from afk_es.serving import ApiKeys, Authenticator, HttpServer, Limited

RATE_S = 60.0
"""Seconds of a --rate that names none."""


class Door(msgspec.Struct, frozen=True):
    """What the options say of who may come in, and by which way.

    Attributes:
        address: where to listen over HTTP; None for a server that is not to.
        policy: the MODULE:POLICY that is asked before each call, None for none. It is imported by `settings`.
    """

    address: tuple[str, int] | None = None
    token_envs: tuple[str, ...] = ()
    jwks: str | None = None
    audience: str | None = None
    issuer: str | None = None
    algorithms: tuple[str, ...] = ()
    rate: str | None = None
    allow_hosts: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()
    policy: str | None = None

    def check(self) -> None:
        """Refuse what does not go together, before anything is loaded.

        Raises:
            ConfigurationError: that is so.
        """
        if self.token_envs and self.jwks is not None:
            raise ConfigurationError("--token-env and --jwks are two ways to know callers; take one")
        if self.jwks is None and (self.audience is not None or self.issuer is not None or self.algorithms):
            raise ConfigurationError("--audience, --issuer and --algorithm are about the tokens of --jwks")
        if self.jwks is not None and self.audience is None:
            raise ConfigurationError("--jwks needs --audience: without one, a token for any other service would do")
        if self.address is None and (self.token_envs or self.jwks is not None or self.allow_hosts or self.allow_origins):
            raise ConfigurationError(
                "--token-env, --jwks, --allow-host and --allow-origin are for --http: over stdio whoever starts this is the client"
            )

    def settings(self) -> dict[str, Any]:
        """What a server takes of it where that was given: `authenticator`, `rate_limit`, `policy_engine`. The policy's module is imported.

        Raises:
            ConfigurationError: a variable that is not set, a rate that is none, a policy that is not there.
        """
        found: dict[str, Any] = {
            "authenticator": self._authenticator(),
            "rate_limit": rate_limit(self.rate) if self.rate is not None else None,
        }
        if self.policy is not None:
            from afk_es.cli.policies import load_engine

            found["policy_engine"] = load_engine(self.policy)
        return {name: value for name, value in found.items() if value is not None}

    def _authenticator(self) -> Authenticator | None:
        if self.token_envs:
            return api_keys(self.token_envs)
        if self.jwks is None or self.audience is None:
            return None
        from afk_es.serving import JWTs

        return JWTs(jwks=self.jwks, audience=self.audience, issuer=self.issuer, algorithms=self.algorithms or ("RS256",))

    async def serve(self, listen: Callable[..., AbstractAsyncContextManager[HttpServer]], names: Iterable[str], path: str = "") -> None:
        """Listen at the address, say so, and serve until a signal comes.

        Args:
            listen: gives the server over HTTP, of a host, a port, `allow_hosts` and `allow_origins`.
            names: of what is served.
            path: below the server's URL, where it is served.
        """
        assert self.address is not None
        async with listen(*self.address, allow_hosts=self.allow_hosts, allow_origins=self.allow_origins) as served:
            told = f"serving {', '.join(names) or 'nothing'} at {served.url}{path}; Ctrl-C ends it"
            await served.until_stopped(lambda: output.note(told, "strong"))


def door_options(*, http: str | None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds --http, and who may call and how often, and hands the command the `door` they come to.

    Args:
        http: where it listens if nothing is said; None: it does not listen then.
    """
    options = (
        click.option(
            "--http",
            metavar="HOST:PORT",
            default=http,
            help=f"Listen there, over HTTP; default {http or 'stdin and stdout'}. Port 0 takes any that is free.",
        ),
        click.option(
            "--token-env",
            "token_envs",
            metavar="[NAME=]VARIABLE",
            multiple=True,
            help="Over HTTP, let in only who has the token in this environment variable; NAME is who that is. May be repeated.",
        ),
        click.option("--jwks", metavar="URL", help="Let in only who has a token signed by a key of this JSON Web Key Set."),
        click.option("--audience", metavar="TEXT", help="Whom such tokens must be meant for."),
        click.option("--issuer", metavar="TEXT", help="Whom they must come from; default: not looked at."),
        click.option(
            "--algorithm", "algorithms", metavar="NAME", multiple=True, help="How they may be signed; default RS256. May be repeated."
        ),
        click.option(
            "--rate",
            metavar="CALLS[/SECONDS]",
            help=f"What each client may do at most; SECONDS is {RATE_S:g} if left out. Default: as much as it likes.",
        ),
        click.option(
            "--allow-host",
            "allow_hosts",
            metavar="HOST",
            multiple=True,
            help="A name by which clients call it over HTTP, such as that of a proxy before it. May be repeated.",
        ),
        click.option(
            "--allow-origin",
            "allow_origins",
            metavar="ORIGIN",
            multiple=True,
            help="A web page that may call it, as https://app.example. May be repeated.",
        ),
        click.option("--policy", metavar="MODULE:POLICY", help="A PolicyEngine, asked before each call."),
    )

    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def call(*args: Any, http: str | None, **given: Any) -> Any:
            own = {name: given.pop(name) for name in Door.__struct_fields__ if name in given}
            door = Door(address=address(http) if http is not None else None, **own)
            door.check()
            return command(*args, door=door, **given)

        for option in reversed(options):
            call = option(call)
        return call

    return decorated


def address(text: str) -> tuple[str, int]:
    """The host and the port that `HOST:PORT` says.

    Raises:
        ConfigurationError: it says none.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise ConfigurationError(f"--http is HOST:PORT, such as 127.0.0.1:8000, not {text!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def api_keys(named: tuple[str, ...], option: str = "--token-env") -> ApiKeys:
    """The callers of `[NAME=]VARIABLE`s, whose keys are in the environment: on the command line anybody on this machine could read them.

    Raises:
        ConfigurationError: a variable that is not set, or a key that is another caller's as well.
    """
    from afk_es.serving import ApiKeys

    keys: dict[str, str] = {}
    for each in named:
        name, equals, variable = each.rpartition("=")
        key = os.environ.get(variable, "")
        if not key:
            raise ConfigurationError(f"the environment variable {variable!r} of {option} is not set")
        if key in keys:
            raise ConfigurationError(f"the key in {variable!r} is another caller's as well; give each a key of its own")
        keys[key] = name if equals else variable
    return ApiKeys(keys)


def rate_limit(text: str) -> Limited:
    """The limit that `CALLS/SECONDS` says; without seconds, of `RATE_S`.

    Raises:
        ConfigurationError: it says none.
    """
    from afk_es.serving import Limited

    calls, slash, seconds = text.partition("/")
    try:
        return Limited(int(calls), float(seconds) if slash else RATE_S)
    except ValueError as error:
        raise ConfigurationError(f"--rate is CALLS/SECONDS, such as 100/60, not {text!r}") from error
