"""Response headers that name the weights of an answer, which OpenAI's API does not have.

The `model` of a response is the name in the request, and a client cannot tell from it which base
model and adapter were loaded.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote

from ftkit.server.models import ModelRef

BASE = "x-ftkit-base"
"""Header with the base model, percent-encoded."""

JOB, STEP = "x-ftkit-job", "x-ftkit-step"
"""Headers with the job that trained the adapter, and its step; the base model alone has none."""

ANSWERED_BY = "x-ftkit-answered-by"
"""Header with the process that generated the answer."""

AnsweredBy = Literal["generation-process", "answering-server"]


def base_header(base: str) -> dict[str, str]:
    """Return the header that names a base model."""
    return {BASE: quote(base, safe="/:")}


def model_headers(served: ModelRef, answered_by: AnsweredBy) -> dict[str, str]:
    """Return the headers of an answer.

    Args:
        served: Weights that it was generated with.
        answered_by: Process that generated it.
    """
    adapter = {JOB: served.job, STEP: str(served.step)} if served.job else {}
    return {**base_header(served.base), **adapter, ANSWERED_BY: answered_by}
