"""Worker that reads the facts about the chat template of a base model, for answering servers."""

from __future__ import annotations

import msgspec

from ftkit.errors import EncodingError, ModelLoadError, RecipeError
from ftkit.server.recipes import Recipe
from ftkit.server.template_facts import TemplateFacts
from ftkit.server.training.base import load_base_model, load_reason
from ftkit.server.training.template import ChatTemplate


def encoded_facts(base: str, recipe: str) -> bytes:
    """Return the `TemplateFacts` of a base model as JSON.

    Args:
        base: The base model.
        recipe: `Recipe` as JSON.

    Raises:
        SystemExit: The base model cannot be loaded; with the reason.
    """
    try:
        model = load_base_model(base, msgspec.json.decode(recipe, type=Recipe))
    except (ModelLoadError, RecipeError) as error:
        raise SystemExit(load_reason(error)) from error
    try:
        template = ChatTemplate(model.tokenizer, model.recipe.template, model.end_ids)
        facts = TemplateFacts(template.features, template.end_ids, template.obstacle)
    except EncodingError as error:
        facts = TemplateFacts(obstacle=str(error))
    return msgspec.json.encode(facts)
