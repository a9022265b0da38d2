"""Each rule is broken by its bad example and by nothing in its good one; the public names stay."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from ftkit import UnknownNameError, UsageError, validate
from ftkit.catalog import find_limits
from ftkit.dataset.detect import Head
from ftkit.dataset.lenient_json import MAX_LINE_BYTES, MAX_VALUES, Reading
from ftkit.rules import RULES, Rule, ScanPlan, choose_rules, find_rule, rules_by_subject
from ftkit.rules.fingerprints import LocalFingerprints
from ftkit.rules.nodes import Dataset, SchemaError
from ftkit.rules.samples import COMPLETION_FILE, numbered_chats
from ftkit.summary import FileReport, Summary
from ftkit.validation.runner import Checks
from support.fixture_types import Write
from support.paths import DATA

BRING_ALONG = {
    "example-trained-tokens-cut": {"example-too-long"},
    "function-name-missing": {"role-function-deprecated"},
    "rft-grader-field": {"rft-fields-differ"},
}
"""Rules that cannot be broken without breaking others."""

PUBLIC = {
    name: severity
    for severity, names in json.loads((DATA / "rule_names.json").read_text()).items()
    for name in names
}


def test_the_docstring_of_the_line_limit_states_its_constants() -> None:
    megabytes, rest = divmod(MAX_LINE_BYTES, 1_000_000)
    assert not rest
    assert f"{megabytes} MB, or more than {MAX_VALUES:,} JSON" in find_rule("FT133").doc


def padding(rule: Rule) -> list[bytes]:
    """Sixty good lines of the format that the rule's examples have."""
    format = rule.context.get("format") or (rule.formats[0] if rule.formats else "chat")
    if format == "chat":
        return [line.encode() for line in numbered_chats(60)]
    if format == "completions":
        return COMPLETION_FILE.encode().splitlines()
    if format == "preference":
        return [_preference(number) for number in range(60)]
    field = "score" if b"score" in rule.bad else "answer"
    return [
        json.dumps(
            {"messages": [{"role": "user", "content": f"Q{number}"}], field: str(number)}
        ).encode()
        for number in range(60)
    ]


def _preference(number: int) -> bytes:
    better, worse = ([{"role": "assistant", "content": f"{letter}{number}"}] for letter in "AB")
    asked = {"messages": [{"role": "user", "content": f"Q{number}"}]}
    return json.dumps(
        {"input": asked, "preferred_output": better, "non_preferred_output": worse}
    ).encode()


def checked(rule: Rule, data: bytes, write: Write, **options: Any) -> FileReport:
    """The report on a file of good lines with this one among them, with all that the rule needs to be given."""
    padded = padding(rule)
    path = write(data if rule.whole_file else [*padded[:30], data, *padded[30:]])
    if "requested_formats" in rule.context:
        options["format"] = rule.context["requested_formats"][0]
    if "grader_fields" in rule.context:
        options["grader"] = write(
            json.dumps({"reference": "{{item.%s}}" % rule.context["grader_fields"]}).encode(),
            "grader.json",
        )
    if "validation" in rule.context:
        options["validation_file"] = write(
            [rule.context["validation"].encode()], "validation.jsonl"
        )
    return validate(path, **options).files[0]


def names(report: FileReport, rule: Rule) -> set[str]:
    rules = {finding.rule for finding in report.findings}
    return rules - (
        {"examples-few", "examples-too-few"} - {rule.name} if rule.whole_file else set()
    )


SIZED = [rule for rule in RULES.values() if "bytes" in rule.context]
TABLE = [rule for rule in RULES.values() if rule not in SIZED]


@pytest.mark.parametrize("rule", TABLE, ids=lambda rule: rule.name)
def test_the_bad_example_breaks_this_rule_and_no_other(rule: Rule, write: Write) -> None:
    assert names(checked(rule, rule.bad, write), rule) == {rule.name} | BRING_ALONG.get(
        rule.name, set()
    )


@pytest.mark.parametrize("rule", TABLE, ids=lambda rule: rule.name)
def test_the_good_example_breaks_nothing(rule: Rule, write: Write) -> None:
    given_anyway = (
        {rule.name} if rule.context.keys() & {"requested_formats", "validation"} else set()
    )
    assert names(checked(rule, rule.good, write), rule) <= given_anyway


SHAPED = [rule for rule in TABLE if rule.places]


@pytest.mark.parametrize("rule", SHAPED, ids=lambda rule: rule.name)
def test_a_line_that_a_rule_speaks_of_is_no_broken_json_where_the_rule_is_left_out(
    rule: Rule, write: Write
) -> None:
    assert not checked(rule, rule.bad, write, select=["json-syntax"]).findings


def test_a_place_that_fits_nothing_and_that_no_rule_speaks_of_is_an_error() -> None:
    place = SchemaError("Chat", "odd", "enum", "$.odd", 1, {"odd": 1})
    (finding,) = Checks(ScanPlan(find_limits(), rules=frozenset(RULES))).schema_errors([place], 7)
    assert (finding.rule, finding.severity, finding.line, finding.path) == (
        "json-syntax",
        "error",
        7,
        "$.odd",
    )


@pytest.mark.parametrize("rule", SIZED, ids=lambda rule: rule.name)
def test_a_large_file_breaks_the_rules_on_size(rule: Rule) -> None:
    plan = ScanPlan(find_limits(), rules=frozenset({rule.name}))
    for size, expected in ((rule.context["bytes"], [rule.name]), (1000, [])):
        summary = Summary(examples=60, lines=60, size=size)
        findings = Checks(plan).dataset(Dataset(summary, LocalFingerprints()))
        assert [finding.rule for finding, _ in findings] == expected


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)
def test_a_rule_documents_itself(rule: Rule) -> None:
    assert re.fullmatch(r"FT\d{3}", rule.code)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.name)
    assert rule.summary.endswith((".", ".`"))
    assert rule.doc.partition("\n\n")[2], "say why it is bad and what to do"
    assert rule.sources
    assert all(source.name in rule.evidence for source in rule.sources)
    assert all(source.url.startswith("https://") for source in rule.sources if source.url)
    for message in rule.provider_messages:
        re.compile(message)


def test_codes_are_unique_and_in_order() -> None:
    codes = [rule.code for rule in RULES.values()]
    assert codes == sorted(set(codes))


def test_the_public_names_keep_their_severity() -> None:
    assert {name: RULES[name].severity for name in PUBLIC} == PUBLIC


@pytest.mark.parametrize("rule", TABLE, ids=lambda rule: rule.name)
def test_the_samples_differ_unless_the_context_makes_the_bad_one_bad(rule: Rule) -> None:
    assert rule.bad != rule.good or rule.context.keys() & {"requested_formats", "validation"}


def test_a_rule_has_checks_for_several_node_types() -> None:
    rule = RULES["encoding-utf16"]
    assert (Head in rule.checks, Reading in rule.checks, Dataset in rule.checks) == (
        True,
        True,
        False,
    )
    head = Head("data.jsonl", "{}".encode("utf-16-le") * 20, complete=True)
    (hit,) = rule.checks[Head](head, ScanPlan(find_limits()))
    assert "UTF-16" in hit.message


def test_every_rule_belongs_to_a_subject() -> None:
    subjects = rules_by_subject()
    assert {rule.name for rules in subjects.values() for rule in rules} == set(RULES)
    assert all(doc.partition("\n")[0].endswith(".") for doc in subjects)


def test_rules_are_chosen_by_name_code_and_beginning_of_codes() -> None:
    assert choose_rules(["json-syntax"]) == {"json-syntax"}
    assert choose_rules(["ft120"]) == {"json-syntax"}
    assert choose_rules(["FT34"]) == {
        "weight-value",
        "weight-type",
        "weight-role",
        "weight-all-zero",
    }
    assert choose_rules() == choose_rules(["all"]) == choose_rules(["FT"]) == set(RULES)
    assert "secret" not in choose_rules([], ["secret"])


def test_a_name_that_fits_no_rule_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'json-syntax'"):
        choose_rules(["json-sintax"])
    with pytest.raises(UnknownNameError, match="unknown rule 'FT999'"):
        find_rule("FT999")


def test_ignoring_all_that_is_selected_is_refused() -> None:
    with pytest.raises(UsageError, match="no rule is left"):
        choose_rules(["secret"], ["FT4"])


def test_the_number_of_findings_is_exact_beyond_those_kept(write: Write) -> None:
    path = write([b'{"messages": []}'] * 50)
    report = validate(path, max_findings=3).files[0]
    assert report.counts["messages-empty"] == 50
    assert sum(finding.rule == "messages-empty" for finding in report.findings) == 3
