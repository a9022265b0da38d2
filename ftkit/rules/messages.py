"""The messages of an example: their keys, roles, order, content, names and weights."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import UNSET

from ftkit._text import excerpt
from ftkit.dataset.formats import Conversation
from ftkit.dataset.types import Answer, ImagePart, TextPart
from ftkit.errors import did_you_mean
from ftkit.rules.base import ERROR, WARNING, Broken, Hit, ScanPlan, also, rule
from ftkit.rules.json_lines import GOOD

MESSAGES = ("System", "Developer", "User", "Answer", "Tool", "Function")
HOLDERS = ("Chat", "Reinforcement", "PreferenceInput")
ROLE_WORDS = {
    "human": "user",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "ai": "assistant",
    "chatbot": "assistant",
    "agent": "assistant",
    "customer": "user",
    "instruction": "system",
    "tool_result": "tool",
    "observation": "tool",
    "ipython": "tool",
}
"""What other tools call the roles."""


WEIGHTLESS = ("System", "Developer", "User", "Tool", "Function")


def line(*messages: str, rest: str = "") -> str:
    """A chat example of these messages, as JSON."""
    return '{"messages": [%s]%s}' % (", ".join(messages), rest)


USER = '{"role": "user", "content": "Hi"}'
ASSISTANT = '{"role": "assistant", "content": "Hello!"}'


@rule(
    "FT301",
    "messages-missing",
    ERROR,
    "shape",
    good=GOOD,
    bad="{}",
    shapes=[("Chat", "messages", "required"), ("Reinforcement", "messages", "required")],
    evidence="service message",
    says=[r"missing key '?messages'?"],
)
def messages_missing(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """The example has no `messages`."""
    yield Hit(
        'the example has no "messages"; add the list of messages',
        broken.path.rpartition(".")[0] or "$",
    )


@rule(
    "FT302",
    "messages-type",
    ERROR,
    "shape",
    good=GOOD,
    bad='{"messages": {"role": "user", "content": "Hi"}}',
    shapes=[(holder, "messages", "type") for holder in HOLDERS],
    evidence="together 1.5, cookbook notebook",
)
def messages_type(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """`messages` is not an array."""
    yield Hit(
        f'"messages" must be an array of messages, not {excerpt(broken.value, 60)}', broken.path
    )


@rule(
    "FT303",
    "messages-empty",
    ERROR,
    "shape",
    good=GOOD,
    bad='{"messages": []}',
    shapes=[(holder, "messages", "minItems") for holder in HOLDERS],
    evidence="API description: minItems 1; together 1.5",
)
def messages_empty(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """`messages` is an empty array."""
    yield Hit('"messages" is empty; an example needs at least one message', broken.path)


@rule(
    "FT304",
    "message-type",
    ERROR,
    "shape",
    good=GOOD,
    bad='{"messages": ["Hi", {"role": "assistant", "content": "Hello!"}]}',
    shapes=[(holder, "messages", "items") for holder in HOLDERS]
    + [
        ("Preference", "preferred_output", "items"),
        ("Preference", "non_preferred_output", "items"),
    ],
    evidence="together 1.5, cookbook notebook",
)
def message_type(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """A message is not an object."""
    yield Hit(
        f'a message must be an object {{"role": ..., "content": ...}}, not {excerpt(broken.value, 60)}',
        broken.path,
    )


@rule(
    "FT305",
    "message-unknown-key",
    ERROR,
    "shape",
    good=GOOD,
    bad=line(USER, '{"role": "assistant", "content": "Hello!", "train": true}'),
    shapes=[
        (owner, "*", "additionalProperties") for owner in (*MESSAGES, "ToolCall", "FunctionCall")
    ],
    evidence="the cookbook notebook's message_unrecognized_key",
)
def message_unknown_key(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """A message has a key that the API does not know.

    Remove it. Training on some assistant messages only is said with `"weight": 0` or `1`.
    """
    if broken.field.lower() in broken.known or (
        broken.field == "weight" and broken.owner in WEIGHTLESS
    ):
        return
    hint = did_you_mean(broken.field, broken.known)
    if broken.field in ("train", "train_detail", "loss", "mask") and not hint:
        hint = '; to choose what is trained on, give assistant messages "weight": 0 or 1'
    if broken.field == "weight":
        hint = "; reinforcement examples have no weights"
    yield Hit(
        f"{_role_of(broken)} has no key {excerpt(broken.field, 60)}{hint or '; remove it'}",
        broken.path,
    )


def _role_of(broken: Broken) -> str:
    names = {
        "ToolCall": "a tool call",
        "FunctionCall": "a function call",
        "Assistant": "an assistant message",
    }
    return names.get(broken.owner, f"a {broken.owner.lower()} message").replace(
        "a answer", "an assistant"
    )


@rule(
    "FT306",
    "role-missing",
    ERROR,
    "shape",
    good=GOOD,
    bad=line('{"content": "Hi"}', ASSISTANT),
    shapes=[("*", "role", "discriminator-missing")],
    evidence="service message",
    says=[r"Discriminator '?role'? is missing"],
)
def role_missing(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """A message has no `role`."""
    yield Hit(f"the message has no role; add one of {', '.join(broken.known)}", broken.path)


@rule(
    "FT307",
    "role-unknown",
    ERROR,
    "shape",
    good=GOOD,
    bad=line('{"role": "human", "content": "Hi"}', ASSISTANT),
    shapes=[("*", "role", "discriminator")],
    evidence="cookbook notebook, together 1.5",
    says=[
        r"Invalid value: '\w+'.*role",
        r"Input tag '\w+' found using 'role'",
        r"unrecognized_role",
    ],
)
def role_unknown(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """A role that the API does not know.

    Roles are system, user, assistant, tool (and the old function). Other tools call the user `human` and the assistant `gpt`,
    `model` or `bot`.
    """
    value = broken.value
    nearest = ROLE_WORDS.get(value.lower().strip()) if isinstance(value, str) else None
    hint = f"; did you mean {nearest!r}?" if nearest else did_you_mean(str(value), broken.known)
    yield Hit(f"{excerpt(value, 60)} is not one of {', '.join(broken.known)}{hint}", broken.path)


@rule(
    "FT309",
    "role-function-deprecated",
    WARNING,
    "conversation",
    needs=["function_call", "function", "functions"],
    good=GOOD,
    bad=line(
        USER,
        '{"role": "assistant", "function_call": {"name": "now", "arguments": "{}"}}',
        rest=', "functions": [{"name": "now", "parameters": {"type": "object", "properties": {}}}]',
    ),
    evidence="marked deprecated in the API description",
)
def role_function_deprecated(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """The example uses functions (`function_call`, `functions`, role `function`), the forerunner of tools.

    Use `tool_calls`, `tools` and role `tool`.
    """
    yield Hit("functions are deprecated; use tools, tool_calls and role tool", conversation.path)


@rule(
    "FT310",
    "content-missing",
    ERROR,
    "shape",
    good=GOOD,
    bad=line('{"role": "user"}', ASSISTANT),
    shapes=[(owner, "content", "required") for owner in MESSAGES],
    evidence="API description; cookbook missing_content",
)
def content_missing(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """A message has no content, and nothing that replaces it."""
    yield Hit('the message has no "content"; add it', broken.path)


@also(content_missing, "conversation", needs=["nothing"])
def _assistant_without_content(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    for index, message in enumerate(conversation.messages):
        if (
            isinstance(message, Answer)
            and message.content is UNSET
            and not _says_otherwise(message)
        ):
            yield Hit(
                'the assistant has no "content", tool calls or refusal; add one',
                f"{conversation.path}[{index}].content",
            )


def _says_otherwise(message: Answer) -> bool:
    return (
        bool(message.tool_calls) or bool(message.function_call) or isinstance(message.refusal, str)
    )


@rule(
    "FT311",
    "content-null",
    ERROR,
    "shape",
    good=GOOD,
    bad=line('{"role": "user", "content": null}', ASSISTANT),
    shapes=[(owner, "content", "type") for owner in MESSAGES],
    evidence="API description",
)
def content_null(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """Content is null where nothing replaces it.

    An assistant message may have null content beside tool calls, a function call or a refusal; no other may.
    """
    if broken.value is None:
        yield Hit("content is null; write the text", broken.path)


@also(content_null, "conversation", needs=["nothing"])
def _assistant_with_null(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    for index, message in enumerate(conversation.messages):
        if isinstance(message, Answer) and message.content is None and not _says_otherwise(message):
            path = f"{conversation.path}[{index}].content"
            yield Hit(
                "content is null without tool calls or a refusal beside it; write the text", path
            )


@rule(
    "FT312",
    "content-type",
    ERROR,
    "shape",
    good=GOOD,
    bad=line(USER, '{"role": "assistant", "content": {"answer": 2}}'),
    shapes=[(owner, "content", "type") for owner in MESSAGES],
    evidence="service message",
    says=[r'key "content": Input should be a valid string'],
)
def content_type(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    """Content is neither a string nor a list of parts.

    An answer in JSON is a string that holds JSON: `json.dumps` it.
    """
    if broken.value is None or (broken.owner == "Tool" and isinstance(broken.value, list)):
        return
    hint = (
        "; an answer in JSON is a string: json.dumps it" if isinstance(broken.value, dict) else ""
    )
    yield Hit(
        f"content must be a string or a list of parts, not {excerpt(broken.value, 60)}{hint}",
        broken.path,
    )


@rule(
    "FT313",
    "content-empty",
    WARNING,
    "conversation",
    needs=["empty", "parts"],
    good=GOOD,
    bad=line('{"role": "user", "content": " "}', ASSISTANT),
    evidence="openai's old prepare_data; mistral-finetune",
)
def content_empty(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """Content is empty or only white space.

    Nothing is learned from it. Content beside tool calls may be empty.
    """
    for index, message in enumerate(conversation.messages):
        content = message.content
        path = f"{conversation.path}[{index}].content"
        if isinstance(message, Answer) and (message.tool_calls or message.function_call):
            continue
        if content == [] or (isinstance(content, str) and not content.strip()):
            yield Hit("content is empty", path)
        for at, part in enumerate(content if isinstance(content, list) else ()):
            if isinstance(part, TextPart) and not part.text.strip():
                yield Hit("the text of this part is empty", f"{path}[{at}].text")


_NAME = re.compile(r"[a-zA-Z0-9_-]+")
NAME_LIMIT = 64


@rule(
    "FT330",
    "name-invalid",
    ERROR,
    "conversation",
    needs=["name"],
    good=GOOD,
    bad=line('{"role": "user", "content": "Hi", "name": "Jo Smith"}', ASSISTANT),
    evidence="pattern of the chat API; the description of fine-tuning files gives none",
)
def name_invalid(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """A name has characters other than letters, digits, `_` and `-`."""
    for index, message in enumerate(conversation.messages):
        if isinstance(message.name, str) and not _NAME.fullmatch(message.name):
            path = f"{conversation.path}[{index}].name"
            yield Hit(
                f"the name {excerpt(message.name, 60)} may hold letters, digits, _ and - only", path
            )


@rule(
    "FT331",
    "name-too-long",
    ERROR,
    "conversation",
    needs=["name"],
    good=GOOD,
    bad=line('{"role": "user", "content": "Hi", "name": "%s"}' % ("n" * 65), ASSISTANT),
    evidence="chat API",
)
def name_too_long(conversation: Conversation, plan: ScanPlan) -> Iterator[Hit]:
    """A name is longer than 64 characters."""
    for index, message in enumerate(conversation.messages):
        if isinstance(message.name, str) and len(message.name) > NAME_LIMIT:
            path = f"{conversation.path}[{index}].name"
            yield Hit(
                f"the name has {len(message.name)} characters, at most {NAME_LIMIT} are allowed",
                path,
            )


@also(
    name_invalid,
    "shape",
    shapes=[(owner, "name", "type") for owner in ("System", "Developer", "User", "Answer", "Tool")],
)
def _name_type(broken: Broken, plan: ScanPlan) -> Iterator[Hit]:
    yield Hit(f"the name must be a string, not {excerpt(broken.value, 60)}", broken.path)


def has_images(conversation: Conversation) -> bool:
    """Whether a message of the conversation holds an image."""
    return any(
        isinstance(part, ImagePart)
        for message in conversation.messages
        if isinstance(message.content, list)
        for part in message.content
    )
