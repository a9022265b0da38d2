"""Check a chat fine-tuning file the straightforward way: python benchmarks/baseline.py FILE.

The whole file in memory, json.loads for each line, one function for each subject over the dicts,
tiktoken for each message, a dict for the duplicates. It prints the count of each rule as JSON.
"""

import argparse
import base64
import binascii
import functools
import itertools
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import tiktoken

# The checks yield the names of the rules that are broken; check_file adds the line numbers.
Findings = Iterator[str]
Example = dict[str, Any]
Message = dict[str, Any]

VOCABULARY = Path(__file__).parent.parent / "ftkit" / "tokens" / "vocab"

# The patterns that tiktoken itself uses for these encodings.
PATTERNS = {
    "cl100k_base": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
        r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
    ),
    "o200k_base": (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
}

MIN_EXAMPLES = 10
MAX_IMAGES = 10
MAX_IMAGE_BYTES = 10 * 1024 * 1024
ROLES = {"system", "developer", "user", "assistant", "tool", "function"}
EXAMPLE_KEYS = {"messages", "tools", "parallel_tool_calls", "functions"}
MESSAGE_KEYS = {
    "role",
    "content",
    "name",
    "weight",
    "refusal",
    "tool_calls",
    "tool_call_id",
    "function_call",
    "audio",
}

NAME = re.compile(r"[a-zA-Z0-9_-]+")
SPECIAL_TOKEN = re.compile(r"<\|(?:endoftext|fim_prefix|fim_middle|fim_suffix|endofprompt)\|>")
INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]"
)
MOJIBAKE = re.compile("\ufffd|Ã[\x80-\xbf]|â€|Â[\xa0-\xbf]")
SECRET = re.compile(
    r"\b(?:sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{36}|AKIA[0-9A-Z]{16}|xox[abprs]-[A-Za-z0-9-]{10,}"
    r"|AIza[A-Za-z0-9_-]{35})|-----BEGIN [A-Z ]*PRIVATE KEY-----|\w@[\w-]+\.\w"
)
PLACEHOLDER = re.compile(
    r"\{\{\s*\w+\s*\}\}|<INSERT[^>]*>|\[INSERT[^\]]*\]|<YOUR[^>]*>|\A\W*TODO\W*\Z"
)
CHAT_MARKUP = re.compile(r"<\|(?:im_start|im_end|im_sep|start|end|eot_id)\|>|\[/?INST\]|<</?SYS>>")

TEXT_RULES = [
    ("special-token-text", SPECIAL_TOKEN),
    ("unicode-invisible", INVISIBLE),
    ("unicode-replacement", MOJIBAKE),
    ("secret", SECRET),
    ("placeholder-text", PLACEHOLDER),
    ("chat-markup-text", CHAT_MARKUP),
]

IMAGE_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF")


class DuplicateKey(ValueError):
    pass


class NonFinite(ValueError):
    pass


def refuse_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise DuplicateKey
    return result


def refuse_constant(text: str) -> None:
    raise NonFinite(text)


def load_examples(path: Path) -> tuple[list[tuple[int, Example]], list[tuple[int, str]]]:
    """The examples with their line numbers, and the lines that could not be read."""
    examples: list[tuple[int, Example]] = []
    findings: list[tuple[int, str]] = []
    with path.open(encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                findings.append((number, "line-blank"))
                continue
            try:
                example = json.loads(
                    line, object_pairs_hook=refuse_duplicate_keys, parse_constant=refuse_constant
                )
            except DuplicateKey:
                findings.append((number, "json-duplicate-key"))
            except NonFinite:
                findings.append((number, "json-nonfinite"))
            except RecursionError:
                findings.append((number, "json-too-deep"))
            except ValueError:
                findings.append((number, "json-syntax"))
            else:
                if isinstance(example, dict):
                    examples.append((number, example))
                else:
                    findings.append((number, "json-not-object"))
    return examples, findings


def check_shape(example: Example) -> Findings:
    if not example.keys() <= EXAMPLE_KEYS:
        yield "example-unknown-key"
    if "messages" not in example:
        yield "messages-missing"
    elif not isinstance(example["messages"], list):
        yield "messages-type"
    elif not example["messages"]:
        yield "messages-empty"
    elif not all(isinstance(message, dict) for message in example["messages"]):
        yield "message-type"


def check_message_keys(message: Message) -> Findings:
    if not message.keys() <= MESSAGE_KEYS:
        yield "message-unknown-key"


def check_role(message: Message) -> Findings:
    role = message.get("role")
    if role is None:
        yield "role-missing"
    elif not isinstance(role, str) or role not in ROLES:
        yield "role-unknown"
    elif role == "developer":
        yield "role-developer"
    elif role == "function":
        yield "role-function-deprecated"


def check_content(message: Message) -> Findings:
    replaced = message.get("tool_calls") or message.get("function_call") or message.get("refusal")
    content = message.get("content")
    if content is None:
        if not replaced:
            yield "content-null" if "content" in message else "content-missing"
    elif isinstance(content, str):
        if not content.strip() and not replaced:
            yield "content-empty"
    elif isinstance(content, list):
        yield from check_parts(message.get("role"), content)
    else:
        yield "content-type"


def check_parts(role: Any, parts: list[Any]) -> Findings:
    if not parts:
        yield "content-empty"
    if role == "tool":
        yield "tool-content-parts"
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            if not isinstance(part.get("text"), str):
                yield "part-shape"
        elif kind == "image_url":
            yield from check_image(role, part)
        elif kind == "refusal" and role == "assistant":
            if len(parts) > 1:
                yield "refusal-parts"
        else:
            yield "part-type"


def check_image(role: Any, part: dict[str, Any]) -> Findings:
    if role != "user":
        yield "image-role"
    image = part.get("image_url")
    if not isinstance(image, dict) or not isinstance(image.get("url"), str):
        yield "part-shape"
        return
    if image.get("detail", "auto") not in ("auto", "low", "high"):
        yield "image-detail"
    url = image["url"]
    if url.startswith(("http://", "https://")):
        yield "image-remote"
    elif url.startswith("data:"):
        yield from check_image_data(url)
    else:
        yield "image-url"


def check_image_data(url: str) -> Findings:
    try:
        data = base64.b64decode(url.partition(",")[2], validate=True)
    except binascii.Error:
        yield "image-base64"
        return
    if not data.startswith(IMAGE_SIGNATURES):
        yield "image-type"
    if len(data) > MAX_IMAGE_BYTES:
        yield "image-size"


def check_image_count(messages: list[Message]) -> Findings:
    parts = [part for message in messages for part in content_parts(message)]
    if sum(part.get("type") == "image_url" for part in parts) > MAX_IMAGES:
        yield "image-count"


def check_name(message: Message) -> Findings:
    name = message.get("name")
    if name is None:
        if message.get("role") == "function":
            yield "function-name-missing"
    elif not isinstance(name, str) or not NAME.fullmatch(name):
        yield "name-invalid"
    elif len(name) > 64:
        yield "name-too-long"


def check_weight(message: Message) -> Findings:
    if "weight" not in message:
        return
    weight = message["weight"]
    if message.get("role") != "assistant":
        yield "weight-role"
    if not isinstance(weight, int) or isinstance(weight, bool):
        yield "weight-type"
    elif weight not in (0, 1):
        yield "weight-value"


def check_roles(messages: list[Message]) -> Findings:
    roles = [message.get("role") for message in messages]
    if "assistant" not in roles:
        yield "assistant-missing"
    elif roles[-1] != "assistant":
        yield "assistant-not-last"
    if "user" not in roles:
        yield "user-missing"
    if roles.count("system") > 1:
        yield "system-multiple"
    if "system" in roles[1:]:
        yield "system-not-first"
    spoken = [role for role in roles if role not in ("system", "developer")]
    if spoken and spoken[0] == "assistant":
        yield "role-first-assistant"
    for role, following in itertools.pairwise(roles):
        if role == following and role in ("user", "assistant"):
            yield "role-consecutive"


def check_all_weights(messages: list[Message]) -> Findings:
    weights = [
        message.get("weight", 1) for message in messages if message.get("role") == "assistant"
    ]
    if weights and not any(weights):
        yield "weight-all-zero"


def check_tools(example: Example) -> Findings:
    tools = example.get("tools")
    if tools is None:
        if any(message.get("tool_calls") for message in example["messages"]):
            yield "tools-missing"
        return
    if not tools:
        yield "tools-empty"
    names = [tool.get("function", {}).get("name") for tool in tools]
    if len(set(names)) < len(names):
        yield "tool-name-duplicate"
    for tool in tools:
        if not is_schema(json.dumps(tool.get("function", {}).get("parameters", {}))):
            yield "tool-schema-invalid"


@functools.cache  # the same tools stand on thousands of lines
def is_schema(text: str) -> bool:
    try:
        jsonschema.Draft202012Validator.check_schema(json.loads(text))
    except jsonschema.SchemaError:
        return False
    return True


def check_tool_calls(example: Example) -> Findings:
    schemas = {
        tool["function"].get("name"): tool["function"].get("parameters", {})
        for tool in example.get("tools") or []
        if isinstance(tool.get("function"), dict)
    }
    calls = [call for message in example["messages"] for call in message.get("tool_calls") or []]
    ids = [call["id"] for call in calls if call.get("id")]
    if len(set(ids)) < len(ids):
        yield "tool-call-id-duplicate"
    for call in calls:
        function = call.get("function", {})
        if not call.get("id"):
            yield "tool-call-id-missing"
        if call.get("type") != "function":
            yield "tool-call-type"
        name = function.get("name")
        if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > 64:
            yield "tool-call-name"
        elif schemas and name not in schemas:
            yield "tool-call-undeclared"
        yield from check_arguments(function.get("arguments"), schemas.get(name, {}))


def check_arguments(arguments: Any, schema: dict[str, Any]) -> Findings:
    if not isinstance(arguments, str):
        yield "tool-args-type"
        return
    try:
        values = json.loads(arguments)
    except ValueError:
        yield "tool-args-json"
        return
    if not jsonschema.Draft202012Validator(schema).is_valid(values):
        yield "tool-args-schema"


def check_tool_answers(messages: list[Message]) -> Findings:
    open_ids: set[str] = set()
    for message in messages:
        if message.get("role") == "tool":
            answered = message.get("tool_call_id")
            if not answered:
                yield "tool-id-missing"
            elif answered not in open_ids:
                yield "tool-orphan"
            open_ids.discard(answered)
            continue
        if open_ids:
            yield "tool-unanswered"
        open_ids = {call["id"] for call in message.get("tool_calls") or [] if call.get("id")}


def content_parts(message: Message) -> list[dict[str, Any]]:
    content = message.get("content")
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def content_text(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "".join(
        part["text"] for part in content_parts(message) if isinstance(part.get("text"), str)
    )


def check_text(message: Message) -> Findings:
    text = content_text(message)
    for rule, pattern in TEXT_RULES:
        if pattern.search(text):
            yield rule


def check_example(example: Example) -> Findings:
    problems = list(check_shape(example))
    yield from problems
    if any(problem.startswith("message") for problem in problems):
        return
    for message in example["messages"]:
        yield from check_message_keys(message)
        yield from check_role(message)
        yield from check_content(message)
        yield from check_name(message)
        yield from check_weight(message)
        yield from check_text(message)
    yield from check_roles(example["messages"])
    yield from check_all_weights(example["messages"])
    yield from check_image_count(example["messages"])
    yield from check_tools(example)
    yield from check_tool_calls(example)
    yield from check_tool_answers(example["messages"])


def load_encoding(name: str, vocabulary: Path) -> tiktoken.Encoding:
    """The encoding from its file of ranks, without the network."""
    rows = (line.split() for line in vocabulary.read_bytes().splitlines() if line)
    ranks = {base64.b64decode(token): int(rank) for token, rank in rows}
    return tiktoken.Encoding(name, pat_str=PATTERNS[name], mergeable_ranks=ranks, special_tokens={})


def count_tokens(example: Example, encoding: tiktoken.Encoding) -> int:
    tokens = 1
    for message in example["messages"]:
        tokens += 3
        tokens += len(encoding.encode_ordinary(message["role"]))
        tokens += len(encoding.encode_ordinary(content_text(message)))
    return tokens


def check_duplicates(examples: list[tuple[int, Example]]) -> Iterator[tuple[int, str]]:
    """Examples that occurred before, and prompts that have had another answer."""
    answers_of_prompt: dict[str, set[str]] = {}
    for number, example in examples:
        *prompt, answer = example["messages"]
        prompt_text = json.dumps({**example, "messages": prompt}, sort_keys=True)
        answer_text = json.dumps(answer, sort_keys=True)
        answers = answers_of_prompt.setdefault(prompt_text, set())
        if answer_text in answers:
            yield number, "duplicate-example"
        elif answers:
            yield number, "duplicate-conflict"
        answers.add(answer_text)


def check_file(path: Path, encoding: tiktoken.Encoding, limit: int) -> dict[str, Any]:
    examples, findings = load_examples(path)
    sound = []
    total_tokens = 0
    for number, example in examples:
        problems = list(check_example(example))
        findings += [(number, problem) for problem in problems]
        if any(
            problem.startswith(("message", "role-missing", "role-unknown")) for problem in problems
        ):
            continue
        sound.append((number, example))
        tokens = count_tokens(example, encoding)
        total_tokens += tokens
        if tokens > limit:
            findings.append((number, "example-too-long"))
    findings += check_duplicates(sound)
    if len(examples) < MIN_EXAMPLES:
        findings.append((0, "examples-too-few"))
    rules = Counter(rule for _, rule in findings)
    return {"examples": len(examples), "tokens": total_tokens, "rules": dict(sorted(rules.items()))}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "--limit", type=int, default=4096, help="tokens in an example (default: 4096)"
    )
    parser.add_argument("--encoding", choices=sorted(PATTERNS), default="cl100k_base")
    parser.add_argument("--vocab", type=Path, help="file of ranks (default: the one in ftkit)")
    arguments = parser.parse_args()
    vocabulary = arguments.vocab or VOCABULARY / f"{arguments.encoding}.tiktoken"
    if not vocabulary.is_file():
        sys.exit(f"{vocabulary} is missing: name another with --vocab")
    try:
        report = check_file(
            arguments.file, load_encoding(arguments.encoding, vocabulary), arguments.limit
        )
    except UnicodeDecodeError as error:
        sys.exit(f"{arguments.file} is not UTF-8: {error}")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
