"""What must not be shown: secrets by the name they stand under, by their shape, and by registered value. Pure; it knows text and JSON data only.

It stands beside `errors` and `clock`, below everything, because whoever shows, sends or keeps a text of others needs it: the model adapters
for a provider's error, telemetry, the command line, exports. The event log is not redacted: it keeps what happened, since a run is
continued from it, and is private to its owner.

A name is compared word by word, whichever way it is written (`apiKey`, `API_KEY`, `x-api-key`), and by its end: an `access_token` is a
secret, a `token_count`, `max_tokens`, a `tokenizer` and a `secretary` are none. All searching is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Any
from urllib.parse import quote

import msgspec

from afk_es.errors import ConfigurationError

__all__ = ["MARK", "MOST_VALUES", "redacted", "Redaction", "SECRET_NAMES", "SHORTEST_VALUE"]

MARK = "[redacted]"
"""What stands in the place of a secret."""

SHORTEST_VALUE = 6
"""Characters of the shortest value that can be registered: shorter ones are found in the middle of innocent words."""

MOST_VALUES = 1_000
"""Values that one `Redaction` looks for; beyond it the ones registered first are forgotten."""

SECRET_NAMES: tuple[str, ...] = (
    "password", "passwd", "passphrase", "pwd", "secret", "secrets", "token", "jwt", "credential", "credentials", "authorization", "cookie",
    "cookies", "otp", "api key", "private key", "secret key", "access key", "signing key", "encryption key", "account key", "session key",
    "access token", "refresh token", "id token", "auth token", "bearer token", "session token", "client secret",
)  # fmt: skip
"""Names whose value is a secret, in words. A longer name that ends with one of them is one as well."""

_LONGEST_NAME = 200
_LONGEST_JSON = 100_000
"""Characters of a string that is looked into as JSON. A longer one is searched as text, by shape and value."""
_JSON_DEPTH = 3
"""How deep JSON in a string in JSON in a string is looked into."""
_DEEPEST = 100
"""Levels of data that are looked into; what lies deeper is not shown."""
_KEPT_NAMES = 2_000

_TURNS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORDS = re.compile(r"[^\W\d_]+")

_PRIVATE_KEYS = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-(?!----))*(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?"
)

_SHAPES = r"""
      (?P<header>authorization\b[\\"']{0,8}\s*[:=]\s*[\\"']{0,8}(?:[a-z][a-z0-9-]{1,30}[ ]+)?) [^\s"',;\\]+
    | (?P<cookie>cookie\b[\\"']{0,8}\s*:\s*[\\"']{0,8}) [^\s"'=\\]{1,128}=[^\r\n"'\\]+
    | (?P<named>(?:NAMES)\b[\\"']{0,8}\s*[:=]\s*[\\"']{0,8}) (?:(?<=["'])[^"'\\\r\n]+|[^\s"',;}&\\]{4,})
    | (?P<scheme>\b(?:bearer|basic)[ ]+) (?=[\w.~+/-]{0,64}[\d=])[\w.~+/=-]{8,}
    | (?P<url>://[^\s/:@"']{0,128}:) [^\s/@"']{1,256}(?=@)
    | \b(?:sk|pk|rk|gsk|xai)[-_] (?=[\w*-]{0,64}[\d*])[\w*-]{6,}
    | \b(?:sk|pk|rk)[-_](?:proj|live|test|ant|or|svcacct|admin)[-_][\w*-]{6,}
    | \bAIza[\w-]{10,}
    | (?-i:\b(?:AKIA|ASIA)[A-Z0-9]{12,})
    | \b(?:gh[pousr]|github_pat|glpat|xox[abeprs]|hf|npm|pypi|dop_v1|shpat)[-_][\w-]{16,}
    | (?<![\w-])eyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?
"""


@cache
def _shapes(names: tuple[str, ...]) -> re.Pattern[str]:
    # Made when the first text is searched: to import this costs nothing.
    spelled = "|".join("[-_ ]?".join(map(re.escape, name.split())) for name in names)
    return re.compile(_SHAPES.replace("NAMES", spelled), re.IGNORECASE | re.VERBOSE)


_NOUNS = ("api key", "token", "secret", "password", "passwd", "passphrase", "private key", "secret key", "access key")
"""Names that are looked for in running text too, where one is followed by a colon or an equals sign and something."""

_ALL_LETTERS = frozenset({"aiza", "akia", "asia"})
_KEPT_GROUPS = ("header", "cookie", "named", "scheme", "url")


class Redaction:
    """What is kept back, and how.

    Args:
        keys: further names whose values are secrets, beside `SECRET_NAMES`; "customer key" is also `customerKey` and `CUSTOMER_KEY`.
        values: secrets themselves, found anywhere in any text, also inside a longer one, and as JSON and URLs spell them.

    Immutable. Neither its `repr` nor an error of it shows a value.

    Raises:
        ConfigurationError: a key without a word in it, or a value shorter than `SHORTEST_VALUE`.
    """

    __slots__ = ("_keys", "_known", "_mark", "_names", "_nouns", "_values")

    def __init__(self, *, keys: Iterable[str] = (), values: Iterable[str] = ()) -> None:
        further = [_further(key) for key in _texts("keys", keys)]
        self._keys = tuple(dict.fromkeys(further))
        self._names = frozenset(_spellings((*SECRET_NAMES, *further)))
        self._nouns = (*_NOUNS, *further)
        self._known: dict[str, tuple[bool, str]] = {}
        self._values: tuple[str, ...] = ()
        self._mark = MARK
        registered = _texts("values", values)
        if any(len(value.strip()) < SHORTEST_VALUE for value in registered):
            raise ConfigurationError(
                f"a registered value has fewer than {SHORTEST_VALUE} characters, and would be found in innocent words; name its key instead"
            )
        self._register(registered)

    def with_values(self, values: Iterable[object]) -> Redaction:
        """The same with more values. What is no text, or too short to be looked for, is left out."""
        wider = self._alike(self._keys)
        wider._register([value for value in values if isinstance(value, str) and len(value.strip()) >= SHORTEST_VALUE])
        return wider

    def with_keys(self, keys: Iterable[str]) -> Redaction:
        """The same with more names.

        Raises:
            ConfigurationError: one without a word in it.
        """
        return self._alike(dict.fromkeys((*self._keys, *map(_further, _texts("keys", keys)))))

    @property
    def keys(self) -> tuple[str, ...]:
        """The further names, in words."""
        return self._keys

    @property
    def mark(self) -> str:
        """What stands in the place of a secret: `MARK`, or another where a value is a piece of that."""
        return self._mark

    @property
    def has_values(self) -> bool:
        """Whether values were registered."""
        return bool(self._values)

    def text(self, text: str) -> str:
        """The text without secrets. A text that is a JSON object or list is treated as such, and otherwise left as it is written."""
        return self._text(text, _JSON_DEPTH)

    def value(self, value: Any) -> Any:
        """JSON data without secrets: the same dicts and lists with the same number of entries; the argument is not changed.

        Under a secret name every text and number is replaced, however deep; null, true and false are kept.
        """
        return self._value(value, _JSON_DEPTH, 0, hidden=False)

    def is_secret_name(self, name: str) -> bool:
        """Whether what stands under this name is a secret."""
        return self._judged(name)[0]

    def __repr__(self) -> str:
        return f"Redaction({len(self._names)} names, {len(self._values)} spellings of values)"

    # --------------------------------------------------------------------------------------------------------------------- the inside

    def _alike(self, keys: Iterable[str]) -> Redaction:
        other = Redaction(keys=keys)
        other._values, other._mark = self._values, self._mark
        return other

    def _register(self, values: list[str]) -> None:
        known = set(self._values)
        fresh = [spelling for value in values for spelling in _spelled(value) if spelling not in known]
        self._values = tuple(dict.fromkeys((*self._values, *fresh)))[-3 * MOST_VALUES :]
        # A password may be a piece of the mark itself.
        self._mark = next(mark for mark in (self._mark, "*" * 8, "") if not any(value in mark for value in fresh))

    def _judged(self, name: str) -> tuple[bool, str]:
        """Whether a name is a secret's, and the name as it is shown. The same few names come with every event."""
        known = self._known.get(name)
        if known is None:
            known = _ends_with(_words(name), self._names), self._text(name, 0)
            if len(self._known) < _KEPT_NAMES and len(name) <= _LONGEST_NAME:
                self._known[name] = known
        return known

    def _value(self, value: Any, depth: int, level: int, *, hidden: bool) -> Any:
        if isinstance(value, str):
            return self._mark if hidden and value else self._text(value, depth)
        if isinstance(value, (dict, list, tuple)) and level >= _DEEPEST:
            return self._mark
        if isinstance(value, dict):
            return self._object(value, depth, level + 1, hidden=hidden)
        if isinstance(value, (list, tuple)):
            return [self._value(item, depth, level + 1, hidden=hidden) for item in value]
        if value is None or isinstance(value, bool):
            return value
        shown = hidden or (bool(self._values) and self._holds_value(str(value)))
        return self._mark if shown else value

    def _object(self, value: dict[Any, Any], depth: int, level: int, *, hidden: bool) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key, item in value.items():
            secret, name = self._judged(key) if isinstance(key, str) else (False, key)
            while name in found:
                name = f"{name}'"
            if key == "properties" and isinstance(item, dict) and not hidden:
                found[name] = self._schemas(item, depth, level)
            else:
                found[name] = self._value(item, depth, level, hidden=hidden or secret)
        return found

    def _schemas(self, properties: dict[Any, Any], depth: int, level: int) -> dict[Any, Any]:
        """The properties of a JSON Schema: what stands under a name there describes it, and is the value of nobody."""
        described = {key: item for key, item in properties.items() if isinstance(item, dict) and _is_schema(item)}
        found = self._object({key: None if key in described else item for key, item in properties.items()}, depth, level, hidden=False)
        for name, (key, item) in zip(found, properties.items(), strict=True):
            if key in described:
                found[name] = self._value(item, depth, level + 1, hidden=False)
        return found

    def _text(self, text: str, depth: int) -> str:
        if len(text) < SHORTEST_VALUE:
            return text
        if depth and text[:1] in "{[ \n\t" and len(text) <= _LONGEST_JSON:
            text = self._json(text, depth)
        text = self._without_values(_PRIVATE_KEYS.sub(self._mark, text) if "PRIVATE KEY" in text else text)
        # Every shape but these has a sign in it that is no letter and no digit; most texts of an event are one word.
        if not text.isalnum() or text[:4].casefold() in _ALL_LETTERS:
            text = _shapes(self._nouns).sub(self._blanked, text)
        # What is left beside a mark may, with the mark, read like another value.
        return self._mark if self._holds_value(text) else text

    def _json(self, text: str, depth: int) -> str:
        try:
            data = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return text
        if not isinstance(data, (dict, list)):
            return text
        clean = self._value(data, depth - 1, 0, hidden=False)
        return text if clean == data else msgspec.json.encode(clean).decode()

    def _blanked(self, found: re.Match[str]) -> str:
        return next((found[group] for group in _KEPT_GROUPS if found[group] is not None), "") + self._mark

    def _holds_value(self, text: str) -> bool:
        return any(value in text for value in self._values)

    def _without_values(self, text: str) -> str:
        places = sorted((start, start + len(value)) for value in self._values if value in text for start in _places(value, text))
        if not places:
            return text
        parts: list[str] = []
        position, end = 0, 0
        for start, stop in places:
            # Values that overlap are one stretch; taking them out one after the other would leave a piece of the second.
            if start >= end:
                parts += [text[position:start], self._mark]
            end = position = max(end, stop)
        return "".join([*parts, text[position:]])


_SCHEMA_WORDS = frozenset(
    (
        "type", "title", "description", "format", "pattern", "minLength", "maxLength", "minimum", "maximum", "anyOf", "oneOf", "allOf",
        "$ref", "items", "properties", "required", "additionalProperties", "readOnly", "writeOnly", "deprecated",
    )
)  # fmt: skip


def _is_schema(item: dict[Any, Any]) -> bool:
    """Whether it only describes a value. A default or an example would be one."""
    return all(key in _SCHEMA_WORDS or (key == "default" and found is None) for key, found in item.items())


def _texts(name: str, given: Iterable[str]) -> list[str]:
    if isinstance(given, str):
        raise ConfigurationError(f"{name} is a list of texts; for this one write {name}=[...]")
    texts = list(given)
    if not all(isinstance(each, str) for each in texts):
        raise ConfigurationError(f"{name} is a list of texts, and not all of these are")
    return texts


def _further(key: str) -> str:
    words = _words(key)
    if not words:
        raise ConfigurationError(f"{key!r} cannot be the name of a secret: there is no word in it")
    return " ".join(words)


def _words(name: str) -> list[str]:
    return _WORDS.findall(_TURNS.sub(" ", name[-_LONGEST_NAME:]).casefold())


def _spellings(names: Iterable[str]) -> Iterable[str]:
    """Each name in words, and as one word, as in `apikey`."""
    for name in names:
        yield name
        yield name.replace(" ", "")


def _ends_with(words: list[str], names: frozenset[str]) -> bool:
    return any(" ".join(words[-count:]) in names for count in range(1, min(len(words), 4) + 1))


def _spelled(value: str) -> list[str]:
    """The value, and as it stands in JSON and in a URL."""
    plain = value.strip()
    try:
        return list(dict.fromkeys((plain, msgspec.json.encode(plain)[1:-1].decode(), quote(plain, safe=""))))
    except UnicodeEncodeError:
        return [plain]


def _places(value: str, text: str) -> Iterable[int]:
    start = text.find(value)
    while start >= 0:
        yield start
        start = text.find(value, start + 1)


_BY_SHAPE = Redaction()


def redacted(text: str) -> str:
    """The text with what looks like a key, a token or an Authorization header blanked out: for messages of others."""
    return _BY_SHAPE.text(text)
