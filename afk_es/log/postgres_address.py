"""Where a log on PostgreSQL is: from a URL to what the driver is given, and to what a person may see. Knows no driver and opens nothing."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from afk_es.errors import ConfigurationError

SCHEMES = ("postgresql", "postgres")
SCHEMA = "afk_es"
"""The schema that a log is in where none is named."""

_SCHEMA_NAME = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,62}")
_SECRETS = frozenset({"password", "sslpassword", "passfile"})
_HOST = re.compile(r"(\[[0-9a-fA-F:.%]+\]|[^:/@\[\]]*)(:\d*)?")
_LEGAL = (
    "postgresql://USER@HOST:PORT/DATABASE with the options of libpq, and schema=NAME (lower-case letters, digits and _) for another schema "
    f"than {SCHEMA}; in a password or a name percent-escape what is not a letter or a digit"
)


class Address(NamedTuple):
    """A log's place.

    Attributes:
        dsn: the URL as the driver is given it, with the password if there is one.
        schema: the schema that the log's tables are in.
        shown: the URL as people see it, without anything secret. It opens the same log where the password is known otherwise, as from
            PGPASSWORD or ~/.pgpass.
    """

    dsn: str
    schema: str
    shown: str


_PASSWORDS: dict[str, str] = {}
"""Of each place that was named with a password in this process, by how it is shown, what the driver was given."""


def is_postgres(text: str) -> bool:
    """Whether a text is meant as a log on PostgreSQL."""
    return text.partition("://")[0] in SCHEMES and "://" in text


def without_secrets(text: str) -> str:
    """A text for people, whatever it is: of a URL the password is left out, and what an option keeps secret."""
    scheme, there, rest = text.partition("://")
    if not there:
        return text
    user, at, place = rest.rpartition("@")
    hidden = re.sub(r"(?<=[?&])(password|sslpassword|passfile)=[^&]*", r"\1=...", place)
    return f"{scheme}://{user.partition(':')[0]}{at}{hidden}"


def address_of(url: str, schema: str | None = None) -> Address:
    """The place that a URL names. One as it is shown, of which this process was told the password before, is opened with that.

    Args:
        url: `postgresql://user:password@host:port/database?option=value`; `schema` is an option of ours, the others are libpq's.
        schema: another schema than the URL's.

    Raises:
        ConfigurationError: it is no such URL. The message shows none of it, since a password may stand anywhere in a URL that is wrong.
    """
    try:
        parts = urlsplit(url)
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ConfigurationError(f"a URL of a log on PostgreSQL cannot be read; it is {_LEGAL}") from None
    user, _, hosts = parts.netloc.rpartition("@")
    database = unquote(parts.path[1:])
    if parts.scheme not in SCHEMES or parts.fragment or not _are_hosts(hosts) or "@" in database or "/" in database:
        raise ConfigurationError(f"a URL of a log on PostgreSQL cannot be read; it is {_LEGAL}")
    named = schema if schema is not None else dict(options).get("schema", SCHEMA)
    if not _SCHEMA_NAME.fullmatch(named):
        raise ConfigurationError(f"{named!r} cannot be the schema of a log; it is {_LEGAL}")
    theirs = [(key, value) for key, value in options if key != "schema"]
    ours = [(key, value) for key, value in theirs if key not in _SECRETS]
    if named != SCHEMA:
        ours.append(("schema", named))
    name, secret, _ = user.partition(":")
    shown = f"postgresql://{name + '@' if name else ''}{hosts}/{quote(database)}{_query(ours)}"
    dsn = f"postgresql://{parts.netloc}{parts.path}{_query(theirs)}"
    if secret or any(key in _SECRETS for key, _ in theirs):
        _PASSWORDS[shown] = dsn
    return Address(_PASSWORDS.get(shown, dsn), named, shown)


def short_name(url: str) -> str:
    """What a log is called where its server is nobody's business: its database and schema."""
    address = address_of(url)
    return f"{unquote(urlsplit(address.shown).path[1:]) or 'postgresql'}.{address.schema}"


def _are_hosts(hosts: str) -> bool:
    return all(_HOST.fullmatch(host) for host in hosts.split(","))


def _query(options: list[tuple[str, str]]) -> str:
    return "?" + urlencode(options, safe="/", quote_via=quote) if options else ""
