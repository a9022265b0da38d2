"""Rules on the order of roles."""

from __future__ import annotations

from ftkit import validate
from support.examples import chat_lines
from support.fixture_types import Write


def test_an_example_with_many_system_messages_has_one_finding(write: Write) -> None:
    messages = [
        {"role": "user", "content": "Hi"},
        *({"role": "system", "content": f"Rule {number}."} for number in range(5)),
        {"role": "assistant", "content": "Hello."},
    ]
    path = write(chat_lines(60, {3: {"messages": messages}}))
    report = validate(path, select=["system-multiple"]).files[0]
    (finding,) = report.findings
    assert (report.counts, finding.line, finding.path) == (
        {"system-multiple": 1},
        3,
        "$.messages[2]",
    )
    assert finding.message == "5 system messages; join them into the first"
