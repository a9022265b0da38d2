"""Images."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from ftkit._text import excerpt
from ftkit.dataset.formats import Conversation
from ftkit.rules.base import ERROR, INFO, Hit, ScanPlan, rule
from ftkit.rules.nodes import SchemaError
from ftkit.rules.samples import IMAGE_CHAT, PIXEL_URL, USER, chat, image_part, user_parts
from ftkit.rules.sources import AZURE_DOCS, OPENAI_VISION_GUIDE, OPENAPI, TOGETHER
from ftkit.rules.traverse import iter_images

IMAGE_TYPES = {
    "image/jpeg": b"\xff\xd8\xff",
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/webp": b"RIFF",
}
"""Media types of images that can be trained on, and the first bytes of such files."""

OTHER_IMAGES = {
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"<svg": "SVG",
    b"\0\0\0\x1cftypavif": "AVIF",
}
"""First bytes of images that cannot be trained on, and their names."""

DATA_URI = re.compile(r"data:([^;,]*+)((?:;[^;,]*+)*+),", re.IGNORECASE)
"""The start of a data: URI: its media type and its parameters."""


@rule(
    "FT603",
    "image-role",
    ERROR,
    SchemaError,
    places=[("*", "type", "discriminator")],
    bad=chat(
        USER, f'{{"role": "assistant", "content": [{image_part("https://example.com/a.png")}]}}'
    ),
    good=IMAGE_CHAT,
    evidence=[OPENAI_VISION_GUIDE, TOGETHER],
)
def image_role(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """An image is outside a user message.

    The model sees images but cannot write them, so providers refuse the example. Move the image to
    a user message.
    """
    if error.value == "image_url":
        yield Hit(
            "images are allowed in user messages only; move it to one",
            error.path.removesuffix(".type"),
        )


@rule(
    "FT604",
    "image-detail",
    ERROR,
    SchemaError,
    places=[("ImageUrl", "detail", "enum")],
    bad=user_parts(image_part(PIXEL_URL, ', "detail": "medium"')),
    good=user_parts(image_part(PIXEL_URL, ', "detail": "low"')),
    evidence=[OPENAPI.with_detail("enum: [auto, low, high]")],
)
def image_detail(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """The `detail` of an image is not auto, low or high.

    Providers refuse the example. Choose one of them; `low` costs the fewest tokens.
    """
    yield Hit(f"detail must be auto, low or high, not {excerpt(error.value, 40)}", error.path)


def iter_embedded(conversation: Conversation) -> Iterator[tuple[str, str, bool, str]]:
    """Yield path, media type, whether it is base64, and data of each image in a data: URI."""
    for path, url in iter_images(conversation):
        match = DATA_URI.match(url)
        if match:
            is_base64 = match[2].lower().endswith(";base64")
            yield path, match[1].lower(), is_base64, url[match.end() :]


@rule(
    "FT605",
    "image-url",
    ERROR,
    Conversation,
    needs=["parts"],
    bad=user_parts(image_part("file:///tmp/a.png")),
    good=IMAGE_CHAT,
    evidence=[OPENAI_VISION_GUIDE],
)
def image_url(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """The URL of an image is neither http(s) nor a data: URI.

    The provider cannot load the image. Upload it somewhere, or embed it in base64.
    """
    for path, url in iter_images(conversation):
        if not re.match(r"https?://[^/\s]", url, re.IGNORECASE) and not DATA_URI.match(url):
            hint = (
                "; put data:image/png;base64, in front of base64"
                if url.startswith(("iVBOR", "/9j/", "UklGR"))
                else ""
            )
            yield Hit(f"{excerpt(url, 60)} is neither an http(s) URL nor a data: URI{hint}", path)


@rule(
    "FT606",
    "image-base64",
    ERROR,
    Conversation,
    needs=["parts"],
    bad=user_parts(image_part("data:image/png;base64,iVBORw0KGgo!")),
    good=IMAGE_CHAT,
    evidence=[TOGETHER],
)
def image_base64(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """The data: URI of an image cannot be decoded.

    The provider cannot read the image. Write `data:image/png;base64,` and the base64 of the file.
    """
    for path, _, is_base64, data in iter_embedded(conversation):
        problem = decode_problem(data) if is_base64 else "it is not base64"
        if problem:
            yield Hit(
                f"the data: URI cannot be decoded ({problem}); "
                "write data:image/png;base64, and the base64 of the file",
                path,
            )


def decode_problem(data: str) -> str:
    """Return why base64 data cannot be decoded, or "" if it can."""
    try:
        decoded = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        return str(error).rstrip(".")
    return "" if decoded else "it is empty"


@rule(
    "FT607",
    "image-type",
    ERROR,
    Conversation,
    needs=["parts"],
    bad=user_parts(
        image_part("data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
    ),
    good=IMAGE_CHAT,
    evidence=[OPENAI_VISION_GUIDE, TOGETHER],
)
def image_type(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """An image is not JPEG, PNG or WEBP, or is not what its data: URI claims.

    Providers skip or refuse such images. Convert the image, or correct the media type.
    """
    for path, media_type, is_base64, data in iter_embedded(conversation):
        start = data[:64]
        if not is_base64 or decode_problem(start[: len(start) // 4 * 4]):
            continue
        first = base64.b64decode(start[: len(start) // 4 * 4])
        if first.startswith(b"RIFF") and first[8:12] != b"WEBP":
            first = b""
        declared = media_type.replace("jpg", "jpeg")
        actual = next((name for name in IMAGE_TYPES if first.startswith(IMAGE_TYPES[name])), None)
        if declared not in IMAGE_TYPES:
            yield Hit(
                f"media type {excerpt(media_type, 40)} cannot be trained on; "
                "convert the image to JPEG, PNG or WEBP",
                path,
            )
        elif actual is None:
            other = next(
                (OTHER_IMAGES[magic] for magic in OTHER_IMAGES if first.startswith(magic)), ""
            )
            yield Hit(
                f"the URI declares {media_type}, but the bytes are "
                f"{other or 'not JPEG, PNG or WEBP'}; convert the image",
                path,
            )
        elif actual != declared:
            yield Hit(
                f"the URI declares {media_type}, but the bytes are {actual}; correct the URI", path
            )


@rule(
    "FT608",
    "image-size",
    ERROR,
    Conversation,
    needs=["parts"],
    bad=lambda: user_parts(image_part(f"{PIXEL_URL[:-4]}{'A' * 13_400_000}")),
    good=IMAGE_CHAT,
    evidence=[OPENAI_VISION_GUIDE.with_detail("10 MB"), TOGETHER],
)
def image_size(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """An image is larger than the provider accepts (10 MB at OpenAI).

    Providers skip or refuse such images. Make it smaller; larger images are scaled down anyway.
    """
    limit = plan.limits.figure("image_bytes")
    for path, _, is_base64, data in iter_embedded(conversation):
        size = len(data.rstrip("=")) * 3 // 4 if is_base64 else len(data)
        if limit and size > limit:
            yield Hit(
                f"the image has {size / 1e6:.1f} MB, but at most {limit / 1e6:.0f} MB are "
                "accepted; make it smaller",
                path,
            )


@rule(
    "FT609",
    "image-count",
    ERROR,
    Conversation,
    needs=["parts"],
    bad=user_parts(*[image_part(PIXEL_URL)] * 11),
    good=IMAGE_CHAT,
    evidence=[
        OPENAI_VISION_GUIDE.with_detail("10 images"),
        AZURE_DOCS.with_detail("64 images"),
        TOGETHER,
    ],
)
def image_count(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """An example has more images than the provider accepts (10 at OpenAI, 64 at Azure).

    Providers refuse the example. Split it.
    """
    limit = plan.limits.figure("images_per_example")
    number = sum(1 for _ in iter_images(conversation))
    if limit and number > limit:
        yield Hit(
            f"{number} images in one example, but {plan.limits.title} accepts at most {limit}; "
            "split the example",
            conversation.path,
        )


@rule(
    "FT610",
    "image-remote",
    INFO,
    Conversation,
    needs=["parts"],
    bad=user_parts(image_part("https://example.com/a.png")),
    good=user_parts(image_part(PIXEL_URL)),
    evidence=[OPENAI_VISION_GUIDE.with_detail("images that cannot be fetched are skipped")],
)
def image_remote(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """An image is given by its URL, so ftkit cannot check it.

    The provider fetches it when the job runs, and skips what it cannot fetch. Keep it reachable
    until then, or embed it in base64. The local service fetches none, and refuses the example.
    """
    message = "an image given by URL is not checked; keep it reachable until the job has run"
    if plan.limits.lacks("images by URL"):
        message = f"{plan.limits.title} does not fetch images given by URL; embed it in base64"
    for path, url in iter_images(conversation):
        if url[:4].lower() == "http":
            yield Hit(message, path)
