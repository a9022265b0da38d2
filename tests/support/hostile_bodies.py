"""Hostile bodies: JSON, chunks and forms. Each generator knows the answer for a part of its cases."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from support.hostile_requests import REFUSED, Generator, Target, make_request
from support.models import SMOKE
from support.raw_requests import RawRequest, build

# JSON bodies.

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 10**30, -(10**400), 1e308, "", "x", "\0", "\ud800", "\u202e",
    "x" * 70_000, [], {}, [[]], [None] * 100, {"a": {"b": None}}, "ft:x", "auto", "../..",
    [{"type": "text", "text": "x"}], {"$ref": "#"}, "NaN", float("nan"), float("inf"),
)  # fmt: skip


def _bodies(target: Target) -> dict[str, dict[str, Any]]:
    """Valid bodies by path, but for the ids in some, which are of no object of the tenant's."""
    return {
        "/v1/fine_tuning/jobs": {
            "model": SMOKE,
            "training_file": target.own["file"],
            "validation_file": None,
            "suffix": "s",
            "seed": 1,
            "metadata": {"a": "b"},
            "method": {
                "type": "supervised",
                "supervised": {"hyperparameters": {"n_epochs": 1, "batch_size": "auto"}},
            },
        },
        "/v1/uploads": {
            "bytes": 5,
            "filename": "a.jsonl",
            "mime_type": "application/jsonl",
            "purpose": "fine-tune",
        },
        "/v1/uploads/upload_none/complete": {"part_ids": ["part_a", "part_b"], "md5": "0" * 32},
        "/v1/chat/completions": {
            "model": "ft:none:a::b",
            "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
            "temperature": 0,
            "max_tokens": 1,
            "stop": ["x"],
            "stream": False,
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"a": {}}}}],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "s", "schema": {"type": "object"}},
            },
            "logit_bias": {"5": 1},
            "logprobs": True,
            "top_logprobs": 1,
        },
        "/v1/completions": {
            "model": "ft:none:a::b",
            "prompt": ["hi", "there"],
            "max_tokens": 1,
            "n": 1,
            "echo": True,
            "logprobs": 1,
        },
        "/v1/responses": {
            "model": "ft:none:a::b",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
                {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "a", "output": "x"},
            ],
            "tools": [{"type": "function", "name": "f", "parameters": {"a": {}}}],
            "text": {"format": {"type": "json_schema", "name": "s", "schema": {}}},
        },
    }


def _positions(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values in a JSON value."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    return [path, *(found for key, child in items for found in _positions(child, (*path, key)))]


def _replace(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of a JSON value with the value at a path replaced."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _replace(copy[path[0]], path[1:], new)
    return copy


def _post(target: Target, path: str, body: bytes, *expected: int, **more: Any) -> RawRequest:
    json_type = (("Content-Type", "application/json"),)
    return make_request(target, build("POST", path, body, json_type, target.key), *expected, **more)


def odd_values(random: Random, target: Target) -> RawRequest:
    """An odd value at any position of a valid body."""
    path, body = random.choice(list(_bodies(target).items()))
    for _ in range(random.randint(1, 3)):
        body = _replace(body, random.choice(_positions(body)), random.choice(ODD_VALUES))
    return _post(target, path, json.dumps(body).encode())


def unknown_fields(random: Random, target: Target) -> RawRequest:
    path, body = random.choice(list(_bodies(target).items()))
    name = random.choice(("", "x", "__proto__", "tenant", "status", "id", "x" * 50_000, "\ud800"))
    data = json.dumps({**body, name: random.choice(ODD_VALUES[:8])}).encode()
    return _post(target, path, data, *REFUSED)


def missing_fields(random: Random, target: Target) -> RawRequest:
    path, body = random.choice(list(_bodies(target).items()))
    required = next(iter(body))
    return _post(target, path, json.dumps({**body, required: None}).encode(), *REFUSED)


def damaged_json(random: Random, target: Target) -> RawRequest:
    path, body = random.choice(list(_bodies(target).items()))
    data = json.dumps(body).encode()
    damaged = random.choice(
        (
            data[: random.randrange(len(data))],
            data + b"x",
            data + data,
            b"\xef\xbb\xbf" + data[:-1],
            b"[" * 100_000,
            b'{"a":' * 50_000,
            b"[" * 100_000 + b"]" * 100_000,
            data[:-1] + b', "\\ud800": 1}',
            data.replace(b'"', b"'"),
            data[:5] + b"\xff" + data[5:],
            b"9" * 200_000,
            b'"' + b"\\u0000" * 1000 + b'"',
            random.randbytes(random.randint(1, 300)),
            data.decode().encode("utf-16"),
        )
    )
    return _post(target, path, damaged, *REFUSED)


def duplicate_fields(random: Random, target: Target) -> RawRequest:
    path, body = random.choice(list(_bodies(target).items()))
    name = random.choice(list(body))
    data = json.dumps(body).encode()[:-1] + f', "{name}": {json.dumps(body[name])}}}'.encode()
    return _post(target, path, data)


def wrong_content_type(random: Random, target: Target) -> RawRequest:
    path = random.choice(("/v1/uploads/upload_none/complete", "/v1/chat/completions", "/v1/files"))
    body = json.dumps(_bodies(target).get(path, {})).encode()
    content_type = random.choice(
        ("text/plain", "", "application/x-www-form-urlencoded", "multipart/form-data",
         "multipart/form-data; boundary=", "multipart/form-data; boundary=" + "x" * 500,
         'multipart/form-data; boundary="\xfc"', "multipart/form-data; boundary*=utf-8''%FF",
         "application/json; charset=utf-16", ";;;", "multipart/form-data; boundary=a; boundary=b")
    )  # fmt: skip
    data = build("POST", path, body, (("Content-Type", content_type),), target.key)
    return make_request(target, data, *REFUSED)


# Chunked bodies.


def broken_chunks(random: Random, target: Target) -> RawRequest:
    """A chunked body that ends, or goes wrong, somewhere in the middle."""
    body = json.dumps(_bodies(target)["/v1/uploads"]).encode()
    middle = random.randrange(1, len(body))
    chunks = [body[:middle], body[middle:]]
    encoded = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    broken = random.choice(
        (
            encoded[: random.randrange(len(encoded))],
            encoded,
            encoded.replace(b"\r\n", b"\n"),
            b"zz\r\n" + encoded,
            b"-1\r\nx\r\n" + encoded,
            b"F" * 30 + b"\r\n" + encoded,
            b"5;" + b"a" * 70_000 + b"\r\n12345\r\n",
            b"5\r\n1234567\r\n0\r\n\r\n",
            b"0\r\n" + b"trailer: x\r\n" * 10_000,
            random.randbytes(100),
        )
    )
    headers = (("Transfer-Encoding", "chunked"), ("Content-Type", "application/json"))
    path = random.choice(("/v1/uploads", "/v1/files", "/v1/chat/completions"))
    data = build("POST", path, b"", headers, target.key) + broken
    return make_request(target, data, 0, *REFUSED, half_close=True, malformed=True)


def cut_off(random: Random, target: Target) -> RawRequest:
    """A request that promises more than it sends."""
    path, body = random.choice(list(_bodies(target).items()))
    data = json.dumps(body).encode()
    length = str(len(data) + random.choice((1, 100, 10**6, 10**15)))
    headers = (("Content-Length", length), ("Content-Type", "application/json"))
    whole = build("POST", path, data, headers, target.key)
    cut = whole[: random.randrange(1, len(whole))]
    return make_request(target, cut, 0, *REFUSED, half_close=True, malformed=True)


# Forms.

FILE = b'{"messages": []}\n'


def _form(random: Random) -> bytes:
    """A form that is odd in one or more places."""
    end = random.choice((b"\r\n", b"\r\n", b"\n", b"\r"))
    disposition = random.choice(
        (
            b'form-data; name="file"; filename="a.jsonl"',
            b"form-data; name=file; filename=a.jsonl",
            b'form-data; name="file"; filename="a.jsonl"; filename*=utf-8\'\'b.txt',
            b"form-data; name=\"file\"; filename*=utf-8''%FF%FE.jsonl",
            b"form-data; name=\"file\"; filename*=nonsense''x.jsonl",
            b'form-data; name="file"; filename*0=a; filename*1=.jsonl',
            b'form-data; name="file"; filename="../../../x.jsonl"',
            b'form-data; name="file"; filename="' + b"a" * 5000 + b'.jsonl"',
            b'form-data; name="file"; filename="\xff\xfe.jsonl"',
            b'form-data; name="file"; filename="a\x00.jsonl"',
            b'form-data; name="file',
            b"form-data",
            b'attachment; filename="a.jsonl"',
            b"; ; ;",
            b"form-data; name*=utf-8''file; name=\"purpose\"",
        )
    )
    field = b'form-data; name="purpose"'
    extra = random.choice(
        (
            b"",
            b"Content-Type: multipart/mixed; boundary=y" + end,
            b"Content-Transfer-Encoding: base64" + end,
            b"X: " + b"y" * random.choice((100, 9000)) + end,
            b"X: y" * 40 + end,
            b" folded" + end,
            b"no colon" + end,
            b": x" + end,
        )
    )
    purpose = random.choice((b"fine-tune", b"", b"x" * 5000, b"\xff", b"batch\r\n"))
    parts = [
        b"--x" + end + b"Content-Disposition: " + field + end + end + purpose + end,
        b"--x" + end + b"Content-Disposition: " + disposition + end + extra + end + FILE + end,
    ]
    random.shuffle(parts)
    parts *= random.choice((1, 1, 1, 2, 40))
    tail = random.choice((b"--x--" + end, b"--x--", b"--x", b"", b"--x--" + end + b"--x" + end))
    return random.choice((b"", b"preamble" + end, b"--")) + b"".join(parts) + tail


def _form_request(target: Target, path: str, body: bytes, *expected: int) -> RawRequest:
    headers = (("Content-Type", "multipart/form-data; boundary=x"),)
    return make_request(target, build("POST", path, body, headers, target.key), *expected)


def odd_forms(random: Random, target: Target) -> RawRequest:
    path = random.choice(("/v1/files", "/v1/files", "/v1/uploads/upload_none/parts"))
    body = _form(random)
    for _ in range(random.choice((0, 0, 1, 5))):
        place = random.randrange(len(body) or 1)
        body = body[:place] + random.randbytes(1) + body[place + random.randint(0, 3) :]
    return _form_request(target, path, body)


def _part(disposition: bytes, content: bytes) -> bytes:
    return (
        b"--x\r\nContent-Disposition: form-data; " + disposition + b"\r\n\r\n" + content + b"\r\n"
    )


def refused_forms(random: Random, target: Target) -> RawRequest:
    """Forms each of which must be refused."""
    purpose = _part(b'name="purpose"', b"fine-tune")
    file = _part(b'name="file"; filename="a.jsonl"', FILE)
    body = random.choice(
        (
            purpose + file,
            purpose + file + file + b"--x--\r\n",
            purpose + b"--x--\r\n",
            file + b"--x--\r\n",
            purpose + _part(b'name="file"; filename="a.jsonl"', b"") + b"--x--\r\n",
            purpose + _part(b'name="file"; filename="a.txt"', FILE) + b"--x--\r\n",
            _part(b'name="purpose"', b"nonsense") + file + b"--x--\r\n",
            purpose * 40 + file + b"--x--\r\n",
            (purpose + file + b"--x--\r\n").replace(b"--x", b"--y"),
            b"",
        )
    )
    return _form_request(target, "/v1/files", body, 400)


def accepted_form(random: Random, target: Target) -> RawRequest:
    name = random.choice((b"a.jsonl", b"../a.jsonl", "ü.jsonl".encode(), b"CON.jsonl"))
    fields = [
        _part(b'name="purpose"', b"fine-tune"),
        _part(b'name="file"; filename="' + name + b'"', random.randbytes(20)),
    ]
    random.shuffle(fields)
    return _form_request(target, "/v1/files", b"".join(fields) + b"--x--\r\n", 200)


GENERATORS: tuple[Generator, ...] = (
    odd_values,
    unknown_fields,
    missing_fields,
    damaged_json,
    duplicate_fields,
    wrong_content_type,
    broken_chunks,
    cut_off,
    odd_forms,
    refused_forms,
    accepted_form,
)
