"""Content parts: their types and keys, and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ftkit._text import excerpt
from ftkit.dataset.formats import Conversation
from ftkit.dataset.types import Answer, RefusalPart
from ftkit.rules.base import ERROR, Hit, ScanPlan, rule
from ftkit.rules.fixes import Edit, fix
from ftkit.rules.nodes import SchemaError
from ftkit.rules.samples import USER, chat, text_part, user_parts
from ftkit.rules.sources import OPENAPI, TOGETHER

PART_SYNONYMS = {
    "input_text": "text",
    "output_text": "text",
    "input_image": "image_url",
    "image": "image_url",
}
"""Part types by the names that other APIs have for them."""

PART_TEXTS = {"TextPart": "text", "RefusalPart": "refusal"}
"""Key of the text of each type of part."""


@rule(
    "FT601",
    "part-type",
    ERROR,
    SchemaError,
    places=[("*", "type", "discriminator"), ("*", "type", "discriminator-missing")],
    bad=user_parts('{"type": "input_text", "text": "Hi"}'),
    good=user_parts(text_part("Hi")),
    evidence=[TOGETHER, OPENAPI],
)
def part_type(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """A content part has no `type`, or one that fine-tuning does not know.

    Providers refuse the example. Parts are `text`, in user messages also `image_url`, and in
    assistant messages also `refusal`. The Responses API has `input_text` and `output_text` instead;
    rename those. Audio and files cannot be trained on.
    """
    allowed = ", ".join(error.allowed)
    if error.keyword == "discriminator-missing":
        yield Hit(f"the part has no type; add one of {allowed}", error.path)
    elif error.value != "image_url":
        nearest = PART_SYNONYMS.get(error.value) if isinstance(error.value, str) else None
        hint = f"; did you mean {nearest!r}?" if nearest in error.allowed else ""
        yield Hit(f"part type {excerpt(error.value, 60)} is not one of {allowed}{hint}", error.path)


@fix(part_type, SchemaError, "safe", "write the type as fine-tuning names it")
def _text_type(error: SchemaError) -> Edit | None:
    is_text = error.value in ("input_text", "output_text") and error.keyword == "discriminator"
    has_text = is_text and isinstance(error.parent.get("text"), str) and len(error.parent) == 2
    return Edit(error.parent, "type", "text") if has_text and "text" in error.allowed else None


@rule(
    "FT602",
    "part-shape",
    ERROR,
    SchemaError,
    places=[
        *((owner, "*", "*") for owner in ("TextPart", "RefusalPart", "ImagePart", "ImageUrl")),
        *((owner, "content", "items") for owner in ("System", "Developer", "User", "Answer")),
        ("Answer", "refusal", "type"),
        ("Answer", "audio", "type"),
    ],
    bad=user_parts('{"type": "text"}'),
    good=user_parts(text_part("Hi")),
    evidence=[TOGETHER],
)
def part_shape(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """A content part has no text or image URL, or has an unknown key.

    Providers refuse the example. A text part is `{"type": "text", "text": ...}`, and an image part
    `{"type": "image_url", "image_url": {"url": ...}}`. Other tools call the text `value` or
    `content`; rename it.
    """
    if error.owner == "ImageUrl" and error.field == "detail":
        return
    name = PART_TEXTS.get(error.owner, "")
    misnamed = _misnamed(error.parent, name) if name else None
    if misnamed and error.field != misnamed:
        return
    if misnamed:
        yield Hit(f"unknown key {excerpt(misnamed, 60)}; rename it to {name!r}", error.path)
    elif error.keyword == "required":
        yield Hit(f'the part has no "{error.field}"; add it', error.path)
    elif error.keyword == "additionalProperties":
        yield Hit(f"the part has the unknown key {excerpt(error.field, 60)}; remove it", error.path)
    elif error.field == "image_url":
        yield Hit(
            f'"image_url" must be an object {{"url": ...}}, not {excerpt(error.value, 60)}',
            error.path,
        )
    else:
        yield Hit(f"{excerpt(error.value, 60)} is not valid here", error.path)


@fix(part_shape, SchemaError, "safe", "rename the key of the text")
def _rename_text(error: SchemaError) -> Edit | None:
    name = PART_TEXTS.get(error.owner, "")
    misnamed = _misnamed(error.parent, name) if name else None
    return Edit(error.parent, misnamed, name=name) if misnamed == error.field else None


@fix(part_shape, SchemaError, "unsafe", "remove the key")
def _remove_key(error: SchemaError) -> Edit | None:
    is_unknown = error.keyword == "additionalProperties"
    has_text = PART_TEXTS.get(error.owner, "url") in error.parent or "image_url" in error.parent
    return Edit(error.parent, error.field) if is_unknown and has_text else None


def _misnamed(part: dict[str, Any], name: str) -> str | None:
    """Return the key that a part has in place of the key of its text, or None."""
    others = [key for key in part if key != "type"] if len(part) <= 2 else []
    is_misnamed = len(others) == 1 and others[0] != name and isinstance(part[others[0]], str)
    return others[0] if is_misnamed else None


@rule(
    "FT611",
    "refusal-parts",
    ERROR,
    Conversation,
    needs=["parts"],
    bad=chat(
        USER,
        f'{{"role": "assistant", "content": [{text_part("Well,")}, '
        '{"type": "refusal", "refusal": "no."}]}',
    ),
    good=chat(USER, '{"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}'),
    evidence=[OPENAPI.with_detail("one or more text parts, or exactly one refusal")],
)
def refusal_parts(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """An assistant message has a refusal part beside other parts.

    Providers refuse the example. Write one or more text parts, or exactly one refusal.
    """
    for index, message in enumerate(conversation.messages):
        content = message.content
        several = isinstance(message, Answer) and isinstance(content, list) and len(content) > 1
        if several and any(isinstance(part, RefusalPart) for part in content):
            yield Hit(
                "a refusal part cannot be combined with other parts; "
                "write text parts, or one refusal",
                f"{conversation.path}[{index}].content",
            )
