"""What a user's message may hold, what is refused and why, and the chat APIs' form of it both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from afk_es.errors import ConfigurationError
from afk_es.llms import Image, LLMRequest, MultipartMessage, Text, chat_messages, image_from_file
from afk_es.llms.content import MAX_IMAGE_BYTES, content_of
from afk_es.machine.values import Message

PNG = b"\x89PNG\r\n\x1a\n" + bytes(4)


def test_text_alone_stays_text() -> None:
    assert content_of(None) == (None, [])
    assert content_of("a\ud800") == ("a�", [])
    assert content_of(["a", Text("b")]) == ("a\nb", [])


def test_images_are_parts_beside_the_text() -> None:
    text, parts = content_of(["Look:", Image(data=PNG), Image(url="https://example.org/a.png")])
    assert text == "Look:"
    assert [part["type"] for part in parts] == ["text", "image", "image"]
    assert (parts[1]["media_type"], parts[2]) == ("image/png", {"type": "image", "url": "https://example.org/a.png"})


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBP", "image/webp"),
    ],
)
def test_what_an_image_is_is_seen_from_its_first_bytes(tmp_path: Path, head: bytes, media_type: str) -> None:
    (tmp_path / "picture").write_bytes(head + b"...")
    assert image_from_file(tmp_path / "picture") == Image(data=head + b"...", media_type=media_type)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (7, "not int"),
        (b"bytes", "not bytes"),
        ([], "empty sequence"),
        ([7], "part 1 .* not int"),
        ([Text(7)], "part 1"),  # type: ignore[arg-type]
        (["x", Image()], "part 2 .*either a url or data"),
        ([Image(url="https://x", data=PNG)], "either a url or data"),
        ([Image(data=b"")], "not none of them"),
        ([Image(data=b"plain text")], "media_type is one of"),
        ([Image(data=PNG, media_type="text/html")], "media_type is one of"),
        ([Image(url="file:///etc/passwd")], "https://"),
        ([Image(url="data:image/png;base64,AAAA")], "bytes go into data"),
        ([Image(url="https://x/" + "a" * 9000)], "8192"),
        ([Image(url="https://x/a b")], "without spaces"),
        ([Image(url="https://x", media_type="image/png")], "belongs to data"),
        ([Image(data=PNG + bytes(MAX_IMAGE_BYTES))], "scale them down"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_the_reason(message: Any, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        content_of(message)


def test_a_file_that_cannot_be_read_or_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    for name in ("notes.txt", "nothing.png"):
        with pytest.raises(ConfigurationError, match=name):
            image_from_file(tmp_path / name)


def test_the_chat_form_is_made_and_read_back() -> None:
    message = MultipartMessage("user", "Look", parts=(Text("Look"), Image(data=PNG, media_type="image/png"), Image(url="https://x/y.png")))
    (turn,) = chat_messages([message])
    assert [part["type"] for part in turn["content"]] == ["text", "image_url", "image_url"]
    assert turn["content"][1]["image_url"]["url"].startswith("data:image/png;base64,iVBORw0KGgo")
    assert list(LLMRequest(model="m", messages=[turn]).messages) == [message]


def test_text_parts_of_a_chat_turn_stay_text_and_wrong_parts_are_refused() -> None:
    plain = LLMRequest(model="m", messages=[{"role": "user", "content": [{"type": "text", "text": "hi"}]}])
    assert list(plain.messages) == [Message("user", "hi")]
    for wrong in ({"type": "image_url", "image_url": {"url": "data:image/png;base64,!!"}}, {"type": "input_audio", "image_url": 1}):
        with pytest.raises(ValueError, match=r"part|base64"):
            LLMRequest(model="m", messages=[{"role": "user", "content": [wrong]}])
