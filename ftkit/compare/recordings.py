"""Prompts, recorded answers, and the files that hold them.

A recorded answer is a JSON line with the keys `messages` (the prompt), `answer` (the assistant
message), `model`, `parameters`, `usage` and, if they are known, `metadata` and `service`.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Annotated, Any, cast

import msgspec
from filelock import FileLock, Timeout
from msgspec import Meta, Struct

from ftkit._atomic import atomic_replace
from ftkit._text import validate_command, without_nan
from ftkit.dataset.lenient_json import MAX_LINE_BYTES, read
from ftkit.errors import FileError, os_error_message

Message = dict[str, Any]
"""A chat message as in a request: `role`, `content`, and so on."""

REQUEST_OPTIONS = ("tools", "tool_choice", "parallel_tool_calls", "functions", "response_format")
"""Keys of a prompt's line that are sent with its messages, and recorded among the parameters."""

TRAINING_KEYS = ("weight",)
"""Keys of messages in training data that a request may not have."""

LINE_START = b'{"messages": ['
"""First bytes of every line that `encode` returns."""

PART_SUFFIX = ".part"
"""Suffix of the file that answers are appended to while they arrive."""


class Prompt(Struct, frozen=True):
    """A prompt.

    Attributes:
        number: Line number in its file.
        messages: The messages to send.
        options: The `REQUEST_OPTIONS` to send with them.
        reference: The expected answer, or None.
        line: The whole line of the file.
    """

    number: int
    messages: list[Message]
    options: dict[str, Any]
    reference: Message | None
    line: dict[str, Any]


class Recording(Struct, frozen=True):
    """A recorded answer.

    Attributes:
        messages: The messages of the prompt.
        answer: The assistant message.
        model: Name of the model, or "".
        parameters: Parameters of the request.
        usage: Token usage in the response, or None.
        metadata: Metadata of the prompt's line, or None.
        service: The provider with its address, or "".
    """

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
    """Return the prompts of a file.

    A line is a chat example, whose final assistant message is the reference, or a recorded answer,
    which is the reference.

    Args:
        path: Path of the file.
        name: Name of the file in messages, by default its path.
        limit: Maximum number of prompts.
        system: System message for prompts that do not begin with one.

    Raises:
        FileError: The file cannot be read, has no prompts, or has a line of another kind.
    """
    name = name or path
    prompts: list[Prompt] = []
    for number, line in _lines(path, name):
        if limit is not None and len(prompts) == limit:
            break
        prompts.append(parse_prompt(line, number, f"{name}:{number}", system))
    if not prompts:
        raise FileError(
            f"{name} contains no prompts; each line must be a JSON object with messages"
        )
    return prompts


def parse_prompt(line: dict[str, Any], number: int, location: str, system: str = "") -> Prompt:
    """Return the prompt of a line, which is a chat example or a recorded answer.

    Args:
        line: The line.
        number: Its line number.
        location: File and line for error messages.
        system: System message for a prompt that does not begin with one.

    Raises:
        FileError: The line is of another kind.
    """
    recording = _recording({**line, "answer": line.get("answer", {})}, location)
    messages, reference = [_clean(message) for message in recording.messages], None
    if "answer" in line:
        reference = _clean(recording.answer)
    elif messages[-1].get("role") == "assistant":
        reference = messages.pop()
    if not messages:
        raise FileError(f"{location}: the example has an answer but no prompt")
    if system and messages[0].get("role") not in ("system", "developer"):
        messages.insert(0, {"role": "system", "content": system})
    options = _request_options({**recording.parameters, **line})
    return Prompt(number, messages, options, reference, line)


def read_recordings(path: str) -> list[Recording]:
    """Return the recorded answers of a file.

    Raises:
        FileError: The file cannot be read, or a line is not a recorded answer.
    """
    return [_recording(line, f"{path}:{number}") for number, line in _lines(path, path)]


def match(prompts: Sequence[Prompt], recordings: Iterable[Recording]) -> list[Recording | None]:
    """Return the recorded answer of each prompt, or None.

    A recording answers a prompt with the same messages, preferably one with the same request
    options. Repeated prompts take their answers in order.
    """
    matches: list[Recording | None] = [None] * len(prompts)
    remaining = list(recordings)
    for with_options in (True, False):
        queues: defaultdict[str, deque[Recording]] = defaultdict(deque)
        for recording in remaining:
            options = recording.parameters if with_options else {}
            queues[_key(recording.messages, options)].append(recording)
        for index, prompt in enumerate(prompts):
            queue = queues[_key(prompt.messages, prompt.options if with_options else {})]
            if matches[index] is None and queue:
                matches[index] = queue.popleft()
        # By identity, since a repeated prompt may have equal answers.
        used = set(map(id, matches))
        remaining = [recording for recording in remaining if id(recording) not in used]
    return matches


def value_at(line: Any, path: str) -> str:
    """Return the value at a dotted path of a line as text, or "(none)"."""
    for name in path.split("."):
        line = line.get(name) if isinstance(line, dict) else None
    if line is None:
        return "(none)"
    return line if isinstance(line, str) else json.dumps(line, ensure_ascii=False, sort_keys=True)


def encode(recording: Recording) -> bytes:
    """Encode a recorded answer as a JSON line.

    Lone surrogates become question marks, and infinities null: JSON has neither.
    """
    line = without_nan(msgspec.to_builtins(recording))
    if recording.metadata is None:
        del line["metadata"]
    if not recording.service:
        del line["service"]
    return json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


class RecordingFile:
    """File of recorded answers that survives interruptions, so that no answer is paid for twice.

    Answers are appended to `FILE.part` as they arrive, and `finish` writes all of them to `FILE`.
    If several processes may use the file, hold its lock (`lock_all`) from before it is read.

    Attributes:
        path: Path of the file.
        part: Path of `FILE.part`.
        recordings: The answers that both files held at the start.
    """

    def __init__(
        self,
        path: str,
        keep_part: bool = False,
        notify: Callable[[str], object] = lambda message: None,
    ) -> None:
        """Read the answers that exist already.

        Args:
            path: Path of the file, which need not exist.
            keep_part: Keep `FILE.part` until `remove_part` is called.
            notify: Called with a message if an incomplete answer was removed.

        Raises:
            FileError: A file cannot be read or written.
        """
        self.path = os.path.realpath(path)
        self.part, self._keep_part = f"{self.path}{PART_SUFFIX}", keep_part
        try:
            _repair_last_line(self.part, notify)
        except OSError as error:
            raise _write_error(self.part, error) from error
        self.recordings = read_recordings(path) if os.path.exists(path) else []
        written = Counter(map(encode, self.recordings))
        for recording in read_recordings(self.part) if os.path.exists(self.part) else []:
            line = encode(recording)
            if written[line] > 0:  # interrupted between writing FILE and removing FILE.part
                written[line] -= 1
            else:
                self.recordings.append(recording)

    def append(self, recording: Recording) -> None:
        """Append an answer to `FILE.part`."""
        try:
            with open(self.part, "ab") as file:
                file.write(encode(recording))
        except OSError as error:
            raise _write_error(self.part, error) from error

    def finish(self, answers: Iterable[Recording]) -> None:
        """Write `answers`, followed by all other known answers, to `FILE` atomically."""
        ordered = list(answers)
        written = set(map(id, ordered))
        others = [recording for recording in self.recordings if id(recording) not in written]
        try:
            with atomic_replace(self.path) as temporary:
                temporary.write_bytes(b"".join(map(encode, [*ordered, *others])))
            if not self._keep_part:
                self.remove_part()
        except OSError as error:
            raise _write_error(self.path, error) from error

    def remove_part(self) -> None:
        """Remove `FILE.part`, once all of its answers are in `FILE`."""
        Path(self.part).unlink(missing_ok=True)


@contextmanager
def lock_all(paths: Iterable[str | None], notify: Callable[[str], object]) -> Iterator[None]:
    """Hold the exclusive locks of files of recorded answers; a lock is `.FILE.lock` beside a file.

    They are taken in the same order in all processes, so that no two wait for each other.

    Args:
        paths: Paths of the files, which need not exist. Those that are None are left out.
        notify: Called with a message if another process holds a lock.

    Raises:
        FileError: A lock cannot be written.
    """
    with ExitStack() as locks:
        for path in sorted({os.path.realpath(path) for path in paths if path}):
            locks.enter_context(_lock(path, notify))
        yield


@contextmanager
def _lock(path: str, notify: Callable[[str], object]) -> Iterator[None]:
    folder, name = os.path.split(path)
    file_lock = FileLock(os.path.join(folder, f".{name}.lock"))
    try:
        try:
            file_lock.acquire(blocking=False)
        except Timeout:
            notify(f"another ftkit process is saving answers to {path}; waiting for it to finish")
            file_lock.acquire()
    except OSError as error:
        raise _write_error(file_lock.lock_file, error) from error
    try:
        yield
    finally:
        file_lock.release()


def _write_error(path: str, error: OSError) -> FileError:
    return FileError(f"cannot write {path}: {os_error_message(error)}")


def _repair_last_line(path: str, notify: Callable[[str], object]) -> None:
    """Complete or remove a last line without a line feed: its write was interrupted.

    Raises:
        FileError: The line is not the beginning of a recorded answer, so the file is another one.
    """
    data = Path(path).read_bytes() if os.path.exists(path) else b""
    start = data.rfind(b"\n") + 1
    line = data[start:]
    if not line:
        return
    if not line.startswith(LINE_START[: len(line)]):
        raise FileError(f"{path} is not a file of recorded answers; move it, or save to another")
    if read(line, 1).parsed:
        with open(path, "ab") as file:
            file.write(b"\n")
        return
    os.truncate(path, start)
    notify(f"removed an incomplete answer from {path}: an earlier run was interrupted")


def _lines(path: str, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the numbers and objects of the lines of a JSON Lines file that are not blank."""
    try:
        with _open(path) as file:
            # A line that is too large is cut, and refused by `_object`.
            lines = iter(lambda: file.readline(MAX_LINE_BYTES + 2), b"")
            for number, raw in enumerate(lines, 1):
                if raw.strip():
                    yield number, _object(raw.rstrip(b"\r\n"), number, name)
    except (OSError, EOFError, zlib.error) as error:
        raise FileError(f"cannot read {name}: {os_error_message(error)}") from error


def _open(path: str) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.endswith(".gz") else open(path, "rb")


def _object(raw: bytes, number: int, name: str) -> dict[str, Any]:
    reading = read(raw, number, first=number == 1)
    if not reading.parsed or not isinstance(reading.value, dict):
        reason = f" ({reading.error.msg.lower()})" if reading.error else ""
        raise FileError(
            f"{name}:{number}: not a JSON object{reason}; run {validate_command(name)} for details"
        )
    return reading.value


def _recording(line: dict[str, Any], location: str) -> Recording:
    try:
        return msgspec.convert(line, Recording)
    except msgspec.ValidationError as error:
        reason = str(error)
        raise FileError(f"{location}: {reason[0].lower()}{reason[1:]}") from error


def _clean(message: Message) -> Message:
    return {
        name: value
        for name, value in message.items()
        if value is not None and name not in TRAINING_KEYS
    }


def _request_options(values: dict[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in REQUEST_OPTIONS if values.get(name) is not None}


def _key(messages: Sequence[Message], options: dict[str, Any]) -> str:
    cleaned = [_clean(message) for message in messages]
    return json.dumps([cleaned, _request_options(options)], sort_keys=True)
