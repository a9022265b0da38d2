"""Files of prompts and recorded answers."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.compare import recordings
from ftkit.compare.recordings import (
    Recording,
    RecordingFile,
    encode,
    match,
    read_prompts,
    read_recordings,
    value_at,
)
from ftkit.dataset import lenient_json
from ftkit.errors import FileError
from support.fixture_types import Write
from support.recordings import JSON_OBJECTS, assistant_message, chat_row, recorded_row, write_jsonl


@pytest.mark.parametrize(
    ("line", "path", "value"),
    [
        ({"metadata": {"a": {"b": "x"}}}, "metadata.a.b", "x"),
        ({"metadata": {"n": 3}}, "metadata.n", "3"),
        ({"metadata": "flat"}, "metadata.n", "(none)"),
        ({}, "n", "(none)"),
        ({"n": [1, "é"]}, "n", '[1, "é"]'),
    ],
)
def test_a_path_leads_into_a_line(line: dict[str, Any], path: str, value: str) -> None:
    assert value_at(line, path) == value


def test_prompts_are_chat_examples_or_recorded_answers(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    path = write_jsonl(
        tmp_path / "p.jsonl",
        chat_row("a", "b", tools=tools),
        b"",
        chat_row("c"),
        recorded_row("d", "e", parameters={"tools": tools}),
    )
    read = read_prompts(path)
    assert [one.number for one in read] == [1, 3, 4]
    assert [one.messages[-1] for one in read] == [
        {"role": "user", "content": text} for text in "acd"
    ]
    assert [one.reference and one.reference["content"] for one in read] == ["b", None, "e"]
    assert read[0].reference == assistant_message("b")
    assert [one.options for one in read] == [{"tools": tools}, {}, {"tools": tools}]
    assert len(read_prompts(path, limit=2)) == 2


def test_a_system_message_is_for_prompts_without_one(tmp_path: Path) -> None:
    own = {"messages": [{"role": "system", "content": "mine"}, {"role": "user", "content": "b"}]}
    read = read_prompts(
        write_jsonl(tmp_path / "p.jsonl", chat_row("a", "x"), own), system="be brief"
    )
    assert [one.messages[0]["content"] for one in read] == ["be brief", "mine"]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "contains no prompts"),
        ([b"[1, 2]"], ":1: not a JSON object; run `ftkit validate "),
        ([chat_row("a"), b'{"messages": ['], ":2: not a JSON object"),
        ([b"\xff\xfe{\x00"], ":1: not a JSON object"),
        ([{"prompt": "x"}], ":1: object missing required field `messages`"),
        ([{"messages": "x"}], r":1: expected `array`, got `str` - at `\$.messages`"),
        ([{"messages": []}], ":1: expected `array` of length >= 1"),
        (
            [{"messages": [assistant_message("x")]}],
            ":1: the example has an answer but no prompt",
        ),
        (
            [{**chat_row("a"), "answer": "text"}],
            r":1: expected `object`, got `str` - at `\$.answer`",
        ),
    ],
)
def test_bad_prompts_are_one_clear_line(tmp_path: Path, lines: list[Any], says: str) -> None:
    with pytest.raises(FileError, match=says) as caught:
        read_prompts(write_jsonl(tmp_path / "p.jsonl", *lines))
    assert "\n" not in str(caught.value)


def test_a_compressed_file_is_read_and_a_damaged_one_is_a_problem(tmp_path: Path) -> None:
    data = gzip.compress(json.dumps(chat_row("a")).encode() + b"\n")
    path = tmp_path / "p.jsonl.gz"
    path.write_bytes(data)
    assert len(read_prompts(str(path))) == 1
    for bad in (data[:-5], data[:14] + b"\xff\xff" + data[16:], b"no gzip"):
        path.write_bytes(bad)
        with pytest.raises(FileError, match="cannot read"):
            read_prompts(str(path))


def test_answers_are_matched_by_their_messages_and_repeated_prompts_take_them_in_order(
    tmp_path: Path,
) -> None:
    prompts = read_prompts(
        write_jsonl(
            tmp_path / "p.jsonl", chat_row("a"), chat_row("b"), chat_row("a"), chat_row("a")
        )
    )
    answers = [
        recorded_row("a", "1"),
        recorded_row("z", "2"),
        recorded_row("a", "3"),
        recorded_row("b", "4"),
    ]
    answers[3]["messages"][0]["name"] = None
    matches = match(prompts, read_recordings(write_jsonl(tmp_path / "r.jsonl", *answers)))
    assert [one.answer["content"] if one else None for one in matches] == ["1", "4", "3", None]


def test_equal_messages_with_other_tools_keep_their_own_answers(tmp_path: Path) -> None:
    one, two = ([{"type": "function", "function": {"name": name}}] for name in ("f1", "f2"))
    prompts = read_prompts(
        write_jsonl(
            tmp_path / "p.jsonl", {**chat_row("a"), "tools": one}, {**chat_row("a"), "tools": two}
        )
    )
    answers = [
        recorded_row("a", "of f2", parameters={"temperature": 0, "tools": two}),
        recorded_row("a", "of any"),
    ]
    matches = match(prompts, read_recordings(write_jsonl(tmp_path / "r.jsonl", *answers)))
    assert [recording.answer["content"] if recording else None for recording in matches] == [
        "of any",
        "of f2",
    ]


RECORDED = st.builds(
    Recording,
    st.lists(
        st.dictionaries(st.text(max_size=5), JSON_OBJECTS, max_size=3), min_size=1, max_size=2
    ),
    st.dictionaries(st.text(max_size=5), JSON_OBJECTS, max_size=3),
    st.text(),
    st.dictionaries(st.text(max_size=5), JSON_OBJECTS, max_size=2),
    st.none() | st.just({"total_tokens": 3}),
    st.none() | JSON_OBJECTS,
)


@given(RECORDED)
def test_a_recorded_answer_survives_its_file(
    tmp_path_factory: pytest.TempPathFactory, one: Recording
) -> None:
    path = tmp_path_factory.mktemp("r") / "r.jsonl"
    path.write_bytes(encode(one))
    (recording,) = read_recordings(str(path))
    assert (recording.messages, recording.answer, recording.usage, recording.metadata) == (
        one.messages,
        one.answer,
        one.usage,
        one.metadata,
    )


def test_what_was_kept_is_there_after_a_torn_write(tmp_path: Path) -> None:
    path = str(tmp_path / "a.jsonl")
    one, two, three = (
        Recording([{"role": "user", "content": text}], assistant_message(text)) for text in "123"
    )
    keeper = RecordingFile(path)
    keeper.append(one)
    keeper.append(two)
    with open(f"{path}.part", "ab") as file:
        file.write(encode(three)[:20])
    again = RecordingFile(path)
    assert again.recordings == [one, two]
    again.append(three)
    again.finish([three])
    assert sorted(recording.answer["content"] for recording in read_recordings(path)) == [
        "1",
        "2",
        "3",
    ]
    assert os.listdir(tmp_path) == ["a.jsonl"]


def test_equal_answers_to_a_repeated_prompt_are_all_kept_and_none_is_doubled_by_a_crash(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "a.jsonl")
    one, two = (
        Recording([{"role": "user", "content": "q"}], assistant_message("same")) for _ in range(2)
    )
    keeper = RecordingFile(path)
    keeper.append(one)
    keeper.append(two)
    left = Path(f"{path}.part").read_bytes()
    keeper.finish([one, two])
    assert len(RecordingFile(path).recordings) == 2
    Path(f"{path}.part").write_bytes(left)
    again = RecordingFile(path)
    assert len(again.recordings) == 2
    again.finish(again.recordings[:1])
    assert len(RecordingFile(path).recordings) == 2


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot write"):
        RecordingFile(str(tmp_path / "none" / "a.jsonl")).append(Recording([{}], {}))
    with pytest.raises(FileError, match="cannot write"):
        RecordingFile(str(tmp_path / "none" / "a.jsonl")).finish([])


def test_a_line_that_is_too_large_is_refused_unread(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (recordings, lenient_json):
        monkeypatch.setattr(module, "MAX_LINE_BYTES", 5_000)
    monkeypatch.setattr(lenient_json, "MAX_VALUES", 100)
    line = b'{"messages": [{"role": "user", "content": "%b"}]}' % (b"a" * 10_000)
    path = write(gzip.compress(line + b"\n"), "prompts.jsonl.gz")
    with pytest.raises(FileError, match=r"prompts\.jsonl\.gz:1: not a JSON object"):
        read_prompts(str(path))
