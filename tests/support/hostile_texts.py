"""Hostile texts, lines and files of any size, to measure how the time for them grows."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

from ftkit.dataset.lenient_json import walk
from ftkit.rules import RULES, Rule
from ftkit.rules.samples import (
    CHAT,
    COMPLETION,
    IMAGE_CHAT,
    PREFERENCE,
    REINFORCEMENT,
    TOOL_CHAT,
    chat,
    tool_answer,
    tool_call,
)

Make = Callable[[int], bytes]
"""A function that returns a file of about so many bytes."""

SECRET_PREFIXES = (
    *("sk-", "AKIA", "ASIA", "SG.", "ghp_", "github_pat_", "xoxb-", "AIza", "hf_", "glpat-"),
    *("sk_live_", "npm_", "eyJ", "eyJ-", ".eyJ", "eyJaaaaaaaaaa.", "-----BEGIN "),
)

UNITS = (
    *("a", "A", "0", " ", "-", "_", ".", "@", "{", "}", "[", "]", "<", ">", "|", "/", "\\", '"'),
    *(
        "\n",
        "\r",
        "\t",
        "\0",
        "\r\n",
        "\ufeff",
        "\u200b",
        "\ufffd",
        "Ã©",
        "é",
        "中",
        "😀",
        "\u017f",
    ),
    *("a-b ", "A-", "-0", "_A", "a.", "a@", "@a.", "@a.bc", "a@b.co ", "{{", "{{a", "{{ ", "{{a}}"),
    *("<|", "<|im_start|>", "[INST]", "<<SYS>>", "YOUR_", "<INSERT ", "TODO", "0.", "1e5", "-1,"),
    *("\U000e0041", "\u200d", "data:;", ";base64,", "http://", "&#", "<a ", "ab", "aB", "a1", "' "),
    *SECRET_PREFIXES,
    *(f"{prefix}-" for prefix in SECRET_PREFIXES),
    *(f"{prefix} " for prefix in SECRET_PREFIXES),
)
"""Texts that are repeated."""

TEXTS: dict[str, Callable[[int], str]] = {
    **{f"{unit!a} repeated": lambda size, unit=unit: unit * (size // len(unit)) for unit in UNITS},
    "words": lambda size: " ".join(map(str, range(size // 6))),
    "a key, then a run": lambda size: "sk-" + "A1" * 20 + "-" * size,
    "{{ and a run": lambda size: "{{a" + " " * size,
    "a run and @": lambda size: "a" * size + "@",
    "an image": lambda size: "data:image/png;base64," + "iVBORw0KGgo" + "A" * size,
    "a Netpbm image": lambda size: "data:image/png;base64,UDYg" + "MDEy" * (size // 4),
    "nested JSON": lambda size: '{"a":[' * (size // 6),
    "closed JSON": lambda size: "[" * (size // 2) + "]" * (size // 2),
}
"""Functions that return a text of about so many characters, by name."""

SAMPLES = {
    "chat": (CHAT, TOOL_CHAT, IMAGE_CHAT),
    "completions": (COMPLETION,),
    "preference": (PREFERENCE,),
    "reinforcement": (REINFORCEMENT,),
}
"""Lines of each format."""


def encode(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def with_text(sample: str, place: int, make: Callable[[int], str]) -> Make:
    """Return a function that puts a text into one of the string positions of a line."""

    def made(size: int) -> bytes:
        value = json.loads(sample)
        for number, (_, parent, key) in enumerate(strings(value)):
            if number == place:
                parent[key] = make(size)
        return encode(value)

    return made


def strings(value: Any) -> list[tuple[str, Any, Any]]:
    """Return the name, the parent and the key of each string in a JSON value."""
    return [
        (".".join(map(str, steps[1:])), parent, steps[-1])
        for steps, parent, inner in walk([value])
        if isinstance(inner, str)
    ]


def texts_in_samples() -> Iterator[tuple[str, Make]]:
    """Yield each text in each string position of each format."""
    for format, samples in SAMPLES.items():
        for number, sample in enumerate(samples):
            for place, (name, _, _) in enumerate(strings(json.loads(sample))):
                for text, make in TEXTS.items():
                    yield f"{format} {number} {name}: {text}", with_text(sample, place, make)


def texts_in_content() -> Iterator[tuple[str, Make]]:
    """Yield each text in the content of a user message."""
    place = [name for name, _, _ in strings(json.loads(CHAT))].index("messages.0.content")
    for text, make in TEXTS.items():
        yield f"content: {text}", with_text(CHAT, place, make)


DEEP, DEEP_STEP = 20, 100
"""Depth below which only each place of this many is grown."""


def grown_rules() -> Iterator[tuple[str, Make]]:
    """Yield the bad sample of each rule, with each list and each object of it grown in turn."""
    for rule in RULES.values():
        if len(rule.bad) > 100_000:
            continue
        yield f"{rule.name}: file repeated", _repeated(rule)
        for number, line in enumerate(rule.bad.splitlines()[:2]):
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                continue
            containers = [
                ".".join(map(str, steps[1:]))
                for steps, _, inner in walk([value])
                if isinstance(inner, (list, dict)) and inner
            ]
            for place, name in enumerate(containers):
                # The places in a deep value are alike.
                if name.count(".") < DEEP or place % DEEP_STEP == 0:
                    yield f"{rule.name} {number}: {name} grown", _grown(value, place)


def _repeated(rule: Rule) -> Make:
    line = rule.bad.rstrip(b"\n") + b"\n"
    return lambda size: line * max(size // len(line), 1)


def _grown(value: Any, place: int) -> Make:
    text = json.dumps(value)  # not deepcopy, which needs a deep stack for a deep value

    def made(size: int) -> bytes:
        holder = [json.loads(text)]
        containers = (
            inner for _, _, inner in walk(holder) if isinstance(inner, (list, dict)) and inner
        )
        container = next(itertools.islice(containers, place, None))
        unit = len(json.dumps(container))
        if isinstance(container, list):
            container *= max(size // unit, 1)
        else:
            first = next(iter(container.values()))
            unit = len(json.dumps(first)) + 12
            container.update((f"k{number}", first) for number in range(size // unit))
        return encode(holder[0])

    return made


def tool_chat(parameters: Any, *arguments: str) -> bytes:
    """Return a chat example that calls a tool with these parameters and arguments."""
    tools = [{"type": "function", "function": {"name": "weather", "parameters": parameters}}]
    calls = [
        message
        for number, text in enumerate(arguments)
        for message in (
            tool_call(json.dumps(text), id=f'"id": "call_{number}", '),
            tool_answer(f"call_{number}"),
        )
    ]
    line = chat('{"role": "user", "content": "Hi"}', *calls, rest=f', "tools": {json.dumps(tools)}')
    return line.encode() + b"\n"


def _list(size: int, unit: str) -> str:
    return f'{{"a": [{", ".join([unit] * (size // (len(unit) + 2)))}]}}'


def _items(schema: Any, unit: str) -> Make:
    return lambda size: tool_chat({"properties": {"a": schema}}, _list(size, unit))


def _doubling(keyword: str) -> Make:
    def made(size: int) -> bytes:
        depth = min(size // 60, 60)
        definitions: dict[str, Any] = {
            f"d{level}": {keyword: [{"$ref": f"#/$defs/d{level + 1}"}] * 2}
            for level in range(depth)
        }
        definitions[f"d{depth}"] = {"type": "string"}
        schema = {"$defs": definitions, "$ref": "#/$defs/d0", "title": "x" * size}
        return tool_chat(schema, "{}")

    return made


def _pattern(pattern: str, text: Callable[[int], str]) -> Make:
    schema = {"properties": {"a": {"pattern": pattern}}}
    return lambda size: tool_chat(schema, json.dumps({"a": text(size)}))


SCHEMAS: dict[str, Make] = {
    "schema: items": _items({"items": {"type": "string"}}, "1"),
    "schema: items of many unknown keywords": lambda size: tool_chat(
        {"properties": {"a": {"items": {f"k{number}": 1 for number in range(size // 20)}}}},
        _list(size // 2, "1"),
    ),
    "schema: enum": _items({"items": {"enum": list(range(1000))}}, "5000"),
    "schema: uniqueItems of mixed types": _items(
        {"uniqueItems": True}, '{"a": 1}, 1, "b", [2], null'
    ),
    "schema: uniqueItems of objects": lambda size: tool_chat(
        {"properties": {"a": {"uniqueItems": True}}},
        json.dumps({"a": [{"b": number} for number in range(size // 12)]}),
    ),
    "schema: contains": _items({"contains": {"type": "string"}}, "1"),
    "schema: anyOf of items": _items({"items": {"anyOf": [{"minimum": 5}] * 20}}, "1"),
    "schema: multipleOf": _items({"items": {"multipleOf": int("7" * 400)}}, "9" * 300),
    **{
        f"schema: doubling {keyword}": _doubling(keyword) for keyword in ("allOf", "anyOf", "oneOf")
    },
    "schema: (a+)+$": _pattern("(a+)+$", lambda size: "a" * size + "!"),
    "schema: (.*)*x": _pattern("(.*)*x", lambda size: "a" * size),
    "schema: a{1000}": _pattern("(a{100}){9}b", lambda size: "a" * size),
    "schema: long pattern": lambda size: tool_chat(
        {"properties": {"a": {"pattern": "a?" * (size // 20) + "a" * (size // 20)}}},
        json.dumps({"a": "a" * (size // 20)}),
    ),
    "schema: patternProperties": lambda size: tool_chat(
        {"patternProperties": {"(a+)+$": {}}, "additionalProperties": False},
        json.dumps({f"{'a' * 30}{number}": 1 for number in range(size // 40)}),
    ),
    "schema: many patternProperties": lambda size: tool_chat(
        {"patternProperties": {f"^x{number}": {} for number in range(size // 20)}},
        json.dumps({f"a{number}": 1 for number in range(size // 20)}),
    ),
    "schema: properties": lambda size: tool_chat(
        {"properties": {f"p{number}": {"type": "string"} for number in range(size // 30)}}, "{}"
    ),
    "schema: empty schemas": lambda size: tool_chat({"allOf": [{}] * (size // 4)}, "{}"),
    "schema: required": lambda size: tool_chat(
        {"required": [f"r{number}" for number in range(size // 10)]}, "{}"
    ),
    "schema: enum of the schema": lambda size: tool_chat(
        {"properties": {"a": {"enum": [str(number) for number in range(size // 10)]}}},
        *['{"a": "x"}'] * 20,
    ),
    "schema: many calls": lambda size: tool_chat(
        {"properties": {"a": {"type": "string"}}, "title": "t" * (size // 2)},
        *['{"a": 1}'] * (size // 400),
    ),
    "schema: unevaluatedProperties": lambda size: tool_chat(
        {"unevaluatedProperties": False, "title": "t" * size}, '{"a": 1}'
    ),
    "schema: anchors": lambda size: tool_chat(
        {
            "$defs": {"a": {"$anchor": "a"}},
            "title": "t" * (size // 2),
            "allOf": [{"$ref": "#a"}] * (size // 40),
        },
        "{}",
    ),
    "schema: deep": lambda size: tool_chat(
        {
            "title": "t" * size,
            "properties": {"a": json.loads('{"items":' * 200 + "{}" + "}" * 200)},
        },
        json.dumps({"a": json.loads("[" * 200 + "]" * 200)}),
    ),
    "schema: $schema of another draft": lambda size: tool_chat(
        {
            "properties": {
                "a": {"$schema": "http://json-schema.org/draft-07/schema#", "pattern": "(a+)+$"}
            }
        },
        json.dumps({"a": "a" * size + "!"}),
    ),
}
"""Files with a schema of a stranger."""


def _calls(number: int) -> str:
    return ", ".join(
        f'{{"id": "call_{n}", "type": "function", "function": {{"name": "weather", "arguments": "{{}}"}}}}'
        for n in range(number)
    )


def _messages(*units: str) -> Make:
    joined = ", ".join(units)
    return lambda size: chat(*units * (size // len(joined))).encode() + b"\n"


def _lines(*units: bytes) -> Make:
    joined = b"".join(units)
    return lambda size: joined * (size // len(joined))


LINES: dict[str, Make] = {
    "numbers as messages": _messages("1"),
    "objects as messages": _messages("{}"),
    "messages of an unknown role": _messages('{"role": "human", "content": "a"}'),
    "messages without content": _messages('{"role": "user"}'),
    "messages and numbers": _messages('{"role": "user", "content": ""}', "1"),
    "empty messages": _messages('{"role": "user", "content": ""}'),
    "system messages": _messages('{"role": "system", "content": "a"}'),
    "assistant messages": _messages('{"role": "assistant", "content": "a"}'),
    "orphans": _messages('{"role": "tool", "tool_call_id": "a", "content": "b"}'),
    "many calls, many orphans": lambda size: chat(
        f'{{"role": "assistant", "tool_calls": [{_calls(size // 200)}]}}',
        *('{"role": "tool", "tool_call_id": "x", "content": "b"}',) * (size // 110),
    ).encode(),
    "many calls, half of them answered": lambda size: chat(
        f'{{"role": "assistant", "tool_calls": [{_calls(size // 200)}]}}',
        *(tool_answer(f"call_{n // 2}") for n in range(size // 140)),
    ).encode(),
    "undeclared calls, many tools": lambda size: chat(
        f'{{"role": "assistant", "tool_calls": [{_calls(size // 200)}]}}',
        rest=', "tools": ['
        + ", ".join(
            f'{{"type": "function", "function": {{"name": "f{n}"}}}}' for n in range(size // 110)
        )
        + "]",
    ).encode(),
    "many keys": lambda size: encode({f"key{n}": n for n in range(size // 16)}),
    "many keys of a preference": lambda size: encode(
        {"input": {}, **{f"key{n}": n for n in range(size // 16)}}
    ),
    "keys like those of a preference": lambda size: encode(
        {"input": {}, **{f"preferred_outpu{n}": n for n in range(size // 28)}}
    ),
    "the same key": lambda size: b'{"messages": [], ' + b'"a": 1, ' * (size // 8) + b'"a": 1}',
    "NaN": lambda size: b'{"messages": [' + b"NaN, " * (size // 5) + b"1]}",
    "large numbers": lambda size: b'{"messages": [' + b"1e999, " * (size // 7) + b"1]}",
    "long numbers": lambda size: b'{"messages": [' + b"9" * size + b"]}",
    "lone surrogates": lambda size: b'{"messages": ["' + b"\\ud800" * (size // 6) + b'"]}',
    "keys with lone surrogates": lambda size: (
        b'{"messages": [], ' + b", ".join(b'"\\ud800%d": 1' % n for n in range(size // 18)) + b"}"
    ),
    "nesting": lambda size: b'{"messages": ' + b"[" * (size // 2) + b"]" * (size // 2) + b"}",
    "unclosed nesting": lambda size: b'{"a":' * (size // 5),
    "deep, then wide": lambda size: (
        b'{"messages": [], "a": '
        + b'{"%b": ' % (b"k" * 70) * 500
        + b"[%b1]" % (b"1, " * (size // 3))
        + b"}" * 501
    ),
    "deep, then wide with NaN": lambda size: (
        b'{"messages": [], "a": '
        + b'{"%b": ' % (b"k" * 70) * 500
        + b"[%b1]" % (b"NaN, " * (size // 5))
        + b"}" * 501
    ),
    "blank lines": lambda size: CHAT.encode() + b"\n" * size,
    "lines of a space": lambda size: CHAT.encode() + b"\n " * (size // 2),
    "CR LF": lambda size: CHAT.encode() + b"\r\n" * (size // 2),
    "CR": _lines(CHAT.encode() + b"\r"),
    "CR and numbers": _lines(b"1\r"),
    "CR, LF and CR LF": _lines(CHAT.encode() + b"\r\n", b"\r", CHAT.encode() + b"\n", b"\n"),
    "byte order marks": _lines(b"\xef\xbb\xbf"),
    "lines with byte order marks": _lines(b"\xef\xbb\xbf" + CHAT.encode() + b"\n"),
    "invalid UTF-8": _lines(b"\xff\xfe\xc3\x28"),
    "lines of invalid UTF-8": _lines(CHAT.encode().replace(b"Hi", b"H\xe9") + b"\n"),
    "NUL": _lines(b"\0"),
    "UTF-16": lambda size: (CHAT * (size // (2 * len(CHAT)))).encode("utf-16-le"),
    "an opening and spaces": lambda size: b'{"a":' + b" " * size + b"x",
    "an opening and line ends": lambda size: b'{"a":\n' * (size // 6),
    "CSV": _lines(b"a,b,"),
    "one CSV line": lambda size: b"a," * (size // 2),
    "quotes": _lines(b'"'),
    "backslashes": lambda size: b'{"messages": "' + b"\\\\" * (size // 2) + b'"}',
    "different fields": lambda size: b"".join(
        b'{"messages": [{"role": "user", "content": "a"}], "field%d": 1}\n' % n
        for n in range(size // 70)
    ),
    "many fields, then different ones": lambda size: (
        encode(
            {
                "messages": [{"role": "user", "content": "a"}],
                **{f"f{n}": 1 for n in range(size // 24)},
            }
        )
        * 2
        + b"".join(
            b'{"messages": [{"role": "user", "content": "a"}], "g%d": 1}\n' % n
            for n in range(size // 140)
        )
    ),
    "the same line": _lines(CHAT.encode() + b"\n"),
    "the same prompt": lambda size: b"".join(
        CHAT.replace("Hello!", str(n)).encode() + b"\n" for n in range(size // len(CHAT))
    ),
}
"""Files whose structure is hostile."""
