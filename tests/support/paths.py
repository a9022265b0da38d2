"""Folders of the project and of the test data."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SAMPLES = ROOT / "samples"
MARV = str(SAMPLES / "marv.jsonl")
BAD = str(SAMPLES / "bad" / "role-unknown.jsonl")

DATA = ROOT / "tests" / "data"
CASES = DATA / "cases"
SHAPE_FILES = DATA / "shapes"
GOLDEN = DATA / "golden"
