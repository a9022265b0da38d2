"""Preference examples: an input, the answer to prefer and the one to avoid."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from ftkit._text import excerpt
from ftkit.dataset.formats import Conversation
from ftkit.dataset.types import Preference
from ftkit.rules.base import ERROR, WARNING, Broken, Hit, ScanPlan, rule
from ftkit.rules.messages import has_images
from ftkit.rules.parts import PIXEL, image

OUTPUTS = ("preferred_output", "non_preferred_output")
OTHER_NAMES = {
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
"""What the keys are called elsewhere: an early API description, TRL, and slips."""

ONLY = ["preference"]
BETTER = '[{"role": "assistant", "content": "Hello!"}]'
WORSE = '[{"role": "assistant", "content": "What?"}]'
INPUT = '{"messages": [{"role": "user", "content": "Hi"}]}'


def line(input: str = INPUT, better: str = BETTER, worse: str = WORSE) -> str:
    """A preference example, as JSON."""
    return f'{{"input": {input}, "preferred_output": {better}, "non_preferred_output": {worse}}}'


GOOD = line()


def real_key(key: str) -> str | None:
    """The key of a preference example that `key` was most likely meant to be."""
    near = get_close_matches(key.lower(), (*OUTPUTS, "input"), 1, cutoff=0.8)
    return OTHER_NAMES.get(key.lower()) or (near[0] if near else None)


@rule(
    "FT701",
    "preference-input",
    ERROR,
    "shape",
    formats=ONLY,
    good=GOOD,
    bad=line(input='"Hi"'),
    shapes=[("Preference", "input", "*"), ("PreferenceInput", "messages", "required")],
    evidence="service message; together 1.5",
    says=[r"missing key '?input'?"],
)
def preference_input(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """`input` is missing, or is not an object with `messages`."""
    if broken.keyword == "required" and broken.field in map(real_key, broken.parent):
        return
    if broken.keyword == "required":
        yield Hit(f'"{broken.field}" is missing; the input is {{"messages": [...]}}', broken.path)
    else:
        yield Hit(
            f'input must be an object {{"messages": [...]}}, not {excerpt(broken.value, 60)}',
            broken.path,
        )


@rule(
    "FT702",
    "preference-output-missing",
    ERROR,
    "shape",
    formats=ONLY,
    good=GOOD,
    bad=f'{{"input": {INPUT}, "preferred_output": {BETTER}}}',
    shapes=[("Preference", key, "required") for key in OUTPUTS],
    evidence="together 1.5; Azure's validation script",
)
def preference_output_missing(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """`preferred_output` or `non_preferred_output` is missing. Both are needed."""
    if broken.field not in map(real_key, broken.parent):
        yield Hit(f'"{broken.field}" is missing; both outputs are needed', broken.path)


@rule(
    "FT703",
    "preference-key",
    ERROR,
    "shape",
    formats=ONLY,
    good=GOOD,
    bad=GOOD.replace("_output", "_completion"),
    shapes=[("Preference", "*", "additionalProperties")],
    evidence="an early API description had preferred_completion; TRL has chosen and rejected",
)
def preference_key(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """A key that was most likely meant to be one of `input`, `preferred_output`, `non_preferred_output`."""
    meant = real_key(broken.field)
    if meant and meant not in broken.parent and broken.field.lower() not in broken.known:
        yield Hit(f"unknown key {excerpt(broken.field, 60)}; did you mean {meant!r}?", broken.path)


@rule(
    "FT704",
    "preference-output-type",
    ERROR,
    "shape",
    formats=ONLY,
    good=GOOD,
    bad=line(better='{"role": "assistant", "content": "Hello!"}'),
    shapes=[("Preference", key, "type") for key in OUTPUTS],
    evidence="together 1.5",
)
def preference_output_type(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """An output is not an array of messages. Put the message in `[...]`."""
    yield Hit(
        f"{broken.field} must be an array of messages, not {excerpt(broken.value, 60)}; put it in [...]",
        broken.path,
    )


@rule(
    "FT705",
    "preference-output-empty",
    ERROR,
    "shape",
    formats=ONLY,
    good=GOOD,
    bad=line(better="[]"),
    shapes=[("Preference", key, "minItems") for key in OUTPUTS],
    evidence="together 1.5",
)
def preference_output_empty(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """An output is an empty array."""
    yield Hit(f"{broken.field} is empty; it needs one assistant message", broken.path)


@rule(
    "FT706",
    "preference-output-role",
    ERROR,
    "roles",
    formats=ONLY,
    parts=["output"],
    good=GOOD,
    bad=line(better='[{"role": "user", "content": "Hello!"}]'),
    evidence="Azure guide; together 1.5",
)
def preference_output_role(roles: tuple[str, ...], plan: ScanPlan) -> Iterator[Hit]:
    """An output holds a message that is neither the assistant's nor a tool's, or has no assistant message."""
    strangers = [index for index, role in enumerate(roles) if role not in ("assistant", "tool")]
    for index in strangers:
        yield Hit(
            f"a {roles[index]} message cannot be part of an output; an output is one assistant message",
            f"[{index}].role",
        )
    if "assistant" not in roles and not strangers:
        yield Hit("the output has no assistant message")


@rule(
    "FT707",
    "preference-output-count",
    WARNING,
    "roles",
    formats=ONLY,
    parts=["output"],
    good=GOOD,
    bad=line(
        better='[{"role": "assistant", "content": "Hello!"}, {"role": "assistant", "content": "More?"}]'
    ),
    evidence="together 1.5 refuses it; Azure allows it; OpenAI's guide has exactly one",
)
def preference_output_count(roles: tuple[str, ...], plan: ScanPlan) -> Iterator[Hit]:
    """An output has more than one assistant message."""
    number = roles.count("assistant")
    if number > 1:
        yield Hit(f"{number} assistant messages in an output; the guide has exactly one")


@rule(
    "FT708",
    "preference-identical",
    WARNING,
    "example",
    formats=ONLY,
    good=GOOD,
    bad=line(worse=BETTER),
    evidence="Azure's validation script warns",
)
def preference_identical(example: Preference, plan: ScanPlan) -> Iterator[Hit]:
    """Both outputs are equal, so there is nothing to prefer."""
    if example.preferred_output == example.non_preferred_output:
        yield Hit("both outputs are equal: there is nothing to prefer", "$.non_preferred_output")


@rule(
    "FT709",
    "preference-input-ends-assistant",
    WARNING,
    "roles",
    formats=ONLY,
    parts=["input"],
    good=GOOD,
    bad=line(
        input='{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]}'
    ),
    evidence="together 1.5 refuses it",
)
def preference_input_ends_assistant(roles: tuple[str, ...], plan: ScanPlan) -> Iterator[Hit]:
    """The input ends with an assistant message, so the outputs answer the assistant."""
    if roles and roles[-1] == "assistant":
        yield Hit(
            "the input ends with an assistant message; the outputs should answer a user",
            f"[{len(roles) - 1}]",
        )


@rule(
    "FT710",
    "preference-image",
    ERROR,
    "conversation",
    formats=ONLY,
    needs=["parts"],
    good=GOOD,
    bad=line(
        input='{"messages": [{"role": "user", "content": [%s]}]}'
        % image(f"data:image/png;base64,{PIXEL}")
    ),
    evidence="direct preference optimisation guide: text only",
)
def preference_image(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """An image in a preference example. Preference training is for text only."""
    if has_images(conversation):
        yield Hit("preference training takes text only; remove the images", conversation.path)
