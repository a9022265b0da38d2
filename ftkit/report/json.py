"""Validation reports as a JSON object with stable keys."""

from __future__ import annotations

import json

from ftkit.summary import Report


def render_json(report: Report) -> str:
    """Render a report as JSON; see `docs/output.md` for the keys."""
    return json.dumps(report.to_dict(), indent=2, ensure_ascii=False) + "\n"
