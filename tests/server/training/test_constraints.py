"""Constrained decoding of random logits, on the tokenizers of real chat templates."""

from __future__ import annotations

import functools
import json
import time
from typing import Any

import jsonschema
import pytest

from support.tool_formats import FAMILIES, TEMPLATES, TOOLS, build, parse

pytestmark = pytest.mark.training

ENDING = (">", "}", "]", ")", '"', "'", "<", "/", ":")
"""Characters that end values, which a model without training would seldom choose."""

WITH_TOOLS = [name for name, features in TEMPLATES.items() if features["tools"]]

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "kind": {"enum": ["cat", "dog", None]},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "maxItems": 3},
        "either": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
    },
    "required": ["name", "age", "kind", "tags"],
    "additionalProperties": False,
    "$defs": {"tag": {"type": "string", "pattern": "^[a-z]{1,5}$"}},
}


@functools.cache
def compiler(name: str) -> Any:
    """Return the compiler of constraints for a template, or for the tokenizer of bytes."""
    from ftkit.server.generation.constraints import ConstraintCompiler

    tokenizer, template, form = build(name)
    return ConstraintCompiler(
        tokenizer, len(tokenizer) + 3, template.end_ids, template.features.lead, form
    )


@functools.cache
def fallback_tokenizer() -> Any:
    """Return a tokenizer like that of Llama 2: words with a space before, and bytes for the rest."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"<unk>": 0, "</s>": 1, **{f"<0x{b:02X}>": b + 2 for b in range(256)}}
    for character in '▁abcdefghijklmnopqrstuvwxyz{}":,':
        vocabulary[character] = len(vocabulary)
    backend = Tokenizer(
        models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=True)
    )
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="</s>")


def generate(tokenizer: Any, constraint: Any, seed: int, ending: str = "") -> str:
    """Return a text of random tokens that fulfils a constraint, decoded with special tokens.

    After a while, the ending is written where it is allowed.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    favored = {id for text in ENDING for id in tokenizer(text, add_special_tokens=False).input_ids}
    ends = tokenizer(ending, add_special_tokens=False).input_ids
    ids: list[int] = []
    written = 0
    while len(ids) < 2_000:
        logits = 2 * torch.randn(len(tokenizer) + 3, generator=generator)
        if len(ids) > 40:
            logits[list(favored)] += 6
            logits[tokenizer.eos_token_id] += 40
            logits[ends[written : written + 1]] += 20
        constraint.mask(logits)
        token = int(logits.argmax())
        assert logits[token] > float("-inf")
        constraint.accept(token)
        if constraint.is_finished:
            return str(tokenizer.decode(ids))
        ids.append(token)
        written = (written + 1) % len(ends) if [token] == ends[written : written + 1] else 0
    pytest.fail(f"the answer does not end: {tokenizer.decode(ids)}")


def json_format(schema: Any, strict: bool = True) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": strict}}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", FAMILIES)
def test_an_answer_fits_its_schema(name: str, seed: int) -> None:
    tokenizer, template, _ = build(name)
    constraint = compiler(name).compile_format(json_format(SCHEMA))
    text = generate(tokenizer, constraint, seed).removeprefix(template.features.lead)
    jsonschema.validate(json.loads(text), SCHEMA)


def test_an_answer_fits_its_schema_on_a_tokenizer_with_byte_fallback() -> None:
    from ftkit.server.generation.constraints import ConstraintCompiler

    tokenizer = fallback_tokenizer()
    compiler = ConstraintCompiler(tokenizer, len(tokenizer), [tokenizer.eos_token_id])
    compiled = compiler.compile_format(json_format(SCHEMA))
    for seed in range(5):
        ids = greedy_ids(tokenizer, compiled.copy(), seed)
        jsonschema.validate(json.loads(tokenizer.decode(ids)), SCHEMA)


def greedy_ids(tokenizer: Any, constraint: Any, seed: int) -> list[int]:
    import torch

    generator = torch.Generator().manual_seed(seed)
    ids: list[int] = []
    while True:
        logits = torch.randn(len(tokenizer), generator=generator)
        constraint.mask(logits)
        constraint.accept(int(logits.argmax()))
        if constraint.is_finished:
            return ids
        ids.append(int(logits.argmax()))


@pytest.mark.parametrize("seed", range(3))
def test_a_json_object_is_an_object(seed: int) -> None:
    constraint = compiler("smoke").compile_format({"type": "json_object"})
    text = generate(build("smoke")[0], constraint, seed, '"}')
    assert isinstance(json.loads(text, strict=False), dict)


def test_a_model_without_training_writes_json() -> None:
    import torch

    from ftkit.server.training.smoke import build_model

    tokenizer, model = build("smoke")[0], build_model().eval()
    compiled = compiler("smoke").compile_format(json_format(SCHEMA))
    torch.manual_seed(0)
    new, answer, cache = tokenizer("<|user|>Hi<|end|><|assistant|>").input_ids, [], None
    with torch.inference_mode():
        while not compiled.is_finished and len(answer) < 400:
            output = model(torch.tensor([new]), past_key_values=cache, use_cache=True)
            logits, cache = output.logits[0, -1] / 4, output.past_key_values
            compiled.mask(logits)
            new = [int(torch.multinomial(logits.softmax(-1), 1))]
            answer += new
            compiled.accept(new[0])
    assert compiled.is_finished
    jsonschema.validate(json.loads(tokenizer.decode(answer[:-1])), SCHEMA)


def test_text_is_not_constrained() -> None:
    assert compiler("smoke").compile_format({"type": "text"}) is None
    assert compiler("smoke").compile_tools(TOOLS, "auto") is None
    assert compiler("smoke").compile_tools(TOOLS, "none") is None


def test_white_space_in_json_is_limited() -> None:
    import torch

    tokenizer = build("smoke")[0]
    constraint = compiler("smoke").compile_format({"type": "json_object"})
    (space,) = tokenizer(" ").input_ids
    constraint.accept(tokenizer("{").input_ids[0])
    for _ in range(41):
        logits = torch.zeros(len(tokenizer) + 3)
        constraint.mask(logits)
        if logits[space] < 0:
            return
        constraint.accept(space)
    pytest.fail("white space has no end")


def test_a_complete_answer_can_only_end() -> None:
    import torch

    tokenizer = build("smoke")[0]
    constraint = compiler("smoke").compile_format(json_format({"const": "a"}))
    for token in tokenizer('"a"').input_ids:
        assert not constraint.is_finished
        constraint.accept(token)
    logits = torch.zeros(len(tokenizer) + 3)
    constraint.mask(logits)
    assert logits.isfinite().nonzero().flatten().tolist() == [tokenizer.eos_token_id]
    constraint.accept(tokenizer.eos_token_id)
    assert constraint.is_finished


def test_a_token_that_must_not_follow_is_an_error() -> None:
    from ftkit.errors import EncodingError

    tokenizer = build("smoke")[0]
    constraint = compiler("smoke").compile_format({"type": "json_object"})
    with pytest.raises(EncodingError, match="the answer cannot be constrained"):
        constraint.accept(tokenizer("x").input_ids[0])


def test_copies_of_a_constraint_are_independent() -> None:
    tokenizer = build("smoke")[0]
    compiled = compiler("smoke").compile_format({"type": "json_object"})
    texts = [generate(tokenizer, compiled.copy(), seed, '"}') for seed in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", sorted({*FAMILIES, *WITH_TOOLS}))
def test_required_calls_fit_their_schemas(name: str, seed: int) -> None:
    tokenizer, _, form = build(name)
    schemas = {
        tool["function"]["name"]: tool["function"].get("parameters", {"maxProperties": 0})
        for tool in TOOLS
    }
    constraint = compiler(name).compile_tools(TOOLS, "required")
    content, calls = parse(name, generate(tokenizer, constraint, seed, ending(form)))
    assert content == ""
    assert calls
    for function, arguments in calls:
        jsonschema.validate(arguments, schemas[function])


def ending(form: Any) -> str:
    """Return the text that ends a string, or "" if strings are JSON."""
    quote = getattr(form.call, "quote", None)
    return "" if quote is None else quote or form.call.last + form.closing


@pytest.mark.parametrize("name", FAMILIES)
def test_one_call_is_allowed_without_parallel_calls(name: str) -> None:
    tokenizer, _, form = build(name)
    compiled = compiler(name).compile_tools(TOOLS[1:], "required", parallel=False)
    for seed in range(3):
        text = generate(tokenizer, compiled.copy(), seed, ending(form))
        assert parse(name, text) == ("", [("get_time", {})])


@pytest.mark.parametrize("name", FAMILIES)
def test_the_named_function_is_called_once(name: str) -> None:
    tokenizer, _, form = build(name)
    choice = {"type": "function", "function": {"name": "get_weather"}}
    constraint = compiler(name).compile_tools(TOOLS, choice)
    _, [(function, _)] = parse(name, generate(tokenizer, constraint, 0, ending(form)))
    assert function == "get_weather"


def test_a_base_whose_calls_cannot_be_parsed_is_refused() -> None:
    from ftkit.errors import EncodingError

    assert compiler("phi3").compile_tools(TOOLS, "auto") is None
    with pytest.raises(
        EncodingError, match="does not write tool calls in a form that can be parsed"
    ):
        compiler("phi3").compile_tools(TOOLS, "required")


def test_an_unknown_function_is_refused() -> None:
    from ftkit.errors import EncodingError

    choice = {"type": "function", "function": {"name": "other"}}
    with pytest.raises(EncodingError, match="'other', which is no tool"):
        compiler("smoke").compile_tools(TOOLS, choice)


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


REFUSED: dict[str, tuple[Any, str]] = {
    "no schema": ([], "must be an object"),
    "options": ({"x-guidance": {"lenient": True}}, "must not have the key 'x-guidance'"),
    "type": ({"type": "text"}, "Invalid type: text"),
    "keyword": ({"type": "array", "uniqueItems": True}, "uniqueItems"),
    "address": ({"$ref": "http://127.0.0.1/schema"}, "http://127.0.0.1/schema"),
    "file": ({"$ref": "file:///etc/hostname"}, "file:///etc/hostname"),
    "reference to itself": ({"$ref": "#"}, "the schema is not supported"),
    "no value": ({"enum": []}, "Unsatisfiable"),
    "look-ahead": ({"type": "string", "pattern": "(?=a)b"}, "look-ahead"),
    "nested": (nested(500), "recursion limit"),
    "deeply nested": (nested(20_000), "nested too deeply"),
    "large": ({"enum": ["x" * 100] * 2_000}, "too large"),
    "products": (
        {"allOf": [{"anyOf": [{"properties": {f"p{i}": {"const": j}}} for j in range(6)]}
                   for i in range(12)]},
        "too large",
    ),
}  # fmt: skip
"""Schemas that are refused, and parts of the messages."""


@pytest.mark.parametrize("case", REFUSED)
def test_a_schema_that_cannot_be_enforced_is_refused(case: str) -> None:
    from ftkit.errors import EncodingError

    schema, message = REFUSED[case]
    start = time.process_time()
    with pytest.raises(EncodingError, match=message) as error:
        compiler("smoke").compile_format(json_format(schema))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300
    assert time.process_time() - start < 2


HOSTILE = {
    "long string": {"type": "string", "minLength": 1_000_000},
    "states": {"type": "string", "pattern": "^(.*a.{300})$"},
    "repetitions": {"type": "string", "pattern": "^((a{1,100}){1,100}){1,100}$"},
    "properties": {"properties": {f"p{n}": {"type": "string"} for n in range(3_000)}},
    "items": {"type": "array", "minItems": 1_000_000, "items": {"type": "integer"}},
    "patterns": {"patternProperties": {"^(a|b)*a(a|b){15}$": {}, "^x": {}}, "type": "object"},
    "doubled references": {
        "$defs": {
            f"d{n}": {"properties": {key: {"$ref": f"#/$defs/d{n + 1}"} for key in "xy"}}
            for n in range(40)
        }
        | {"d40": {}},
        "$ref": "#/$defs/d0",
    },
}
"""Schemas that could take much time or memory."""


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_schema_takes_little_time(case: str) -> None:
    import torch

    from ftkit.errors import EncodingError

    generator, start = torch.Generator().manual_seed(0), time.process_time()
    try:
        constraint = compiler("smoke").compile_format(json_format(HOSTILE[case]))
        for _ in range(100):
            logits = torch.randn(len(build("smoke")[0]) + 3, generator=generator)
            constraint.mask(logits)
            constraint.accept(int(logits.argmax()))
            if constraint.is_finished:
                break
    except EncodingError:
        assert case == "properties"
    assert time.process_time() - start < 5


def test_keywords_that_cannot_be_enforced_are_ignored_unless_the_schema_is_strict() -> None:
    schema = {"type": "array", "items": {"const": 1}, "uniqueItems": True, "maxItems": 2}
    constraint = compiler("smoke").compile_format(json_format(schema, strict=False))
    assert set(json.loads(generate(build("smoke")[0], constraint, 0, "]"))) <= {1}


def test_a_pattern_of_a_string_without_quotes_is_refused_in_a_strict_function() -> None:
    from ftkit.errors import EncodingError

    parameters = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^a$"}}}
    function = {"name": "f", "parameters": parameters, "strict": True}
    with pytest.raises(EncodingError, match="pattern in the parameters of function f"):
        compiler("qwen3_5_nothink").compile_tools(
            [{"type": "function", "function": function}], "required"
        )


REFUSED_PARAMETERS: dict[str, tuple[Any, str]] = {
    "no schema": ([], "must be an object"),
    "properties": ({"properties": []}, "are not a JSON Schema"),
    "key": ({"properties": {"a b": {}}}, "'a b' has special characters"),
    "surrogate": ({"properties": {"a": {"enum": ["\ud800"]}}}, "not valid Unicode"),
    "large": ({"properties": {f"p{n}": {"type": "string"} for n in range(9_000)}}, "too large"),
    "definitions": (
        {
            "properties": {f"p{n}": {} for n in range(9_000)},
            "$defs": {f"p{n}": {"type": "string"} for n in range(3_000)},
        },
        "too large",
    ),
}
"""Parameters that are refused, and parts of the messages."""


@pytest.mark.parametrize("name", ["qwen3_5_nothink", "gemma4_v5", "lfm2_v2"])
@pytest.mark.parametrize("case", REFUSED_PARAMETERS)
def test_parameters_that_cannot_be_enforced_are_refused(case: str, name: str) -> None:
    from ftkit.errors import EncodingError

    parameters, message = REFUSED_PARAMETERS[case]
    tools = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
    start = time.process_time()
    with pytest.raises(EncodingError, match=message):
        compiler(name).compile_tools(tools, "required")
    assert time.process_time() - start < 2


@pytest.mark.parametrize("name", ["qwen3_5_nothink", "gemma4_v5", "lfm2_v2"])
def test_a_required_parameter_without_schema_is_written(name: str) -> None:
    tokenizer, _, form = build(name)
    parameters = {"properties": {"unit": {"enum": ["<C>"]}}, "required": ["unit", "more"]}
    function = {"name": "get_weather", "parameters": parameters}
    constraint = compiler(name).compile_tools([{"function": function}], "required", False)
    text = generate(tokenizer, constraint, 3, ending(form))
    _, [(_, arguments)] = parse(name, text)
    assert arguments.keys() == {"unit", "more"}
    assert arguments["unit"] == "<C>"


def test_an_answer_with_an_end_token_inside_is_an_error() -> None:
    from ftkit.errors import EncodingError

    tokenizer = build("smoke")[0]
    constraint = compiler("smoke").compile_format(
        json_format({"const": f"a{tokenizer.eos_token}b"})
    )
    with pytest.raises(EncodingError, match="no token can follow"):
        generate(tokenizer, constraint, 0)
