"""Secrets do not get out: by name, by shape, by registered value; and what is no secret stays legible."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afk_es.errors import ConfigurationError
from afk_es.redaction import _DEEPEST as DEEPEST
from afk_es.redaction import MARK, MOST_VALUES, SHORTEST_VALUE, Redaction, redacted

PLAIN = Redaction()


# ------------------------------------------------------------------------------------------------------------------------------ by name


@pytest.mark.parametrize(
    "name",
    [
        "password", "PASSWORD", "userPassword", "db_password2", "passwd", "secret", "client_secret", "clientSecret", "secrets", "api_key",
        "apiKey", "apikey", "APIKey", "X-Api-Key", "OPENAI_API_KEY", "authorization", "Proxy-Authorization", "token", "access_token",
        "accessToken", "accesstoken", "refresh-token", "id_token", "cookie", "Set-Cookie", "private_key", "privateKey", "credentials",
        "aws_secret_access_key", "otp", "user.password", "jwt",
    ],
)  # fmt: skip
def test_what_stands_under_a_secret_name_is_replaced(name: str) -> None:
    assert PLAIN.value({name: "whatever it is"}) == {name: MARK}
    assert PLAIN.value([{"deep": {name: ["a1", {"b": 7}]}}]) == [{"deep": {name: [MARK, {"b": MARK}]}}]


@pytest.mark.parametrize(
    "name",
    [
        "token_count", "input_tokens", "max_tokens", "total_tokens", "tokenCount", "tokens", "tokenizer", "secretary", "password_policy",
        "api_key_id", "keys", "key", "idempotency_key", "arguments_hash", "author", "cookiecutter", "broken", "passport", "",
    ],
)  # fmt: skip
def test_names_that_only_look_like_it_are_left_alone(name: str) -> None:
    assert PLAIN.value({name: "a plain text", "n": {name: 500}}) == {name: "a plain text", "n": {name: 500}}


def test_null_true_and_false_say_nothing_and_are_kept() -> None:
    data = {"password": None, "token": True, "secret": False, "api_key": ""}
    assert PLAIN.value(data) == data


def test_a_schema_describes_secrets_and_holds_none() -> None:
    schema = {"type": "object", "properties": {"password": {"type": "string", "description": "yours", "default": None}}}
    assert PLAIN.value(schema) == schema
    told = PLAIN.value({"properties": {"password": "hunter2", "token": {"value": "abc"}, "secret": {"type": "string", "default": "xyz"}}})
    assert told == {"properties": {"password": MARK, "token": {"value": MARK}, "secret": {"type": MARK, "default": MARK}}}


def test_names_can_be_added_in_any_spelling() -> None:
    ours = Redaction(keys=["customerNumber"])
    assert ours.value({"CUSTOMER_NUMBER": "1", "new-customer-number": 2, "customer": "ada"}) == {
        "CUSTOMER_NUMBER": MARK,
        "new-customer-number": MARK,
        "customer": "ada",
    }
    assert ours.text("customer_number=12345, password=abcdef") == f"customer_number={MARK}, password={MARK}"


# ----------------------------------------------------------------------------------------------------------------------------- by shape


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abc123DEF456ghi789", "sk-proj-abcdefghijkl", "sk_live_abcdef", "AKIAIOSFODNN7EXAMPLE", "ghp_16C7e42F292c6912E7710c838347Ae178B4a", "github_pat_11ABCDEFG0123456789",
        "xoxb-123456789012-abcdefghij", "AIzaSyA1234567890abcdefghij", "hf_abcdefghijklmnopqrst1", "glpat-abcdefghij1234567890",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nDEK-Info: x\n-----END RSA PRIVATE KEY-----",
    ],
)  # fmt: skip
def test_keys_are_known_by_their_shape(secret: str) -> None:
    assert PLAIN.text(f"it is {secret} (so far)") == f"it is {MARK} (so far)"
    assert secret not in json.dumps(PLAIN.value({"text": [f"x={secret}"]}))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc", f"Authorization: Bearer {MARK}"),
        ("authorization: Basic dXNlcjpwYXNz\r\nHost: x", f"authorization: Basic {MARK}\r\nHost: x"),
        ("curl -H 'Authorization: token abcdef'", f"curl -H 'Authorization: token {MARK}'"),
        ("it sent bearer abc.def-1234", f"it sent bearer {MARK}"),
        ("Set-Cookie: id=abc; Path=/\nnext", f"Set-Cookie: {MARK}\nnext"),
        ("postgres://ada:hunter22@db/x", f"postgres://ada:{MARK}@db/x"),
        ("https://api/?api_key=verysecret1&x=1", f"https://api/?api_key={MARK}&x=1"),
        ('the body was {"password": "two words", "n": 1', f'the body was {{"password": "{MARK}", "n": 1'),
        ('"{\\"token\\": \\"abcdefgh\\"}"', f'"{{\\"token\\": \\"{MARK}\\"}}"'),
    ],
)
def test_secrets_in_running_text(text: str, shown: str) -> None:
    assert PLAIN.text(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "a basic understanding of bearer bonds", "the token was spent", "max_tokens: 99999", "risk-free, task-based, pk_customers", "Bearer",
        "set the OPENAI_API_KEY variable", "see https://example.org:8080/a@b", "cookie: soft", "eyJ", "secretary: Ada Lovelace",
    ],
)  # fmt: skip
def test_plain_words_are_left_alone(text: str) -> None:
    assert PLAIN.text(text) == text
    assert redacted(text) == text


def test_arguments_that_are_a_raw_string_are_looked_into() -> None:
    assert json.loads(PLAIN.text('{"user": "ada", "password": "p w", "inner": "{\\"apiKey\\": \\"k\\"}"}')) == {
        "user": "ada",
        "password": MARK,
        "inner": f'{{"apiKey":"{MARK}"}}',
    }


def test_json_without_secrets_stays_as_it_was_written() -> None:
    for text in ('{ "b" : 1,  "a": 1.50 }', "[1, 2", "{}", "[sic]", '{"a": NaN}', " 1234567890", '\t"a text"'):
        assert PLAIN.text(text) == text


@pytest.mark.parametrize(
    "piece",
    ["a-", "sk-", "eyJaaaaaaaa-", "eyJaaaaaaaa.", "token ", "token:", "bearer ", "-----BEGIN PRIVATE KEY-----", "://a:", "authorization ",
     "password: \\\"", "cookie: a", "-", "gh", " ", '{"', "["],
)  # fmt: skip
def test_searching_is_linear(piece: str) -> None:
    """A hundredfold text takes some hundred times as long, and not ten thousand times: the command line reads what a model wrote."""

    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        began = time.perf_counter()
        PLAIN.text(text)
        return time.perf_counter() - began

    seconds(1_000)
    assert seconds(400_000) < 4.0, "a quadratic search takes minutes"


# ----------------------------------------------------------------------------------------------------------------------------- by value


def test_a_registered_value_is_found_wherever_it_stands() -> None:
    ours = Redaction(values=['pa"ss wörd/1'])
    told = ours.value({"a": 'xpa"ss wörd/1x', "b": "url?p=pa%22ss%20w%C3%B6rd%2F1", "c": '{"n": "pa\\"ss wörd/1"}', 'pa"ss wörd/1': 1})
    assert told == {"a": f"x{MARK}x", "b": f"url?p={MARK}", "c": f'{{"n":"{MARK}"}}', MARK: 1}


def test_names_that_become_equal_stay_two() -> None:
    ours = Redaction(values=["first-hidden", "other-hidden"])
    assert ours.value({"first-hidden": 1, "other-hidden": 2}) == {MARK: 1, f"{MARK}'": 2}


def test_a_value_that_cannot_be_encoded_is_found_as_it_is() -> None:
    assert Redaction(values=["\ud800secret"]).text("x\ud800secretx") == f"x{MARK}x"


def test_more_names_than_are_remembered_are_still_judged() -> None:
    ours = Redaction()
    assert not any(ours.is_secret_name(f"name_{number}") for number in range(3_000))
    assert ours.is_secret_name("name_password")


def test_values_that_overlap_leave_no_piece() -> None:
    assert Redaction(values=["abcdef", "defghi"]).text("-abcdefghi-") == f"-{MARK}-"


def test_a_number_that_spells_a_value_is_one() -> None:
    assert Redaction(values=["123456"]).value([123456, 91234560, 12345, 1.5]) == [MARK, MARK, 12345, 1.5]


@pytest.mark.parametrize("value", ["redacted", "[redacted]", "a[redacted]b", "********"])
def test_a_value_that_reads_like_the_mark_does_not_come_back_through_it(value: str) -> None:
    ours = Redaction(values=[value, "another", "aSECRETb"])
    for text in (value, f"x {value} another", "a" + "aSECRETb" + "b", "aanotherb"):
        assert value not in ours.text(text)


def test_values_too_short_to_be_looked_for_are_refused_and_those_of_a_tools_scope_left_out() -> None:
    with pytest.raises(ConfigurationError, match="fewer than 6 characters"):
        Redaction(values=["abc"])
    assert PLAIN.with_values(["abc", "", "   "]).text("abc") == "abc"


@pytest.mark.parametrize(
    ("name", "given"), [("values", "hunter22"), ("keys", "password"), ("values", [7]), ("keys", [None]), ("keys", ["_"])]
)
def test_what_cannot_be_meant_is_refused_without_being_shown(name: str, given: Any) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Redaction(**{name: given})
    assert "hunter22" not in str(refused.value)


def test_no_value_is_shown_by_repr() -> None:
    assert "hunter22" not in repr(Redaction(values=["hunter22"]))


def test_values_are_bounded_and_the_newest_hold() -> None:
    many = Redaction()
    for number in range(4 * MOST_VALUES):
        many = many.with_values([f"value-{number:06}"])
    assert many.text(f"value-{4 * MOST_VALUES - 1:06}") == MARK
    assert len(many._values) <= 3 * MOST_VALUES


def test_data_nested_beyond_reason_is_not_shown_rather_than_searched() -> None:
    deep: Any = "hunter22"
    for _ in range(50_000):
        deep = {"properties": [deep]}
    assert MARK in repr(shown := PLAIN.value({"deep": deep, "beside": "plain"}))
    assert shown["beside"] == "plain"


# -------------------------------------------------------------------------------------------------------------------------- properties

NAMES = st.sampled_from(["password", "n", "token_count", "apiKey", "properties", "arguments", "x"]) | st.text(max_size=8)
TEXTS = st.text(alphabet=st.sampled_from('ab1 "\\{}[]:,=-.@/\n') | st.characters(codec="utf-8"), max_size=40)
PIECES = st.sampled_from(
    ["password=", "Bearer ", "sk-", "eyJabcdefgh.abcd", "token: ", '{"secret": "', "://a:b@", "-----BEGIN PRIVATE KEY-----"]
)
SPICED = st.lists(TEXTS | PIECES | st.just("[redacted]"), max_size=6).map("".join)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | SPICED,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)
VALUES = st.text(alphabet=st.sampled_from('ab1d]["\\ {}') | st.characters(codec="utf-8"), min_size=SHORTEST_VALUE, max_size=12).filter(
    lambda value: len(value.strip()) >= SHORTEST_VALUE
)


def planted(data: Any, value: str) -> Any:
    """The data with the value put into every text, as it is and as JSON."""
    if isinstance(data, str):
        return data[:5] + value + data[5:] + json.dumps({"in": value})
    if isinstance(data, list):
        return [planted(item, value) for item in data]
    if isinstance(data, dict):
        return {key + value: planted(item, value) for key, item in data.items()}
    return data


def texts_in(data: Any) -> list[str]:
    if isinstance(data, dict):
        return [*data, *(text for item in data.values() for text in texts_in(item))]
    return [text for item in data for text in texts_in(item)] if isinstance(data, list) else [str(data)]


def shape_of(data: Any) -> Any:
    if isinstance(data, dict):
        return [shape_of(item) for item in data.values()]
    return [shape_of(item) for item in data] if isinstance(data, list) else None


@given(DATA, st.lists(VALUES, min_size=1, max_size=3))
def test_a_registered_value_never_comes_out(data: Any, values: list[str]) -> None:
    ours = Redaction(values=values)
    for value in values:
        found = ours.value(planted(data, value))
        assert not [text for text in texts_in(found) if value.strip() in text]


@given(DATA, st.lists(VALUES, max_size=2))
def test_redacting_twice_is_redacting_once(data: Any, values: list[str]) -> None:
    ours = Redaction(values=values)
    once = ours.value(data)
    assert ours.value(once) == once


@given(DATA, st.lists(VALUES, max_size=2))
def test_the_structure_stays(data: Any, values: list[str]) -> None:
    before = json.dumps(data)
    assert shape_of(Redaction(values=values).value(data)) == shape_of(data)
    assert json.dumps(data) == before, "what was handed in is not changed"


@given(SPICED)
def test_a_secret_under_a_name_never_comes_out_of_a_raw_string(text: str) -> None:
    raw = json.dumps({"note": text, "password": "hunter22 and more"})
    assert "hunter22" not in PLAIN.text(raw)
    assert "hunter22" not in PLAIN.text(raw[:-1])


def test_a_redaction_tells_its_further_names_and_never_its_values() -> None:
    own = Redaction(keys=["customerNumber"], values=["corridor seven"])
    assert own.keys == ("customer number",)
    assert own.has_values
    assert not Redaction().has_values
    assert own.mark == "[redacted]"


def test_a_redaction_with_more_names_keeps_its_values_and_a_wider_one_its_names() -> None:
    own = Redaction(values=["corridor seven"]).with_keys(["customer number"]).with_values(["corridor eight"])
    assert own.value({"customer_number": "4711", "where": "corridor seven", "or": "corridor eight"}) == {
        "customer_number": "[redacted]",
        "where": "[redacted]",
        "or": "[redacted]",
    }
    with pytest.raises(ConfigurationError):
        own.with_keys(["4711"])


# ------------------------------------------------------------------------------------------------------------------------------ edges


def test_every_place_of_every_value_is_blanked_and_what_stands_between_stays() -> None:
    ours = Redaction(values=["first-hidden", "other-hidden"])
    assert ours.text("a first-hidden b other-hidden c first-hidden d") == f"a {MARK} b {MARK} c {MARK} d"
    assert Redaction(values=["ababab"]).text("-abababab-ababab-") == f"-{MARK}-{MARK}-", "places may overlap"


def test_the_shortest_value_is_a_value_and_so_is_one_of_a_tools_scope() -> None:
    value = "x" * (SHORTEST_VALUE - 1) + "7"
    assert Redaction(values=[value]).text(value) == MARK
    assert PLAIN.with_values([value]).text(f"<{value}>") == f"<{MARK}>"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"keys": "password"}, "keys is a list of texts; for this one write keys=[...]"),
        ({"values": "hunter22"}, "values is a list of texts; for this one write values=[...]"),
        ({"keys": [None]}, "keys is a list of texts, and not all of these are"),
        ({"values": [7]}, "values is a list of texts, and not all of these are"),
        ({"keys": ["_"]}, "'_' cannot be the name of a secret: there is no word in it"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_to_write(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Redaction(**given)
    assert str(refused.value) == why
    if "keys" in given:
        with pytest.raises(ConfigurationError) as refused:
            PLAIN.with_keys(given["keys"])
        assert str(refused.value) == why


def test_a_mark_that_would_spell_a_value_gives_way_to_the_next() -> None:
    assert PLAIN.with_values(["redacted"]).mark == "********"
    assert PLAIN.with_values(["redacted"]).with_values(["********"]).mark == ""


def nested(levels: int, kind: type = list) -> Any:
    """A text in so many lists, or dicts."""
    data: Any = "plain"
    for _ in range(levels):
        data = [data] if kind is list else {"a": data}
    return data


@pytest.mark.parametrize("kind", [list, dict])
def test_data_is_looked_through_to_a_depth_that_is_the_same_for_lists_and_objects(kind: type) -> None:
    depth = next(levels for levels in range(1, 1_000) if PLAIN.value(nested(levels, kind)) != nested(levels, kind))
    assert depth == DEEPEST + 1


def test_a_schema_that_describes_a_schema_is_one_level_deeper() -> None:
    described: Any = {"type": "string"}
    for _ in range(4):
        described = {"properties": {"password": described}}
    assert PLAIN.value(described) == described


def test_names_that_are_no_texts_hide_nothing() -> None:
    assert PLAIN.value({7: "plain", None: {"password": "p"}}) == {7: "plain", None: {"password": MARK}}


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_json_in_json_is_looked_into_as_far_as_it_is_meant_to_be(layers: int) -> None:
    text = json.dumps({"password": "hunter22 and more"})
    for _ in range(layers - 1):
        text = json.dumps({"inner": text})
    assert "hunter22" not in PLAIN.text(text)


def test_a_name_of_many_words_is_judged_by_its_last_four() -> None:
    ours = Redaction(keys=["very own customer number"])
    assert ours.is_secret_name("the_very_own_customer_number")
    assert ours.is_secret_name("veryowncustomernumber")
    assert not ours.is_secret_name("very_own_customer_numbers")
    assert not PLAIN.is_secret_name("")


RAW = json.dumps({"password": "hunter22 and more"})
CLEAN = json.dumps({"password": MARK}, separators=(",", ":"))


@pytest.mark.parametrize(
    ("data", "clean"),
    [
        ([RAW], [CLEAN]),
        ([[{"a": [RAW]}]], [[{"a": [CLEAN]}]]),
        ({"properties": {"a": RAW}}, {"properties": {"a": CLEAN}}),
        ({"properties": {"a": {"type": "string", "description": RAW}}}, {"properties": {"a": {"type": "string", "description": CLEAN}}}),
    ],
)
def test_json_is_looked_into_wherever_its_text_stands(data: Any, clean: Any) -> None:
    assert PLAIN.value(data) == clean


def test_what_stands_beside_a_schemas_properties_is_hidden_by_its_name_and_not_by_them() -> None:
    schema = {"properties": {"n": 5, "note": "plain", "password": {"type": "string"}, "token": "abcdef"}}
    assert PLAIN.value(schema) == {"properties": {"n": 5, "note": "plain", "password": {"type": "string"}, "token": MARK}}


@pytest.mark.parametrize("key", ["AKIAABCDEFGHIJKLMNOP", "ASIAABCDEFGHIJKLMNOP", "AIza" + "Sy0123456789" + "abcdefghijk" * 2 + "Z"])
def test_a_key_without_a_sign_in_it_is_known_by_how_it_begins(key: str) -> None:
    assert key.isalnum()
    assert PLAIN.text(key) == MARK
    assert PLAIN.text(f"it is {key}") == f"it is {MARK}"


def test_a_value_is_found_as_json_spells_it_also_where_the_json_is_broken() -> None:
    assert Redaction(values=['pa"ss wörd']).text('cut {"n": "pa\\"ss wörd') == f'cut {{"n": "{MARK}'


def test_a_value_that_overlaps_itself_leaves_no_piece() -> None:
    assert Redaction(values=["aaaaaa"]).text("-aaaaaaa-") == f"-{MARK}-"
