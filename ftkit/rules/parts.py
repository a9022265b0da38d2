"""Content in parts: texts, refusals and images."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from ftkit._text import excerpt
from ftkit.dataset.formats import Conversation
from ftkit.dataset.types import Answer, ImagePart, RefusalPart
from ftkit.rules.base import ERROR, INFO, Broken, Hit, ScanPlan, rule
from ftkit.rules.json_lines import GOOD
from ftkit.rules.messages import ASSISTANT, line

IMAGE_TYPES = {
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/webp": (b"RIFF",),
}
"""The media types of images that are trained on, and how such files begin."""

OTHER_IMAGES = {
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"<svg": "SVG",
    b"\0\0\0\x1cftypavif": "AVIF",
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
_DATA = re.compile(r"data:([^;,]*)((?:;[^;,]*)*),", re.IGNORECASE)


def user(*parts: str) -> str:
    """A chat example whose user message has these parts, as JSON."""
    return line('{"role": "user", "content": [%s]}' % ", ".join(parts), ASSISTANT)


def image(url: str, rest: str = "") -> str:
    return '{"type": "image_url", "image_url": {"url": "%s"%s}}' % (url, rest)


GOOD_IMAGE = user(
    '{"type": "text", "text": "What is it?"}', image(f"data:image/png;base64,{PIXEL}")
)


@rule(
    "FT601",
    "part-type",
    ERROR,
    "shape",
    good=GOOD_IMAGE,
    bad=user('{"type": "input_text", "text": "Hi"}'),
    shapes=[("*", "type", "discriminator"), ("*", "type", "discriminator-missing")],
    evidence="together 1.5; API description",
)
def part_type(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """A content part has no `type`, or one that fine-tuning does not know.

    Parts are `text`, in user messages `image_url`, in assistant messages `refusal`. The Responses API calls them `input_text`
    and `output_text`; audio and files are not trained on.
    """
    if broken.keyword == "discriminator-missing":
        yield Hit(f"the part has no type; add one of {', '.join(broken.known)}", broken.path)
    elif broken.value != "image_url":
        names = {
            "input_text": "text",
            "output_text": "text",
            "input_image": "image_url",
            "image": "image_url",
        }
        nearest = names.get(broken.value) if isinstance(broken.value, str) else None
        hint = f"; did you mean {nearest!r}?" if nearest in broken.known else ""
        yield Hit(
            f"the part type {excerpt(broken.value, 60)} is not one of {', '.join(broken.known)}{hint}",
            broken.path,
        )


@rule(
    "FT602",
    "part-shape",
    ERROR,
    "shape",
    good=GOOD_IMAGE,
    bad=user('{"type": "text"}'),
    shapes=[(owner, "*", "*") for owner in ("TextPart", "RefusalPart", "ImagePart", "ImageUrl")]
    + [(owner, "content", "items") for owner in ("System", "Developer", "User", "Answer")]
    + [("Answer", "refusal", "type"), ("Answer", "audio", "type")],
    evidence="together 1.5",
)
def part_shape(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """A content part lacks its text or its image's address, or has a key it should not have."""
    if broken.owner == "ImageUrl" and broken.field == "detail":
        return
    if broken.keyword == "required":
        yield Hit(f'the part has no "{broken.field}"; add it', broken.path)
    elif broken.keyword == "additionalProperties":
        yield Hit(
            f"the part has a key that is not known: {excerpt(broken.field, 60)}; remove it",
            broken.path,
        )
    elif broken.field == "image_url":
        yield Hit(
            f'"image_url" must be an object {{"url": ...}}, not {excerpt(broken.value, 60)}',
            broken.path,
        )
    else:
        yield Hit(f"{excerpt(broken.value, 60)} cannot stand here", broken.path)


@rule(
    "FT603",
    "image-role",
    ERROR,
    "shape",
    good=GOOD_IMAGE,
    shapes=[("*", "type", "discriminator")],
    bad=line(
        '{"role": "user", "content": "Draw"}',
        '{"role": "assistant", "content": [%s]}' % image("https://example.com/a.png"),
    ),
    evidence="vision fine-tuning guide; together 1.5",
)
def image_role(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """An image outside a user message."""
    if broken.value == "image_url":
        yield Hit(
            "images may stand in user messages only; move it there",
            broken.path.removesuffix(".type"),
        )


@rule(
    "FT604",
    "image-detail",
    ERROR,
    "shape",
    good=GOOD_IMAGE,
    shapes=[("ImageUrl", "detail", "enum")],
    bad=user(image(f"data:image/png;base64,{PIXEL}", ', "detail": "medium"')),
    evidence="API description: enum",
)
def image_detail(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """`detail` is not auto, low or high."""
    yield Hit(f"detail is {excerpt(broken.value, 40)}; it must be auto, low or high", broken.path)


def each_image(conversation: Conversation) -> Iterator[tuple[str, str]]:
    """The addresses of the images of the conversation, each with its path."""
    for index, message in enumerate(conversation.messages):
        if isinstance(message.content, list):
            for at, part in enumerate(message.content):
                if isinstance(part, ImagePart):
                    yield (
                        f"{conversation.path}[{index}].content[{at}].image_url.url",
                        part.image_url.url,
                    )


def each_embedded(conversation: Conversation) -> Iterator[tuple[str, str, bool, str]]:
    """The images given as data: URIs: path, media type, whether it is base64, and the text after the comma."""
    for path, url in each_image(conversation):
        found = _DATA.match(url)
        if found:
            yield path, found[1].lower(), found[2].lower().endswith(";base64"), url[found.end() :]


@rule(
    "FT605",
    "image-url",
    ERROR,
    "conversation",
    needs=["parts"],
    good=GOOD_IMAGE,
    bad=user(image("file:///tmp/a.png")),
    evidence="vision fine-tuning guide",
)
def image_url(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """The address of an image is neither http(s) nor a data: URI."""
    for path, url in each_image(conversation):
        if not re.match(r"https?://[^/\s]", url, re.IGNORECASE) and not _DATA.match(url):
            hint = (
                "; as base64 it needs data:image/png;base64, in front"
                if url.startswith(("iVBOR", "/9j/", "UklGR"))
                else ""
            )
            yield Hit(
                f"{excerpt(url, 60)} is neither an http(s) address nor a data: URI{hint}", path
            )


@rule(
    "FT606",
    "image-base64",
    ERROR,
    "conversation",
    needs=["parts"],
    good=GOOD_IMAGE,
    bad=user(image("data:image/png;base64,iVBORw0KGgo!")),
    evidence="together 1.5",
)
def image_base64(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """The data: URI of an image does not decode."""
    for path, _, is_base64, data in each_embedded(conversation):
        problem = decode_problem(data) if is_base64 else "it is not base64"
        if problem:
            yield Hit(
                f"the data: URI does not decode ({problem}); write data:image/png;base64, and the base64 of the file",
                path,
            )


def decode_problem(data: str) -> str:
    """Why the base64 does not decode, or an empty string."""
    try:
        decoded = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        return str(error).rstrip(".")
    return "" if decoded else "it is empty"


@rule(
    "FT607",
    "image-type",
    ERROR,
    "conversation",
    needs=["parts"],
    good=GOOD_IMAGE,
    bad=user(
        image("data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
    ),
    evidence="vision fine-tuning guide; together 1.5",
)
def image_type(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """An image is not JPEG, PNG or WEBP, or is not what its data: URI says it is."""
    for path, media, is_base64, data in each_embedded(conversation):
        start = data[:64]
        if not is_base64 or decode_problem(start[: len(start) // 4 * 4]):
            continue
        first = base64.b64decode(start[: len(start) // 4 * 4])
        if first.startswith(b"RIFF") and first[8:12] != b"WEBP":
            first = b""
        real = next(
            (name for name, magics in IMAGE_TYPES.items() if first.startswith(magics)), None
        )
        other = next(
            (name for magic, name in OTHER_IMAGES.items() if first.startswith(magic)), None
        )
        if media.replace("jpg", "jpeg") not in IMAGE_TYPES:
            yield Hit(f"the image is {excerpt(media, 40)}; JPEG, PNG and WEBP are trained on", path)
        elif real is None:
            yield Hit(
                f"the URI says {media}, the bytes are {other or 'no JPEG, PNG or WEBP'}; convert the image",
                path,
            )
        elif real != media.replace("jpg", "jpeg"):
            yield Hit(f"the URI says {media}, the bytes are {real}; correct the URI", path)


@rule(
    "FT608",
    "image-size",
    ERROR,
    "conversation",
    needs=["parts"],
    good=GOOD_IMAGE,
    bad=lambda: user(image(f"data:image/png;base64,{PIXEL[:-4]}{'A' * 13_400_000}")),
    evidence="vision fine-tuning guide: 10 MB; together 1.5",
)
def image_size(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """An image is larger than the provider takes (10 MB at OpenAI)."""
    limit = plan.limits.figure("image_bytes")
    for path, _, is_base64, data in each_embedded(conversation):
        size = len(data.rstrip("=")) * 3 // 4 if is_base64 else len(data)
        if limit and size > limit:
            yield Hit(
                f"the image has {size / 1e6:.1f} MB, at most {limit / 1e6:.0f} MB are taken; make it smaller",
                path,
            )


@rule(
    "FT609",
    "image-count",
    ERROR,
    "conversation",
    needs=["parts"],
    good=GOOD_IMAGE,
    bad=user(*[image(f"data:image/png;base64,{PIXEL}")] * 11),
    evidence="vision fine-tuning guide: 10 (Azure: 64); together 1.5",
)
def image_count(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """An example has more images than the provider takes (10 at OpenAI, 64 at Azure)."""
    limit = plan.limits.figure("images_per_example")
    number = sum(1 for _ in each_image(conversation))
    if limit and number > limit:
        yield Hit(
            f"{number} images in one example, {plan.limits.title} takes at most {limit}; split it",
            conversation.path,
        )


@rule(
    "FT610",
    "image-remote",
    INFO,
    "conversation",
    needs=["parts"],
    good=GOOD_IMAGE,
    bad=user(image("https://example.com/a.png")),
    evidence="vision fine-tuning guide: what cannot be fetched is skipped",
)
def image_remote(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """An image is given by address, so it cannot be checked here.

    It must be reachable when the job runs; an example whose image cannot be fetched is skipped.
    """
    for path, url in each_image(conversation):
        if url[:4].lower() == "http":
            yield Hit(
                "an image by address is not checked; it must be reachable when the job runs", path
            )


@rule(
    "FT611",
    "refusal-parts",
    ERROR,
    "conversation",
    needs=["parts"],
    good=GOOD,
    bad=line(
        '{"role": "user", "content": "Hi"}',
        '{"role": "assistant", "content": [{"type": "text", "text": "Well,"}, {"type": "refusal", "refusal": "no."}]}',
    ),
    evidence="API description: text parts, or exactly one refusal",
)
def refusal_parts(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """A refusal part beside other parts. An answer is one or more texts, or exactly one refusal."""
    for index, message in enumerate(conversation.messages):
        content = message.content
        several = isinstance(message, Answer) and isinstance(content, list) and len(content) > 1
        if several and any(isinstance(part, RefusalPart) for part in content):
            yield Hit(
                "a refusal stands alone: an answer is texts, or one refusal",
                f"{conversation.path}[{index}].content",
            )
