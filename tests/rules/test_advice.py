"""What findings advise, and what rules leave alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ftkit import Finding, validate
from ftkit.rules import RULES
from ftkit.rules.samples import COMPLETION_FILE, completion_file
from support.examples import chat_example, chat_lines
from support.fixture_types import Write
from support.lines import findings_of


def findings_on(example: Any, write: Write) -> list[Finding]:
    """The findings on an example among good ones of its format."""
    return [finding for finding in findings_of(write(chat_lines(20, {4: example}))) if finding.line]


def with_content(content: Any) -> dict[str, Any]:
    example = chat_example(99)
    example["messages"][-1]["content"] = content
    return example


@pytest.mark.parametrize("key", ["value", "content", "Text"])
@pytest.mark.parametrize("type", ["text", "refusal"])
def test_a_part_with_its_text_under_another_key_gets_one_finding(
    type: str, key: str, write: Write
) -> None:
    (finding,) = findings_on(with_content([{"type": type, key: "Yes."}]), write)
    assert (finding.rule, finding.path) == (
        "part-shape",
        f"$.messages[{len(chat_example(99)['messages']) - 1}].content[0].{key}",
    )
    assert finding.message == f"unknown key {key!r}; rename it to {type!r}"


@pytest.mark.parametrize(
    ("part", "messages"),
    [
        ({"type": "text"}, ['the part has no "text"; add it']),
        (
            {"type": "text", "text": "Yes.", "value": "No."},
            ["the part has the unknown key 'value'; remove it"],
        ),
        (
            {"type": "text", "value": 5},
            ['the part has no "text"; add it', "the part has the unknown key 'value'; remove it"],
        ),
    ],
)
def test_other_parts_are_not_renamed(part: Any, messages: list[str], write: Write) -> None:
    findings = findings_on(with_content([part]), write)
    assert sorted(finding.message for finding in findings) == sorted(messages)


TOOLS = [{"type": "function", "function": {"name": "now", "parameters": {}}}]


@pytest.mark.parametrize("key", ["tools", "functions"])
def test_tools_in_a_string_get_one_finding(key: str, write: Write) -> None:
    (finding,) = findings_on({**chat_example(99), key: json.dumps(TOOLS)}, write)
    assert (finding.rule, finding.path) == ("tool-schema-invalid", f"$.{key}")
    assert finding.message == f"{key} is a string; put the array itself"


def test_parameters_in_a_string_get_one_finding(write: Write) -> None:
    tool = {"type": "function", "function": {"name": "now", "parameters": "{}"}}
    (finding,) = findings_on({**chat_example(99), "tools": [tool]}, write)
    assert finding.message == "parameters is a string; put the object itself"


@pytest.mark.parametrize(
    "text",
    [
        "Dear {{name}},",
        "{{ user.name|title }}",
        "Send it to <INSERT ADDRESS> today.",
        "Yours, [YOUR NAME]",
        "TODO",
        " # TODO\n",
        "TODO...",
        "YOUR_ANSWER",
        "[PLACEHOLDER]",
        "PLACEHOLDER",
    ],
)
def test_a_placeholder_in_braces_or_alone_is_reported(text: str, write: Write) -> None:
    findings = findings_on(with_content(text), write)
    assert [finding.rule for finding in findings] == ["placeholder-text"]


@pytest.mark.parametrize(
    "text",
    [
        "Put it on your TODO list.",
        "TODO: buy milk",
        "# TODO\nprint(1)",
        "Set OPENAI_API_KEY to YOUR_API_KEY first.",
        "Replace the PLACEHOLDER by your name.",
        "f'{{x}' is not closed",
        "todo",
    ],
)
def test_a_placeholder_word_in_prose_is_not_reported(text: str, write: Write) -> None:
    assert findings_on(with_content(text), write) == []


@pytest.mark.parametrize(
    ("prompt", "completion", "is_reported"),
    [
        ("WHERE IS THE {}?", "THE {} IS HERE", True),
        ("ACGT{}GTCA", "CODON END", False),
        ("CC(=O)OC1=CC=CC=C1 {}", "A-17/B", False),
        ("Q7 NF3 B2 C4 {}", "E2 E4", False),
        ("", "WE ARE ALL IN {} NOW", True),
    ],
)
def test_only_words_count_as_upper_case(
    prompt: str, completion: str, is_reported: bool, write: Write
) -> None:
    lines = completion_file(prompt, completion).splitlines()
    path = write(
        [
            json.dumps({key: text.upper() for key, text in json.loads(line).items()}).encode()
            for line in lines
        ]
    )
    report = validate(path, select=["prompt-uppercase"]).files[0]
    assert bool(report.findings) == is_reported


def test_one_upper_case_example_does_not_make_a_file_upper_case(write: Write) -> None:
    data = COMPLETION_FILE + '{"prompt": "WHO ARE YOU THEN", "completion": " I AM THE ONE"}\n'
    assert validate(write(data.encode()), select=["prompt-uppercase"]).ok
    assert not validate(write(data.encode()), select=["prompt-uppercase"]).files[0].findings


def test_a_text_without_a_question_is_an_info(write: Write) -> None:
    example = {"messages": [{"role": "assistant", "content": "Once upon a time."}]}
    report = validate(write(chat_lines(60, {4: example})), fail_on="warning")
    assert [(row.rule, row.severity) for row in report.files[0].findings] == [
        ("user-missing", "info")
    ]
    assert report.ok


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("preferred_completion", [], "did you mean 'preferred_output'?"),
        ("preferred_completion", "Hi", "did you mean 'preferred_output', an array of messages?"),
        ("prompt", "Hi", """did you mean 'input', an object {"messages": [...]}?"""),
        ("inputs", {}, "did you mean 'input'?"),
    ],
)
def test_a_renamed_key_of_a_preference_example_is_told_its_type(
    key: str, value: Any, message: str, write: Write
) -> None:
    example = json.loads(RULES["preference-key"].good)
    lines = [json.dumps(example).encode()] * 20
    name = "input" if "input" in message else "preferred_output"
    del example[name]
    lines[4] = json.dumps({**example, key: value}).encode()
    report = validate(write(lines), select=["preference-key"]).files[0]
    assert [finding.message for finding in report.findings] == [f"unknown key {key!r}; {message}"]
