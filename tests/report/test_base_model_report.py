"""Text output of `ftkit serve check`, which needs no PyTorch."""

from __future__ import annotations

from types import SimpleNamespace as Fields
from typing import Any

import pytest
from msgspec.structs import replace

from ftkit.report.base_model import base_fields, example_text
from ftkit.server.recipes import builtin_recipes

FEATURES = ("system", "tools", "parallel_tool_calls", "thinking", "tool_calls", "images")
RECIPE = builtin_recipes().find("some/base")


def shown(supported: bool, context: int | None, recipe: Any = RECIPE) -> dict[str, str]:
    check: Any = Fields(
        base="some/base",
        supports=dict.fromkeys(FEATURES, supported),
        end_of_turn="<end>",
        answers_obstacle="" if supported else "it writes ' ' before an answer",
        context_length=context,
        max_tokens=4096,
        recipe=recipe,
    )
    return dict(base_fields(check))


def test_supported_features_and_the_recipe_are_named() -> None:
    fields = shown(True, 8192)
    assert fields["system messages"] == fields["tools"] == fields["images"] == "yes"
    assert fields["tool calls in answers"] == "yes"
    assert fields["reasoning"] == "yes, used without it"
    assert fields["context"] == "8,192 tokens"
    assert fields["epochs"] == "by the number of examples"
    assert fields["LoRA targets"] == "all-linear"
    assert fields["processes"] == "one for each GPU"
    assert fields["chats with --answers"] == "yes"


def test_what_a_base_model_lacks_is_said_with_what_happens_instead() -> None:
    recipe = replace(RECIPE, targets=["q_proj", "v_proj"], template={"low": 1}, epochs=2, threads=3)
    fields = shown(False, None, replace(recipe, processes=2, packing=True))
    assert fields["system messages"] == "no, merged into the first user message"
    assert fields["tools"] == "no"
    assert fields["chats with --answers"] == "no, it writes ' ' before an answer"
    assert fields["context"] == "not declared"
    assert fields["LoRA targets"] == "q_proj, v_proj"
    assert fields["chat template options"] == "low=1"
    assert (fields["epochs"], fields["CPU threads"], fields["processes"]) == ("2", "3", "2")
    assert fields["packing"] == "yes"


@pytest.mark.parametrize(
    ("refused", "cut", "text"),
    [
        (None, 0, "line 3\n  <a>\n  <i> x 3\n+ yes\n"),
        (None, 2, "line 3 (2 trained tokens cut)\n  <a>\n  <i> x 3\n+ yes\n"),
        ("no tools\x1b", 0, "line 3 is refused: no tools\\x1b\n"),
    ],
)
def test_an_example_is_shown_with_its_learned_lines_marked(
    refused: str | None, cut: int, text: str
) -> None:
    spans = [Fields(text="<a>\n<i><i><i>", learned=False), Fields(text="yes", learned=True)]
    example: Any = Fields(line=3, refused=refused, cut=cut, spans=spans)
    assert example_text(example, "<i>") == text
