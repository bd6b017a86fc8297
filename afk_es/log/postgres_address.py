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


def is_postgres(text: str) -> bool:
    """Whether a text is meant as a log on PostgreSQL."""
    return text.partition("://")[0] in SCHEMES and "://" in text


def without_secrets(text: str) -> str:
    """A text for people: of a URL of ours, whatever is before an @ and whatever an option keeps secret is left out."""
    if not is_postgres(text):
        return text
    scheme, _, rest = text.partition("://")
    hidden = re.sub(r"(?<=[?&])(password|sslpassword|passfile)=[^&]*", r"\1=...", rest)
    return f"{scheme}://{'...@' + hidden.rpartition('@')[2] if '@' in hidden else hidden}"


def address_of(url: str, schema: str | None = None) -> Address:
    """The place that a URL names.

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
    name = user.partition(":")[0]
    shown = f"postgresql://{name + '@' if name else ''}{hosts}/{quote(database)}{_query(ours)}"
    return Address(f"postgresql://{parts.netloc}{parts.path}{_query(theirs)}", named, shown)


def _are_hosts(hosts: str) -> bool:
    return all(_HOST.fullmatch(host) for host in hosts.split(","))


def _query(options: list[tuple[str, str]]) -> str:
    return "?" + urlencode(options, safe="/", quote_via=quote) if options else ""
