"""Names of models."""

from __future__ import annotations

MINI = "gpt-4o-mini-2024-07-18"
NANO = "gpt-4.1-nano-2025-04-14"
GPT_35 = "gpt-3.5-turbo"

SMOKE = "ftkit/smoke"
"""The smallest model that the local server trains."""
