"""Images of messages: decoding of data: URLs, within limits.

Addresses are never fetched: a training file or a request could name any host in the service's
network.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
import warnings
from typing import Any

from PIL import Image, ImageOps

from ftkit.errors import EncodingError
from ftkit.server.training.messages import Message

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
"""Formats of images, by Pillow's names; those of OpenAI's guide to images and vision."""

MAX_IMAGES = 64
"""Maximum number of images of an example or a chat; a limit of this service."""

MAX_IMAGE_BYTES = 10_000_000
"""Maximum size of an image file; OpenAI's limit for vision fine-tuning."""

MAX_PIXELS = 64_000_000
"""Maximum number of pixels of all images of an example or a chat; a limit of this service."""

MAX_ASPECT_RATIO = 256
"""Maximum quotient of the sides of an image; a limit of this service.

Image processors such as LLaVA's enlarge an image until its shorter side has enough pixels, so
without a limit, an image of some hundred bytes would take all memory.
"""

TOO_LARGE = f"exceeds the limit of {MAX_PIXELS:,} pixels; make it smaller"
"""Reason to refuse an image."""

DATA_URL = re.compile(r"data:[^;,]*;base64,", re.IGNORECASE)
"""Start of a data: URL."""


def image_urls(messages: list[Message]) -> list[str]:
    """Return the URLs of the images in messages of the API, in their order."""
    return [
        part["image_url"]["url"]
        for message in messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
        if "image_url" in part
    ]


def decode_images(urls: list[str]) -> list[Any]:
    """Decode images to RGB.

    Raises:
        EncodingError: An image is not embedded or cannot be decoded, or there are too many.
    """
    if len(urls) > MAX_IMAGES:
        raise EncodingError(f"there are {len(urls):,} images; the limit is {MAX_IMAGES}")
    images: list[Any] = []
    pixels = 0
    for number, url in enumerate(urls, 1):
        try:
            image = _open(_decode_url(url))
            if max(image.size) > MAX_ASPECT_RATIO * min(image.size):
                raise EncodingError(
                    f"has {image.width:,} x {image.height:,} pixels; one side must not be more than"
                    f" {MAX_ASPECT_RATIO} times as long as the other"
                )
            pixels += image.width * image.height
            if pixels > MAX_PIXELS:
                raise EncodingError(TOO_LARGE)
            images.append(_to_rgb(image))
        except EncodingError as error:
            raise EncodingError(f"image {number} {error}") from error
    return images


def _decode_url(url: str) -> bytes:
    match = DATA_URL.match(url)
    if match is None:
        raise EncodingError(
            "is not embedded, and this service fetches no addresses; write"
            " data:image/png;base64, and the base64 of the file"
        )
    if (len(url) - match.end()) * 3 // 4 > MAX_IMAGE_BYTES + 2:  # with padding
        raise EncodingError(f"exceeds the limit of {MAX_IMAGE_BYTES:,} bytes; make it smaller")
    try:
        return base64.b64decode(url[match.end() :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise EncodingError(f"is not valid base64: {error}") from error


def _open(data: bytes) -> Any:
    """Read the header of an image."""
    try:
        with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        animated = getattr(image, "is_animated", False)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise EncodingError(TOO_LARGE) from error
    except Exception as error:  # Pillow raises exceptions of many types for damaged files
        raise EncodingError("is not a PNG, JPEG, WEBP or GIF image; convert it") from error
    if animated:
        raise EncodingError("is animated; use one of its frames")
    return image


def _to_rgb(image: Any) -> Any:
    try:
        # Cameras store the rotation of an image beside its pixels.
        return ImageOps.exif_transpose(image).convert("RGB")
    except Exception as error:
        raise EncodingError(f"cannot be decoded ({error}); export it again") from error
