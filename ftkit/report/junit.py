"""Validation reports as JUnit XML, which CI services show as test results.

There is no standard; see https://github.com/testmoapp/junitxml for what they read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from xml.etree import ElementTree as ET

from ftkit._text import printable
from ftkit.rules import RULES
from ftkit.summary import FileReport, Finding, Report


def render_junit(report: Report) -> str:
    """Render a report as XML of ASCII characters: a test suite per file, a test case per finding.

    Findings that make `Report.ok` false are failures; the others are the output of a test case that
    passes. A file without findings is a test case that passes.
    """
    failing = {"error", "warning"} if report.fail_on == "warning" else {"error"}
    root = ET.Element("testsuites", name="ftkit")
    for file in report.files:
        suite = ET.SubElement(root, "testsuite", name=printable(file.file))
        suite.extend(_cases(file, failing))
        _count(suite, [suite])
    _count(root, list(root))
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="us-ascii", xml_declaration=True)
    return document.decode("ascii") + "\n"


def _count(element: ET.Element, suites: list[ET.Element]) -> None:
    """Add the numbers of test cases and of failures."""
    element.set("tests", str(sum(len(suite.findall("testcase")) for suite in suites)))
    element.set("failures", str(sum(len(suite.findall("testcase/failure")) for suite in suites)))


def _cases(file: FileReport, failing: set[str]) -> Iterator[ET.Element]:
    name = printable(file.file)
    if not file.counts:
        yield ET.Element("testcase", name="ftkit", classname=name, file=name)
    for finding in file.findings:
        case = ET.Element("testcase", name=f"{finding.code} {finding.rule}")
        case.attrib |= {"classname": name, "file": name, "line": str(finding.line or 1)}
        _add_message(case, finding.severity, _message(name, finding), failing)
        yield case
    shown = Counter((finding.rule, finding.severity) for finding in file.findings)
    for rule, numbers in file.severities.items():
        for severity, count in numbers.items():
            more = count - shown[rule, severity]
            if more:
                case_name = f"{RULES[rule].code} {rule} (more)"
                case = ET.Element("testcase", name=case_name, classname=name)
                _add_message(case, severity, f"{more:,} more findings", failing)
                yield case


def _add_message(case: ET.Element, severity: str, message: str, failing: set[str]) -> None:
    if severity in failing:
        ET.SubElement(case, "failure", type=severity, message=message).text = message
    else:
        ET.SubElement(case, "system-out").text = f"{severity}: {message}"


def _message(name: str, finding: Finding) -> str:
    places = (name, finding.line or None, finding.column or None)
    location = ":".join(str(place) for place in places if place)
    path = "" if finding.path == "$" else f" ({printable(finding.path)})"
    return f"{location}: {printable(finding.message)}{path}"
