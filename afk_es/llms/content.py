"""A user's message as users give it: text, or a sequence of texts and images. Checked here, before anything is written or sent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from afk_es.errors import ConfigurationError
from afk_es.machine.content import Image, Part, Text, joined_text, part_data
from afk_es.machine.values import clean_text

UserMessage: TypeAlias = str | Sequence[str | Text | Image]
"""What `Runner.run(user_message=...)` takes; a str in the sequence is a Text."""

MAX_IMAGE_BYTES = 20 * 1024 * 1024
"""All images of a message together. Providers take less: 20 MB a request with most, 5 MB an image with some."""

MAX_URL_CHARACTERS = 8192

_SIGNATURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
MEDIA_TYPES = frozenset({*_SIGNATURES.values(), "image/webp"})
"""What every provider that takes images takes."""


def image_from_file(path: str | Path, *, media_type: str | None = None) -> Image:
    """The image in a file, read now.

    Args:
        media_type: where it is left out, what the file's first bytes say.

    Raises:
        ConfigurationError: the file cannot be read, or is no image that providers take.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    return _checked_image(Image(data=data, media_type=media_type), str(path))


def content_of(user_message: object) -> tuple[str | None, list[dict[str, Any]]]:
    """The message's text, and its parts as JSON data where it has images; no parts where it is text alone.

    Raises:
        ConfigurationError: it is neither text nor a sequence of texts and images, or an image cannot be sent.
    """
    if user_message is None or isinstance(user_message, str):
        return clean_text(user_message) if user_message is not None else None, []
    if not isinstance(user_message, Sequence) or isinstance(user_message, (bytes, bytearray)):
        raise ConfigurationError(f"user_message is a str, a sequence of str, Text and Image, or None, not {type(user_message).__name__}")
    if not user_message:
        raise ConfigurationError("user_message is an empty sequence; leave it out, or say something")
    parts = [_checked_part(part, index) for index, part in enumerate(user_message, start=1)]
    images = [part for part in parts if isinstance(part, Image)]
    size = sum(len(image.data or b"") for image in images)
    if size > MAX_IMAGE_BYTES:
        raise ConfigurationError(
            f"the images of a message have {size:,} bytes, and {MAX_IMAGE_BYTES:,} at most are taken; scale them down, or pass addresses"
        )
    return joined_text(parts), [part_data(part) for part in parts] if images else []


def _checked_part(part: object, index: int) -> Part:
    match part:
        case str():
            return Text(clean_text(part))
        case Text(text=str() as text):
            return Text(clean_text(text))
        case Image():
            return _checked_image(part, f"part {index} of user_message")
        case _:
            raise ConfigurationError(f"part {index} of user_message is a str, a Text or an Image, not {type(part).__name__}")


def _checked_image(image: Image, where: str) -> Image:
    if (image.url is None) == (image.data is None):
        raise ConfigurationError(f"{where}: an Image has either a url or data")
    if image.data is None:
        _check_url(image, where)
        return image
    data: object = image.data
    if not isinstance(data, bytes) or not data:
        raise ConfigurationError(f"{where}: an Image's data are bytes, and not none of them")
    media_type = image.media_type or _sniffed(image.data)
    if media_type not in MEDIA_TYPES:
        raise ConfigurationError(f"{where}: media_type is one of {', '.join(sorted(MEDIA_TYPES))}; this is {media_type!r}")
    return Image(data=image.data, media_type=media_type)


def _check_url(image: Image, where: str) -> None:
    url = image.url
    if not isinstance(url, str) or not url.startswith(("https://", "http://")):
        raise ConfigurationError(f"{where}: an Image's url begins with https:// or http://; bytes go into data, not into a data: URL")
    if len(url) > MAX_URL_CHARACTERS or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigurationError(f"{where}: an Image's url is at most {MAX_URL_CHARACTERS} printable ASCII characters without spaces")
    if image.media_type is not None:
        raise ConfigurationError(f"{where}: media_type belongs to data; the server of a url says it itself")


def _sniffed(data: bytes) -> str | None:
    """The media type by the file's signature (WHATWG MIME Sniffing, image patterns)."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((media_type for signature, media_type in _SIGNATURES.items() if data.startswith(signature)), None)
