"""What Python callers give `validate`, `measure` and `estimate`: files, examples, wrong values."""

from __future__ import annotations

import gzip
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit import FileError, Report, UnknownNameError, UsageError, estimate, measure, validate
from ftkit.estimation.quote import quote
from support.examples import chat_example, chat_lines
from support.fixture_types import Write
from support.lines import CLEAN_LINE
from support.models import MINI
from support.paths import MARV

EXAMPLES = [chat_example(number) for number in range(12)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fail_on": "banana"}, "`fail_on` must be error or warning, not 'banana'"),
        (
            {"fail_on": "warnings"},
            "`fail_on` must be error or warning, not 'warnings'; did you mean 'warning'?",
        ),
        ({"fail_on": None}, "`fail_on` must be error or warning, not None"),
        ({"max_findings": -1}, "`max_findings` must be a whole number from 1, not -1"),
        ({"max_findings": 0}, "`max_findings` must be a whole number from 1, not 0"),
        ({"max_findings": 1.5}, "`max_findings` must be a whole number from 1, not 1.5"),
        ({"max_findings": True}, "`max_findings` must be a whole number from 1, not True"),
        ({"ignore": "secret"}, "`ignore` must be a list of names, such as ['secret']"),
        ({"select": "FT1"}, "`select` must be a list of names, such as ['FT1']"),
        ({"ignore": 5}, "`ignore` must be a list of names, not 5"),
        ({"ignore": [5]}, "`ignore` must be a list of names, not [5]"),
        ({"ignore": None}, "`ignore` must be a list of names, not None"),
        ({"workers": 0}, "`workers` must be a whole number from 1, not 0"),
        ({"workers": "2"}, "`workers` must be a whole number from 1, not '2'"),
        ({"model": 5}, "`model` must be a name, not 5"),
        ({"format": ["chat"]}, "`format` must be a name, not ['chat']"),
        ({"provider": None}, "`provider` must be a name, not None"),
    ],
)
def test_validate_refuses_an_invalid_argument(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        validate(MARV, **arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, "`epochs` must be a whole number from 1, not 0"),
        ({"epochs": -3}, "`epochs` must be a whole number from 1, not -3"),
        ({"epochs": "2"}, "`epochs` must be a whole number from 1, not '2'"),
        ({"model": ["x"]}, "`model` must be a name, not ['x']"),
        ({"provider": 5}, "`provider` must be a name, not 5"),
        ({"format": 5}, "`format` must be a name, not 5"),
        ({"price": "5"}, "`price` must be a number of US dollars, not '5'"),
        ({"price": -1.0}, "`price` must be a number of US dollars, not -1.0"),
        ({"price": math.nan}, "`price` must be a number of US dollars, not nan"),
        ({"counting": "exact"}, "`counting` must be billing or notebook, not 'exact'"),
    ],
)
def test_estimate_refuses_an_invalid_argument(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        estimate(MARV, **{"model": MINI, **arguments})
    assert str(caught.value) == message


def test_one_model_where_several_are_expected_is_refused() -> None:
    for call in (measure, quote):
        with pytest.raises(UsageError, match=r"`models` must be a list of names, such as \['gpt"):
            call(MARV, MINI)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "`files` is empty; name at least one file or example"),
        (EXAMPLES[0], "`files` is one example; put it in a list: [example]"),
        (b"data.jsonl", "`files` must be a path, an open file, or a list of paths or of examples"),
        (None, "`files` must be a path, an open file, or a list of paths or of examples"),
        ([MARV, 3], "`files[1]` must be a path"),
        ([EXAMPLES[0], "data.jsonl"], "`files[1]` must be an example, a dict, not str"),
        ([{"messages": {1}}], "`files[0]` cannot be written as JSON: Object of type set is not"),
    ],
)
def test_what_is_neither_a_file_nor_examples_is_refused(files: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        validate(files)
    assert str(caught.value).startswith(message)


class DataFrame:
    """The parts of a data frame of pandas that tell it from a list of paths."""

    columns = ("messages",)

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def to_dict(self, orient: str) -> list[dict[str, Any]]:
        return EXAMPLES


def test_a_data_frame_is_refused_with_the_call_that_gives_its_rows() -> None:
    frame: Any = DataFrame()
    with pytest.raises(UsageError) as caught:
        validate(frame)
    expected = '`files` is a DataFrame; give its rows, such as `df.to_dict("records")`'
    assert str(caught.value) == expected


def test_examples_that_contain_themselves_are_refused() -> None:
    loop: dict[str, Any] = {}
    loop["messages"] = [loop]
    with pytest.raises(UsageError, match=r"`files\[0\]` cannot be written as JSON: Circular"):
        validate([loop])


def without_name(report: Report) -> list[Any]:
    return [{**file, "file": ""} for file in report.to_dict()["files"]]


BAD_CONTENT = b"\n".join([*chat_lines(12), CLEAN_LINE + b"}"]) + b"\n"


@pytest.mark.parametrize("content", [BAD_CONTENT, b"", b"%PDF-1.7 " + BAD_CONTENT, b'{"a": 1}\n'])
@pytest.mark.parametrize("mode", ["rb", "r", "bytes", "text"])
def test_an_open_file_has_the_findings_of_its_path(mode: str, content: bytes, write: Write) -> None:
    path = write(content)
    if mode in ("bytes", "text"):
        stream: Any = io.BytesIO(content) if mode == "bytes" else io.StringIO(content.decode())
        report = validate(stream)
        assert report.files[0].file == f"<{type(stream).__name__}>"
    else:
        with open(path, mode) as stream:
            report = validate(stream)
            assert not stream.closed
        assert report.files[0].file == str(path)
    assert without_name(report) == without_name(validate(path))


def test_open_files_and_paths_can_be_mixed(write: Write) -> None:
    report = validate([io.BytesIO(BAD_CONTENT), MARV], validation_file=EXAMPLES)
    assert [file.file for file in report.files] == ["<BytesIO>", MARV, "<examples>"]
    assert [file.errors for file in report.files] == [1, 0, 0]
    assert report.files[0].counts["split-overlap"] == 12


def test_the_rest_of_an_open_file_is_read() -> None:
    stream = io.BytesIO(b"not JSON\n" + BAD_CONTENT)
    stream.readline()
    assert without_name(validate(stream)) == without_name(validate(io.BytesIO(BAD_CONTENT)))


class Unreadable(io.StringIO):
    def read(self, size: int | None = -1, /) -> str:
        raise OSError("the tape broke")


def test_an_open_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "latin.jsonl"
    path.write_bytes(b'{"messages": "\xe9"}\n')
    with (
        path.open(encoding="utf-8") as file,
        pytest.raises(FileError, match=r"cannot read .*latin.jsonl: 'utf-8' codec can't decode"),
    ):
        validate(file)
    closed = io.BytesIO()
    closed.close()
    with pytest.raises(FileError, match="cannot read <BytesIO>: I/O operation on closed file"):
        validate(closed)
    with pytest.raises(FileError, match="cannot read <Unreadable>: the tape broke"):
        validate(Unreadable())


@pytest.mark.parametrize("value", [None, 5])
def test_an_open_file_that_returns_another_type_is_refused(value: Any) -> None:
    file = SimpleNamespace(name="odd", read=lambda size: value)
    kind = type(value).__name__
    with pytest.raises(UsageError, match=f"cannot read odd: `read` returned {kind}, not bytes"):
        validate(file)  # type: ignore[arg-type]


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["messages", "prompt", "x"]),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
                max_leaves=5,
            ),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_examples_in_memory_have_the_findings_of_their_lines(examples: list[Any]) -> None:
    lines = "".join(f"{json.dumps(example)}\n" for example in examples)
    assert without_name(validate(examples)) == without_name(validate(io.StringIO(lines)))


def test_a_finding_in_examples_has_their_number() -> None:
    broken = {"messages": [{"role": "human", "content": "Hi"}]}
    report = validate(iter([*EXAMPLES, MappingProxyType(broken)]), select=["role-unknown"])
    assert [(finding.line, finding.path) for finding in report] == [(13, "$.messages[0].role")]


def test_a_path_is_estimated_as_it_is_when_measured_before() -> None:
    measured = measure(MARV, [MINI])
    expected = estimate(measured.summary, MINI)
    for file in (MARV, Path(MARV), measured):
        assert estimate(file, model=MINI) == expected
    with open(MARV, encoding="utf-8") as stream:
        assert estimate(stream, model=MINI) == expected
        stream.seek(0)
        assert estimate([json.loads(line) for line in stream], MINI) == expected


def test_a_compressed_path_is_estimated(tmp_path: Path) -> None:
    path = tmp_path / "marv.jsonl.gz"
    path.write_bytes(gzip.compress(Path(MARV).read_bytes()))
    assert estimate(path, MINI) == estimate(MARV, MINI)


def test_estimates_know_the_models_that_a_provider_does_not_list() -> None:
    assert estimate(MARV, "Qwen/Qwen3-0.6B", provider="local").cost is not None


@pytest.mark.parametrize(
    ("file", "arguments", "error", "message"),
    [
        ("nowhere.jsonl", {}, FileError, "no such file: nowhere.jsonl"),
        (MARV, {"model": "gpt-4o-mini"}, UnknownNameError, f"did you mean '{MINI}'"),
        (MARV, {"format": "preference"}, UsageError, "is in the chat format and cannot be read"),
        ([MARV, MARV], {}, UsageError, "`file` must be one file, not 2"),
    ],
)
def test_what_cannot_be_estimated_is_an_error(
    file: Any, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        estimate(file, **{"model": MINI, **arguments})
    assert message in str(caught.value)


def test_a_measured_file_has_one_format() -> None:
    with pytest.raises(UsageError, match="is in the chat format and cannot be read as preference"):
        estimate(measure(MARV, [MINI]), MINI, format="preference")
