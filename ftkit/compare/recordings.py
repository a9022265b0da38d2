"""Prompts and recorded answers, and the files that hold them.

A recorded answer is a line of JSON: `messages` (the prompt), `answer` (the assistant's message), `model`, `parameters`, `usage`,
where the prompt has it `metadata`, and `service`.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Annotated, Any, cast

import msgspec
from msgspec import Meta, Struct

from ftkit.dataset.lenient_json import read
from ftkit.errors import FileError, os_error_message

Message = dict[str, Any]
"""A message as it is sent: `role`, `content`, and so on."""

CARRIED = ("tools", "tool_choice", "parallel_tool_calls", "functions", "response_format")
"""What a prompt may ask for beside its messages. It is sent to the model, and recorded among the parameters."""

UNSENT = ("weight",)
"""What a message of a training file may hold, and a request may not."""


PART = ".part"
"""What is added to the name of a file while answers come in."""


class Prompt(Struct, frozen=True):
    """What is asked. `line` is the whole line of the file and `number` its place; `reference` is the answer wanted, if known."""

    number: int
    messages: list[Message]
    options: dict[str, Any]
    reference: Message | None
    line: dict[str, Any]


class Recorded(Struct, frozen=True):
    """An answer, what it was the answer to, and whose: `service` is the provider, with its address, where that is known."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    answer: Message
    model: str = ""
    parameters: dict[str, Any] = {}
    usage: dict[str, Any] | None = None
    metadata: Any = None
    service: str = ""


def read_prompts(
    path: str, name: str = "", limit: int | None = None, system: str = ""
) -> list[Prompt]:
    """The first `limit` prompts of a file, or all; `system` is put before those that begin with no system message.

    A line is a chat example, whose final assistant message is the reference, or a recorded answer, which is the reference.
    Raises `FileError` where the file cannot be read, a line is neither, or there is none.
    """
    found: list[Prompt] = []
    for number, line in _lines(path, name or path):
        if limit is not None and len(found) == limit:
            break
        found.append(prompt_of(line, number, f"{name or path}:{number}", system))
    if not found:
        raise FileError(f"{name or path} holds no prompts; a line is a JSON object with messages")
    return found


def read_recorded(path: str) -> list[Recorded]:
    """The recorded answers of a file; raises `FileError` where it cannot be read or a line is none."""
    return [_recorded(line, f"{path}:{number}") for number, line in _lines(path, path)]


def match(prompts: Sequence[Prompt], recorded: Iterable[Recorded]) -> list[Recorded | None]:
    """For each prompt the answer to the same messages, rather one that was given the same tools and the like.

    A prompt that stands there twice takes two answers, in their order.
    """
    found: list[Recorded | None] = [None] * len(prompts)
    left = list(recorded)
    for carried in (True, False):
        waiting: defaultdict[str, deque[Recorded]] = defaultdict(deque)
        for one in left:
            waiting[_key(one.messages, one.parameters if carried else {})].append(one)
        for index, prompt in enumerate(prompts):
            queue = waiting[_key(prompt.messages, prompt.options if carried else {})]
            if found[index] is None and queue:
                found[index] = queue.popleft()
        taken = set(map(id, found))
        left = [one for one in left if id(one) not in taken]
    return found


def look(line: Any, path: str) -> str:
    """What stands at a dotted path of a line, as text; `(none)` where there is nothing."""
    for name in path.split("."):
        line = line.get(name) if isinstance(line, dict) else None
    if line is None:
        return "(none)"
    return line if isinstance(line, str) else json.dumps(line, ensure_ascii=False, sort_keys=True)


def encode(one: Recorded) -> bytes:
    """A recorded answer as its line. What cannot be encoded (lone surrogates) becomes a question mark."""
    line = msgspec.to_builtins(one)
    if one.metadata is None:
        del line["metadata"]
    if not one.service:
        del line["service"]
    return json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


class Keeper:
    """Keeps answers as they come, so that none has to be paid twice: in `FILE.part` at first, all in `FILE` at the end.

    `known` are the answers that are there already. With `keeps_part`, `FILE.part` stays until `forget_part`. Raises `FileError`
    where a file cannot be read or written.
    """

    def __init__(self, path: str, keeps_part: bool = False) -> None:
        self.path, self.part, self._keeps_part = path, f"{path}{PART}", keeps_part
        self.known = read_recorded(path) if os.path.exists(path) else []
        try:
            _cut_torn(self.part)
        except OSError as error:
            raise _unwritable(self.part, error) from error
        written = Counter(map(encode, self.known))
        for one in read_recorded(self.part) if os.path.exists(self.part) else []:
            if written[encode(one)] > 0:  # FILE was written, and the part of it not yet deleted
                written[encode(one)] -= 1
            else:
                self.known.append(one)

    def add(self, one: Recorded) -> None:
        """Keep one more."""
        try:
            with open(self.part, "ab") as file:
                file.write(encode(one))
        except OSError as error:
            raise _unwritable(self.part, error) from error

    def finish(self, answers: Iterable[Recorded]) -> None:
        """Write the answers, and those known that are not among them, to `FILE`, which is there whole or as it was."""
        found = list(answers)
        there = set(map(id, found))
        lines = [
            encode(one) for one in (*found, *(one for one in self.known if id(one) not in there))
        ]
        aside = f"{self.path}.new"
        try:
            Path(aside).write_bytes(b"".join(lines))
            os.replace(aside, self.path)
            if not self._keeps_part:
                self.forget_part()
        except OSError as error:
            Path(aside).unlink(missing_ok=True)
            raise _unwritable(self.path, error) from error

    def forget_part(self) -> None:
        """Remove `FILE.part`, since all that is in it is in `FILE`."""
        Path(self.part).unlink(missing_ok=True)


def _unwritable(path: str, error: OSError) -> FileError:
    return FileError(f"cannot write {path}: {os_error_message(error)}")


def _cut_torn(path: str) -> None:
    """Cut off a last line that has no end: whoever wrote it was stopped."""
    if os.path.exists(path):
        data = Path(path).read_bytes()
        if not data.endswith(b"\n"):
            os.truncate(path, data.rfind(b"\n") + 1)


def _lines(path: str, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file of JSON Lines with their numbers; blank lines are passed over."""
    try:
        with _open(path) as file:
            for number, raw in enumerate(file, 1):
                if raw.strip():
                    yield number, _object(raw.rstrip(b"\r\n"), number, name)
    except (OSError, EOFError, zlib.error) as error:
        raise FileError(f"cannot read {name}: {os_error_message(error)}") from error


def _open(path: str) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.endswith(".gz") else open(path, "rb")


def _object(raw: bytes, number: int, name: str) -> dict[str, Any]:
    found = read(raw, number, first=number == 1)
    if not found.parsed or not isinstance(found.value, dict):
        why = found.error.msg.lower() if found.error else "that is another kind of file or value"
        raise FileError(
            f"{name}:{number}: a line has to be a JSON object ({why}); `ftkit validate` says what is wrong with it"
        )
    return found.value


def prompt_of(line: dict[str, Any], number: int, place: str, system: str = "") -> Prompt:
    """The prompt of a line, a chat example or a recorded answer; raises `FileError` with the place where it is neither."""
    given = {**line, "answer": line.get("answer", {})}
    one = _recorded(given, place)
    messages, reference = [_clean(message) for message in one.messages], None
    if "answer" in line:
        reference = _clean(one.answer)
    elif messages[-1].get("role") == "assistant":
        reference = messages.pop()
    if not messages:
        raise FileError(f"{place}: there is an answer and no prompt before it")
    if system and messages[0].get("role") not in ("system", "developer"):
        messages.insert(0, {"role": "system", "content": system})
    options = {
        name: value
        for name, value in {**one.parameters, **line}.items()
        if name in CARRIED and value is not None
    }
    return Prompt(number, messages, options, reference, line)


def _recorded(line: dict[str, Any], place: str) -> Recorded:
    try:
        return msgspec.convert(line, Recorded)
    except msgspec.ValidationError as error:
        raise FileError(f"{place}: {str(error)[0].lower()}{str(error)[1:]}") from error


def _clean(message: Message) -> Message:
    return {
        name: value for name, value in message.items() if value is not None and name not in UNSENT
    }


def _key(messages: Sequence[Message], options: dict[str, Any]) -> str:
    carried = {name: options[name] for name in CARRIED if options.get(name) is not None}
    return json.dumps([[_clean(message) for message in messages], carried], sort_keys=True)
