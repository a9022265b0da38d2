"""Preference examples: an input, a preferred and a rejected output."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from ftkit._text import excerpt
from ftkit.dataset.formats import Conversation
from ftkit.dataset.types import Preference
from ftkit.rules.base import ERROR, WARNING, Hit, ScanPlan, rule
from ftkit.rules.fixes import Edit, fix
from ftkit.rules.nodes import Roles, SchemaError
from ftkit.rules.samples import (
    INPUT,
    PIXEL_URL,
    PREFERENCE,
    PREFERRED,
    image_part,
    preference,
)
from ftkit.rules.sources import (
    AZURE_DOCS,
    AZURE_SKILLS,
    OPENAI_DPO_GUIDE,
    OPENAI_MESSAGE,
    OPENAPI_2025,
    TOGETHER,
    TRL_FORMATS,
)
from ftkit.rules.traverse import has_images

OUTPUTS = ("preferred_output", "non_preferred_output")
KEY_SYNONYMS = {
    "preferred_completion": "preferred_output",
    "non_preferred_completion": "non_preferred_output",
    "chosen": "preferred_output",
    "rejected": "non_preferred_output",
    "prompt": "input",
    "messages": "input",
    "preferred": "preferred_output",
    "non_preferred": "non_preferred_output",
    "inputs": "input",
}
"""Keys by other names: those of an early API description, of TRL, and common mistakes."""

VALUES: dict[str, tuple[type, str]] = {
    "input": (dict, 'an object {"messages": [...]}'),
    **dict.fromkeys(OUTPUTS, (list, "an array of messages")),
}
"""Type of the value of each key, and how a message describes it."""

MAX_KEYS = 20
"""Maximum number of keys of an example whose keys are renamed, which takes quadratic time."""

PREFERENCE_ONLY = ("preference",)


def intended_key(key: str) -> str | None:
    """Return the key of a preference example that `key` most likely stands for, or None."""
    close = get_close_matches(key.lower(), (*OUTPUTS, "input"), 1, cutoff=0.8)
    return KEY_SYNONYMS.get(key.lower()) or (close[0] if close else None)


@rule(
    "FT701",
    "preference-input",
    ERROR,
    SchemaError,
    formats=PREFERENCE_ONLY,
    places=[("Preference", "input", "*"), ("PreferenceInput", "messages", "required")],
    bad=preference(input='"Hi"'),
    good=PREFERENCE,
    evidence=[OPENAI_MESSAGE, TOGETHER],
    provider_messages=[r"missing key '?input'?"],
)
def preference_input(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """`input` is missing, or is not an object with `messages`.

    The model does not see what the outputs answer, and the job fails. Write
    `"input": {"messages": [...]}`.
    """
    if error.keyword == "required" and error.field in map(intended_key, error.parent):
        return
    if error.keyword == "required":
        yield Hit(f'"{error.field}" is missing; write "input": {{"messages": [...]}}', error.path)
    else:
        yield Hit(
            f'input must be an object {{"messages": [...]}}, not {excerpt(error.value, 60)}',
            error.path,
        )


@rule(
    "FT702",
    "preference-output-missing",
    ERROR,
    SchemaError,
    formats=PREFERENCE_ONLY,
    places=[("Preference", key, "required") for key in OUTPUTS],
    bad=f'{{"input": {INPUT}, "preferred_output": {PREFERRED}}}',
    good=PREFERENCE,
    evidence=[TOGETHER, AZURE_SKILLS],
)
def preference_output_missing(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """`preferred_output` or `non_preferred_output` is missing.

    Training compares the two, so the job fails without both. Add it.
    """
    if error.field not in map(intended_key, error.parent):
        yield Hit(f'"{error.field}" is missing; both outputs are needed', error.path)


@rule(
    "FT703",
    "preference-key",
    ERROR,
    SchemaError,
    formats=PREFERENCE_ONLY,
    places=[("Preference", "*", "additionalProperties")],
    bad=PREFERENCE.replace("_output", "_completion"),
    good=PREFERENCE,
    evidence=[
        OPENAPI_2025.with_detail("preferred_completion"),
        TRL_FORMATS.with_detail("chosen and rejected"),
    ],
)
def preference_key(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """A key is most likely another name of `input`, `preferred_output` or `non_preferred_output`.

    The right key is missing, and the job fails. Rename it.
    """
    intended = intended_key(error.field)
    if intended and intended not in error.parent and error.field.lower() not in error.allowed:
        kind, form = VALUES[intended]
        value = "" if isinstance(error.value, kind) else f", {form}"
        yield Hit(
            f"unknown key {excerpt(error.field, 60)}; did you mean {intended!r}{value}?", error.path
        )


@fix(preference_key, SchemaError, "safe", "rename the key")
def _rename(error: SchemaError) -> Edit | None:
    intended = intended_key(error.field)
    if not intended or intended in error.parent or len(error.parent) > MAX_KEYS:
        return None
    others = [key for key in error.parent if intended_key(key) == intended]
    fits = isinstance(error.value, VALUES[intended][0]) and len(others) == 1
    return Edit(error.parent, error.field, name=intended) if fits else None


@rule(
    "FT704",
    "preference-output-type",
    ERROR,
    SchemaError,
    formats=PREFERENCE_ONLY,
    places=[("Preference", key, "type") for key in OUTPUTS],
    bad=preference(preferred='{"role": "assistant", "content": "Hello!"}'),
    good=PREFERENCE,
    evidence=[TOGETHER],
)
def preference_output_type(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """An output is not an array of messages.

    The example cannot be read, and the job fails. Write the message as `[...]`.
    """
    yield Hit(
        f"{error.field} must be an array of messages, not {excerpt(error.value, 60)}; "
        "put it in [...]",
        error.path,
    )


@rule(
    "FT705",
    "preference-output-empty",
    ERROR,
    SchemaError,
    formats=PREFERENCE_ONLY,
    places=[("Preference", key, "minItems") for key in OUTPUTS],
    bad=preference(preferred="[]"),
    good=PREFERENCE,
    evidence=[TOGETHER],
)
def preference_output_empty(error: SchemaError, plan: ScanPlan) -> Iterator[Hit]:
    """An output is an empty array.

    There is nothing to compare, and the job fails. Add an assistant message.
    """
    yield Hit(f"{error.field} is empty; add an assistant message", error.path)


@rule(
    "FT706",
    "preference-output-role",
    ERROR,
    Roles,
    formats=PREFERENCE_ONLY,
    parts=["output"],
    bad=preference(preferred='[{"role": "user", "content": "Hello!"}]'),
    good=PREFERENCE,
    evidence=[AZURE_DOCS, TOGETHER],
)
def preference_output_role(roles: Roles, plan: ScanPlan) -> Iterator[Hit]:
    """An output has a message other than assistant or tool messages, or no assistant message.

    An output is an answer of the model, so the job fails. Move other messages to `input`.
    """
    others = [index for index, role in enumerate(roles) if role not in ("assistant", "tool")]
    for index in others:
        yield Hit(
            f"role {roles[index]!r} is not allowed in an output; write one assistant message",
            f"[{index}].role",
        )
    if "assistant" not in roles and not others:
        yield Hit("the output has no assistant message; add one")


@rule(
    "FT707",
    "preference-output-count",
    WARNING,
    Roles,
    formats=PREFERENCE_ONLY,
    parts=["output"],
    bad=preference(
        preferred='[{"role": "assistant", "content": "Hello!"}, '
        '{"role": "assistant", "content": "More?"}]'
    ),
    good=PREFERENCE,
    evidence=[
        OPENAI_DPO_GUIDE.with_detail("exactly one assistant message"),
        TOGETHER.with_detail("refuses several"),
        AZURE_DOCS.with_detail("allows several"),
    ],
)
def preference_output_count(roles: Roles, plan: ScanPlan) -> Iterator[Hit]:
    """An output has more than one assistant message.

    Some providers refuse it. Keep one, and move earlier turns to `input`.
    """
    number = roles.count("assistant")
    if number > 1:
        yield Hit(f"{number} assistant messages in an output; keep one")


@rule(
    "FT708",
    "preference-identical",
    WARNING,
    Preference,
    formats=PREFERENCE_ONLY,
    bad=preference(rejected=PREFERRED),
    good=PREFERENCE,
    evidence=[AZURE_SKILLS.with_detail("warns")],
)
def preference_identical(example: Preference, plan: ScanPlan) -> Iterator[Hit]:
    """Both outputs are equal.

    There is nothing to prefer, so the example costs tokens and teaches nothing. Change one output,
    or remove the example.
    """
    if example.preferred_output == example.non_preferred_output:
        yield Hit(
            "both outputs are equal, so there is nothing to prefer; change one",
            "$.non_preferred_output",
        )


@rule(
    "FT709",
    "preference-input-ends-assistant",
    WARNING,
    Roles,
    formats=PREFERENCE_ONLY,
    parts=["input"],
    bad=preference(
        input='{"messages": [{"role": "user", "content": "Hi"}, '
        '{"role": "assistant", "content": "Yes?"}]}'
    ),
    good=PREFERENCE,
    evidence=[TOGETHER.with_detail("refuses it")],
)
def preference_input_ends_assistant(roles: Roles, plan: ScanPlan) -> Iterator[Hit]:
    """The input ends with an assistant message.

    The outputs then answer the assistant. End the input with the user message that they answer.
    """
    if roles and roles[-1] == "assistant":
        yield Hit(
            "the input ends with an assistant message; "
            "end it with the user message that the outputs answer",
            f"[{len(roles) - 1}]",
        )


@rule(
    "FT710",
    "preference-image",
    ERROR,
    Conversation,
    formats=PREFERENCE_ONLY,
    needs=["parts"],
    bad=preference(
        input=f'{{"messages": [{{"role": "user", "content": [{image_part(PIXEL_URL)}]}}]}}'
    ),
    good=PREFERENCE,
    evidence=[OPENAI_DPO_GUIDE.with_detail("text only")],
)
def preference_image(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """A preference example has an image.

    Preference training takes text only, and the job fails. Remove the image, or the example.
    """
    if has_images(conversation):
        yield Hit("preference training takes text only; remove the images", conversation.path)
